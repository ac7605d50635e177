"""Completion of shells: names that the server has, and that a word is offered in its place only."""
import pytest

from test_ctl import complete, with_names

LINE = ["musterctl", "--socket"]


@pytest.fixture(name="named")
def with_some(server, tmp_path, monkeypatch):
    """Its groups, tokens and roles."""
    monkeypatch.setenv("PATH", with_names(tmp_path)["PATH"])
    for name in "sales", "support":
        server.ctl("group", "add", name)
    server.ctl("token", "add", "prometheus", "viewer")
    server.ctl("role", "set", "reader", "users.read")
    return server


def test_names_of_groups_tokens_roles_and_alarms(named):
    script = named.ctl_run("completion", "bash").stdout
    line = [*LINE, str(named.control)]
    for words, names in (("group show", {"sales", "support"}),
                         ("group-member add", {"sales", "alice@localhost"}),
                         ("token revoke", {"prometheus"}), ("admin add", {"reader", "viewer"}),
                         ("alarm show", {"store.full", "tls.expiry"})):
        assert names <= complete(script, [*line, *words.split()]), words
    assert "sales" not in complete(script, [*line, "group", "add"])
    assert named.ctl_run("names", "group", "sa").stdout == "sales\n"
    assert named.ctl_run("names", "token", "").stdout == "prometheus\n"
