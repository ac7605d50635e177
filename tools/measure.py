#!/usr/bin/python3
"""Measures the inner walls of the C sources and prints a table: a row for each point, a column for
each folder of the upper half (whatever is not in LOWER), "rest" for the other folders together.

    tools/measure.py                the table (make measure)
        --list POINT                what a figure counts: files, lines, names
        --json FILE                 writes the figures
        --against FILE              prints the figures that are worse than those of FILE, and exits
                                    with 1 if there are any (part of tools/lint)
        --tree FOLDER               another tree than the one that this file is in

Reads src and ctl, needs no build. Tests, fuzz targets, benches and their headers do not count.
A module is a .c file with the header of the same name beside it. Calls are found by name: one
module calls another if it uses the name of a function that the other exports, in a row of a table
too. What is called through a pointer is called by whoever took its address.
"""
import argparse
import bisect
import collections
import dataclasses
import functools
import json
import pathlib
import re
import signal
import subprocess
import sys
import typing

LOWER = set("base io codec xmpp store auth bus http admin app cert notify operate ctl".split())
# Folders that share a column.
SHARED = {**dict.fromkeys("account session talk presence remote component".split(), "core"),
          "pubsub": "ext"}
HOME = "home"  # the folder that will own the roads between workers
POSTERS = {"io", "store", "bus", "app", HOME}  # folders that may use loop_post

SKIPPED = re.compile(r"_(test|fuzz|bench)\.c$|/test_\w+\.h$")
HIDDEN = re.compile(r"""/\*.*?\*/|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'""", re.S)
DIRECTIVE = re.compile(r"^[ \t]*#(?:\\\n|[^\n])*", re.M)
NAME = re.compile(r"(?<![\w.])(?<!->)[A-Za-z_]\w*")
TAG = re.compile(r"\b(?:struct|enum|union)\s+\w+")
# A variable or a parameter: a name after a type, or one after a comma that gets a value.
DECLARED = re.compile(r"(?:\b(?!return\b|else\b|case\b)[A-Za-z_]\w*\s+\**([a-z_]\w*)\s*[;,=)\[])"
                      r"|,\s*\**([a-z_]\w*)\s*(?:=[^=]|;)")
WORKER_H = re.compile(r'^#[ \t]*include "(?:[^"]*/)?worker\.h"', re.M)
NUMBER = re.compile(r"^[ \t]+(?:unsigned|int|u?int\d+_t)[ \t]+(?:\w+,[ \t]*)*(\w*worker)\b"
                    r"[^;()]*;", re.M)
STRUCT = re.compile(r"^(?:static (?:const )?)?struct (\w*) ?\{", re.M)
# What may name a worker, and why that is not wrong after a slot has moved.
FLEETING = {
    "struct bus_from": "who sent the frame that is carried",
    "struct frame": "who sent the frame that is carried",
    "struct inbox": "a part of the worker",
    "struct fan_far": "a fan ends in the tick in which it began",
    "struct message_from": "who sent the message that runs; a question ends with its worker",
    "struct node": "the table of slots itself",
    "struct slot_move": "who sends what is held, of one move of a slot, a minute at most",
    "src/home/duty.c": "the table of duties itself",
    "src/account/account_frozen.c": "the id of a stream ends with its worker",
    "src/session/link.c": "the id of a stream ends with its worker",
    "src/session/link_up.c": "the id of a stream ends with its worker",
}
ALL_FEATURES = re.compile(r"\bFEATURES_EACH\s*\(\s*\w+\s*,\s*name\s*\)")
WORD = re.compile(r"[A-Za-z_]\w*|[{}();:]")
# A comment begins with a noun or a verb, and so does each of its paragraphs.
OPENING = re.compile(r"(?:^/\*[\s*]*|\n[ \t]*\*?[ \t]*\n[ \t]*\*?[ \t]*)"
                     r"(Who|What|Whoever|Of|Those|Else)(?= )")


# --- what is read ---

@dataclasses.dataclass(frozen=True)
class Function:
    name: str
    static: bool
    first: int
    last: int
    nesting: int

    @property
    def lines(self):
        return self.last - self.first + 1


