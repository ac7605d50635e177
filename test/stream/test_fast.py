"""Tokens that log in in one round trip (XEP-0484), and the devices that have them."""
import datetime
import re
import uuid

import pytest

from harness import sasl, xml
from harness.client import until
from harness.server import Failed


BIND = f"<bind xmlns='{xml.BIND2}'/>"
NONE = "HT-SHA-256-NONE"


def request(mechanism=NONE):
    return f"<request-token xmlns='{xml.FAST}' mechanism='{mechanism}'/>"


def fast(count=None, more=""):
    count = "" if count is None else f" count='{count}'"
    return f"<fast xmlns='{xml.FAST}'{count} {more}/>"


def condition(element):
    assert element.tag == f"{{{xml.SASL2}}}failure", xml.canonical(element)
    return element[0].tag.partition("}")[2]


def given(element):
    """The <token/> of a <success/>, or None."""
    assert element.tag == f"{{{xml.SASL2}}}success", xml.canonical(element)
    return element.find(f"{{{xml.FAST}}}token")


class Device:
    """A client with an id and a token, that comes again and again."""

    def __init__(self, server, name="alice", mechanism=NONE):
        self.server, self.name, self.mechanism = server, name, mechanism
        self.id = str(uuid.uuid4())
        self.token = None
        self.client = None

    def connect(self):
        self.client = self.server.connect(self.name)
        return self.client

    def binding(self):
        return self.client.end_point() if self.mechanism == "HT-SHA-256-ENDP" else b""

    def first(self, mechanism="PLAIN"):
        """By password, asking for a token."""
        answer = self.connect().sasl2(mechanism, agent=self.id,
                                      inner=request(self.mechanism) + BIND)
        self.token = given(answer).get("token")
        return answer

    def again(self, count=None, more="", inner="", **changes):
        """By the token; takes a new one if there is one."""
        self.connect()
        options = {"agent": self.id, "token": self.token, "binding": self.binding(), **changes}
        answer = self.client.sasl2(options.pop("mechanism", self.mechanism),
                                   inner=fast(count, more) + BIND + inner, **options)
        if answer.tag == f"{{{xml.SASL2}}}success" and given(answer) is not None:
            self.token = given(answer).get("token")
        return answer


@pytest.fixture
def device(server):
    device = Device(server)
    device.first()
    return device


# --- tokens ---


def test_a_token_has_an_end(server):
    """XEP-0484 section 4.3; 21 days by default."""
    token = given(Device(server).first())
    expiry = datetime.datetime.fromisoformat(token.get("expiry").replace("Z", "+00:00"))
    left = expiry - datetime.datetime.now(datetime.timezone.utc)
    assert datetime.timedelta(days=20, hours=23) < left < datetime.timedelta(days=21, minutes=1)
    assert re.fullmatch("[0-9A-Za-z]{32,}", token.get("token"))


@pytest.mark.parametrize("mechanism", ["HT-SHA-256-NONE", "HT-SHA-256-ENDP"])
def test_login_by_token(server, mechanism):
    device = Device(server, mechanism=mechanism)
    device.first("SCRAM-SHA-256")
    for _ in range(2):
        assert given(device.again()) is None
        device.client.available().ping()


def test_a_device_that_binds_as_before_is_revoked_too(server):
    """RFC 6120 section 7 behind SASL2, without Bind 2."""
    agent = str(uuid.uuid4())
    client = server.connect("alice")
    given(client.sasl2(agent=agent, inner=request()))
    client.bind()
    client.enable_sm()
    other = server.login("alice", "other")
    assert server.rows("device", "list", "alice@localhost")[0]["connected"] is True
    server.ctl("device", "revoke", "alice@localhost", agent)
    client.expect_stream_error("not-authorized")
    other.ping()


def test_two_logins_at_once(server):
    """With a new token: it becomes the current one for both."""
    for _ in range(8):
        device = Device(server)
        device.first()
        token = sasl.Token("alice", device.token)
        clients = [server.connect("alice") for _ in range(2)]
        for client in clients:
            client.sasl2_start(NONE, token.first(), inner=fast(), agent=device.id)
        for client in clients:
            given(client.sasl2_next())


