#!/usr/bin/python3
"""The table of features with features: who takes part in the same kind of thing may meet there.

    test/together/table.py        plays the seeds of ./check, and writes PAIRS.md

The features and what they take part in are those of `musterd --dump-docs features`. A pair has a
seed in which both were driven at one account or in one room, or one was driven and the other one
answered (test/promise/test_together.py plays each seed), or a test, or
the reason why it needs none."""
import concurrent.futures
import itertools
import pathlib
import re
import subprocess
import sys
import tempfile

if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from harness.server import MUSTERD, ROOT  # noqa: E402
from together import play  # noqa: E402
from together.registry import ACTIONS  # noqa: E402
from together.reasons import ALONE, APART, TESTS  # noqa: E402

PAGE = pathlib.Path(__file__).with_name("PAIRS.md")
SEEDS = 200  # what ./check plays
HEAD = """# Features with features

Made by `test/together/table.py` from `musterd --dump-docs features` and from the seeds of
`test/promise/test_together.py`; do not edit. Two features that take part in the same kind of thing
(messages, presence, sessions, accounts, service discovery, rooms, requests, services) may meet
there. For each such pair there is one of these:

- `seed N`: in this seed of the combination tester both were driven at one account or in one room,
  while a model knew what everybody must see.
- `answered in seed N`: at least one of the two was not driven there. The account was only asked for
  it once at the end of the seed, when the other one had been driven, and it answered. Of most
  features the content of the answer is not compared.
- a test.
- the reason why none is needed.

"""


def rows():
    """{feature: what it takes part in}"""
    text = subprocess.run([MUSTERD, "--dump-docs", "features"], capture_output=True, text=True,
                          check=True).stdout
    found = (line.partition(":") for line in text.splitlines())
    return {name: frozenset(parts.split()) for name, _, parts in found}


def pairs(features):
    """{(one, other): what both take part in}"""
    shared = {(a, b): features[a] & features[b]
              for a, b in itertools.combinations(sorted(features), 2)}
    return {pair: parts for pair, parts in shared.items() if parts}


def witnesses(text):
    """{(one, other, how they met): seed} of a page."""
    lines = re.findall(rf"^\| (\S+) \| (\S+) \| [^|]* \| ({play.DRIVEN}|{play.ANSWERED}) (\d+) \|$",
                       text, re.MULTILINE)
    return {(a, b, how): int(seed) for a, b, how, seed in lines}


def proof(pair, seeds):
    """Words; None: there is nothing."""
    for how in play.DRIVEN, play.ANSWERED:
        if (*pair, how) in seeds:
            return f"{how} {seeds[(*pair, how)]}"
    if pair in TESTS:
        return f"`{TESTS[pair]}`"
    return next((f"{name}: {ALONE[name]}" for name in pair if name in ALONE), None)


def render(features, seeds):
    """(the page, pairs without anything)"""
    lines = [HEAD, "| Feature | Takes part in |\n|---|---|\n"]
    lines += [f"| {name} | {', '.join(sorted(parts))} |\n"
              for name, parts in sorted(features.items()) if parts]
    lines += ["\n| Feature | Takes part in nothing, because it is |\n|---|---|\n"]
    lines += [f"| {name} | {APART.get(name)} |\n"
              for name, parts in sorted(features.items()) if not parts]
    lines += ["\n| One | Other | Both in | Seed, test or reason |\n|---|---|---|---|\n"]
    bare = []
    for pair, parts in pairs(features).items():
        found = proof(pair, seeds)
        if found is None:
            bare.append(pair)
        lines.append(f"| {pair[0]} | {pair[1]} | {', '.join(sorted(parts))} | {found} |\n")
    return "".join(lines), bare


def play_one(seed):
    met = set()
    error, _ = play.run(play.BASE[0], seed, met=met)
    assert error is None, f"seed {seed}: {error}"
    return seed, met


def choose(wanted, found):
    """{(one, other, how they met): seed}: few seeds, those that have most first."""
    chosen, left = {}, set(wanted)
    for how in play.DRIVEN, play.ANSWERED:
        while True:
            seed, met = max(((s, {p for p in left if (*p, how) in found[s]})
                             for s in sorted(found)), key=lambda row: len(row[1]))
            if not met:
                break
            chosen.update({(*pair, how): seed for pair in met})
            left -= met
    return chosen


def main():
    features = rows()
    with tempfile.TemporaryDirectory(prefix="together-base.") as folder:
        play.BASE.append(play.template(folder))
        with concurrent.futures.ProcessPoolExecutor(6) as pool:
            found = dict(pool.map(play_one, range(SEEDS)))
    text, bare = render(features, choose(pairs(features), found))
    PAGE.write_text(text)
    print(f"{PAGE.relative_to(ROOT)}: {len(pairs(features))} pairs")
    for pair in bare:
        print("nothing for", *pair)
    unknown = {f for a in ACTIONS.values() for f in a.drives} - set(features)
    print(*(f"no feature {name}" for name in sorted(unknown)), sep="\n")
    return bool(bare or unknown)


if __name__ == "__main__":
    sys.exit(main())
