"""No test waits for ever: one that takes longer than LIMIT fails where it stands. What it started
is killed before, since `with subprocess.Popen(...)` waits for its process whatever happens."""
import contextlib
import faulthandler
import os
import signal
import sys

import pytest

from harness.processes import children

LIMIT = 400  # seconds; the longest test takes 110
AGAIN = 20   # seconds until that which cleans up behind the test is ended, too


@contextlib.contextmanager
def bounded(limit=LIMIT):
    """Around a test, in the main thread. Where each thread was is written to standard error."""
    before = set(children(os.getpid()))

    def end(_number, _frame):
        faulthandler.dump_traceback(sys.__stderr__)
        for pid in set(children(os.getpid())) - before:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        pytest.fail(f"it takes longer than {limit} s")

    outer = signal.signal(signal.SIGALRM, end)
    left = signal.setitimer(signal.ITIMER_REAL, limit, AGAIN)
    try:
        yield
    finally:
        signal.signal(signal.SIGALRM, outer)
        signal.setitimer(signal.ITIMER_REAL, *left)
