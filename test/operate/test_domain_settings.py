"""Settings of scope domain: a value for all domains, and others for some (`NAME@DOMAIN`)."""
import contextlib
import json
import pathlib
import re
import subprocess
import urllib.parse

import pytest

from harness import federation
from harness.client import Gone, until
from harness.control import settings
from harness.federation import Peer
from harness.server import MUSTERD
from surface.test_api import api_server
from stream.test_cert_login import Authority, connect
from stream.test_guest import guest
from services.test_invite import invite, register, run
from services.test_search import card, classic, refused
from surface.test_webchat import get, picture

ONE, TWO = "one.example", "two.example"
PASSWORD = ("<query xmlns='jabber:iq:register'><username>{}</username><password>{}</password>"
            "</query>")


@pytest.fixture
def host(make_server):
    return make_server(domains=(ONE, TWO))


def shown(server, name):
    row = server.rows("get", name)[0]
    return row["value"], row["default_value"], row["source"], row["changed"]


def offered(server, domain):
    client = server.connect(domain=domain)
    return client.offers("register", "http://jabber.org/features/iq-register")


def test_one_domain_differs_and_comes_back(host):
    name = f"register.enabled@{TWO}"
    assert shown(host, name) == ("off", "off", "default", False)
    assert host.ctl("set", name, "on")["text"] == f"{name} is on"
    assert shown(host, name) == ("on", "off", "database", True)
    assert shown(host, "register.enabled") == ("off", "off", "default", False)
    assert [row["name"] for row in host.rows("config", "show", "register.enabled")] == [
        "register.enabled", name]
    host.ctl("set", "register.enabled", "on")
    assert shown(host, name) == ("on", "on", "database", False)
    host.ctl("set", name, "off")
    host.restart()
    assert shown(host, name) == ("off", "on", "database", True)
    assert host.ctl("set", name, "--default")["text"] == f"{name} is on"
    assert shown(host, name) == ("on", "on", "database", False)
    host.ctl("set", "register.enabled", "--default")
    assert shown(host, name) == ("off", "off", "default", False)
    assert [row["name"] for row in host.rows("config", "show", "register.enabled")] == [
        "register.enabled"]


def test_a_reset_of_all_is_one_of_domains_too(host):
    host.ctl("set", f"register.enabled@{TWO}", "on")
    host.ctl("set", f"register.password-min@{ONE}", "9")
    host.ctl("config", "reset", "register")
    assert not host.rows("config", "show", "register", "--changed")
    host.restart()
    assert shown(host, f"register.enabled@{TWO}") == ("off", "off", "default", False)


@pytest.mark.parametrize("name, why", [
    ("register.enabled@three.example", "this node does not serve such a domain"),
    ("register.enabled@", "this node does not serve such a domain"),
    (f"sm.ack-every@{ONE}", "this setting has one value for all domains"),
    (f"register.enable@{ONE}", "no such setting")])
def test_names_that_are_none(host, name, why):
    for words in (("set", name, "on"), ("get", name)):
        done = host.ctl_run(*words)
        assert done.returncode != 0 and f"{name}: {why}" in done.stderr, done
    host.stop()
    host.conf["settings"][name] = "on"
    host.write()
    done = subprocess.run([MUSTERD, "--config", host.file, "--check"], capture_output=True,
                          text=True, timeout=60, check=False)
    assert done.returncode == 2 and "muster.yaml:" in done.stderr, done
    assert "key 'settings" in done.stderr


IDN = "bücher.example"
WRITINGS = [IDN, "xn--bcher-kva.example", "XN--BCHER-KVA.Example", "BÜCHER.example", f"{IDN}."]