class Source:
    """One file: `code` is its text without comments and literals, line for line."""

    def __init__(self, name, text):
        self.name, self.module, self.is_c = name, name[:-2], name.endswith(".c")
        parts = name.split("/")
        self.folder = parts[1] if parts[0] == "src" else parts[0]
        self.folder = SHARED.get(self.folder, self.folder)
        self.text = text
        self.code = HIDDEN.sub(lambda m: '""' + "\n" * m[0].count("\n"), text)
        self.starts = [0] + [m.end() for m in re.finditer("\n", self.code)]
        self.lines = text.count("\n")
        self.functions = []

    def add(self, name, static, first, last):
        self.functions.append(Function(name, static, first, last, nesting(self.body(first, last))))

    def body(self, first, last):
        """The code from line `first` to line `last`; None: to the end."""
        ends = self.starts + [None]
        return self.code[self.starts[first - 1]:ends[len(self.starts) if last is None else last]]

    @property
    def used(self):
        """The names that are used and not declared: in the functions of a header, in all of a .c
        file."""
        parts = [self.body(f.first, f.last) for f in self.functions]
        if self.is_c:
            ends = [0] + [f.last for f in self.functions]
            starts = [f.first - 1 for f in self.functions] + [None]
            parts += [self.body(last + 1, first) for last, first in zip(ends, starts)]
        names = set()
        for part in parts:
            code = TAG.sub("int", DIRECTIVE.sub("", part))
            names |= set(NAME.findall(code)) - {a or b for a, b in DECLARED.findall(code)}
        return names - {f.name for f in self.functions if f.static}

    def calls(self, *names):
        """(line, name) of each call of these functions."""
        pattern = rf"(?<![\w.])({'|'.join(names)})[ \t]*\("
        return [(bisect.bisect(self.starts, m.start()), m[1])
                for m in re.finditer(pattern, self.code)]

    def caller(self, line):
        return next((f.name for f in self.functions if f.first <= line <= f.last), "a table")


class Tree:
    def __init__(self, root):
        names = [str(path.relative_to(root)) for top in ("src", "ctl")
                 for path in sorted((root / top).rglob("*.[ch]"))]
        self.sources = {name: Source(name, (root / name).read_text(encoding="utf-8"))
                        for name in names if not SKIPPED.search(name)}
        self.root = root
        self.find_functions(root)
        self.c = [s for s in self.sources.values() if s.is_c]
        self.upper = sorted({s.folder for s in self.sources.values()} - LOWER)
        self.columns = ["all", *self.upper, "rest"]
        self.owner = {f.name: s.module for s in self.c for f in s.functions
                      if not f.static and f.name != "main"}

    def find_functions(self, root):
        done = subprocess.run(["ctags", "--language-force=C", "--kinds-C=f", "--fields=nef",
                               "--excmd=number", "-u", "-f", "-", *self.sources], cwd=root,
                              capture_output=True, text=True, check=True)
        for row in done.stdout.splitlines():
            name, file, _, *fields = row.split("\t")
            value = dict(field.partition(":")[::2] for field in fields)
            if "end" in value:
                self.sources[file].add(name, "file" in value, int(value["line"]),
                                       int(value["end"]))

    def of(self, column):
        """The sources of a column of the table."""
        if column == "all":
            return list(self.sources.values())
        return [s for s in self.sources.values()
                if column == (s.folder if s.folder in self.upper else "rest")]

    def c_of(self, column):
        return [s for s in self.of(column) if s.is_c]

    @functools.cached_property
    def calls(self):
        """Module -> module -> names of functions of the second that the first uses."""
        calls = {s.module: collections.defaultdict(set) for s in self.c}
        for s in self.sources.values():
            if s.module not in calls:
                continue
            for name in s.used & self.owner.keys():
                if self.owner[name] != s.module:
                    calls[s.module][self.owner[name]].add(name)
        return calls

    @functools.cached_property
    def shared(self):
        """Name -> files, of the static functions whose names two files have."""
        files = collections.defaultdict(set)
        for s in self.c:
            for f in s.functions:
                if f.static:
                    files[f.name].add(s.name)
        return {name: sorted(of) for name, of in files.items() if len(of) > 1}

    def uses(self, column, owners, *names):
        """(file, line, name) of calls of these functions outside the folders `owners` and outside
        the modules that have them."""
        having = {self.owner.get(name) for name in names}
        return [(s, line, name) for s in self.c_of(column)
                if s.module not in having and s.folder not in owners
                for line, name in s.calls(*names)]


