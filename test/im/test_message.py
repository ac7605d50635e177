"""Messages and IQs: RFC 6121 §8, RFC 6120 §8, offline delivery, hints, ids, limits."""
import re

import pytest

from harness import xml


def chat(to, body, more="", kind="chat", ident=None):
    ident = f" id='{ident}'" if ident else ""
    return f"<message to='{to}' type='{kind}'{ident}><body>{body}</body>{more}</message>"


def test_what_one_client_may_have_under_way_fits_an_inbox(server):
    """Sent at once to an account that has to be read first."""
    server.add_user("dave")
    server.restart()
    alice = server.login("alice", "a")
    alice.enable_sm()
    alice.raw("".join(chat("dave@localhost", i) for i in range(1500)))
    alice.wait_acked(1500)
    alice.expect_nothing("<message type='error'/>")


# --- to a bare JID (§8.5.2) ---


@pytest.mark.parametrize("kind", ["chat", "normal", "headline"])
def test_bare_reaches_all_of_non_negative_priority(server, alice, kind):
    high, low, zero, negative = [server.client("bob", f"p{p}", p) for p in (5, 1, 0, -1)]
    alice.send(chat("bob@localhost", "hi", kind=kind))
    for client in (high, low, zero):
        client.expect(f"<message from='{alice}' to='bob@localhost'><body>hi</body></message>")
    negative.expect_nothing("<message><body>hi</body></message>", after=alice)


def test_without_type_is_normal(alice, bob):
    alice.send("<message to='bob@localhost'><body>hi</body></message>")
    found = bob.expect(f"<message from='{alice}'><body>hi</body></message>")
    assert found.get("type") in (None, "normal")


def test_unknown_type_is_normal(alice, bob):
    """§5.2.2"""
    alice.send("<message to='bob@localhost' type='x-telepathy'><body>hi</body></message>")
    bob.expect(f"<message from='{alice}'><body>hi</body></message>")


def test_session_without_presence_gets_none_of_the_bare(server, alice, bob):
    silent = server.login("bob", "silent")
    alice.send(chat("bob@localhost", "hi"))
    bob.expect(f"<message from='{alice}'/>")
    silent.expect_nothing("<message><body>hi</body></message>", after=alice)


def test_groupchat_to_an_account(alice, bob):
    """§8.5.2.1.1"""
    alice.send(chat("bob@localhost", "hi", kind="groupchat", ident="g"))
    alice.expect_error("service-unavailable", template="<message type='error' id='g'/>")


def test_without_address_is_for_oneself(server, alice):
    """RFC 6120 §10.3.1"""
    other = server.client("alice", "other")
    alice.send("<message type='chat'><body>note</body></message>")
    other.expect("<message><body>note</body></message>")


# --- to a full JID (§8.5.3) ---


@pytest.mark.parametrize("kind", ["chat", "normal", "headline", "groupchat", "error"])
def test_full_reaches_that_one_only(server, alice, bob, kind):
    other = server.client("bob", "other")
    alice.send(chat(bob, "hi", kind=kind))
    found = bob.expect(f"<message from='{alice}' to='{bob}'><body>hi</body></message>")
    assert found.get("type", "normal") == kind
    other.expect_nothing("<message><body>hi</body></message>", after=alice)


def test_full_reaches_negative_and_silent_sessions(server, alice):
    for client in (server.client("bob", "n", -1), server.login("bob", "s")):
        alice.send(chat(client, "hi"))
        client.expect(f"<message from='{alice}'><body>hi</body></message>")


def test_chat_to_a_resource_that_left_goes_to_the_others(alice, bob):
    """§8.5.3.2.1"""
    alice.send(chat("bob@localhost/gone", "hi"))
    bob.expect(f"<message from='{alice}'><body>hi</body></message>")


@pytest.mark.parametrize("kind", ["groupchat", "headline"])
def test_others_to_a_resource_that_left(alice, bob, kind):
    """§8.5.3.2.1: silence or an error, but not to the others."""
    alice.send(chat("bob@localhost/gone", "hi", kind=kind))
    bob.expect_nothing("<message><body>hi</body></message>", after=alice)


# --- nobody there (§8.5.1, §8.5.2.2) ---


def test_unknown_user(server, alice):
    alice.send(chat("nobody@localhost", "hi", ident="u"))
    alice.expect_error("service-unavailable", "cancel",
                       f"<message type='error' id='u' from='nobody@localhost' to='{alice}'/>")


def test_unknown_user_of_a_headline_and_an_error(alice):
    alice.send(chat("nobody@localhost", "hi", kind="error"))
    alice.expect_nothing("<message/>")


