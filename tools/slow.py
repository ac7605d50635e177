#!/usr/bin/python3
"""The list of slow tests, from what a run of ./check has measured.

    tools/slow.py --new FILE     prints the tests that took over two seconds and are neither in
                                 test/slow.txt nor marked
    tools/slow.py --write FILE   writes test/slow.txt anew: the tests of FILE that took longer, and
                                 of the others in it those that FILE does not have

FILE has a line a test: seconds, name, "marked" if the test says itself that it is slow, and why.
All rows of a test are listed as one if each of them is slow.
"""
import collections
import pathlib
import sys

LIMIT = 2.0
LIST = pathlib.Path(__file__).resolve().parents[1] / "test/slow.txt"


def read(path):
    """Name -> seconds, of the tests that are not marked."""
    found = {}
    for line in pathlib.Path(path).read_text().splitlines():
        seconds, name, marked = line.split("\t")
        if marked == "not":
            found[name] = max(float(seconds), found.get(name, 0))
    return found


def function(name):
    return name.partition("[")[0]


def shortened(slow, fast):
    """Names of cases, or of their function if none of its cases is fast."""
    mixed = {function(name) for name in fast}
    return {name if function(name) in mixed else function(name) for name in slow}


def main(action, path):
    listed = set(LIST.read_text().splitlines())
    seconds = read(path)
    slow = {name for name, took in seconds.items() if took > LIMIT}
    if action == "--new":
        new = sorted(name for name in slow if not {name, function(name)} & listed)
        for name in new:
            print(f"{seconds[name]:.1f} s  {name}")
    else:
        measured = collections.Counter(map(function, seconds))
        slow |= {name for name in listed if name not in seconds and not measured[name]}
        LIST.write_text("".join(f"{n}\n" for n in sorted(shortened(slow, seconds.keys() - slow))))


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in ("--new", "--write"):
        sys.exit(__doc__)
    main(*sys.argv[1:])
