"""Rows with types: what `musterctl schema` says of settings, commands, metrics and alarms is all
there is, and what the server answers is what it says. Each answer in any test is held against it
(Server.ctl); here each command is run that reads."""
import pytest

from harness import muc, rows

ROOM = "cave@conference.localhost"
VALUES = {"user": "alice@localhost", "bare-jid": "alice@localhost", "jid": "bob@localhost",
          "room": ROOM, "domain": "localhost", "setting": "web.title",
          "version": "1", "from": "0", "series": "muster_sessions", "alarm": "store.full",
          "id": "1", "name": "desk", "node": "test1", "reason": "a test"}
# Their rows need more than a login; they have tests of their own.
ELSEWHERE = {"alarm list", "alarm history", "push list", "device list", "upload list",
             "contact full", "room joins", "cert list", "cert-trust list",
             "report list", "motd show", "s2s list", "s2s-route list", "s2s-demand list",
             "backup list", "s2s-group list", "federation list", "federation reports",
             "test history", "test users", "metrics history", "admin sessions",
             "archive choices", "archive events", "archive read", "archive room", "trace list",
             "trace message", "trace texts",
             "user blocked", "user photo", "user vcard"}
# They fail where there is no other server, or something to mend:
# federation/test_s2s_operate.py, operate/test_doctor.py.
NEEDS_A_PARTNER = {"s2s trace", "doctor"}

# Lists without pages, and what bounds them. All others go on: `after` and `limit`.
BOUNDED = {
    "admin sessions": "1,000 sessions", "alarm list": "the alarms of the program",
    "backup list": "1,000 folders",
    "cert findings": "certificates in files", "cert list": "certificates in files",
    "cert ocsp": "certificates in files", "cert show": "certificates in files",
    "cert-trust list": "1,024 certificates", "config candidate": "administrators who edit",
    "config compare": "the settings", "config diff": "the settings",
    "config show": "the settings",
    "config version": "the settings", "device list": "64 devices", "doctor": "its checks",
    "doctor outside": "its checks",
    "domain list": "the domains of the node file", "federation show": "three lines",
    "job list": "running ones, and 50 that ended", "log areas": "the areas of the program",
    "log list": "4,000 lines",
    "metrics": "the metrics of the program", "metrics history": "2,000 points",
    "metrics series": "192 series", "motd show": "the lines of one text",
    "node list": "the nodes", "policy show": "the lines of one policy",
    "presence view": "10,000 contacts",
    "push list": "push.registrations-max", "room fields": "the fields of a form",
    "room-alias report": "256 aliases", "s2s list": "10,000 streams", "s2s show": "10,000 lines",
    "s2s trace": "the steps of one attempt", "s2s-group list": "1,000 departments",
    "s2s-route list": "10,000 routes", "session report": "its rows are counted beyond 10,000",
    "test history": "30 of each test", "test users": "100 accounts",
    "tls list": "its contexts", "trace list": "16 users", "trace message": "500 lines",
    "trace texts": "4,000 lines", "user groups": "groups.max", "user stats": "its names",
    "user vcard": "500 lines", "webhook events": "the events of the program",
    "webhook list": "32 webhooks"}
ONE_ROW = {"admin show", "alarm show", "audit verify", "cert monitor",
           "domain show", "get", "group show", "job show", "node show",
           "role show", "room show", "snmp show", "status", "template show", "token show",
           "upload quota",
           "user archive", "user count", "user last", "user photo",
           "user role", "user show", "webhook show"}


@pytest.fixture
def busy(server, alice, bob):
    """A server where most lists have something."""
    muc.Room("cave").create(alice, "firstwitch", persistentroom="1")
    server.ctl("contact", "add", "alice@localhost", "bob@localhost")
    server.ctl("room-admin", "add", "bob@localhost")
    server.ctl("room-alias", "add", "chat.localhost")
    server.ctl("component", "add", "echo.localhost", "--secret", "s" * 32)
    server.ctl("group", "add", "desk")
    server.ctl("group-member", "add", "desk", "alice@localhost")
    server.ctl("role", "set", "desk", "users.read")
    server.ctl("template", "add", "desk")
    server.ctl("token", "add", "desk", "viewer")
    server.ctl("admin", "create", "desk", "viewer")
    server.ctl("admin", "add", "alice@localhost", "viewer")
    server.ctl("webhook", "add", "http://hook.test/", "--events", "user.deleted")
    server.ctl("set", "web.title", "Ravens")
    server.ctl("config", "edit", "sm.ack-every", "6")
    server.ctl("room", "cleanup", "--older-than", "5d", "--dry-run")
    return server


