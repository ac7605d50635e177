"""The page of the API at /api/v1/, which is made from the OpenAPI document: all of that is on it,
its examples work, and a browser shows and filters it."""
import html.parser
import json
import os
import re
import subprocess
import urllib.parse

import pytest

from harness import json_schema
from harness.client import TIMEOUT, until
from harness.server import ROOT
from surface.test_api import api_server, without_streams
from surface.test_console import AXE, get, opened
from surface.test_console_login import PASSWORD
from surface.test_webchat import directives

VOID = {"meta", "link", "input"}
ALICE, HALL = "alice@example.org", "hall@conference.example.org"


class Element:
    def __init__(self, name, attributes, above):
        self.name, self.attributes, self.above = name, dict(attributes), above
        self.children = []

    def every(self, name, **attributes):
        for child in self.children:
            if isinstance(child, Element):
                if child.name == name and attributes.items() <= child.attributes.items():
                    yield child
                yield from child.every(name, **attributes)

    def text(self):
        return "".join(c if isinstance(c, str) else c.text() for c in self.children)

    def after(self, title):
        """The table below a heading; None: there is none."""
        headings = [i for i, c in enumerate(self.children)
                    if isinstance(c, Element) and c.name == "h3" and c.text().startswith(title)]
        return self.children[headings[0] + 1] if headings else None

    def rows(self):
        """The lines of a table by their names."""
        return {next(row.every("code")).text(): row
                for row in next(self.every("tbody")).every("tr")}


class Page(html.parser.HTMLParser):
    """HTML whose elements are all closed."""

    def __init__(self, text):
        super().__init__()
        self.root = self.at = Element("", {}, None)
        self.feed(text)
        self.close()
        assert self.at is self.root

    def handle_starttag(self, tag, attrs):
        element = Element(tag, attrs, self.at)
        self.at.children.append(element)
        if tag not in VOID:
            self.at = element

    def handle_startendtag(self, tag, attrs):
        assert tag in VOID, f"<{tag}/> is no HTML"
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag):
        assert tag == self.at.name, (tag, self.at.name)
        self.at = self.at.above

    def handle_data(self, data):
        self.at.children.append(data)


@pytest.fixture
def server(make_server):
    return api_server(make_server, conf={"domains": ["example.org"]})


def operations_of(document):
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            yield path, method, operation


def body_of(operation):
    body = operation.get("requestBody", {"content": {"application/json": {"schema": {}}}})
    return body["content"]["application/json"]["schema"]


def members_of(schema, before=""):
    """"items[].jid", and its schema, of each member at any depth."""
    for name, one in schema.get("properties", {}).items():
        items = one.get("items", {})
        inner = f"{before}{name}[]"
        yield (inner if "properties" in items else before + name), one
        yield from members_of(items, inner + ".")


def shown(server):
    """The document, and the elements of the page by the names of operations."""
    page = Page(server.api("GET", "/").text)
    return server.api("GET", "/openapi.json").json, page, {
        element.attributes["id"]: element for element in page.root.every("details")}


def said(one, name="description"):
    return one.get(name, "").replace("`", "")


def anchor(operation):
    return re.sub("[{}]", "", operation["operationId"])


