#!/usr/bin/env python3
"""Receives webhooks of Muster, checks their signatures, drops repeats, and prints a line for each
event. Standard library only.

    MUSTER_SECRET=… webhook_receiver.py 127.0.0.1 8000
"""
import collections
import hashlib
import hmac
import http.server
import json
import os
import sys
import time

SECRET = os.environ["MUSTER_SECRET"].encode()
AGE_MAX = 300  # seconds; what is older was recorded and sent again by somebody
BYTES_MAX = 256 << 10
SEEN = collections.OrderedDict()  # ids of the last events; keep them in a database for real work
SEEN_MAX = 100000


def is_signed(header, body):
    """Muster-Signature: t=SECONDS,v1=HMAC-SHA256 of "SECONDS.BODY" in hexadecimal digits."""
    fields = dict(part.partition("=")[::2] for part in header.split(","))
    if not fields.get("t", "").isdigit() or abs(time.time() - int(fields["t"])) > AGE_MAX:
        return False
    wanted = hmac.new(SECRET, fields["t"].encode() + b"." + body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(wanted.encode(), fields.get("v1", "").encode())


class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > BYTES_MAX:
            return self.answer(413)
        body = self.rfile.read(int(length))
        if not is_signed(self.headers.get("Muster-Signature", ""), body):
            return self.answer(403)
        event = json.loads(body)
        if event["id"] not in SEEN:  # at least once means: perhaps twice
            SEEN[event["id"]] = True
            if len(SEEN) > SEEN_MAX:
                SEEN.popitem(last=False)
            print(event["time"], event["event"], event["subject"], json.dumps(event["data"]),
                  flush=True)
        self.answer(204)

    def answer(self, status):
        self.send_response(status)
        self.end_headers()

    def log_message(self, *args):
        pass


if __name__ == "__main__":
    http.server.ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Receiver).serve_forever()
