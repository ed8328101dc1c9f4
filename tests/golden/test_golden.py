"""Runs that earlier releases made are verified, replayed, and gone on with to their end by this one."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from necrocode.config_sources import load_config
from necrocode.credentials import load_credentials
from necrocode.demo.stage import git
from necrocode.embedded.database import open_services
from necrocode.engine.audit import rebuild, verify
from necrocode.engine.context import Context
from necrocode.engine.driver import Driver, Outcome, Program
from necrocode.engine.errors import LifecycleError, NonDeterminismError
from necrocode.engine.journal import Journal
from necrocode.engine.lifecycle import Lifecycle, State, Transition
from necrocode.engine.testing import replay
from necrocode.exits import exit_code
from necrocode.home import Home
from necrocode.scripted.server import ScriptedServer
from necrocode.states.lifecycle import LIFECYCLE
from necrocode.states.ports import Ports
from necrocode.states.program import coding_program
from necrocode.wiring import wire
from tests.e2e.stage import BRANCH, KEY, script
from tests.golden.archive import unpack
from tests.golden.machine import HOST
from tests.golden.outside import refusing_ports
from tests.golden.stage import RECORDED, GoldenStage, golden_stage
from tests.golden.stories import STORIES

BASH = ("outcome", "tool.bash")
NAMES = sorted(folder.name for folder in RECORDED.iterdir())


def story(name: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((RECORDED / name / "story.json").read_text(encoding="utf-8"))
    return told


FINISHED = [name for name in NAMES if story(name)["state"] in LIFECYCLE.terminal]
UNFINISHED = [name for name in NAMES if name not in FINISHED]


@contextmanager
def recorded(name: str, root: Path) -> Iterator[tuple[Journal, str]]:
    """The journal as it was recorded, and its one run."""
    unpack(RECORDED / name, root)
    with Journal(root / "home" / "journal.db") as journal:
        (run,) = journal.runs()
        yield journal, run.run_id


# --- what is kept ---


def test_every_story_is_recorded() -> None:
    assert {each.name for each in STORIES} <= set(NAMES), "python -m tests.golden all records what is missing"


@pytest.mark.parametrize("name", NAMES)
def test_a_recording_is_small_text_that_names_no_machine(name: str) -> None:
    for file in (RECORDED / name).iterdir():
        text = file.read_text(encoding="utf-8")
        assert len(text) < 60_000, file.name
        assert set(re.findall(r'"host\\*": ?\\*"([^"\\]*)', text)) <= {HOST}


# --- what this release makes of it ---


@pytest.mark.parametrize("name", NAMES)
def test_a_recorded_journal_is_whole_and_its_projection_what_its_entries_say(name: str, tmp_path: Path) -> None:
    with recorded(name, tmp_path) as (journal, _):
        assert verify(journal, lifecycles={LIFECYCLE.name: LIFECYCLE}).problems == ()
        assert rebuild(journal) == 0


@pytest.mark.parametrize("name", NAMES)
def test_every_handler_does_again_what_is_recorded_without_touching_anything(name: str, tmp_path: Path) -> None:
    with recorded(name, tmp_path) as (journal, run_id):
        made = sum(entry.kind == "transition" for entry in journal.entries(run_id))
        visits = replay(journal, coding_program(refusing_ports(journal, run_id)), run_id)
        # A run that was cancelled while it was dead left its state before the handler was asked.
        assert visits == made - (name == "cancelled")


@pytest.mark.parametrize("name", UNFINISHED)
def test_an_unfinished_run_is_gone_on_with_to_its_end(name: str) -> None:
    told = story(name)
    with stage_of(name) as stage, ScriptedServer(script(*told["answers"], key=KEY)) as server:
        stage.use(server)
        before = stage.only_run
        assert (before.state, before.status) == (told["state"], "parked" if name == "parked" else "live")
        asked = [entry for entry, _ in stage.entries() if (entry.kind, entry.name) == ("outcome", "llm.chat")]

        resumed = stage.necrocode("resume", "--all")

        run = stage.only_run
        assert (run.state, run.status, run.run_id) == (told["ends"], "closed", before.run_id)
        assert resumed.code == exit_code(run)
        assert len(server.answered) == len(told["answers"]) - len(asked), "no answer is bought again"
        assert stage.branches().get(BRANCH) == run.data.get("commit")
        assert stage.events()[-1][1] == ("TaskCompleted" if run.state == "completed" else "TaskFailed")
        assert stage.lent_slots() == {}
        assert stage.necrocode("verify", "--all").code == 0
        stage.left_nothing()


def test_a_command_in_doubt_is_adopted_or_called_interrupted_and_never_run_again() -> None:
    name = "killed-in-implementing"
    with stage_of(name) as stage, ScriptedServer(script(*story(name)["answers"], key=KEY)) as server:
        stage.use(server)
        assert stage.necrocode("resume", "--all").code == 0
        (result,) = (payload["result"] for entry, payload in stage.entries() if (entry.kind, entry.name) == BASH)
        # What was left of it is believed only until the machine is started anew: since the recording, it mostly was.
        if result["status"] == "exited":
            assert result["content"] == "exit code 0\ndone"
            assert git(stage.remote, "show", f"{BRANCH}:notes.txt") == "once\n"
        else:
            assert result["status"] == "interrupted"
            assert "notes.txt" not in git(stage.remote, "ls-tree", "--name-only", BRANCH).split()


@contextmanager
def stage_of(name: str) -> Iterator[GoldenStage]:
    with golden_stage(story(name)["env"]) as stage:
        unpack(RECORDED / name, stage.root)
        yield stage


# --- what would strand an older run is found ---


def table(
    renamed: Mapping[str, str], *, version: int = LIFECYCLE.version, without: str = "", older: bool = False
) -> Lifecycle:
    """The lifecycle with some states called otherwise, or one taken out of it."""

    def now(state: str) -> str:
        return renamed.get(state, state)

    kept = [row for row in LIFECYCLE.transitions if without not in (row.source, row.target)]
    # Whatever led to the one that is gone leads past it.
    way_out = next((row.target for row in LIFECYCLE.transitions if row.source == without), "")
    past = [replace(row, target=way_out) for row in LIFECYCLE.transitions if row.target == without]
    return Lifecycle(
        name=LIFECYCLE.name,
        version=version,
        initial=LIFECYCLE.initial,
        states=[State(now(s.name), s.does, s.terminal) for s in LIFECYCLE.states.values() if s.name != without],
        transitions=[Transition(r.trigger, now(r.source), now(r.target), r.guard) for r in (*kept, *past)],
        guards=LIFECYCLE.guards,
        older={LIFECYCLE.version: renamed} if older else None,
    )


def program_of(lifecycle: Lifecycle, ports: Ports, renamed: Mapping[str, str] = {}) -> Program:
    whole = coding_program(ports)
    handlers = {renamed.get(state, state): handler for state, handler in whole.handlers.items()}
    kept = {state: handler for state, handler in handlers.items() if state in lifecycle.states}
    return Program(lifecycle, kept, recover=whole.recover, park=whole.park)


UPLOADING, PUSHING = {"uploading": "archiving"}, {"pushing": "publishing"}


def a_state_is_renamed_without_mapping(ports: Ports) -> Program:
    return program_of(table(UPLOADING), ports, UPLOADING)


def a_state_is_removed(ports: Ports) -> Program:
    return program_of(table({}, without="uploading"), ports)


def the_version_is_raised_without_older(ports: Ports) -> Program:
    return program_of(table({}, version=LIFECYCLE.version + 1), ports)


def an_effect_is_renamed(ports: Ports) -> Program:
    def handle(ctx: Context) -> Outcome:
        ctx.effect("git.publish", lambda _: {"commit": ctx.data["commit"]}, key=ctx.data["commit"])
        return Outcome("pushed", {"pushed": True})

    whole = coding_program(ports)
    return replace(whole, handlers={**whole.handlers, "pushing": handle})


def an_effect_is_added(ports: Ports) -> Program:
    whole = coding_program(ports)

    def handle(ctx: Context) -> Outcome:
        outcome = whole.handlers["pushing"](ctx)
        ctx.observe("weather", lambda: "fine")
        return outcome

    return replace(whole, handlers={**whole.handlers, "pushing": handle})


def an_effect_is_left_out(ports: Ports) -> Program:
    whole = coding_program(ports)
    return replace(whole, handlers={**whole.handlers, "pushing": lambda _: Outcome("pushed", {"pushed": True})})


def a_state_records_something_else(ports: Ports) -> Program:
    whole = coding_program(ports)

    def handle(ctx: Context) -> Outcome:
        return whole.handlers["pushing"](ctx)._replace(data={"pushed": "yes"})

    return replace(whole, handlers={**whole.handlers, "pushing": handle})


def a_transition_leads_elsewhere(ports: Ports) -> Program:
    rows = [replace(row, target="reporting") if row.trigger == "pushed" else row for row in LIFECYCLE.transitions]
    changed = Lifecycle(
        name=LIFECYCLE.name,
        version=LIFECYCLE.version,
        initial=LIFECYCLE.initial,
        states=LIFECYCLE.states.values(),
        transitions=rows,
        guards=LIFECYCLE.guards,
    )
    return program_of(changed, ports)


CHANGES: Mapping[Callable[[Ports], Program], str] = {
    a_state_is_renamed_without_mapping: "'uploading' that is no longer known",
    a_state_is_removed: "'uploading' that is no longer known",
    the_version_is_raised_without_older: "made by version 1",
    an_effect_is_renamed: "asks for 'git.publish'",
    an_effect_is_added: "asks for outcome 'weather'",
    an_effect_is_left_out: "ended without asking for it",
    a_state_records_something_else: "recorded to end with 'pushed'",
    a_transition_leads_elsewhere: "leads to 'reporting' now",
}


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@pytest.mark.parametrize("name", ["completed", "retried"])
def test_a_change_that_would_strand_a_recorded_run_is_found(
    change: Callable[[Ports], Program], name: str, tmp_path: Path
) -> None:
    found = pytest.raises((LifecycleError, NonDeterminismError), match=CHANGES[change])
    with recorded(name, tmp_path) as (journal, run_id), found:
        replay(journal, change(refusing_ports(journal, run_id)), run_id)


def test_a_killed_run_in_a_state_that_was_renamed_without_mapping_is_refused(tmp_path: Path) -> None:
    with recorded("killed-in-pushing", tmp_path) as (journal, run_id):
        program = program_of(table(PUSHING), refusing_ports(journal, run_id), PUSHING)
        with pytest.raises(LifecycleError, match="'pushing' that is no longer known"):
            Driver(journal, program, ttl=timedelta(0)).drive(run_id, take_over=True)


# --- and the declared mapping is the way to do it ---


@pytest.mark.parametrize(
    ("name", "renamed"),
    [("killed-in-pushing", PUSHING), ("killed-in-failing", {"failing": "winding_up"})],
)
def test_version_2_goes_on_with_a_run_of_version_1_whose_states_it_calls_otherwise(
    name: str, renamed: Mapping[str, str]
) -> None:
    second, told = table(renamed, version=2, older=True), story(name)
    with stage_of(name) as stage:
        loaded = load_config(environ=stage.env(), cwd=stage.root)
        credentials, _ = load_credentials(loaded.config, stage.env())
        home = Home(loaded.config.home).make()
        with Journal(home.journal) as journal, closing(open_services(home.root)) as services:
            (run,) = journal.runs()
            assert (run.version, run.state) == (1, told["state"])
            wired = wire(home, journal, services, loaded.config, credentials)
            with closing(wired):
                driver = Driver(journal, program_of(second, wired.ports, renamed), ttl=timedelta(0))
                # Here it is no machine called golden, so that its holder's death can't be told.
                run = driver.drive(run.run_id, take_over=True)
            assert (run.version, run.state) == (2, told["ends"])
            assert verify(journal, lifecycles={second.name: second}).problems == ()
            assert rebuild(journal) == 0
            replay(journal, program_of(second, refusing_ports(journal, run.run_id), renamed), run.run_id)
        assert stage.branches().get(BRANCH) == run.data.get("commit")
        assert stage.lent_slots() == {}
        stage.left_nothing()
