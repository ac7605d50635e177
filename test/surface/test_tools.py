"""The frame of ./check: what it prints, what it leaves behind, what it asks of the machine."""
import base64
import functools
import hashlib
import http.server
import io
import json
import os
import pathlib
import shutil
import subprocess
import tarfile
import threading

import pytest

ROOT = pathlib.Path(__file__).parents[2]

PLAN = """
. tools/stages.sh
LOGS={folder}/log
FAST=("good bad" "last")
ALL=("${{FAST[@]}}")
install_packages() {{ :; }}
stage_good() {{ echo > "$TMPDIR/left"; echo "3 passed in 0.1s"; }}
stage_bad() {{
    echo > "$TMPDIR/kept"
    for i in $(seq 50); do echo "FAILED test_$i"; done
    echo "OSError: No space left on device"
    echo "2 passed, 50 failed in 0.1s"
    return 1
}}
stage_last() {{ echo "[  PASSED  ] 2 test(s)."; }}
{more}
run_check {stages}
"""


@pytest.fixture
def check(tmp_path):
    def run(*stages, more=""):
        (tmp_path / "tmp").mkdir(exist_ok=True)
        script = PLAN.format(folder=tmp_path, more=more, stages=" ".join(stages))
        return subprocess.run(["bash", "-c", script], cwd=ROOT, capture_output=True, text=True,
                              env={"PATH": "/usr/bin:/bin", "TMPDIR": str(tmp_path / "tmp")},
                              check=False, timeout=60)
    return run


def left(tmp_path):
    return sorted(path.name for path in (tmp_path / "tmp").rglob("*") if path.is_file())


def test_nothing_is_left_of_what_passed(check, tmp_path):
    done = check("good", "last")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines[:2]] == ["good", "last"]
    assert lines[-1] == "5 passed, 0 failed"
    assert list((tmp_path / "tmp").iterdir()) == []


def test_what_failed_is_kept_and_told_briefly(check, tmp_path):
    done = check()
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "7 passed, 50 failed"
    assert left(tmp_path) == ["kept"]
    told = done.stdout.splitlines()
    assert "    No space left on device" in told and len(told) < 25
    assert any(line.strip() == "... and 40 more" for line in told)
    kept = next(line for line in told if "files of the tests that failed" in line)
    assert (pathlib.Path(kept.split()[-1]) / "kept").exists()


SUITE = """
import os
import pytest
@pytest.mark.parametrize("i", range({count}))
def test_mostly(i):
    first = not os.path.exists("{folder}/ran%d" % i)
    open("{folder}/ran%d" % i, "w").close()
    assert not first or i % 2 == 0
def test_always(): assert {always}
def test_left_out(): pytest.skip("always")
"""


@pytest.fixture
def suite(check, tmp_path):
    """A stage that runs these tests: every other one of `count` fails the first time."""
    def run(count, always=True):
        shutil.copy(ROOT / "test/pytest.ini", tmp_path)
        file = tmp_path / "test_once.py"
        file.write_text(SUITE.format(folder=tmp_path, count=count, always=always))
        return check("suite", more=f'ALL=(suite)\nstage_suite() {{ run_pytest none {file}; }}')
    return run


def test_what_failed_once_is_run_again_and_named(suite, tmp_path):
    done = suite(4)
    assert done.returncode == 0, done.stdout + done.stderr
    told = done.stdout.splitlines()
    assert "(5 tests, 1 skipped)" in told[0] and told[-1] == "5 passed, 0 failed"
    named = [line for line in told if line.startswith("    failed, and passed when run again: ")]
    assert {line.rpartition("::")[2] for line in named} == {"test_mostly[1]", "test_mostly[3]"}
    assert left(tmp_path) == []


@pytest.mark.parametrize("count, always, failed, why", [
    (2, False, 2, "it fails again"), (8, True, 4, "too many failed")])
def test_what_fails_for_a_reason_stays_failed(suite, count, always, failed, why):
    done = suite(count, always)
    assert done.returncode == 1 and "run again" not in done.stdout, why
    assert done.stdout.splitlines()[-1].endswith(f" passed, {failed} failed"), done.stdout


