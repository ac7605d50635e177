"""A command that succeeds, but whose effect depends on something that is not there now, says so in
the last line of its answer: on a value that no account has."""
import pytest

ADMIN = "alice@localhost"


@pytest.fixture
def server(make_server):
    return make_server("alice")


def last_line(server, *words):
    return server.ctl(*words)["text"].split("\n")[-1]


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