@pytest.mark.parametrize("domain", WRITINGS)
def test_all_writings_of_a_domain_name_its_setting(make_server, domain):
    """As for other commands: those that set, show, go back and prepare changes, and the API."""
    host = api_server(make_server, {"domains": [ONE, IDN]})
    name, written = f"register.enabled@{IDN}", f"register.enabled@{domain}"
    assert host.ctl("set", written, "on")["text"] == f"{name} is on"
    assert shown(host, written) == shown(host, name) == ("on", "off", "database", True)
    assert [row["name"] for row in host.rows("config", "show", written)] == [name]
    assert len(host.rows("config", "history", written)) == 1
    host.ctl("config", "reset", written)
    assert shown(host, name)[0] == "off"
    host.ctl("config", "edit", written, "on")
    assert [row["setting"] for row in host.rows("config", "diff")] == [name]
    host.ctl("config", "drop", written)
    assert not host.rows("config", "diff")
    path = f"/settings/{urllib.parse.quote(written)}"
    assert host.api("PUT", path, {"value": "on"}).status == 200
    assert host.api("GET", path).json["value"] == "on"
    assert shown(host, name)[0] == "on"
    assert {row["args"].split()[0] for row in host.rows("audit", "list", "--command", "set")} == {
        f"setting={name}"}


@pytest.mark.parametrize("domain", WRITINGS)
def test_all_writings_of_a_domain_are_right_in_the_node_file(make_server, domain):
    name = f"register.enabled@{IDN}"
    host = make_server(domains=(ONE, IDN), settings={f"register.enabled@{domain}": True})
    assert shown(host, name) == ("on", "off", "node file", True)
    host.stop()
    host.conf["settings"]["register.enabled@xn--bcher-kva.EXAMPLE"] = False
    host.write()
    done = subprocess.run([MUSTERD, "--config", host.file, "--check"], capture_output=True,
                          text=True, timeout=60, check=False)
    assert done.returncode == 2, done
    assert f"key 'settings.{name}': found twice, in two writings; allowed once" in done.stderr


def test_the_node_file_locks_one_domain(make_server):
    name = f"register.password-min@{TWO}"
    host = make_server(domains=(ONE, TWO), settings={
        name: 12, "register.ask-password": "never"})
    assert shown(host, name) == ("12", "8", "node file", True)
    assert "fixed by the node file" in host.ctl_run("set", name, "9").stderr
    host.ctl("set", "register.password-min", "4")
    for domain, least in ((ONE, 4), (TWO, 12)):
        host.add_user("alice", password="secret-of-alice", domain=domain)
        alice = host.login("alice", domain=domain, password="secret-of-alice")
        answer = alice.iq("set", PASSWORD.format("alice", "x" * (least - 1)))
        assert f"needs {least} characters" in answer.find(".//{*}text").text
        alice.result("set", PASSWORD.format("alice", "x" * least))
    del host.conf["settings"][name]
    host.write()
    host.ctl("server", "reload")
    assert shown(host, name) == ("4", "4", "database", False)


def test_the_node_file_locks_all_domains(make_server):
    """Whoever may set one domain does not get around it, nor does what was set before."""
    host = make_server(domains=(ONE, TWO))
    name = f"register.enabled@{ONE}"
    host.ctl("set", name, "on")
    host.conf["settings"]["register.enabled"] = False
    host.restart()
    assert shown(host, name) == ("off", "off", "node file", False) and not offered(host, ONE)
    assert host.rows("get", name)[0]["locked"]
    for words in ((name, "on"), (f"register.enabled@{TWO}", "on"), (name, "--default")):
        assert "fixed by the node file" in host.ctl_run("set", *words).stderr
    host.conf["settings"][name] = True
    host.write()
    host.ctl("server", "reload")
    assert offered(host, ONE) and not offered(host, TWO)
    del host.conf["settings"][name], host.conf["settings"]["register.enabled"]
    host.write()
    host.ctl("server", "reload")
    assert shown(host, name) == ("on", "off", "database", True) and offered(host, ONE)


