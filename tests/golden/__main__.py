"""Records golden runs: ``python -m tests.golden NAME…`` (or ``all``). What is there stays as it is."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from pathlib import Path

from necrocode.engine.identity import ProcessIdentity
from necrocode.scripted.server import ScriptedServer
from tests.crash import processes
from tests.e2e.stage import KEY, PATIENCE, script
from tests.golden.archive import pack
from tests.golden.machine import HOST
from tests.golden.stage import RECORDED, WRONG_KEY, GoldenStage, golden_stage
from tests.golden.stories import STORIES, Story


def main() -> int:
    """Record each that is named."""
    wanted = sys.argv[1:]
    names = [story.name for story in STORIES]
    if not wanted or not set(wanted) <= {*names, "all"}:
        sys.stderr.write(f"name one of {', '.join(names)}, or all\n")
        return 2
    for story in STORIES:
        if (RECORDED / story.name).exists():
            sys.stderr.write(f"{story.name} is there already, and stays as it is\n")
        elif story.name in wanted or "all" in wanted:
            record(story)
            sys.stderr.write(f"{story.name} is recorded\n")
    return 0


def record(story: Story) -> None:
    """Play it with the real command, and keep everything."""
    with golden_stage(story.env) as stage, ScriptedServer(script(*story.answers, key=KEY)) as server:
        stage.make_remote()
        stage.use(server)
        _play(story, stage, stage.task(**story.task))
        assert stage.only_run.state == story.state, (story.name, stage.only_run)
        stage.note.unlink(missing_ok=True)
        here = re.escape(ProcessIdentity.current().host)
        foreign = {
            rf'(\\*"host\\*": ?\\*"){here}(\\*")': rf"\g<1>{HOST}\g<2>",
            re.escape(sys.prefix): "/usr",
            re.escape(sys.base_prefix): "/usr",
        }
        folder = RECORDED / story.name
        pack(stage.root, folder, foreign)
        told = {"answers": story.answers, "state": story.state, "ends": story.ends, "env": story.env}
        (folder / "story.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def _play(story: Story, stage: GoldenStage, task: Path) -> None:
    if story.until in ("end", "parked"):
        stage.necrocode("run", task, **({"LLM_API_KEY": WRONG_KEY} if story.until == "parked" else {}))
    elif story.until == "nap":
        _kill_in_a_command(stage, task)
    else:
        died = stage.start_until(story.at, "run", task)
        assert died.wait(PATIENCE) == -signal.SIGKILL, story.name
    if story.until == "cancel":
        stage.necrocode("cancel", stage.only_run.run_id)


def _kill_in_a_command(stage: GoldenStage, task: Path) -> None:
    """Its supervisor lives on, and leaves the command's result."""
    process = stage.start_mortal(None, "run", task)
    naps = "nap=1"
    stage.wait_until(lambda: any(naps in each.line for each in processes.commands([r.run_id for r in stage.runs()])))
    os.kill(process.pid, signal.SIGKILL)
    process.wait(PATIENCE)
    assert not processes.gone(lambda: processes.commands([stage.only_run.run_id]), PATIENCE)


if __name__ == "__main__":
    sys.exit(main())
