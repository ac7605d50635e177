"""What a power cut may leave of the files that shim.c has recorded.

Of a file, what was written before its last sync began is there; of later writes and truncations any
part, in any order between syncs, torn by sectors. Of a folder, names that were made, renamed or
removed before its last sync began are as they were then; of later ones any part. So POSIX has it;
`ordered` says that names reach the disk in order, as on ext4 and xfs, and with each sync."""
import collections
import pathlib
import shutil
import struct

HEADER = struct.Struct("<c3xiQqII")
SECTOR = 512

Record = collections.namedtuple("Record", "kind file time_us at one two")


def read_records(path):
    data = memoryview(pathlib.Path(path).read_bytes())
    records, at = [], 0
    while at + HEADER.size <= len(data):
        kind, file, time_us, where, len1, len2 = HEADER.unpack_from(data, at)
        at += HEADER.size
        if at + len1 + len2 > len(data):
            break  # the kill came in between
        records.append(Record(kind.decode(), file, time_us, where, data[at:at + len1],
                              data[at + len1:at + len1 + len2]))
        at += len1 + len2
    return records


def parent(name):
    return name.rpartition("/")[0]


def put(content, at, data):
    if len(content) < at:
        content.extend(bytes(at - len(content)))
    content[at:at + len(data)] = data


class File:
    def __init__(self):
        self.safe = bytearray()  # on the disk
        self.pending = []  # ("W", at, bytes) and ("T", length) since the last sync

    @staticmethod
    def apply(content, change):
        if change[0] == "W":
            put(content, change[1], change[2])
        elif change[1] < len(content):
            del content[change[1]:]
        else:
            content.extend(bytes(change[1] - len(content)))

    def cut(self, rnd):
        """One of the contents that it may have."""
        content = bytearray(self.safe)
        style = rnd.choice(("none", "all", "some", "first"))
        until = rnd.randint(0, len(self.pending))
        for i, change in enumerate(self.pending):
            if style == "none" or style == "first" and i >= until or \
                    style == "some" and rnd.random() < 0.5:
                continue
            if change[0] == "W" and style == "some" and rnd.random() < 0.3:
                for at in range(0, len(change[2]), SECTOR):
                    if rnd.random() < 0.5:
                        put(content, change[1] + at, change[2][at:at + SECTOR])
            else:
                self.apply(content, change)
        return content


class Disk:
    """Follows the records; `image` writes what may be there if the power goes now."""

    def __init__(self, rnd, ordered=False):
        self.rnd = rnd
        self.ordered = ordered
        self.names = {}  # as the running system sees them; folders are None
        self.safe_names = {}
        self.pending = []  # (folders whose sync it needs, change)
        self.open = {}  # file number: File, or the name of a folder
        self.begun = {}  # file number: how much was there when its sync began

    @staticmethod
    def rename(names, change):
        kind, name, *more = change
        if kind == "make":
            names.setdefault(name, more[0])
        elif kind == "remove":
            names.pop(name, None)
        else:
            names.pop(name, None)
            names[more[0]] = more[1]

    def change(self, change, *folders):
        self.rename(self.names, change)
        self.pending.append((set(folders), change))

    def step(self, r):
        name = bytes(r.one).decode() if r.kind in "ODRUMu" else None
        if r.kind == "O":
            if self.names.get(name) is None:
                self.change(("make", name, File()), parent(name))
            self.open[r.file] = self.names[name]
            if r.at == 2:
                self.names[name].pending.append(("T", 0))
        elif r.kind == "D":
            self.open[r.file] = name.rstrip("/")
        elif r.kind == "W":
            self.open[r.file].pending.append(("W", r.at, r.one))
        elif r.kind == "T":
            self.open[r.file].pending.append(("T", r.at))
        elif r.kind == "B":
            of = self.open[r.file]
            self.begun[r.file] = len(self.pending if isinstance(of, str) else of.pending)
        elif r.kind == "S":
            self.synced(self.open[r.file], self.begun.pop(r.file))
        elif r.kind == "R":
            to = bytes(r.two).decode()
            self.change(("rename", name, to, self.names.get(name)), parent(name), parent(to))
        elif r.kind == "M":
            self.change(("make", name, None), parent(name))
        elif r.kind == "U":
            self.change(("remove", name), parent(name))
        elif r.kind == "u":
            path = f"{self.open[r.file]}/{name}"
            self.change(("remove", path), parent(path))

    def synced(self, of, count):
        if isinstance(of, str):
            kept = []
            for i, (folders, change) in enumerate(self.pending):
                if i < count and of in folders:
                    self.rename(self.safe_names, change)
                else:
                    kept.append((folders, change))
            dropped = len(self.pending) - len(kept)
            self.pending = kept
            shift = [n for n in self.begun if isinstance(self.open[n], str)]
        else:
            for change in of.pending[:count]:
                of.apply(of.safe, change)
            del of.pending[:count]
            dropped = count
            shift = [n for n in self.begun if self.open[n] is of]
            if self.ordered:
                for _, change in self.pending:
                    self.rename(self.safe_names, change)
                self.pending = []
        for n in shift:
            self.begun[n] = max(0, self.begun[n] - dropped)

    def image(self, path):
        names = dict(self.safe_names)
        until = self.rnd.randint(0, len(self.pending))
        for i, (_, change) in enumerate(self.pending):
            if i < until if self.ordered else self.rnd.random() < 0.5:
                self.rename(names, change)
        if path.exists():
            shutil.rmtree(path)
        path.mkdir(parents=True)
        for name, file in names.items():
            folders = [p.as_posix() for p in pathlib.PurePosixPath(name).parents][:-1]
            if any(f not in names for f in folders):
                continue  # its folder has no name
            if file is None:
                (path / name).mkdir(mode=0o700, parents=True, exist_ok=True)
            else:
                (path / name).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                (path / name).write_bytes(file.cut(self.rnd))
                (path / name).chmod(0o600)
