"""The lock of a task set: exclusive, waited for, and taken from the dead."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest

from necrocode.engine.errors import Transient
from necrocode.engine.identity import ProcessIdentity
from necrocode.registry.spec_lock import SpecLock

HOLDER = """
import sys
from pathlib import Path
from necrocode.registry.spec_lock import SpecLock
with SpecLock(Path(sys.argv[1])).held():
    print("held", flush=True)
    sys.stdin.readline()
"""

NOT_NOW = timedelta(milliseconds=100)


def start_holder(path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "locks" / "auth.lock"


def test_a_held_lock_is_waited_for_and_the_error_names_file_and_holder(path: Path) -> None:
    process = start_holder(path)
    words = rf"{path} was not free .* held by process {process.pid} on "
    with pytest.raises(Transient, match=words) as caught, SpecLock(path, timeout=NOT_NOW).held():
        pass
    assert caught.value.stop_reason == "registry_locked"
    process.communicate("go\n", timeout=60)
    with SpecLock(path, timeout=NOT_NOW).held():
        assert path.exists()
    assert [file.name for file in path.parent.iterdir()] == [".judging"]


def test_the_lock_of_a_killed_process_is_taken_at_once(path: Path) -> None:
    process = start_holder(path)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert path.exists()
    with SpecLock(path, timeout=NOT_NOW).held() as confirm:
        confirm()


def test_a_stopped_process_keeps_its_lock_however_old(path: Path) -> None:
    process = start_holder(path)
    process.send_signal(signal.SIGSTOP)
    os.utime(path, (0, 0))
    with pytest.raises(Transient), SpecLock(path, timeout=NOT_NOW).held():
        pass
    process.send_signal(signal.SIGCONT)
    process.communicate("go\n", timeout=60)


def elsewhere() -> str:
    here = ProcessIdentity.current().to_json()
    return json.dumps({"holder": {**here, "host": "elsewhere", "boot_id": "another"}, "token": "t"})


@pytest.mark.parametrize("content", [elsewhere(), "", "4711\n", '{"pid": 1}', "[1]", '{"holder": {"pid": "x"}}'])
def test_a_lock_that_cannot_be_judged_from_here_counts_until_it_is_old(path: Path, content: str) -> None:
    path.parent.mkdir()
    path.write_text(content)
    with pytest.raises(Transient, match="was not free"), SpecLock(path, timeout=NOT_NOW).held():
        pass
    assert path.read_text() == content
    old = time.time() - 301
    os.utime(path, (old, old))
    with SpecLock(path, timeout=NOT_NOW).held() as confirm:
        confirm()
    assert not path.exists()


def test_a_lock_that_was_taken_away_is_noticed_and_left_to_its_new_holder(path: Path) -> None:
    with pytest.raises(Transient, match="was taken away"), SpecLock(path).held() as confirm:
        path.write_text(elsewhere())
        confirm()
    assert path.read_text() == elsewhere()


def test_of_many_that_find_a_dead_ones_lock_one_at_a_time_has_it(path: Path) -> None:
    path.parent.mkdir()
    here = ProcessIdentity.current()
    gone = ProcessIdentity(here.pid, here.start_time + 1, here.boot_id, here.pid_namespace, here.host)
    path.write_text(json.dumps({"holder": gone.to_json(), "token": "t"}))
    inside, most, turns = 0, 0, 0

    def take() -> None:
        nonlocal inside, most, turns
        for _ in range(5):
            with SpecLock(path).held():
                inside += 1
                most = max(most, inside)
                turns += 1
                os.sched_yield()
                inside -= 1

    threads = [threading.Thread(target=take) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most, turns) == (1, 30)