def test_foreign_domain(alice):
    alice.send(chat("romeo@elsewhere.example", "hi", ident="r"))
    alice.expect_error("remote-server-not-found", "cancel", "<message type='error' id='r'/>")


@pytest.mark.parametrize("to", ["@localhost", "a@", "a b@localhost", "a@b@c",
                                "x" * 1100 + "@localhost"],
                         ids=["no local part", "no domain", "space", "two @", "too long"])
def test_malformed_address(alice, to):
    """RFC 6120 §8.3.3.8"""
    alice.send(chat(to, "hi", ident="m"))
    alice.expect_error("jid-malformed", "modify", "<message type='error' id='m'/>")


# resources that are none: a line separator, a private character, a mark of direction, none, long
NO_RESOURCES = {"line": "\u2028", "private": "\ue000", "direction": "\u202e", "empty": "",
                "long": "x" * 1100}


@pytest.mark.parametrize("resource", NO_RESOURCES.values(), ids=NO_RESOURCES)
@pytest.mark.parametrize("bare", ["cave@conference.localhost", "bob@localhost", "localhost",
                                  "x@elsewhere.example"])
def test_a_malformed_resource(alice, bare, resource):
    """RFC 6120 §8.3.3.8: the answer comes from where it was to go, without the resource."""
    for stanza in ("<message to='{}' type='chat' id='m'><body>hi</body></message>",
                   "<presence to='{}' id='p'/>",
                   "<iq to='{}' type='get' id='i'><ping xmlns='urn:xmpp:ping'/></iq>"):
        alice.send(stanza.format(f"{bare}/{resource}"))
        name = stanza[1:stanza.index(" ")]
        error = alice.expect_error("jid-malformed", "modify", f"<{name} type='error'/>")
        assert error.get("from") == bare and error.get("id") == name[0]


def test_an_error_carries_no_foreign_address(server, alice):
    alice.send(chat("nobody@localhost", "hi", ident="u"))
    error = alice.expect("<message type='error'/>")
    assert error.get("from") == "nobody@localhost" and error.get("to") == alice.jid


def test_errors_are_not_answered_by_errors(alice, bob):
    alice.send(f"<message to='bob@localhost/gone' type='error' id='e'><error type='cancel'>"
               f"<gone xmlns='{xml.STANZA_ERROR}'/></error></message>")
    alice.expect_nothing("<message/>")
    bob.expect_nothing("<message type='error'/>", after=alice)


# --- offline (§8.5.2.2.1, XEP-0160, XEP-0203) ---


def test_offline_delivery_in_order_with_delay(server, alice):
    for i in range(40):
        alice.send(chat("bob@localhost", i, kind="normal" if i % 2 else "chat"))
    alice.ping()
    bob = server.client("bob", "b")
    for i in range(40):
        found = bob.expect_next(f"<message from='{alice}'><body>{i}</body>"
                                "<delay xmlns='urn:xmpp:delay' stamp='*'/></message>")
        stamp = found.find(f"{{{xml.DELAY}}}delay").get("stamp")
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", stamp)
    bob.expect_nothing("<message/>")


def test_offline_messages_come_once(server, alice):
    alice.send(chat("bob@localhost", "hi"))
    alice.ping()
    bob = server.client("bob", "b")
    bob.expect("<message><body>hi</body></message>")
    bob.ping()
    bob.close()
    bob = server.client("bob", "b")
    bob.expect_nothing("<message/>")


def test_offline_messages_survive_kill(server):
    """Acknowledged is durable: with stream management the ack is the promise."""
    alice = server.client("alice", "a")
    alice.enable_sm()
    for i in range(10):
        alice.send(chat("bob@localhost", i))
    alice.wait_acked(10)
    server.kill()
    server.start()
    bob = server.client("bob", "b")
    for i in range(10):
        bob.expect_next(f"<message><body>{i}</body><delay xmlns='urn:xmpp:delay'/></message>")


def test_offline_messages_wait_for_non_negative_priority(server, alice):
    """XEP-0160 §3"""
    bob = server.client("bob", "b", -1)
    alice.send(chat("bob@localhost", "hi"))
    bob.expect_nothing("<message><body>hi</body></message>", after=alice)
    bob.send("<presence><priority>0</priority></presence>")
    bob.expect("<message><body>hi</body></message>")


def test_offline_messages_wait_for_presence(server, alice):
    alice.send(chat("bob@localhost", "hi"))
    alice.ping()
    bob = server.login("bob", "b")
    bob.expect_nothing("<message><body>hi</body></message>")
    bob.available()
    bob.expect("<message><body>hi</body></message>")


