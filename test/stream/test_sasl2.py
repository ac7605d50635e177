"""SASL2 (XEP-0388), Bind 2 (XEP-0386), protection against downgrades (XEP-0474), upgrades of stored
hashes (XEP-0480)."""
import hashlib
import hmac
import ssl
import uuid

import pytest

from harness import sasl, xml
from harness.client import insecure_context, until


SCRAM = ["SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-1"]
BIND = f"<bind xmlns='{xml.BIND2}'/>"


def bind2(inner="", tag=None):
    tag = f"<tag>{tag}</tag>" if tag else ""
    return f"<bind xmlns='{xml.BIND2}'>{tag}{inner}</bind>"


def failed(element):
    """The condition of a <failure/> (RFC 6120 section 6.5, in SASL2)."""
    assert element.tag == f"{{{xml.SASL2}}}failure", xml.canonical(element)
    return element[0].tag.partition("}")[2]


def succeeded(element):
    assert element.tag == f"{{{xml.SASL2}}}success", xml.canonical(element)
    return element


# --- what is offered ---


def test_offer(server):
    client = server.connect()
    offer = client.features.find(f"{{{xml.SASL2}}}authentication")
    names = [m.text for m in offer.findall(f"{{{xml.SASL2}}}mechanism")]
    assert names == client.mechanisms
    inline = offer.find(f"{{{xml.SASL2}}}inline")
    assert inline.find(f"{{{xml.SM}}}sm") is not None
    features = inline.find(f"{{{xml.BIND2}}}bind/{{{xml.BIND2}}}inline")
    assert xml.SM in [f.get("var") for f in features]
    fast = [m.text for m in inline.find(f"{{{xml.FAST}}}fast")]
    assert fast == ["HT-SHA-256-EXPR", "HT-SHA-256-ENDP", "HT-SHA-256-NONE"]
    assert inline.find(f"{{{xml.FAST}}}fast").get("tls-0rtt") is None
    upgrades = [u.text for u in offer.findall(f"{{{xml.UPGRADE}}}upgrade")]
    assert upgrades == ["UPGR-SCRAM-SHA-256", "UPGR-SCRAM-SHA-512"]


def test_tokens_are_not_offered_in_the_clear(make_server):
    """XEP-0484 section 7."""
    server = make_server("alice", settings={"c2s.tls-required": "off"},
                         why="what is offered without TLS")
    client = server.connect("alice", tls="none")
    offer = client.features.find(f"{{{xml.SASL2}}}authentication")
    assert offer.find(f"{{{xml.SASL2}}}inline/{{{xml.FAST}}}fast") is None
    succeeded(client.sasl2(inner=BIND))


def test_tls_is_needed_first(server):
    client = server.dial("alice", tls="none")
    client.open()
    assert not client.offers("authentication", xml.SASL2)
    assert failed(client.sasl2()) == "encryption-required"


# --- the exchange ---


@pytest.mark.parametrize("mechanism", SCRAM + ["PLAIN"])
def test_login_without_binding(server, mechanism):
    """No stream is restarted; binding of RFC 6120 follows."""
    client = server.connect("alice")
    success = succeeded(client.sasl2(mechanism))
    assert client.jid == "alice@localhost"
    assert success.find(f"{{{xml.BIND2}}}bound") is None
    assert client.offers("bind", xml.BIND) and client.offers("sm", xml.SM)
    assert client.bind("x") == "alice@localhost/x"
    client.ping()


def test_channel_binding(server):
    client = server.connect("alice")
    binding = ("tls-server-end-point", client.end_point())
    succeeded(client.sasl2("SCRAM-SHA-256-PLUS", binding=binding, inner=BIND))
    client.ping()


def test_without_initial_response(server):
    client = server.connect("alice")
    client.sasl2_start("PLAIN")
    assert client.sasl2_next().tag == f"{{{xml.SASL2}}}challenge"
    client.sasl2_say("response", b"\0alice\0secret")
    client.sasl2_done(succeeded(client.sasl2_next()))


