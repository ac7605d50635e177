"""A test that waits for what never comes ends, even if what cleans up behind it waits, too."""
import os
import subprocess
import threading
import time

import pytest

from harness import bounded
from harness.processes import children

pytestmark = pytest.mark.release


def test_it_ends_and_so_does_what_it_started():
    begun = time.monotonic()
    with pytest.raises(pytest.fail.Exception, match="longer than 0.2 s"), bounded.bounded(0.2):
        with subprocess.Popen(["sleep", "1000"]) as process:
            process.wait()
    assert process.returncode == -9 and time.monotonic() - begun < 100


def test_what_cleans_up_behind_it_ends(monkeypatch):
    monkeypatch.setattr(bounded, "AGAIN", 0.2)
    never = threading.Event()
    with pytest.raises(pytest.fail.Exception), bounded.bounded(0.2):
        try:
            never.wait()
        finally:
            never.wait()


def test_what_ran_before_goes_on():
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as before:
        with pytest.raises(pytest.fail.Exception), bounded.bounded(0.2):
            threading.Event().wait()
        assert before.poll() is None and children(before.pid) == []
        before.stdin.close()
        assert before.wait(100) == 0


def test_a_process_may_have_any_name(tmp_path):
    """The name in /proc/PID/stat is cut behind 15 bytes, in the middle of a letter, too."""
    program = tmp_path / "zzzzzzzzzzzzzzäöü"
    program.symlink_to("/bin/sleep")
    with subprocess.Popen([str(program), "1000"]) as named:
        try:
            assert named.pid in children(os.getpid())
        finally:
            named.kill()
