#!/usr/bin/env python3
"""Makes accounts from a CSV file (jid,password,given_name,surname) by the API of Muster, and shows
what the server has then. A second run changes what has changed; passwords of accounts that are there
stay. Standard library only.

    MUSTER_TOKEN=… users.py http://127.0.0.1:5281/api/v1 people.csv
"""
import csv
import json
import os
import sys
import urllib.error
import urllib.parse
import urllib.request


class Api:
    def __init__(self, base, token):
        self.base, self.token = base.rstrip("/"), token

    def __call__(self, method, path, body=None, **headers):
        headers["Authorization"] = f"Bearer {self.token}"
        if body is not None:
            headers["Content-Type"] = "application/json"
            body = json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, body, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:  # application/problem+json
            return error.code, json.load(error)

    def all(self, path):
        """Each item of a list, page by page."""
        query = ""
        while True:
            status, page = self("GET", path + query)
            if status != 200:
                sys.exit(f"{path}: {page['detail']}")
            yield from page["items"]
            if "next" not in page:
                return
            query = "?cursor=" + page["next"]


def main(base, file):
    api = Api(base, os.environ["MUSTER_TOKEN"])
    with open(file, newline="", encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            path = "/users/" + urllib.parse.quote(row.pop("jid"), safe="@")
            row = {name: value for name, value in row.items() if value}
            password = row.pop("password", None)
            status, _ = api("GET", path)
            if status == 404:
                status, answer = api("PUT", path, {"password": password, **row})
            elif row:
                status, answer = api("PATCH", path, row)
            else:
                continue
            print(path, status, answer.get("text", answer.get("detail")))
    for user in api.all("/users"):
        print(user["jid"], user["created"])


if __name__ == "__main__":
    main(*sys.argv[1:])