def test_unknown_users_look_like_wrong_passwords(server):
    answers = []
    for name in ("alice", "nobody"):
        for mechanism in ("PLAIN", "SCRAM-SHA-256"):
            client = server.connect(name, password="wrong")
            answers.append(xml.canonical(client.sasl2(mechanism)))
    assert answers[:2] == answers[2:] and "not-authorized" in answers[0]


def test_another_try_on_the_same_stream(server):
    client = server.connect("alice", password="wrong")
    assert failed(client.sasl2(inner=BIND)) == "not-authorized"
    assert failed(client.sasl2("SCRAM-SHA-1", inner=BIND)) == "not-authorized"
    client.password = "secret"
    succeeded(client.sasl2(inner=BIND))


def test_both_profiles_on_one_stream(server):
    client = server.connect("alice", password="wrong")
    assert failed(client.sasl2()) == "not-authorized"
    assert client.authenticate() == "not-authorized"
    client.password = "secret"
    client.login()


def test_retries_are_limited(server):
    client = server.connect("alice", password="wrong")
    for _ in range(4):
        assert failed(client.sasl2()) in ("not-authorized", "temporary-auth-failure")
    client.expect_stream_error("policy-violation")


def test_the_name_in_the_header_must_fit_the_authorization(server):
    """XEP-0388 section 2.3."""
    for named, authzid, right in (("alice", "alice@localhost", True), ("bob", "", True),
                                  ("bob", "alice@localhost", False)):
        client = server.dial("alice")
        client.open(header=f"<stream:stream from='{named}@localhost' to='localhost' version='1.0' "
                           f"xmlns='{xml.CLIENT}' xmlns:stream='{xml.STREAM}'>")
        answer = client.sasl2(authzid=authzid)
        if right:
            succeeded(answer)
        else:
            assert failed(answer) == "invalid-authzid"


MALFORMED = [
    ("<authenticate xmlns='{0}'/>", "malformed-request"),
    ("<authenticate xmlns='{0}' mechanism='X-UNKNOWN'/>", "invalid-mechanism"),
    ("<authenticate xmlns='{0}' mechanism='EXTERNAL'/>", "invalid-mechanism"),
    ("<authenticate xmlns='{0}' mechanism='HT-SHA-256-NONE'/>", "malformed-request"),
    ("<authenticate xmlns='{0}' mechanism='PLAIN'><initial-response>*</initial-response>"
     "</authenticate>", "incorrect-encoding"),
    ("<authenticate xmlns='{0}' mechanism='PLAIN'><initial-response/></authenticate>",
     "malformed-request"),
    ("<authenticate xmlns='{0}' mechanism='PLAIN'><initial-response/><initial-response/>"
     "</authenticate>", "malformed-request"),
    ("<authenticate xmlns='{0}' mechanism='PLAIN'><user-agent id='no-uuid'/></authenticate>",
     "malformed-request"),
    ("<authenticate xmlns='{0}' mechanism='PLAIN'><user-agent "
     "id='d4565fa7x4d72-4749-b3d3-740edbf87770'/></authenticate>", "malformed-request"),
    ("<authenticate xmlns='{0}' mechanism='PLAIN'><user-agent><software>" + "x" * 257 +
     "</software></user-agent></authenticate>", "malformed-request"),
    ("<authenticate xmlns='{0}' mechanism='PLAIN'><user-agent><device>" + "x" * 257 +
     "</device></user-agent></authenticate>", "malformed-request"),
    ("<authenticate xmlns='{0}' mechanism='PLAIN'><bind xmlns='urn:xmpp:bind:0'><tag>" + "x" * 129
     + "</tag></bind></authenticate>", "malformed-request"),
    ("<authenticate xmlns='{0}' mechanism='PLAIN'><bind xmlns='urn:xmpp:bind:0'><a>" + "x" * 20000
     + "</a></bind></authenticate>", "malformed-request"),
    ("<authenticate xmlns='{0}' mechanism='PLAIN'><upgrade xmlns='urn:xmpp:sasl:upgrade:0'>"
     "UPGR-BLOOP</upgrade></authenticate>", "malformed-request"),
    ("<authenticate xmlns='{0}' mechanism='PLAIN'><upgrade xmlns='urn:xmpp:sasl:upgrade:0'>"
     "UPGR-SCRAM-SHA-1</upgrade></authenticate>", "malformed-request"),
    ("<response xmlns='{0}'/>", "malformed-request"),
    ("<abort xmlns='{0}'/>", "malformed-request"),
    ("<next xmlns='{0}' task='UPGR-SCRAM-SHA-256'/>", "malformed-request"),
    ("<task-data xmlns='{0}'/>", "malformed-request"),
    ("<success xmlns='{0}'/>", "malformed-request"),
]


