"""The registry's features, over HTTP as a plain client sees them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.necrocode.serve.serving import listening, stores


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[httpx.Client]:
    with (
        stores(tmp_path / "home") as services,
        listening(services, parts=["registry"]) as url,
        httpx.Client(base_url=url) as client,
    ):
        yield client


def task(name: str, *dependencies: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "title": f"Task {name}", "dependencies": list(dependencies), **more}


def put_set(registry: httpx.Client, *tasks: dict[str, Any], **headers: str) -> httpx.Response:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return registry.put("/tasksets/auth", json={"tasks": list(tasks)}, headers=names)


def states(registry: httpx.Client) -> dict[str, str]:
    return {each["task_id"]: each["status"] for each in registry.get("/tasks?spec_name=auth").json()["tasks"]}


def set_status(registry: httpx.Client, name: str, status: str, **headers: str) -> httpx.Response:
    body = {"status": status, "metadata": {"spec_name": "auth"}}
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return registry.put(f"/tasks/{name}/status", json=body, headers=names)


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def test_tasks_are_ready_or_blocked_by_what_they_depend_on_and_unblocked_by_its_end(registry: httpx.Client) -> None:
    assert put_set(registry, task("1"), task("2", "1"), task("3", "1", "2")).status_code == 200
    assert states(registry) == {"1": "ready", "2": "blocked", "3": "blocked"}
    assert set_status(registry, "1", "running").status_code == 204
    assert set_status(registry, "1", "done").status_code == 204
    assert states(registry) == {"1": "done", "2": "ready", "3": "blocked"}
    set_status(registry, "2", "running")
    set_status(registry, "2", "failed")
    assert states(registry)["3"] == "blocked"
    set_status(registry, "2", "running")
    set_status(registry, "2", "done")
    assert states(registry)["3"] == "ready"
    events = registry.get("/tasks/3/events").json()["events"]
    assert [event["event_type"] for event in events] == ["TaskReady"]


def test_a_task_that_is_to_be_done_again_blocks_those_that_wait_for_it(registry: httpx.Client) -> None:
    put_set(registry, task("1"), task("2", "1"))
    for status in ("running", "done", "ready"):
        assert set_status(registry, "1", status).status_code == 204
    assert states(registry) == {"1": "ready", "2": "blocked"}


@pytest.mark.parametrize(
    ("before", "to"), [((), "blocked"), (("running", "done"), "failed"), (("running", "failed"), "blocked")]
)
def test_a_state_that_cannot_follow_is_refused(registry: httpx.Client, before: tuple[str, ...], to: str) -> None:
    put_set(registry, task("1"))
    for status in before:
        set_status(registry, "1", status)
    was = states(registry)
    assert code(set_status(registry, "1", to)) == (409, "illegal_transition")
    assert states(registry) == was


def test_a_blocked_task_cannot_begin_and_the_answer_names_what_it_waits_for(registry: httpx.Client) -> None:
    put_set(registry, task("1"), task("2", "1"))
    refused = set_status(registry, "2", "running")
    assert code(refused) == (409, "illegal_transition")
    assert "blocked until '1' is done" in refused.json()["error"]["message"]


def test_a_cycle_is_refused_by_name_and_nothing_is_kept(registry: httpx.Client) -> None:
    refused = put_set(registry, task("a", "b"), task("b", "c"), task("c", "a"), task("d"))
    assert code(refused) == (409, "invalid_task_set")
    assert "a → b → c → a" in refused.json()["error"]["message"]
    assert registry.get("/tasksets/auth").status_code == 404
    assert states(registry) == {}


def test_everything_that_is_wrong_with_a_set_is_named(registry: httpx.Client) -> None:
    refused = put_set(registry, task("a", "nobody"), task("a"), task("self", "self"))
    message = refused.json()["error"]["message"]
    for words in ("'nobody' is no task", "'a' is the id of tasks[0] already"):
        assert words in message


def test_every_change_of_a_set_is_a_version_and_old_ones_can_be_read(registry: httpx.Client) -> None:
    first = put_set(registry, task("1", acceptance_criteria=["kept"]))
    assert (first.json()["version"], first.headers["etag"]) == (1, '"1"')
    assert put_set(registry, task("1", acceptance_criteria=["kept"])).json()["version"] == 1
    assert put_set(registry, task("1"), task("2", "1")).json()["version"] == 2
    old = registry.get("/tasksets/auth?version=1").json()
    assert [each["acceptance_criteria"] for each in old["tasks"]] == [["kept"]]
    assert registry.get("/tasksets/auth").json()["version"] == 2
    assert registry.get("/tasksets/auth?version=3").status_code == 404
    assert [each["spec_name"] for each in registry.get("/tasksets").json()["tasksets"]] == ["auth"]


def test_what_runs_or_has_ended_keeps_its_state_when_the_set_changes(registry: httpx.Client) -> None:
    put_set(registry, task("1"), task("2"), task("3"), task("4"))
    set_status(registry, "1", "running")
    set_status(registry, "1", "done")
    set_status(registry, "2", "running")
    put_set(registry, task("5"), task("2", "5"), task("3"), task("4", "5"))
    assert states(registry) == {"1": "done", "2": "running", "3": "ready", "4": "blocked", "5": "ready"}
    assert registry.get("/tasks/1").json()["definition"] is None


def test_a_set_is_changed_only_from_the_version_that_was_read(registry: httpx.Client) -> None:
    assert put_set(registry, task("1"), If_Match="0").status_code == 200
    assert code(put_set(registry, task("2"), If_Match="0")) == (409, "version_conflict")
    assert put_set(registry, task("2"), If_Match='"1"').json()["version"] == 2
    assert code(put_set(registry, task("3"), If_Match='"1"')) == (409, "version_conflict")


def test_a_task_is_changed_only_from_the_version_that_was_read(registry: httpx.Client) -> None:
    put_set(registry, task("1"))
    tag = registry.get("/tasks/1").headers["etag"]
    assert set_status(registry, "1", "running", If_Match=tag).status_code == 204
    assert code(set_status(registry, "1", "failed", If_Match=tag)) == (409, "version_conflict")
    assert states(registry) == {"1": "running"}


def test_a_key_gives_the_version_it_gave_before_whatever_came_since(registry: httpx.Client) -> None:
    first = put_set(registry, task("1"), Idempotency_Key="k1")
    put_set(registry, task("2"))
    again = put_set(registry, task("1"), Idempotency_Key="k1")
    assert again.json() == first.json()
    assert registry.get("/tasksets/auth").json()["version"] == 2
    assert code(put_set(registry, task("9"), Idempotency_Key="k1")) == (409, "key_reused")


def test_lists_come_in_pages_in_the_order_of_the_set(registry: httpx.Client) -> None:
    names = [str(number) for number in range(11, 0, -1)]
    put_set(registry, *(task(name) for name in names))
    found: list[str] = []
    after: str | None = None
    while True:
        query = {"limit": "4", "spec_name": "auth"} | ({"after": after} if after else {})
        page = registry.get("/tasks", params=query).json()
        assert len(page["tasks"]) <= 4
        found += [each["task_id"] for each in page["tasks"]]
        after = page["next"]
        if after is None:
            break
    assert found == names
    assert registry.get("/tasks?after=nonsense").status_code == 404
    set_status(registry, "7", "running")
    running = registry.get("/tasks?spec_name=auth&status=running").json()
    assert [each["task_id"] for each in running["tasks"]] == ["7"]


def test_history_is_found_by_task_type_and_time(registry: httpx.Client) -> None:
    for name, kind, at in (("1", "RunnerStarted", 100.5), ("2", "RunnerStarted", 200), ("1", "TaskCompleted", 300)):
        registry.post(f"/tasks/{name}/events", json={"event_type": kind, "data": {"n": at}, "timestamp": at})

    def times(query: str) -> list[float]:
        return [event["timestamp"] for event in registry.get(query).json()["events"]]

    assert times("/events") == [100.5, 200, 300]
    assert times("/events?since=100.5&until=300") == [100.5, 200]
    assert times("/tasks/1/events") == [100.5, 300]
    assert times("/tasks/1/events?event_type=TaskCompleted") == [300]
    page = registry.get("/events?limit=2").json()
    assert times(f"/events?after={page['next']}") == [300]


def test_a_plain_client_needs_neither_key_nor_epoch_nor_set(registry: httpx.Client) -> None:
    assert registry.put("/tasks/77/status", json={"status": "running"}).status_code == 204
    assert registry.post("/tasks/77/events", json={"event_type": "RunnerStarted", "data": {}}).status_code == 204
    artifact = {"type": "diff", "uri": "https://x.example/y", "size_bytes": 3}
    assert registry.post("/tasks/77/artifacts", json=artifact).status_code == 204
    assert registry.put("/tasks/77/status", json={"status": "done"}).status_code == 204
    assert registry.get("/tasks/77").json()["status"] == "done"
    assert [each["uri"] for each in registry.get("/tasks/77/artifacts").json()["artifacts"]] == ["https://x.example/y"]


@pytest.mark.parametrize(
    ("call", "body", "other"),
    [
        ("status", {"status": "running"}, {"status": "done"}),
        ("events", {"event_type": "A", "data": {"x": 1}}, {"event_type": "A", "data": {"x": 2}}),
        ("artifacts", {"type": "t", "uri": "u", "size_bytes": 1}, {"type": "t", "uri": "u", "size_bytes": 2}),
    ],
)
def test_a_key_counts_once_and_never_for_another_body(
    registry: httpx.Client, call: str, body: dict[str, Any], other: dict[str, Any]
) -> None:
    method = "PUT" if call == "status" else "POST"

    def send(task_id: str, json: dict[str, Any]) -> httpx.Response:
        return registry.request(method, f"/tasks/{task_id}/{call}", json=json, headers={"Idempotency-Key": "k"})

    assert [send("1", body).status_code for _ in range(3)] == [204, 204, 204]
    assert code(send("1", other)) == (409, "key_reused")
    assert code(send("2", body)) == (409, "key_reused")
    if call != "status":
        registry.put("/tasks/1/status", json={"status": "running"})
        assert len(registry.get(f"/tasks/1/{call}").json()[call]) == 1


def test_an_epoch_that_is_older_than_one_seen_is_refused(registry: httpx.Client) -> None:
    body = {"status": "running", "metadata": {"run_id": "r"}}
    assert registry.put("/tasks/1/status", json=body, headers={"X-Necrocode-Epoch": "2"}).status_code == 204
    stale = registry.put("/tasks/1/status", json={**body, "status": "failed"}, headers={"X-Necrocode-Epoch": "1"})
    assert code(stale) == (409, "superseded")
    assert registry.get("/tasks/1").json()["status"] == "running"


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"[]",
        b'{"status": "resting"}',
        b'{"status": "running", "metadata": {"x": NaN}}',
        b'{"status": "running", "metadata": {"x": "\\ud800"}}',
        b'{"status": "running", "updated_at": 1e300}',
        b'{"status": "running", "metadata": ' + b'{"x":' * 2000 + b"1" + b"}" * 2000 + b"}",
    ],
)
def test_a_body_that_cannot_be_kept_is_refused_in_the_one_form(registry: httpx.Client, content: bytes) -> None:
    refused = registry.put("/tasks/1/status", content=content, headers={"Content-Type": "application/json"})
    assert refused.status_code in (400, 422)
    assert set(refused.json()) == {"error"} and set(refused.json()["error"]) == {"code", "message"}
    assert registry.get("/tasks/1").status_code == 404
