"""The registry in files: what other tools wrote, damage, unblocking, claims and the event log."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from necrocode.engine.errors import EnvironmentFault, Transient
from necrocode.engine.identity import ProcessIdentity
from necrocode.errors import InvalidInput, NotFound
from necrocode.registry.files import FileRegistry
from necrocode.registry.records import Claim, TaskEvent
from necrocode.registry.taskset_file import TasksetDamaged, line_of
from necrocode.registry.tasksets import IllegalTransition, SetTask, TaskSet
from necrocode.states.ports import Artifact

AT = datetime(2026, 11, 22, 10, 30, tzinfo=UTC)

FOREIGN: dict[str, Any] = {
    "x_first": {"kept": [1, 2.5, None]},
    "spec_name": "auth",
    "version": 7,
    "created_at": "2025-01-01T00:00:00",
    "updated_at": "2025-01-02T00:00:00",
    "tasks": [
        {
            "x_color": "grün",
            "state": "ready",
            "id": "1",
            "title": "First",
            "description": "",
            "dependencies": [],
            "required_skill": "backend",
            "priority": 2,
            "is_optional": False,
            "assigned_slot": None,
            "reserved_branch": None,
            "runner_id": None,
            "artifacts": [{"type": "log", "uri": "file:///old", "size_bytes": 3, "x_tool": 1, "metadata": {}}],
            "metadata": {"x_estimate": "3d"},
            "created_at": 1735689600.5,
            "updated_at": 1735689600.5,
        },
        {"id": "2", "title": "Second", "state": "blocked", "dependencies": ["1"]},
        {"id": "3", "title": "Third", "state": "blocked", "dependencies": ["1", "2"]},
    ],
    "metadata": {"x_owner": "me"},
}


def taskset(root: Path, document: Any = FOREIGN, spec: str = "auth") -> Path:
    path = root / "tasksets" / spec / "taskset.json"
    path.parent.mkdir(parents=True)
    path.write_text(document if isinstance(document, str) else json.dumps(document, indent=1), encoding="utf-8")
    return path


def done(registry: FileRegistry, task_id: str, *, status: str = "done", run: str = "r", key: str = "") -> None:
    registry.set_status(
        task_id, "auth", status, metadata={"run_id": run}, at=AT, key=key or f"{run}/{status}/{task_id}", epoch=1
    )


def states(registry: FileRegistry, spec: str = "auth") -> dict[str, str]:
    return {task.id: task.state for task in registry.task_set(spec).tasks}


def edited(change: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(json.dumps(FOREIGN))
    change(document)
    return document


# --- what other tools wrote ---


def test_what_is_not_known_is_kept_at_every_level_and_in_its_place(tmp_path: Path) -> None:
    path = taskset(tmp_path)
    registry = FileRegistry(tmp_path)
    registry.add_artifact("1", "auth", Artifact("diff", "file:///d", 9, "ab" * 32, AT, {"n": 1}), key="a", epoch=1)
    done(registry, "1")
    now = json.loads(path.read_text(encoding="utf-8"))
    assert list(now) == list(FOREIGN)
    assert list(now["tasks"][0]) == list(FOREIGN["tasks"][0])
    assert now["x_first"] == FOREIGN["x_first"]
    assert now["metadata"]["x_owner"] == "me"
    assert now["tasks"][0]["x_color"] == "grün"
    assert now["tasks"][0]["metadata"]["x_estimate"] == "3d"
    assert now["tasks"][0]["artifacts"][0] == FOREIGN["tasks"][0]["artifacts"][0]
    assert now["tasks"][2] == FOREIGN["tasks"][2]
    assert (now["version"], now["created_at"]) == (9, FOREIGN["created_at"])
    assert now["tasks"][0]["updated_at"] == AT.timestamp(), "a time keeps the form that the file has"
    assert now["tasks"][0]["created_at"] == FOREIGN["tasks"][0]["created_at"]
    assert [each.uri for each in registry.list_artifacts("1", "auth")] == ["file:///old", "file:///d"]


def test_nothing_is_written_where_nothing_changes(tmp_path: Path) -> None:
    path = taskset(tmp_path)
    registry = FileRegistry(tmp_path)
    done(registry, "1")
    before = path.stat()
    done(registry, "1")
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == (before.st_mtime_ns, before.st_ino)


def test_a_new_task_has_every_field_of_the_format(tmp_path: Path) -> None:
    registry = FileRegistry(tmp_path)
    metadata = {"run_id": "r", "runner_id": "runner-1", "branch": "feature/x"}
    registry.set_status("1", "auth", "done", metadata=metadata, at=AT, key="k", epoch=1)
    (task,) = json.loads((tmp_path / "tasksets" / "auth" / "taskset.json").read_text())["tasks"]
    assert set(FOREIGN["tasks"][0]) - {"x_color"} == set(task)
    assert (task["runner_id"], task["reserved_branch"]) == ("runner-1", "feature/x")


def test_an_event_has_the_formats_fields_and_other_tools_events_are_read(tmp_path: Path) -> None:
    log = tmp_path / "events" / "auth" / "events.jsonl"
    log.parent.mkdir(parents=True)
    theirs = {"event_type": "TaskReady", "spec_name": "auth", "task_id": "1", "timestamp": 1735689600, "details": {}}
    log.write_text(json.dumps(theirs) + "\n")
    registry = FileRegistry(tmp_path)
    registry.add_event("1", "auth", "TaskCompleted", data={"run_id": "r", "n": 1}, at=AT, key="k", epoch=3)
    assert registry.list_events("1", "auth") == [
        TaskEvent("", "TaskReady", {}, 0, datetime(2025, 1, 1, tzinfo=UTC)),
        TaskEvent("k", "TaskCompleted", {"run_id": "r", "n": 1}, 3, AT),
    ]
    ours = json.loads(log.read_text().splitlines()[1])
    assert list(ours) == ["event_type", "spec_name", "task_id", "timestamp", "details"]
    assert (ours["timestamp"], ours["details"]["n"]) == (AT.isoformat(), 1)


@pytest.mark.parametrize("spec", ["../../up", "..", ".", ".hidden", "a/b", "50%", "größe 1"])
def test_no_spec_leads_out_of_the_folder(tmp_path: Path, spec: str) -> None:
    root = tmp_path / "a" / "b"
    registry = FileRegistry(root)
    registry.set_status("1", spec, "done", metadata={}, at=AT, key="k", epoch=1)
    registry.add_event("1", spec, "TaskCompleted", data={}, at=AT, key="e", epoch=1)
    assert registry.specs() == [spec]
    assert registry.get_task("1").spec_name == spec
    assert [path.parent.parent.name for path in tmp_path.rglob("*.jsonl")] == ["events"]
    assert {path.name for path in tmp_path.iterdir()} == {"a"}


# --- damage ---


def broken_state(document: dict[str, Any]) -> None:
    document["tasks"][1]["state"] = "blokced"


def twice(document: dict[str, Any]) -> None:
    document["tasks"][2]["id"] = "1"


def unknown(document: dict[str, Any]) -> None:
    document["tasks"][1]["dependencies"] = ["9"]


def circle(document: dict[str, Any]) -> None:
    document["tasks"][0]["dependencies"] = ["3"]


def no_id(document: dict[str, Any]) -> None:
    del document["tasks"][1]["id"]


def tasks_by_id(document: dict[str, Any]) -> None:
    document["tasks"] = {"1": {}}


def odd_types(document: dict[str, Any]) -> None:
    document["tasks"][0] |= {"priority": "high", "is_optional": "no", "artifacts": [{"type": "log"}]}


def odd_metadata(document: dict[str, Any]) -> None:
    document["tasks"][0]["metadata"]["necrocode"] = "mine"


@pytest.mark.parametrize(
    ("change", "line", "words"),
    [
        (broken_state, 45, r"tasks\[1\].state: must be one of .*, not \"blokced\"; did you mean 'blocked'"),
        (twice, 51, r"tasks\[2\].id: '1' is the id of tasks\[0\] already"),
        (unknown, 46, r"tasks\[1\].dependencies: '9' is no task of this set"),
        (circle, 20, r"tasks\[0\].dependencies: go round in a circle: 1 → 3 → 1"),
        (no_id, 42, r"tasks\[1\].id: must be text that is not empty"),
        (tasks_by_id, 13, "tasks: must be a list"),
        (
            odd_types,
            22,
            r"tasks\[0\].priority: must be a number; line 23: tasks\[0\].is_optional: .*artifacts\[0\].uri",
        ),
        (odd_metadata, 36, r"tasks\[0\].metadata: must have an object as 'necrocode'"),
    ],
)
def test_a_hand_edited_task_set_is_one_error_with_file_line_and_field(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], line: int, words: str
) -> None:
    text = json.dumps(edited(change), indent=1)
    path = taskset(tmp_path, text)
    registry = FileRegistry(tmp_path)
    for call in (lambda: done(registry, "1"), lambda: registry.task_set("auth"), registry.health_check):
        with pytest.raises(TasksetDamaged, match=rf"auth/taskset\.json, line {line}: {words}"):
            call()
    with pytest.raises(TasksetDamaged):
        registry.add_event("1", "auth", "TaskFailed", data={}, at=AT, key="k", epoch=1)
    assert path.read_text(encoding="utf-8") == text
    assert registry.list_events("1", "auth") == []


@pytest.mark.parametrize("cut", [0, 1, 50, 400, -2])
def test_a_truncated_task_set_is_one_error_and_not_written_over(tmp_path: Path, cut: int) -> None:
    text = json.dumps(FOREIGN, indent=1)[:cut]
    path = taskset(tmp_path, text)
    with pytest.raises(TasksetDamaged, match=r"auth/taskset.json is (not JSON: .*line \d+|empty).*nothing was written"):
        done(FileRegistry(tmp_path), "1")
    assert path.read_text(encoding="utf-8") == text


@pytest.mark.parametrize("text", ["[]", '"x"', "null", '{"tasks": [], "tasks": []}'])
def test_json_that_is_no_task_set_is_refused(tmp_path: Path, text: str) -> None:
    taskset(tmp_path, text)
    with pytest.raises(TasksetDamaged, match=r"auth/taskset.json.*(must be a JSON object|twice)"):
        done(FileRegistry(tmp_path), "1")


def test_a_line_is_found_behind_nested_values() -> None:
    text = '{"a": [{"b": "}]\\""}, [1,\n {"c": 2}]],\n "tasks":\n [ 1,\n {"x": {}, "state"\n: 3}]}'
    assert line_of(text, "tasks[1].state") == 6
    assert line_of(text, "tasks[1].title") == 5
    assert line_of(text, "") == 1


def test_a_folder_that_cannot_be_written_is_an_error_of_the_environment(tmp_path: Path) -> None:
    (tmp_path / "locks").write_text("a file in the way")
    with pytest.raises(EnvironmentFault, match=r"the task registry in .* cannot be used") as caught:
        done(FileRegistry(tmp_path), "1")
    assert caught.value.stop_reason == "registry_unusable"


# --- what follows from a task that is done ---


def test_a_task_that_is_done_makes_those_it_blocked_ready(tmp_path: Path) -> None:
    taskset(tmp_path)
    registry = FileRegistry(tmp_path)
    done(registry, "1", status="running")
    assert states(registry) == {"1": "running", "2": "blocked", "3": "blocked"}
    done(registry, "1")
    assert states(registry) == {"1": "done", "2": "ready", "3": "blocked"}
    done(registry, "2", status="failed")
    assert states(registry) == {"1": "done", "2": "failed", "3": "blocked"}
    done(registry, "2", run="another")
    assert states(registry) == {"1": "done", "2": "done", "3": "ready"}


def test_who_wants_to_know_hears_what_became_done_and_again_when_the_report_is_repeated(tmp_path: Path) -> None:
    heard: list[list[str]] = []

    def hear(tasks: Sequence[SetTask]) -> None:
        heard.append([task.id for task in tasks])

    registry = FileRegistry(tmp_path, on_done=hear)
    group = SetTask("1", "One", dependencies=("1.1",), metadata={"is_group": True}, is_group=True)
    registry.merge(TaskSet("auth", (group, SetTask("1.1", "One one"), SetTask("2", "Two", dependencies=("1",)))))
    done(registry, "1.1", status="running")
    done(registry, "1.1")
    assert states(registry) == {"1": "done", "1.1": "done", "2": "ready"}
    done(registry, "1.1")
    assert heard == [[], ["1", "1.1"], ["1", "1.1"]]


# --- task sets that come in ---


def test_a_set_that_comes_again_keeps_the_states_and_what_vanished(tmp_path: Path) -> None:
    registry = FileRegistry(tmp_path)
    first = (SetTask("1", "One"), SetTask("2", "Two", dependencies=("1",)), SetTask("3", "Three"), SetTask("4", "Four"))
    registry.merge(TaskSet("auth", first, {"repo_url": "x"}))
    assert states(registry) == {"1": "ready", "2": "blocked", "3": "ready", "4": "ready"}
    done(registry, "1")
    done(registry, "3", status="running")
    again = (
        SetTask("1", "One!"),
        SetTask("1.5", "New", dependencies=("1",)),
        SetTask("2", "Two", dependencies=("1.5",)),
        SetTask("4", "Four", state="done"),
    )
    assert len(registry.merge(TaskSet("auth", again)).tasks) == 5
    assert states(registry) == {"1": "done", "2": "blocked", "3": "running", "4": "done", "1.5": "ready"}
    now = registry.task_set("auth")
    assert (now.tasks[0].title, now.metadata["repo_url"]) == ("One!", "x")


def test_a_set_with_a_circle_is_refused_and_nothing_written(tmp_path: Path) -> None:
    registry = FileRegistry(tmp_path)
    tasks = (SetTask("1", "One", dependencies=("2",)), SetTask("2", "Two", dependencies=("1",)))
    with pytest.raises(InvalidInput, match="go round in a circle: 1 → 2 → 1"):
        registry.merge(TaskSet("auth", tasks))
    assert registry.specs() == []
    with pytest.raises(NotFound, match="no task set 'auth'"):
        registry.task_set("auth")


def test_a_move_by_hand_is_checked(tmp_path: Path) -> None:
    taskset(tmp_path)
    registry = FileRegistry(tmp_path)
    with pytest.raises(IllegalTransition, match="'2' is blocked until '1' is done"):
        registry.move("auth", "2", "failed")
    with pytest.raises(NotFound, match="no task '9'"):
        registry.move("auth", "9", "ready")
    registry.move("auth", "1", "failed")
    registry.move("auth", "1", "done")
    assert states(registry) == {"1": "done", "2": "ready", "3": "blocked"}


# --- claims ---


def dead() -> ProcessIdentity:
    here = ProcessIdentity.current()
    return ProcessIdentity(here.pid, here.start_time + 1, here.boot_id, here.pid_namespace, here.host)


def test_a_claimed_task_is_nobody_elses_until_its_claim_is_taken_over(tmp_path: Path) -> None:
    taskset(tmp_path)
    registry = FileRegistry(tmp_path)
    mine, theirs = Claim("here", dead(), AT), Claim("there", ProcessIdentity.current(), AT + timedelta(hours=1))
    assert not registry.claim("auth", "2", mine), "it is blocked"
    assert registry.claim("auth", "1", mine)
    assert not registry.claim("auth", "1", theirs)
    assert states(registry)["1"] == "running"
    assert registry.claim_of(registry.task_set("auth").tasks[0]) == mine
    assert not registry.claim("auth", "1", theirs, before=theirs)
    assert registry.claim("auth", "1", theirs, before=mine)
    assert not registry.claim("auth", "1", mine, before=mine)
    now = registry.claim_of(registry.task_set("auth").tasks[0])
    assert now == replace(theirs, at=AT), "it is still the same taking of the task"
    done(registry, "1", status="failed")
    assert registry.claim_of(registry.task_set("auth").tasks[0]) is None


@dataclass(frozen=True)
class SlowIdentity(ProcessIdentity):
    """A holder that is asked who it is in the middle of a claim, and takes its time."""

    asked: threading.Event = field(default_factory=threading.Event)
    answer: threading.Event = field(default_factory=threading.Event)

    def to_json(self) -> dict[str, Any]:
        self.asked.set()
        assert self.answer.wait(60)
        return ProcessIdentity.current().to_json()


def test_nobody_gets_between_the_look_at_a_task_and_its_claim(tmp_path: Path) -> None:
    taskset(tmp_path)
    here = ProcessIdentity.current()
    slow = SlowIdentity(here.pid, here.start_time, here.boot_id, here.pid_namespace, here.host)
    results: list[bool] = []
    first = threading.Thread(
        target=lambda: results.append(FileRegistry(tmp_path).claim("auth", "1", Claim("one", slow, AT)))
    )
    first.start()
    assert slow.asked.wait(60)
    second = FileRegistry(tmp_path, lock_timeout=timedelta(milliseconds=100))
    with pytest.raises(Transient, match="was not free"):
        second.claim("auth", "1", Claim("two", here, AT))
    slow.answer.set()
    first.join()
    assert results == [True]
    assert not second.claim("auth", "1", Claim("two", here, AT))


TAKER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from necrocode.engine.identity import ProcessIdentity
from necrocode.registry.files import FileRegistry
from necrocode.registry.records import Claim
registry = FileRegistry(Path(sys.argv[1]))
print("up", flush=True)
sys.stdin.readline()
mine = Claim(sys.argv[2], ProcessIdentity.current(), datetime.now(UTC))
print(*[task.id for task in registry.task_set("s").tasks if registry.claim("s", task.id, mine)])
"""


