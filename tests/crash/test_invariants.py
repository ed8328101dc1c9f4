"""The invariants find what they are there to find: a whole run's scene, damaged in one way after the other."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import pytest

from necrocode.demo.stage import git
from tests.crash import invariants, stores
from tests.crash.invariants import violations
from tests.crash.nursery import nursery
from tests.crash.plans import Death, Plan
from tests.crash.scenarios import FAILED, SLEEPY
from tests.crash.scene import Scene
from tests.crash.trial import staged

#: Damages the scene; what it yields is looked at.
Damage: TypeAlias = Callable[[Scene], Iterator[Scene]]

BRANCH = "feature/task-greeting-1"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A run that was killed in the middle of a command and resumed."""
    plan = Plan(SLEEPY, (Death("nap", 0.1),), sandbox="off")
    with staged(plan, tmp_path_factory.mktemp("sound"), nursery().start) as trial:
        trial.play()
        assert trial.killed
        yield replace(trial.scene(), patience_seconds=0.3)


def test_a_sound_scene_has_no_violation(sound: Scene) -> None:
    assert violations(sound) == []


def sql(database: str, *statements: str) -> Damage:
    """Statements that somebody runs on a database; it is put back afterwards."""

    def damage(scene: Scene) -> Iterator[Scene]:
        with kept(scene.stage.home / database) as file, closing(sqlite3.connect(file)) as connection:
            for statement in statements:
                connection.execute(statement.replace("$RUN", scene.runs[0].run_id))
            connection.commit()
            yield replace(scene)

    return damage


@contextmanager
def kept(file: Path) -> Iterator[Path]:
    """A database that is as it was in the end."""
    copy = file.with_name(f"{file.name}.kept")
    with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    try:
        yield file
    finally:
        for leftover in (f"{file.name}-wal", f"{file.name}-shm"):
            file.with_name(leftover).unlink(missing_ok=True)
        copy.replace(file)


def a_process_left(scene: Scene) -> Iterator[Scene]:
    process = subprocess.Popen(["sleep", "60"], env={**os.environ, "NECROCODE_RUN_ID": scene.runs[0].run_id})
    try:
        yield replace(scene)
    finally:
        process.kill()
        process.wait()


def a_runner_left(scene: Scene) -> Iterator[Scene]:
    process = subprocess.Popen(["sleep", "60"], env={**os.environ, "NECROCODE_HOME": str(scene.stage.home)})
    try:
        yield replace(scene)
    finally:
        process.kill()
        process.wait()


def a_command_folder_left(scene: Scene) -> Iterator[Scene]:
    folder = scene.stage.home / "commands" / "left"
    folder.mkdir()
    yield replace(scene)
    folder.rmdir()


def a_half_made_store(scene: Scene) -> Iterator[Scene]:
    folder = scene.stage.home / "repos" / "cache.git.new"
    folder.mkdir()
    yield replace(scene)
    folder.rmdir()


def a_branch_written_again(scene: Scene) -> Iterator[Scene]:
    log = scene.stage.remote / "logs" / "refs" / "heads" / BRANCH
    before = log.read_bytes()
    commit = scene.stage.branches()[BRANCH]
    git(scene.stage.remote, "update-ref", f"refs/heads/{BRANCH}", "refs/heads/main")
    git(scene.stage.remote, "update-ref", f"refs/heads/{BRANCH}", commit)
    yield replace(scene)
    log.write_bytes(before)


def another_branch(scene: Scene) -> Iterator[Scene]:
    git(scene.stage.remote, "update-ref", "refs/heads/feature/task-greeting-1-2", "refs/heads/main")
    yield replace(scene)
    git(scene.stage.remote, "update-ref", "-d", "refs/heads/feature/task-greeting-1-2")


def a_lost_object(scene: Scene) -> Iterator[Scene]:
    (store,) = (scene.stage.home / "repos").glob("*/snapshots.git")
    lost = max((path for path in store.glob("objects/??/*")), key=lambda path: path.stat().st_mtime)
    away = lost.rename(scene.stage.root / "away")
    yield replace(scene)
    away.rename(lost)


def a_changed_artifact(scene: Scene) -> Iterator[Scene]:
    file = Path(scene.runs[0].data["artifacts"][0]["uri"].removeprefix("file://"))
    before, mode = file.read_bytes(), file.stat().st_mode
    file.chmod(0o600)
    file.write_bytes(before + b"x")
    yield replace(scene)
    file.write_bytes(before)
    file.chmod(mode)


def an_answer_bought_again(scene: Scene) -> Iterator[Scene]:
    yield replace(scene, requests=[*scene.requests, scene.requests[-1]])


def another_conversation(scene: Scene) -> Iterator[Scene]:
    first = scene.requests[0]
    changed = replace(
        first, body={**first.body, "messages": [*first.body["messages"], {"role": "user", "content": ""}]}
    )
    yield replace(scene, requests=[changed, *scene.requests])


def a_command_started_again(scene: Scene) -> Iterator[Scene]:
    yield from _ledger(scene, lambda text: text + text)


def an_unknown_command(scene: Scene) -> Iterator[Scene]:
    yield from _ledger(scene, lambda text: text + "somebody-elses\n")


def a_command_never_started(scene: Scene) -> Iterator[Scene]:
    yield from _ledger(scene, lambda _: "")


def _ledger(scene: Scene, change: Callable[[str], str]) -> Iterator[Scene]:
    assert scene.ledger is not None
    copy = scene.stage.root / "ledger-copy"
    copy.write_text(change(scene.ledger.read_text(encoding="utf-8")), encoding="utf-8")
    yield replace(scene, ledger=copy)


