#!/usr/bin/python3
"""import.py [USERS] [CONTACTS] [keys|passwords] [xep0227|prosody]: time of `musterctl import` for USERS (10,000) with
keys of SCRAM-SHA-1, or with passwords, and CONTACTS (50) each, who are users of the same source: a file of XEP-0227, or
the data folder of Prosody, which is converted first."""
import base64
import os
import pathlib
import random
import shutil
import sys
import tempfile
import time

os.environ.setdefault("MUSTER_TIMEOUT", "300")
sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "test"))

from harness.server import Server  # noqa: E402

PIE = "urn:xmpp:pie:0"


def others(n, users, contacts):
    return [at % users for at in range(n - contacts // 2, n + contacts // 2 + 1) if at != n]


def of_prosody(folder, users, contacts, rng, passwords):
    """The two files of each user, as Prosody writes them."""
    for store in "accounts", "roster":
        (folder / "localhost" / store).mkdir(parents=True)
    for n in range(users):
        secret = (f'["password"] = "password {n}";' if passwords else
                  f'["iteration_count"] = 4096; ["salt"] = "{rng.randbytes(18).hex()}"; '
                  + "".join(f'["{k}"] = "{rng.randbytes(20).hex()}"; ' for k in ("stored_key", "server_key")))
        (folder / "localhost" / "accounts" / f"user{n}.dat").write_text(f"return {{ {secret} }};\n")
        items = "".join(f'["user{at}@localhost"] = {{ ["subscription"] = "both"; ["name"] = "User {at}"; '
                        '["groups"] = { ["Team"] = true; }; };\n' for at in others(n, users, contacts))
        (folder / "localhost" / "roster" / f"user{n}.dat").write_text(
            f'return {{ [false] = {{ ["version"] = 1; ["pending"] = {{}}; }};\n{items} }};\n')


def user(n, users, contacts, rng, passwords):
    keys = "".join(f"<{name}>{base64.b64encode(rng.randbytes(20)).decode()}</{name}>"
                   for name in ("salt", "server-key", "stored-key"))
    items = "".join(f"<item jid='user{at}@localhost' name='User {at}' subscription='both'><group>Team</group></item>"
                    for at in others(n, users, contacts))
    if passwords:
        return f"<user name='user{n}' password='password {n}'><query xmlns='jabber:iq:roster'>{items}</query></user>\n"
    return (f"<user name='user{n}'><scram-credentials xmlns='{PIE}#scram' mechanism='SCRAM-SHA-1'>"
            f"<iter-count>4096</iter-count>{keys}</scram-credentials>"
            f"<query xmlns='jabber:iq:roster'>{items}</query></user>\n")


def main():
    users = int(sys.argv[1]) if len(sys.argv) > 1 else 10000
    contacts = int(sys.argv[2]) if len(sys.argv) > 2 else 50
    secrets = sys.argv[3] if len(sys.argv) > 3 else "keys"
    kind = sys.argv[4] if len(sys.argv) > 4 else "xep0227"
    rng = random.Random(5)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="muster-import-"))
    server = Server(folder / "server", workers=2)
    try:
        path = folder / "source"
        if kind == "prosody":
            of_prosody(path, users, contacts, rng, secrets == "passwords")
        else:
            with path.open("w") as out:
                out.write(f"<server-data xmlns='{PIE}'><host jid='localhost'>\n")
                out.writelines(user(n, users, contacts, rng, secrets == "passwords") for n in range(users))
                out.write("</host></server-data>\n")
        server.start()
        began = time.monotonic()
        text = server.bring(kind, str(path))["text"]
        print(f"{users} users of {kind} with {secrets} and {contacts} contacts each: {time.monotonic() - began:.1f} s; "
              f"{text}")
    finally:
        server.finish()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
