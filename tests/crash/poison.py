"""A run that kills whoever drives it: parked as poison, left alone by ``resume --all``, and done when forced."""

from __future__ import annotations

import json
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from necrocode.engine.driver import POISON_DEATHS
from tests.crash import processes
from tests.crash.invariants import Violation, violations
from tests.crash.nursery import Start, afresh
from tests.crash.plans import Death, Plan
from tests.crash.scenarios import SLEEPY
from tests.crash.trial import Result, Trial, staged

POISON = "poison"
"""How a trial of poison is called; the entry follows."""


def attempt_poison(entry: int, folder: Path | None = None, begin: Start = afresh) -> Result:
    """Kill a run at an entry, then everybody who claims it before anything new is recorded."""
    again = Death("after-entry", 1)
    plan = Plan(SLEEPY, (Death("after-entry", entry), *[again] * (POISON_DEATHS - 1)))
    root = Path(tempfile.mkdtemp(prefix="crash-", dir=folder))
    result, began = Result(plan), time.monotonic()
    with staged(plan, root, begin) as trial:
        result.violations += [Violation("poison_is_parked", words) for words in _poisoned(trial)]
        trial.stage.necrocode("resume", "--force", *trial.stage.run_ids)
        result.violations += violations(trial.scene())
        result.killed, result.said = trial.killed, trial.said
    result.seconds = time.monotonic() - began
    if result.violations:
        result.root = root
        processes.kill(processes.about(root))
    else:
        shutil.rmtree(root)
    return result


def _poisoned(trial: Trial) -> Iterator[str]:
    arguments: list[str | Path] = ["run", trial.task_file]
    for death in trial.plan.deaths:
        process = trial.stage.start_mortal(death, *arguments)
        code = trial.finish(process)
        if code != -signal.SIGKILL:
            yield f"{' '.join(map(str, arguments))} did not die: exit code {code}"
            return
        trial.killed.append({**json.loads(trial.stage.note.read_text(encoding="utf-8")), "kind": "poison"})
        arguments = ["resume", "--all"]
    parked = trial.stage.necrocode("resume", "--all")
    run = trial.stage.only_run
    if (parked.code, run.status, run.stop_reason) != (3, "parked", "poison"):
        yield f"after {len(trial.killed)} deaths: exit code {parked.code}, {run.status} ({run.stop_reason})"
    if trial.stage.lent_slots():
        yield f"parked, and it holds {trial.stage.lent_slots()}"
    looked = trial.stage.necrocode("doctor")
    if looked.code != 3 or f"TO DO run {run.run_id}: poison in" not in looked.out or "--force" not in looked.out:
        yield f"doctor does not show it: exit code {looked.code}, {looked.out}"
    left = trial.stage.necrocode("resume", "--all")
    after = trial.stage.only_run
    if left.code != 0 or after.head_seq != run.head_seq:
        yield f"resume --all touched it: exit code {left.code}, entry {after.head_seq} after {run.head_seq}"
    refused = trial.stage.necrocode("resume", run.run_id)
    if refused.code != 3 or trial.stage.only_run.head_seq != run.head_seq:
        yield f"resume without --force: exit code {refused.code}"