def test_all_of_the_document_is_on_the_page(server):
    document, page, elements = shown(server)
    problems = {row.attributes["id"] for row in page.root.every("tr") if "id" in row.attributes}
    assert problems == set(document["components"]["responses"])
    count = 0
    for path, method, operation in operations_of(document):
        element = elements.pop(anchor(operation))
        summary = next(element.every("summary")).text()
        assert summary == f"{method.upper()} {path} {operation['summary']}"
        text = element.text()
        assert said(operation) in text and operation.get("x-permission", "none:") in text
        assert f"#{anchor(operation)}" in {a.attributes["href"] for a in element.every("a")}
        parameters = operation["parameters"]
        table = element.after("Parameters")
        lines = table.rows() if parameters else {}
        assert list(lines) == [one["name"] for one in parameters]
        for one in parameters:
            line = lines[one["name"]].text()
            assert one["in"] in line and said(one) in line
            assert ("required" in line) == one["required"]
            assert str(one["schema"].get("default", "")) in line
            assert one["schema"].get("x-allowed", "") in line
        body = dict(members_of(body_of(operation)))
        lines = element.after("Body").rows() if body else {}
        assert set(lines) == set(body)
        for name, one in body.items():
            line = lines[name].text()
            assert said(one) in line and one.get("x-allowed", "") in line
            assert ("required" in line) >= (name in body_of(operation)["required"])
            assert all(word in line for word in one.get("enum", []))
        for status, answer in operation["responses"].items():
            if "$ref" in answer:
                link = "#" + answer["$ref"].rpartition("/")[2]
                assert link[1:] in problems
                assert link in {a.attributes["href"] for a in element.every("a")}
            else:
                assert f"Answer {status}: {answer['description']}" in text
        answer = operation["responses"].get("200", {}).get("content", {}).get(
            "application/json", {}).get("schema", {})
        for name, one in members_of(answer):
            line = element.after("Answer 200").rows()[name].text()
            assert said(one) in line and said(one, "x-unit") in line
        count += 1
    assert count > 400 and elements == {}
    links = {a.attributes["href"] for a in page.root.every("a")}
    ids = {f"#{e.attributes['id']}" for name in ("details", "section", "tr")
           for e in page.root.every(name) if "id" in e.attributes}
    assert {link for link in links if link.startswith("#")} <= ids


def test_it_is_plain_and_strict(server):
    answer = server.api("GET", "/")
    policy = directives(answer)
    assert policy["default-src"] == ["'none'"] and policy["script-src"] == ["'self'"]
    assert policy["frame-ancestors"] == ["'none'"] and policy["trusted-types"] == ["'none'"]
    page = Page(answer.text)
    script, = page.root.every("script")
    assert script.text() == "" and script.attributes["src"].startswith("../../admin/")
    assert not list(page.root.every("style"))
    assert not [e for e in page.root.every("details") if any(
        name.startswith("on") or name == "style" for name in e.attributes)]


def test_the_document_says_what_the_rows_know(server):
    """Limits, units, defaults and permissions; what may be left out is not required."""
    document = server.api("GET", "/openapi.json").json
    users = {p["name"]: p for p in document["paths"]["/users"]["get"]["parameters"]}
    assert users["limit"]["schema"]["default"] == 100
    assert users["limit"]["schema"]["maximum"] == 50000
    assert not users["cursor"]["required"]
    archive = body_of(document["paths"]["/commands/archive-read"]["post"])
    assert "reason" in archive["required"]
    assert archive["properties"]["reason"]["x-allowed"] == (
        "text of 3 to 1000 bytes: at least 3 characters, blanks and line breaks not counted")
    fedtest = body_of(document["paths"]["/commands/fedtest"]["post"])["properties"]
    assert [one["default"] for one in fedtest.values() if one["x-type"] == "time"]
    by_name = body_of(document["paths"]["/commands/user-list"]["post"])["properties"]
    assert "default" not in by_name["limit"]  # there it is the whole list
    for path, _, operation in operations_of(document):
        own = path.split("/")[1] in ("session", "login", "events")
        assert ("x-permission" in operation) != own, path
        for one in operation["parameters"]:
            assert not one["required"] or one["schema"]["examples"], (path, one["name"])
            for example in one["schema"].get("examples", []):
                json_schema.validate(example, one["schema"])
        schema = body_of(operation)
        for name in schema.get("required", []):
            json_schema.validate(schema["properties"][name]["examples"][0],
                                 schema["properties"][name])


def texts_of(document, key="description"):
    if isinstance(document, list):
        for one in document:
            yield from texts_of(one)
    elif isinstance(document, dict):
        for name, one in document.items():
            yield from [one] if name == key and isinstance(one, str) else texts_of(one)


def test_the_document_names_members_not_options(server):
    """An option is a word of the command line, and stays where a command of that is quoted."""
    document = server.api("GET", "/openapi.json").json
    options = [text for text in texts_of(document)
               if re.search(r"(?<![-\w])--[a-z]", re.sub(r"`[^-`][^`]*`", "", text))]
    assert options == []
    password = body_of(document["paths"]["/commands/imtest"]["post"])["properties"]["password"]
    assert password["description"] == "the password of that user, which `user` needs"
    log = document["paths"]["/commands/log-list"]["post"]["description"]
    assert "only with `area`, to" in log


