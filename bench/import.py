#!/usr/bin/python3
"""import.py [USERS] [CONTACTS] [keys|passwords]: time of `musterctl import xep0227` for USERS (10,000) with keys of
SCRAM-SHA-1, or with passwords, and CONTACTS (50) each, who are users of the same file."""
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


def user(n, users, contacts, rng, passwords):
    keys = "".join(f"<{name}>{base64.b64encode(rng.randbytes(20)).decode()}</{name}>"
                   for name in ("salt", "server-key", "stored-key"))
    items = "".join(f"<item jid='user{at % users}@localhost' name='User {at % users}' subscription='both'>"
                    "<group>Team</group></item>"
                    for at in range(n - contacts // 2, n + contacts // 2 + 1) if at != n)
    if passwords:
        return f"<user name='user{n}' password='password {n}'><query xmlns='jabber:iq:roster'>{items}</query></user>\n"
    return (f"<user name='user{n}'><scram-credentials xmlns='{PIE}#scram' mechanism='SCRAM-SHA-1'>"
            f"<iter-count>4096</iter-count>{keys}</scram-credentials>"
            f"<query xmlns='jabber:iq:roster'>{items}</query></user>\n")


def main():
    users = int(sys.argv[1]) if len(sys.argv) > 1 else 10000
    contacts = int(sys.argv[2]) if len(sys.argv) > 2 else 50
    secrets = sys.argv[3] if len(sys.argv) > 3 else "keys"
    rng = random.Random(5)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="muster-import-"))
    server = Server(folder / "server", workers=2)
    try:
        path = folder / "users.xml"
        with path.open("w") as out:
            out.write(f"<server-data xmlns='{PIE}'><host jid='localhost'>\n")
            out.writelines(user(n, users, contacts, rng, secrets == "passwords") for n in range(users))
            out.write("</host></server-data>\n")
        server.start()
        began = time.monotonic()
        text = server.bring("xep0227", str(path))["text"]
        print(f"{users} users with {secrets} and {contacts} contacts each, {path.stat().st_size / 1e6:.0f} MB: "
              f"{time.monotonic() - began:.1f} s; {text}")
    finally:
        server.finish()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