def test_a_reset_keeps_what_the_node_file_covers(make_server):
    host = make_server(domains=(ONE, TWO))
    name = f"register.enabled@{ONE}"
    host.ctl("set", name, "on")
    host.conf["settings"]["register.enabled"] = False
    host.write()
    host.ctl("server", "reload")
    host.ctl("config", "reset", "register")
    del host.conf["settings"]["register.enabled"]
    host.write()
    host.ctl("server", "reload")
    assert host.rows("get", name)[0]["changed"] and offered(host, ONE)


def test_a_domain_federates_by_its_own_rules(make_server):
    """s2s.policy, s2s.domains, federation.services, federation.users."""
    host = make_server(domains=(ONE, TWO), s2s=True)
    host.ctl("set", "s2s.policy", "open")
    host.ctl("set", f"s2s.policy@{TWO}", "allow")
    host.ctl("set", f"s2s.domains@{TWO}", "near.test")
    host.ctl("set", f"federation.services@{TWO}", "pubsub")

    def taken(domain, local):
        with contextlib.suppress(Gone):
            return Peer(host, domain, local).header().features_come().features is not None
        return False
    assert taken("far.test", ONE) and taken("far.test", f"conference.{ONE}")
    assert not taken("far.test", TWO) and taken("near.test", TWO)
    assert taken("near.test", f"pubsub.{TWO}") and not taken("near.test", f"conference.{TWO}")
    host.ctl("set", f"federation.users@{TWO}", "off")
    for domain, refused_as in ((ONE, False), (TWO, True)):
        host.add_user("alice", domain=domain)
        applies = [row["mode"] for row in host.rows("federation", "show", f"alice@{domain}")
                   if row["what"] == "applies"]
        assert applies == ["off" if refused_as else "on"]


def test_a_domain_has_mail_addresses_for_other_servers(make_server):
    """federation/test_mail_address.py shows what they do."""
    host = make_server(domains=(ONE, TWO))
    for domain in ONE, TWO:
        host.add_user("alice", domain=domain)
        host.ctl("user", "set", f"alice@{domain}", "--email", f"a.s@{domain}")
    host.ctl("set", f"federation.mail-address@{TWO}", "on")
    host.wait_log("mail-address.read used=1 ")
    host.ctl("set", "federation.mail-address", "on")
    host.wait_log("mail-address.read used=2 ")


def test_strangers_elsewhere_need_approval_for_one_domain(make_server, tmp_path):
    """federation.stranger-messages."""
    authority = federation.Authority(tmp_path)
    files = {**authority.issue("both", ONE, TWO), "trust": str(authority.file)}
    host = make_server(domains=(ONE, TWO), s2s=True, tls=files)
    host.ctl("set", "s2s.policy", "open")
    host.ctl("set", f"federation.stranger-messages@{TWO}", "approval")
    for domain in ONE, TWO:
        host.add_user("alice", domain=domain)
        far = Peer(host, "far.test", domain, authority.issue(f"far-{domain}", "far.test")).join()
        alice = host.client("alice", domain=domain)
        for ident, to in ("m", alice.bare), ("nobody", f"nobody@{domain}"):
            far.raw(f"<message from='x@far.test' to='{to}' id='{ident}'><body>hi</body></message>")
        if domain == ONE:
            alice.expect("<message from='x@far.test' id='m'/>")
    until("both are refused", lambda: [2] == [
        row["value"] for row in host.rows("metrics")
        if row["name"] == "muster_federation_refused" and row["label"] == "why=approval"])
    alice.expect_nothing("<message/>")


def test_every_such_setting_has_a_value_for_a_domain(host):
    scoped = [name for name in settings(MUSTERD) if host.rows("get", name)[0]["scope"] == "domain"]
    assert len(scoped) >= 12
    for name in scoped:
        row = host.rows("get", f"{name}@{ONE}")[0]
        assert row["scope"] == "domain" and not row["changed"]
        host.ctl("set", f"{name}@{ONE}", row["value"])
        assert host.rows("get", f"{name}@{ONE}")[0]["source"] == "database"
    text = pathlib.Path(__file__).read_text()  # and a test of what it does
    assert [name for name in scoped if f"{name}@" not in text] == []