def test_problems_are_as_the_manual_says(server):
    """docs/api.md has them in the words of the document, and those are the statuses that come."""
    all_of = server.api("GET", "/openapi.json").json["components"]["responses"]
    manual = (ROOT / "docs/api.md").read_text()
    for name, problem in all_of.items():
        status = name.partition("-")[2] or "others"
        assert f"| {status} | {problem['description']} |" in manual
    for path, status in (("/users?limit=x", 422), ("/nothing", 404), ("/users?%zz", 400)):
        answer = server.api("GET", path)
        assert answer.status == status
        assert answer.json["error"] in all_of[f"problem-{status}"]["x-errors"]
    assert server.api("GET", "/users", token=None).json["error"] in \
        all_of["problem-401"]["x-errors"]


def test_made_is_said_where_it_is_known(server):
    """By the document and by the server, which has to read a thing to know that it made it."""
    document, api = server.api("GET", "/openapi.json").json, server.api
    made = {path for path, operations in document["paths"].items()
            if "201" in operations.get("put", {}).get("responses", {})}
    assert {path for path in made if "get" not in document["paths"][path]} == set()
    for path, value, body in (("/roles/{name}", "mine", {"permissions": "users.read"}),
                              ("/groups/{name}", "mine", {}),
                              ("/federation/blocked/{domain}", "no.test", {})):
        answer = api("PUT", path.replace(path.split("/")[-1], value), body)
        assert answer.status == (201 if path in made else 200), (path, answer.text)
    assert "/roles/{name}" in made and "/federation/blocked/{domain}" not in made


def filled(server):
    """What the examples name."""
    server.add_user("alice", domain="example.org")
    server.ctl("room", "create", HALL, ALICE)
    server.ctl("group", "add", "team")
    server.ctl("template", "add", "staff")
    server.ctl("token", "add", "backup", "viewer")
    server.ctl("admin", "create", "example", "viewer")
    server.ctl("admin", "add", ALICE, "viewer")
    server.ctl("set", "s2s.policy", "open")
    server.ctl("webhook", "add", "https://example.org/")


# The example is of something that a server has not at first.
MISSING = {"/jobs/{job}", "/nodes/{node}", "/metrics/{series}/history"}


def test_examples_of_reading_work_as_they_are(server, tmp_path):
    filled(server)
    document, _, elements = shown(server)
    (tmp_path / ".curlrc").write_text("silent\nwrite-out = \"\\n%{http_code}\"\n")
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TOKEN": server.api.token}
    ran = 0
    for path, operations in without_streams(document):
        if "get" not in operations or operations["get"]["x-command"] == "s2s trace":
            continue
        line = next(elements[anchor(operations["get"])].every("pre")).text()
        done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True,
                              timeout=TIMEOUT, env=environment)
        body, _, status = done.stdout.rpartition("\n")
        assert status == ("404" if path in MISSING else "200"), (line, done.stdout)
        assert json.loads(body), line
        ran += 1
    assert ran > 90


def test_examples_of_changes_can_be_read(server, tmp_path):
    """None is refused because of how it is written: curl sends what the document allows."""
    (tmp_path / ".curlrc").write_text("silent\nwrite-out = \"\\n%{http_code}\"\n")
    document, _, elements = shown(server)
    wrong = []
    for path, method, operation in operations_of(document):
        if method == "get":
            continue
        line = next(elements[anchor(operation)].every("pre")).text()
        assert ("$TOKEN" in line) == (operation.get("security") != [])
        sent = re.search(r" -d '(.*)'$", line)
        schema = body_of(operation)
        body = json.loads(sent[1]) if sent else {}
        if schema:
            json_schema.validate(body, schema)
        url = re.search(r"'http://127.0.0.1:\d+/api/v1([^']*)'", line)[1]
        if not re.fullmatch(re.sub(r"\\{[^}]*\\}", "[^/]+", re.escape(path)),
                            url.partition("?")[0]):
            wrong.append((path, url))
    assert wrong == []
    line = next(elements["user-add:/users/jid"].every("pre")).text()
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True,
                          timeout=TIMEOUT, env={"PATH": os.environ["PATH"], "HOME": str(tmp_path),
                                                "TOKEN": server.api.token})
    assert done.stdout.endswith("\n201"), (line, done.stdout)
    assert server.rows("user", "show", ALICE)


# Each ends what the others need, or what runs them.
ENDING = {"server stop", "server restart", "secrets reset"}
# The text of a certificate is only where it is needed: the example has its first line.
STAND_IN = {"cert install"}


