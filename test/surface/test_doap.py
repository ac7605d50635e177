"""doap.xml: RDF in its striped form, of the DOAP vocabulary and that of XMPP (XEP-0453)."""
import pathlib
import re
import subprocess
import xml.etree.ElementTree as ET

import pytest

from harness.server import MUSTERD

RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
DOAP = "{http://usefulinc.com/ns/doap#}"
XMPP = "{https://linkmauve.fr/ns/xmpp-doap#}"
LANG = "{http://www.w3.org/XML/1998/namespace}lang"
LITERALS = {"name", "shortdesc", "description", "created", "programming-language", "os",
            "language", "platform", "vendor", "audience"}
RESOURCES = {"homepage", "license", "category", "implements", "bug-database", "download-page",
             "developer-forum", "support-forum", "wiki"}
STATUS = {"complete", "partial", "planned", "deprecated", "removed", "wontfix"}


@pytest.fixture(scope="module")
def project():
    text = subprocess.run([MUSTERD, "--dump-docs", "doap"], capture_output=True, text=True,
                          check=True).stdout
    root = ET.fromstring(text)
    assert root.tag == f"{RDF}RDF" and [child.tag for child in root] == [f"{DOAP}Project"]
    return root[0]


def test_project(project):
    for one in project:
        name = one.tag.removeprefix(DOAP)
        if name in LITERALS:
            assert one.text.strip() and len(one) == 0 and f"{RDF}resource" not in one.attrib
        else:
            assert name in RESOURCES, one.tag
            assert (len(one) == 1) != (f"{RDF}resource" in one.attrib), name
            assert re.match(r"https?://\S+$", one.get(f"{RDF}resource", "https://x")), name
    count = {name: len(project.findall(f"{DOAP}{name}")) for name in LITERALS | RESOURCES}
    assert count["name"] == 1 and count["os"] >= 1 and count["programming-language"] >= 1
    described = [one.get(LANG) for one in project if one.tag.endswith(("desc", "description"))]
    assert set(described) == {"en"}
    categories = [one.get(f"{RDF}resource") for one in project.findall(f"{DOAP}category")]
    assert categories == ["https://linkmauve.fr/ns/xmpp-doap#category-server"]


def test_supported_xeps(project):
    numbers = []
    for xep in project.findall(f"{DOAP}implements/*"):
        assert xep.tag == f"{XMPP}SupportedXep" and not xep.attrib
        found = {one.tag.removeprefix(XMPP): one for one in xep}
        assert {"xep", "status"} <= set(found) <= {"xep", "status", "version", "since", "note"}
        assert len(found) == len(xep)
        url = re.fullmatch(r"https://xmpp\.org/extensions/xep-(\d{4})\.html",
                           found["xep"].get(f"{RDF}resource"))
        numbers.append(url[1])
        assert found["status"].text in STATUS, url[1]
        assert re.fullmatch(r"\d+(\.\d+)*(rc\d+|[a-z])?", found["version"].text), url[1]
        assert re.fullmatch(r"\d+(\.\d+)+", found["since"].text), url[1]
        assert ("note" in found) == (found["status"].text == "partial"), url[1]
        assert "note" not in found or found["note"].get(LANG) == "en"
    assert numbers == sorted(set(numbers)) and len(numbers) > 30


def test_rfcs(project):
    rfcs = [one.get(f"{RDF}resource") for one in project.findall(f"{DOAP}implements")
            if len(one) == 0]
    assert len(set(rfcs)) == len(rfcs) >= 4
    for rfc in rfcs:
        assert re.fullmatch(r"https://www\.rfc-editor\.org/info/rfc\d{4}", rfc)


def test_committed():
    """The file of the repository is of this form too; that it is current is checked with docs."""
    text = (pathlib.Path(__file__).parents[2] / "doap.xml").read_text()
    assert ET.fromstring(text).tag == f"{RDF}RDF"
