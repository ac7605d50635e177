"""What people do in rooms (XEP-0045 §7 to §10) with xmpp.js: what js/rooms.test.js tests."""
import os
import re
import subprocess

import pytest

from harness import muc
from harness.client import TIMEOUT
from clients.test_clients import JS

CASES = 15
FAILED = re.compile(r"^not ok .*?^  \.\.\.$", re.M | re.S)


@pytest.mark.skipif(not (JS / "node_modules" / "@xmpp" / "client").is_dir(),
                    reason="needs npm ci in test/js")
@pytest.mark.parametrize("scheme", ["xmpps", "wss"])
def test_use_cases(make_server, scheme):
    server = make_server("alice", "bob", "carol", "dave",
                         settings=muc.owners("anonymous", "history", "self-add"))
    port, path = {"xmpps": (server.tls_port, ""),
                  "wss": (server.https_port, "/xmpp-websocket")}[scheme]
    try:
        done = subprocess.run(
            ["node", "--test-reporter=tap", JS / "rooms.test.js"],
            capture_output=True, text=True, timeout=6 * TIMEOUT, check=False,
            env={**os.environ, "NODE_TLS_REJECT_UNAUTHORIZED": "0",
                 "MUSTER_SERVICE": f"{scheme}://127.0.0.1:{port}{path}"})
    except subprocess.TimeoutExpired as late:
        raise AssertionError((late.stdout or b"").decode()) from None
    failed = "\n".join(FAILED.findall(done.stdout))
    assert not failed and done.returncode == 0, f"{failed or done.stdout}\n{done.stderr}"
    assert len(re.findall(r"^ok \d+ - §", done.stdout, re.M)) == CASES, done.stdout
