"""A disk and a clock for one server that tests turn: see slow_disk.c.

    disk = SlowDisk(folder)
    server = make_server(..., disk=disk)
    disk.turn(write_ms=150)
"""
import mmap
import pathlib
import shutil
import struct
import subprocess

import pytest

SOURCE = pathlib.Path(__file__).with_suffix(".c")
FIELDS = {"write_ms": (0, "<i"), "sync_ms": (4, "<i"), "wall_us": (8, "<q"),
          "mono_us": (16, "<q")}
STILL = -1  # sync_ms: syncs wait


def compiled(folder):
    """The library, compiled once for a run of tests."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler")
    library = folder / "slow_disk.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", SOURCE, "-o", library, "-ldl"], check=True)
    return library


class SlowDisk:
    """Controls the disk and the clock of a musterd that is started with `env`."""

    def __init__(self, library, path):
        self.library, self.path = library, path
        path.write_bytes(bytes(mmap.PAGESIZE))
        with open(path, "r+b") as file:
            self.map = mmap.mmap(file.fileno(), mmap.PAGESIZE)

    def env(self, root):
        return {"LD_PRELOAD": str(self.library), "SLOW_DISK": str(self.path),
                "SLOW_DISK_ROOT": str(root)}

    def turn(self, **knobs):
        for name, value in knobs.items():
            at, kind = FIELDS[name]
            struct.pack_into(kind, self.map, at, value)
