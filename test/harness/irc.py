"""An IRC server and the gateway biboumi as processes on loopback, and a user of IRC."""
import os
import socket

from harness.client import TIMEOUT
from harness.prosody import Process

NGIRCD, BIBOUMI = "/usr/sbin/ngircd", "/usr/bin/biboumi"

IRC_CONFIG = """
[Global]
Name = irc.example.test
Info = an IRC server
Listen = 127.0.0.1
Ports = {port}
[Limits]
MaxPenaltyTime = 0
[Options]
DNS = no
Ident = no
PAM = no
"""

# TLS and identd are off: all of it is on loopback.
GATEWAY_CONFIG = """
hostname={domain}
password={secret}
xmpp_server_ip=127.0.0.1
port={port}
db_name={folder}/biboumi.sqlite
identd_port=0
policy_directory={folder}
log_file={folder}/biboumi.debug
log_level=0
"""


class IrcServer(Process):
    def __init__(self, folder, port):
        conf = folder / "ngircd.conf"
        conf.write_text(IRC_CONFIG.format(port=port))
        super().__init__([NGIRCD, "--nodaemon", "--config", str(conf)], folder / "ngircd.log")
        self.port = port
        self.wait_port(port)


class Gateway(Process):
    """It connects to the port for components; that it has, its domain tells who asks it."""

    def __init__(self, folder, domain, secret, port):
        conf = folder / "biboumi.cfg"
        conf.write_text(GATEWAY_CONFIG.format(domain=domain, secret=secret, port=port,
                                              folder=folder))
        super().__init__([BIBOUMI, str(conf)], folder / "biboumi.log")


class IrcUser:
    """One connection to an IRC server."""

    def __init__(self, port, nick):
        self.sock = socket.create_connection(("127.0.0.1", port), TIMEOUT)
        self.lines = self.sock.makefile("r", encoding="utf-8", newline="\r\n")
        self.say(f"NICK {nick}\r\nUSER {nick} 0 * :{nick}")
        self.expect(" 376 ", " 422 ")  # the end of the message of the day, or there is none

    def say(self, line):
        self.sock.sendall(f"{line}\r\n".encode())

    def expect(self, *parts):
        """The next line that has one of the parts."""
        for line in self.lines:
            if line.startswith("PING"):
                self.say("PONG" + line.strip()[4:])
            if any(part in line for part in parts):
                return line.strip()
        raise AssertionError(f"the IRC server has closed before {parts}")

    def close(self):
        self.lines.close()
        self.sock.close()


def are_here():
    return os.access(NGIRCD, os.X_OK) and os.access(BIBOUMI, os.X_OK)
