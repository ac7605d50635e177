"""The database of a server, for tests that look at its tables or change them: a connection of
sqlite3, or what of it tests need on PostgreSQL, by psql. And private PostgreSQL servers."""
import contextlib
import ctypes
import json
import os
import pathlib
import pwd
import re
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time

from harness import processes
from harness.client import TIMEOUT

POSTGRESQL = os.environ.get("MUSTER_DATABASE", "sqlite") == "postgresql"
PR_SET_PDEATHSIG = 1


def programs():
    """Where initdb and postgres are: Debian has them outside of the path."""
    found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else pathlib.Path(shutil.which("initdb") or "initdb").parent


def shared():
    """The folder of the server of this run of tests, which conftest.py has started."""
    return os.environ["MUSTER_POSTGRESQL"]


class PostgreSQL:
    """A PostgreSQL server with its files in a folder of its own, reached by a socket there."""

    OPTIONS = ("fsync=off", "full_page_writes=off", "listen_addresses=", "max_connections=200",
               "shared_buffers=64MB", "autovacuum_naptime=5s", "lc_messages=C")

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.process = None
        self.user = None
        if os.geteuid() == 0:  # it does not run as root
            names = {entry.pw_name for entry in pwd.getpwall()}
            self.user = "postgres" if "postgres" in names else "nobody"

    def create(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.user:
            shutil.chown(self.folder, self.user)
        self._run(programs() / "initdb", "-D", self.folder / "data", "-U", "muster", "-A", "trust",
                  "-E", "UTF8", "--locale=C", "--no-sync")
        return self.start()

    def _run(self, *args):
        done = subprocess.run(args, capture_output=True, text=True, user=self.user, cwd="/",
                              check=False)
        assert done.returncode == 0, f"{args}\n{done.stdout}{done.stderr}"

    def start(self):
        options = [part for option in self.OPTIONS for part in ("-c", option)]
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                [programs() / "postgres", "-D", self.folder / "data", "-k", self.folder, *options],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, user=self.user, cwd="/",
                preexec_fn=lambda: ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGQUIT))
        deadline = time.monotonic() + 2 * TIMEOUT
        while psql(self.url("postgres"), "SELECT 1", check=False) is None:
            assert self.process.poll() is None and time.monotonic() < deadline, \
                (self.folder / "log").read_text()[-2000:]
            time.sleep(0.05)
        return self

    def stop(self, how=signal.SIGINT):
        """SIGINT: fast; SIGQUIT: immediate, as a crash."""
        self.process.send_signal(how)
        self.process.wait(2 * TIMEOUT)
        self.process = None

    def finish(self):
        if self.process is not None:
            self.go_on()
            self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _processes(self):
        """All of it: the first process does not pass signals on to those that serve clients."""
        return [self.process.pid, *processes.children(self.process.pid)]

    def _signal(self, number):
        for pid in self._processes():
            with contextlib.suppress(ProcessLookupError):  # its client has gone meanwhile
                os.kill(pid, number)

    def freeze(self):
        self._signal(signal.SIGSTOP)

    def go_on(self):
        self._signal(signal.SIGCONT)

    def url(self, database):
        return url_of(self.folder, database)


@contextlib.contextmanager
def private():
    """A server for some tests alone."""
    server = PostgreSQL(tempfile.mkdtemp(prefix="muster-pg."))
    try:
        yield server.create()
    finally:
        server.finish()


@contextlib.contextmanager
def of_this_run():
    """What conftest.py does, for a program that is no pytest: with MUSTER_DATABASE=postgresql a
    server for all that it starts."""
    if not POSTGRESQL:
        yield
        return
    with private() as server:
        os.environ["MUSTER_POSTGRESQL"] = str(server.folder)
        yield


def url_of(folder, database):
    return f"postgresql://muster@/{database}?host={folder}"


def psql(url, sql, check=True):
    """The output lines; None if it failed and is not checked."""
    done = subprocess.run(["psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", sql],
                          capture_output=True, text=True, timeout=2 * TIMEOUT, check=False)
    if done.returncode != 0:
        assert not check, f"{sql}\n{done.stderr}"
        return None
    return done.stdout.splitlines()


class Rows:
    """The part of sqlite3.Cursor that tests use."""

    def __init__(self, rows, rowcount):
        self.rows, self.rowcount = rows, rowcount

    def __iter__(self):
        return iter(self.rows)

    def fetchall(self):
        return self.rows

    def fetchone(self):
        return self.rows[0] if self.rows else None


def literal(value):
    if isinstance(value, int):
        return str(value)
    return "'" + value.replace("'", "''") + "'"


def cell(value):
    if isinstance(value, str) and value.startswith("\\x"):
        return bytes.fromhex(value[2:])
    return value


class Connection:
    """The part of sqlite3.Connection that tests use; each statement is a transaction."""

    def __init__(self, url):
        self.url = url

    def execute(self, sql, params=()):
        values = iter(params)
        sql = re.sub(r"\?", lambda _: literal(next(values)), sql)
        if not sql.lstrip().startswith("SELECT"):
            sql = f"WITH changed AS ({sql} RETURNING 1) SELECT count(*) FROM changed"
            return Rows([], int(psql(self.url, sql)[0]))
        lines = psql(self.url, f"SELECT row_to_json(t) FROM ({sql}) t")
        pairs = (json.loads(line, object_pairs_hook=list) for line in lines)
        return Rows([tuple(cell(value) for _, value in row) for row in pairs], -1)


def columns(db, *names):
    """(table, column) of all columns of these names that hold numbers."""
    if isinstance(db, Connection):
        wanted = ", ".join(map(literal, names))
        yield from db.execute("SELECT table_name, column_name FROM information_schema.columns "
                              f"WHERE table_schema = 'public' AND column_name IN ({wanted}) "
                              "AND data_type = 'bigint'")
        return
    for table, in db.execute("SELECT name FROM sqlite_master WHERE sql LIKE 'CREATE TABLE%'"):
        yield from ((table, c[1]) for c in db.execute(f"PRAGMA table_info('{table}')")
                    if c[1] in names and c[2] == "INTEGER")


@contextlib.contextmanager
def sqlite_connection(path, read_only):
    mode = "ro" if read_only else "rw"
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode={mode}", uri=True,
                                            timeout=10)) as db, db:
        yield db


@contextlib.contextmanager
def held_by_another(server, reads=False):
    """Nothing can be written meanwhile; nor read, on PostgreSQL, with `reads`."""
    if not server.url:
        with contextlib.closing(sqlite3.connect(server.data / "muster.db",
                                                isolation_level=None)) as db:
            db.execute("BEGIN IMMEDIATE")
            yield
            db.execute("ROLLBACK")
        return
    mode = "ACCESS EXCLUSIVE" if reads else "EXCLUSIVE"
    other = subprocess.Popen(["psql", "-XqAt", "-d", server.url], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, text=True)
    other.stdin.write("BEGIN; DO $$ DECLARE t text; BEGIN FOR t IN SELECT tablename FROM pg_tables "
                      "WHERE schemaname = 'public' LOOP EXECUTE 'LOCK TABLE ' || quote_ident(t) || "
                      f"' IN {mode} MODE'; END LOOP; END $$; SELECT 'held';\n")
    other.stdin.flush()
    try:
        assert other.stdout.readline() == "held\n"
        yield
    finally:
        other.communicate("ROLLBACK;\n", timeout=TIMEOUT)
