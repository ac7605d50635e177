"""Everything at once, by chance: see test/together. MUSTER_TOGETHER is how many seeds are played
(200; under a sanitizer, and on PostgreSQL, 40), MUSTER_TOGETHER_FIRST the first of them. And the
table of features with features, test/together/PAIRS.md, which these seeds prove."""
import os
import subprocess
import sys
import tempfile

import pytest

from harness import database
from harness.server import MUSTERD, ROOT
from together import play, table
from together.reasons import ALONE, APART, TESTS
from together.registry import ACTIONS

SLOW = "build/release" not in str(MUSTERD) or database.POSTGRESQL
COUNT = int(os.environ.get("MUSTER_TOGETHER", "40" if SLOW else "200"))
FIRST = int(os.environ.get("MUSTER_TOGETHER_FIRST", "0"))
GROUP = 5  # seeds of one test


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return play.template(tmp_path_factory.mktemp("together"))


@pytest.mark.parametrize("first", range(FIRST, FIRST + COUNT, GROUP))
def test_all_see_what_they_must_and_nothing_else(base, first):
    claimed = table.witnesses(table.PAGE.read_text())
    for seed in range(first, first + GROUP):
        setup, met = play.setup_of(seed), set()
        error, script = play.run(base, seed, setup=setup, met=met)
        if error is not None:
            pytest.fail(play.failure_text(base, seed, script, error, setup), pytrace=False)
        missing = {meeting for meeting, where in claimed.items() if where == seed} - met
        assert not missing, f"did not meet in seed {seed}: {missing}; run test/together/table.py"


def test_each_pair_of_features_has_a_seed_a_test_or_a_reason():
    features = table.rows()
    text, bare = table.render(features, table.witnesses(table.PAGE.read_text()))
    assert not bare, f"no seed, test or reason for {bare}"
    assert text == table.PAGE.read_text(), "not current: run test/together/table.py"


def test_actions_tests_and_reasons_of_the_table_exist():
    features = set(table.rows())
    driven = {name for action in ACTIONS.values() for name in action.drives}
    assert driven <= features, driven - features
    assert set(ALONE) <= features - driven, "no such feature, or one that a seed drives"
    assert {name for name, parts in table.rows().items() if not parts} == set(APART)
    for pair, where in TESTS.items():
        name, _, function = where.partition("::")
        assert set(pair) <= features, pair
        assert f"def {function}(" in (ROOT / "test" / name).read_text(), where


def test_a_wrong_model_is_found(base):
    """A script whose model expects what nobody sent fails, and shrinks to what matters."""
    script = [[["connect", "alice/d0"]], [["connect", "bob/d0"]], [["show", "alice/d0", 1]],
              [["dream", "alice/d0"]], [["show", "bob/d0", 2]]]
    whole, play.clients.TIMEOUT = play.clients.TIMEOUT, 1
    play.ACTIONS["dream"] = play.ACTIONS["show"].__class__("dream", dream, 0, ("on",), False,
                                                             frozenset())
    try:
        error, _ = play.run(base, 0, script)
        assert "came as nothing, should come 1 times" in error
        assert [e[0] for s in play.shrink(base, 0, script) for e in s] == ["connect", "dream"]
    finally:
        del play.ACTIONS["dream"]
        play.clients.TIMEOUT = whole


def test_playing_leaves_no_files():
    """Not in the folder of temporary files, whatever the migration."""
    elsewhere = {k: v for k, v in os.environ.items() if k != "MUSTER_DATABASE"}
    with tempfile.TemporaryDirectory() as folder:  # with a short name: it has a socket
        for migration in "on", "off":
            done = subprocess.run(
                [sys.executable, play.__file__, "3", "--steps", "3", "--migration", migration],
                env={**elsewhere, "TMPDIR": folder}, capture_output=True, text=True)
            assert done.stdout == "1 passed, 0 failed\n", done.stdout + done.stderr
        assert os.listdir(folder) == []


def dream(player, device):
    device.give(player.world.message(device, device.account))