def test_a_run_that_stands_still_is_ended(check, tmp_path):
    shutil.copy(ROOT / "test/pytest.ini", tmp_path)
    file = tmp_path / "test_once.py"
    file.write_text("import time\ndef test_that_never_ends(): time.sleep(50)\n")
    done = check("suite", more=f"ALL=(suite)\nSTILL_SECONDS=2\n"
                               f"stage_suite() {{ run_pytest none {file}; }}")
    assert done.returncode == 1 and done.stdout.splitlines()[-1] == "0 passed, 1 failed"


def test_slow_tests_are_listed_as_measured(tmp_path):
    """A function as one if all of its cases are slow; those that were not measured stay."""
    for folder in ("tools", "test"):
        (tmp_path / folder).mkdir()
    shutil.copy(ROOT / "tools/slow.py", tmp_path / "tools")
    listed = tmp_path / "test/slow.txt"
    listed.write_text("im/test_a.py::test_gone\nim/test_a.py::test_now_fast\n")
    measured = tmp_path / "durations.tsv"
    rows = [(0.1, "now_fast", "not"), (9, "all[1]", "not"), (9, "all[2]", "not"),
            (9, "some[1]", "not"), (1, "some[2]", "not"), (9, "with_reason", "marked")]
    measured.write_text("".join(f"{seconds}\tim/test_a.py::test_{name}\t{marked}\n"
                                for seconds, name, marked in rows))

    def slow(action):
        return subprocess.run([tmp_path / "tools/slow.py", action, measured], check=True,
                              capture_output=True, text=True).stdout
    assert slow("--new").count("\n") == 3
    slow("--write")
    assert listed.read_text().split() == [f"im/test_a.py::{name}" for name in (
        "test_all", "test_gone", "test_some[1]")]
    assert slow("--new") == ""


HOOK = """
import os
def pytest_runtest_protocol(item):
    first = not os.path.exists("{folder}/ended")
    if item.name == "test_always" and (first or {always}):
        open("{folder}/ended", "w").close()
        raise OSError("the wrong moment")
"""


def test_where_pytest_itself_ends_early_all_runs_anew(suite, tmp_path):
    (tmp_path / "conftest.py").write_text(HOOK.format(folder=tmp_path, always=False))
    done = suite(1)
    assert done.returncode == 0, done.stdout + done.stderr
    told = done.stdout.splitlines()
    assert "(2 tests, 1 skipped)" in told[0] and told[-1] == "2 passed, 0 failed"
    assert told[1] == "    pytest ended early, and was run anew: OSError: the wrong moment"
    assert left(tmp_path) == []


def test_pytest_that_ends_early_again_fails_and_says_why(suite, tmp_path):
    (tmp_path / "conftest.py").write_text(HOOK.format(folder=tmp_path, always=True))
    done = suite(1)
    assert done.returncode == 1 and done.stdout.count("OSError: the wrong moment") == 1
    assert done.stdout.splitlines()[-1].endswith(" 1 failed")


STRAYS = """
import pathlib, sys
sys.path.insert(0, "{root}/test")
from harness.strays import Strays
def pytest_configure(config):
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Strays(pathlib.Path("{folder}")))
"""


@pytest.mark.parametrize("name, status", [
    ("alice@localhost", 1), ("test/harness/1", 1), (".hidden", 1), ("build/x", 0),
    ("test/js/node_modules/x", 0)])
