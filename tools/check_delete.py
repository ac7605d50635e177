#!/usr/bin/python3
"""Proves that each extension and each optional part of rooms can go: deletes its files, and its
lines in the lists, from a copy of the tree, builds musterd from what is left and logs in.

    tools/check_delete.py [NAME...]      build/MODE/musterd must be there (make check-delete)

The files of an extension are those under src/ext whose name begins with its name, which is that
of its struct feature, and the unit tests there that name it. Further features in these files go
with it. A part of rooms is the same in src/muc/parts and src/muc/operate; its name is that of its
struct room_part or struct feature, and without it a room still carries messages.

Prints "@passed NAME" or "@failed NAME: why". Objects are taken from build/MODE, of which
MODE in the environment is release if not given.
"""
import collections
import concurrent.futures
import dataclasses
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
MODE = os.environ.get("MODE", "release")
TREES = ROOT / "build/delete"
os.environ["MUSTERCTL"] = str(ROOT / f"build/{MODE}/musterctl")
sys.path.insert(0, str(ROOT / "test"))

from harness import muc  # noqa: E402
from harness import server as servers  # noqa: E402


class Broken(Exception):
    """What keeps an extension from being removed."""


@dataclasses.dataclass(frozen=True)
class Kind:
    """What can go of one kind: where its files are, and the lists that name its rows. Each row is
    named by two of their lines."""
    folders: tuple
    lists: tuple
    rooms: bool = False  # rooms must work without it


KINDS = (Kind(("src/ext",), ("src/app/features.c", "src/ext/ext.h")),
         Kind(("src/muc/parts", "src/muc/operate"),
              ("src/app/features.c", "src/muc/muc.h", "src/muc/parts.c", "src/muc/parts.h"), True))
ROW = re.compile(r"^const struct (?:feature|room_part) ((?:muc_)?(\w+)_(?:feature|part))\b", re.M)


@dataclasses.dataclass(frozen=True)
class Extension:
    kind: Kind
    names: tuple  # of all of its kind
    rows: tuple   # struct feature and struct room_part

    @property
    def pattern(self):
        return rf"\b({'|'.join(self.rows)})\b"


def extensions():
    """Name -> Extension. Rooms have parts that share the name of an extension: theirs follows
    "room/"."""
    found = {}
    for kind in KINDS:
        listed = "".join((ROOT / file).read_text() for file in kind.lists if file.endswith(".h"))
        rows = [(path, symbol, name) for folder in kind.folders
                for path in sorted((ROOT / folder).rglob("*.c"))
                for symbol, name in ROW.findall(path.read_text())
                if re.search(rf"\b{symbol};", listed)]
        names = tuple(sorted({name for _, _, name in rows}))
        of = collections.defaultdict(list)
        for path, symbol, name in rows:
            of[owner(path, names) or name].append(symbol)
        found |= {("room/" if kind.rooms else "") + name: Extension(kind, names, tuple(symbols))
                  for name, symbols in of.items()}
    return found


def owner(path, names):
    """The extension of a file: the longest of the names that its own begins with."""
    found = [n for n in names if re.fullmatch(rf"{n}(_\w+)?\.[ch]", path.name)]
    return max(found, key=len, default=None)


