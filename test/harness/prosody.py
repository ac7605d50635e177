"""Prosody as a process of its own on loopback, and a name server for it."""
import glob
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import time

import pytest

from harness.client import TIMEOUT, Client

PROSODY, DNSMASQ = "/usr/bin/prosody", "/usr/sbin/dnsmasq"

CONFIG = """
run_as_root = true
daemonize = false
pidfile = "{folder}/prosody.pid"
data_path = "{folder}/data"
log = {{ debug = "*console" }}
interfaces = {{ "127.0.0.1" }}
c2s_ports = {{ {c2s} }}
s2s_ports = {{ {s2s} }}
legacy_ssl_ports = {{ }}
s2s_direct_tls_ports = {{ }}
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
s2s_secure_auth = {secure_auth}
authentication = "{authentication}"
unbound = {{ resolvconf = false; hoststxt = false; forward = {{ "127.0.0.1@{dns}" }};
            options = {{ ["do-not-query-localhost:"] = "no"; ["module-config:"] = "iterator" }} }}
modules_enabled = {{ "roster"; "saslauth"; "tls"; "dialback"; "disco"; "ping"; "version"; "pep";
                    {more} }}
modules_disabled = {{ {less} }}
ssl = {{ certificate = "{certificate}"; key = "{key}"; cafile = "{authority}"; {ssl} }}
{settings}
{listen}
VirtualHost "{domain}"
Component "conference.{domain}" "muc"
{conference}
"""


class Process:
    """A process whose output goes to a file. It is up when its port takes connections."""

    def __init__(self, command, log, environment=None):
        self.log_path, self.command, self.environment = log, command, environment or {}
        self.begin()

    def begin(self):
        with open(self.log_path, "ab") as output:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=output,
                                            stderr=output, env={**os.environ, **self.environment},
                                            cwd=self.log_path.parent)  # for its core dumps

    def wait_port(self, port):
        deadline = time.monotonic() + TIMEOUT
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), TIMEOUT).close()
                return
            except ConnectionRefusedError:
                assert self.process.poll() is None and time.monotonic() < deadline, self.log()
                time.sleep(0.02)

    def log(self):
        return self.log_path.read_text(errors="replace")

    def kill(self):
        """kill -9."""
        self.process.kill()
        self.process.wait()

    def finish(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Dns(Process):
    """A name server for domains below .example: {domain: port of its server}, and what `more`
    arguments say. Unbound asks nobody for those below .test. host: of all these servers, a name
    that is known without it."""

    def __init__(self, folder, port, domains, *more, host=None):
        command = [DNSMASQ, "--keep-in-foreground", f"--port={port}", "--user=root",
                   "--listen-address=127.0.0.1", "--bind-interfaces", "--no-resolv", "--no-hosts",
                   "--local=/example/",
                   "--conf-file=/dev/null", "--log-facility=-", "--log-queries",
                   f"--pid-file={folder}/dns.pid", *more]
        for domain, server in domains.items():
            target = host or f"host.{domain}"
            command += [f"--srv-host=_xmpp-server._tcp.{domain},{target},{server}",
                        f"--host-record=host.{domain},127.0.0.1"]
        super().__init__(command, folder / "dns.log")
        self.port = port
        self.wait_port(port)


class Partner(Process):
    """A server of another make, and clients of it."""

    host_of_others = None  # the one host whose address it finds without our name server

    def __init__(self, domain, ports, command, log, environment=None):
        self.domain, self.c2s_port, self.s2s_port = domain, ports["c2s"], ports["s2s"]
        self.clients = []
        super().__init__(command, log, environment)

    def begin(self):
        super().begin()
        self.wait_port(self.c2s_port)

    def client(self, name, resource=None):
        client = Client(("127.0.0.1", self.c2s_port), self.domain, name)
        client.open()
        client.login("PLAIN", resource)
        client.send("<presence/>")
        self.clients.append(client)
        return client

    def finish(self):
        for client in self.clients:
            client.sock.close()
        super().finish()


class Prosody(Partner):
    """It serves one domain, with the users that are named; their password is "secret". sql: it
    stores with SQLite."""

    def __init__(self, folder, domain, ports, users, sql=False, **options):
        accounts = folder / "data" / domain.replace(".", "%2e") / "accounts"
        accounts.mkdir(parents=True)
        for user in [] if sql else users:
            (accounts / f"{user}.dat").write_text('return { ["password"] = "secret"; };\n')
        if sql:
            sql_file(folder / "data" / "prosody.sqlite", [
                account_in_sql(domain, user, "secret") for user in users])
            options["settings"] = options.get("settings", "") + 'storage = "sql"\n'
        conf = folder / "prosody.cfg.lua"
        fields = {"secure_auth": "false", "less": "", "more": "", "ssl": "", "conference": "",
                  "settings": "", "listen": "", "authentication": "internal_hashed", **options}
        conf.write_text(CONFIG.format(folder=folder, domain=domain, **ports, **fields))
        super().__init__(domain, ports, [PROSODY, "--config", str(conf), "-F"],
                         folder / "prosody.log")


def sql_file(path, keys, items=()):
    """A file as Prosody's storage in SQL makes it with SQLite. keys: (host, user, store, key, type,
    value); items of archives: (host, user, store, key, when, type, value)."""
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE prosody (host TEXT NOT NULL, user TEXT NOT NULL, store TEXT NOT "
                   "NULL, key TEXT NOT NULL, type TEXT NOT NULL, value MEDIUMTEXT NOT NULL)")
        db.execute("CREATE TABLE prosodyarchive (sort_id INTEGER PRIMARY KEY AUTOINCREMENT, host "
                   "TEXT NOT NULL, user TEXT NOT NULL, store TEXT NOT NULL, key TEXT NOT NULL, "
                   "\"when\" INTEGER NOT NULL, \"with\" TEXT NOT NULL, type TEXT NOT NULL, value "
                   "MEDIUMTEXT NOT NULL)")
        db.executemany("INSERT INTO prosody VALUES (?, ?, ?, ?, ?, ?)", keys)
        db.executemany("INSERT INTO prosodyarchive(host, user, store, key, \"when\", \"with\", "
                       "type, value) VALUES (?, ?, ?, ?, ?, '', ?, ?)", items)
    db.close()


def account_in_sql(domain, name, password):
    return domain, name, "accounts", "password", "string", password


def is_here():
    """With all that it needs; lua-unbound asks our name server."""
    unbound = glob.glob("/usr/lib/*/lua/5.4/lunbound.so")
    return os.access(PROSODY, os.X_OK) and unbound and shutil.which(DNSMASQ) is not None


# Whether it stores with SQLite; for tests of both.
STORAGES = [False, pytest.param(True, marks=pytest.mark.skipif(
    not glob.glob("/usr/lib/*/lua/5.4/dbd/sqlite3.so"), reason="no lua-dbi-sqlite3"))]
