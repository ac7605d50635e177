"""Clients of other projects: slixmpp, profanity in a terminal, xmpp.js."""
import json
import os
import pathlib
import shutil
import subprocess

import pytest
import slixmpp

from harness.client import TIMEOUT, until
from harness.slix import Slix
from harness.terminal import Terminal

JS = pathlib.Path(__file__).parents[1] / "js"


# --- slixmpp ---


async def test_slixmpp_as_it_comes(server):
    """It tries three bindings that it cannot, three downgrades, and is let in with the seventh."""
    alice = await Slix(server, "alice", mechanism=None).login()
    assert alice.boundjid.bare == "alice@localhost"
    await alice.disconnect()


@pytest.mark.settings({"presence.approval": "ask"}, why="users are asked")
@pytest.mark.parametrize("tls", ["starttls", "direct"])
async def test_slixmpp_roster_and_chat(server, tls):
    alice, bob = Slix(server, "alice"), Slix(server, "bob")
    await alice.login(tls)
    await bob.login(tls)
    alice.send_presence_subscription("bob@localhost")
    await alice.presence_of(bob.boundjid)
    await bob.presence_of(alice.boundjid)
    assert alice.client_roster["bob@localhost"]["subscription"] in ("to", "both")
    alice.send_message("bob@localhost", "hello", mtype="chat")
    message = await bob.message()
    assert (message["body"], message["from"]) == ("hello", alice.boundjid)
    message.reply("hello yourself").send()
    assert (await alice.message())["body"] == "hello yourself"
    await alice.disconnect()
    await bob.disconnect()


async def test_slixmpp_plugins(server):
    """Its plug-ins understand our answers."""
    alice = Slix(server, "alice", ["xep_0030", "xep_0012", "xep_0054", "xep_0092",
                                   "xep_0199", "xep_0049"])
    await alice.login()
    info = await alice["xep_0030"].get_info(jid="localhost")
    assert "urn:xmpp:ping" in info["disco_info"]["features"]
    assert await alice["xep_0199"].ping("localhost") >= 0
    version = await alice["xep_0092"].get_version("localhost")
    assert version["software_version"]["name"] == "Muster"
    assert (await alice["xep_0012"].get_last_activity("localhost"))["last_activity"]
    card = alice["xep_0054"].make_vcard()
    card["FN"] = "Alice"
    await alice["xep_0054"].publish_vcard(card)
    assert (await alice["xep_0054"].get_vcard("alice@localhost", cached=False))[
        "vcard_temp"]["FN"] == "Alice"
    await alice.disconnect()


async def test_slixmpp_stream_management(server):
    alice, bob = Slix(server, "alice", ["xep_0198"]), Slix(server, "bob", ["xep_0198"])
    await alice.login()
    await bob.login()
    assert alice["xep_0198"].enabled_in and bob["xep_0198"].enabled_in
    for i in range(50):
        alice.send_message("bob@localhost/slix", str(i), mtype="chat")
    assert [(await bob.message())["body"] for _ in range(50)] == [str(i) for i in range(50)]
    await alice.disconnect()
    await bob.disconnect()


# --- profanity ---


@pytest.fixture
def screen(tmp_path):
    made = Terminal(tmp_path, "profanity")
    yield made
    made.close()


@pytest.mark.settings({"presence.approval": "ask"}, why="users are asked")
@pytest.mark.skipif(not (shutil.which("profanity") and shutil.which("tmux")),
                    reason="needs profanity and tmux")
def test_profanity(server, bob, screen):
    """Logs in, adds a contact, chats."""
    screen.connect("alice", server.c2s_port)
    bob.result("get", "<query xmlns='jabber:iq:roster'/>")
    screen.enter("/roster add bob@localhost Bob")
    screen.enter("/sub request bob@localhost")
    bob.expect("<presence from='alice@localhost' type='subscribe'/>")
    bob.send("<presence to='alice@localhost' type='subscribed'/>")
    bob.send("<presence to='alice@localhost' type='subscribe'/>")
    screen.enter("/sub allow bob@localhost")
    bob.expect("<presence from='alice@localhost' type='subscribed'/>")
    screen.enter("/msg bob@localhost hello from profanity")
    message = bob.expect("<message type='chat'><body>hello from profanity</body></message>")
    bob.send(f"<message to='{message.get('from')}' type='chat'><body>hello yourself</body>"
             "</message>")
    screen.expect("hello yourself")
    screen.enter("/quit")
    bob.expect(f"<presence from='{message.get('from')}' type='unavailable'/>")


# --- xmpp.js ---


@pytest.mark.skipif(not (JS / "node_modules" / "@xmpp" / "client").is_dir(),
                    reason="needs npm ci in test/js")
