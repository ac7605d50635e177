"""Accounts whose keys come from a server with one hash, and what clients of their domain are
offered: clients take the strongest SCRAM mechanism and do not fall back."""
import base64
import hashlib
import hmac

import pytest

from harness import xml
from harness.client import until
from harness.imports import keys, prosody_file, server_data
from operate.test_doctor import doctor, of
from operate.test_import_dump import HEAD

NAMES = "ann", "ben", "cat"
SHA1, SHA256, SHA512 = SCRAM = ["SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512"]


def parts(password):
    salted = hashlib.pbkdf2_hmac("sha1", password.encode(), b"salt", 4096)
    client = hmac.digest(salted, b"Client Key", "sha1")
    return hashlib.sha1(client).digest(), hmac.digest(salted, b"Server Key", "sha1")


def prosody(folder):
    for name in NAMES:
        stored, server = parts(name)
        prosody_file(folder, "localhost", "accounts", f"{name}.dat",
                     f'return {{ ["salt"] = "salt"; ["iteration_count"] = 4096; '
                     f'["stored_key"] = "{stored.hex()}"; ["server_key"] = "{server.hex()}"; }};')
    return folder


def ejabberd(folder):
    rows = [HEAD]
    for name in NAMES:
        record = ",".join(f'<<"{base64.b64encode(part).decode()}">>'
                          for part in (*parts(name), b"salt"))
        rows.append(f'{{passwd,{{<<"{name}">>,<<"localhost">>}},{{scram,{record},sha,4096}}}}.')
    (folder / "dump.txt").write_text("\n".join(rows) + "\n")
    return folder / "dump.txt"


def xep0227(folder):
    (folder / "a.xml").write_text(server_data(*(
        f"<user name='{name}'>{keys(name)}</user>" for name in NAMES)))
    return folder / "a.xml"


# The plugin of Openfire writes XEP-0227, too.
SOURCES = {"prosody": prosody, "ejabberd": ejabberd, "openfire": xep0227, "xep0227": xep0227}


def offered(server):
    """What clients are offered beside EXTERNAL, without channel binding."""
    return [m for m in server.connect().mechanisms if not m.endswith("-PLUS")]


def strongest(server, name, password=None):
    """The condition of a failure of a client that takes the strongest; None: it logged in. By both
    profiles."""
    found = set()
    for two in False, True:
        client = server.connect(name, password=password or name)
        mechanism = [m for m in client.mechanisms if not m.endswith("-PLUS")][0]
        if two:
            answer = client.sasl2(mechanism)
            found.add(None if answer.tag == f"{{{xml.SASL2}}}success" else xml.condition(answer))
        else:
            found.add(client.authenticate(mechanism))
    assert len(found) == 1, found
    return found.pop()


def login_row(server):
    row, = of(doctor(server)[1], "logins")
    return row["state"], row["found"]


def alarms(server):
    return {row["name"]: row["detail"] for row in server.rows("alarm", "list")}


@pytest.mark.parametrize("kind", SOURCES)
def test_everybody_logs_in_by_the_strongest_that_is_offered(server, tmp_path, kind):
    """Before and after accounts get more keys, by each way there is; and after a restart."""
    (tmp_path / "there").mkdir()
    path = SOURCES[kind](tmp_path / "there")
    assert offered(server) == [*reversed(SCRAM), "PLAIN"]
    for more in ["--dry-run"], []:
        said, = server.bring(kind, str(path), *more)["rows"]
        assert (said["user"], said["what"]) == (
            "localhost", "accounts without keys for SCRAM-SHA-256 and SCRAM-SHA-512: 3; until they "
            "have them, clients of the domain are offered SCRAM-SHA-1 and PLAIN (docs/import.md)")
    everybody = [(name, None) for name in NAMES] + [("alice", "secret")]

    def all_log_in(mechanisms):
        assert offered(server) == mechanisms
        for name, password in everybody:
            assert strongest(server, name, password) is None, name
        assert strongest(server, "ann", "wrong") == "not-authorized"
    all_log_in([SHA1, "PLAIN"])
    assert login_row(server) == (
        "warning", "localhost: accounts without keys for SCRAM-SHA-256 and SCRAM-SHA-512: 3, so "
        "clients are offered SCRAM-SHA-1 and PLAIN")
    client = server.connect("ann", password="ann")
    assert client.authenticate(SHA512) == "invalid-mechanism"
    client.close()
    server.wait_log('auth.fail.*"accounts of this domain have no keys for this mechanism')

    server.login("ann", password="ann").close()  # by PLAIN
    until("two", lambda: " 2, so" in login_row(server)[1])
    all_log_in([SHA1, "PLAIN"])
    server.restart()
    all_log_in([SHA1, "PLAIN"])
    server.ctl("user", "password", "ben@localhost", "--password", "new")
    everybody[1] = "ben", "new"
    all_log_in([SHA1, "PLAIN"])
    server.ctl("user", "del", "cat@localhost")
    everybody.pop(2)
    until("all again", lambda: offered(server) == [*reversed(SCRAM), "PLAIN"])
    all_log_in([*reversed(SCRAM), "PLAIN"])
    assert login_row(server)[0] == "ok"


def test_a_domain_without_a_hash_that_all_have(server, load):
    """It is left with PLAIN, and says so, until they have logged in. Who cannot log in does not
    count."""
    load(server_data(f"<user name='ann'>{keys('ann')}</user>",
                     f"<user name='ben'>{keys('ben', 'sha256')}</user>",
                     "<user name='nokeys'/>",
                     f"<user name='shut'>{keys('shut')}"
                     "<disabled xmlns='urn:muster:pie:0'/></user>"))
    assert offered(server) == ["PLAIN"]
    until("alarm", lambda: "auth.no-scram" in alarms(server))
    assert "localhost: accounts without keys for SCRAM-SHA-1, SCRAM-SHA-256 and SCRAM-SHA-512: 2" \
        in alarms(server)["auth.no-scram"]
    for name in "ann", "ben":
        assert strongest(server, name) is None
    until("all again", lambda: offered(server) == [*reversed(SCRAM), "PLAIN"])
    until("no alarm", lambda: "auth.no-scram" not in alarms(server))
    assert [strongest(server, name) for name in ("ann", "ben")] == [None, None]
    client = server.connect("nokeys")
    assert client.authenticate(SHA512) == "not-authorized"
    client.close()
    server.wait_log('auth.fail.*"the account has no keys for SCRAM-SHA-512')
    server.ctl("user", "enable", "shut@localhost")
    until("one hash", lambda: offered(server) == [SHA1, "PLAIN"])
    assert strongest(server, "shut") is None

    server.ctl("set", "c2s.scram-hashes", SHA256)  # it bounds what may be offered
    assert offered(server) == ["PLAIN"]
    until("alarm", lambda: "auth.no-scram" in alarms(server))