def test_examples_of_changes_lack_nothing(server, tmp_path):
    """Each is done, or refused because of what this server has: never for its arguments."""
    filled(server)
    (tmp_path / ".curlrc").write_text("silent\nwrite-out = \"\\n%{http_code}\"\n")
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TOKEN": server.api.token}
    document, _, elements = shown(server)
    named = {anchor(operation): operation["x-command"]
             for path, method, operation in operations_of(document)
             if method != "get" and path.split("/")[1] not in ("session", "login")}
    wrong, done = [], []
    for name in sorted(named, key=lambda name: (named[name].endswith(" del"), name)):
        if named[name] in ENDING:
            continue
        line = next(elements[name].every("pre")).text()
        ran = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True,
                             timeout=TIMEOUT, env=environment)
        body, _, status = ran.stdout.rpartition("\n")
        if status.startswith("2"):
            done.append(name)
        elif named[name] not in STAND_IN and status not in ("403", "404", "409", "502"):
            wrong.append((line, ran.stdout))
    assert wrong == []
    assert len(done) > 100, len(done)


def test_a_host_that_a_shell_would_run_is_not_repeated(server):
    for host in "a$(id)", "a'b", "a b":
        answer = server.api("GET", "/", Host=host)
        if answer.status == 200:
            assert host not in answer.text and "http://localhost/api/v1" in answer.text
    assert "http://chat.example.org:8443/api/v1/users" in \
        server.api("GET", "/", Host="chat.example.org:8443").text


@pytest.mark.release
def test_in_a_browser(server, tmp_path):
    """By who has logged in to the console: the page is drawn under its policy, filtered, and opens
    what an address names."""
    if not AXE.exists():
        pytest.skip("needs npm ci --prefix test/js")
    server.ctl("admin", "create", "root", "administrator", "--password", PASSWORD)
    with opened(server, tmp_path / "browser") as pages:
        pages.send_password()
        pages.find("nav a")
        reference = pages.url.replace("/admin/", "/api/v1/")
        pages.click("main a", "Reference of the API")
        until("the page", lambda: pages.driver.current_url == reference)
        total = len(server.api("GET", "/openapi.json").json["paths"])
        visible = "[...document.querySelectorAll('details')].filter(e => e.offsetParent)"
        until("all is there", lambda: pages.js(f"{visible}.length") > total)
        pages.type("#words", "GET groups.read members")
        until("it is filtered", lambda: pages.js(f"{visible}.length") < 10)
        paths = pages.js(f"{visible}.map(e => e.querySelector('summary code').innerText)")
        assert "/groups/{name}/members" in paths and "/users" not in paths
        assert re.fullmatch(r"\d of \d+ operations",
                            pages.js("document.querySelector('output').innerText"))
        named = urllib.parse.quote("user-add:/users/jid")
        pages.driver.get(f"{reference}#{named}")
        until("the operation is open", lambda: pages.js(
            "document.getElementById('user-add:/users/jid').open"))
        assert pages.js("document.querySelector('#words').value") == ""
        assert pages.js("document.getElementById('user-add:/users/jid').getBoundingClientRect()"
                        ".top") < 200
        pages.driver.execute_script(AXE.read_text())
        pages.driver.set_script_timeout(5 * TIMEOUT)
        assert pages.faults(least="minor") == []
        pages.js("document.querySelectorAll('section:not(#part-users, #problems)')"
                 ".forEach(e => e.remove())")  # axe-core takes minutes for all of it opened
        pages.js("document.querySelectorAll('details').forEach(e => e.open = true)")
        assert pages.faults(least="minor") == []
        pages.dark(True)
        assert pages.faults("color-contrast") == []
        pages.resize(390, 800)
        assert pages.wider() == []
        assert pages.js("document.querySelector('details[open] pre').scrollWidth") <= 390
        assert pages.complaints() == []
        pages.resize(1280, 1000)
        pages.save("api-reference")


def test_scripts_of_all_pages_are_small(server):
    sizes = []
    for file in "app.js", "reference.js":
        answer = get(server, f"/admin/{file}", {"Accept-Encoding": "gzip"})
        assert answer.getheader("Content-Encoding") == "gzip"
        sizes.append(len(answer.body))
    assert sum(sizes) <= 200 << 10
