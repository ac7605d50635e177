"""Fixtures: a server a test, users on it, and its log in the report of a failure; and one server
with clients of slixmpp for all tests that need no more than rooms of their own."""
import asyncio
import contextlib
import inspect
import os
import shutil
import sys
import tempfile
import zlib

import pytest

sys.path.insert(0, os.path.dirname(__file__))

from harness import database, defaults, imports, nodes, slow, slow_disk  # noqa: E402
from harness.bounded import bounded  # noqa: E402
from harness.client import TIMEOUT  # noqa: E402
from harness.muc import Room  # noqa: E402
from harness.server import MUSTERD, Server  # noqa: E402
from harness.strays import Strays  # noqa: E402

assert sys.version_info >= (3, 11) and sys.executable.startswith("/usr/bin/"), \
    "use Debian's Python: /usr/bin/python3 -m pytest test"


def pytest_addoption(parser):
    parser.addoption("--migration", choices=("on", "off", "mixed"), default="on",
                     help="c2s.migration; mixed: on in one half of the tests, by their names, and "
                          "where the marks release or migrates are")
    parser.addoption("--half", type=int, choices=(1, 2),
                     help="only this half of the tests, by their names; both together are all")
    parser.addoption("--part", type=int, default=1,
                     help="only one of so many tests, by their names")


def pytest_configure(config):
    """A run that leaves files in the checkout fails. With MUSTER_DATABASE=postgresql one PostgreSQL
    serves the whole run, all its processes."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Strays())
    if database.POSTGRESQL and not hasattr(config, "workerinput"):
        folder = tempfile.mkdtemp(prefix="muster-pg.")
        os.environ["MUSTER_POSTGRESQL"] = folder
        config.postgresql = database.PostgreSQL(folder).create()


collect_ignore = [] if nodes.COUNT > 1 else ["promise/test_nodes.py"]


def pytest_unconfigure(config):
    if hasattr(config, "postgresql"):
        config.postgresql.finish()


def deselect(config, items, unwanted):
    config.hook.pytest_deselected(items=unwanted)
    without = set(unwanted)
    items[:] = [item for item in items if item not in without]


def name(item):
    """Its name, which is the same with and without migration."""
    base, bracket, case = item.nodeid.partition("[")
    parts = [part for part in case.removesuffix("]").split("-") if part not in ("on", "off")]
    return base + (f"[{'-'.join(parts)}]" if bracket and parts != [""] and parts else "")


def drawn(text, count):
    return zlib.crc32(text.encode()) % count


def pytest_collection_modifyitems(config, items):
    """With --migration=off only tests that it changes anything for."""
    half, part = config.getoption("--half"), config.getoption("--part")
    deselect(config, items, [item for item in items if item.get_closest_marker("always") is None and
                             (half and drawn(name(item), 2) + 1 != half or
                              drawn(name(item), part) != 0)])
    if config.getoption("--migration") == "off":
        deselect(config, items, [item for item in items
                                 if not {"migration", "company"} & set(item.fixturenames)])
    for item in items:
        if not {name(item), name(item).partition("[")[0]}.isdisjoint(slow.LISTED):
            item.add_marker(pytest.mark.slow)
        if database.POSTGRESQL and item.get_closest_marker("sqlite") is not None:
            item.add_marker(pytest.mark.skip(reason="of the file of SQLite"))
        if nodes.why_not(item.nodeid):
            item.add_marker(pytest.mark.skip(reason=nodes.why_not(item.nodeid)))
        migrates = item.get_closest_marker("migrates")
        if config.getoption("--migration") == "off" and migrates is not None:
            item.add_marker(pytest.mark.skip(reason=migrates.kwargs["why"]))


def pytest_generate_tests(metafunc):
    if "migration" in metafunc.fixturenames:
        mode = metafunc.config.getoption("--migration")
        if mode == "mixed":
            on = any(map(metafunc.definition.get_closest_marker, ("release", "migrates")))
            mode = "on" if on or drawn(metafunc.definition.nodeid, 2) else "off"
        metafunc.parametrize("migration", [mode], scope="function")


def pytest_report_header():
    return f"musterd: {MUSTERD}, database: {'postgresql' if database.POSTGRESQL else 'sqlite'}"


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item):
    with bounded(), slow.measured(item, name(item)):
        yield


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    """Puts the log of the servers into the report of a failure; removes the folder of a test that
    passed."""
    report = (yield).get_result()
    item.failed = report.failed or getattr(item, "failed", False)
    if report.failed:
        for server in getattr(item, "servers", ()):
            report.sections.append((f"log of {server.folder.name}", server.log()[-8000:]))
    if report.when == "teardown" and not item.failed and hasattr(item, "scratch"):
        shutil.rmtree(item.scratch, ignore_errors=True)


@pytest.fixture
def tmp_path(tmp_path, request):
    request.node.scratch = tmp_path
    return tmp_path


def pytest_itemcollected(item):
    if inspect.iscoroutinefunction(item.obj) and "runner" not in item.fixturenames:
        item.fixturenames.append("runner")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    """A test that is a coroutine runs to its end, in the loop of the clients that stay."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    wanted = inspect.signature(pyfuncitem.obj).parameters
    dialogue = pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in wanted})
    pyfuncitem.funcargs["runner"].run(asyncio.wait_for(dialogue, 4 * TIMEOUT))
    return True