class Tree:
    """A copy of sources and objects, in which one extension after the other goes and comes back."""

    def __init__(self, folder):
        self.folder = folder
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(ROOT / "src", folder / "src")
        shutil.copytree(ROOT / f"build/{MODE}/src", folder / f"build/{MODE}/src")
        shutil.copy2(ROOT / "Makefile", folder)
        self.musterd = folder / f"build/{MODE}/musterd"

    def cut(self, name, ext):
        """Returns what was there: file -> (bytes, times)."""
        files = [p for folder in ext.kind.folders for p in (self.folder / folder).rglob("*.[ch]")]
        gone = {p for p in files if owner(p, ext.names) == name.removeprefix("room/")}
        gone.update(p for p in files if p.name.endswith("_test.c")
                    and re.search(ext.pattern, p.read_text()))
        lists = [self.folder / file for file in ext.kind.lists]
        kept = {p: (p.read_bytes(), p.stat()) for p in (*gone, *lists)}
        for path in gone:
            path.unlink()
        named = 0
        for path in lists:
            lines = path.read_text().splitlines(keepends=True)
            left = [line for line in lines if not re.search(ext.pattern, line)]
            named += len(lines) - len(left)
            if len(lines) != len(left):
                path.write_text("".join(left))
            if path.suffix == ".h":  # nobody else names the rows: remains() has looked
                self.touch(path, kept)
        if named != 2 * len(ext.rows):
            self.restore(kept)
            raise Broken(f"is named on {named} lines of the lists, {2 * len(ext.rows)} expected")
        return kept

    @staticmethod
    def touch(path, kept):
        stat = kept[path][1]
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    def restore(self, kept):
        for path, (data, _) in kept.items():
            path.write_bytes(data)
            self.touch(path, kept)
        for kind in KINDS:  # are compiled again
            for file in kind.lists:
                if file.endswith(".c"):
                    os.utime(self.folder / file)

    def remains(self, structs, kept):
        """Sources, tests too, that still name the extension."""
        headers = "|".join(re.escape(str(p.relative_to(self.folder / "src"))) for p in kept
                           if p.suffix == ".h" and not p.exists())
        include = rf'|#include "({headers})"' if headers else ""
        pattern = re.compile(structs + include)
        for path in sorted(self.folder.glob("src/**/*.[ch]")):
            found = pattern.search(path.read_text())
            if found:
                raise Broken(f"{path.relative_to(self.folder)} has {found[0]}")

    def build(self):
        done = subprocess.run(["make", "--no-print-directory", "-C", self.folder, f"MODE={MODE}",
                               f"build/{MODE}/musterd"], capture_output=True, text=True,
                              check=False)
        if done.returncode != 0:
            raise Broken(f"does not build\n{done.stdout}{done.stderr}")
        documents = subprocess.run([self.musterd, "--dump-docs", "config"], capture_output=True,
                                   text=True, check=False)
        if documents.returncode != 0 or "c2s." not in documents.stdout:
            raise Broken(f"--dump-docs config: {documents.stderr}")

    def smoke(self, rooms):
        """Two users log in, see each other's message, perhaps in a room too, and the server ends in
        order."""
        with tempfile.TemporaryDirectory(prefix="muster-delete.") as scratch:
            node = servers.Server(pathlib.Path(scratch) / "server", musterd=self.musterd)
            node.settings.clear()  # those of an extension may be gone
            try:
                node.start()
                for user in ("alice", "bob"):
                    node.add_user(user)
                alice, bob = node.client("alice"), node.client("bob")
                alice.result("get", "<query xmlns='jabber:iq:roster'/>")
                alice.send(f"<message to='{bob}' type='chat'><body>still here</body></message>")
                bob.expect(f"<message from='{alice}'><body>still here</body></message>")
                if rooms:
                    self.meet(alice, bob)
            finally:
                node.finish()

    @staticmethod
    def meet(alice, bob):
        room = muc.Room("still-here")
        room.enter(alice, "firstwitch")
        room.say(alice, "open")  # by its owner: others may enter
        room.expect_body(alice, "firstwitch", "open")
        room.enter(bob, "secondwitch")
        room.say(bob, "When shall we three meet again?")
        room.expect_body(alice, "secondwitch", "When shall we three meet again?")

    def check(self, name, ext):
        kept = self.cut(name, ext)
        try:
            self.remains(ext.pattern, kept)
            self.build()
            self.smoke(ext.kind.rooms)
        finally:
            self.restore(kept)


def begin():
    """In each process: a tree of its own."""
    global tree
    tree = Tree(TREES / str(os.getpid()))


def check(name, ext):
    try:
        tree.check(name, ext)
        return None
    except (Broken, AssertionError, OSError) as why:
        return str(why)


def main(wanted):
    all_of = extensions()
    unknown = set(wanted) - set(all_of)
    if unknown:
        sys.exit(f"no extension {', '.join(sorted(unknown))}; there are: {', '.join(all_of)}")
    failed = 0
    shutil.rmtree(TREES, ignore_errors=True)
    with concurrent.futures.ProcessPoolExecutor(2, initializer=begin) as pool:
        found = {name: pool.submit(check, name, all_of[name]) for name in wanted or all_of}
        for name, future in found.items():
            why = future.result()
            failed += why is not None
            print(f"@passed {name}" if why is None else f"@failed {name}: {why}", flush=True)
    shutil.rmtree(TREES, ignore_errors=True)
    return failed > 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
