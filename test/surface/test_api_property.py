"""Every operation of the API with values that are there, that could be and that nobody means: what
comes back is as the OpenAPI document says."""
import os
import random
import urllib.parse

from harness import json_schema
from surface.test_api import LEFT_OUT, api_server, without_streams
from surface.test_api_events import Stream
from surface.test_api_resources import filled, filled_by_rows

HOSTILE = ["", " ", "a", "0", "-1", "99999999999999999999", "true", "none", "alice@localhost",
           "alice@localhost/x", "@", "a@b@c", "no.test", "\u00e9\u0644\u4e2d",
           "\U0001f600", "../../x", "%2e%2e", "<script>", "'; DROP TABLE account; --", "\x7f",
           "\u202e", "a" * 3000, "{jid}", "localhost", "tea@conference.localhost", "* * *", "a\nb",
           "\t"]
# What is there, by the name of the argument, and by its type.
NAMED = {
    "name": ["a", "b", "viewer"], "role": ["viewer", "a"], "group": ["a"], "groups": ["a", "b"],
    "template": ["a"], "shown": ["A"], "setting": ["sm.ack-every"], "value": ["7", "9"],
    "alarm": ["store.full"], "contact": ["a@a.test"], "contacts": ["a@a.test"],
    "pattern": ["a.test"], "password": ["secret-471147"], "permissions": ["users.read"],
    "scope": ["users.read"], "field": ["muc#roomconfig_roomname"], "events": ["user.created"],
    "url": ["http://127.0.0.1:1/"], "id": [1, "1"], "version": [1], "after": [1], "limit": [1, 9],
    "domains": ["localhost"], "visible_to": ["members"], "target": ["127.0.0.1:9"],
    "rule": ["department=a"], "rules": ["department=a"], "test": ["imtest"], "from": [1],
    "to": [1, "c"], "who": ["a"], "owner": ["token:tests"], "node": ["n1"]}
TYPED = {
    "user": ["alice@localhost", "bob@localhost", "carol@localhost"], "room":
    ["a@conference.localhost", "b@conference.localhost"], "domain": ["localhost", "a.test"],
    "served-domain": ["localhost"], "time": ["1h", "90s"], "timestamp": ["2026-11-20T12:00:00Z"]}
TYPED |= dict.fromkeys(("jid", "bare-jid", "session"), TYPED["user"])
# They take away what the others ask for, and come behind them.
ENDS = {"del", "delete", "remove", "revoke", "destroy", "disable", "end-session", "kick", "reset",
        "rename", "rollback", "cancel", "drop", "block", "logout", "stop"}


def likely(name, schema, rng):
    """A value that the server has, or that the document gives as an example."""
    kind = schema.get("x-type")
    schema = schema.get("anyOf", [schema])[0]
    if name in NAMED and kind not in ("jid", "domain", "time"):
        fitting = [v for v in NAMED[name] if schema.get("type") != "integer" or isinstance(v, int)]
        return rng.choice(fitting or NAMED[name])
    if kind in TYPED:
        return rng.choice(TYPED[kind])
    if "enum" in schema:
        return rng.choice(schema["enum"])
    if schema.get("type") == "boolean":
        return rng.random() < .5
    if schema.get("type") == "integer":
        return schema.get("minimum", 1)
    return rng.choice(schema.get("examples", ["a"]))


def hostile(name, schema, rng):
    if rng.random() < .3:
        return likely(name, schema, rng)
    schema = schema.get("anyOf", [schema])[0]
    if schema.get("type") == "integer" and rng.random() < .5:
        return rng.choice([0, 1, 2 ** 62, -5, schema.get("minimum", 1), 2 ** 70])
    return rng.choice(HOSTILE + [["a", "b"], {"a": 1}, None, 1.5])


def request(path, operation, value_of, rng):
    """Its target and its body."""
    target, query, body = path, [], None
    for parameter in operation["parameters"]:
        name, value = parameter["name"], value_of(parameter["name"], parameter["schema"], rng)
        value = str(value).lower() if isinstance(value, bool) else str(value)
        if parameter["in"] == "path":
            target = target.replace("{%s}" % name, urllib.parse.quote(value, safe=""))
        elif parameter.get("required") or rng.random() < .3:
            query.append((name, value))
    if query:
        target += "?" + urllib.parse.urlencode(query)
    if "requestBody" in operation:
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        body = {name: value_of(name, one, rng) for name, one in schema["properties"].items()
                if name in schema["required"] or not one.get("readOnly") and rng.random() < .3}
    return target, body


