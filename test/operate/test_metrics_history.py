"""The history of metrics: a ring on the node that the console draws as plots."""
import datetime
import re

import pytest

from harness.client import until
from surface.test_api import api_server


@pytest.fixture
def server(make_server):
    # A row each 104 ms.
    server = api_server(make_server, **{"metrics.history": "15min"})
    server.add_user("alice", "secret")
    return server


def history(server, name, *options):
    return server.rows("metrics", "history", name, *options)


def stamp(text):
    return datetime.datetime.fromisoformat(text)


def test_sessions_and_counters_over_time(server):
    until("a row", lambda: len(history(server, "muster_sessions", "--step", "1s")) >= 1)
    before = server.rows("metrics", "series")
    assert next(r for r in before if r["name"] == "muster_sessions")["value"] == 0
    alice = server.client("alice")
    until("a row", lambda: history(server, "muster_sessions", "--step", "1s")[-1]["max"] == 1)
    for _ in range(7):
        alice.send("<message to='alice@localhost' type='chat'><body>x</body></message>")
    received = "muster_messages_received"
    rows = until("a row", lambda: [r for r in history(server, received) if r["value"] >= 7])
    assert rows
    counts = [r["value"] for r in history(server, received)]
    assert counts == sorted(counts)
    times = [stamp(r["time"]) for r in history(server, received)]
    assert times == sorted(times) and len(set(times)) == len(times)
    # One long step has all of it.
    whole = history(server, "muster_sessions", "--step", "1h")
    assert 1 <= len(whole) <= 2
    assert min(r["min"] for r in whole) == 0 and max(r["max"] for r in whole) == 1
    assert all(r["min"] <= r["value"] <= r["max"] for r in whole)


def test_labels_and_histograms_have_series_of_their_own(server):
    server.client("alice")
    names = {r["name"]: r for r in server.rows("metrics", "series")}
    for name in ("muster_s2s_streams{direction=received}", "muster_latency_us{stage=login}",
                 "muster_latency_us_sum{stage=login}", "muster_memory_resident_bytes",
                 "muster_worker_cpu_us{worker=0}", "muster_alarms_active", "muster_store_queue"):
        assert name in names
    until("a login", lambda: any(r["value"] for r in
                                 history(server, "muster_latency_us{stage=login}")))
    assert history(server, "muster_latency_us_sum{stage=login}")[-1]["value"] > 0
    assert history(server, "muster_memory_resident_bytes")[-1]["min"] > 1 << 20
    assert history(server, "muster_worker_cpu_us{worker=0}")[-1]["value"] > 0
    workers = {r["label"] for r in server.rows("metrics") if r["name"] == "muster_worker_cpu_us"}
    assert len(workers) == server.rows("status")[0]["workers"]


def test_times_and_limits(server):
    until("a row", lambda: history(server, "muster_sessions"))
    rows = history(server, "muster_sessions", "--from", "10min", "--step", "1s")
    assert history(server, "muster_sessions", "--from", rows[-1]["time"])
    assert history(server, "muster_sessions", "--to", "10min") == []
    assert history(server, "muster_sessions", "--from", "2001-01-01T00:00:00Z",
                   "--to", "2001-01-02T00:00:00Z") == []
    wrong = ((["muster_session"], "muster_sessions"),
             (["nothing"], "no such series"),
             (["muster_sessions", "--from", "yesterday"], "how long ago"),
             (["muster_sessions", "--from", "1min", "--to", "2min"], "behind"),
             (["muster_sessions", "--step", "1ms"], "1s"))
    for arguments, said in wrong:
        done = server.ctl_run("metrics", "history", *arguments)
        assert done.returncode != 0 and said in done.stderr + done.stdout, done


def test_over_the_api_as_numbers(server):
    until("a row", lambda: history(server, "muster_sessions"))
    answer = server.api("GET", "/metrics/muster_sessions/history?from=1h&step=1s")
    assert answer.status == 200
    for item in answer.json["items"]:
        assert set(item) == {"time", "value", "min", "max"}
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", item["time"])
        assert all(isinstance(item[name], int) for name in ("value", "min", "max"))
    answer = server.api("GET", "/metrics/muster_s2s_streams%7Bdirection%3Dreceived%7D/history")
    assert answer.status == 200 and answer.json["items"]
    assert server.api("GET", "/metrics/nothing/history").status == 404
    assert server.api("GET", "/metrics/series").json["items"]
