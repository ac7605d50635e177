"""Secrets in the wrong place: no message quotes what may be a password, and no setting sends one
somewhere else."""
import subprocess

import pytest

from harness import rows
from harness.rows import MUSTERCTL, MUSTERD
from harness.server import refusal
from surface.test_api import api_server

WORD = "pl4nted"
# Mistakes that people make when they write the URL of a database.
MISTAKEN = [f"postgres//u:{WORD}@h/n", f"postgres://u:{WORD}@h/n", f"postgresql:/u:{WORD}@h/n",
            f"u:{WORD}@h/n", f"host=h password={WORD}", f"postgresql://u:{WORD}/x@h:99x/n",
            f"mysql://u:{WORD}@h/n"]


@pytest.mark.parametrize("url", MISTAKEN)
def test_a_mistaken_url_of_the_database_is_not_quoted(make_server, url):
    host = make_server(start=False, conf={"database": url})
    host.write()
    for program, *args in ((MUSTERD, "--check"), (MUSTERD,), (MUSTERCTL, "doctor"),
                           (MUSTERD, "--rename", "a@localhost", "--to", "b@localhost"),
                           (MUSTERD, "--copy-to", url)):
        done = subprocess.run([program, "--config", host.file, *args], capture_output=True,
                              text=True, timeout=60, check=False)
        said = done.stdout + done.stderr
        assert said and WORD not in said, (args, said)
        assert done.returncode != 0 or args == ["--check"] and "99x" in url, args


def secrets():
    return [name for name, row in rows.part("settings").items() if row["x-type"] == "secret"]


def test_a_refused_secret_is_not_quoted(make_server):
    """By no surface, and in no log: too long, not text, or beside what the command takes."""
    host = api_server(make_server)
    assert "mail.password" in secrets()
    for name in secrets():
        for value in WORD * 200, WORD + "\x07":
            assert WORD not in refusal(host, "set", name, value)
            for path, body in ((f"/settings/{name}", {"value": value}),
                               ("/commands/config-edit", {"setting": name, "value": value}),
                               ("/commands/set", {"setting": name + "x", "value": value}),
                               ("/commands/set", {"setting": name, "value": [value]})):
                answer = host.api("PUT" if "/settings/" in path else "POST", path, body)
                assert answer.status >= 400 and WORD not in answer.text, (path, answer.text)
    assert WORD not in host.log() and WORD not in str(host.rows("audit", "list"))
    host.stop()
    for value in WORD * 200, [WORD], {WORD: WORD}:
        host.conf["settings"] = {**host.conf.get("settings", {}), "mail.password": value}
        host.write()
        done = subprocess.run([MUSTERD, "--config", host.file, "--check"], capture_output=True,
                              text=True, timeout=60, check=False)
        assert done.returncode != 0 and WORD not in done.stdout + done.stderr


# A secret that is sent to nobody, so that no other setting could send it elsewhere.
STAYS = {"extdisco.turn-secret": "credentials are made from it; only those are sent",
         "snmp.auth-password": "keys are made from it, which sign; it is not sent",
         "snmp.privacy-password": "keys are made from it, which encrypt; it is not sent"}


def test_each_secret_that_is_sent_goes_with_its_receiver():
    docs = " ".join(row["description"] for row in rows.part("settings").values())
    for name in secrets():
        assert name in STAYS or f"Another value clears {name}." in docs, name


@pytest.fixture
def host(make_server):
    server = make_server("alice")
    server.ctl("set", "mail.relay", "relay.test:25")
    server.ctl("set", "mail.user", "muster")
    server.ctl("set", "mail.password", WORD)
    return server


def is_set(server):
    return server.rows("get", "mail.password")[0]["value"] == "(secret)"


def test_another_relay_does_not_get_the_password(host):
    assert is_set(host)
    host.ctl("set", "mail.relay", "relay.test:25")  # nothing new
    assert is_set(host)
    done = host.ctl_run("set", "mail.relay", "evil.test")
    assert done.returncode == 0 and "mail.password is cleared" in done.stdout, done.stdout
    assert not is_set(host)
    newest = host.rows("config", "history")[0]["version"]
    changed = {r["setting"]: r["after"] for r in host.rows("config", "version", str(newest))}
    assert changed == {"mail.relay": "evil.test", "mail.password": "(default)"}
    # To go back restores both as they were.
    host.ctl("config", "rollback")
    assert is_set(host) and host.rows("get", "mail.relay")[0]["value"] == "relay.test:25"
    for command in (("set", "mail.relay", "--default"), ("config", "reset", "mail.relay")):
        assert "mail.password is cleared" in host.ctl_run(*command).stdout
        assert not is_set(host)
        host.ctl("config", "rollback")
        assert is_set(host)


def test_a_secret_that_was_there_first_is_for_the_first_receiver(make_server):
    host = make_server()
    for secret, receiver in (("mail.password", "mail.relay"), ("snmp.community", "snmp.receiver")):
        host.ctl("set", secret, "pl4nted-word")
        host.ctl("set", receiver, "relay.test")
        assert host.rows("get", secret)[0]["value"] == "(secret)"
        assert f"{secret} is cleared" in host.ctl_run("set", receiver, "evil.test").stdout
        assert host.rows("get", secret)[0]["value"] != "(secret)"


def test_as_one_change_the_password_goes_along(host):
    host.ctl("config", "edit", "mail.relay", "other.test")
    done = host.ctl_run("config", "apply")
    assert "mail.password is cleared" in done.stdout and not is_set(host)
    host.ctl("config", "edit", "mail.relay", "third.test")
    host.ctl("config", "edit", "mail.password", WORD)
    done = host.ctl_run("config", "apply")
    assert done.returncode == 0 and "cleared" not in done.stdout and is_set(host)
    host.ctl("config", "edit", "mail.user", "somebody")
    assert host.ctl_run("config", "apply").returncode == 0 and is_set(host)
    # A candidate from before does not bring back what was cleared since.
    host.ctl("config", "edit", "mail.relay", "fourth.test")
    host.ctl("set", "mail.password", WORD + "2")
    assert "cleared" in host.ctl_run("config", "apply", "--confirm", "1h").stdout
    host.ctl("config", "rollback")
    assert is_set(host) and host.rows("get", "mail.relay")[0]["value"] == "third.test"


def test_a_password_of_the_node_file_holds_its_relay(make_server):
    host = make_server(settings={"mail.password": WORD})
    host.ctl("set", "mail.relay", "relay.test")
    words = refusal(host, "set", "mail.relay", "evil.test")
    assert "mail.password: fixed by the node file" in words
    assert host.rows("get", "mail.relay")[0]["value"] == "relay.test"