def arguments(command, job):
    given = command["properties"]["args"]
    for name in given["required"]:
        rule = given["properties"][name]
        yield job if name == "job" else VALUES.get(rule["x-type"]) or VALUES.get(name)


def readers():
    return {name: command for name, command in rows.part("commands").items()
            if command["x-effect"] == "reads"}


def test_the_schema_is_json_schema():
    assert rows.schema()["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert rows.malformed(rows.schema()) == []


def test_times_have_the_same_names_everywhere():
    """When it was made: created; when it happened: time; when a state began: since."""
    for name, command in rows.part("commands").items():
        columns = command["properties"]["rows"].get("items", {}).get("properties", {})
        stamps = {column for column, rule in columns.items() if rule["x-type"] == "timestamp"}
        assert not stamps & {"at", "when", "date", "made", "began", "begun", "begin", "start"}, name


def test_an_account_has_the_same_name_everywhere():
    """Of a command that is about one: `jid`, as in all paths of the API; about several: `users`."""
    for name, command in rows.part("commands").items():
        args = command["properties"]["args"]
        accounts = {arg for arg in args["required"]
                    if args["properties"][arg]["x-type"] == "user"}
        assert accounts <= {"jid", "users"}, name


def test_the_schema_is_complete(server):
    assert set(rows.part("settings")) == {r["name"] for r in server.rows("config", "show")}
    assert set(rows.part("metrics")) == {r["name"] for r in server.rows("metrics")}
    assert set(rows.part("alarms")) == {r["name"] for r in server.rows("alarm", "list", "--all")}
    text = server.ctl_run("help").stdout
    listed = {line[2:22].strip() for line in text.split("Exit status")[0].splitlines()
              if line.startswith("  ") and line[2].isalpha()}
    own = {"help", "completion", "names", "schema", "watch"}
    assert listed - own == set(rows.part("commands"))
    for name, command in rows.part("commands").items():
        shown = server.ctl_run("help", *name.split()).stdout.lower()
        for argument in command["properties"]["args"]["properties"]:
            assert argument.replace("_", "-") in shown or "|" in shown, (name, argument)


def test_defaults_are_what_the_schema_says(server):
    for row in server.rows("config", "show"):
        rule = rows.part("settings")[row["name"]]
        assert row["default_value"] == rule["x-default"] and row["type"] == rule["x-type"]


def test_each_setting_says_how_far_it_reaches(server):
    for name, rule in rows.part("settings").items():
        assert rule["x-scope"] in ("cluster", "node", "domain"), name
    for name in ("node.memory", "c2s.idle-ping", "web.title"):
        assert server.rows("get", name)[0]["scope"] == rows.part("settings")[name]["x-scope"]


def test_each_command_needs_a_permission():
    """The permission tells reading from changing: nobody who may only read can change."""
    for name, command in rows.part("commands").items():
        area, verb = command["x-permission"].split(".")
        assert area.isalpha(), name
        assert verb == {"reads": "read", "changes": "write"}[command["x-effect"]], name


def test_each_list_has_pages_or_a_bound():
    whole = set()
    for name, command in readers().items():
        given = command["properties"]["args"]["properties"].keys()
        answer = command["properties"]["rows"]
        if "maxItems" not in answer and not {"after", "limit"} <= given:
            whole.add(name)
    assert whole == BOUNDED.keys() | ONE_ROW


def tables(server):
    """All that is stored, but how far the readers of the log have come by themselves, and the audit
    log, which tells soon after a command that it ran, also of some that read."""
    with server.database() as database:
        names = [name for name, in database.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' "
            "AND name NOT IN ('reader', 'audit_log', 'audit_head') "
            "AND name NOT LIKE '%fts%'")]
        return {name: sorted(map(repr, database.execute(f'SELECT * FROM "{name}"')))
                for name in names}


def test_what_reads_changes_nothing_and_answers_as_declared(busy):
    empty, before, job = set(), tables(busy), busy.rows("job", "list")[0]["id"]
    for name, command in readers().items():
        if command["x-access"] == "local" or name in NEEDS_A_PARTNER:
            continue
        answer = busy.ctl(*name.split(), *arguments(command, job))
        assert tables(busy) == before, name
        if not answer["rows"] and "maxItems" not in command["properties"]["rows"]:
            empty.add(name)
    assert empty <= ELSEWHERE, empty - ELSEWHERE


def test_an_answer_that_is_not_declared_is_found():
    rule = rows.part("commands")["user list"]["properties"]["rows"]
    good = {"jid": "a@b", "created": "", "disabled": False}
    assert rows.wrong([good], rule) == []
    for bad in ({**good, "more": 1}, {**good, "disabled": "no"}, {"jid": "a@b", "created": ""}):
        assert len(rows.wrong([bad], rule)) == 1