def test_everything_in_one_flight(server, device):
    """One round trip after the TLS handshake: the client waits for nothing."""
    token = sasl.Token("alice", device.token)
    client = server.dial("alice")
    client.raw(f"<?xml version='1.0'?><stream:stream to='localhost' version='1.0' "
               f"from='alice@localhost' xmlns='{xml.CLIENT}' xmlns:stream='{xml.STREAM}'>"
               f"<authenticate xmlns='{xml.SASL2}' mechanism='{NONE}'><initial-response>"
               f"{sasl.encode(token.first())}</initial-response>"
               f"<user-agent id='{device.id}'/><bind xmlns='{xml.BIND2}'><tag>once</tag>"
               f"<enable xmlns='{xml.SM}' resume='true'/></bind>{fast(1)}</authenticate>"
               "<presence/><iq type='get' id='roster'><query xmlns='jabber:iq:roster'/></iq>")
    client.expect_next("<stream:features/>")
    success = client.next()
    assert given(success) is None
    token.verify(sasl.decode(success.findtext(f"{{{xml.SASL2}}}additional-data")))
    jid = success.findtext(f"{{{xml.SASL2}}}authorization-identifier")
    assert jid.startswith("alice@localhost/once/")
    assert success.find(f"{{{xml.BIND2}}}bound/{{{xml.SM}}}enabled").get("id")
    client.expect_next("<stream:features/>")
    client.expect(f"<presence from='{jid}'/>")
    client.expect("<iq type='result' id='roster'/>")


def test_wrong_token(device):
    right, device.token = device.token, "x" * 48
    assert condition(device.again()) == "not-authorized"
    device.token = right
    given(device.again())


@pytest.mark.parametrize("proof", [b"", b"short", b"x" * 33, b"x" * 200])
def test_a_proof_of_another_length(server, device, proof):
    """XEP-0484 §5: a token that is no good, not a mistake in the request."""
    client = server.connect("alice")
    client.sasl2_start(NONE, b"alice\0" + proof, inner=fast(), agent=device.id)
    assert condition(client.sasl2_next()) == "not-authorized"


def test_a_token_belongs_to_its_device(device):
    assert condition(device.again(agent=uuid.uuid4())) == "not-authorized"


def test_a_token_belongs_to_its_mechanism(device):
    """XEP-0484 section 4.4."""
    device.connect()
    answer = device.client.sasl2("HT-SHA-256-ENDP", agent=device.id, token=device.token,
                                 binding=device.client.end_point(), inner=fast() + BIND)
    assert condition(answer) == "not-authorized"


def test_wrong_binding(server):
    device = Device(server, mechanism="HT-SHA-256-ENDP")
    device.first()
    assert condition(device.again(binding=b"x" * 32)) == "not-authorized"


def test_a_token_belongs_to_its_account(server, device):
    thief = Device(server, "bob")
    thief.id, thief.token = device.id, device.token
    assert condition(thief.again()) == "not-authorized"


def test_unknown_users_look_like_wrong_tokens(server):
    answers = []
    for name in ("alice", "nobody"):
        device = Device(server, name)
        device.token = "x" * 48
        answers.append(xml.canonical(device.again()))
    assert answers[0] == answers[1] and "not-authorized" in answers[0]


def test_guessed_tokens_count(make_server):
    server = make_server("alice", settings={"auth.failures-per-account": "2"})
    device = Device(server)
    device.token = "x" * 48
    for _ in range(2):
        assert condition(device.again()) == "not-authorized"
    assert condition(device.again()) == "temporary-auth-failure"


def test_a_count_rises(device):
    """XEP-0484 section 4.4: what was sent before is not accepted again."""
    given(device.again(count=5))
    assert condition(device.again(count=5)) == "not-authorized"
    assert condition(device.again(count=4)) == "not-authorized"
    given(device.again(count=6))
    given(device.again())


