"""prune: what ended long ago goes, and nothing else."""

from __future__ import annotations

from tests.crash.scene import rows_of
from tests.e2e.conftest import Play
from tests.e2e.stage import FINISH, SOLVE, Stage


def test_prune_removes_ended_runs_with_all_that_was_kept_and_verify_still_holds(stage: Stage, play: Play) -> None:
    play(*SOLVE)
    assert stage.necrocode("run", stage.task()).code == 0
    assert stage.necrocode("run", stage.task("b.json", task_id="b"), LLM_API_KEY="a-wrong-key-this-is").code == 3
    ended, parked = stage.runs()
    heads = stage.root / "heads.json"
    heads.write_text(stage.necrocode("verify", "--heads").out, encoding="utf-8")

    nothing = stage.necrocode("prune", "--json")
    assert nothing.code == 0, nothing.err
    assert nothing.json == {"runs": [], "slots": [], "artifacts": 0, "artifact_bytes": 0, "problems": []}

    would = stage.necrocode("prune", "--older-than", "0", "--slots-older-than", "0", "--dry-run", "--json")
    assert would.json["runs"] == [ended.run_id]
    assert would.json["artifacts"] == 3
    assert len(stage.runs()) == 2
    assert list((stage.home / "artifacts").rglob("*.*")) or any((stage.home / "artifacts").iterdir())

    assert {ended.run_id, parked.run_id} <= remembered(stage)

    gone = stage.necrocode("prune", "--older-than", "0", "--slots-older-than", "0", "--json")
    assert gone.code == 0, gone.err
    assert ended.run_id not in remembered(stage)
    assert parked.run_id in remembered(stage), "it may send again what it sent before"
    assert ("1", "TaskCompleted") in stage.events(), "what happened is no key"
    assert gone.json == would.json
    assert [run.run_id for run in stage.runs()] == [parked.run_id]
    assert not (stage.home / "logs" / f"{ended.run_id}.log").exists()
    assert not [path for path in (stage.home / "artifacts").rglob("*") if path.is_file() and len(path.name) > 50]
    assert not list(stage.home.glob("repos/*/slots/*/work/*"))
    assert stage.necrocode("verify", "--all", "--against", heads).code == 0

    # what was parked goes on, in a slot of its own
    assert stage.necrocode("resume", "--all").code == 0
    assert "feature/task-greeting-b" in stage.branches()
    assert stage.necrocode("doctor").code == 0


def remembered(stage: Stage) -> set[str]:
    """Runs that the embedded services would know a repeated or late request of."""
    query = "SELECT run_id FROM task_statuses UNION SELECT run_id FROM task_fences"
    return {row["run_id"] for row in rows_of(stage.home / "services.db", query)}


def test_prune_for_people_says_what_went(stage: Stage, play: Play) -> None:
    play(FINISH, FINISH)
    assert stage.necrocode("run", stage.task()).code == 1
    run = stage.only_run
    gone = stage.necrocode("prune", "--older-than", "0")
    assert gone.code == 0, gone.err
    assert f"run {run.run_id}: gone" in gone.out and "1 run, 0 slots" in gone.out
    assert stage.necrocode("runs").out == "no runs\n"