@pytest.mark.parametrize("text, condition", MALFORMED)
def test_malformed(server, text, condition):
    client = server.connect("alice")
    client.raw(text.format(xml.SASL2))
    assert failed(client.sasl2_next()) == condition
    succeeded(client.sasl2(inner=BIND))


def test_abort(server):
    client = server.connect("alice")
    client.sasl2_start("SCRAM-SHA-256", sasl.Scram("SCRAM-SHA-256", "alice", "secret").first())
    assert client.sasl2_next().tag == f"{{{xml.SASL2}}}challenge"
    client.raw(f"<abort xmlns='{xml.SASL2}'/>")
    assert failed(client.sasl2_next()) == "aborted"
    succeeded(client.sasl2(inner=BIND))


@pytest.mark.parametrize("text", [
    "<presence/>", f"<auth xmlns='{xml.SASL}' mechanism='PLAIN'>AGEAYQ==</auth>",
    f"<authenticate xmlns='{xml.SASL2}' mechanism='PLAIN'/>", f"<success xmlns='{xml.SASL2}'/>",
    f"<next xmlns='{xml.SASL2}' task='x'/>", "<iq type='get' id='x'><x xmlns='y'/></iq>"])
def test_anything_else_during_an_exchange_ends_the_stream(server, text):
    """XEP-0388 section 2.4."""
    client = server.connect("alice")
    client.sasl2_start("SCRAM-SHA-256", sasl.Scram("SCRAM-SHA-256", "alice", "secret").first())
    assert client.sasl2_next().tag == f"{{{xml.SASL2}}}challenge"
    client.raw(text)
    client.expect_stream_error("policy-violation")


def test_sasl2_during_an_exchange_of_the_old_profile(server):
    client = server.connect("alice")
    client.sasl_start("SCRAM-SHA-256", sasl.Scram("SCRAM-SHA-256", "alice", "secret").first())
    assert client.sasl_answer()[0] == "challenge"
    client.sasl2_start("PLAIN", b"\0alice\0secret")
    client.expect_stream_error("policy-violation")


@pytest.mark.parametrize("inner", ["", BIND])
def test_authenticating_again_ends_the_stream(server, inner):
    """XEP-0388 section 3.8."""
    client = server.connect("alice")
    succeeded(client.sasl2(inner=inner))
    client.sasl2_start("PLAIN", b"\0alice\0secret")
    client.expect_stream_error("policy-violation", "unsupported-stanza-type")


# --- Bind 2 ---


def test_bind(server):
    client = server.connect("alice")
    succeeded(client.sasl2("SCRAM-SHA-256", inner=bind2(tag="Psi")))
    assert client.jid.startswith("alice@localhost/Psi/") and len(client.jid) > 28
    assert not client.offers("bind", xml.BIND)
    client.available().ping()


def test_bind_without_a_tag(server):
    one, other = server.connect("alice"), server.connect("alice")
    for client in (one, other):
        succeeded(client.sasl2(inner=BIND))
    assert one.jid != other.jid
    one.ping()
    other.ping()


