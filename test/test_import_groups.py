"""Groups of users that come from other servers with their accounts."""
import pytest

from muster import ejabberd, federation
from muster.server import free_ports
from test_import import HOST
from test_roster import get, items


def groups(server):
    """Of each group its name in rosters, who sees it, and its members."""
    found = {}
    for row in server.rows("group", "list"):
        parts = [(r["what"], r["value"]) for r in server.rows("group", "show", row["name"])]
        found[row["name"]] = (row["shown"], {" ".join(p).strip() for p in parts
                                             if p[0] != "shown"})
    return found


def jid(name, host=HOST):
    return f"{name}@{host}"


@pytest.fixture(name="theirs")
def ejabberd_with_groups(tmp_path):
    """A dump of a real one, whose groups were made by its own functions."""
    if not ejabberd.is_here():
        pytest.skip("no ejabberd")
    cert = federation.Authority(tmp_path).issue("partner", HOST)
    theirs = ejabberd.Ejabberd(
        tmp_path, HOST, dict(zip(("c2s", "s2s", "dns"), free_ports(3))),
        ["bob", "carol", "dave"], authority=tmp_path / "ca.pem", more="mod_shared_roster: {}",
        **cert)
    made, joined = "", ""
    for name, options, members in (
            ("sales", '{label, <<"Sales & Co">>}, {displayed_groups, [<<"sales">>, <<"help">>]}',
             ["bob", "carol", "gone"]),
            ("help", '{label, <<"Help Desk">>}, {description, <<"Ask us">>}', ["dave"]),
            ("Every One", '{displayed_groups, [<<"Every One">>, <<"lost">>]}', ["@all@"]),
            ("present", '{displayed_groups, [<<"present">>]}', ["@online@", "carol"]),
            ("off", '{disabled, true}', ["bob"]), ("lost", "", [])):
        made += (f'{{atomic, _}} = mod_shared_roster:create_group(<<"{HOST}">>, <<"{name}">>, '
                 f'[{options}]), ')
        for member in members:
            joined += (f'_ = mod_shared_roster:add_user_to_group(<<"{HOST}">>, '
                       f'{{<<"{member}">>, <<"{HOST}">>}}, <<"{name}">>), ')
    joined += f'{{atomic, _}} = mod_shared_roster:delete_group(<<"{HOST}">>, <<"lost">>), '
    try:
        theirs.again(f'{made}{joined}{{ok, _}} = ejabberd_admin:dump_mnesia("{tmp_path}/dump.txt")')
    finally:
        theirs.finish()
    return tmp_path / "dump.txt"


OF_EJABBERD = {
    "sales": ("Sales & Co", {"visible-to members", f"member {jid('bob')}",
                             f"member {jid('carol')}"}),
    "help": ("Help Desk", {"visible-to group sales", f"member {jid('dave')}"}),
    "every-one": ("Every One", {"visible-to members", f"domain {HOST}"}),
    "present": ("present", {"visible-to members", f"member {jid('carol')}"}),
}
LOST = {("group sales", f"a member that is no account here: {jid('gone')}"),
        ("group help", "its description"),
        ("group Every One",
         "that its members see the group lost, which is not in the file"),
        ("group present", "members by @online@: whoever is online; `group-member add NAME --domain "
         "DOMAIN` makes all accounts members"),
        ("group off", "refused: it is disabled")}


def told(answer):
    return {(r["user"].partition("@")[0], r["what"]) for r in answer["rows"]}


def test_groups_of_ejabberd(make_server, theirs):
    ours = make_server(domains=[HOST])
    answer = ours.ctl("import", "ejabberd", str(theirs), "--dry-run")
    assert answer["text"].endswith(
        "groups that would be imported: 4, there already: 0, refused: 1")
    assert told(answer) == LOST and groups(ours) == {}
    answer = ours.ctl("import", "ejabberd", str(theirs))
    assert answer["text"].endswith("groups imported: 4, there already: 0, refused: 1")
    assert told(answer) == LOST and groups(ours) == OF_EJABBERD
    bob = ours.login("bob", "a", password="secret")
    assert items(get(bob)) == {
        jid("carol"): ("both", None, ["Every One", "Sales & Co"]),
        jid("dave"): ("both", None, ["Every One", "Help Desk"])}


def test_a_second_import_changes_nothing(make_server, theirs):
    """Not even what an administrator has changed meanwhile; but new accounts take their places."""
    ours = make_server(domains=[HOST])
    ours.ctl("import", "ejabberd", str(theirs))
    ours.ctl("group-member", "del", "sales", jid("carol"))
    ours.ctl("group", "set", "help", "--shown", "Helpers")
    ours.ctl("group", "set", "present", "--visible-to", f"domain:{HOST}")
    ours.ctl("user", "del", jid("bob"), "--yes")
    before = groups(ours)
    before["sales"][1].add(f"member {jid('bob')}")
    for more in ["--dry-run"], []:
        answer = ours.ctl("import", "ejabberd", str(theirs), *more)
        assert answer["text"].endswith("there already: 3, refused: 2"), answer
        assert ("group sales", "is there already; new accounts that become members: 1"
                ) in told(answer)
        assert ("group help", 'refused: group help is another one here: "Helpers"') in told(answer)
    assert groups(ours) == before
    answer = ours.ctl("import", "ejabberd", str(theirs), "--replace", "--yes")
    assert ("group sales", "is there already") in told(answer) and groups(ours) == before


def test_an_import_that_was_interrupted_is_finished(make_server, theirs):
    """Groups are visible to nobody until they are ready."""
    ours = make_server(domains=[HOST])
    ours.ctl("import", "ejabberd", str(theirs))
    for name in "sales", "every-one":
        ours.ctl("group", "set", name, "--visible-to", "nobody")
    ours.ctl("group-member", "del", "sales", jid("carol"))
    ours.ctl("group-member", "del", "every-one", "--domain", HOST)
    ours.ctl("group", "del", "present", "--yes")
    answer = ours.ctl("import", "ejabberd", str(theirs))
    assert answer["text"].endswith("groups imported: 3, there already: 1, refused: 1")
    assert groups(ours) == OF_EJABBERD
