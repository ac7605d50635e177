"""See ../federation.sh."""
import json
import os
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(__file__))

import chat  # noqa: E402
import links  # noqa: E402
from servers import BUILD, World  # noqa: E402

PARTS = os.environ.get("PARTS", "chat durable setup burst idle").split()
SERVERS = os.environ.get("SERVERS", "muster ejabberd prosody").split()
SECONDS = float(os.environ.get("SECONDS_EACH", "5"))


def main():
    began = time.monotonic()
    results = []
    with tempfile.TemporaryDirectory(prefix="federation.") as folder:
        os.chmod(folder, 0o755)  # ejabberd and Prosody run as users of their own
        world = World(os.path.join(folder, "world"))
        try:
            if "chat" in PARTS:
                results += chat.table("nothing stored", SERVERS, world, False, SECONDS)
            if "durable" in PARTS:
                results += chat.table("durable", [s for s in SERVERS if s != "prosody"], world, True, SECONDS)
            for part in "setup", "burst", "idle":
                if part in PARTS:
                    results.append(getattr(links, part)(world))
        finally:
            world.end()
    BUILD.mkdir(parents=True, exist_ok=True)
    (BUILD / "federation.json").write_text(json.dumps(results, indent=1))
    print(f"took {time.monotonic() - began:.0f} s")


main()
