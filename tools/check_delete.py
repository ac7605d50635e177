#!/usr/bin/python3
"""Proves that each extension can go: deletes its files and its two lines from a copy of the tree,
builds musterd from what is left and logs in.

    tools/check_delete.py [NAME...]      build/release/musterd must be there (make check-delete)

The files of an extension are those under src/ext whose name begins with its name, which is that of
its struct feature, and the unit tests there that name it. Further features in these files go with
it. Prints "@passed NAME" or "@failed NAME: why". Objects are taken from build/release.
"""
import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
TREES = ROOT / "build/delete"
LIST = "src/ext/ext.h"
USERS = ("src/app/features.c", LIST)
os.environ["MUSTERCTL"] = str(ROOT / "build/release/musterctl")
sys.path.insert(0, str(ROOT / "test"))

from muster import server as harness  # noqa: E402


class Broken(Exception):
    """What keeps an extension from being removed."""


def extensions():
    """Name of the extension -> names of its features."""
    names = re.findall(r"^extern const struct feature (\w+)_feature;", (ROOT / LIST).read_text(),
                       re.M)
    found = {name: [] for name in names}
    for path in sorted((ROOT / "src/ext").rglob("*.c")):
        for name in re.findall(r"^const struct feature (\w+)_feature\b", path.read_text(), re.M):
            if name in found:
                found[owner(path, names) or name].append(name)
    return {name: of for name, of in found.items() if of}


def owner(path, names):
    """The extension of a file under src/ext: the longest of the names that its own begins with."""
    found = [n for n in names if re.fullmatch(rf"{n}(_\w+)?\.[ch]", path.name)]
    return max(found, key=len, default=None)


class Tree:
    """A copy of sources and objects, in which one extension after the other goes and comes back."""

    def __init__(self, folder):
        self.folder = folder
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(ROOT / "src", folder / "src")
        shutil.copytree(ROOT / "build/release/src", folder / "build/release/src")
        shutil.copy2(ROOT / "Makefile", folder)
        self.musterd = folder / "build/release/musterd"

    def cut(self, name, all_of):
        """Returns what was there: file -> (bytes, times)."""
        files = list((self.folder / "src/ext").rglob("*.[ch]"))
        gone = {p for p in files if owner(p, all_of) == name}
        pattern = self.structs(name, all_of)
        gone.update(p for p in files if p.name.endswith("_test.c")
                    and re.search(pattern, p.read_text()))
        lists = [self.folder / file for file in USERS]
        kept = {p: (p.read_bytes(), p.stat()) for p in (*gone, *lists)}
        for path in gone:
            path.unlink()
        for path in lists:
            lines = path.read_text().splitlines(keepends=True)
            left = [line for line in lines if not re.search(pattern, line)]
            path.write_text("".join(left))
            if len(lines) - len(left) != len(all_of[name]):
                self.restore(kept)
                raise Broken(f"is named on {len(lines) - len(left)} lines of {path.name}")
        self.touch(lists[1], kept)  # nobody but those two names it: remains() has looked
        return kept

    @staticmethod
    def structs(name, all_of):
        """A pattern for the names of its features."""
        return rf"\b({'|'.join(all_of[name])})_feature\b"

    @staticmethod
    def touch(path, kept):
        stat = kept[path][1]
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    def restore(self, kept):
        for path, (data, _) in kept.items():
            path.write_bytes(data)
            self.touch(path, kept)
        os.utime(self.folder / USERS[0])  # is compiled again

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
        done = subprocess.run(["make", "--no-print-directory", "-C", self.folder,
                               "build/release/musterd"], capture_output=True, text=True,
                              check=False)
        if done.returncode != 0:
            raise Broken(f"does not build\n{done.stdout}{done.stderr}")
        documents = subprocess.run([self.musterd, "--dump-docs", "config"], capture_output=True,
                                   text=True, check=False)
        if documents.returncode != 0 or "c2s." not in documents.stdout:
            raise Broken(f"--dump-docs config: {documents.stderr}")

    def smoke(self):
        """Two users log in, see each other's message, and the server ends in order."""
        with tempfile.TemporaryDirectory(prefix="muster-delete.") as scratch:
            node = harness.Server(pathlib.Path(scratch) / "server", musterd=self.musterd)
            node.settings.clear()  # those of an extension may be gone
            try:
                node.start()
                for user in ("alice", "bob"):
                    node.add_user(user)
                alice, bob = node.client("alice"), node.client("bob")
                alice.result("get", "<query xmlns='jabber:iq:roster'/>")
                alice.send(f"<message to='{bob}' type='chat'><body>still here</body></message>")
                bob.expect(f"<message from='{alice}'><body>still here</body></message>")
            finally:
                node.finish()

    def check(self, name, all_of):
        kept = self.cut(name, all_of)
        try:
            self.remains(self.structs(name, all_of), kept)
            self.build()
            self.smoke()
        finally:
            self.restore(kept)


def begin():
    """In each process: a tree of its own."""
    global tree
    tree = Tree(TREES / str(os.getpid()))


def check(name, all_of):
    try:
        tree.check(name, all_of)
        return None
    except (Broken, AssertionError, OSError) as why:
        return str(why)


def main(wanted):
    all_of = extensions()
    unknown = set(wanted) - set(all_of)
    if unknown:
        sys.exit(f"no extension {', '.join(sorted(unknown))} in {LIST}")
    failed = 0
    shutil.rmtree(TREES, ignore_errors=True)
    with concurrent.futures.ProcessPoolExecutor(2, initializer=begin) as pool:
        found = {name: pool.submit(check, name, all_of) for name in wanted or all_of}
        for name, future in found.items():
            why = future.result()
            failed += why is not None
            print(f"@passed {name}" if why is None else f"@failed {name}: {why}", flush=True)
    shutil.rmtree(TREES, ignore_errors=True)
    return failed > 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
