"""The differences between a server in the tests and one with default settings: few, each with its
reason.

The tests run with the default settings of the product, on ports of their own. A test that needs
other values gives them itself; where it lifts a limit it says why:

    make_server("alice", settings={"c2s.stanza-rate": "none"}, why="one client is a thousand users")

    @pytest.mark.settings({"muc.owner-anonymous": True}, why="the owner hides who is in the room")
"""
import functools
import re
import subprocess

# Keys of the node file beside `domains` and `data`, which every operator has to give.
SHARED = {
    "node": "tests look for the name in what the server says of itself",
    "node_id": "tests make a cluster's worth of ids from it",
    "control": "a socket for each server",
    "workers": "two on every machine, so that stanzas cross between them",
    "listen": "free ports on loopback, and those that speak HTTP",
    "database": "the one that MUSTER_DATABASE chooses",
    "settings": "what the test itself says; with --migration=off c2s.migration",
}

UNITS = {"": 1, "ms": 1, "s": 1000, "min": 60000, "h": 3600000, "d": 86400000,
         "kB": 1000, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
NUMBER = re.compile(r"(\d+)([a-zA-Z]*)")
ROW = re.compile(r"\| `([a-z0-9-]+\.[a-z0-9-]+)` \| (.*?) \| (?:`(.*?)`)? \| at once \|")


@functools.cache
def rows(musterd):
    """{name: (allowed, default)} of all settings, as the product documents them."""
    text = subprocess.run([musterd, "--dump-docs", "config"], capture_output=True, text=True,
                          check=True).stdout
    found = {name: (allowed, default) for name, allowed, default in ROW.findall(text)}
    assert len(found) > 200
    return found


def text(value):
    """A value as `musterctl set` takes it."""
    return {True: "on", False: "off"}.get(value, str(value))


def number(value):
    """A value in its base unit; None: it is no number."""
    if value == "none":
        return float("inf")
    found = NUMBER.fullmatch(str(value))
    return int(found[1]) * UNITS[found[2]] if found and found[2] in UNITS else None


def check(musterd, settings, why):
    """A reason is given where a limit is lifted."""
    found = lifted(musterd, settings)
    assert why or not found, f"say why (make_server(…, why=…)): {', '.join(found)}"


def of_marks(item):
    """Settings and reasons of the marks `settings` of a test; the nearest one wins."""
    settings, reasons = {}, []
    for mark in reversed(list(item.iter_markers("settings"))):
        settings.update(mark.args[0])
        reasons.append(mark.kwargs["why"])
    return settings, "; ".join(reasons)


def lifted(musterd, settings):
    """Those of the settings that are limits and above their defaults, or protection that is off."""
    found = []
    for name, value in settings.items():
        allowed, default = rows(musterd).get(name, ("", ""))
        new, old = number(value), number(default)
        if allowed[:1].isdigit() and None not in (new, old) and new > old:
            found.append(name)
    if settings.get("c2s.tls-required") in ("off", False):
        found.append("c2s.tls-required")
    return found