@pytest.mark.parametrize("count", ["-1", "x", "", "99999999999999999999"])
def test_bad_count(device, count):
    assert condition(device.again(count=count)) == "malformed-request"


def test_tokens_need_an_id(server):
    client = server.connect("alice")
    assert condition(client.sasl2(inner=request() + BIND)) == "malformed-request"
    answer = client.sasl2(NONE, token="x", inner=fast() + BIND)
    assert condition(answer) == "malformed-request"


@pytest.mark.parametrize("mechanism", ["PLAIN", "HT-SHA-256-UNIQ", "HT-SHA3-512-NONE", ""])
def test_tokens_of_mechanisms_that_are_not_offered(server, mechanism):
    client = server.connect("alice")
    answer = client.sasl2(agent=uuid.uuid4(), inner=request(mechanism) + BIND)
    assert condition(answer) == "malformed-request"


def test_the_element_is_needed_and_means_a_token(server, device):
    client = server.connect("alice")
    answer = client.sasl2(NONE, agent=device.id, token=device.token, inner=BIND)
    assert condition(answer) == "malformed-request"
    answer = client.sasl2("PLAIN", agent=device.id, inner=fast() + BIND)
    assert condition(answer) == "malformed-request"


def test_a_failed_login_gives_no_token(server):
    client = server.connect("alice", password="wrong")
    answer = client.sasl2(agent=uuid.uuid4(), inner=request() + BIND)
    assert condition(answer) == "not-authorized"
    assert answer.find(f"{{{xml.FAST}}}token") is None


def test_expiry(make_server):
    server = make_server("alice", settings={"fast.token-lifetime": "1s"})
    device = Device(server)
    device.first()
    until("expiry", lambda: device.again().tag.endswith("failure"))
    assert condition(device.again()) == "credentials-expired"
    device.first()


def test_rotation(make_server):
    """XEP-0484 section 4.5: the old token works until the new one is used."""
    server = make_server("alice", settings={"fast.token-rotation": "1s"})
    device = Device(server)
    device.first()
    given(device.again())
    old = device.token
    until("rotation", lambda: device.again() is not None and device.token != old)
    new, device.token = device.token, old
    answer = device.again()
    assert given(answer) is not None, "the new one was not used, so another one is given out"
    newest = device.token
    device.token = new
    assert condition(device.again()) == "not-authorized", "it was replaced before it was used"
    device.token = newest
    given(device.again())
    device.token = old
    assert condition(device.again()) == "not-authorized"


def test_asking_for_another_token(device):
    old = device.token
    assert given(device.again(inner=request())) is not None and device.token != old
    given(device.again())
    device.token = old
    assert condition(device.again()) == "not-authorized"


def test_invalidation(device):
    """XEP-0484 section 4.6."""
    assert given(device.again(more="invalidate='true'")) is None
    device.client.ping()
    assert condition(device.again()) == "not-authorized"


def test_invalidation_with_a_new_token(device):
    old = device.token
    assert given(device.again(more="invalidate='1'", inner=request())) is not None
    new, device.token = device.token, old
    assert condition(device.again()) == "not-authorized"
    device.token = new
    given(device.again())


def test_tokens_can_be_off(server, device):
    server.ctl("set", "fast.enabled", "off")
    client = server.connect("alice")
    offer = client.features.find(f"{{{xml.SASL2}}}authentication")
    assert offer.find(f"{{{xml.SASL2}}}inline/{{{xml.FAST}}}fast") is None
    assert condition(device.again()) == "invalid-mechanism"


def test_a_new_password_ends_all_tokens(server, device):
    server.ctl("user", "password", "alice@localhost", "--password", "another")
    assert condition(device.again()) == "not-authorized"
    device.connect().password = "another"
    given(device.client.sasl2(agent=device.id, inner=request() + BIND))