def nesting(body):
    """How deep if, for, while, do and switch stand in each other; "else if" goes no deeper."""
    words = WORD.findall(DIRECTIVE.sub("", body[body.find("{"):])) + [";", "}"]
    end = len(words)
    deepest = 0

    def past(i):
        """After the parentheses or braces that begin at i."""
        depth = 0
        while i < end:
            depth += (words[i] in "({") - (words[i] in ")}")
            i += 1
            if depth == 0:
                break
        return i

    def statement(i, deep):
        """Returns where the next one begins."""
        nonlocal deepest
        word = words[i] if i < end else ";"
        if word == "{":
            i += 1
            while i < end and words[i] != "}":
                i = statement(i, deep)
            return i + 1
        if word in ("if", "for", "while", "switch") or word.endswith("_EACH"):
            deepest = max(deepest, deep + 1)
            i = statement(past(i + 1), deep + 1)
            if word == "if" and words[i:i + 1] == ["else"]:
                i = statement(i + 1, deep if words[i + 1] == "if" else deep + 1)
            return i
        if word == "do":
            deepest = max(deepest, deep + 1)
            return past(statement(i + 1, deep + 1) + 1) + 1  # while (...);
        last = ":" if word in ("case", "default") else ";"
        while i < end and words[i] not in (last, "}"):
            i = past(i) if words[i] in "({" else i + 1
        return min(i + 1, end) if i < end and words[i] == last else i

    statement(0, 0)
    return deepest


def circles(graph):
    """The strongly connected parts of a graph (Tarjan), each sorted."""
    index, low, stack, found = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for to in sorted(graph[node]):
            if to not in index:
                visit(to)
            if to in stack:
                low[node] = min(low[node], low[to])
        if low[node] == index[node]:
            at = stack.index(node)
            found.append(sorted(stack[at:]))
            del stack[at:]

    sys.setrecursionlimit(100 + 10 * len(graph) + sys.getrecursionlimit())
    for node in sorted(graph):
        if node not in index:
            visit(node)
    return found


# --- the points: each has a figure for a column, and places for the whole tree ---

def circle(tree, column):
    """The modules of the largest circle: inside one folder, or with "all" of any folders."""
    folders = {s.folder for s in tree.c_of(column)}
    best = []
    for some in [folders] if column == "all" else [{folder} for folder in sorted(folders)]:
        members = {s.module for s in tree.c if s.folder in some}
        inside = circles({m: tree.calls[m].keys() & members for m in members})
        best = max([best, *inside], key=len)
    return best if len(best) > 1 else []


def circle_places(tree):
    found = {tuple(circle(tree, column)): None for column in (*tree.columns[1:], "all")}
    for members in filter(None, found):
        yield f"a circle of {len(members)}: {', '.join(f'{module}.c' for module in members)}"
        for module in members:
            for to in members:
                names = tree.calls[module].get(to)
                if names:
                    yield f"{module}.c -> {to}.c: {', '.join(sorted(names))}"


def includers(tree, column):
    return [s.name for s in tree.of(column) if WORKER_H.search(s.text)]


def headers(tree, column):
    """(modules that export functions, those of them without a header of their own)"""
    exporting = {s.module for s in tree.c_of(column)} & set(tree.owner.values())
    return exporting, sorted(m for m in exporting if m + ".h" not in tree.sources)


def closures(tree, column):
    return tree.uses(column, {HOME}, "node_call", "node_tour")


def posts(tree, column):
    node = tree.owner.get("node_call")  # which is made of it
    return [use for use in tree.uses(column, POSTERS, "loop_post") if use[0].module != node]


def numbers(tree, column):
    """Members that hold the number of a worker, and calls of connection_worker() outside the folder
    that owns the roads, without those that are FLEETING: such a number is of one run, and wrong
    after a move."""
    found = tree.uses(column, {HOME}, "connection_worker")
    for s in tree.of(column):
        for match in NUMBER.finditer(s.code):
            line = s.code.count("\n", 0, match.start(1)) + 1
            tags = ["", *STRUCT.findall(s.code[:match.start()])]
            if s.caller(line) == "a table" and f"struct {tags[-1]}" not in FLEETING:
                found.append((s, line, match[1]))
    return [use for use in found if use[0].name not in FLEETING]


