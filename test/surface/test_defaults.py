"""The tests run with what a stranger gets: the default settings, but for what a test itself says,
with its reason. Run with -s, this file prints all reasons."""
import ast
import pathlib

import pytest

from harness import defaults
from harness.server import MUSTERD

TESTS = pathlib.Path(__file__).parents[1]


def changed(server):
    return {row["name"]: defaults.text(row["value"])
            for row in server.rows("config", "show", "--changed")}


def test_a_server_of_the_tests_has_the_default_settings(make_server, migration):
    server = make_server("alice")
    assert changed(server) == ({"c2s.migration": "off"} if migration == "off" else {})
    assert not server.options and server.conf.keys() - defaults.SHARED.keys() == {"domains", "data"}


def test_the_server_of_many_tests_has_the_default_settings(company, pytestconfig):
    off = pytestconfig.getoption("--migration") == "off"
    assert changed(company.server) == ({"c2s.migration": "off"} if off else {})


def calls(*names):
    """(file, call) of all calls of functions with one of these names in the tests."""
    for path in sorted(TESTS.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            called = getattr(node, "func", None)
            if getattr(called, "attr", getattr(called, "id", None)) in names:
                yield path, node


def keywords(call):
    return {k.arg: k.value for k in call.keywords}


def test_nothing_that_tests_share_changes_a_setting():
    """Only test_*.py do, and tests of many steps whose steps that is; the marks of a test for the
    server that it shares with others are taken back after it."""
    shared = [path for path, call in calls("Server", "make_server", "make")
              if "settings" in keywords(call) and not path.name.startswith("test_")
              and path.parent.name != "together"]
    assert sorted(path.name for path in shared) == ["across.py", "conftest.py", "conftest.py",
                                                    "partner.py", "slix.py"]
    shared = {path.relative_to(TESTS).as_posix() for path, call in calls("ctl", "ctl_run")
              if call.args and getattr(call.args[0], "value", None) == "set"
              and not path.name.startswith("test_")}
    assert {path for path in shared if not path.startswith("together/")} == {
        "conftest.py", "harness/partner.py"}


def test_every_mark_has_a_reason():
    for path, call in calls("settings"):
        if ast.unparse(call.func) == "pytest.mark.settings":
            assert "why" in keywords(call) and call.args, f"{path.name}:{call.lineno}"


def test_the_list():
    """Whoever lifts a limit says why: harness.server.Server sees to it, whatever the test calls."""
    reasons = [(f"{path.name}:{call.lineno}", ast.unparse(keywords(call)["why"]))
               for path, call in calls("make_server", "make", "settings")
               if "why" in keywords(call)]
    for place, why in (*defaults.SHARED.items(), *reasons):
        print(f"{place:24} {why}")
    assert len(reasons) > 10


@pytest.mark.parametrize("settings,expected", [
    ({"c2s.stanza-rate": "none"}, ["c2s.stanza-rate"]),
    ({"c2s.stanza-rate": 999, "c2s.byte-rate": "64KiB"}, []),
    ({"c2s.byte-rate": "2MiB", "auth.block-time": "2h"}, ["c2s.byte-rate", "auth.block-time"]),
    ({"c2s.tls-required": False}, ["c2s.tls-required"]),
    ({"archive.retention": 7}, []),
    ({"muc.bookmark": True, "admin.accounts": "alice@localhost"}, []),
])
def test_what_lifts_a_limit(make_server, settings, expected):
    assert defaults.lifted(MUSTERD, settings) == expected
    if expected:
        with pytest.raises(AssertionError, match="say why"):
            make_server(start=False, settings=settings)
    make_server(start=False, settings=settings, why="this test")