def test_live_for_all_while_one_gets_its_offline_messages(server, alice):
    """Though another session has acknowledged it when it is this one's turn."""
    alice.enable_sm()
    for i in range(70):
        alice.send(chat("bob@localhost", i))
    alice.wait_acked(70)
    slow = server.login("bob", "slow")
    slow.auto_ack = False
    slow.enable_sm()
    slow.available()
    slow.expect("<message><body>63</body></message>")
    fast = server.client("bob", "fast")
    fast.enable_sm()
    alice.send(chat("bob@localhost", "live"))
    fast.expect("<message><body>live</body></message>")
    fast.ack()
    fast.ping()
    slow.auto_ack = True
    slow.ack()
    slow.expect("<message><body>live</body></message>")
    slow.expect_nothing("<message><body>live</body></message>")


def test_offline_and_live_in_order(server, alice):
    """New messages do not overtake stored ones that are being delivered."""
    for i in range(300):
        alice.send(chat("bob@localhost", i))
    alice.ping()
    bob = server.login("bob", "b")
    bob.send("<presence/>")
    for i in range(300, 400):
        alice.send(chat("bob@localhost", i))
    for i in range(400):
        assert bob.expect("<message/>").find("{jabber:client}body").text == str(i)


def test_headlines_are_not_kept(server, alice):
    alice.send(chat("bob@localhost", "news", kind="headline"))
    alice.ping()
    server.client("bob", "b").expect_nothing("<message/>")


def test_chat_states_alone_are_not_kept(server, alice):
    alice.send("<message to='bob@localhost' type='chat'>"
               "<composing xmlns='http://jabber.org/protocol/chatstates'/></message>")
    alice.ping()
    server.client("bob", "b").expect_nothing("<message/>")


@pytest.mark.parametrize("hint, kept", [("no-store", False), ("no-permanent-store", False),
                                        ("no-copy", True)])
def test_hints(server, alice, hint, kept):
    """XEP-0334"""
    alice.send(chat("bob@localhost", "hi", f"<{hint} xmlns='urn:xmpp:hints'/>"))
    alice.ping()
    bob = server.client("bob", "b")
    if kept:
        bob.expect("<message><body>hi</body></message>")
    else:
        bob.expect_nothing("<message/>")


def test_store_hint(server, alice):
    alice.send("<message to='bob@localhost' type='chat'>"
               "<received xmlns='urn:xmpp:receipts' id='1'/>"
               "<store xmlns='urn:xmpp:hints'/></message>")
    alice.ping()
    bob = server.client("bob", "b")
    bob.expect("<message><received xmlns='urn:xmpp:receipts' id='1'/></message>")


def test_hints_do_not_keep_from_the_present(alice, bob):
    alice.send(chat("bob@localhost", "hi", "<no-store xmlns='urn:xmpp:hints'/>"))
    bob.expect(f"<message from='{alice}'><body>hi</body></message>")


def test_unsettled_cap(make_server):
    """The sender is told; nothing that was accepted is lost."""
    server = make_server("alice", "bob", settings={"mailbox.unsettled-max": "10"})
    alice = server.client("alice", "a")
    for i in range(12):
        alice.send(chat("bob@localhost", i, ident=f"n{i}"))
    for i in (10, 11):
        alice.expect_error("resource-constraint", "wait", f"<message type='error' id='n{i}'/>")
    bob = server.client("bob", "b")
    for i in range(10):
        bob.expect_next(f"<message><body>{i}</body></message>")
    bob.ping()
    alice.send(chat("bob@localhost", "again"))
    bob.expect("<message><body>again</body></message>")


# --- ids (XEP-0359) ---


def stanza_ids(element):
    return [(e.get("by"), e.get("id")) for e in element.iter(f"{{{xml.SID}}}stanza-id")]


def test_stanza_id(alice, bob):
    ids = []
    for i in range(5):
        alice.send(chat(bob, i))
        (by, ident), = stanza_ids(bob.expect(f"<message><body>{i}</body></message>"))
        assert by == "bob@localhost" and ident
        ids.append(ident)
    assert len(set(ids)) == 5


def test_stanza_id_is_the_same_everywhere(server, alice, bob):
    other = server.client("bob", "other")
    alice.send(chat("bob@localhost", "hi"))
    found = [stanza_ids(c.expect("<message><body>hi</body></message>")) for c in (bob, other)]
    assert found[0] == found[1] and len(found[0]) == 1


def test_forged_ids_and_delays_are_dropped(alice, bob):
    """XEP-0359 §3.1: only the server speaks for the account."""
    alice.send(chat(bob, "hi",
                    "<stanza-id xmlns='urn:xmpp:sid:0' by='bob@localhost' id='forged'/>"
                    "<origin-id xmlns='urn:xmpp:sid:0' id='mine'/>"
                    "<delay xmlns='urn:xmpp:delay' from='localhost' stamp='2001-01-01T00:00:00Z'/>"
                    ))
    found = bob.expect("<message><origin-id xmlns='urn:xmpp:sid:0' id='mine'/></message>")
    assert "forged" not in str(stanza_ids(found))
    assert found.find(f"{{{xml.DELAY}}}delay") is None


