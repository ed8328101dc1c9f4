"""Forgetting keys: only what nobody can send again goes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from necrocode.embedded.forgetting import forget
from necrocode.engine.errors import EnvironmentFault
from necrocode.engine.stop import StopToken
from necrocode.registry.definitions import TaskDefinition
from necrocode.registry.embedded import EmbeddedRegistry
from necrocode.registry.embedded_sets import EmbeddedTaskSets
from necrocode.serve.application import Services
from necrocode.states.ports import SlotAllocation
from tests.necrocode.serve.serving import stores

AT = datetime(2026, 11, 22, 10, 30, tzinfo=UTC)


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    with stores(tmp_path / "home", slots=1) as made:
        yield made


def report(registry: EmbeddedRegistry, run: str, status: str, *, epoch: int = 2) -> None:
    registry.set_status("1", "s", status, metadata={"run_id": run}, at=AT, key=f"{run}/{status}", epoch=epoch)


def lend(services: Services, run: str) -> SlotAllocation:
    return services.pool.allocate(
        "https://git.example/x.git", run_id=run, key=f"{run}/slot", timeout=timedelta(0), stop=StopToken()
    )


def test_other_runs_keys_and_fences_stay(services: Services) -> None:
    registry = EmbeddedRegistry(services.database)
    for run in ("gone", "parked"):
        report(registry, run, "running")
    assert forget(services.database, ["gone"], AT) == 2
    # sent again: known, although another epoch sends it
    report(registry, "parked", "running", epoch=3)
    with pytest.raises(EnvironmentFault, match="newer epoch than 1"):
        report(registry, "parked", "failed", epoch=1)
    assert forget(services.database, ["gone"], AT) == 0


def test_a_slots_generations_count_on(services: Services) -> None:
    for run in ("first", "second"):
        services.pool.release(lend(services, run), run_id=run, key=f"{run}/release")
    slot = services.pool.list_slots()[0].slot_id
    assert forget(services.database, ["first", "second"], AT) == 1
    assert [loan.generation for loan in services.pool.history(slot)] == [2]
    services.pool.remove_idle(timedelta(0))
    held = lend(services, "third")
    assert held.generation == 3
    forget(services.database, ["first", "second", "third"], AT)
    assert services.pool.holds(held, run_id="third"), "a loan that has not ended stays"


def test_a_task_sets_keys_go_a_while_after_it_was_replaced(services: Services) -> None:
    sets = EmbeddedTaskSets(services.database)
    first, second = ([TaskDefinition(id="1", title=title)] for title in ("one", "two"))
    sets.put("s", first, {}, key="a")
    sets.put("s", second, {}, key="b")
    assert forget(services.database, [], datetime.now(UTC) - timedelta(minutes=1)) == 0
    assert sets.put("s", first, {}, key="a").version == 1
    assert forget(services.database, [], datetime.now(UTC) + timedelta(minutes=1)) == 1
    assert sets.put("s", second, {}, key="b").version == 2, "it has not been replaced"


def test_many_runs_go_a_part_at_a_time(services: Services) -> None:
    registry = EmbeddedRegistry(services.database)
    for run in ("0", "501"):
        report(registry, run, "running")
    assert forget(services.database, [str(number) for number in range(502)], AT) == 4
