"""Tests that take over two seconds, which `./check` leaves to `./check all`: test/slow.txt lists
them as tools/slow.py has measured them. A new one has the mark slow, with a reason."""
import contextlib
import os
import pathlib
import time

LISTED = frozenset(pathlib.Path(__file__).parents[1].joinpath("slow.txt").read_text().split("\n"))
FILE = os.environ.get("MUSTER_DURATIONS")


@contextlib.contextmanager
def measured(item, name):
    """Around a test: a line in the file MUSTER_DURATIONS, "seconds, name, marked or not"."""
    start = time.monotonic()
    yield
    if FILE:
        marks = {mark.name for mark in item.iter_markers() if mark.name == "smoke" or mark.kwargs}
        marked = "marked" if marks & {"slow", "smoke"} else "not"
        with open(FILE, "a", encoding="utf-8") as out:
            out.write(f"{time.monotonic() - start:.2f}\t{name}\t{marked}\n")