def test_a_file_that_a_test_leaves_in_the_checkout_fails_the_run(tmp_path, name, status):
    (tmp_path / "conftest.py").write_text(STRAYS.format(root=ROOT, folder=tmp_path))
    left = tmp_path / name
    left.parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "test_it.py").write_text(f"def test_it(): open({str(left)!r}, 'w').close()\n")
    done = subprocess.run(["/usr/bin/python3", "-m", "pytest", "-n", "2", "-p", "no:cacheprovider",
                           "--rootdir", tmp_path, tmp_path / "test_it.py"], cwd=tmp_path,
                          capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == status and "1 passed" in done.stdout, done.stdout + done.stderr
    assert (f"FAILED {name}: this file is new" in done.stdout) == bool(status), done.stdout


@pytest.fixture
def repository(tmp_path):
    """A function that makes one with the lint of this one; and one that runs its checks of git."""
    def git(*args):
        subprocess.run(["git", "-C", tmp_path, "-c", "user.name=a", "-c", "user.email=a@b.test",
                        *args], capture_output=True, check=True, timeout=60)

    def lint():
        return subprocess.run([tmp_path / "tools/lint", "paths", "subjects"], capture_output=True,
                              text=True, check=False, timeout=60).stdout.splitlines()
    for folder in "tools", "src", "ctl", "test":
        (tmp_path / folder).mkdir()
    shutil.copy(ROOT / "tools/lint", tmp_path / "tools")
    return git, lint


def test_lint_refuses_odd_paths_and_long_subjects(repository, tmp_path):
    """Also of what is not pushed yet, behind HEAD; none where there is no git."""
    git, lint = repository
    assert lint()[0].endswith("clean")
    git("init", "-b", "main")
    git("add", ".")
    git("commit", "-m", "x" * 66)  # on origin/main: nothing can be done about it
    git("update-ref", "refs/remotes/origin/main", "HEAD")
    odd = ["alice@localhost", "a b", "ä", "x" * 101, "new\nline"]
    for name in odd:
        (tmp_path / name).write_text("")
    git("add", ".")
    git("commit", "-m", "x" * 67)
    git("commit", "--allow-empty", "-m", "ä" * 65)
    found = lint()
    assert len([line for line in found if ": found this path" in line]) == len(odd) + 1, found
    assert [line.partition(": ")[2] for line in found if "the subject" in line] == [
        "the subject has 67 characters, 65 are allowed"]
    git("rm", "--cached", "-q", *odd)
    git("commit", "-m", "x" * 65)
    git("reset", "--hard")
    git("update-ref", "refs/remotes/origin/main", "HEAD")
    git("checkout", "--detach")
    assert lint()[0].endswith("clean")


# A test program as far as ./check sees it: fails the first time, and then does what it is told to.
UNIT = """#!/bin/sh
echo "[ RUN      ] test_of_time"
if [ -e {folder}/ran ]; then {then}; fi
touch {folder}/ran
echo "{first}"
echo "[  ERROR   ] --- 0x4 != 0x3"
echo "[  FAILED  ] test_of_time"
echo "[  PASSED  ] 1 test(s)."
echo "[  FAILED  ] 1 test(s), listed below:"
echo "[  FAILED  ] test_of_time"
exit 1
"""


@pytest.fixture
def unit(check, tmp_path):
    def run(first="", then='echo "[  PASSED  ] 2 test(s)."; exit 0'):
        program = tmp_path / "programs/time_test"
        program.parent.mkdir()
        program.write_text(UNIT.format(folder=tmp_path, first=first, then=then))
        program.chmod(0o755)
        return check("any", more="ALL=(any)\nmake_quiet() { :; }\n"
                     "tests_of() { echo programs/time_test; }\n"
                     f"stage_any() {{ cd {tmp_path} && run_units none; }}")
    return run


def test_a_unit_test_that_failed_once_is_run_again_and_named(unit):
    done = unit()
    assert done.returncode == 0, done.stdout + done.stderr
    told = done.stdout.splitlines()
    assert told[-1] == "2 passed, 0 failed"
    assert told[1] == "    failed, and passed when run again: time_test: test_of_time"


@pytest.mark.parametrize("first, then", [
    ("", ":"), ("", "kill -9 $$"), ("WARNING: ThreadSanitizer: data race", "exit 0"),
    ("x.c:1:2: runtime error: index 4 out of bounds", "exit 0")])
def test_a_unit_test_that_fails_for_a_reason_stays_failed(unit, first, then):
    done = unit(first, then)
    assert done.returncode == 1 and "run again" not in done.stdout, done.stdout
    assert done.stdout.splitlines()[-1] == "1 passed, 1 failed"
    assert "    [  ERROR   ] --- 0x4 != 0x3" in done.stdout.splitlines()


# What libFuzzer does as far as ./check sees it: leaves what it found, and says by its code why.
FUZZER = """#!/bin/sh
echo "$*" >> {folder}/calls
for word; do case $word in -exact_artifact_path=*) found=${{word#*=}} ;; esac; done
case $* in
*-minimize_crash*) printf small > "$found" ;;
*-max_total_time*) printf found > "$found"; echo "SUMMARY: libFuzzer: an end"; exit {code} ;;
*) exit {alone} ;;
esac
"""


@pytest.fixture
def fuzzed(check, tmp_path):
    def run(code, alone=0):
        target = tmp_path / "xml_any_fuzz"
        target.write_text(FUZZER.format(folder=tmp_path, code=code, alone=alone))
        target.chmod(0o755)
        return check("any", more=f"ALL=(any)\nstage_any() {{ fuzz_one {target}; }}")
    return run


@pytest.mark.parametrize("code, alone", [(77, 0), (70, 70)])
def test_what_a_fuzzer_found_is_told_whole(fuzzed, tmp_path, code, alone):
    """All that is left of a run on another machine is what ./check prints."""
    done = fuzzed(code, alone)
    told = [line.strip() for line in done.stdout.splitlines()]
    assert done.returncode == 1 and told[-1] == "0 passed, 1 failed", done.stdout
    assert "@failed xml_any" in told and "SUMMARY: libFuzzer: an end" in told
    assert base64.b64decode(told[told.index("what it was given, in Base64:") + 1]) == b"small"
    assert "-dict=fuzz/dict/xml.dict" in (tmp_path / "calls").read_text()


def test_a_unit_that_is_slow_with_others_only_is_named(fuzzed):
    done = fuzzed(70)
    assert done.returncode == 0, done.stdout + done.stderr
    told = done.stdout.splitlines()
    assert told[-1] == "1 passed, 0 failed"
    assert told[1].endswith("again: xml_any: a unit took more than 10 s")


REPLAY = """#!/bin/sh
echo "$*" >> {folder}/calls
case $* in *-runs=0*) exit 70 ;; *-max_total_time*) exit {code} ;; esac
"""


@pytest.mark.parametrize("code, passed", [(0, True), (77, False)])
def test_a_slow_unit_of_the_corpus_does_not_end_the_fuzzing(check, tmp_path, code, passed):
    target = tmp_path / "xml_read_fuzz"
    target.write_text(REPLAY.format(folder=tmp_path, code=code))
    target.chmod(0o755)
    done = check("any", more=f"ALL=(any)\nstage_any() {{ fuzz_one {target}; }}")
    assert "-max_total_time" in (tmp_path / "calls").read_text()
    assert (done.returncode == 0) == passed, done.stdout


def test_a_full_disk_is_told_before_anything_runs(check, tmp_path):
    done = check(more="free_kib() { echo 4096; }")
    assert done.returncode == 2 and done.stdout == ""
    assert f"{tmp_path}/tmp: 4 MiB are free, up to 1024 MiB are needed" in done.stderr


def test_a_stage_that_does_not_exist(check):
    done = check("lst")
    assert done.returncode == 2 and "no stage or folder 'lst'" in done.stderr


@pytest.mark.parametrize("arguments, tier, stages, folders", [
    ((), "fast", [], []), (("all",), "all", [], []), (("all", "nodes"), "all", ["nodes"], []),
    (("muc",), "fast", ["lint", "build", "build-asan", "unit", "e2e"], ["muc"]),
    (("unit", "talk", "io"), "fast", ["unit"], ["talk", "io"])])
def test_stages_and_folders_are_told_apart(arguments, tier, stages, folders):
    done = subprocess.run(
        ["bash", "-c", '. tools/stages.sh; read_arguments "$@"; '
         'echo "$TIER|${STAGES[*]}|${FOLDERS[*]}"', "check", *arguments],
        cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip().split("|") == [tier, " ".join(stages), " ".join(folders)]


def test_each_folder_of_the_sources_has_tests():
    """The table of folders names files that are there, and no stage is called like a folder."""
    done = subprocess.run(
        ["bash", "-c", ". tools/stages.sh; for f in $(folders); do test_paths $f; done; "
         "declare -F | sed -n 's/declare -f stage_/stage /p'"],
        cwd=ROOT, capture_output=True, text=True, check=True)
    paths = [line for line in done.stdout.splitlines() if not line.startswith("stage ")]
    assert paths and [path for path in paths if not (ROOT / path).exists()] == []
    stages = {line.removeprefix("stage ") for line in done.stdout.splitlines()} - set(paths)
    assert "e2e" in stages and not stages & {path.name for path in (ROOT / "src").iterdir()}


def test_missing_packages_are_named(check, tmp_path):
    """Nobody is asked for anything but the names: apt-get and dpkg are not run here."""
    more = """
unset -f install_packages
. tools/install.sh
dpkg-query() { case $* in *clang) return 1 ;; *) echo ii ;; esac }
env() { echo "dlstatus:1:10.0:Get clang" >&3; echo "pmstatus:clang:50.0:Unpacking clang" >&3; }
id() { echo 0; }
apt-get() { :; }
"""
    done = check("last", more=more)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[:2] == ["installing 1 packages and what they need: clang",
                                            "    50%"]


@pytest.fixture
def registry(tmp_path):
    """A copy of what makes the chat page, a registry on loopback with a small package, and a
    function that makes the page."""
    shutil.copytree(ROOT / "web/chat", tmp_path / "web/chat")
    (tmp_path / "tools").mkdir()
    shutil.copy(ROOT / "tools/web", tmp_path / "tools/web")
    lock = tmp_path / "web/chat/package-lock.json"
    facts = json.loads(lock.read_text())
    locked = facts["packages"]["node_modules/converse.js"]
    folder = tmp_path / "registry/converse.js/-"
    folder.mkdir(parents=True)
    package = folder / f"converse.js-{locked['version']}.tgz"
    with tarfile.open(package, "w:gz") as tar:
        for name in ("LICENSE", "COPYRIGHT", "dist/converse.min.js",
                     "dist/curve25519_compiled.wasm"):
            info = tarfile.TarInfo(f"package/{name}")
            info.size = 8192
            tar.addfile(info, io.BytesIO(b"x" * info.size))
    digest = hashlib.sha512(package.read_bytes()).digest()
    locked["integrity"] = "sha512-" + base64.b64encode(digest).decode()
    lock.write_text(json.dumps(facts))
    handler = functools.partial(Quiet, directory=tmp_path / "registry")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        yield lambda: subprocess.run(
            [tmp_path / "tools/web"], capture_output=True, text=True, check=False, timeout=60,
            env={**os.environ, "npm_config_registry": url, "no_proxy": "127.0.0.1"}), url, locked
        server.shutdown()
        thread.join()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def test_the_chat_page_says_what_takes_time(registry, tmp_path):
    make, url, locked = registry
    done = make()
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        f"fetching Converse.js {locked['version']} from {url} ...",
        "compressing its files for browsers, which takes up to a minute ...",
        f"Converse.js {locked['version']} is in build/share/muster/chat"]
    assert (tmp_path / "build/share/muster/chat/index.html").exists()


# --- ./demo ---


@pytest.fixture
def demo(tmp_path):
    """Runs a copy of it with this MUSTER_PORT, up to where it would install something."""
    (tmp_path / "tools").mkdir()
    shutil.copy(ROOT / "demo", tmp_path)
    (tmp_path / "tools/install.sh").write_text("install_packages() { exit 77; }\n")
    return lambda port: subprocess.run([tmp_path / "demo"], capture_output=True, text=True,
                                       check=False, timeout=60,
                                       env=os.environ | {"MUSTER_PORT": port})


@pytest.mark.parametrize("port", ["abc", "0", "-1", "05222", "5222 ", "a[$(id)]", "62981", "65000",
                                  "9" * 30])
def test_ports_that_cannot_be_are_refused_by_the_demo(demo, tmp_path, port):
    """Its last listener is 2555 above, so not every port is one."""
    done = demo(port)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr == f'MUSTER_PORT: found "{port}", allowed a number from 1 to 62980\n'
    assert {path.name for path in tmp_path.iterdir()} == {"demo", "tools"}


@pytest.mark.parametrize("port", ["", "6222", "62980"])
def test_ports_of_the_demo(demo, port):
    assert demo(port).returncode == 77
