"""What users of two servers do with each other: subscriptions, presence, messages and requests."""
import itertools

import pytest

from harness import across, pubsub, xml
from harness.across import ONE, OTHER
from harness.client import until

RECEIPTS = "urn:xmpp:receipts"
MARKERS = "urn:xmpp:chat-markers:0"
BLOCKING = "urn:xmpp:blocking"
VERSION = "jabber:iq:version"
CARBONS = "urn:xmpp:carbons:2"
MAM = "urn:xmpp:mam:2"
PING = "<ping xmlns='urn:xmpp:ping'/>"


@pytest.fixture
def servers(make_server, tmp_path):
    return across.start(make_server, tmp_path)


@pytest.fixture
def users(servers):
    one, other = servers
    return one.client("alice", "a"), other.client("bob", "b")


@pytest.fixture
def friends(users):
    across.befriend(*users)
    for client in users:
        client.drain()
    return users


def both_ways(pair):
    return (pair, pair[::-1])


# --- subscriptions (RFC 6121 §3, Appendix A) ---


def pushed(client, contact, **attributes):
    """The roster push that says how the subscription stands now."""
    more = "".join(f" {k}='{v}'" for k, v in attributes.items())
    return client.expect(f"<iq type='set'><query xmlns='{xml.ROSTER}'>"
                         f"<item jid='{contact}'{more}/></query></iq>")


def test_a_request_that_is_granted_and_cancelled(users):
    for asker, granter in both_ways(users):
        across.roster_of(asker), across.roster_of(granter)
        asker.send(f"<presence to='{granter.bare}' type='subscribe'/>")
        pushed(asker, granter.bare, subscription="none", ask="subscribe")
        granter.expect(f"<presence from='{asker.bare}' type='subscribe'/>")
        granter.send(f"<presence to='{asker.bare}' type='subscribed'/>")
        pushed(granter, asker.bare, subscription="from")
        pushed(asker, granter.bare, subscription="to", ask="-")
        asker.expect(f"<presence from='{granter}' type='-'/>")
        granter.send(f"<presence to='{asker.bare}' type='unsubscribed'/>")
        pushed(granter, asker.bare, subscription="none")
        asker.expect(f"<presence from='{granter.bare}' type='unsubscribed'/>")
        pushed(asker, granter.bare, subscription="none")
        asker.expect(f"<presence from='{granter}' type='unavailable'/>")
        for client, contact in (asker, granter), (granter, asker):
            client.iq("set", f"<query xmlns='{xml.ROSTER}'><item jid='{contact.bare}' "
                      "subscription='remove'/></query>")


def test_a_request_that_is_denied(users):
    for asker, denier in both_ways(users):
        across.roster_of(asker), across.roster_of(denier)
        asker.send(f"<presence to='{denier.bare}' type='subscribe'/>")
        denier.expect(f"<presence from='{asker.bare}' type='subscribe'/>")
        denier.send(f"<presence to='{asker.bare}' type='unsubscribed'/>")
        asker.expect(f"<presence from='{denier.bare}' type='unsubscribed'/>")
        pushed(asker, denier.bare, subscription="none", ask="-")
        asker.result("set", f"<query xmlns='{xml.ROSTER}'><item jid='{denier.bare}' "
                     "subscription='remove'/></query>")
        assert across.roster_of(denier).get(asker.bare) is None


def test_a_request_that_is_taken_back(users):
    alice, bob = users
    for client in users:
        across.roster_of(client)
    alice.send(f"<presence to='{bob.bare}' type='subscribe'/>")
    bob.expect(f"<presence from='{alice.bare}' type='subscribe'/>")
    alice.send(f"<presence to='{bob.bare}' type='unsubscribe'/>")
    bob.expect(f"<presence from='{alice.bare}' type='unsubscribe'/>")
    bob.send(f"<presence to='{alice.bare}' type='subscribed'/>")
    across.mark(bob, alice)
    assert across.roster_of(alice)[bob.bare] == ("none", None)