def test_certificate_login(host, tmp_path):
    """c2s.certificate-login@one.example is for its users."""
    people = Authority(tmp_path)
    host.ctl("cert-trust", "add", people.file, "--for", "clients")
    host.ctl("set", f"c2s.certificate-login@{ONE}", "on")
    for domain, offered_there in (ONE, True), (TWO, False):
        client = connect(host, people.context(f"ann@{domain}"), domain=domain)
        assert ("EXTERNAL" in client.mechanisms) == offered_there


def test_scram_hashes(host):
    """c2s.scram-hashes@one.example is for its users."""
    host.ctl("set", f"c2s.scram-hashes@{ONE}", "SCRAM-SHA-1")
    for domain, offered_there in (ONE, False), (TWO, True):
        assert ("SCRAM-SHA-256" in host.connect("ann", domain=domain).mechanisms) == offered_there


def test_components(host):
    """component.delegations@one.example and component.privileges@one.example are for its users."""
    host.ctl("set", f"component.delegations@{ONE}", "jabber:iq:version=gateway.test")
    host.ctl("set", f"component.privileges@{ONE}", "gateway.test roster=get")
    assert shown(host, f"component.privileges@{ONE}")[0] == "gateway.test roster=get"
    assert shown(host, f"component.privileges@{TWO}")[0] == ""
    for domain, answer in (ONE, "error"), (TWO, "result"):
        host.add_user("dora", domain=domain)
        dora = host.client("dora", domain=domain)
        asked = dora.iq("get", "<query xmlns='jabber:iq:version'/>", to=domain)
        assert asked.get("type") == answer


def test_registration(host):
    host.ctl("set", f"register.enabled@{TWO}", "on")
    assert offered(host, TWO) and not offered(host, ONE)
    assert register(host.connect(domain=TWO), "carol", "long enough") is True
    with pytest.raises(Gone):  # nothing but logging in is possible
        register(host.connect(domain=ONE), "carol", "long enough")
    host.ctl("set", "register.ask-password", "never")
    host.ctl("set", f"register.reserved-names@{TWO}", "chief")
    assert register(host.connect(domain=TWO), "chief", "long enough") == "conflict"
    assert register(host.connect(domain=TWO), "webmaster", "long enough") is True
    for name in f"register.password-change@{TWO}", f"register.remove@{TWO}":
        host.ctl("set", name, "off")
        carol = host.login("carol", domain=TWO, password="long enough")
        inner = (PASSWORD.format("carol", "even longer") if "change" in name else
                 "<query xmlns='jabber:iq:register'><remove/></query>")
        assert carol.error("set", inner)[0] == "not-allowed"


def test_the_question_for_the_password(host):
    host.ctl("set", f"register.ask-password@{TWO}", "never")
    for domain, answer in ((ONE, "error"), (TWO, "result")):
        host.add_user("bob", domain=domain)
        bob = host.login("bob", domain=domain)
        assert bob.iq("set", PASSWORD.format("bob", "long enough")).get("type") == answer


def test_invitations(host):
    host.ctl("set", f"invite.enabled@{TWO}", "on")
    host.ctl("set", f"invite.lifetime@{TWO}", "1h")
    refusal = host.ctl_run("user", "invite", "--domain", ONE)
    assert "`musterctl set invite.enabled on`" in refusal.stderr
    host.ctl("set", "invite.enabled", "on")
    until_one, until_two = (invite(host, "--domain", domain)["expire"] for domain in (ONE, TWO))
    assert until_two < until_one
    host.ctl("set", f"invite.enabled@{ONE}", "off")
    refusal = host.ctl_run("user", "invite", "--domain", ONE)
    assert f"`musterctl set invite.enabled@{ONE} on`" in refusal.stderr


