"""The control socket without musterctl, and the rows that the product documents itself with.

    control = Control(server)
    answer = control.run("set", setting="sm.ack-every", value="9")     # {"ok": …, "text": …}
"""
import functools
import json
import re
import socket
import subprocess
from typing import NamedTuple

from harness.client import TIMEOUT


class Control:
    def __init__(self, server):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(TIMEOUT)
        self.sock.connect(str(server.control))
        self.lines = self.sock.makefile()
        self.server = server
        server.clients.append(self)

    def run(self, command, **args):
        self.begin(command, **args)
        return self.answer()

    def close(self):
        self.lines.close()
        self.sock.close()
        self.server.clients.remove(self)

    def begin(self, command, **args):
        request = {"command": command, "args": args}
        self.sock.sendall(json.dumps(request).encode() + b"\n")

    def answer(self):
        return json.loads(self.lines.readline())


class Arg(NamedTuple):
    name: str  # at the command line
    kind: str  # "required", "optional", "option" or "flag"
    choices: tuple


@functools.cache
def documents(musterd, part):
    return subprocess.run([musterd, "--dump-docs", part], capture_output=True, text=True,
                          check=True).stdout


def commands(musterd):
    """{name: [Arg, …]} of all commands."""
    found = {}
    for section in re.split(r"^## ", documents(musterd, "commands"), flags=re.M)[1:]:
        name = section.partition("\n")[0]
        usage = re.search(r"```\nmusterctl (.*)\n```", section).group(1).removeprefix(name)
        found[name] = [_argument(*words) for words in re.findall(
            r"(\[?)(--[a-z-]+)?(?:(?<=[a-z-]) (?=[A-Z|a-z]))?([A-Za-z|-]*)\]?(?: |$)", usage)
            if any(words[1:])]
    assert len(found) > 80 and any(found.values())
    return found


def _argument(bracket, option, value):
    choices = tuple(value.split("|")) if "|" in value else ()
    name = option.removeprefix("--") or value.lower()
    kind = "option" if option and value else "flag" if option else \
        "optional" if bracket else "required"
    return Arg(name, kind, choices)


class Row(NamedTuple):
    allowed: str
    default: str


def node_keys(musterd):
    """{key: Row} of the node file."""
    return {name: Row(allowed, default) for name, allowed, default in re.findall(
        r"^\| `([\w.]+)` \| ([^|]*) \| ([^|]*) \| (?:yes|restart) \|",
        documents(musterd, "config"), re.M)}


def settings(musterd):
    """{name: Row} of the settings."""
    return {name: Row(allowed, default) for name, allowed, default in re.findall(
        r"^\| `([a-z0-9-]+\.[a-z0-9-]+)` \| ([^|]*) \| ([^|]*) \| at once \|",
        documents(musterd, "config"), re.M)}
