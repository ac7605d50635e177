"""Requests and events of publish-subscribe (XEP-0060), and what is in answers."""
import base64
import hashlib
from xml.sax.saxutils import escape, quoteattr

from harness import xml

NS = "http://jabber.org/protocol/pubsub"
OWNER = NS + "#owner"
EVENT = NS + "#event"
ERRORS = NS + "#errors"
DATA = "jabber:x:data"
CAPS = "http://jabber.org/protocol/caps"
ASK = f"<iq type='get'><query xmlns='{xml.DISCO_INFO}'/></iq>"


def attributes(**values):
    return "".join(f" {k}={quoteattr(str(v))}" for k, v in values.items() if v is not None)


def form(kind, **fields):
    """A submitted form; `a__b` is field pubsub#a__b, a list has several values."""
    inner = "".join(
        f"<field var='pubsub#{name}'>" + "".join(
            f"<value>{escape(str(v))}</value>"
            for v in (values if isinstance(values, list) else [values])) + "</field>"
        for name, values in fields.items())
    return (f"<x xmlns='{DATA}' type='submit'><field var='FORM_TYPE' type='hidden'>"
            f"<value>{NS}#{kind}</value></field>{inner}</x>")


def pubsub(inner, ns=NS):
    return f"<pubsub xmlns='{ns}'>{inner}</pubsub>"


def entry(text="hello", ns="urn:example:entry"):
    return f"<entry xmlns='{ns}'>{escape(text)}</entry>"


def publish(node, payload=None, item=None, **options):
    inner = f"<item{attributes(id=item)}>{entry() if payload is None else payload}</item>"
    more = f"<publish-options>{form('publish-options', **options)}</publish-options>" \
        if options else ""
    return pubsub(f"<publish{attributes(node=node)}>{inner}</publish>{more}")


def retract(node, item, notify=None):
    return pubsub(f"<retract{attributes(node=node, notify=notify)}><item id='{item}'/></retract>")


def create(node=None, **config):
    more = f"<configure>{form('node_config', **config)}</configure>" if config else ""
    return pubsub(f"<create{attributes(node=node)}/>{more}")


def configure(node, **config):
    inner = form("node_config", **config) if config else ""
    return pubsub(f"<configure{attributes(node=node)}>{inner}</configure>", OWNER)


def get_items(node, *ids, max_items=None, page=""):
    inner = "".join(f"<item id='{i}'/>" for i in ids)
    return pubsub(f"<items{attributes(node=node, max_items=max_items)}>{inner}</items>{page}")


def subscribe(node, jid, **options):
    more = f"<options>{form('subscribe_options', **options)}</options>" if options else ""
    return pubsub(f"<subscribe{attributes(node=node, jid=jid)}/>{more}")


def unsubscribe(node, jid, subid=None):
    return pubsub(f"<unsubscribe{attributes(node=node, jid=jid, subid=subid)}/>")


def affiliations(node, **changes):
    inner = "".join(f"<affiliation{attributes(jid=j, affiliation=a)}/>"
                    for j, a in changes.pop("to", {}).items())
    return pubsub(f"<affiliations{attributes(node=node)}>{inner}</affiliations>", OWNER)


def subscriptions(node, to=None):
    inner = "".join(f"<subscription{attributes(jid=j, subscription=s)}/>"
                    for j, s in (to or {}).items())
    return pubsub(f"<subscriptions{attributes(node=node)}>{inner}</subscriptions>", OWNER)


def item_ids(answer):
    return [i.get("id") for i in answer.iter(f"{{{NS}}}item")]


def error_of(client, kind, inner, to=None):
    """(condition, type, condition of pubsub#errors or None) of a request that fails."""
    reply = client.iq(kind, inner, to)
    assert reply.get("type") == "error", xml.canonical(reply)
    error = reply.find(f"{{{xml.CLIENT}}}error")
    own = [e.tag.partition("}")[2] for e in error if e.tag.startswith(f"{{{ERRORS}}}")]
    return xml.condition(reply), error.get("type"), own[0] if own else None


def expect_event(client, node, source, inner=""):
    """The next event of a node; inner: template of what is in <items/>."""
    message = client.expect(
        f"<message from='{source}'><event xmlns='{EVENT}'>"
        f"<items{attributes(node=node)}>{inner}</items></event></message>")
    return message.find(f"{{{EVENT}}}event/{{{EVENT}}}items")


# --- capabilities (XEP-0115) ---


def caps_ver(features, identity=("client", "pc", "test")):
    text = "/".join((identity[0], identity[1], "", identity[2])) + "<"
    text += "".join(f"{f}<" for f in sorted(features))
    return base64.b64encode(hashlib.sha1(text.encode()).digest()).decode()


def caps(features, node="http://client.example"):
    return f"<c xmlns='{CAPS}' hash='sha-1' node='{node}' ver='{caps_ver(features)}'/>"


def disco_answer(features, node):
    inner = "".join(f"<feature var='{f}'/>" for f in features)
    return (f"<query xmlns='{xml.DISCO_INFO}' node={quoteattr(node)}>"
            f"<identity category='client' type='pc' name='test'/>{inner}</query>")


def answer_caps(client, features):
    """Answers the server's question what the capabilities are."""
    ask = client.expect(ASK)
    node = ask[0].get("node")
    client.send(f"<iq type='result' to='{ask.get('from')}' id='{ask.get('id')}'>"
                f"{disco_answer(features, node)}</iq>")
    client.ping()
    return node


def interested(client, *nodes):
    """Becomes available with capabilities that ask for events of these nodes. The server's question
    what they are, if it does not know yet, comes before the reflection."""
    features = [xml.DISCO_INFO] + [n + "+notify" for n in nodes]
    client.send(f"<presence>{caps(features)}</presence>")
    client.expect(f"<presence from='{client.jid}' type='-'><c xmlns='{CAPS}' "
                  f"ver='{caps_ver(features)}'/></presence>")
    if any(xml.matches(e, ASK) for e in client.inbox):
        answer_caps(client, features)
    return features