def test_of_several_processes_no_two_take_the_same_task(tmp_path: Path) -> None:
    registry = FileRegistry(tmp_path)
    registry.merge(TaskSet("s", tuple(SetTask(str(n), "T") for n in range(12))))
    takers = [
        subprocess.Popen(
            [sys.executable, "-c", TAKER, str(tmp_path), str(n)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for n in range(3)
    ]
    for taker in takers:
        assert taker.stdout is not None
        assert taker.stdout.readline() == "up\n"
    for taker in takers:
        assert taker.stdin is not None
        taker.stdin.write("go\n")
        taker.stdin.flush()
    taken = [task for taker in takers for task in taker.communicate(timeout=120)[0].split()]
    assert sorted(taken, key=int) == [str(n) for n in range(12)]


# --- the event log ---


def report(registry: FileRegistry, number: int) -> None:
    registry.add_event(
        "1", "auth", "TaskFailed", data={"run_id": "r", "pad": "x" * 50}, at=AT, key=f"k{number}", epoch=1
    )


def test_the_log_is_rotated_and_what_was_rotated_away_still_counts(tmp_path: Path) -> None:
    registry = FileRegistry(tmp_path, rotate_bytes=600)
    for number in range(9):
        report(registry, number)
    names = sorted(path.name for path in (tmp_path / "events" / "auth").iterdir())
    assert names == ["events.1.jsonl", "events.2.jsonl", "events.jsonl"] or len(names) > 3
    assert all(path.stat().st_size <= 600 for path in (tmp_path / "events" / "auth").iterdir())
    for number in range(9):
        report(registry, number)
    assert [event.key for event in registry.list_events("1", "auth")] == [f"k{number}" for number in range(9)]


def test_a_line_torn_by_a_death_harms_no_other_and_its_event_can_come_again(tmp_path: Path) -> None:
    registry = FileRegistry(tmp_path)
    report(registry, 1)
    report(registry, 2)
    log = tmp_path / "events" / "auth" / "events.jsonl"
    log.write_bytes(log.read_bytes()[:-40])
    torn = log.read_bytes()
    report(registry, 2)
    report(registry, 3)
    assert [event.key for event in registry.list_events("1", "auth")] == ["k1", "k2", "k3"]
    assert log.read_bytes().startswith(torn + b"\n"), "nothing is taken away"


HAMMER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from necrocode.registry.files import FileRegistry
registry = FileRegistry(Path(sys.argv[1]), rotate_bytes=1500)
facts = {"run_id": "r"}
for n in range(int(sys.argv[2]), 1000):
    at = datetime.now(UTC)
    registry.add_event("1", "s", "TaskFailed", data=facts, at=at, key=f"e{n}", epoch=1)
    registry.set_status(str(n), "s", "done", metadata=facts, at=at, key=f"s{n}", epoch=1)
    print(n, flush=True)
"""


def test_what_was_acknowledged_outlives_a_kill_at_any_moment(tmp_path: Path) -> None:
    acknowledged = -1
    for wait in range(1, 5):
        process = subprocess.Popen(
            [sys.executable, "-c", HAMMER, str(tmp_path), str(acknowledged + 1)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(3 * wait)]
        process.kill()
        said += process.communicate()[0].splitlines()
        acknowledged = int(said[-1])
    registry = FileRegistry(tmp_path)
    keys = [event.key for event in registry.list_events("1", "s")]
    # the one after the last that was acknowledged may be there, too; each is there once
    assert keys[: acknowledged + 1] == [f"e{n}" for n in range(acknowledged + 1)]
    assert len(keys) <= acknowledged + 2
    found = states(registry, "s")
    assert {found[str(n)] for n in range(acknowledged + 1)} == {"done"}
    assert len(list((tmp_path / "events" / "s").iterdir())) > 2


def test_the_newest_of_equal_ids_is_found_without_a_spec(tmp_path: Path) -> None:
    registry = FileRegistry(tmp_path)
    for spec, later in (("a", 2), ("b", 3), ("c", 1)):
        at = AT + timedelta(days=later)
        registry.set_status("1", spec, "done", metadata={}, at=at, key=spec, epoch=1)
    assert registry.get_task("1").spec_name == "b"