def test_a_tag_that_is_no_resource_is_left_out(server):
    client = server.connect("alice")
    succeeded(client.sasl2(inner=bind2(tag="Psi\u200e")))
    assert "Psi" not in client.jid


def test_inline_stream_management(server):
    client = server.connect("alice")
    enable = f"<enable xmlns='{xml.SM}' resume='true'/>"
    success = succeeded(client.sasl2(inner=bind2(enable)))
    enabled = success.find(f"{{{xml.BIND2}}}bound/{{{xml.SM}}}enabled")
    assert enabled.get("resume") == "true" and enabled.get("id")
    assert not client.offers("sm", xml.SM)
    client.ping()
    client.wait_acked(1)
    client.raw(f"<enable xmlns='{xml.SM}'/>")
    client.expect(f"<failed xmlns='{xml.SM}'/>")


def test_inline_stream_management_without_resumption(server):
    client = server.connect("alice")
    success = succeeded(client.sasl2(inner=bind2(f"<enable xmlns='{xml.SM}'/>")))
    enabled = success.find(f"{{{xml.BIND2}}}bound/{{{xml.SM}}}enabled")
    assert enabled.get("id") is None
    client.ping()
    client.wait_acked(1)


@pytest.mark.parametrize("offered", ["on", "off"])
def test_inline_resumption(server, bob, offered):
    """With sm.enabled off as well: who has it keeps it."""
    client = server.connect("alice")
    enable = f"<enable xmlns='{xml.SM}' resume='true'/>"
    succeeded(client.sasl2(inner=bind2(enable)))
    client.available()
    server.ctl("set", "sm.enabled", offered)
    client.cut()
    bob.send(f"<message to='{client.jid}' type='chat'><body>while away</body></message>")
    again = server.connect("alice")
    again.h = client.h
    resume = f"<resume xmlns='{xml.SM}' previd='{client.sm_id}' h='{client.h}'/>"
    success = succeeded(again.sasl2(inner=resume + BIND))
    resumed = success.find(f"{{{xml.SM}}}resumed")
    assert resumed.get("previd") == client.sm_id and resumed.get("h") == "1"
    assert success.find(f"{{{xml.BIND2}}}bound") is None and again.jid == client.jid
    again.expect("<message><body>while away</body></message>")
    again.ping()


@pytest.mark.parametrize("resume, condition", [
    ("previd='nonsense' h='0'", "item-not-found"), ("previd='x'", "bad-request"),
    ("h='0'", "bad-request"), ("previd='x' h='-1'", "bad-request")])
def test_failed_resumption_is_followed_by_binding(server, resume, condition):
    """XEP-0386 section 4.2."""
    client = server.connect("alice")
    success = succeeded(client.sasl2(inner=f"<resume xmlns='{xml.SM}' {resume}/>" + BIND))
    assert xml.condition(success.find(f"{{{xml.SM}}}failed")) == condition
    assert success.find(f"{{{xml.BIND2}}}bound") is not None
    client.available().ping()


def test_failed_resumption_without_binding(server):
    client = server.connect("alice")
    success = succeeded(client.sasl2(inner=f"<resume xmlns='{xml.SM}' previd='x' h='0'/>"))
    assert success.find(f"{{{xml.SM}}}failed") is not None
    client.bind()
    client.ping()


def test_a_client_replaces_its_earlier_session(server):
    """XEP-0386 section 4.2, known by the id of its user agent."""
    agent, other = uuid.uuid4(), uuid.uuid4()
    one, two, three = (server.connect("alice") for _ in range(3))
    succeeded(one.sasl2(inner=BIND, agent=agent))
    succeeded(two.sasl2(inner=BIND, agent=other))
    succeeded(three.sasl2(inner=BIND, agent=agent))
    one.expect_stream_error("conflict")
    two.ping()
    three.ping()


