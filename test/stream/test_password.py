"""What a stolen token or session may do to its account (XEP-0077 sections 3.2 and 3.3): the current
password is asked for, and a change ends what others have."""
import uuid

import pytest

from harness import xml
from harness.client import until
from harness.registration import CANCEL, CHANGE, REGISTER, change, form


BIND = f"<bind xmlns='{xml.BIND2}'/>"
NONE = "HT-SHA-256-NONE"

def plain_change(password="a new one"):
    return REGISTER.format(f"<username>alice</username><password>{password}</password>")


class Phone:
    """A client of alice that comes with a token after its first login."""

    def __init__(self, server):
        self.server, self.id = server, str(uuid.uuid4())
        client = server.connect("alice")
        answer = client.sasl2(agent=self.id, inner=BIND + f"<request-token xmlns='{xml.FAST}' "
                                                          f"mechanism='{NONE}'/>")
        self.token = answer.find(f"{{{xml.FAST}}}token").get("token")
        self.first = client

    def login(self, inner=BIND):
        client = self.server.connect("alice")
        answer = client.sasl2(NONE, agent=self.id, token=self.token,
                              inner=f"<fast xmlns='{xml.FAST}'/>" + inner)
        return client, answer


@pytest.fixture
def phone(server):
    return Phone(server)


@pytest.fixture
def thief(phone):
    """A client that has the token and nothing else."""
    client, answer = phone.login()
    assert answer.tag.endswith("success")
    return client


def refused(client, inner):
    """The error, and the fields of the form that comes with it."""
    client.send(f"<iq type='set' id='r' to='localhost'>{inner}</iq>")
    error = client.expect("<iq type='error' id='r'/>")
    fields = [f.get("var") for f in error.iter("{jabber:x:data}field")]
    return xml.condition(error.find(f"{{{xml.CLIENT}}}error")), fields


WHO = ["owner", "thief"]


@pytest.fixture(params=WHO)
def anybody(server, request):
    """A client that logged in by the password, or by a token: with the default all are asked."""
    if request.param == "owner":
        return server.login("alice", "a")
    return request.getfixturevalue("thief")


def test_the_password_is_not_changed_without_the_current_one(server, anybody):
    asked = ["FORM_TYPE", "username", "old_password", "password"]
    assert refused(anybody, plain_change()) == ("not-authorized", asked)
    wrong = form(CHANGE, username="alice", old_password="wrong", password="a new one")
    assert refused(anybody, wrong) == ("not-authorized", [])
    empty = form(CHANGE, username="alice", old_password="", password="a new one")
    assert refused(anybody, empty)[0] in ("bad-request", "not-authorized")
    server.login("alice")
    anybody.result("set", change(anybody, "a new one"), to="localhost")
    server.login("alice", password="a new one")


def test_the_account_is_not_deleted_without_the_current_password(server, anybody):
    assert refused(anybody, REGISTER.format("<remove/>")) == (
        "not-authorized", ["FORM_TYPE", "username", "password"])
    wrong = form(CANCEL, username="alice", password="wrong")
    assert refused(anybody, wrong) == ("not-authorized", [])
    assert refused(anybody, form(CANCEL, username="bob", password="secret"))[0] == "not-allowed"
    server.login("alice")
    anybody.send(f"<iq type='set' id='r'>{form(CANCEL, username='alice', password='secret')}</iq>")
    until("it is gone", lambda: "alice@localhost" not in [
        row["jid"] for row in server.rows("user", "list")])


def test_the_current_password_is_not_guessed_in_a_session(server, thief):
    answers = [refused(thief, form(CHANGE, username="alice", old_password=f"guess {n}",
                                   password="a new one"))[0] for n in range(11)]
    assert answers == ["not-authorized"] * 10 + ["resource-constraint"]
    right = form(CHANGE, username="alice", old_password="secret", password="a new one")
    assert refused(thief, right)[0] == "resource-constraint"
    server.login("alice")


def test_a_session_that_a_token_resumes_asks(server, phone):
    """However it began."""
    client = server.connect("alice")
    client.sasl2(agent=phone.id, inner=f"<bind xmlns='{xml.BIND2}'>"
                                       f"<enable xmlns='{xml.SM}' resume='true'/></bind>")
    client.result("get", "<query xmlns='jabber:iq:roster'/>")
    previd = client.sm_id
    client.cut()
    client, answer = phone.login(f"<resume xmlns='{xml.SM}' previd='{previd}' h='0'/>")
    assert answer.find(f"{{{xml.SM}}}resumed") is not None
    assert refused(client, plain_change())[0] == "not-authorized"


@pytest.mark.parametrize("ask, who, fields", [
    ("never", "thief", None), ("token", "owner", None),
    ("token", "thief", ["FORM_TYPE", "username", "old_password", "password"])])
def test_setting(server, phone, ask, who, fields):
    server.ctl("set", "register.ask-password", ask)
    client = server.login("alice", "a") if who == "owner" else phone.login()[0]
    if fields is None:
        client.result("set", plain_change(), to="localhost")
        server.login("alice", password="a new one")
    else:
        assert refused(client, plain_change()) == ("not-authorized", fields)
        server.login("alice")


@pytest.mark.parametrize("by", ["owner", "operator"])
def test_a_change_ends_what_others_have(server, phone, by):
    """Sessions that are on line, those that could be resumed, and tokens."""
    online, _ = phone.login()
    away = server.login("alice", "away")
    away.enable_sm()
    away.cut()
    until("it hibernates", lambda: [s for s in server.rows("session", "list")
                                    if s["jid"].endswith("/away") and s["state"] != "online"])
    owner = server.client("alice", "owner")
    if by == "owner":
        owner.result("set", change(owner, "a new one"), to="localhost")
        owner.ping()
    else:
        server.ctl("user", "password", "alice@localhost", "--password", "a new one")
        owner.expect_stream_error("not-authorized", "reset", "conflict", "policy-violation")
    online.expect_stream_error("not-authorized", "reset", "conflict", "policy-violation")
    again = server.connect("alice", password="a new one")
    assert again.authenticate() is None
    again.open()
    again.raw(f"<resume xmlns='{xml.SM}' previd='{away.sm_id}' h='0'/>")
    again.expect(f"<failed xmlns='{xml.SM}'/>")
    assert phone.login()[1].tag.endswith("failure")
    assert server.connect("alice").authenticate() == "not-authorized"