def test_who_stops_to_watch_is_told_nothing_any_more(friends):
    for leaver, stayer in both_ways(friends):
        leaver.send(f"<presence to='{stayer.bare}' type='unsubscribe'/>")
        pushed(leaver, stayer.bare, subscription="from" if leaver.name == "alice" else "none")
        stayer.expect(f"<presence from='{leaver.bare}' type='unsubscribe'/>")
        leaver.expect(f"<presence from='{stayer}' type='unavailable'/>")
        stayer.send("<presence><show>xa</show></presence>")
        across.mark(stayer, leaver)
        leaver.expect_nothing(f"<presence from='{stayer}'><show>xa</show></presence>")


def test_a_contact_who_is_removed(friends):
    alice, bob = friends
    alice.result("set", f"<query xmlns='{xml.ROSTER}'><item jid='{bob.bare}' "
                 "subscription='remove'/></query>")
    pushed(bob, alice.bare, subscription="none")
    bob.expect(f"<presence from='{alice.bare}' type='unsubscribe'/>")
    bob.expect(f"<presence from='{alice.bare}' type='unsubscribed'/>")
    bob.expect(f"<presence from='{alice}' type='unavailable'/>")
    alice.expect(f"<presence from='{bob}' type='unavailable'/>")


def test_a_contact_who_is_approved_ahead(users):
    alice, bob = users
    for client in users:
        across.roster_of(client)
    bob.send(f"<presence to='{alice.bare}' type='subscribed'/>")
    pushed(bob, alice.bare, approved="true")
    alice.send(f"<presence to='{bob.bare}' type='subscribe'/>")
    alice.expect(f"<presence from='{bob.bare}' type='subscribed'/>")
    alice.expect(f"<presence from='{bob}' type='-'/>")
    bob.expect_nothing("<presence type='subscribe'/>")


def test_a_request_waits_for_a_user_who_is_away(servers):
    one, other = servers
    alice = one.client("alice")
    across.roster_of(alice)
    alice.send(f"<presence to='bob@{OTHER}' type='subscribe'><status>hi</status></presence>")
    until("the request", lambda: any(
        r["value"] >= 1 for r in other.rows("metrics")
        if r["name"] == "muster_s2s_stanzas" and r["label"] == "direction=received"))
    bob = other.client("bob")
    bob.expect(f"<presence from='{alice.bare}' type='subscribe'><status>hi</status></presence>")
    bob.close()
    again = other.client("bob")
    again.expect(f"<presence from='{alice.bare}' type='subscribe'/>")


def test_requests_to_nobody(users):
    """They wait, as those to a user who does not answer."""
    for asker, other in both_ways(users):
        across.roster_of(asker)
        nobody = f"nobody@{other.domain}"
        asker.send(f"<presence to='{nobody}' type='subscribe'/>")
        pushed(asker, nobody, subscription="none", ask="subscribe")
        across.mark(asker, other)
        across.mark(other, asker)
        asker.expect_nothing(f"<presence from='{nobody}'/>")


# --- presence ---


def test_presence_with_priority_and_what_clients_can_do(friends):
    for one, other in both_ways(friends):
        features = [xml.DISCO_INFO, "urn:x:feature"]
        one.send(f"<presence><show>dnd</show><priority>7</priority>{pubsub.caps(features)}"
                 "</presence>")
        other.expect(f"<presence from='{one}' to='{other.bare}'><show>dnd</show>"
                     f"<priority>7</priority><c xmlns='{pubsub.CAPS}' "
                     f"ver='{pubsub.caps_ver(features)}'/></presence>")
        node = f"http://client.example#{pubsub.caps_ver(features)}"
        other.send(f"<iq type='get' id='d' to='{one}'><query xmlns='{xml.DISCO_INFO}' "
                   f"node='{node}'/></iq>")
        ask = one.expect(f"<iq type='get' from='{other}' id='d'/>")
        one.send(f"<iq type='result' to='{ask.get('from')}' id='d'>"
                 f"{pubsub.disco_answer(features, node)}</iq>")
        answer = other.expect(f"<iq type='result' from='{one}' id='d'/>")
        assert "urn:x:feature" in xml.canonical(answer)


