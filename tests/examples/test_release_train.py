"""The release train, killed as a real process wherever it is, arrives all the same."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from necrocode.engine import outbox
from necrocode.engine.audit import verify
from necrocode.engine.errors import NoTransition
from necrocode.engine.journal import Journal
from necrocode.engine.testing import broken_promises
from tests.examples.release_train import TRAIN, Yard, run

WAGONS = ["api", "web", "search", "mail"]


#: Calls the train and dies, by SIGKILL, with the line that it was told to die with.
MORTAL = """
import builtins, os, signal, sys
from tests.examples import release_train

left, said = int(sys.argv[1]), print

def say(*words, **how):
    global left
    said(*words, **how)
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

builtins.print = say
sys.exit(release_train.main(sys.argv[2:]))
"""


def start(tmp_path: Path, *python: str) -> subprocess.Popen[str]:
    (tmp_path / "yard").mkdir(exist_ok=True)
    command = [sys.executable, *python, f"{tmp_path}/journal.db", f"{tmp_path}/yard", *WAGONS]
    root = Path(__file__).parents[2]
    return subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def killed(tmp_path: Path, after: int) -> None:
    """Start it, and have it die when it has said so many lines."""
    process = start(tmp_path, "-c", MORTAL, str(after))
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (-signal.SIGKILL, "")
    assert len(out.splitlines()) == after


@pytest.mark.parametrize("after", [1, 4, 10, 13, 15, 17, 22])
def test_a_train_that_was_killed_anywhere_departs_with_each_wagon_shunted_once(tmp_path: Path, after: int) -> None:
    killed(tmp_path, after)
    assert departs(tmp_path).startswith("lease claimed")
    arrived(tmp_path, deaths=1)


def test_a_train_that_is_killed_again_and_again_departs(tmp_path: Path) -> None:
    chance, deaths = random.Random(3), 0
    for _ in range(4):
        killed(tmp_path, chance.randint(2, 6))
        deaths += 1
    departs(tmp_path)
    arrived(tmp_path, deaths)


def departs(tmp_path: Path) -> str:
    """Left alone, it departs; what it said."""
    process = start(tmp_path, "-m", "tests.examples.release_train")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    return out


def arrived(tmp_path: Path, deaths: int) -> None:
    yard = Yard(tmp_path / "yard")
    with Journal(tmp_path / "journal.db") as journal:
        (train,) = journal.runs()
        assert (train.state, train.data["standing"], train.epoch) == ("departed", WAGONS, deaths + 1)
        assert {wagon: yard.load_of(wagon) for wagon in WAGONS} == train.data["loads"]
        (announcement,) = outbox.waiting(journal)
        assert announcement.payload["train"] == WAGONS
        assert list(broken_promises(journal, {TRAIN.name: TRAIN})) == []


def test_a_train_with_a_wagon_that_does_not_exist_is_taken_apart(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.db") as journal:
        stabled = run(journal, Yard(tmp_path), ["api", "wagon-7"])
        assert (stabled.state, stabled.stop_reason) == ("stabled", "no_such_wagon")
        assert Yard(tmp_path).load_of("api") is None
        assert verify(journal, lifecycles={TRAIN.name: TRAIN}).ok


def test_a_wagon_that_was_swapped_in_the_yard_keeps_the_train_from_departing(tmp_path: Path) -> None:
    yard = Yard(tmp_path)

    class Meddler(Yard):
        def shunt(self, wagon: str, load: str) -> None:
            super().shunt(wagon, "coal" if wagon == "web" else load)

    with Journal(tmp_path / "journal.db") as journal:
        stabled = run(journal, Meddler(tmp_path), WAGONS)
        assert (stabled.state, stabled.stop_reason) == ("stabled", "wrong_load")
    assert all(yard.load_of(wagon) is None for wagon in WAGONS)


def test_a_train_is_not_complete_before_every_wagon_stands() -> None:
    with pytest.raises(NoTransition, match="every guard of 'shunted' from 'shunting' refuses"):
        TRAIN.choose("shunting", "shunted", {"wagons": WAGONS, "standing": WAGONS[:2]})