def requests_of(document, rng):
    """Of each operation some with likely values, and some with hostile ones among them."""
    operations = [(path, method, operation) for path, of in without_streams(document)
                  for method, operation in sorted(of.items())
                  if operation["x-command"] not in LEFT_OUT
                  and operation.get("x-access") != "local"]
    operations.sort(key=lambda one: one[2]["x-command"].split()[-1] in ENDS)
    for path, method, operation in operations:
        for value_of in [likely] * 3 + [hostile] * 3:
            yield method, *request(path, operation, value_of, rng), operation


def held(document, operation, answer):
    """The answer is one of those that the document has for this operation."""
    status = str(answer.status)
    assert status in operation["responses"], (status, answer.text)
    response = operation["responses"][status]
    if "$ref" in response:
        response = document["components"]["responses"][response["$ref"].rpartition("/")[2]]
        assert answer.json.get("error") in response["x-errors"], answer.text
    if "content" not in response:
        assert answer.text == ""
        return
    kind = (answer.getheader("Content-Type") or "").partition(";")[0]
    assert set(response["content"]) == {kind}, (status, kind)
    json_schema.validate(answer.json, response["content"][kind]["schema"])


def test_every_operation_with_hostile_values(make_server):
    """No fault of this server, and every answer is as the document says. MUSTER_SEED repeats what a
    run has sent."""
    seed = os.environ.get("MUSTER_SEED") or str(random.SystemRandom().randrange(10 ** 6))
    print(f"MUSTER_SEED={seed}")
    server = api_server(make_server, **{"webhook.allow-local": "on"})
    for name in "alice", "bob", "carol":
        server.add_user(name, "secret")
    filled(server)
    filled_by_rows(server)
    document, rng = server.api("GET", "/openapi.json").json, random.Random(seed)
    asked, succeeded = set(), set()
    for method, target, body, operation in requests_of(document, rng):
        answer = server.api(method.upper(), target, body)
        assert answer.status < 500 or answer.status == 502, (method, target, body, answer.text)
        held(document, operation, answer)
        asked.add(operation["operationId"])
        if answer.status < 300:
            succeeded.add(operation["operationId"])
    assert len(succeeded) >= 2 / 3 * len(asked), sorted(asked - succeeded)
    assert server.api("GET", "/status").status == 200


USER = "/users/{jid}"
STATUSES = [  # what comes, the operation, its body and headers
    (304, "get", USER, None, {"If_None_Match": "*"}),
    (412, "patch", USER, {"surname": "Roe"}, {"If_Match": '"other"'}),
    (413, "put", USER, b" " * 300000, {"Content_Type": "application/json"}),
    (415, "patch", USER, b"{}", {"Content_Type": "text/plain"}),
    (415, "patch", USER, b"{}", {"Content_Type": "application/json", "Content_Encoding": "gzip"}),
    (412, "post", "/commands/user-show", {"jid": "alice@localhost"}, {"If_Match": '"x"'}),
    (502, "post", "/webhooks/{id}/test", None, {}),
    (503, "get", "/events", None, {}),
    (429, "get", USER, None, {}),
]


def test_statuses_that_values_do_not_bring(make_server):
    server = api_server(make_server, **{
        "webhook.allow-local": "on", "api.requests-per-token": "50"})
    server.add_user("alice")
    server.ctl("webhook", "add", "http://127.0.0.1:1/")
    server.ctl("set", "api.event-streams", "1")
    stream = Stream(server, "metrics")
    assert stream.status() == 200
    document = server.api("GET", "/openapi.json").json
    for status, method, path, body, headers in STATUSES:
        target = path.format(jid="alice@localhost", id=1)
        if path == "/events":
            target += "?topics=metrics"
        for _ in range(500 if status == 429 else 1):
            answer = server.api(method.upper(), target, body, **headers)
            if answer.status == status:
                break
        assert answer.status == status, answer.text
        held(document, document["paths"][path][method], answer)
    stream.close()