def a_line_lost(scene: Scene) -> Iterator[Scene]:
    yield replace(scene, scenario=replace(scene.scenario, lines={"notes.txt": ("once", "once")}))


def a_file_too_many(scene: Scene) -> Iterator[Scene]:
    yield replace(scene, scenario=replace(scene.scenario, files={**scene.scenario.files, "more.txt": "x"}))


def another_end(scene: Scene) -> Iterator[Scene]:
    yield replace(scene, scenario=FAILED)


def a_file_of_the_users_lost(scene: Scene) -> Iterator[Scene]:
    folder = scene.stage.root / "checkout"
    folder.mkdir()
    (folder / "new.txt").touch()
    yield replace(scene, scenario=replace(scene.scenario, own_folder=True), folder_before={"mine.txt": b"mine"})
    shutil.rmtree(folder)


DAMAGES: dict[str, tuple[Damage, Callable[[Scene], Iterator[str]]]] = {
    "an entry changed": (
        sql(
            "journal.db",
            "DROP TRIGGER entries_no_update",
            "UPDATE entries SET payload = replace(payload, 'greet', 'grunt') WHERE kind = 'outcome'",
        ),
        invariants.journal_is_whole,
    ),
    "an undeclared transition": (
        sql(
            "journal.db",
            "DROP TRIGGER entries_no_update",
            "UPDATE entries SET name = 'pushed' WHERE kind = 'transition' AND name = 'passed'",
        ),
        invariants.transitions_are_declared,
    ),
    "another target": (
        sql(
            "journal.db",
            "DROP TRIGGER entries_no_update",
            "UPDATE entries SET state = 'uploading' WHERE kind = 'transition' AND name = 'committed'",
        ),
        invariants.transitions_are_declared,
    ),
    "an entry after the end": (
        sql(
            "journal.db",
            "INSERT INTO entries SELECT run_id, seq + 1, 'warning', state, 'late', '', epoch, at, '{}', hash, 'x' "
            "FROM entries WHERE kind = 'closed'",
        ),
        invariants.runs_end_once,
    ),
    "another projection": (
        sql("journal.db", "UPDATE runs SET stop_reason = 'x'"),
        invariants.projection_can_be_rebuilt,
    ),
    "a lease held": (sql("journal.db", "UPDATE leases SET held = 1"), invariants.nobody_holds_a_lease),
    "another end": (another_end, invariants.runs_end_once),
    "a slot lent": (
        sql("services.db", "UPDATE slots SET status = 'lent', run_id = '$RUN'"),
        invariants.slots_are_given_back_once,
    ),
    "a loan without end": (
        sql("services.db", "UPDATE loans SET ended_at = NULL"),
        invariants.slots_are_given_back_once,
    ),
    "a loan too many": (
        sql(
            "services.db",
            "INSERT INTO loans "
            "SELECT slot_id, 2, 'another key', run_id, ended_at, ended_at, ended_at, ended_by, NULL FROM loans",
        ),
        invariants.slots_are_given_back_once,
    ),
    "a slot for the doctor": (
        sql("services.db", "UPDATE slots SET status = 'lent', run_id = '$RUN', holder = NULL, updated_at = 0"),
        invariants.doctor_has_nothing_to_do,
    ),
    "a process left": (a_process_left, invariants.nothing_runs_on),
    "a runner left": (a_runner_left, invariants.nothing_runs_on),
    "a command's folder left": (a_command_folder_left, invariants.nothing_runs_on),
    "a store half made": (a_half_made_store, invariants.nothing_is_left_half_made),
    "a branch written again": (a_branch_written_again, stores.branches_are_written_once),
    "another branch": (another_branch, stores.branches_are_written_once),
    "a line lost": (a_line_lost, stores.branches_are_written_once),
    "a file too many": (a_file_too_many, stores.branches_are_written_once),
    "a lost object": (a_lost_object, stores.stores_are_sound),
    "a second end reported": (
        sql(
            "services.db",
            "INSERT INTO task_events (idempotency_key, spec_name, task_id, event_type, data, epoch, at) "
            "SELECT 'another', spec_name, task_id, 'TaskFailed', data, epoch, at FROM task_events "
            "WHERE event_type = 'TaskCompleted'",
        ),
        invariants.registry_was_told_once,
    ),
    "no end reported": (
        sql("services.db", "DELETE FROM task_events WHERE event_type = 'TaskCompleted'"),
        invariants.registry_was_told_once,
    ),
    "a head of no journal": (
        sql("services.db", "UPDATE task_events SET data = json_set(data, '$.journal_head', 'x') WHERE id = 2"),
        invariants.registry_was_told_once,
    ),
    "a changed artifact": (a_changed_artifact, invariants.artifacts_are_kept),
    "an artifact not reported": (
        sql("services.db", "DELETE FROM task_artifacts WHERE type = 'log'"),
        invariants.artifacts_are_kept,
    ),
    "an answer bought again": (an_answer_bought_again, invariants.answers_are_bought_once),
    "another conversation": (another_conversation, invariants.answers_are_bought_once),
    "a command started again": (a_command_started_again, invariants.commands_ran_once),
    "an unknown command": (an_unknown_command, invariants.commands_ran_once),
    "a command never started": (a_command_never_started, invariants.commands_ran_once),
    "a file of the user's lost": (a_file_of_the_users_lost, invariants.own_folder_is_as_before),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_found(sound: Scene, name: str) -> None:
    damage, check = DAMAGES[name]
    damaging = contextmanager(damage)
    with damaging(sound) as scene:
        assert list(check(scene))