def loops(tree, column):
    return [(s, s.code.count("\n", 0, match.start()) + 1, "FEATURES_EACH (…, name)")
            for s in tree.c_of(column) if s.folder != "app"  # which prints the list
            for match in ALL_FEATURES.finditer(s.code)]


def use_places(uses):
    for s, line, name in uses:
        yield f"{s.name}:{line}: {s.caller(line)} uses {name}"


def header_places(tree):
    _, bare = headers(tree, "all")
    for module in bare:
        names = sorted(name for name, owner in tree.owner.items() if owner == module)
        yield f"{module}.c: {', '.join(names)}"


def shared(tree, column):
    static = [f for s in tree.c_of(column) for f in s.functions if f.static]
    return per_cent(sum(f.name in tree.shared for f in static), len(static))


def shared_places(tree):
    for name, files in sorted(tree.shared.items(), key=lambda item: (-len(item[1]), item[0])):
        yield f"{name}: {len(files)} files: {', '.join(files)}"


def code_lines(tree, column):
    return sum(s.lines for s in tree.c_of(column))


def header_lines(tree, column):
    return sum(s.lines for s in tree.of(column) if not s.is_c)


def ensures(source):
    return len(source.calls("ensure", "ensure_debug"))


def density(tree, column):
    lines = code_lines(tree, column)
    return round(1000 * sum(map(ensures, tree.c_of(column))) / lines, 1) if lines else 0


def ensure_places(tree):
    for s in sorted(tree.c, key=lambda s: (s.folder, -s.lines)):
        yield f"{s.name}: {ensures(s)} in {s.lines} lines"


def sizes(tree, column):
    return sorted(f.lines for s in tree.c_of(column) for f in s.functions) or [0]


def functions_by(tree, what):
    """Places of the functions that have most of something."""
    found = [(getattr(f, what), s.name, f) for s in tree.c for f in s.functions]
    for figure, file, f in sorted(found, key=lambda item: (-item[0], item[1], item[2].first))[:50]:
        yield f"{file}:{f.first}: {f.name}: {figure}"


def gotos(source):
    return [bisect.bisect(source.starts, m.start())
            for m in re.finditer(r"\bgoto\b", source.code)]


def line_places(tree):
    for folder in sorted({s.folder for s in tree.sources.values()}):
        here = [s for s in tree.sources.values() if s.folder == folder]
        c = sum(s.lines for s in here if s.is_c)
        yield f"{folder}: {c} in .c, {sum(s.lines for s in here) - c} in .h"


def per_cent(part, whole):
    return round(100 * part / whole, 1) if whole else 0


def openings(source):
    """(line, word) of each part of a comment that begins with a word that begins no sentence."""
    return [(source.text.count("\n", 0, hidden.start() + found.start(1)) + 1, found[1])
            for hidden in HIDDEN.finditer(source.text) if hidden[0][0] == "/"
            for found in OPENING.finditer(hidden[0])]


# --- what is to be small ---

FEDERATION = ("src/gate/s2s/", "src/remote/", "src/muc/remote_")
TESTS_OF_IT = "test/federation"
CROWD = 40  # modules of a folder
WORDS = ("docs/architecture.md", "docs/federation.md")
TABLES = {"account_events": "account", "session_events": "session", "worker_events": "worker",
          "stages": "stage", "foreign_rules": "foreign", "feature": ""}
FUNCTION = re.compile(r"\(\*(\w+)\)\(|\b\w+_fn \*(\w+);")


def federation(tree):
    return [s for s in tree.sources.values() if s.name.startswith(FEDERATION)]


def tests_of_federation(tree):
    return sorted((tree.root / TESTS_OF_IT).glob("*.py"))


def count_lines(paths):
    return sum(path.read_text(encoding="utf-8").count("\n") for path in paths)


def body_at(text, at):
    """What stands between the brace before `at` and the one that closes it."""
    end, deep = at, 1
    while deep > 0 and end < len(text):
        deep += {"{": 1, "}": -1}.get(text[end], 0)
        end += 1
    return text[at:end - 1]


def members(tree):
    """(number of members, place) of each struct of federation, the largest first."""
    found = []
    for source in federation(tree):
        for struct in STRUCT.finditer(source.code):
            body = body_at(source.code, struct.end())
            names = sum(line.count(",") + 1 for line in re.sub(r"\{.*?\}", "", body, flags=re.S)
                        .split(";")[:-1] if "(" not in line) + body.count("(*")
            found.append((names, f"{source.name}: struct {struct[1]}"))
    return sorted(found, reverse=True)