def test_too_many_sessions(make_server):
    server = make_server("alice", settings={"session.per-account-max": "1"})
    server.login("alice")
    client = server.connect("alice")
    assert failed(client.sasl2(inner=BIND)) == "temporary-auth-failure"
    assert failed(client.sasl2(inner=BIND)) == "temporary-auth-failure"


def test_everything_in_one_flight(server):
    """Header, login, binding and what comes behind them, sent without waiting for an answer."""
    client = server.dial("alice")
    client.raw(f"<?xml version='1.0'?><stream:stream to='localhost' version='1.0' "
               f"from='alice@localhost' xmlns='{xml.CLIENT}' xmlns:stream='{xml.STREAM}'>"
               f"<authenticate xmlns='{xml.SASL2}' mechanism='PLAIN'><initial-response>"
               f"{sasl.encode(sasl.plain('alice', 'secret'))}</initial-response>"
               f"{bind2(tag='once')}</authenticate>"
               "<iq type='get' id='roster'><query xmlns='jabber:iq:roster'/></iq><presence/>")
    assert client.expect_next("<stream:features/>").find(f"{{{xml.SASL2}}}authentication")
    jid = succeeded(client.next()).findtext(f"{{{xml.SASL2}}}authorization-identifier")
    assert jid.startswith("alice@localhost/once/")
    client.expect_next("<stream:features/>")
    client.expect_next("<iq type='result' id='roster'/>")
    client.expect(f"<presence from='{jid}'/>")


# --- XEP-0474 ---


@pytest.mark.parametrize("mechanism", SCRAM)
@pytest.mark.parametrize("profile", [1, 2])
def test_what_was_offered_is_said(server, mechanism, profile):
    client = server.connect("alice")
    scram = sasl.Scram(mechanism, "alice", "secret")
    if profile == 1:
        client.sasl_start(mechanism, scram.first())
        scram.final(client.sasl_answer()[1])
    else:
        client.sasl2_start(mechanism, scram.first())
        scram.final(sasl.decode(client.sasl2_next().text))
    assert scram.offered == sasl.offered_hash(mechanism, client.mechanisms, client.bindings)


def test_downgrade_protection_can_be_off(make_server):
    server = make_server("alice", settings={"c2s.downgrade-protection": "off"})
    client = server.connect("alice")
    scram = sasl.Scram("SCRAM-SHA-256", "alice", "secret")
    client.sasl_start("SCRAM-SHA-256", scram.first())
    scram.final(client.sasl_answer()[1])
    assert scram.offered is None


# --- XEP-0480 ---


def upgrade(*hashes):
    return "".join(f"<upgrade xmlns='{xml.UPGRADE}'>UPGR-SCRAM-{h}</upgrade>" for h in hashes)


@pytest.fixture
def weak(make_server):
    """A server whose user alice has only the weakest hash."""
    server = make_server("alice")
    server.stop()
    with server.database() as db:
        assert db.execute("DELETE FROM credential WHERE hash > 0").rowcount == 2
    return server.start()


def do_task(client, name, algorithm, password=b"secret", forge=None):
    client.raw(f"<next xmlns='{xml.SASL2}' task='{name}'/>")
    salt = client.sasl2_next().find(f"{{{xml.SCRAM_UPGRADE}}}salt")
    salted = forge or sasl.encode(hashlib.pbkdf2_hmac(
        algorithm, password, sasl.decode(salt.text), int(salt.get("iterations"))))
    client.raw(f"<task-data xmlns='{xml.SASL2}'><hash xmlns='{xml.SCRAM_UPGRADE}'>{salted}</hash>"
               "</task-data>")
    return client.sasl2_next()


def task_of(element):
    assert element.tag == f"{{{xml.SASL2}}}continue", xml.canonical(element)
    return element.findtext(f"{{{xml.SASL2}}}tasks/{{{xml.SASL2}}}task")


