"""Groups of users that come from other servers with their accounts."""
import concurrent.futures
import re

import pytest

from harness import ejabberd, federation, prosody
from harness.client import until
from harness.imports import HOST, prosody_file
from harness.server import Failed, free_ports
from im.test_roster import get, items


def groups(server):
    """Of each group its name in rosters, who sees it, and its members."""
    found = {}
    for row in server.rows("group", "list"):
        group, = server.rows("group", "show", row["name"])
        parts = {f"visible-to {word.replace(':', ' ')}" for word in group["visible_to"].split()}
        parts |= {f"member {jid}" for jid in group["members"].split()}
        parts |= {f"domain {name}" for name in group["domains"].split()}
        found[row["name"]] = (row["shown"], parts)
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


def joined(new):
    return f"is there already; accounts of this import that become its members: {new}"


def test_groups_of_ejabberd(make_server, theirs):
    ours = make_server(domains=[HOST])
    answer = ours.bring("ejabberd", str(theirs), "--dry-run")
    assert answer["text"].endswith(
        "groups that would be imported: 4, there already: 0, refused: 1")
    assert told(answer) == LOST and groups(ours) == {}
    answer = ours.bring("ejabberd", str(theirs))
    assert answer["text"].endswith("groups imported: 4, there already: 0, refused: 1")
    assert told(answer) == LOST and groups(ours) == OF_EJABBERD
    bob = ours.login("bob", "a", password="secret")
    assert items(get(bob)) == {
        jid("carol"): ("both", None, ["Every One", "Sales & Co"]),
        jid("dave"): ("both", None, ["Every One", "Help Desk"])}


def test_a_second_import_changes_nothing(make_server, theirs):
    """Not even what an administrator has changed meanwhile; but new accounts take their places."""
    ours = make_server(domains=[HOST])
    ours.bring("ejabberd", str(theirs))
    ours.ctl("group-member", "del", "sales", jid("carol"))
    ours.ctl("group", "set", "help", "--shown", "Helpers")
    ours.ctl("group", "set", "present", "--visible-to", f"domain:{HOST}")
    ours.ctl("user", "del", jid("bob"), "--yes")
    before = groups(ours)
    before["sales"][1].add(f"member {jid('bob')}")
    for more in ["--dry-run"], []:
        answer = ours.bring("ejabberd", str(theirs), *more)
        assert answer["text"].endswith("there already: 3, refused: 2"), answer
        assert ("group sales", joined(1)) in told(answer)
        assert ("group help", 'refused: group help is another one here: "Helpers"') in told(answer)
    assert groups(ours) == before
    answer = ours.bring("ejabberd", str(theirs), "--replace", "--yes")
    assert ("group sales", "is there already") in told(answer) and groups(ours) == before


def not_ready(ours, *names):
    """What an import leaves that ends here: groups that nobody sees."""
    for name in names:
        ours.ctl("group", "set", name, "--visible-to", "nobody")


def test_an_import_that_was_interrupted_is_finished(make_server, theirs):
    """Groups are visible to nobody until they are ready."""
    ours = make_server(domains=[HOST])
    ours.bring("ejabberd", str(theirs))
    not_ready(ours, "sales", "every-one")
    ours.ctl("group-member", "del", "sales", jid("carol"))
    ours.ctl("group-member", "del", "every-one", "--domain", HOST)
    ours.ctl("group", "del", "present", "--yes")
    answer = ours.bring("ejabberd", str(theirs))
    assert answer["text"].endswith("groups imported: 3, there already: 1, refused: 1")
    assert groups(ours) == OF_EJABBERD


def of_prosody(path, *more):
    return "prosody", str(path / "data"), "--groups-file", str(path / "groups.txt"), *more


FILE = f"""# who is who
dave@{HOST}
[Sales & Co]
bob@{HOST}=Bob B.
Carol@{HOST}

gone@{HOST}=Gone
[+Help Desk]
  # open all day
dave@{HOST}  and more
  [Empty]	
[Sales & Co]
bob@{HOST}=Bob
friend@elsewhere.example
"""
IN_PROSODY = {
    "default": ("default", {"visible-to members", f"member {jid('dave')}"}),
    "sales-co": ("Sales & Co", {"visible-to members", f"member {jid('bob')}",
                                f"member {jid('carol')}"}),
    "help-desk": ("Help Desk", {f"visible-to domain {HOST}", f"member {jid('dave')}"}),
    "empty": ("Empty", {"visible-to members"}),
}
NOT_FROM_PROSODY = {
    ("group Sales & Co", f"a member that is no account here: {jid('gone')}"),
    ("group Sales & Co", "a member that is no account here: friend@elsewhere.example"),
    ("group Sales & Co", "nicknames of members: 3; contacts have the names of profiles here"),
}