def crowded(tree):
    folders = collections.Counter(str(pathlib.Path(s.name).parent) for s in tree.c)
    return [f"{folder}: {count}" for folder, count in sorted(folders.items()) if count > CROWD]


def hooks(tree):
    """(table, function) of struct feature -> the features that have it."""
    heads = "".join(s.code for s in tree.sources.values()
                    if s.name.endswith(("/core/feature.h", "/remote/foreign.h")))
    users = {}
    for table in TABLES:
        if (struct := re.search(rf"^struct {table} {{", heads, re.M)) is not None:
            for name in FUNCTION.finditer(body_at(heads, struct.end())):
                users[table, name[1] or name[2]] = set()
    for source in tree.c:
        for row in re.finditer(r"^const struct feature (\w+) = {", source.code, re.M):
            body = body_at(source.code, row.end())
            for (table, name), found in users.items():
                at = rf"\.{TABLES[table]}" if TABLES[table] else "^    "
                inner = re.search(rf"{at} = {{", body)
                if re.search(rf"{at}\.{name} =", body, re.M) or (
                        inner and re.search(rf"\.{name} =", body_at(body, inner.end()))):
                    found.add(row[1])
    return users


def lone_hooks(tree):
    return [f"{table}.{name}: {next(iter(users))}"
            for (table, name), users in hooks(tree).items() if len(users) == 1]


def words(tree, name):
    file = tree.root / name
    return len(file.read_text(encoding="utf-8").split()) if file.exists() else 0


@dataclasses.dataclass
class Point:
    text: str
    figure: typing.Callable  # (tree, column)
    places: typing.Callable  # (tree): lines
    more: bool = False       # more is better
    compared: str = "each"   # what --against looks at: "all", "each" column, or "none"
    slack: float = 0         # what may be added before it is worse: 0.01 is a hundredth
    whole: bool = False      # of the tree alone


def whole(text, figure, places, slack=0.0):
    """A point of the tree, not of its folders."""
    return Point(text, lambda tree, column: figure(tree), places, compared="all", slack=slack,
                 whole=True)