def test_a_new_account_of_the_same_name_has_none(server, device):
    server.ctl("user", "del", "alice@localhost")
    assert condition(device.again()) == "not-authorized"
    server.add_user("alice")
    assert condition(device.again()) == "not-authorized"
    assert server.rows("device", "list", "alice@localhost") == []


def test_tokens_survive_a_restart(server, device):
    server.restart()
    given(device.again())


# --- devices ---


def test_devices_are_listed(server, device):
    other = Device(server)
    other.connect().sasl2(agent=other.id, inner=BIND)
    rows = {row["id"]: row for row in server.rows("device", "list", "alice@localhost")}
    assert set(rows) == {device.id, other.id}
    row = rows[device.id]
    assert (row["software"], row["device"], row["address"]) == ("tests", "this one", "127.0.0.1")
    assert row["token_until"] != "" and rows[other.id]["token_until"] == ""
    assert row["connected"] and row["seen"] >= row["created"]
    device.client.close()
    until("end", lambda: not {r["id"]: r for r in server.rows(
        "device", "list", "alice@localhost")}[device.id]["connected"])


def test_a_device_is_revoked(server, device):
    other = Device(server)
    other.first()
    answer = server.ctl("device", "revoke", "alice@localhost", device.id)
    assert "1" in answer["text"]
    device.client.expect_stream_error("policy-violation", "not-authorized")
    other.client.ping()
    assert condition(device.again()) == "not-authorized"
    given(other.again())
    assert [r["id"] for r in server.rows("device", "list", "alice@localhost")] == [other.id]


def test_a_revoked_device_does_not_resume_after_a_restart(server, device):
    enable = f"<bind xmlns='{xml.BIND2}'><enable xmlns='{xml.SM}' resume='true'/></bind>"
    client = device.connect()
    client.sasl2(agent=device.id, inner=enable)
    client.available()
    server.restart()
    until("session", lambda: len(server.rows("session", "list")) == 1)
    server.ctl("device", "revoke", "alice@localhost", device.id)
    assert server.rows("session", "list") == []


STRANGER = "0b6ab2f4-3ad6-4b0e-8a3c-9d1f0c6f2f11"  # a device nobody has


@pytest.mark.parametrize("jid, ident, why", [
    ("alice@localhost", STRANGER, "no device"), ("alice@localhost", "x", "found x"),
    ("nobody@localhost", STRANGER, "no device"), ("alice", STRANGER, "found")])
def test_bad_revocations(server, jid, ident, why):
    with pytest.raises(Failed, match=why):
        server.ctl("device", "revoke", jid, ident)


def test_the_owner_revokes_by_ad_hoc_command(server, device):
    """XEP-0050; only for oneself."""
    commands, data = "http://jabber.org/protocol/commands", "jabber:x:data"
    alice, bob = server.login("alice"), server.login("bob")

    def run(client, node, ident="", more=""):
        form = (f"<x xmlns='{data}' type='submit'><field var='id'><value>{ident}</value></field>"
                f"{more}</x>") if ident else ""
        reply = client.iq("set", f"<command xmlns='{commands}' node='{node}'/>", to="localhost")
        session = reply[0].get("sessionid")
        if not ident:
            return "".join(reply.itertext())
        return "".join(client.iq(
            "set", f"<command xmlns='{commands}' node='{node}' sessionid='{session}' "
            f"action='complete'>{form}</command>", to="localhost").itertext())

    assert device.id in run(alice, "device-list")
    assert device.id not in run(bob, "device-list")
    theirs = "<field var='jid'><value>alice@localhost</value></field>"
    assert "their own account only" in run(bob, "device-revoke", device.id, theirs)
    assert "no device" in run(bob, "device-revoke", device.id)
    given(device.again())
    assert "revoked" in run(alice, "device-revoke", device.id)
    assert condition(device.again()) == "not-authorized"


def test_devices_are_limited(server):
    for _ in range(66):
        server.connect("alice").sasl2(agent=uuid.uuid4())
    assert len(server.rows("device", "list", "alice@localhost")) == 64