@pytest.fixture(name="folder")
def folder_of_prosody(tmp_path):
    """What a Prosody has that is stopped, of which no groups are known."""
    for name in "bob", "carol", "dave":
        prosody_file(tmp_path / "data", HOST, "accounts", f"{name}.dat",
                     'return { ["password"] = "secret"; };')
    (tmp_path / "groups.txt").write_text(FILE)
    return tmp_path


@pytest.mark.skipif(not prosody.is_here(), reason="no Prosody")
def test_groups_of_prosody(make_server, tmp_path):
    """Users see the same contacts as there. Other domains of this server do not see public groups:
    they are other people's."""
    (tmp_path / "groups.txt").write_text(FILE)
    cert = federation.Authority(tmp_path).issue("partner", HOST)
    theirs = prosody.Prosody(
        tmp_path, HOST, dict(zip(("c2s", "s2s", "dns"), free_ports(3))), ["bob", "carol", "dave"],
        authority=tmp_path / "ca.pem", more='"groups";',
        settings=f'groups_file = "{tmp_path}/groups.txt"', **cert)
    try:
        there = items(get(theirs.client("bob", "b")))
    finally:
        theirs.finish()
    ours = make_server(domains=[HOST, "other.example"])
    for more, would in (["--dry-run"], "that would be imported"), ([], "imported"):
        assert groups(ours) == {}
        answer = ours.bring(*of_prosody(tmp_path, *more))
        assert answer["text"].endswith(f"groups {would}: 4, there already: 0, refused: 0")
        keys = {(of, text) for of, text in told(answer) if "accounts without keys for" in text}
        assert told(answer) == NOT_FROM_PROSODY | keys and len(keys) == 1  # bob was there
    assert groups(ours) == IN_PROSODY
    here = items(get(ours.login("bob", "a", password="secret")))
    assert {who: item[2] for who, item in here.items()} == {
        who: item[2] for who, item in there.items()
        if who in (jid("carol"), jid("dave"))} == {jid("carol"): ["Sales & Co"],
                                                   jid("dave"): ["Help Desk"]}


def test_groups_of_two_servers_with_one_name(make_server, folder):
    """They become one, and the report says who was there."""
    ours = make_server(domains=[HOST, "other.example"])
    ours.bring(*of_prosody(folder))
    prosody_file(folder / "other" / "data", "other.example", "accounts", "eve.dat",
                 'return { ["password"] = "secret"; };')
    (folder / "other" / "groups.txt").write_text("[Sales & Co]\neve@other.example\n")
    for more in ["--dry-run"], []:
        answer = ours.bring(*of_prosody(folder / "other", *more))
        assert told(answer) == {("group Sales & Co", joined(1))}


def test_groups_with_one_name(make_server, folder):
    (folder / "groups.txt").write_text(f"[A b]\nbob@{HOST}\n[a-B]\ncarol@{HOST}\n")
    ours = make_server(domains=[HOST])
    answer = ours.bring(*of_prosody(folder))
    assert told(answer) == {("group a-B", "refused: another group of the source is a-b here")}
    assert groups(ours) == {"a-b": ("A b", {"visible-to members", f"member {jid('bob')}"})}


def test_groups_of_prosody_for_the_second_time(make_server, folder):
    ours = make_server(domains=[HOST])
    ours.bring(*of_prosody(folder))
    assert groups(ours) == IN_PROSODY
    for more in ["--dry-run"], [], ["--replace", "--yes"]:
        answer = ours.bring(*of_prosody(folder, *more))
        assert answer["text"].endswith("there already: 4, refused: 0"), answer
        assert groups(ours) == IN_PROSODY
    ours.ctl("group", "del", "help-desk", "--yes")
    not_ready(ours, "sales-co")
    answer = ours.bring(*of_prosody(folder))
    assert answer["text"].endswith("groups imported: 2, there already: 2, refused: 0"), answer
    assert groups(ours) == IN_PROSODY


