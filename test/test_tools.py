"""The frame of ./check: what it prints, what it leaves behind, what it asks of the machine."""
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).parents[1]

PLAN = """
. tools/stages.sh
LOGS={folder}/log
PLAN=("good bad" "last")
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


def test_a_full_disk_is_told_before_anything_runs(check, tmp_path):
    done = check(more="free_kib() { echo 4096; }")
    assert done.returncode == 2 and done.stdout == ""
    assert f"{tmp_path}/tmp: 4 MiB are free, up to 1024 MiB are needed" in done.stderr


def test_a_stage_that_does_not_exist(check):
    done = check("lst")
    assert done.returncode == 2 and "no stage 'lst'" in done.stderr


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