def test_a_probe_tells_a_second_client(servers, friends):
    for (server, user), contact in zip(zip(servers, ("alice", "bob")), friends[::-1]):
        second = server.client(user, "second")
        second.expect(f"<presence from='{contact}' type='-'/>")
        contact.expect(f"<presence from='{second}' type='-'/>")
        second.close()
        contact.expect(f"<presence from='{second}' type='unavailable'/>")


def test_a_probe_is_answered_for_who_is_away(servers, friends):
    alice, bob = friends
    bob.close()
    alice.expect(f"<presence from='{bob}' type='unavailable'/>")
    alice.send(f"<presence to='{bob.bare}' type='probe'/>")
    alice.expect(f"<presence from='{bob.bare}' type='unavailable'/>")


def test_presence_to_one_address_ends_with_the_session(users):
    for one, other in both_ways(users):
        one.send(f"<presence to='{other}'><status>here</status></presence>")
        other.expect(f"<presence from='{one}'><status>here</status></presence>")
    alice, bob = users
    alice.close()
    bob.expect(f"<presence from='{alice}' type='unavailable'/>")


def test_a_client_that_is_lost(servers, friends):
    alice, bob = friends
    alice.cut()
    bob.expect(f"<presence from='{alice}' type='unavailable'/>")


# --- publish-subscribe of accounts ---

NODES = {"avatar": ("urn:xmpp:avatar:metadata", "<metadata xmlns='urn:xmpp:avatar:metadata'/>"),
         "nick": ("http://jabber.org/protocol/nick",
                  "<nick xmlns='http://jabber.org/protocol/nick'>Ishmael</nick>"),
         "mood": ("http://jabber.org/protocol/mood",
                  "<mood xmlns='http://jabber.org/protocol/mood'><happy/></mood>")}


def wants(client, node):
    """Its capabilities say so, and both servers ask what they are."""
    features = [xml.DISCO_INFO, node + "+notify", f"urn:x:{client.jid}"]
    client.send(f"<presence>{pubsub.caps(features)}</presence>")
    for _ in range(2):
        asked = client.expect(pubsub.ASK)
        client.send(f"<iq type='result' to='{asked.get('from')}' id='{asked.get('id')}'>"
                    f"{pubsub.disco_answer(features, asked[0].get('node'))}</iq>")


@pytest.mark.parametrize("kind", NODES)
def test_contacts_hear_of_nodes_that_they_want(friends, kind):
    node, payload = NODES[kind]
    for one, other in both_ways(friends):
        wants(other, node)
        across.mark(other, one)
        one.result("set", pubsub.publish(node, payload, "current"))
        pubsub.expect_event(other, node, one.bare, "<item id='current'/>")


def test_a_contact_gets_the_last_item_when_it_comes(servers, friends):
    alice, bob = friends
    node, payload = NODES["nick"]
    alice.result("set", pubsub.publish(node, payload, "current"))
    second = servers[1].login("bob", "second")
    wants(second, node)
    pubsub.expect_event(second, node, alice.bare, "<item id='current'/>")


@pytest.mark.parametrize("model, contact, stranger", [
    ("presence", True, False), ("open", True, True), ("whitelist", False, False)])
def test_who_may_read_a_node(servers, friends, model, contact, stranger):
    alice, bob = friends
    dave = servers[1].client("dave")
    alice.result("set", pubsub.publish("urn:x:keys", None, "k", access_model=model))
    for client, may in (bob, contact), (dave, stranger):
        reply = client.iq("get", pubsub.get_items("urn:x:keys"), to=alice.bare)
        assert (reply.get("type") == "result") == may, xml.canonical(reply)
        assert pubsub.item_ids(reply) == (["k"] if may else [])


@pytest.mark.parametrize("asker", [0, 1])
def test_cards(users, asker):
    reader, owner = users[asker], users[1 - asker]
    owner.result("set", "<vCard xmlns='vcard-temp'><FN>Ahab</FN></vCard>")
    card = reader.result("get", "<vCard xmlns='vcard-temp'/>", to=owner.bare)
    assert card.findtext("{vcard-temp}FN") == "Ahab"
    node = "urn:xmpp:vcard4"
    owner.result("set", pubsub.publish(node, "<vcard xmlns='urn:ietf:params:xml:ns:vcard-4.0'><fn>"
                                       "<text>Ahab</text></fn></vcard>", "current",
                                       access_model="open"))
    answer = reader.result("get", pubsub.get_items(node), to=owner.bare)
    assert "Ahab" in xml.canonical(answer)