POINTS = {
    "circle": Point("files in the largest call circle", lambda t, c: len(circle(t, c)),
                    circle_places),
    "worker": Point("files that include worker.h", lambda t, c: len(includers(t, c)),
                    lambda t: includers(t, "all")),
    "headers": Point("modules without own header, %",
                     lambda t, c: per_cent(*map(len, reversed(headers(t, c)))), header_places),
    "closures": Point("uses of node_call, node_tour", lambda t, c: len(closures(t, c)),
                      lambda t: use_places(closures(t, "all"))),
    "posts": Point("uses of loop_post", lambda t, c: len(posts(t, c)),
                   lambda t: use_places(posts(t, "all"))),
    "workers": Point("worker numbers", lambda t, c: len(numbers(t, c)),
                     lambda t: use_places(numbers(t, "all"))),
    "loops": Point("loops over all features", lambda t, c: len(loops(t, c)),
                   lambda t: use_places(loops(t, "all"))),
    "names": Point("shared static names, %", shared, shared_places),
    "ensure": Point("ensure per 1,000 lines", density, ensure_places, more=True),
    "median": Point("lines of a function, median", lambda t, c: sizes(t, c)[len(sizes(t, c)) // 2],
                    lambda t: functions_by(t, "lines")),
    "p90": Point("lines of a function, p90", lambda t, c: sizes(t, c)[len(sizes(t, c)) * 9 // 10],
                 lambda t: functions_by(t, "lines")),
    "longest": Point("lines of the longest function", lambda t, c: sizes(t, c)[-1],
                     lambda t: functions_by(t, "lines")),
    "gotos": Point("goto", lambda t, c: sum(len(gotos(s)) for s in t.c_of(c)),
                   lambda t: (f"{s.name}:{line}" for s in t.c for line in gotos(s))),
    "nesting": Point("deepest nesting",
                     lambda t, c: max([0, *(f.nesting for s in t.c_of(c) for f in s.functions)]),
                     lambda t: functions_by(t, "nesting")),
    "openings": Point("comments beginning Who, What, Of",
                      lambda t, c: sum(len(openings(s)) for s in t.of(c)),
                      lambda t: (f"{s.name}:{line}: {word}" for s in t.sources.values()
                                 for line, word in openings(s))),
    "crowds": whole(f"folders over {CROWD} modules", lambda t: len(crowded(t)), crowded),
    "hooks": whole("functions of struct feature with one user", lambda t: len(lone_hooks(t)),
                   lone_hooks),
    "members": whole("members of the largest struct of a link",
                     lambda t: max([0, *(count for count, _ in members(t))]),
                     lambda t: (f"{place}: {count}" for count, place in members(t))),
    # one change adds what the next one removes
    "federation": whole("lines of federation, with headers",
                        lambda t: sum(s.text.count("\n") for s in federation(t)),
                        lambda t: (f"{s.name}: {s.text.count(chr(10))}" for s in federation(t)),
                        slack=0.01),
    "fed-tests": whole("lines of its tests", lambda t: count_lines(tests_of_federation(t)),
                       lambda t: (f"{f.name}: {count_lines([f])}" for f in tests_of_federation(t)),
                       slack=0.01),
    "words": whole("words of " + " and ".join(WORDS), lambda t: sum(words(t, w) for w in WORDS),
                   lambda t: (f"{w}: {words(t, w)}" for w in WORDS), slack=0.01),
    "lines": Point("lines of .c files", code_lines, line_places, compared="all", slack=0.01),
    "h-lines": Point("lines of .h files", header_lines, line_places, compared="none"),
}
REMARK = """\
A circle in "all" may go through several folders, those of the columns stay inside one.
Worker numbers in local variables are not counted: they do not outlive a tick. Those in FLEETING
(tools/measure.py) are not either, each for the reason that stands there."""


# --- what is printed ---

def measure(tree):
    return {name: {column: point.figure(tree, column)
                   for column in (["all"] if point.whole else tree.columns)}
            for name, point in POINTS.items()}


def table(figures):
    columns = list(figures["lines"])
    rows = [["point", "", *columns]]
    rows += [[name, POINTS[name].text, *map(str, row.values())] for name, row in figures.items()
             if not POINTS[name].whole]
    widths = [max(map(len, cells)) for cells in zip(*rows)]
    lines = [" ".join(cell.ljust(width) if i < 2 else cell.rjust(max(width, 5))
                      for i, (cell, width) in enumerate(zip(row, widths))).rstrip()
             for row in rows]
    lines += [f"{name:10} {POINTS[name].text}: {row['all']}" for name, row in figures.items()
              if POINTS[name].whole]
    return "\n".join(lines)


def worse(now, before, file):
    """Lines for what got worse; a folder that FILE does not know has to be written to it."""
    for name, point in POINTS.items():
        for column, figure in now[name].items():
            if point.compared not in ("each", column):
                continue
            old = before.get(name, {}).get(column)
            if old is None:
                yield (f"{file}: {point.text}, {column}: no figure:"
                       f" write it with tools/measure.py --json {file}")
            elif figure < old if point.more else figure > old * (1 + point.slack):
                yield (f"{file}: {point.text}, {column}: {figure}, was {old}:"
                       f" tools/measure.py --list {name}")


def main():
    options = argparse.ArgumentParser(description=__doc__,
                                      formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--tree", type=pathlib.Path,
                         default=pathlib.Path(__file__).resolve().parents[1])
    options.add_argument("--list", choices=POINTS)
    options.add_argument("--json", type=pathlib.Path)
    options.add_argument("--against", type=pathlib.Path)
    wanted = options.parse_args()
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # --list is made for head and grep
    tree = Tree(wanted.tree)
    if wanted.list:
        for place in POINTS[wanted.list].places(tree):
            print(place)
        return 0
    figures = measure(tree)
    if wanted.json:
        rows = ",\n".join(f'  "{name}": {json.dumps(row)}' for name, row in figures.items())
        wanted.json.write_text("{\n" + rows + "\n}\n", encoding="utf-8")
    if wanted.against:
        before = json.loads(wanted.against.read_text(encoding="utf-8"))
        found = list(worse(figures, before, wanted.against))
        for line in found:
            print(line)
        return len(found) > 0
    if not wanted.json:
        print(table(figures), REMARK, sep="\n\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