def test_invitations_by_users(host):
    def asked(client):
        reply = run(client, "urn:xmpp:invite#invite", to=client.domain)
        return reply.get("type"), "".join(reply.itertext())

    for domain in (ONE, TWO):
        host.add_user("alice", domain=domain)
    one, two = (host.login("alice", domain=domain) for domain in (ONE, TWO))
    host.ctl("set", "invite.enabled", "on")
    host.ctl("set", f"invite.by-users@{TWO}", "on")
    kind, said = asked(one)
    assert kind == "error" and "invite.by-users is off" in said
    assert "preauth=" in asked(two)[1]
    host.ctl("set", "invite.by-users", "on")
    host.ctl("set", f"invite.by-users@{TWO}", "off")
    kind, said = asked(two)
    assert kind == "error" and f"invite.by-users@{TWO} is off" in said
    host.ctl("set", f"invite.by-users@{TWO}", "on")
    host.ctl("set", f"invite.max@{TWO}", "1")
    for _ in range(2):
        assert "preauth=" in asked(one)[1]
        kind, said = asked(two)
        assert f"invite.max@{TWO}" in said
    host.ctl("set", "invite.max", "2")
    assert "raise invite.max" in asked(one)[1] and f"invite.max@{ONE}" not in asked(one)[1]


def test_the_chat_page(host, tmp_path):
    def shown_at(domain):
        found = json.loads(get(host, "/chat/settings.json", {"Host": domain}).body)
        return found["title"], get(host, "/chat/logo", {"Host": domain}).body

    none = get(host, "/chat/logo", {"Host": ONE}).body
    files = [tmp_path / "all.png", tmp_path / "two.png"]
    for file, width in zip(files, (16, 32)):
        file.write_bytes(picture(width))
    host.ctl("set", f"web.title@{TWO}", "Two")
    host.ctl("set", f"web.logo@{TWO}", files[1])
    assert shown_at(ONE) == (ONE, none) and shown_at(TWO) == ("Two", picture(32))
    host.ctl("set", "web.title", "All")
    host.ctl("set", "web.logo", files[0])
    assert shown_at(ONE) == ("All", picture(16)) and shown_at(TWO) == ("Two", picture(32))
    host.ctl("set", f"web.title@{TWO}", "")
    host.ctl("set", f"web.logo@{TWO}", "")
    assert shown_at(ONE) == ("All", picture(16)) and shown_at(TWO) == (TWO, none)


def base_of_files(host, domain):
    reply = host.login("alice", domain=domain).result(
        "get", "<request xmlns='urn:xmpp:http:upload:0' filename='a.txt' size='5'/>",
        to=f"upload.{domain}")
    put, got = (reply.find(f"{{*}}{way}").get("url") for way in ("put", "get"))
    assert put.partition("/upload/")[0] == got.partition("/upload/")[0]
    return put.partition("/upload/")[0]


def test_addresses_of_files(host):
    def base(domain):
        return base_of_files(host, domain)

    for domain in (ONE, TWO):
        host.add_user("alice", domain=domain)
    before = base(ONE)
    host.ctl("set", f"upload.base-url@{TWO}", "https://files.two.example")
    assert base(ONE) == before and base(TWO) == "https://files.two.example"
    host.ctl("set", "upload.base-url", "https://files.example/")
    assert base(ONE) == "https://files.example" and base(TWO) == "https://files.two.example"
    host.ctl("set", f"upload.base-url@{TWO}", "")
    assert base(TWO) == before.replace(ONE, TWO)