@pytest.fixture
def migration(request):
    return request.param


@pytest.fixture(scope="session")
def templates(tmp_path_factory):
    """A function that gives a server that has had these domains and users, made once: a test that
    begins with a copy of its data begins in a tenth of the time."""
    made = {}

    def template(domains, users):
        key = (tuple(domains), users)
        if key not in made:
            server = Server(tmp_path_factory.mktemp("template"), domains=domains).start()
            for user in users:
                server.add_user(user)
            server.finish(keep=True)
            made[key] = server
        return made[key]

    return template


@pytest.fixture
def make_server(tmp_path, request, migration, templates):
    """A function that makes, starts and ends servers: see harness.server.Server."""
    servers = request.node.servers = []

    def make(*users, start=True, **options):
        settings = options.pop("settings", {})
        if migration == "off":
            settings = {"c2s.migration": "off", **settings}
        server = Server(tmp_path / f"server{len(servers)}", settings=settings, **options)
        servers.append(server)
        # a wrapper may put another folder in the place of the data
        own = "wrapper" in options or "database" in options.get("conf", {})
        if start and not own:
            server.begin_as(templates(server.domains, users))
        if start:
            server.start()
        if start and own:
            for user in users:
                server.add_user(user)
        return server

    make.servers = servers
    yield make
    with contextlib.ExitStack() as ends:  # each of them, also if one says that it has crashed
        for server in reversed(servers):
            ends.callback(server.clients.clear)  # what they have read; the report has the log
            ends.callback(server.finish)


@pytest.fixture(scope="session")
def slow_disk_library(tmp_path_factory):
    return slow_disk.compiled(tmp_path_factory.mktemp("slow_disk"))


@pytest.fixture
def disk(slow_disk_library, tmp_path):
    """For make_server(disk=disk): how slow its files are, and what its clock shows."""
    return slow_disk.SlowDisk(slow_disk_library, tmp_path / "knobs")


@pytest.fixture
def server(make_server, request):
    """A server with users alice, bob and carol, and with the default settings, but for those that
    the mark `settings` of the test gives."""
    settings, why = defaults.of_marks(request.node)
    return make_server("alice", "bob", "carol", settings=settings, why=why)


@pytest.fixture
def load(server, tmp_path):
    """A function that imports a text and returns the message and the rows of the report."""
    def load(text, *more, kind="xep0227"):
        path = tmp_path / "users.xml"
        path.write_text(text)
        answer = server.bring(kind, str(path), *more)
        return answer["text"], {(r["user"], r["what"]) for r in imports.lost_of(answer)}
    return load


@pytest.fixture
def alice(server):
    return server.client("alice", "a")


@pytest.fixture
def bob(server):
    return server.client("bob", "b")


@pytest.fixture
def carol(server):
    return server.client("carol", "c")


@pytest.fixture
def dave(server):
    """One more, where three are too few."""
    server.add_user("dave")
    return server.client("dave", "d")


@pytest.fixture
def pair(server):
    """alice and bob see each other and are online."""
    server.befriend("alice", "bob")
    bob = server.client("bob", "b")
    alice = server.client("alice", "a")
    bob.expect(f"<presence from='{alice}' type='-'/>")
    alice.expect(f"<presence from='{bob}' type='-'/>")
    return alice, bob


@pytest.fixture
def cave(alice, bob, carol):
    """A room of an owner and two participants."""
    return Room("cave").gather(firstwitch=alice, secondwitch=bob, thirdwitch=carol)


# --- slixmpp (see harness.slix) ---


@pytest.fixture(scope="session")
def runner():
    with asyncio.Runner() as made:
        yield made


@pytest.fixture(scope="session")
def company(runner, tmp_path_factory, pytestconfig):
    """The server that all tests with a coven share, and the clients that are logged in."""
    from harness.slix import Company
    settings = {"c2s.migration": "off"} if pytestconfig.getoption("--migration") == "off" else {}
    made = Company(runner, tmp_path_factory.mktemp("company"), settings)
    yield made
    made.server.finish()


@pytest.fixture
def coven(company, request):
    """A room that does not exist yet, of this test alone; the settings of its marks hold for it."""
    request.node.servers = [company.server]
    settings, _ = defaults.of_marks(request.node)
    for name, value in settings.items():
        company.server.ctl("set", name, defaults.text(value))
    yield company.room()
    for name in settings:
        company.server.ctl("set", name, "--default")
    company.leave()


@pytest.fixture
def crone(company):
    return company.client("crone")


@pytest.fixture
def wicca(company):
    return company.client("wicca")


@pytest.fixture
def hag(company):
    return company.client("hag")
