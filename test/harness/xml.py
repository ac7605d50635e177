"""Stanzas as the tests see them: reading a stream, templates, and canonical text.

A template is XML text. An element matches it when name and namespace are the same and every
attribute, text and child of the template is found in it; more may be there. Attribute value "*"
means present with any value, "-" means absent. Text "*" means any text that is not empty.
"""
import xml.etree.ElementTree as ET

CLIENT = "jabber:client"
STREAM = "http://etherx.jabber.org/streams"
STREAM_ERROR = "urn:ietf:params:xml:ns:xmpp-streams"
STANZA_ERROR = "urn:ietf:params:xml:ns:xmpp-stanzas"
TLS = "urn:ietf:params:xml:ns:xmpp-tls"
SASL = "urn:ietf:params:xml:ns:xmpp-sasl"
SASL2 = "urn:xmpp:sasl:2"
BIND2 = "urn:xmpp:bind:0"
FAST = "urn:xmpp:fast:0"
UPGRADE = "urn:xmpp:sasl:upgrade:0"
SCRAM_UPGRADE = "urn:xmpp:scram-upgrade:0"
SASL_CB = "urn:xmpp:sasl-cb:0"
BIND = "urn:ietf:params:xml:ns:xmpp-bind"
SESSION = "urn:ietf:params:xml:ns:xmpp-session"
SM = "urn:xmpp:sm:3"
ROSTER = "jabber:iq:roster"
DELAY = "urn:xmpp:delay"
SID = "urn:xmpp:sid:0"
DISCO_INFO = "http://jabber.org/protocol/disco#info"
DISCO_ITEMS = "http://jabber.org/protocol/disco#items"
LANG = "{http://www.w3.org/XML/1998/namespace}lang"


def parse(text):
    """One element from text; jabber:client and the prefix `stream` are declared around it."""
    return ET.fromstring(f"<x xmlns='{CLIENT}' xmlns:stream='{STREAM}'>{text}</x>")[0]


def canonical(element):
    """Text that is equal for equal XML: sorted attributes, fixed prefixes, no white-space nodes."""
    tag = element.tag.replace(f"{{{CLIENT}}}", "")
    attrs = "".join(f" {k}={v!r}" for k, v in sorted(element.attrib.items()))
    inner = (element.text or "").strip() + "".join(
        canonical(child) + (child.tail or "").strip() for child in element)
    return f"<{tag}{attrs}>{inner}</>" if inner else f"<{tag}{attrs}/>"


def _text_matches(element, template):
    wanted, found = (template.text or "").strip(), (element.text or "").strip()
    return wanted in ("", found) or (wanted == "*" and found != "")


def _attributes_match(element, template):
    for name, wanted in template.attrib.items():
        found = element.get(name)
        if wanted == "-" and found is not None:
            return False
        if wanted not in ("-", "*") and found != wanted or wanted == "*" and found is None:
            return False
    return True


def matches(element, template):
    """Whether the element has everything the template (an element or text) asks for."""
    if isinstance(template, str):
        template = parse(template)
    if element.tag != template.tag or not _attributes_match(element, template):
        return False
    if not _text_matches(element, template):
        return False
    left = list(element)
    for wanted in template:
        found = next((child for child in left if matches(child, wanted)), None)
        if found is None:
            return False
        left.remove(found)
    return True


def condition(element):
    """The defined condition of a stanza error, stream error or SASL failure, or None."""
    namespaces = (STANZA_ERROR, STREAM_ERROR, SASL)
    for child in element.iter():
        ns, _, name = child.tag[1:].partition("}")
        if child is not element and ns in namespaces and name != "text":
            return name
    return None


class Reader:
    """Cuts a stream into its header, its level-1 elements and its end."""

    def __init__(self):
        self._parser = ET.XMLPullParser(["start", "end"])
        self._depth = 0
        self.header = None
        self.ended = False

    def feed(self, data):
        """Returns the elements completed by these bytes."""
        elements = []
        self._parser.feed(data)
        for event, element in self._parser.read_events():
            if event == "start":
                self._depth += 1
                if self._depth == 1:
                    self.header = element
                continue
            self._depth -= 1
            if self._depth == 1:
                self.header.remove(element)
                elements.append(element)
            elif self._depth == 0:
                self.ended = True
        return elements