def test_upgrade(weak):
    client = weak.connect("alice")
    assert failed(client.sasl2("SCRAM-SHA-256")) == "not-authorized"
    answer = client.sasl2("SCRAM-SHA-1", inner=upgrade("SHA-256", "SHA-512") + BIND)
    assert task_of(answer) == "UPGR-SCRAM-SHA-256"
    answer = do_task(client, "UPGR-SCRAM-SHA-256", "sha256")
    assert task_of(answer) == "UPGR-SCRAM-SHA-512"
    client.sasl2_done(succeeded(do_task(client, "UPGR-SCRAM-SHA-512", "sha512")))
    client.available().ping()
    for mechanism in SCRAM:
        succeeded(weak.connect("alice").sasl2(mechanism))


@pytest.mark.parametrize("hash_name", ["SCRAM-SHA-1", "SCRAM-SHA-256"])
def test_one_hash_for_a_domain(server, hash_name):
    """c2s.scram-hashes: others are neither offered nor taken."""
    server.ctl("set", "c2s.scram-hashes@localhost", hash_name)
    client = server.connect("alice")
    offered = {e.text for e in client.features.iter("{urn:ietf:params:xml:ns:xmpp-sasl}mechanism")
               if e.text.startswith("SCRAM")}
    assert offered == {hash_name, f"{hash_name}-PLUS"}
    assert failed(client.sasl2("SCRAM-SHA-512")) == "invalid-mechanism"
    succeeded(server.connect("alice").sasl2(hash_name))


@pytest.mark.parametrize("kept", [0, 1, 2])
def test_plain_with_keys_of_one_hash(make_server, kept):
    """PLAIN is verified with the keys that there are, and a wrong password is refused by them."""
    server = make_server("alice")
    server.stop()
    with server.database() as db:
        assert db.execute(f"DELETE FROM credential WHERE hash <> {kept}").rowcount == 2
    server.start()
    succeeded(server.connect("alice").sasl2("PLAIN"))
    assert failed(server.connect("alice", password="wrong").sasl2("PLAIN")) == "not-authorized"


@pytest.mark.parametrize("size", [1, 36, 64])
def test_keys_with_the_salt_of_another_server(weak, size):
    """Prosody's salts have 36 bytes."""
    salt, iterations = b"s" * size, 4096
    salted = hashlib.pbkdf2_hmac("sha1", b"secret", salt, iterations)
    client_key = hmac.digest(salted, b"Client Key", "sha1")
    keys = {"salt": salt, "stored_key": hashlib.sha1(client_key).digest(),
            "server_key": hmac.digest(salted, b"Server Key", "sha1")}
    weak.stop()
    with weak.database() as db:
        changes = ", ".join(f"{name} = X'{value.hex()}'" for name, value in keys.items())
        if weak.url:
            changes = changes.replace("X'", "'\\x")
        db.execute(f"UPDATE credential SET {changes}, iterations = {iterations}")
    weak.start()
    succeeded(weak.connect("alice").sasl2("SCRAM-SHA-1"))
    succeeded(weak.connect("alice").sasl2("PLAIN"))
    assert failed(weak.connect("alice", password="wrong").sasl2("SCRAM-SHA-1")) == "not-authorized"


def test_an_account_that_has_the_hash_keeps_it(server):
    client = server.connect("alice")
    succeeded(client.sasl2("SCRAM-SHA-1", inner=upgrade("SHA-256") + BIND))
    succeeded(server.connect("alice").sasl2("SCRAM-SHA-256"))


@pytest.mark.parametrize("forge", ["*", "", sasl.encode(b"x" * 31)])
def test_a_bad_upgrade_is_no_login(weak, forge):
    client = weak.connect("alice")
    task_of(client.sasl2("SCRAM-SHA-1", inner=upgrade("SHA-256") + BIND))
    answer = do_task(client, "UPGR-SCRAM-SHA-256", "sha256", forge=forge or "=")
    assert failed(answer) == "malformed-request"
    assert failed(client.sasl2("SCRAM-SHA-256")) == "not-authorized"
    succeeded(client.sasl2("SCRAM-SHA-1", inner=BIND))


