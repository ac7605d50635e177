"""The processes that one has started, as /proc shows them."""
import contextlib
import os


def children(parent):
    """The process ids of those that `parent` has started and that still run."""
    found = []
    for task in os.listdir(f"/proc/{parent}/task"):
        with contextlib.suppress(OSError):  # the thread has ended meanwhile
            with open(f"/proc/{parent}/task/{task}/children", encoding="ascii") as file:
                found += map(int, file.read().split())
    return found