def test_resent_messages_are_known(server):
    """The same sender and origin-id within ten minutes: delivered once (design: duplicates)."""
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    for _ in range(2):
        alice.send(chat("bob@localhost", "once",
                        "<origin-id xmlns='urn:xmpp:sid:0' id='same'/>", ident="same"))
    bob.expect("<message><body>once</body></message>")
    bob.expect_nothing("<message><body>once</body></message>", after=alice)


# --- content ---


def test_body_is_untouched(alice, bob):
    body = "\u00e4\u20ac\U0001f600 &lt;b&gt; &amp;amp; \n\t 'x' \"y\" ]]&gt;"
    alice.send(chat(bob, body))
    assert bob.expect(f"<message from='{alice}'/>")[0].text == \
        "\u00e4\u20ac\U0001f600 <b> &amp; \n\t 'x' \"y\" ]]>"


def test_attributes_are_kept(alice, bob):
    alice.send(f"<message to='{bob}' id='&lt;&apos;&quot;' type='chat' xml:lang='fr' "
               "x:y='z' xmlns:x='urn:x'><body/></message>")
    found = bob.expect("<message xmlns:x='urn:x' x:y='z'/>")
    assert found.get("id") == "<'\"" and found.get(xml.LANG) == "fr"


def test_between_two_accounts_order_holds(alice, bob):
    for i in range(1000):
        alice.send(chat(bob if i % 3 else bob.bare, i))
    for i in range(1000):
        bob.expect_next(f"<message><body>{i}</body></message>")


# --- IQ (RFC 6120 §8.2.3, RFC 6121 §8.5) ---


def test_iq_between_clients(alice, bob):
    alice.send(f"<iq type='get' to='{bob}' id='q'><query xmlns='urn:x'/></iq>")
    bob.expect(f"<iq type='get' from='{alice}' id='q'><query xmlns='urn:x'/></iq>")
    bob.send(f"<iq type='result' to='{alice}' id='q'><query xmlns='urn:x'>1</query></iq>")
    alice.expect(f"<iq type='result' from='{bob}' id='q'><query xmlns='urn:x'>1</query></iq>")


@pytest.mark.parametrize("to", ["localhost", "bob@localhost", "bob@localhost/gone",
                                "nobody@localhost", "nobody@localhost/x", None])
@pytest.mark.parametrize("kind", ["get", "set"])
def test_iq_nobody_handles(alice, bob, to, kind):
    condition, _ = alice.error(kind, "<query xmlns='urn:example:unknown'/>", to=to)
    assert condition == "service-unavailable"
    bob.expect_nothing("<iq/>", after=alice)


def test_iq_to_a_foreign_domain(alice):
    assert alice.error("get", "<ping xmlns='urn:xmpp:ping'/>", to="elsewhere.example") == \
        ("remote-server-not-found", "cancel")


@pytest.mark.parametrize("text", [
    "<iq type='get' id='b'/>",
    "<iq type='set' id='b'><a xmlns='urn:x'/><b xmlns='urn:x'/></iq>",
    "<iq type='ask' id='b'><a xmlns='urn:x'/></iq>",
    "<iq id='b'><a xmlns='urn:x'/></iq>",
])
def test_malformed_iq(alice, text):
    """RFC 6120 §8.2.3"""
    alice.send(text)
    alice.expect_error("bad-request", "modify", "<iq type='error' id='b'/>")


def test_iq_without_id(alice):
    alice.send("<iq type='get'><ping xmlns='urn:xmpp:ping'/></iq>")
    alice.expect_error("bad-request", "modify", "<iq type='error'/>")


def test_unasked_results_are_ignored(alice, bob):
    for kind in ("result", "error"):
        alice.send(f"<iq type='{kind}' to='bob@localhost' id='u'/>")
        alice.send(f"<iq type='{kind}' to='localhost' id='u'/>")
    alice.expect_nothing()
    bob.expect_nothing("<iq id='u'/>", after=alice)


def test_client_that_leaves_with_a_request_open(alice, bob):
    """The sender gets an error, because bob is not there to answer."""
    alice.send(f"<iq type='get' to='{bob}' id='q'><query xmlns='urn:x'/></iq>")
    bob.expect("<iq id='q'/>")
    bob.close()
    alice.send(f"<iq type='get' to='{bob}' id='r'><query xmlns='urn:x'/></iq>")
    alice.expect_error("service-unavailable", template="<iq type='error' id='r'/>")