# --- blocking ---


def block(client, jid, verb="block"):
    client.result("set", f"<{verb} xmlns='{BLOCKING}'><item jid='{jid}'/></{verb}>")


@pytest.mark.parametrize("blocker", [0, 1])
@pytest.mark.parametrize("whole", [False, True])
def test_blocking(friends, blocker, whole):
    one, other = friends[blocker], friends[1 - blocker]
    jid = other.domain if whole else other.bare
    block(one, jid)
    other.expect(f"<presence from='{one}' type='unavailable'/>")
    other.send(f"<message to='{one.bare}' type='chat' id='m'><body>x</body></message>")
    error = other.expect(f"<message from='{one.bare}' type='error' id='m'/>")
    assert xml.condition(error) == "service-unavailable"
    assert other.error("get", f"<query xmlns='{VERSION}'/>", to=str(one))[0] == \
        "service-unavailable"
    other.send("<presence><show>xa</show></presence>")
    one.send(f"<message to='{other.bare}' type='chat' id='n'><body>x</body></message>")
    error = one.expect("<message type='error' id='n'/>")
    assert xml.condition(error) == "not-acceptable"
    one.expect_nothing("<presence><show>xa</show></presence>")
    one.inbox.clear()
    block(one, jid, "unblock")
    other.expect(f"<presence from='{one}' type='-'/>")
    one.expect(f"<presence from='{other}' type='-'><show>xa</show></presence>")


# --- messages ---

CONTENT = {
    "receipt asked": f"<body>x</body><request xmlns='{RECEIPTS}'/>",
    "receipt": f"<received xmlns='{RECEIPTS}' id='m0'/>",
    "markable": f"<body>x</body><markable xmlns='{MARKERS}'/>",
    "marker": f"<displayed xmlns='{MARKERS}' id='m0'/>",
    "chat state": "<composing xmlns='http://jabber.org/protocol/chatstates'/>",
    "correction": "<body>y</body><replace xmlns='urn:xmpp:message-correct:0' id='m0'/>",
    "retraction": "<retract xmlns='urn:xmpp:message-retract:1' id='m0'/>"
                  "<body>was retracted</body>",
    "reaction": "<reactions xmlns='urn:xmpp:reactions:0' id='m0'><reaction>x</reaction>"
                "</reactions>",
    "encrypted": "<encrypted xmlns='eu.siacs.conversations.axolotl'><header sid='1'/></encrypted>"
                 "<store xmlns='urn:xmpp:hints'/>",
    "link": "<body>https://x</body><x xmlns='jabber:x:oob'><url>https://x</url></x>",
    "invitation": "<x xmlns='jabber:x:conference' jid='room@conference.one.test'/>",
    "jingle message": "<propose xmlns='urn:xmpp:jingle-message:0' id='j'/>",
}


def test_contents_of_messages(users):
    for one, other in both_ways(users):
        for name, content in CONTENT.items():
            ident = name.replace(" ", "-")
            one.send(f"<message to='{other.bare}' type='chat' id='{ident}'>{content}</message>")
        for name, content in CONTENT.items():
            ident = name.replace(" ", "-")
            got = other.expect(f"<message from='{one}' type='chat' id='{ident}'/>")
            for wanted in xml.parse(f"<message>{content}</message>"):
                assert any(xml.matches(e, wanted) for e in got), (name, xml.canonical(got))


def archived(client, contact):
    client.send(f"<iq type='set' id='q'><query xmlns='{MAM}'><x xmlns='jabber:x:data' "
                f"type='submit'><field var='FORM_TYPE'><value>{MAM}</value></field>"
                f"<field var='with'><value>{contact}</value></field></x></query></iq>")
    client.expect("<iq id='q' type='result'/>")
    found = [e for e in client.inbox if e.find(f"{{{MAM}}}result") is not None]
    client.inbox = [e for e in client.inbox if e not in found]
    return [b.text for e in found for b in e.iter(f"{{{xml.CLIENT}}}body")]


