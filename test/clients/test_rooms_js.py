"""Each use case of rooms (XEP-0045 §6 to §10) with clients of xmpp.js: what js/muc tests."""
import json
import os
import re
import subprocess

import pytest

from harness import muc
from harness.client import TIMEOUT
from harness.server import MUSTERCTL
from clients.test_clients import JS

# The sections with use cases; each has a test, whose name begins with it.
SECTIONS = {
    "entity": {f"6.{i}" for i in range(1, 8)},
    "occupant": {"7.1", *(f"7.2.{i}" for i in range(1, 19)), *(f"7.{i}" for i in range(3, 8)),
                 "7.8.1", "7.8.2", *(f"7.{i}" for i in range(9, 15))},
    "moderator": {f"8.{i}" for i in range(1, 7)},
    "admin": {f"9.{i}" for i in range(1, 10)},
    "owner": {"10.1.1", "10.1.2", "10.1.3", "10.2", "10.2.1",
              *(f"10.{i}" for i in range(3, 10))},
}
RESULT = re.compile(r"^(?:not )?ok \d+ - §([0-9.]+) ", re.M)
FAILED = re.compile(r"^not ok .*?^  \.\.\.$", re.M | re.S)


@pytest.mark.skipif(not (JS / "node_modules" / "@xmpp" / "client").is_dir(),
                    reason="needs npm ci in test/js")
@pytest.mark.parametrize("actor, scheme", [*((actor, "xmpps") for actor in SECTIONS),
                                           ("occupant", "wss")])
def test_use_cases(make_server, actor, scheme):
    server = make_server("alice", "bob", "carol", "dave",
                         settings=muc.owners("anonymous", "history", "self-add"))
    port, path = {"xmpps": (server.tls_port, ""),
                  "wss": (server.https_port, "/xmpp-websocket")}[scheme]
    try:
        done = subprocess.run(
            ["node", "--test-reporter=tap", JS / "muc" / f"{actor}.test.js"],
            capture_output=True, text=True, timeout=6 * TIMEOUT, check=False,
            env={**os.environ, "NODE_TLS_REJECT_UNAUTHORIZED": "0",
                 "MUSTER_SERVICE": f"{scheme}://127.0.0.1:{port}{path}",
                 "MUSTER_CTL": json.dumps([str(MUSTERCTL), "--socket", str(server.control)])})
    except subprocess.TimeoutExpired as late:
        raise AssertionError((late.stdout or b"").decode()) from None
    failed = "\n".join(FAILED.findall(done.stdout))
    assert not failed and done.returncode == 0, f"{failed or done.stdout}\n{done.stderr}"
    assert set(RESULT.findall(done.stdout)) == SECTIONS[actor], done.stdout
