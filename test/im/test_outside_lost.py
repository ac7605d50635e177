"""imtest and pushtest say why a link has failed, wherever that has its home: with
MUSTER_TEST_NODES=2, the other node for some domains."""
import json
import socket

from harness import federation

ONE, OTHER = "one.test", "other.test"


def test_a_policy_says_so_itself(make_server, tmp_path):
    """Without a link that has failed."""
    authority = federation.Authority(tmp_path)
    one = make_server("alice", domains=[ONE], s2s=True,
                      tls={**authority.issue(ONE, ONE), "trust": str(authority.file)},
                      settings=federation.settings(policy="off"))
    one.ctl("test", "user-add", f"alice@{ONE}", "--password", "secret")
    for words in (("imtest", "--target", "localhost", "--receiver", f"bob@{OTHER}"),
                  ("fedtest", "--target", "localhost", "--domain", OTHER, "--proxy", "localhost:1"),
                  ("pushtest", "--edge", "localhost", "--service", OTHER)):
        row = json.loads(one.ctl_run("--json", *words).stdout)["rows"][0]
        assert row["diagnosis"].startswith("policy: Set s2s.policy to open"), row


def test_the_home_of_the_link_says_what_has_failed(make_server, tmp_path):
    authority = federation.Authority(tmp_path)
    one = make_server("alice", domains=[ONE], s2s=True,
                      tls={**authority.issue(ONE, ONE), "trust": str(authority.file)},
                      settings=federation.settings(retry_for="0s"))
    one.ctl("test", "user-add", f"alice@{ONE}", "--password", "secret")
    for n in range(6):
        domain = f"d{n}.{OTHER}"
        federation.route(one, domain, federation.free_port())
        for words in (("imtest", "--target", "localhost", "--receiver", f"bob@{domain}"),
                      ("pushtest", "--edge", "localhost", "--service", domain)):
            row = json.loads(one.ctl_run("--json", *words).stdout)["rows"][0]
            assert row["diagnosis"].startswith("tcp: "), row
            assert "remote-server-timeout" in row["error_message"], row
            assert "Connection refused" in row["error_message"], row


def test_a_test_says_where_it_hangs(make_server, tmp_path):
    """A server that takes connections and never answers."""
    authority = federation.Authority(tmp_path)
    one = make_server("alice", domains=[ONE], s2s=True,
                      tls={**authority.issue(ONE, ONE), "trust": str(authority.file)},
                      settings=federation.settings())
    one.ctl("test", "user-add", f"alice@{ONE}", "--password", "secret")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        federation.route(one, OTHER, silent.getsockname()[1])
        done = one.ctl_run("--json", "imtest", "--target", "localhost", "--receiver",
                           f"bob@{OTHER}", "--timeout", "1s")
    row = json.loads(done.stdout)["rows"][0]
    assert "the stream to it is not ready after" in row["error_message"], row