def test_archives_and_copies_of_both_sides(servers, users):
    seconds = [server.client(name, "second") for server, name in zip(servers, ("alice", "bob"))]
    for client in seconds:
        client.result("set", f"<enable xmlns='{CARBONS}'/>")
    texts = []
    for one, other in both_ways(users):
        text = f"from {one.name}"
        one.send(f"<message to='{other}' type='chat'><body>{text}</body></message>")
        other.expect(f"<message from='{one}'><body>{text}</body></message>")
        texts.append(text)
    for client, first in zip(seconds, ("sent", "received")):
        kinds = [first, "received" if first == "sent" else "sent"]
        for kind, text in zip(kinds, texts):
            copy = client.expect(f"<message><{kind} xmlns='{CARBONS}'/></message>")
            assert text in xml.canonical(copy)
    alice, bob = users
    assert archived(alice, bob.bare) == texts
    assert archived(bob, alice.bare) == texts


def test_a_retraction_reaches_the_archives_of_both_sides(users):
    alice, bob = users
    alice.send(f"<message to='{bob}' type='chat' id='m1'><body>oops</body>"
               "<origin-id xmlns='urn:xmpp:sid:0' id='m1'/></message>")
    bob.expect("<message id='m1'/>")
    alice.send(f"<message to='{bob}' type='chat' id='m2'>"
               "<retract xmlns='urn:xmpp:message-retract:1' id='m1'/></message>")
    bob.expect("<message id='m2'/>")
    until("a tombstone", lambda: archived(alice, bob.bare) == [])
    until("a tombstone", lambda: archived(bob, alice.bare) == [])


def test_a_message_for_who_is_away(servers, users):
    for server, sender, name in (servers[1], users[0], "dave"), (servers[0], users[1], "carol"):
        sender.send(f"<message to='{name}@{server.domains[0]}' type='chat' id='late'>"
                    "<body>late</body></message>")
        sender.send(f"<message to='{name}@{server.domains[0]}/gone' type='chat' id='full'>"
                    "<body>full</body></message>")
        received = server.rows
        until("both", lambda: any(
            r["value"] >= 2 for r in received("metrics")
            if r["name"] == "muster_s2s_stanzas" and r["label"] == "direction=received"))
        client = server.client(name)
        for ident in "late", "full":
            client.expect(f"<message from='{sender}' id='{ident}'>"
                          "<delay xmlns='urn:xmpp:delay'/></message>")


# --- requests ---


def test_requests_to_clients(users):
    for one, other in both_ways(users):
        for n, payload in enumerate((PING, f"<query xmlns='{VERSION}'/>",
                                     "<time xmlns='urn:xmpp:time'/>",
                                     "<query xmlns='jabber:iq:last'/>")):
            one.send(f"<iq type='get' id='q{n}' to='{other}'>{payload}</iq>")
            other.expect(f"<iq type='get' id='q{n}' from='{one}'>{payload}</iq>")
            other.send(f"<iq type='result' id='q{n}' to='{one}'/>")
            one.expect(f"<iq type='result' id='q{n}' from='{other}'/>")


def test_requests_to_servers(users):
    for one, other in both_ways(users):
        assert one.iq("get", PING, to=other.domain).get("type") == "result"
        for payload in (f"<query xmlns='{VERSION}'/>", "<time xmlns='urn:xmpp:time'/>",
                        "<query xmlns='jabber:iq:last'/>", f"<query xmlns='{xml.DISCO_INFO}'/>",
                        f"<query xmlns='{xml.DISCO_ITEMS}'/>"):
            assert one.iq("get", payload, to=other.domain).get("type") == "result", payload
        assert one.iq("get", PING, to=other.bare).get("type") == "error"


def test_last_activity_is_for_those_who_see_presence(friends):
    alice, bob = friends
    bob.close()
    alice.expect(f"<presence from='{bob}' type='unavailable'/>")
    last = alice.result("get", "<query xmlns='jabber:iq:last'/>", to=bob.bare)
    assert int(last.get("seconds")) >= 0