@pytest.mark.parametrize("scheme", ["xmpp", "xmpps", "wss"])
def test_xmpp_js(server, bob, scheme):
    """Over TCP with STARTTLS, over TLS, and over WebSocket."""
    port = {"xmpp": server.c2s_port, "xmpps": server.tls_port, "wss": server.https_port}[scheme]
    path = "/xmpp-websocket" if scheme == "wss" else ""
    with subprocess.Popen(
            ["node", JS / "chat.js",
             f"{scheme}://127.0.0.1:{port}{path}", "localhost", "alice", "secret",
             "bob@localhost"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "NODE_TLS_REJECT_UNAUTHORIZED": "0"}) as process:
        try:
            peer = bob.expect("<message type='chat'><body>hello from xmpp.js</body></message>"
                              ).get("from")
            bob.send(f"<message to='{peer}' type='chat'><body>bye</body></message>")
            output, errors = process.communicate(timeout=2 * TIMEOUT)
        except BaseException:
            process.kill()
            print(*process.communicate())
            raise
    events = [json.loads(line) for line in output.splitlines()]
    assert [e["event"] for e in events] == ["online", "pong", "message", "offline"], errors
    assert events[2] == {"event": "message", "from": bob.jid, "body": "bye"}
    assert peer.startswith("alice@localhost/js/"), "by Bind 2 (XEP-0386)"


@pytest.mark.skipif(not (JS / "node_modules" / "@xmpp" / "client").is_dir(),
                    reason="needs npm ci in test/js")
@pytest.mark.parametrize("scheme", ["xmpps", "wss"])
def test_xmpp_js_by_token(server, scheme):
    """SASL2, Bind 2, inline stream management, and FAST for the second login."""
    port = {"xmpps": server.tls_port, "wss": server.https_port}[scheme]
    path = "/xmpp-websocket" if scheme == "wss" else ""
    done = subprocess.run(
        ["node", JS / "fast.js",
         f"{scheme}://127.0.0.1:{port}{path}", "localhost", "alice", "secret"],
        capture_output=True, text=True, timeout=3 * TIMEOUT, check=False,
        env={**os.environ, "NODE_TLS_REJECT_UNAUTHORIZED": "0"})
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, done.stdout + done.stderr
    asked = [e["mechanism"] for e in events if e["event"] == "authenticate"]
    assert asked == ["SCRAM-SHA-1", "HT-SHA-256-NONE"]
    answers = [e for e in events if e["event"] == "success"]
    assert [a["token"] for a in answers] == [True, False]
    assert all(a["bound"] and a["enabled"] for a in answers)
    assert server.rows("device", "list", "alice@localhost")[0]["software"] == "xmpp.js"


# --- Strophe.js ---


@pytest.mark.skipif(not (JS / "node_modules" / "strophe.js").is_dir(),
                    reason="needs npm ci in test/js")
@pytest.mark.parametrize("path", ["https /http-bind", "wss /xmpp-websocket"])
def test_strophe(server, bob, path):
    """BOSH and WebSocket as Strophe.js has them, which most clients in browsers are made of."""
    service = path.replace(" ", f"://127.0.0.1:{server.https_port}")
    with subprocess.Popen(
            ["node", JS / "strophe.js", service, "alice@localhost/js", "secret", "bob@localhost"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "NODE_TLS_REJECT_UNAUTHORIZED": "0"}) as process:
        try:
            bob.expect("<message type='chat' from='alice@localhost/js'>"
                       "<body>hello from strophe.js</body></message>")
            bob.send("<message to='alice@localhost/js' type='chat'><body>bye</body></message>")
            output, errors = process.communicate(timeout=2 * TIMEOUT)
        except BaseException:
            process.kill()
            print(*process.communicate())
            raise
    events = [json.loads(line) for line in output.splitlines()]
    assert [e["event"] for e in events] == ["online", "pong", "message", "offline"], errors
    assert events[2] == {"event": "message", "from": bob.jid, "body": "bye"}
    until("no session", lambda: not [row for row in server.rows("session", "list")
                                     if row["jid"].startswith("alice@")])


async def test_slixmpp_archive(server):
    """Its XEP-0313 plugin, which pages by itself."""
    alice = server.client("alice", "a")
    bob = server.client("bob", "b")
    for i in range(7):
        bob.send(f"<message to='{alice.bare}' type='chat'><body>m{i}</body></message>")
        alice.expect(f"<message><body>m{i}</body></message>")

    client = await Slix(server, "alice", ["xep_0313"]).login()
    found = client["xep_0313"].iterate(rsm={"max": 3}, with_jid=slixmpp.JID("bob@localhost"))
    bodies = [m["mam_result"]["forwarded"]["stanza"]["body"] async for m in found]
    assert bodies == [f"m{i}" for i in range(7)]
    found = client["xep_0313"].iterate(rsm={"max": 3}, reverse=True, total=4)
    bodies = [m["mam_result"]["forwarded"]["stanza"]["body"] async for m in found]
    assert sorted(bodies) == [f"m{i}" for i in range(3, 7)]
    await client.disconnect()