def test_addresses_of_pages(host):
    """Those that host-meta tells, and of invitations and files."""
    def base(name):
        answer = get(host, "/.well-known/host-meta.json", headers={"Host": f"{name}:443"})
        return re.search(r'"href": "(\w+://[^/]*)', answer.body.decode())[1]

    host.ctl("set", f"http.base-url@{TWO}", "https://two.pages.example/")
    assert (base(ONE), base(TWO)) == (f"ws://{ONE}:443", "wss://two.pages.example")
    host.ctl("set", "http.base-url", "https://chat.example")
    for name in (ONE, "pages.example", "elsewhere.example"):
        assert base(name) == "wss://chat.example"
    for name in (TWO, "Two.Example", f"{TWO}.", f"chat.{TWO}", "two.pages.example"):
        assert base(name) == "wss://two.pages.example"
    for domain in (ONE, TWO):
        host.ctl("set", f"invite.enabled@{domain}", "on")
    links = [invite(host, "--domain", domain)["landing_url"] for domain in (ONE, TWO)]
    assert [link.partition("/invite/")[0] for link in links] == [
        "https://chat.example", "https://two.pages.example"]
    host.add_user("alice", domain=TWO)
    assert base_of_files(host, TWO) == "https://two.pages.example"


def test_an_alarm_names_the_domain_that_lacks_an_address(host):
    """That other domains have one does not help it. Each worker hears of a change by itself, and
    clears the alarm then: requests raise it again."""
    def detail():
        get(host, "/.well-known/host-meta", headers={"X-Forwarded-For": "192.0.2.7"})
        return [row["detail"] for row in host.rows("alarm", "list") if row["name"] == "http.proxy"]

    host.ctl("set", "http.trusted-proxies", "127.0.0.1")
    for has, lacks in ((TWO, ONE), (ONE, TWO)):
        host.ctl("set", f"http.base-url@{has}", "https://chat.example")
        words = f"http.base-url for the proxy at 127.0.0.1: links of {lacks} are wrong without it"
        until(words, lambda words=words: detail() == [words])
        host.ctl("set", f"http.base-url@{has}", "--default")
    for domain in (ONE, TWO):
        host.ctl("set", f"http.base-url@{domain}", "https://chat.example")
    until("there is no alarm", lambda: not detail())
    host.ctl("set", "http.base-url", "https://chat.example")
    host.ctl("set", f"http.base-url@{ONE}", "")
    until("it is raised", lambda: f"of {ONE} are wrong" in "".join(detail()))


def test_guests_of_one_domain_may_leave_it(host):
    host.ctl("set", "guest.domains", f"{ONE} {TWO}")
    host.ctl("set", f"guest.remote@{TWO}", "on")
    assert [guest(host, domain=domain).error(
        "get", "<ping xmlns='urn:xmpp:ping'/>", to="elsewhere.test")[0]
        for domain in (ONE, TWO)] == ["not-allowed", "remote-server-not-found"]


def test_searching(host):
    for domain in (ONE, TWO):
        host.add_user("alice", domain=domain)
        card(host.client("alice", domain=domain), "Alice", "L", "", "")
    one, two = (host.client("alice", domain=domain) for domain in (ONE, TWO))
    assert list(classic(one, f"search.{TWO}", first="al")) == [f"alice@{TWO}"]
    host.ctl("set", f"search.access@{TWO}", "domain")
    assert refused(one, "<first>al</first>", f"search.{TWO}") == "forbidden"
    assert list(classic(two, f"search.{ONE}", first="al")) == [f"alice@{ONE}"]
    host.ctl("set", f"search.enabled@{ONE}", "off")
    assert refused(two, "<first>al</first>", f"search.{ONE}") == "remote-server-not-found"
    items = two.result("get", "<query xmlns='http://jabber.org/protocol/disco#items'/>", to=ONE)
    assert not re.search("search", " ".join(item.get("jid") for item in items))
    assert list(classic(two, f"search.{TWO}", first="al")) == [f"alice@{TWO}"]


def test_new_accounts_are_welcomed(host):
    host.ctl("set", f"announce.welcome@{TWO}", "Welcome to two")
    for domain in (ONE, TWO):
        host.add_user("bob", domain=domain)
    host.client("bob", domain=TWO).expect("<message><body>Welcome to two</body></message>")
    bob = host.client("bob", domain=ONE)
    bob.ping()
    bob.expect_nothing("<message/>")
