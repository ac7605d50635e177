"""Sessions as an operator counts them: the report by user and device, and the alarm of capacity."""
import base64
import csv
import hashlib
import io

import pytest

from harness import xml
from harness.client import until

CAPS = "http://jabber.org/protocol/caps"


def answer_disco(client, identities):
    """Answers the server's question about what the client is."""
    query = client.expect(f"<iq type='get' from='localhost'><query xmlns='{xml.DISCO_INFO}'/></iq>")
    client.send(f"<iq type='result' id='{query.get('id')}' to='localhost'>"
                f"<query xmlns='{xml.DISCO_INFO}'>{identities}</query></iq>")
    client.ping()


def client_with(server, name, resource, ver):
    """Its capabilities are the hash of this text (XEP-0115 section 5.1)."""
    client = server.login(name, resource)
    value = base64.b64encode(hashlib.sha1(ver.encode()).digest()).decode()
    client.send(f"<presence><c xmlns='{CAPS}' hash='sha-1' node='https://client.example/' "
                f"ver='{value}'/></presence>")
    return client


PHONE = "<identity category='client' type='phone' name='=Talk, &quot;mobile&quot;'/>"
PHONE_HASHED = 'client/phone//=Talk, "mobile"<'
DESKTOP = "<identity category='gateway' type='x'/><identity category='client' type='pc'/>"
DESKTOP_HASHED = "client/pc//<gateway/x//<"


@pytest.fixture
def devices(make_server):
    """One worker, so that each kind of client is asked for once."""
    server = make_server("alice", "bob", workers=1)
    answer_disco(client_with(server, "alice", "phone", PHONE_HASHED), PHONE)
    answer_disco(client_with(server, "alice", "laptop", DESKTOP_HASHED), DESKTOP)
    client_with(server, "alice", "office", DESKTOP_HASHED).ping()
    server.client("bob", "b")
    return server


def test_report(devices):
    rows = devices.rows("session", "report")
    found = sorted((r["user"], r["device"], r["software"], r["sessions"]) for r in rows)
    assert found == [("alice@localhost", "pc", "", 2),
                     ("alice@localhost", "phone", '=Talk, "mobile"', 1),
                     ("bob@localhost", "unknown", "", 1)]
    assert {r["node"] for r in rows} == {"test1"} and all(r["time"].endswith("Z") for r in rows)


def test_totals(devices):
    row, = devices.rows("session", "report", "--totals")
    found = [row[k] for k in ("users", "one_device", "several_devices", "sessions")]
    assert found == [2, 1, 1, 4]


def test_csv(devices):
    """Names of clients are quoted, and no formula for a spreadsheet."""
    text = devices.ctl_run("--csv", "session", "report").stdout
    rows = list(csv.DictReader(io.StringIO(text)))
    assert {"node", "user", "device", "software", "sessions", "time"} <= set(rows[0])
    assert [r["software"] for r in rows if r["device"] == "phone"] == ["'=Talk, \"mobile\""]
    assert sorted(int(r["sessions"]) for r in rows) == [1, 1, 2]
    assert devices.ctl_run("--csv", "session", "list", "--jid", "nobody@localhost").stdout == ""


@pytest.mark.parametrize("answer", [
    "<iq type='error' id='{id}' to='localhost'><error type='cancel'><service-unavailable "
    "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>",
    "<iq type='result' id='{id}' to='localhost'/>",
    "<iq type='result' id='{id}' to='localhost'><query xmlns='urn:example:x'/></iq>",
    f"<iq type='result' id='{{id}}' to='localhost'><query xmlns='{xml.DISCO_INFO}'>"
    "<identity type='pc'/></query></iq>",
])
def test_clients_that_do_not_tell(make_server, answer):
    server = make_server("alice")
    client = client_with(server, "alice", "x", "v")
    query = client.expect(f"<iq type='get'><query xmlns='{xml.DISCO_INFO}'/></iq>")
    client.send(answer.format(id=query.get("id")))
    client.ping()
    row, = server.rows("session", "report")
    assert row["device"] == "unknown"


def test_long_names_are_cut(make_server):
    server = make_server("alice")
    name = "x" * 62 + "äöü"
    answer_disco(client_with(server, "alice", "x", "another hash"),
                 f"<identity category='client' type='pc' name='{name}'/>")
    row, = server.rows("session", "report")
    assert row["software"] == "x" * 62


def test_sessions_per_account(make_server):
    server = make_server("alice", settings={"session.per-account-max": 2})
    for resource in ("a", "b"):
        server.login("alice", resource)
    third = server.connect("alice")
    assert third.authenticate() is None
    third.open()
    reply = third.iq("set", f"<bind xmlns='{xml.BIND}'><resource>c</resource></bind>")
    assert xml.condition(reply.find(f"{{{xml.CLIENT}}}error")) == "resource-constraint"


# --- the alarm ---


def alarm(server):
    found = [r for r in server.rows("alarm", "list") if r["name"] == "capacity.sessions"]
    return bool(found) and found[0].get("state", "active") in ("active", True)


def test_alarm(make_server):
    """Above 80 % of 1.5 times the capacity, for as long as the setting says, not before."""
    server = make_server("alice", settings={"capacity.users": 2, "capacity.alarm-after": "1s"})
    clients = [server.login("alice", f"r{i}") for i in range(2)]
    until("the gauge", lambda: gauge(server) == 66)
    assert not alarm(server)
    clients.append(server.login("alice", "r2"))
    until("the alarm", lambda: alarm(server))
    assert gauge(server) == 100
    clients.pop().close()
    until("the end of the alarm", lambda: not alarm(server))


def test_no_alarm_before_its_time(make_server):
    server = make_server("alice", settings={"capacity.users": 1, "capacity.alarm-after": "10s"})
    for i in range(3):
        server.login("alice", f"r{i}")
    until("the gauge", lambda: gauge(server) == 300)
    assert not alarm(server)


def gauge(server):
    return next(r["value"] for r in server.rows("metrics")
                if r["name"] == "muster_sessions_capacity_percent")
