"""Programs in a terminal: by tmux, or one that only shows something."""
import fcntl
import os
import pty
import select
import struct
import subprocess
import termios

from harness.client import TIMEOUT, until


def start(command, folder=".", width=80, **environment):
    """The process id of a program on a terminal of its own, and the other end of that. A program
    that cannot be started ends with 127: the copy of this process must not go on with the tests."""
    pid, master = pty.fork()
    if pid == 0:
        try:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
            os.chdir(folder)
            os.execvpe(command[0], [str(word) for word in command], {**os.environ, **environment})
        finally:
            os._exit(127)
    return pid, master


def shown(width, *command, **environment):
    """The lines that a program shows on a terminal of so many columns; without colours, unless the
    environment says otherwise."""
    pid, master = start(command, width=width, **{"TERM": "xterm", "NO_COLOR": "1", **environment})
    output = b""
    while select.select([master], [], [], 3 * TIMEOUT)[0]:
        try:
            output += os.read(master, 65536)
        except OSError:
            break
    os.close(master)
    os.waitpid(pid, 0)
    return output.decode().splitlines()


class Terminal:
    """A program in tmux: keys in, screen out."""

    def __init__(self, folder, command):
        self.socket = str(folder / "tmux.sock")
        home = folder / "home"
        home.mkdir()
        env = {**os.environ, "HOME": str(home), "TERM": "xterm-256color", "LC_ALL": "C.UTF-8",
               "XDG_CONFIG_HOME": str(home / "config"), "XDG_DATA_HOME": str(home / "data")}
        self._tmux("-f", "/dev/null", "new-session", "-d", "-x", "160", "-y", "50", command,
                   env=env)

    def _tmux(self, *args, env=None):
        return subprocess.run(["tmux", "-S", self.socket, *args], env=env, capture_output=True,
                              text=True, check=True, timeout=TIMEOUT).stdout

    def connect(self, name, port):
        """profanity, from its start to the end of its login."""
        self.expect("Profanity")
        self.enter(f"/connect {name}@localhost server 127.0.0.1 port {port} tls trust")
        self.expect("Enter password")
        self.enter("secret")
        self.expect("logged in successfully")

    def enter(self, text):
        self._tmux("send-keys", "-l", text)
        self._tmux("send-keys", "Enter")

    def screen(self):
        return self._tmux("capture-pane", "-p")

    def expect(self, text):
        try:
            until(text, lambda: text in self.screen())
        except AssertionError as late:
            raise AssertionError(f"{late}\n{self.screen()}") from None

    def close(self):
        subprocess.run(["tmux", "-S", self.socket, "kill-server"], capture_output=True,
                       check=False, timeout=TIMEOUT)
