"""report.py FILE.jsonl...: medians (lowest-highest) of the runs of each label, a column a file."""
import json
import pathlib
import statistics
import sys

ROWS = [
    ("chat", "deliveries_per_cpu_s", "one-to-one messages per CPU-second, plain", 1),
    ("chat-tls", "deliveries_per_cpu_s", "the same, TLS", 1),
    ("chat-sm", "deliveries_per_cpu_s", "the same, plain, stream management", 1),
    ("durable", "acked_per_cpu_s", "durable: acknowledged per CPU-second", 1),
    ("durable", "acks_per_s", "durable: acknowledged per second", 1),
    ("durable", "ack_lat_p50_us", "durable: acknowledgement p50, ms", 1000),
    ("durable", "ack_lat_p99_us", "durable: acknowledgement p99, ms", 1000),
    ("durable-half", "ack_lat_p50_us", "durable at half rate: acknowledgement p50, ms", 1000),
    ("durable-half", "ack_lat_p99_us", "durable at half rate: acknowledgement p99, ms", 1000),
    ("presence", "deliveries_per_cpu_s", "presence deliveries per CPU-second", 1),
    ("copies", "deliveries_per_cpu_s", "messages and copies for 3 devices per CPU-second", 1),
    ("eventing", "deliveries_per_cpu_s", "notifications of 50 subscribers per CPU-second", 1),
    ("muc-100", "deliveries_per_cpu_s", "room messages delivered per CPU-second, 1 room of 100", 1),
    ("muc-50x20", "deliveries_per_cpu_s", "the same, 50 rooms of 20", 1),
    ("muc-half", "srv_cores", "1 room of 100 at half of ejabberd's highest load: cores", 1),
    ("muc-half", "lat_p50_us", "the same: p50, ms", 1000),
    ("muc-half", "lat_p99_us", "the same: p99, ms", 1000),
    ("meeting", "cpu_s", "1,000 users join one room: CPU seconds", 1),
    ("rooms", "deliveries_per_cpu_s", "joins of 5,000 rooms of 10: presence per CPU-second", 1),
    ("rooms", "pss_per_occupant", "memory of a user's place in a room, KiB", 1024),
    ("idle-tls", "logins_per_cpu_s", "logins per CPU-second, TLS", 1),
    ("idle-plain", "logins_per_cpu_s", "logins per CPU-second, plain", 1),
    ("idle-plain", "pss_per_session", "memory of an idle session, plain, KiB", 1024),
    ("idle-tls", "pss_per_session", "memory of an idle session, TLS, KiB", 1024),
    ("chat-9111", "srv_cores", "9,111 messages/s: cores", 1),
    ("chat-9111", "lat_p50_us", "9,111 messages/s: p50, ms", 1000),
    ("chat-9111", "lat_p99_us", "9,111 messages/s: p99, ms", 1000),
]


def read(path):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.startswith("{")]


def cell(runs, label, field, unit):
    values = sorted(run[field] / unit for run in runs
                    if run.get("label") == label and run.get("valid") == 1 and field in run)
    if not values:
        return "–"
    style = "{:,.0f}" if values[-1] >= 100 else "{:.2f}"
    return "{} ({}–{})".format(*(style.format(v) for v in
                                 (statistics.median(values), values[0], values[-1])))


def main():
    columns = [(pathlib.Path(p).stem, read(p)) for p in sys.argv[1:]]
    print("| figure: median (lowest–highest) | " + " | ".join(name for name, _ in columns) + " |")
    print("|---|" + "---:|" * len(columns))
    for label, field, text, unit in ROWS:
        print(f"| {text} | " + " | ".join(cell(runs, label, field, unit) for _, runs in columns) + " |")
    bad = [f"{name} {run['label']}" for name, runs in columns for run in runs if run.get("valid") != 1]
    print("\nRuns that are not clean:", ", ".join(bad) or "none")


main()
