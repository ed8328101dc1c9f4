"""What every task registry must do: one suite over the embedded one, files, and client and `serve`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

import pytest

from necrocode.engine.errors import EnvironmentFault, Transient
from necrocode.errors import NotFound
from necrocode.registry.embedded import EmbeddedRegistry
from necrocode.registry.files import FileRegistry
from necrocode.registry.records import TaskEvent, TaskRecord
from necrocode.registry.rest import TaskRegistryClient
from necrocode.states.ports import Artifact, TaskRegistry
from tests.necrocode.loopback import Response, serve
from tests.necrocode.serve.serving import listening, stores

AT = datetime(2026, 11, 22, 10, 30, 0, 250_000, tzinfo=UTC)


class Registry(TaskRegistry, Protocol):
    """The port and what both adapters add to it."""

    def get_task(self, task_id: str, spec_name: str | None = None) -> TaskRecord: ...

    def health_check(self) -> None: ...


class Behind(Registry, Protocol):
    """What can be looked into."""

    def list_events(self, task_id: str, spec_name: str) -> list[TaskEvent]: ...

    def list_artifacts(self, task_id: str, spec_name: str) -> list[Artifact]: ...


@dataclass
class Subject:
    """A registry to be tried, and the one behind it to look into."""

    registry: Registry
    behind: Behind


@pytest.fixture(params=["embedded", "files", "rest"])
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Subject]:
    if request.param == "files":
        files = FileRegistry(tmp_path / "registry")
        yield Subject(files, files)
        return
    with stores(tmp_path / "home") as services:
        embedded = EmbeddedRegistry(services.database)
        if request.param == "embedded":
            yield Subject(embedded, embedded)
            return
        with listening(services, parts=["registry"]) as url:
            client = TaskRegistryClient(url, "a-registry-token")
            yield Subject(client, embedded)
            client.close()


def set_status(
    registry: TaskRegistry, status: str, *, run: str = "run-1", epoch: int = 1, at: datetime = AT, key: str = ""
) -> None:
    registry.set_status(
        "1.1", "auth", status, metadata={"run_id": run}, at=at, key=key or f"{run}/{status}/{epoch}", epoch=epoch
    )


def test_a_status_is_kept(subject: Subject) -> None:
    subject.registry.set_status(
        "1/ä", "auth", "running", metadata={"run_id": "r", "n": [1, "ü"]}, at=AT, key="k", epoch=1
    )
    assert subject.registry.get_task("1/ä", "auth").status == "running"
    task = subject.behind.get_task("1/ä", "auth")
    assert (task.metadata, task.updated_at) == ({"run_id": "r", "n": [1, "ü"]}, AT)


def test_the_last_status_counts(subject: Subject) -> None:
    set_status(subject.registry, "running")
    set_status(subject.registry, "done", at=AT + timedelta(seconds=1))
    found = subject.registry.get_task("1.1", "auth")
    assert (found.task_id, found.spec_name, found.status) == ("1.1", "auth", "done")
    assert found.updated_at == AT + timedelta(seconds=1)


def test_a_status_counts_within_a_run_even_if_the_clock_went_back(subject: Subject) -> None:
    set_status(subject.registry, "running")
    set_status(subject.registry, "done", at=AT - timedelta(hours=1))
    assert subject.registry.get_task("1.1").status == "done"


def test_the_same_key_counts_once(subject: Subject) -> None:
    set_status(subject.registry, "running", key="first")
    set_status(subject.registry, "done", key="second")
    set_status(subject.registry, "running", key="first")
    assert subject.registry.get_task("1.1").status == "done"

    for _ in range(3):
        subject.registry.add_event(
            "1.1", "auth", "TaskCompleted", data={"run_id": "run-1"}, at=AT, key="event", epoch=1
        )
    assert [event.key for event in subject.behind.list_events("1.1", "auth")] == ["event"]

    artifact = Artifact("diff", "file:///x", 3, "ab" * 32, AT, {"run_id": "run-1"})
    for _ in range(3):
        subject.registry.add_artifact("1.1", "auth", artifact, key="artifact", epoch=1)
    assert subject.behind.list_artifacts("1.1", "auth") == [artifact]


def test_events_keep_their_order_data_and_time(subject: Subject) -> None:
    for number, kind in enumerate(("RunnerStarted", "TaskFailed")):
        subject.registry.add_event(
            "1.1", "auth", kind, data={"run_id": "r", "why": {"ß": None}}, at=AT, key=f"k{number}", epoch=number
        )
    started, failed = subject.behind.list_events("1.1", "auth")
    assert (started.event_type, failed.event_type) == ("RunnerStarted", "TaskFailed")
    assert (failed.data, failed.at, failed.epoch) == ({"run_id": "r", "why": {"ß": None}}, AT, 1)
    assert subject.behind.list_events("1.1", "other") == []


def test_an_older_epoch_of_the_run_is_refused(subject: Subject) -> None:
    set_status(subject.registry, "running", epoch=2)
    with pytest.raises(EnvironmentFault, match="newer epoch than 1") as caught:
        set_status(subject.registry, "failed", epoch=1)
    assert not isinstance(caught.value, Transient)
    assert caught.value.stop_reason == "superseded"
    with pytest.raises(EnvironmentFault, match="newer epoch"):
        subject.registry.add_event("1.1", "auth", "TaskFailed", data={"run_id": "run-1"}, at=AT, key="e", epoch=1)
    artifact = Artifact("diff", "file:///x", 3, "ab" * 32, AT, {"run_id": "run-1"})
    with pytest.raises(EnvironmentFault, match="newer epoch"):
        subject.registry.add_artifact("1.1", "auth", artifact, key="a", epoch=1)
    assert subject.registry.get_task("1.1").status == "running"
    assert subject.behind.list_events("1.1", "auth") == []
    assert subject.behind.list_artifacts("1.1", "auth") == []


def test_a_new_run_of_the_task_begins_at_its_own_first_epoch(subject: Subject) -> None:
    set_status(subject.registry, "failed", run="run-1", epoch=5)
    set_status(subject.registry, "running", run="run-2", epoch=1, at=AT + timedelta(minutes=1))
    assert subject.registry.get_task("1.1").status == "running"


def test_a_late_status_of_an_earlier_run_does_not_come_back(subject: Subject) -> None:
    set_status(subject.registry, "running", run="run-2", at=AT + timedelta(minutes=1))
    set_status(subject.registry, "failed", run="run-1")
    assert subject.registry.get_task("1.1").status == "running"


def test_a_run_that_ended_is_not_running_again_when_an_outbox_says_so_late(subject: Subject) -> None:
    set_status(subject.registry, "done", at=AT + timedelta(minutes=1), key="done")
    set_status(subject.registry, "running", key="running")
    assert subject.registry.get_task("1.1").status == "done"


def test_a_task_nobody_knows_is_not_found(subject: Subject) -> None:
    with pytest.raises(NotFound, match=r"no task '9\.9'"):
        subject.registry.get_task("9.9")


def test_tasks_of_equal_id_are_told_apart_by_spec(subject: Subject) -> None:
    for spec, status in (("auth", "done"), ("billing", "failed")):
        subject.registry.set_status("1", spec, status, metadata={}, at=AT, key=spec, epoch=1)
    assert subject.registry.get_task("1", "auth").status == "done"
    assert subject.registry.get_task("1", "billing").status == "failed"


def test_health_is_checked(subject: Subject) -> None:
    subject.registry.health_check()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"metadata": {}}, "status"),
        ({"status": 3}, "status"),
        ({"status": "done", "metadata": "x"}, "metadata"),
        ({"status": "done", "updated_at": "yesterday"}, "updated_at"),
        ({"status": "done", "updated_at": 1e300}, "updated_at"),
        ({"status": "done", "updated_at": True}, "updated_at"),
    ],
)
def test_a_foreign_registrys_answer_of_a_wrong_shape_names_the_field(body: object, field: str) -> None:
    with serve(lambda _: Response(body=body)) as server:
        client = TaskRegistryClient(server.url)
        with pytest.raises(EnvironmentFault, match=f"task registry: get the task: field '{field}'"):
            client.get_task("1")
        client.close()


def test_a_foreign_registrys_own_words_are_understood() -> None:
    body = {"id": "1", "state": "ready", "updated_at": "2026-11-22T10:30:00"}
    with serve(lambda _: Response(body=body)) as server:
        client = TaskRegistryClient(server.url)
        task = client.get_task("1")
        client.close()
    assert task == TaskRecord("1", None, "ready", {}, AT.replace(microsecond=0))
