"""The doctor: looks at the machine and at what runs have left behind, and mends what can be mended unasked."""

from __future__ import annotations

import platform
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from necrocode.commands.sandbox import unenforced
from necrocode.runner import Runner


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    subject: str
    words: str
    #: Nothing to do about it.
    fine: bool = True
    #: It was mended just now.
    mended: bool = False
    way_out: str = ""

    @property
    def mark(self) -> str:
        """A word for the left margin."""
        return "fixed" if self.mended else "ok" if self.fine else "TO DO"

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)


def examine(runner: Runner, *, fix: bool = False) -> list[Finding]:
    """Look at everything; with ``fix``, mend what needs no decision of a person."""
    return [
        *_machine(runner),
        *_runs(runner),
        *_outbox(runner, fix=fix),
        *_commands(runner, fix=fix),
        *_slots(runner, fix=fix),
        *_task_sets(runner),
        _journal(runner),
    ]


def _machine(runner: Runner) -> Iterator[Finding]:
    yield Finding("python", platform.python_version())
    git = shutil.which("git")
    if git is None:
        yield Finding("git", "not found", fine=False, way_out="install git")
    else:
        version = subprocess.run([git, "--version"], capture_output=True, text=True, check=False).stdout.strip()
        yield Finding("git", version.removeprefix("git version "))
    report = runner.sandbox_report()
    confined = report.kind != "none"
    way_out = {
        "bubblewrap": "",
        "landlock": "" if runner.config.sandbox == "landlock" else "bubblewrap is the better one: see the README",
        "none": "install bubblewrap: without a sandbox, commands run with your rights",
    }[report.kind]
    yield Finding(
        "sandbox",
        f"{report.kind}: {report.why}",
        fine=confined or runner.config.sandbox in ("auto", "off"),
        way_out=way_out,
    )
    hosts = runner.config.network
    if not isinstance(hosts, bool):
        problem = unenforced(report)
        words = f"commands reach {', '.join(hosts)} only"
        yield Finding(
            "network",
            f"a list of hosts, {problem}" if problem else words,
            fine=not problem,
            way_out="a sandbox, or network = true or false" if problem else "",
        )
    key = runner.credentials.llm_api_key
    variable = runner.config.llm_api_key_env_var
    yield Finding("LLM key", "set" if key else f"not set: {variable}", way_out="" if key else f"export {variable}=…")
    yield Finding("home", str(runner.home.root))


def _runs(runner: Runner) -> Iterator[Finding]:
    for orphan in runner.orphans():
        run = orphan.run
        if orphan.why == "unseen":
            yield Finding(
                f"run {run.run_id}",
                f"driven by {runner.journal.holder(run.run_id)}, which cannot be seen from here",
                way_out=f"if that is gone: necrocode resume {run.run_id} --take-over",
            )
            continue
        force = " --force" if orphan.why == "poison" else ""
        yield Finding(
            f"run {run.run_id}",
            f"{orphan.why} in {run.state}: {run.data.get('error') or run.stop_reason or 'its process is gone'}",
            fine=False,
            way_out=f"necrocode resume {run.run_id}{force}, or necrocode cancel {run.run_id}",
        )


def _outbox(runner: Runner, *, fix: bool) -> Iterator[Finding]:
    from necrocode.engine import outbox

    if fix:
        delivered, still = runner.deliver()
        if delivered:
            yield Finding("outbox", f"{delivered} delivered", mended=True)
    else:
        still = outbox.waiting(runner.journal)
    for parcel in still:
        yield Finding(
            f"outbox {parcel.item_id}",
            f"{parcel.call} for the {parcel.sink}, of run {parcel.run_id}: {parcel.last_error or 'not tried yet'}",
            fine=False,
            way_out="necrocode doctor --fix, once the service is back",
        )


def _commands(runner: Runner, *, fix: bool) -> Iterator[Finding]:
    from necrocode.commands.folder import clear_litter, litter

    with runner.commands() as commands:
        for run_id in filter(runner.is_over, commands.runs()):
            if fix:
                commands.reap(run_id)
            yield _leftover(f"commands of run {run_id}", "left behind by a run that has ended or parked", fixed=fix)
        for run_id in sorted(set(commands.strays().values())):
            if runner.is_over(run_id):
                continue
            words = "processes go on although what watched over them was killed"
            yield _leftover(f"commands of run {run_id}", words, fixed=fix)
        if fix:
            commands.kill_strays()
    left = litter(runner.home.commands)
    if left:
        if fix:
            clear_litter(runner.home.commands)
        names = ", ".join(path.name for path in left)
        yield _leftover("command files", f"left half made or half removed: {names}", fixed=fix)


def _slots(runner: Runner, *, fix: bool) -> Iterator[Finding]:
    with runner.pool() as pool:
        leaked = pool.leaked()
        mended = set(pool.reclaim_leaked()) if fix else set()
        lent = sum(slot.run_id is not None for slot in pool.list_slots())
    for leak in leaked:
        if not leak.run_is_over:
            # It belongs to a run that can be resumed, which is a finding of its own.
            continue
        words = f"still lent to run {leak.slot.run_id}, which has ended or parked"
        yield _leftover(f"slot {leak.slot.slot_id}", words, fixed=leak.slot.slot_id in mended)
    yield Finding("slots", f"{lent} lent")


def _leftover(subject: str, words: str, *, fixed: bool) -> Finding:
    return Finding(subject, words, fine=fixed, mended=fixed, way_out="" if fixed else "necrocode doctor --fix")


def _task_sets(runner: Runner) -> Iterator[Finding]:
    from necrocode.engine.errors import EnvironmentFault
    from necrocode.wiring import file_registry

    registry = file_registry(runner.config)
    try:
        specs = registry.specs()
        registry.health_check()
    except EnvironmentFault as error:
        yield Finding("task sets", str(error), fine=False, way_out="correct what it names")
    else:
        if specs:
            yield Finding("task sets", ", ".join(specs))


def _journal(runner: Runner) -> Finding:
    from necrocode.engine import audit
    from necrocode.states.lifecycle import LIFECYCLE

    report = audit.verify(runner.journal, lifecycles={LIFECYCLE.name: LIFECYCLE})
    words = f"{report.runs_checked} runs, {report.entries_checked} entries"
    if report.ok:
        return Finding("journal", f"{words}: nothing is wrong")
    return Finding("journal", f"{words}: {len(report.problems)} problems", fine=False, way_out="necrocode verify --all")
