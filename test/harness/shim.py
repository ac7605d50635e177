"""shim.c: a server whose file operations are recorded, or fail."""
import errno
import mmap
import pathlib
import struct
import subprocess
import time

SOURCE = pathlib.Path(__file__).with_name("shim.c")
NAMES = ("writes_fail", "syncs_fail", "reads_fail", "error", "sync_delay_ms", "failed",
         "database_only")


def build(folder):
    library = pathlib.Path(folder) / "shim.so"
    if not library.exists():
        subprocess.run(["cc", "-O1", "-Wall", "-shared", "-fPIC", "-o", library, SOURCE, "-ldl"],
                       check=True)
    return library


class Shim:
    """Options for Server: `wrapper` runs it behind the shim."""

    def __init__(self, folder, root, record=False):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(exist_ok=True)
        self.record = self.folder / "record" if record else None
        knobs = self.folder / "knobs"
        knobs.write_bytes(bytes(4096))
        with open(knobs, "r+b") as file:
            self.knobs = mmap.mmap(file.fileno(), 4096)
        log = [f"SHIM_LOG={self.record}"] if record else []
        self.wrapper = ["env", f"LD_PRELOAD={build(folder)}", f"SHIM_ROOT={root}",
                        f"SHIM_KNOBS={knobs}", *log]

    def set(self, **values):
        for name, value in values.items():
            struct.pack_into("<i", self.knobs, 4 * NAMES.index(name), value)

    def get(self, name):
        return struct.unpack_from("<i", self.knobs, 4 * NAMES.index(name))[0]

    def fail(self, error=errno.EIO, **one_in):
        self.set(error=error, **one_in)

    def heal(self):
        self.set(writes_fail=0, syncs_fail=0, reads_fail=0, database_only=0)


def now_us():
    """The clock of the records."""
    return time.monotonic() * 1e6