def test_another_task_than_the_one_that_was_offered(weak):
    client = weak.connect("alice")
    task_of(client.sasl2("SCRAM-SHA-1", inner=upgrade("SHA-256")))
    client.raw(f"<next xmlns='{xml.SASL2}' task='UPGR-SCRAM-SHA-512'/>")
    assert failed(client.sasl2_next()) == "malformed-request"


def test_a_task_may_not_be_skipped(weak):
    client = weak.connect("alice")
    task_of(client.sasl2("SCRAM-SHA-1", inner=upgrade("SHA-256")))
    client.raw("<presence/>")
    client.expect_stream_error("policy-violation")


def test_upgrades_can_be_off(make_server):
    server = make_server("alice", settings={"c2s.password-upgrades": "none"})
    client = server.connect("alice")
    offer = client.features.find(f"{{{xml.SASL2}}}authentication")
    assert not offer.findall(f"{{{xml.UPGRADE}}}upgrade")
    assert failed(client.sasl2("SCRAM-SHA-1", inner=upgrade("SHA-256"))) == "malformed-request"


def test_old_tls_has_another_binding_for_tokens(server):
    """tls-unique (RFC 5929) exists below TLS 1.3 only."""
    client = server.dial("alice", tls="none")
    client.open()
    client.starttls(insecure_context(maximum_version=ssl.TLSVersion.TLSv1_2))
    offer = client.features.find(f"{{{xml.SASL2}}}authentication")
    fast = offer.find(f"{{{xml.SASL2}}}inline/{{{xml.FAST}}}fast")
    assert "HT-SHA-256-UNIQ" in [m.text for m in fast]


# --- the archive ---


def metadata(success):
    return success.find(f"{{{xml.BIND2}}}bound/{{urn:xmpp:mam:2}}metadata")


def test_the_archive_at_the_time_of_binding(server, bob):
    """XEP-0386 section 4.2: metadata, and what is in the archive is not delivered as well."""
    client = server.connect("alice")
    assert len(metadata(succeeded(client.sasl2(inner=BIND)))) == 0
    client.close()
    for i in range(3):
        bob.send(f"<message to='alice@localhost' type='chat'><body>m{i}</body></message>")
    bob.ping()
    client = server.connect("alice")
    found = metadata(succeeded(client.sasl2(inner=BIND)))
    ids = [found.find(f"{{urn:xmpp:mam:2}}{name}").get("id") for name in ("start", "end")]
    client.available()
    client.expect_nothing("<message/>")
    client.send("<iq type='set' id='q'><query xmlns='urn:xmpp:mam:2' queryid='q'/></iq>")
    archived = [client.expect("<message><result xmlns='urn:xmpp:mam:2'/></message>")
                for _ in range(3)]
    assert [archived[0][0].get("id"), archived[-1][0].get("id")] == ids
    client.expect("<iq type='result' id='q'/>")
    server.client("alice", "old").expect_nothing("<message/>")


def test_clients_without_the_archive(make_server):
    server = make_server("alice", "bob", settings={"session.bind2-clears-offline": "off"})
    bob = server.client("bob")
    bob.send("<message to='alice@localhost' type='chat'><body>m</body></message>")
    bob.ping()
    client = server.connect("alice")
    succeeded(client.sasl2(inner=BIND))
    client.available()
    client.expect("<message><body>m</body></message>")


def test_clients_that_do_not_wait_for_the_answer(server):
    """They leave while their login is being looked up, written or bound."""
    agent = uuid.uuid4()
    for _ in range(30):
        client = server.connect("alice")
        token = f"<request-token xmlns='{xml.FAST}' mechanism='HT-SHA-256-NONE'/>"
        client.sasl2_start("PLAIN", sasl.plain("alice", "secret"), token + BIND, agent)
        client.cut()
    client = server.connect("alice")
    succeeded(client.sasl2(inner=BIND))
    client.ping()
    until("end", lambda: len(server.rows("session", "list")) == 1)
