#!/usr/bin/python3
"""api_get.py: what each GET of the API costs, worst first: processor time of the whole process and of the worker that
answers, in ms, and KiB of the answer. Helper threads and those of the database have names of their own. The routes are those of openapi.json. The server is one of its own, with one
worker, USERS (300) users, each with a profile and CONTACTS (20) contacts, and ROOMS (200) rooms. Each route is asked
REQUESTS (20) times; what is left of a request that is refused is counted, too. Exit status 1 if a worker spends more
than LIMIT (5) ms on a route, since all its users wait meanwhile."""
import http.client
import json
import os
import pathlib
import re
import sys
import tempfile
import xml.etree.ElementTree as ET

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "test"))

from harness.server import Server, free_ports  # noqa: E402

USERS, ROOMS, CONTACTS, REQUESTS = (int(os.environ.get(name, most)) for name, most in (
    ("USERS", 300), ("ROOMS", 200), ("CONTACTS", 20), ("REQUESTS", 20)))
LIMIT_MS = float(os.environ.get("LIMIT", 5))
ADMIN, ROOM = "user0@localhost", "room0@conference.localhost"
# What a path names by its parameters; of others the first item of the list above the path is taken.
NAMES = {"jid": ADMIN, "user": ADMIN, "contact": "user1@localhost", "group": "staff", "room": ROOM,
         "setting": "c2s.stanza-rate", "name": "staff", "domain": "localhost"}
PIE = "urn:xmpp:pie:0"


def company():
    """All users as one document of XEP-0227."""
    data = ET.Element("server-data", xmlns=PIE)
    host = ET.SubElement(data, "host", jid="localhost")
    for n in range(USERS):
        user = ET.SubElement(host, "user", name=f"user{n}", password="secret")
        roster = ET.SubElement(user, "query", xmlns="jabber:iq:roster")
        for other in range(n + 1, n + 1 + CONTACTS):
            ET.SubElement(roster, "item", jid=f"user{other % USERS}@localhost", subscription="both")
        card = ET.SubElement(user, "vCard", xmlns="vcard-temp")
        ET.SubElement(card, "FN").text = f"User {n} of the bench"
    return ET.tostring(data, encoding="unicode")


def filled(folder):
    server = Server(folder, settings={"http.request-rate": "none", "api.requests-per-token": "none",
                                      "api.requests-per-address": "none"}, workers=1, why="a bench")
    server.port_of_api, = free_ports(1)
    server.conf["listen"]["http_admin"] = [f"127.0.0.1:{server.port_of_api}"]
    server.start()
    file = folder / "company.xml"
    file.write_text(company())
    server.ctl("import", "xep0227", file)
    for n in range(ROOMS):
        server.ctl("room", "create", f"room{n}@conference.localhost", f"user{n % USERS}@localhost")
    staff = " ".join(f"user{n}@localhost" for n in range(0, USERS, 2))
    server.ctl("group", "add", "staff", "--members", staff)
    server.token = server.rows("token", "add", "bench", "administrator")[0]["token"]
    return server


def threads_ns(pid):
    """Time on a processor of each thread so far, by its number and name."""
    return {(task.name, (task / "comm").read_text().strip()):
            int((task / "schedstat").read_text().split()[0])
            for task in pathlib.Path(f"/proc/{pid}/task").iterdir()}


class Api:
    def __init__(self, server):
        self.server = server
        self.connection = http.client.HTTPConnection("127.0.0.1", server.port_of_api, timeout=60)

    def get(self, path):
        self.connection.request("GET", f"/api/v1{path}",
                                headers={"Authorization": f"Bearer {self.server.token}"})
        answer = self.connection.getresponse()
        return answer.status, answer.read()

    def place(self, path, name):
        """A value for a parameter of a path."""
        status, text = self.get(path[:path.index("{")].rstrip("/"))
        items = json.loads(text).get("items", []) if status == 200 else []
        texts = [value for item in items[:1] for value in item.values()]
        return NAMES.get(name) or str(texts[0] if texts else "1")

    def filled(self, path):
        while found := re.search(r"{([^}]*)}", path):
            value = self.place(path, found[1])
            path = path.replace(found[0], value, 1)
        return path


def measured(api, path):
    """(ms of the worker, ms of the process, KiB, status) of one request."""
    api.get(path)  # what is made once, and statements that are prepared
    before = threads_ns(api.server.process.pid)
    for _ in range(REQUESTS):
        status, text = api.get(path)
    after = threads_ns(api.server.process.pid)
    spent = {task: (ns - before.get(task, 0)) / 1e6 / REQUESTS for task, ns in after.items()}
    worker = sum(ms for (_, name), ms in spent.items() if name == "musterd")
    return worker, sum(spent.values()), len(text) >> 10, status


def main():
    with tempfile.TemporaryDirectory() as folder:
        server = filled(pathlib.Path(folder))
        try:
            api = Api(server)
            paths = [path for path, of in json.loads(api.get("/openapi.json")[1])["paths"].items()
                     if "get" in of and path != "/events"]
            rows = [(*measured(api, path), path) for path in
                    map(api.filled, ["/", "/openapi.json", "/description", *paths])]
        finally:
            server.finish()
    print(f"{'worker ms':>9} {'process ms':>10} {'KiB':>6} status path")
    for worker, process, size, status, path in sorted(rows, reverse=True):
        print(f"{worker:9.2f} {process:10.2f} {size:6} {status:6} {path}")
    slow = [row for row in rows if row[0] > LIMIT_MS]
    print(f"{len(rows)} routes, {len(slow)} above {LIMIT_MS:g} ms")
    sys.exit(bool(slow))


if __name__ == "__main__":
    main()
