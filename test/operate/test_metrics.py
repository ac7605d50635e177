"""/metrics for Prometheus: a listener of its own, and the form of what it says."""
import http.client
import json
import re
import socket
import subprocess
import urllib.parse
import urllib.request

import pytest

from harness import rows
from harness.client import TIMEOUT, until
from harness.server import ROOT, free_ports
from services.test_upload import http_do, store


def get(port, path="/metrics", **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    answer.text = answer.read().decode()
    connection.close()
    return answer


def metrics_node(make_server, **options):
    server = make_server(start=False, **options)
    server.metrics_port = free_ports(1)[0]
    server.conf["listen"]["metrics"] = [f"127.0.0.1:{server.metrics_port}"]
    return server.start()


@pytest.fixture
def node(make_server):
    server = metrics_node(make_server)
    server.add_user("alice", "secret")
    return server


# As `promtool check metrics` wants it.
LABEL = r'[a-z]+="(?:[A-Za-z0-9.-]+|\+Inf)"'
SAMPLE = re.compile(r'([a-z][a-z0-9_]*)(\{%s(?:,%s)?\})? (-?\d+(?:\.\d+)?)' % (LABEL, LABEL))
SHORT = {"us", "ms", "ns", "s", "sec", "b", "kb", "mb", "kib", "mib", "milliseconds", "minutes"}


def check(text):
    """Samples by name; anything that a scraper or promtool would find fault with is an error."""
    assert text.endswith("\n")
    samples, family, kind, seen = {}, None, None, set()
    for line in text.splitlines():
        if line.startswith("# HELP "):
            _, _, family, told = line.split(" ", 3)
            assert family not in seen and told.strip()
            seen.add(family)
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name == family and kind in ("counter", "gauge", "histogram")
            assert (kind == "counter") == name.endswith("_total"), name
            assert "total" not in name.removesuffix("_total"), name
            assert not SHORT & set(name.split("_")), name
            assert not name.endswith(("_count", "_sum", "_bucket", "_info")), name
        else:
            name, label, value = SAMPLE.fullmatch(line).groups()
            parts = [family + end for end in ("_bucket", "_sum", "_count")]
            assert name in parts if kind == "histogram" else name == family
            assert name + (label or "") not in samples
            assert kind == "gauge" or float(value) >= 0
            samples[name + (label or "")] = float(value)
    return samples


def test_messages_that_were_delivered(node):
    """Each client that gets a message counts; presence and answers are no messages."""
    node.add_user("bob", "secret")
    alice = node.client("alice")
    bobs = [node.client("bob", resource) for resource in "ab"]
    for bob in bobs:
        bob.send("<presence/>")
        bob.expect("<presence/>")
    before = check(get(node.metrics_port).text)
    for _ in range(3):
        alice.send("<message to='bob@localhost' type='chat'><body>x</body></message>")
    for bob in bobs:
        for _ in range(3):
            bob.expect("<message/>")
    after = check(get(node.metrics_port).text)
    grown = {name: after[name] - before[name] for name in after}
    assert grown["muster_c2s_messages_sent_total"] == 6
    assert grown["muster_messages_received_total"] == 3


def test_scraped(node):
    node.client("alice")
    answer = get(node.metrics_port)
    assert answer.status == 200
    assert answer.getheader("Content-Type") == "text/plain; version=0.0.4; charset=utf-8"
    samples = check(answer.text)
    assert samples["muster_sessions"] == 1
    assert samples['muster_named{name="JsmClientSessionsActive"}'] == 1
    assert samples["muster_store_commit_seconds_total"] > 0
    again = check(get(node.metrics_port).text)
    assert again["muster_http_requests_total"] == samples["muster_http_requests_total"] + 1
    assert set(check(node.ctl_run("metrics", "--format", "prometheus").stdout)) == set(samples)


def histogram(samples, family, labels):
    """Its buckets as [(upper end, count)], sum and count."""
    ends = {key: value for key, value in samples.items()
            if key.startswith(f'{family}_bucket{{{labels},le="')}
    buckets = [(float(re.search('le="(.*)"', key)[1]), value) for key, value in ends.items()]
    return buckets, samples[f"{family}_sum{{{labels}}}"], samples[f"{family}_count{{{labels}}}"]


def test_times_of_the_database_are_a_histogram(node):
    """Buckets rise to the count of all, and the sum fits to them."""
    node.client("alice")
    samples = check(get(node.metrics_port).text)
    rule = rows.part("metrics")["muster_store_batch_us"]
    assert rule["x-kind"] == "histogram" and rule["x-values"] == ["read", "write"]
    for kind in rule["x-values"]:
        buckets, total, count = histogram(samples, "muster_store_batch_seconds", f'kind="{kind}"')
        assert [end for end, _ in buckets] == [e / 1e6 for e in rule["x-buckets"]] + [float("inf")]
        counts = [n for _, n in buckets]
        assert counts == sorted(counts) and counts[-1] == count > 0
        upper = sum((n - before) * min(end, 3600) for (end, n), before
                    in zip(buckets, [0, *counts]))
        assert 0 < total <= upper


def test_each_direction_of_components_counts_apart(node):
    samples = check(get(node.metrics_port).text)
    for direction in rows.part("metrics")["muster_component_stanzas"]["x-values"]:
        assert samples[f'muster_component_stanzas_total{{direction="{direction}"}}'] == 0
    shown = {row.get("label"): row["value"] for row in node.rows("metrics")
             if row["name"] == "muster_component_stanzas"}
    assert shown == {"direction=received": 0, "direction=sent": 0}


def test_nothing_else_is_there_and_it_is_nowhere_else(node):
    assert get(node.metrics_port, "/chat/").status == 404
    assert get(node.metrics_port, "/.well-known/host-meta").status == 404
    assert get(node.http_port).status == 404
    assert get(node.bosh_port).status == 404


def test_reading_leaves_no_line_in_the_log(node):
    before = node.log()
    for _ in range(3):
        get(node.metrics_port)
    assert node.log() == before


def test_links_do_not_lead_to_it(make_server):
    server = make_server(start=False)
    port = free_ports(1)[0]
    server.conf["listen"] |= {"http": [], "https": [], "bosh": [],
                              "metrics": [f"127.0.0.1:{port}"]}
    server.start()
    assert get(port).status == 200


def test_slow_and_silent_clients_end_and_hold_nobody_up(make_server):
    """1,000 of them at once: some say nothing, some never end their header."""
    server = make_server(start=False, settings={"http.request-timeout": "2s",
                                                "http.connections-per-address": "none"},
                         why="one address stands for many")
    port = free_ports(1)[0]
    server.conf["listen"]["metrics"] = [f"127.0.0.1:{port}"]
    server.start()
    said = [b"", b"GET /metr", b"GET /metrics HTTP/1.1\r\nHost: x\r\nA: b"]
    socks = [socket.create_connection(("127.0.0.1", port), TIMEOUT) for _ in range(500)]
    socks += [socket.create_connection(("127.0.0.1", server.http_port), TIMEOUT)
              for _ in range(500)]
    for i, sock in enumerate(socks):
        sock.sendall(said[i % 3])
    assert get(port).status == 200
    for i, sock in enumerate(socks):
        with sock:
            got = b"".join(iter(lambda sock=sock: sock.recv(4096), b""))
        assert got.startswith(b"HTTP/1.1 408 ") if said[i % 3] else got == b""
    until("all closed", lambda: check(get(port).text)["muster_http_connections"] == 1)


# --- names of other products ---

SERVICES = (ROOT / "docs/services.md").read_text()
NAMED = [(re.findall(r"`(\w+)`", row[1]), re.findall(r"`(muster_\w+)`", row[2]))
         for row in re.finditer(r"^\| (`[A-Z].*?) \| (.*) \|$", SERVICES, re.M)
         if "muster_" in row[2]]


def named(node):
    """{name: value} of these names."""
    samples = check(get(node.metrics_port).text)
    begin = 'muster_named{name="'
    return {name[len(begin):-2]: value for name, value in samples.items() if name.startswith(begin)}


def test_the_table_of_names_is_what_is_there(node):
    samples = check(get(node.metrics_port).text)
    assert {name for names, _ in NAMED for name in names} == set(named(node)) and len(NAMED) > 10
    assert {metric for _, metrics in NAMED for metric in metrics} <= set(samples)
    alarms = {row["name"] for row in node.rows("alarm", "list", "--all")}
    rows = re.findall(r"^\| (?:`\w+`(?:, )?)+ \| `([a-z]+\.[a-z]+)` \|$", SERVICES, re.M)
    assert len(rows) == 4 and set(rows) <= alarms


def test_the_pages_name_metrics_as_prometheus_gets_them(node):
    """A name in README or docs/ can be pasted into a query."""
    lines = get(node.metrics_port).text.splitlines()
    known = {re.split("[{ ]", line)[0] for line in lines}
    known |= {line.split(" ")[2] for line in lines if line.endswith(" histogram")}
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    tried = 0
    for page in pages:
        for name in re.findall(r"`(muster_[a-z0-9_]+)[`{]", page.read_text()):
            assert name in known, f"{page.name}: {name}"
            tried += 1
    assert tried > 20


def test_counters_of_the_last_period(make_server):
    """How many stanzas were kept back and sent in it, and how long they had waited; then none."""
    node = metrics_node(make_server, settings={"metrics.period": "1s", "csi.messages": "hold"})
    node.add_user("alice", "secret")
    alice = node.client("alice", "phone")

    def kept_back_and_sent():
        alice.send("<inactive xmlns='urn:xmpp:csi:0'/>")
        alice.send(f"<message to='{alice}'><body>later</body></message>")
        until("it is kept", lambda: named(node)["MDMSilentModeSessions"] == 1)
        alice.send("<active xmlns='urn:xmpp:csi:0'/>")
        alice.expect("<message><body>later</body></message>")
        found = named(node)
        return found if found["MDMBufferFlushPacketCount"] > 0 else None

    found = until("a period with them", kept_back_and_sent)
    assert found["MDMBufferFlushes"] >= found["MDMBufferFlushPacketCount"] >= 1
    assert 0 <= found["MDMBufferAvgQueuedTime"] < 2 * TIMEOUT
    until("a period without", lambda: named(node)["MDMBufferFlushPacketCount"] == 0)
    assert named(node)["MDMBufferAvgQueuedTime"] == 0
    assert named(node)["ActiveJsmSessions"] == named(node)["JsmClientSessionsActive"] == 1


def test_files_are_counted(make_server):
    node = metrics_node(make_server, settings={"metrics.period": "1s"})
    node.add_user("alice", "secret")
    alice, files = node.client("alice", "a"), []

    def up_and_down():
        files.append(store(node, alice, b"x" * 1000, f"{len(files)}.txt"))
        assert http_do(node, "GET", files[-1]).body == b"x" * 1000
        found = named(node)
        return all(found[f"MFT{what}LastTimeslice"] > 0 for what in (
            "BytesUpoaded", "BytesDownloaded", "FilesUploaded", "FilesDownloaded"))

    until("a period with them", up_and_down)
    until("all are counted", lambda: named(node)["MFTFilesDownloaded"] == len(files))
    assert named(node)["MFTFilesUploaded"] == len(files)
    samples = check(get(node.metrics_port).text)
    assert samples["muster_upload_stored_bytes_total"] == 1000 * len(files)
    until("a period without", lambda: named(node)["MFTFilesDownloadedLastTimeslice"] == 0)


def test_the_dashboard_shows_metrics_that_are_there(node):
    """docs/grafana/muster.json: each expression, and each label that it chooses by."""
    there = get(node.metrics_port).text
    board = json.loads((ROOT / "docs/grafana/muster.json").read_text())
    shown = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    names = {name for expression in shown for name in re.findall(r"muster_[a-z0-9_]+", expression)}
    assert len(names) > 30
    declared = set(re.findall(r"^# TYPE ([a-z0-9_]+) ", there, re.M))
    assert {re.sub("_(bucket|count)$", "", name) for name in names} - declared == set()
    for label in {label for expression in shown for label in re.findall(r'[a-z]+="[a-z]+"',
                                                                        expression)}:
        assert label in there
    places = [tuple(panel["gridPos"].values()) for panel in board["panels"]]
    assert len(set(places)) == len(places)


OPEN = "application/openmetrics-text"


@pytest.mark.parametrize("accept, wanted", [
    (f"{OPEN};version=1.0.0,{OPEN};version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
     OPEN),
    (OPEN, OPEN),
    (f"text/plain;q=0.3, {OPEN}; q=0.4", OPEN),
    (f"text/plain;q=0.4, {OPEN};q=0.3", "text/plain"),
    (f"text/plain, {OPEN};q=0", "text/plain"),
    (f"{OPEN};q=0", "text/plain"),
    ("*/*", "text/plain"),
    ("text/html;q=,;;q=9,,", "text/plain"),
    (None, "text/plain"),
])
def test_the_client_chooses_the_format(node, accept, wanted):
    answer = get(node.metrics_port, **({} if accept is None else {"Accept": accept}))
    assert answer.status == 200
    assert answer.getheader("Content-Type").split(";")[0] == wanted
    assert answer.getheader("Vary") == "Accept"
    assert answer.text.endswith("# EOF\n") == (wanted == OPEN)


def test_openmetrics(node):
    """Families without _total and with the unit that their names end in; the samples are those of
    the other format, and one end."""
    node.client("alice")
    plain = check(get(node.metrics_port).text)
    text = get(node.metrics_port, Accept=OPEN).text
    assert text.count("# EOF") == 1 and text.endswith("\n# EOF\n")
    kinds, samples, units, family = {}, set(), {}, None
    for line in text.removesuffix("# EOF\n").splitlines():
        what = line.split(" ", 3)
        if what[0] == "#":
            family = what[2]
            if what[1] == "TYPE":
                assert family not in kinds
                kinds[family] = what[3]
            elif what[1] == "UNIT":
                assert family.endswith("_" + what[3])
                units[family] = what[3]
            else:
                assert what[1] == "HELP" and not re.search(r'(?<!\\)"', what[3])
        else:
            name, label, _ = SAMPLE.fullmatch(line).groups()
            assert name.startswith(family)
            assert kinds[family] != "counter" or name == family + "_total"
            samples.add(name + (label or ""))
    assert samples == set(plain)
    assert units == {f: f.rpartition("_")[2] for f in kinds if f.endswith(("_seconds", "_bytes"))}
    assert {"muster_latency_seconds", "muster_backup_finished_seconds",
            "muster_tls_certificate_left_seconds", "muster_stanza_bytes"} <= set(units)
    assert node.ctl_run("metrics", "--format", "openmetrics").stdout.strip().endswith("# EOF")


def test_promtool_finds_nothing(node):
    node.client("alice")
    done = subprocess.run(["promtool", "check", "metrics"], input=get(node.metrics_port).text,
                          capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    bad = subprocess.run(["promtool", "check", "metrics"], capture_output=True, text=True,
                         input="# TYPE a_total gauge\na_total 1\n", timeout=TIMEOUT, check=False)
    assert bad.returncode != 0


def test_each_stage_is_timed(make_server):
    """Of logins over TLS, messages that are stored and delivered, and requests; two workers."""
    node = metrics_node(make_server, conf={"workers": 2})
    for name in ("alice", "bob", "carol", "dave"):
        node.add_user(name, "secret")
    before = stages(node)
    clients = [node.client(name) for name in ("alice", "bob", "carol", "dave")]
    for client in clients[1:]:
        clients[0].send(f"<message to='{client}'><body>hello</body></message>")
        client.expect("<message><body>hello</body></message>")
    until("messages are stored", lambda: stages(node)["commit"][0] > before["commit"][0])
    after = stages(node)
    assert set(after) == set(rows.part("metrics")["muster_latency_us"]["x-values"])
    for stage, (count, total) in after.items():
        assert count > before[stage][0] or stage == "route", stage
        assert 0 <= total - before[stage][1] < (count - before[stage][0] + 1) * TIMEOUT, stage
    assert after["login"][0] - before["login"][0] == len(clients)
    assert after["route"][0] > 0


def stages(node):
    samples = check(get(node.metrics_port).text)
    return {stage: (samples[f'muster_latency_seconds_count{{stage="{stage}"}}'],
                    samples[f'muster_latency_seconds_sum{{stage="{stage}"}}'])
            for stage in ("read", "route", "commit", "deliver", "tls", "login", "http")}


@pytest.fixture
def prometheus(node, tmp_path):
    """Debian's, which scrapes the server each second; returns a function that asks it."""
    port = free_ports(1)[0]
    (tmp_path / "prometheus.yml").write_text(json.dumps({
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
        "scrape_configs": [{"job_name": "muster", "static_configs": [
            {"targets": [f"127.0.0.1:{node.metrics_port}"]}]}]}))
    with open(tmp_path / "prometheus.log", "w", encoding="utf-8") as log:
        process = subprocess.Popen(
            ["prometheus", f"--config.file={tmp_path}/prometheus.yml",
             f"--storage.tsdb.path={tmp_path}/tsdb", f"--web.listen-address=127.0.0.1:{port}"],
            stdout=log, stderr=log)

    def ask(path, **query):
        url = f"http://127.0.0.1:{port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:
            return json.load(answer)["data"]

    def scraped():
        try:
            return ask("query", query="muster_sessions")["result"]
        except OSError:
            return None

    try:
        until("it has scraped", scraped)
        yield ask
    finally:
        process.terminate()
        process.wait(TIMEOUT)


def test_prometheus_answers_each_query_of_the_dashboard(node, prometheus):
    """It asks for OpenMetrics by itself, and knows the kind and help of what it got."""
    alice = node.client("alice")
    alice.send(f"<message to='{alice}'><body>hello</body></message>")
    alice.expect("<message><body>hello</body></message>")
    board = json.loads((ROOT / "docs/grafana/muster.json").read_text())
    shown = {target["expr"] for panel in board["panels"] for target in panel["targets"]}
    until("it saw the session",
          lambda: prometheus("query", query="muster_sessions")["result"][0]["value"][1] == "1")
    until("two scrapes", lambda: prometheus(
        "query", query="rate(muster_io_bytes_in_total[1m])")["result"])
    empty = set()
    for expression in shown:
        asked = re.sub(r"\$__rate_interval", "1m", expression.replace("$instance", ".*"))
        if not prometheus("query", query=asked)["result"]:
            empty.add(expression)
    # A scratch server has made no backup.
    assert {e for e in empty if "backup" not in e} == set()
    told = prometheus("metadata", metric="muster_latency_seconds")["muster_latency_seconds"][0]
    assert told["type"] == "histogram" and told["unit"] == "seconds" and told["help"]
    target = prometheus("targets")["activeTargets"][0]
    assert (target["health"], target["lastError"]) == ("up", "")
