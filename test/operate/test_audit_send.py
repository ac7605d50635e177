"""The audit log at a syslog server and at journald: in order, each entry at least once."""
import contextlib
import time

import pytest

from harness.client import until
from harness.federation import free_port
from operate.test_alarm_targets import Journal, Syslog, context_of
from operate.test_alarms import active

SECRET = "planted south wind"


@pytest.fixture
def receivers():
    made = []
    yield made
    for one in made:
        one.close()


def numbers(log):
    return [int(m["id"]) for m in log.of(kind="audit")]


def entries(host):
    """The audit log, the oldest first."""
    return host.rows("audit", "export", "--limit", "10000")


def change(host, count):
    for i in range(count):
        host.ctl("set", "sm.hibernate-time", f"{30 + i % 60}s")


def test_over_tls_with_all_fields(make_server, receivers, tmp_path):
    log = Syslog(context_of(tmp_path))
    receivers.append(log)
    host = make_server("alice", settings={"syslog.server": f"tls:localhost:{log.port}",
                                          "audit.syslog": "on"})
    until("alarm", lambda: change(host, 1) or "audit.delivery" in active(host))
    host.ctl("cert-trust", "add", tmp_path / "log.pem")
    host.ctl("user", "password", "alice@localhost", "--password", SECRET)
    assert host.ctl_run("user", "del", "nobody@localhost", "--yes").returncode != 0
    until("entries", lambda: log.of(command="user del"))
    for message in log.of(kind="audit"):
        row = next(e for e in entries(host) if e["id"] == int(message["id"]))
        for name in "actor", "role", "command", "args", "result", "before", "after", "hash":
            assert message.get(name, "") == row[name], (name, message)
        assert message["time"] == row["time"]
        assert message["priority"] == 13 * 8 + (5 if row["result"] == "ok" else 4)
    assert SECRET not in str(log.messages)
    until("end of the alarm", lambda: "audit.delivery" not in active(host))


@pytest.mark.parametrize("end", ["restart", "kill"])
def test_nothing_is_lost_while_the_server_is_away(make_server, receivers, end):
    log = Syslog()
    host = make_server("alice", settings={"syslog.server": f"tcp:127.0.0.1:{log.port}",
                                          "audit.syslog": "on"})
    change(host, 3)
    until("entries", lambda: len(numbers(log)) >= 2)
    log.close()
    change(host, 130)  # more than one page
    until("alarm", lambda: "audit.delivery" in active(host))
    if end == "kill":
        until("stored", lambda: len(entries(host)) >= 133)
        host.kill()
        host.start()
    else:
        host.restart()
    change(host, 2)
    again = Syslog(port=log.port)
    receivers.append(again)
    last = entries(host)[-1]["id"]
    until("the last", lambda: last in numbers(again), 70)
    seen = numbers(log) + numbers(again)
    assert set(range(min(seen), last + 1)) <= set(seen)
    first_times = list(dict.fromkeys(seen))
    assert first_times == sorted(first_times)


def test_journald(make_server, tmp_path):
    path = tmp_path / "j"
    host = make_server("alice", settings={"journald.socket": str(path), "audit.journald": "on"})
    change(host, 2)
    until("alarm", lambda: change(host, 1) or "audit.delivery" in active(host))
    with contextlib.closing(Journal(path)) as journal:
        change(host, 2)
        last = entries(host)[-1]["id"]
        seen = []
        while last not in seen:
            fields = journal.next()
            seen.append(int(fields["MUSTER_ID"]))
            assert fields["MUSTER_KIND"] == "audit" and fields["MUSTER_HASH"]
        assert seen == list(range(seen[0], last + 1)) and len(seen) >= 3


def test_the_entries_that_switch_it_on_and_off_are_sent(make_server, receivers):
    log = Syslog()
    receivers.append(log)
    host = make_server("alice", settings={"syslog.server": f"tcp:127.0.0.1:{log.port}"})
    host.ctl("set", "audit.syslog", "on")
    until("its begin", lambda: [m for m in log.of(command="set") if "value=on" in m["args"]])
    host.ctl("set", "audit.syslog", "off")
    until("its end", lambda: [m for m in log.of(command="set") if "value=off" in m["args"]])


def test_switched_off_it_is_missed_by_nobody(make_server):
    """The alarm ends, although the server does not take the entries of the last 5 s either."""
    host = make_server("alice", settings={"syslog.server": f"tcp:127.0.0.1:{free_port()}"})
    host.ctl("set", "audit.syslog", "on")
    until("alarm", lambda: change(host, 1) or "audit.delivery" in active(host))
    host.ctl("set", "audit.syslog", "off")
    began = time.monotonic()
    change(host, 1)
    until("its end for good", lambda: time.monotonic() > began + 6 and
          "audit.delivery" not in active(host), 20)


def test_a_server_that_is_removed_gets_the_entry_of_that(make_server, receivers):
    old, new = Syslog(), Syslog()
    receivers += [old, new]
    host = make_server("alice")
    host.ctl("set", "syslog.server", f"tcp:127.0.0.1:{old.port}")
    host.ctl("set", "audit.syslog", "on")
    until("entries", lambda: change(host, 1) or numbers(old))

    def told(log, word):
        return [m for m in log.of(kind="audit") if word in m["args"]]
    host.ctl("set", "syslog.server", f"tcp:127.0.0.1:{new.port}")
    until("the old one", lambda: told(old, f"127.0.0.1:{new.port}"))
    until("the new one", lambda: told(new, f"127.0.0.1:{new.port}"))
    host.ctl("config", "reset", "syslog.server")
    until("the last", lambda: new.of(kind="audit", command="config reset"))
    assert not old.of(command="config reset")
