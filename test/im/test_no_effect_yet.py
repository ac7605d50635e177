"""A command that succeeds, but whose effect depends on something that is not there now, says so in
the last line of its answer: on a switch that is off, or on a value that no account has."""
import pytest

from harness import federation

OTHER = "other.test"
ADMIN = "alice@localhost"


@pytest.fixture
def server(make_server):
    return make_server("alice")


def last_line(server, *words):
    return server.ctl(*words)["text"].split("\n")[-1]


FEDERATION = [
    ("s2s-route", "add", OTHER, "127.0.0.1:5269"),
    ("s2s-route", "set", OTHER, "127.0.0.1:5269", "--weight", "2"),
    ("s2s-demand", "set", OTHER, "--auth", "certificate"),
    ("s2s-group", "set", "Sales", "only", "--domains", OTHER),
    ("federation", "set", ADMIN, "on"),
]


def test_a_switch_that_is_off_is_named(server, tmp_path):
    pem = federation.Authority(tmp_path).file
    server.ctl("user", "set", ADMIN, "--department", "Sales")
    server.ctl("federation", "block", OTHER)
    cases = [
        ("s2s.policy", "open", [*FEDERATION, ("federation", "allow", OTHER)]),
        ("c2s.certificate-login", "on", [("cert-trust", "add", pem, "--for", "clients")]),
        ("muc.administrators-enabled", "on", [("room-admin", "add", ADMIN)]),
        ("muc.enabled", "on", [("room-alias", "add", "tea.localhost")]),
    ]
    server.ctl("set", "muc.enabled", "off")
    for switch, on, commands in cases:
        for words in commands:
            assert last_line(server, *words) == \
                f"{switch} is off, so this has no effect yet: `musterctl set {switch} {on}`", words
        server.ctl("set", switch, on)
    for words in [*FEDERATION[1:], ("cert-trust", "add", pem, "--for", "clients"),
                  ("room-admin", "add", ADMIN)]:
        assert "no effect" not in server.ctl(*words)["text"], words


def test_rooms_are_missed_by_the_name_of_their_switch(server):
    server.ctl("set", "muc.enabled", "off")
    done = server.ctl_run("room", "create", "tea@conference.localhost", ADMIN)
    assert done.returncode == 1 and \
        "there are no rooms while muc.enabled is off: `musterctl set muc.enabled on`" in done.stderr


def test_what_needs_no_switch_says_nothing_of_it(server, tmp_path):
    """Other servers than those of XMPP show certificates, too: webhooks, for example."""
    for words in [("s2s-route", "add", OTHER, "127.0.0.1:5269", "--blocked", "on"),
                  ("federation", "block", OTHER), ("federation", "set", ADMIN, "off"),
                  ("cert-trust", "add", federation.Authority(tmp_path).file),
                  ("s2s-group", "set", "Sales", "off"), ("s2s-group", "set", "Sales", "default")]:
        assert "no effect" not in server.ctl(*words)["text"], words


def test_one_domain_with_the_switch_on_is_enough(make_server):
    server = make_server("alice", domains=["one.test", "two.test"])
    server.ctl("set", "s2s.policy@two.test", "open")
    assert "no effect" not in server.ctl(*FEDERATION[0])["text"]


def test_a_value_that_no_account_has_is_named(server):
    server.ctl("user", "set", ADMIN, "--department", "Field Sales", "--surname", "Liddell")
    unknown = "no account has department=Feild Sales now; did you mean Field Sales?"
    assert server.ctl("s2s-group", "set", "Feild Sales", "off")["text"] == \
        "federation of the department Feild Sales: off\n" + unknown
    assert server.ctl("s2s-group", "set", "Field Sales", "off")["text"] == \
        "federation of the department Field Sales: off"
    rules = "department=Feild Sales surname=Liddell template=none"
    said = server.ctl("group", "add", "sales", "--rules", rules)["text"].split("\n")
    assert said[1:] == [unknown, "no account has template=none now"]
    said = server.ctl("group", "set", "sales", "--rules", "department=Feild Sales")["text"]
    assert said.endswith("\n" + unknown)
    assert last_line(server, "group-member", "add", "sales", "--rule", "email=a@b") == \
        "no account has email=a@b now"
    said = server.ctl("group-member", "add", "sales", "--rule", "department=Field Sales")["text"]
    assert "no account" not in said
    assert "no account" not in \
        server.ctl("group-member", "del", "sales", "--rule", "email=a@b")["text"]