@pytest.mark.parametrize("kind", ["message", "iq", "presence"])
def test_what_does_not_exist(users, kind):
    """RFC 6121 §8: what is answered and what is not."""
    for one, other in both_ways(users):
        for to in (f"nobody@{other.domain}", f"nobody@{other.domain}/x", f"{other.bare}/gone"):
            if kind == "iq":
                condition, _ = one.error("get", PING, to=to)
                assert condition in ("service-unavailable", "remote-server-not-found",
                                     "item-not-found"), (to, condition)
            elif kind == "message" and to != f"{other.bare}/gone":
                one.send(f"<message to='{to}' type='chat' id='{to}'><body>x</body></message>")
                error = one.expect(f"<message from='{to}' type='error' id='{to}'/>")
                assert xml.condition(error) in ("service-unavailable", "remote-server-not-found",
                                                "item-not-found")
            elif kind == "presence":
                one.send(f"<presence to='{to}'/>")
        across.mark(one, other)
        one.expect_nothing("<presence type='error'/>")


def test_stanzas_to_a_domain(users):
    for one, other in both_ways(users):
        one.send(f"<message to='{other.domain}' id='d'><body>x</body></message>")
        error = one.expect(f"<message from='{other.domain}' type='error' id='d'/>")
        assert xml.condition(error) == "service-unavailable"
        one.send(f"<presence to='{other.domain}'/>")
        assert one.iq("get", PING, to=f"{other.domain}/x").get("type") in ("result", "error")


def test_several_recipients(servers, users):
    """XEP-0033: recipients of both servers hear of one message once, and not of hidden ones."""
    alice, bob = users
    carol, dave = servers[0].client("carol"), servers[1].client("dave")
    inner = "".join(f"<address type='{kind}' jid='{client.bare}'/>" for kind, client in
                    (("to", bob), ("cc", dave), ("bcc", carol)))
    alice.send(f"<message to='{ONE}' id='m'><addresses xmlns='http://jabber.org/protocol/address'>"
               f"{inner}</addresses><body>x</body></message>")
    for client in bob, dave, carol:
        got = client.expect("<message id='m'><body>x</body></message>")
        assert client is carol or carol.bare not in xml.canonical(got)
    for client in bob, dave:
        client.expect_nothing("<message id='m'/>")


# --- files ---


def test_bytestreams_are_negotiated_and_carried(users):
    """XEP-0166 with XEP-0261, and XEP-0047."""
    for n, (one, other) in enumerate(both_ways(users)):
        offer = (f"<jingle xmlns='urn:xmpp:jingle:1' action='session-initiate' sid='s{n}' "
                 f"initiator='{one}'><content creator='initiator' name='f'>"
                 "<description xmlns='urn:xmpp:jingle:apps:file-transfer:5'/>"
                 "<transport xmlns='urn:xmpp:jingle:transports:ibb:1' block-size='4096' sid='b'/>"
                 "</content></jingle>")
        steps = [offer, "<open xmlns='http://jabber.org/protocol/ibb' block-size='4096' sid='b'/>"]
        steps += [f"<data xmlns='http://jabber.org/protocol/ibb' seq='{i}' sid='b'>{'QUJD' * 1000}"
                  "</data>" for i in range(5)]
        for i, step in enumerate(steps):
            one.send(f"<iq type='set' id='i{i}' to='{other}'>{step}</iq>")
            got = other.expect(f"<iq type='set' id='i{i}' from='{one}'/>")
            assert xml.matches(got[0], xml.parse(step))
            other.send(f"<iq type='result' id='i{i}' to='{one}'/>")
            one.expect(f"<iq type='result' id='i{i}' from='{other}'/>")


def test_order_is_kept_between_kinds(users):
    alice, bob = users
    for n, kind in zip(range(60), itertools.cycle(("message", "presence", "iq"))):
        if kind == "message":
            alice.send(f"<message to='{bob}' id='o{n}'><body>{n}</body></message>")
        elif kind == "presence":
            alice.send(f"<presence to='{bob}' id='o{n}'/>")
        else:
            alice.send(f"<iq type='get' to='{bob}' id='o{n}'>{PING}</iq>")
    for n in range(60):
        assert bob.expect(lambda e: e.get("id", "").startswith("o")).get("id") == f"o{n}"
