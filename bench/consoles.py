#!/usr/bin/python3
"""consoles.py PORT TOKEN COUNT: what COUNT browsers with the dashboard of the console open ask of the listener
http_admin at 127.0.0.1:PORT: a stream of events each (TOPICS, "metrics"), and every 10 s what its parts ask again. And
/metrics once a second, as Prometheus would. Prints "open" when all streams have had an event. Runs until SIGTERM, then
prints what it got as one line of JSON; exit status 1 if anything was refused."""
import asyncio
import collections
import json
import os
import signal
import sys

PORT, TOKEN, COUNT = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
TOPICS = os.environ.get("TOPICS", "metrics")
PAUSE, SCRAPE = 10, 1
# web/admin: State and the notices both ask for the status
ASKED = [("status", {}), ("status", {}), ("alarm-list", {}), ("config-history", {"limit": 1})]
got = collections.Counter()


async def request(method, path, body=None):
    """Sends it; a reader of the answer, its status and the writer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", PORT)
    data = json.dumps(body).encode() if body is not None else b""
    head = (f"{method} {path} HTTP/1.1\r\nHost: localhost:{PORT}\r\nAuthorization: Bearer {TOKEN}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\nConnection: close\r\n\r\n")
    writer.write(head.encode() + data)
    status = int((await reader.readline()).split()[1])
    while await reader.readline() not in (b"\r\n", b""):
        pass
    return reader, status, writer


async def ask(what, method, path, body=None):
    reader, status, writer = await request(method, path, body)
    got["bytes"] += len(await reader.read())
    writer.close()
    got[what if status == 200 else f"{what}: {status}"] += 1
    got["refused"] += status != 200


async def stream(opened):
    reader, status, writer = await request("GET", f"/api/v1/events?topics={TOPICS}")
    got["refused"] += status != 200
    while line := await reader.readline():
        got["bytes"] += len(line)
        if line.startswith(b"event:"):
            got["events"] += 1
            opened.set()
    got["streams that ended"] += 1
    writer.close()


async def again():
    while True:
        for name, body in ASKED:
            await ask("requests", "POST", f"/api/v1/commands/{name}", body)
        await asyncio.sleep(PAUSE)


async def scrape():
    while True:
        await ask("scrapes", "GET", "/metrics")
        await asyncio.sleep(SCRAPE)


async def main():
    end = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end.set)
    opened = [asyncio.Event() for _ in range(COUNT)]
    tasks = [asyncio.create_task(stream(one)) for one in opened]
    tasks += [asyncio.create_task(again()) for _ in range(COUNT)] + [asyncio.create_task(scrape())]
    await asyncio.wait_for(asyncio.gather(*(one.wait() for one in opened)), 30)
    print("open", flush=True)
    await end.wait()
    failed = [task.exception() for task in tasks if task.done() and task.exception()]
    print(json.dumps({**got, "failed": [repr(f) for f in failed]}), flush=True)
    return 1 if failed or got["refused"] or got["streams that ended"] else 0


sys.exit(asyncio.run(main()))
