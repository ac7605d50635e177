"""The control socket, for many questions: musterctl would be a process for each."""
import json
import socket

from harness.client import TIMEOUT


class Console:
    def __init__(self, server):
        self.server, self.sock, self.lines = server, None, None

    def ask(self, command, **args):
        """The answer of a command, which must be a success."""
        request = json.dumps({"command": command, "args": args}) + "\n"
        if self.sock is None:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(2 * TIMEOUT)
            self.sock.connect(str(self.server.control))
            self.lines = self.sock.makefile("rb")
        self.sock.sendall(request.encode())
        answer = json.loads(self.lines.readline())
        assert answer["ok"], f"{request}{answer}"
        return answer

    def rows(self, command, **args):
        return self.ask(command, **args)["rows"]

    def close(self):
        """The server ends, and another one will be asked."""
        if self.sock is not None:
            self.lines.close()
            self.sock.close()
            self.sock = None
