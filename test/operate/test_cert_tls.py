"""The settings of TLS: what each kind of peer may use. `openssl s_client` is the peer."""
import re
import subprocess

import pytest

from harness.client import TIMEOUT, until
from harness.rows import MUSTERD


def agreed(port, *more):
    """(version, cipher, group) of a handshake; None if it fails."""
    done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{port}", *more],
                          input="", capture_output=True, text=True, timeout=TIMEOUT, check=False)
    found = re.search(r"^New, (\S+), Cipher is (\S+)$", done.stdout, re.M)
    if not found or found[2] == "(NONE)":
        return None
    group = re.search(r"^Server Temp Key: (?:ECDH, )?([^,\n]+)", done.stdout, re.M)
    return found[1], found[2], group and group[1]


def row(server, context):
    return next(r for r in server.rows("tls", "list") if r["context"] == context)


def test_defaults(make_server):
    server = make_server(s2s=True)
    for port in (server.tls_port, server.https_port, server.s2s_tls_port):
        assert agreed(port) == ("TLSv1.3", "TLS_AES_128_GCM_SHA256", "X25519")
        assert agreed(port, "-tls1_2")[1].startswith("ECDHE-ECDSA-AES")
        assert agreed(port, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0") is None
        assert agreed(port, "-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA256") is None
    assert [r["context"] for r in server.rows("tls", "list")] == ["clients", "https", "servers",
                                                                  "relay"]


@pytest.mark.parametrize("context, kind", [("clients", "tls_port"), ("https", "https_port"),
                                           ("servers", "s2s_tls_port")])
def test_each_context_is_its_own(make_server, context, kind):
    server = make_server(s2s=True)
    ports = {name: getattr(server, name) for name in ("tls_port", "https_port", "s2s_tls_port")}
    server.ctl("set", f"tls.{context}-min-version", "1.3")
    mine = ports.pop(kind)
    assert agreed(mine, "-tls1_2") is None
    assert agreed(mine)[0] == "TLSv1.3" and row(server, context)["min"] == "1.3"
    assert all(agreed(port, "-tls1_2") for port in ports.values())
    server.ctl("set", f"tls.{context}-min-version", "1.2")
    assert agreed(mine, "-tls1_2")


def test_ciphers_suites_and_groups(server):
    server.ctl("set", "tls.clients-ciphers", "ECDHE-ECDSA-CHACHA20-POLY1305")
    assert agreed(server.tls_port, "-tls1_2")[1] == "ECDHE-ECDSA-CHACHA20-POLY1305"
    assert agreed(server.tls_port, "-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256") is None
    server.ctl("set", "tls.clients-suites", "TLS_CHACHA20_POLY1305_SHA256")
    assert agreed(server.tls_port)[1] == "TLS_CHACHA20_POLY1305_SHA256"
    server.ctl("set", "tls.clients-groups", "P-384")
    assert re.search("P-384|secp384r1", str(agreed(server.tls_port)))
    assert agreed(server.tls_port, "-groups", "X25519") is None
    assert agreed(server.https_port, "-groups", "X25519")
    server.restart()
    assert agreed(server.tls_port, "-groups", "X25519") is None


def test_the_highest_version(server):
    server.ctl("set", "tls.clients-max-version", "1.2")
    assert agreed(server.tls_port)[0] == "TLSv1.2"
    done = server.ctl_run("set", "tls.clients-min-version", "1.3")
    assert done.returncode != 0 and "tls.clients-max-version" in done.stderr


def test_connections_stay(server):
    server.add_user("ann")
    client = server.client("ann")
    server.ctl("set", "tls.clients-groups", "P-384")
    assert agreed(server.tls_port, "-groups", "X25519") is None
    client.ping()


@pytest.mark.parametrize("what, value, culprit", [
    ("ciphers", "ECDHE-RSA-AES128-GCM-SHA256 NONSENSE", "NONSENSE"),
    ("ciphers", "HIGH", "HIGH"), ("ciphers", "AES128-SHA", "AES128-SHA"),
    ("ciphers", "ECDHE-RSA-NULL-SHA", "ECDHE-RSA-NULL-SHA"),
    ("ciphers", "TLS_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256"),
    ("ciphers", "ECDHE-RSA-AES128-GCM-SHA256:ALL", "ECDHE-RSA-AES128-GCM-SHA256:ALL"),
    ("suites", "TLS_AES_128_GCM_SHA256 TLS_NONE", "TLS_NONE"),
    ("groups", "X25519 P-1", "P-1"), ("groups", "X25519 X25519", "X25519"),
    ("groups", "P-256 prime256v1", "prime256v1"), ("groups", "secp256k1", "secp256k1"),
    ("groups", "ffdhe3072", "ffdhe3072"),
    ("suites", "TLS_AES_128_CCM_8_SHA256", "TLS_AES_128_CCM_8_SHA256")])
def test_names_that_are_not_known(server, what, value, culprit):
    done = server.ctl_run("set", f"tls.clients-{what}", value)
    assert done.returncode != 0
    assert f'tls.clients-{what}: found "{culprit}", allowed' in done.stderr
    assert agreed(server.tls_port)


def test_none_at_all(server):
    done = server.ctl_run("set", "tls.clients-suites", "")
    assert done.returncode != 0 and "found 0 bytes" in done.stderr


def node_file(server, **settings):
    path = server.data.parent / "muster.yaml"
    text = path.read_text()
    before = re.search(r"^settings: \{(.*)\}$", text, re.M)
    values = ", ".join(filter(None, [before[1], *(f'"{n}": "{v}"' for n, v in settings.items())]))
    return path, text, text.replace(before[0], f"settings: {{{values}}}")


@pytest.mark.parametrize("settings, told", [
    ({"tls.clients-min-version": "1.3", "tls.clients-max-version": "1.2"},
     "found 1.3, allowed at most settings.tls.clients-max-version, which is 1.2"),
    ({"tls.clients-groups": "X25519 X25519"}, 'found "X25519"')])
def test_mistakes_in_the_node_file(server, settings, told):
    path, before, text = node_file(server, **settings)
    path.write_text(text)
    done = server.ctl_run("server", "reload")
    assert done.returncode != 0 and told in done.stderr
    checked = subprocess.run([MUSTERD, "--config", str(path), "--check"],
                             capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert checked.returncode != 0 and told in checked.stdout + checked.stderr
    assert agreed(server.tls_port, "-tls1_2")
    path.write_text(before)


def test_the_least_version_holds_against_a_stored_highest_one(server):
    server.ctl("set", "tls.clients-max-version", "1.2")
    assert agreed(server.tls_port)[0] == "TLSv1.2"
    path, _, text = node_file(server, **{"tls.clients-min-version": "1.3"})
    path.write_text(text)
    server.ctl("server", "reload")
    assert agreed(server.tls_port, "-tls1_2") is None
    assert agreed(server.tls_port)[0] == "TLSv1.3"
    assert (row(server, "clients")["min"], row(server, "clients")["max"]) == ("1.3", "1.3")
    assert alarm(server, "tls.policy")


def test_a_mistake_elsewhere_in_the_node_file_stops_no_setting(server):
    path = server.data.parent / "muster.yaml"
    text = path.read_text()
    path.write_text(text + "\nnonsense: [\n")
    server.ctl("set", "tls.clients-min-version", "1.3")
    assert agreed(server.tls_port, "-tls1_2") is None
    assert agreed(server.tls_port)[0] == "TLSv1.3" and agreed(server.https_port, "-tls1_2")
    assert row(server, "clients")["min"] == "1.3"
    path.write_text(text)


def alarm(server, name):
    return next((r for r in server.rows("alarm", "list") if r["name"] == name), None)


def test_a_key_without_a_cipher_is_an_alarm(server):
    server.ctl("set", "tls.clients-ciphers", "ECDHE-RSA-AES128-GCM-SHA256")
    until("the alarm", lambda: alarm(server, "tls.keys"))
    assert "clients" in alarm(server, "tls.keys")["detail"]
    server.ctl("set", "tls.clients-min-version", "1.3")
    until("the alarm ends", lambda: alarm(server, "tls.keys") is None)


def test_a_change_applies_before_it_is_answered(server):
    """However it is made, by musterctl or the node file, and undone; a refused one changes nothing
    and is no version."""
    def seen():
        return (agreed(server.tls_port) or [None])[0]
    for _ in range(3):
        server.ctl("set", "tls.clients-max-version", "1.2")
        assert seen() == "TLSv1.2"
        server.ctl("config", "rollback")
        assert seen() == "TLSv1.3"
    server.ctl("config", "edit", "tls.clients-max-version", "1.2")
    server.ctl("config", "edit", "tls.clients-groups", "P-384")
    server.ctl("config", "apply", "--confirm", "10min")
    assert seen() == "TLSv1.2" and agreed(server.tls_port, "-groups", "X25519") is None
    server.ctl("config", "rollback")
    assert seen() == "TLSv1.3" and agreed(server.tls_port, "-groups", "X25519")
    path, before, text = node_file(server, **{"tls.clients-max-version": "1.2"})
    for content, version in (text, "TLSv1.2"), (before, "TLSv1.3"):
        path.write_text(content)
        server.ctl("server", "reload")
        assert seen() == version
    versions = len(server.rows("config", "history"))
    for name, value in (("tls.clients-ciphers", "HIGH"), ("tls.clients-groups", "P-1"),
                        ("tls.client-groups", "P-256")):
        assert server.ctl_run("set", name, value).returncode != 0
        assert server.ctl_run("config", "edit", name, value).returncode != 0
    assert len(server.rows("config", "history")) == versions and seen() == "TLSv1.3"


def test_a_reload_under_way_answers_nobody_who_came_later(server):
    """Many changes at once: each is in force when its own answer comes."""
    runs = [server.ctl_start("server", "reload") for _ in range(6)]
    server.ctl("set", "tls.clients-max-version", "1.2")
    assert agreed(server.tls_port)[0] == "TLSv1.2"
    for run in runs:
        run.communicate(timeout=TIMEOUT)
        assert run.returncode == 0


def test_the_answer_comes_after_the_main_thread_has_read_the_certificates(server):
    """In the log, which both write."""
    server.ctl("set", "tls.clients-max-version", "1.2")
    log = server.log()
    assert 0 < log.find("event=server.reloaded") < log.find("command=set"), log
