"""What a test leaves outside of its temporary folder: a run that finds new files in the checkout
fails, whether git ignores them or not."""
import os
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
# What programs keep there: builds, compiled Python, packages of npm, the repository itself.
KEPT = {"build", "__pycache__", "node_modules", ".git", ".pytest_cache"}


def listing(root):
    """The files at the top of the checkout and in its folder of tests."""
    found = {entry.name for entry in os.scandir(root) if entry.name not in KEPT}
    for folder, folders, files in os.walk(root / "test"):
        folders[:] = [name for name in folders if name not in KEPT]
        found |= {os.path.relpath(os.path.join(folder, name), root) for name in files}
    return found


class Strays:
    """A plugin: `config.pluginmanager.register(Strays())`, in the process that starts the run."""

    def __init__(self, root=ROOT):
        self.root, self.before, self.new = root, listing(root), []

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session):
        self.new = sorted(listing(self.root) - self.before)
        if self.new and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter):
        for name in self.new:
            terminalreporter.line(f"FAILED {name}: this file is new since the run began:"
                                  " a test writes below tmp_path")
