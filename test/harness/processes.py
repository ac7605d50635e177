"""The processes that one has started, as /proc shows them."""
import contextlib
import os
import pathlib


def children(parent):
    """The process ids of those that `parent` has started and that still run."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            status = pathlib.Path("/proc", pid, "stat").read_bytes()  # a name may be of any bytes
            if int(status.rpartition(b")")[2].split()[1]) == parent:
                found.append(int(pid))
    return found