@pytest.mark.parametrize("text, why", [
    (b"bob@x\n[Sales\ncarol@x\n", r'line 2: found .*\[Sales.*, expected \[NAME\] or \[\+NAME\]'),
    (b"[Sales] # all\n", r'line 1: found .*\[Sales\] # all.*, expected \[NAME\] or \[\+NAME\]'),
    (b"\n[+ ]\n", "line 2: found a group without a name"),
    (b"[A]\n =Bob\n", "line 2: found a nickname without an address"),
    (b"[A]\nb\xe9b@x\n", "line 2: found what is no UTF-8"),
    (b"[A]\nbob@x\0\n", "line 2: found a control character"),
    (b"[A]\n" + b"[B%d]\n" * 10001 % tuple(range(10001)), "found more than 10000 groups"),
    (None, "No such file"),
], ids=["open", "behind", "name", "nickname", "utf-8", "control", "many", "absent"])
def test_a_file_of_groups_that_is_damaged(server, tmp_path, text, why):
    """It is read before anything else: no account comes, either."""
    prosody_file(tmp_path / "data", "localhost", "accounts", "rosaline.dat",
                 'return { ["password"] = "x"; };')
    if text is not None:
        (tmp_path / "groups.txt").write_bytes(text)
    with pytest.raises(Failed, match=f"groups.txt: {why}"):
        server.bring(*of_prosody(tmp_path))
    assert groups(server) == {}
    assert "rosaline@localhost" not in {r["jid"] for r in server.rows("user", "list")}


def test_groups_do_not_make_a_wrong_folder_right(server, folder):
    (folder / "data").rename(folder / "elsewhere")
    (folder / "data").mkdir()
    with pytest.raises(Failed, match="found no users"):
        server.bring(*of_prosody(folder))
    assert groups(server) == {}


def test_a_group_that_none_here_can_be(make_server, folder):
    """A dry run says so, too."""
    (folder / "groups.txt").write_text(f"[{'x' * 129}]\nbob@{HOST}\n[fine]\nbob@{HOST}\n")
    ours = make_server(domains=[HOST])
    for more in ["--dry-run"], []:
        answer = ours.bring(*of_prosody(folder, *more))
        assert answer["text"].endswith(": 1, there already: 0, refused: 1"), answer
        ((label, what),) = told(answer)
        assert label == f"group {'x' * 129}" and what.startswith("refused: ")
    assert set(groups(ours)) == {"fine"}


def test_more_groups_and_members_than_there_may_be(make_server, folder):
    (folder / "groups.txt").write_text(
        f"[small]\nbob@{HOST}\n[large]\nbob@{HOST}\ncarol@{HOST}\ndave@{HOST}\n[late]\n")
    ours = make_server(domains=[HOST], settings={"groups.max": "3", "groups.members-max": "2"})
    ours.ctl("group", "add", "first")
    answer = ours.bring(*of_prosody(folder))
    assert answer["text"].endswith(": 1, there already: 0, refused: 2"), answer
    found = dict(told(answer))
    assert re.search("found 3 members by name, allowed: 2", found["group large"])
    assert found["group late"] == "refused: there are 3 groups, which is the most (groups.max)"


def test_groups_count_in_the_progress(make_server, folder):
    """Another connection asks while they are made."""
    (folder / "groups.txt").write_text("".join(
        f"[group {i}]\nbob@{HOST}\n" for i in range(150)))
    ours = make_server(domains=[HOST])
    seen = set()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        done = pool.submit(ours.bring, *of_prosody(folder))
        while not done.done():
            seen |= {row["text"] for row in ours.rows("job", "list", "--running")}
        assert done.result()["text"].endswith("groups imported: 150, there already: 0, refused: 0")
    told = [re.fullmatch(r"users (\d+), rooms 0, groups (\d+), refused 0", s) for s in seen]
    assert all(told) and any(0 < int(m[2]) < 150 for m in told)
    ours.wait_log(r'event=import.progress .*groups=150')


@pytest.mark.sqlite
def test_groups_are_canceled(make_server, folder, disk):
    """Between two of them; the next import goes on."""
    (folder / "groups.txt").write_text("".join(
        f"[group {i}]\nbob@{HOST}\n" for i in range(12)))
    ours = make_server(domains=[HOST], disk=disk)
    disk.turn(sync_ms=40)
    running = ours.ctl_start("import", *of_prosody(folder))
    job, = until("groups", lambda: [row for row in ours.rows("job", "list") if re.search(
        r"groups (imported: )?[1-9]", row["text"])])
    ours.ctl("job", "cancel", job["id"])
    disk.turn(sync_ms=0)
    _, why = running.communicate(timeout=30)
    assert "canceled by `job cancel`; run it again" in why
    again = ours.bring(*of_prosody(folder))["text"]
    counts = re.search(r"groups imported: (\d+), there already: (\d+), refused: 0", again)
    assert 0 < int(counts[1]) < 12 == int(counts[1]) + int(counts[2])
