"""What must hold of a simulated world after any deaths (DESIGN.md §4). Each check yields what is wrong."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from necrocode.engine.entry import Entry
from necrocode.engine.ids import idempotency_key
from necrocode.engine.journal import Journal
from necrocode.engine.runs import RunRecord
from necrocode.engine.testing import broken_promises
from necrocode.states.lifecycle import LIFECYCLE
from necrocode.states.partial import PREFIX
from tests.crash.simulation.scenarios import BRANCH, PARTIAL, Scenario
from tests.crash.simulation.world import Receive, World

TERMINAL_EVENTS = {"completed": "TaskCompleted", "failed": "TaskFailed", "cancelled": "TaskFailed"}


@dataclass
class Effect:
    """One effect as the journal tells it."""

    name: str
    key: str
    idempotency_key: str
    outcome: Any = None
    settled: bool = False
    failed: int = 0
    #: Claims of the run while it was open: each follows a death, a parking or a take-over.
    claims: int = 0


@dataclass(frozen=True)
class Aftermath:
    """A world and a journal after everything."""

    world: World
    scenario: Scenario
    #: Whether somebody asked for a cancel.
    cancelled: bool
    #: Whether the run was parked at some time.
    parked: bool
    journal: Journal
    run: RunRecord
    entries: list[tuple[Entry, dict[str, Any]]]
    effects: list[Effect]

    def named(self, *prefixes: str) -> list[Effect]:
        """The effects whose names start so."""
        return [effect for effect in self.effects if effect.name.startswith(prefixes)]

    @property
    def receives(self) -> list[Receive]:
        """What the remote received, partial work aside."""
        return [receive for receive in self.world.receives if not receive.branch.startswith(PREFIX)]

    @property
    def may_lose_commands(self) -> bool:
        """Whether supervisors were killed, or the slot was lost or given back under a command."""
        return self.world.fate == "lost" or self.scenario.stolen or self.parked

    @property
    def lost_commands(self) -> int:
        """Commands that were recorded as interrupted."""
        return sum(
            (effect.outcome or {}).get("status") == "interrupted" for effect in self.named("tool.bash", "command.")
        )


def violations(
    world: World, scenario: Scenario, journal: Journal, *, cancelled: bool, parked: bool, ends_anyhow: bool = False
) -> list[str]:
    """Everything that does not hold; with ``ends_anyhow`` whatever the run's end is."""
    runs = journal.runs()
    if len(runs) != 1:
        return [f"runs: there are {len(runs)} of one task"]
    run = runs[0]
    entries = [(entry, journal.payload(entry)) for entry in journal.entries(run.run_id)]
    after = Aftermath(world, scenario, cancelled, parked, journal, run, entries, _effects(entries))
    found = []
    for invariant in INVARIANTS:
        if ends_anyhow and invariant is it_ends_as_it_must:
            continue
        try:
            found += [f"{invariant.__name__}: {words}" for words in invariant(after)]
        except Exception as error:  # noqa: BLE001 - a check that cannot be made is a finding
            found.append(f"{invariant.__name__}: could not be checked: {type(error).__name__}: {error}")
    return found


def the_journal_keeps_its_promises(after: Aftermath) -> Iterator[str]:
    """Every transition declared and its guard held, one end and nothing after it, chain and projection whole."""
    yield from broken_promises(after.journal, {LIFECYCLE.name: LIFECYCLE})


def it_ends_as_it_must(after: Aftermath) -> Iterator[str]:
    """The run ended once, as the scenario says; a stop that came after the point of no return does nothing."""
    run, wanted = after.run, {after.scenario.ends}
    if after.scenario.stops:
        wanted.add(("completed", None)) if after.run.data.get("pushed") else None
        if after.scenario.cancel_dead and not after.cancelled:
            wanted = {("completed", None)}
    if after.lost_commands:
        # The model is told, and what a lost command should have written may be missing.
        wanted |= {("failed", "command_lost"), ("failed", "tests_failed")}
    if (run.state, run.stop_reason) not in wanted:
        yield f"ended as {run.state} ({run.stop_reason}: {run.data.get('error')}), not as {sorted(map(str, wanted))}"


def slots_are_given_back_once(after: Aftermath) -> Iterator[str]:
    """Every loan of the run ended, once; no slot that was lent to somebody else was touched."""
    for loan in after.world.loans:
        # What a process borrows for a run that ended while it was paused, the pool takes back by itself.
        if loan.ended_by is None and not loan.late:
            yield f"{loan.slot_id} is still lent to {loan.run_id}"
    ours = [loan for loan in after.world.loans if loan.run_id == after.run.run_id and not loan.late]
    # A tenure that was called back is lent once more if the run goes on after all, or if a death cut the call-back off.
    called_back = after.named("slot.call_back")
    again = sum(effect.claims + bool((effect.outcome or {}).get("slot_id")) for effect in called_back)
    for key, times in Counter(loan.key for loan in ours).items():
        stolen = sum(loan.key == key and loan.ended_by == "stolen" for loan in after.world.loans)
        if times > 1 + again + stolen:
            yield f"{times} loans have the key {key}"
    yield from after.world.trespasses


def the_branch_is_written_once(after: Aftermath) -> Iterator[str]:
    """A completed run's commit was received once, on the recorded base; nothing of somebody else's was overwritten."""
    world, data = after.world, after.run.data
    wanted = after.run.state == "completed" and data.get("push", True)
    ours = {effect.outcome["commit"] for effect in after.named("git.commit") if effect.outcome}
    written = after.receives
    if bool(wanted) != (len(written) == 1) or len(written) > 1:
        yield f"ended as {after.run.state}, and the remote received {written}"
    for receive in written:
        if receive.new not in ours:
            yield f"{receive.new} was pushed, recorded are {ours}"
        if receive.old is not None and receive.old != data.get("remote_old"):
            yield f"{receive.old} was overwritten"
    if wanted and written:
        commit = world.commits[written[0].new]
        if (commit.parent, commit.tree) != (data["base_commit"], data["commit_tree"]):
            yield f"the commit is {commit}, recorded are {data['base_commit']} and {data['commit_tree']}"
        if written[0].branch != data["branch"]:
            yield f"{written[0].branch} was written, recorded is {data['branch']}"
    if world.theirs is not None and world.branches[BRANCH] != world.theirs:
        yield "somebody else's branch was written"


def partial_work_is_pushed_once(after: Aftermath) -> Iterator[str]:
    """The last that the coder of an unsuccessful run did was received once, beside whatever was there; else nothing."""
    world, data = after.world, after.run.data
    written = [receive for receive in world.receives if receive.branch.startswith(PREFIX)]
    last = None
    for entry, payload in after.entries:
        if (entry.kind, entry.state) == ("outcome", "implementing") and isinstance(payload.get("result"), dict):
            last = payload["result"].get("snapshot") or last
    wanted = after.scenario.settings.get("push_partial_work") and after.run.state != "completed"
    if not wanted or last is None or last == data["start_tree"]:
        if written or "partial_branch" in data:
            yield f"ended as {after.run.state}, and the remote received {written}"
        return
    before = after.scenario.partial_before
    branch = f"{PARTIAL}-2" if before == "theirs" else PARTIAL
    if [(receive.branch, receive.new) for receive in written] != [(branch, data.get("partial_commit"))]:
        yield f"{data.get('partial_commit')} is recorded for {branch}, and the remote received {written}"
        return
    commit = world.commits[written[0].new]
    if (commit.parent, commit.tree) != (data["base_commit"], last):
        yield f"the commit is {commit}, the base {data['base_commit']}, the coder's last tree {last}"
    if (written[0].old is not None) != (before == "ours") or data["partial_branch"] != branch:
        yield f"{data['partial_branch']} is recorded, and the remote received {written}"
    told = [facts.get("partial_branch") for kind, facts in world.events.values() if kind == "TaskFailed"]
    if told != [branch]:
        yield f"{branch} was pushed, reported was {told}"


def the_commit_has_the_work(after: Aftermath) -> Iterator[str]:
    """The committed files are what the tools did, each once, and what was lost is not there by half."""
    if "commit_tree" not in after.run.data:
        return
    files = after.world.trees[after.run.data["commit_tree"]]
    for name, content in after.scenario.files.items():
        if files.get(name) != content.encode():
            yield f"{name} is {files.get(name)!r}"
    done = [effect.outcome for effect in after.named("tool.bash") if effect.outcome]
    told = " ".join(outcome["content"] for outcome in done if outcome["status"] == "exited")
    expected = [line for line in after.scenario.lines if f"wrote {line}-end" in told]
    if files.get("notes.txt", b"").decode().split() != [word for line in expected for word in (line, f"{line}-end")]:
        yield f"notes.txt is {files.get('notes.txt')!r}, the model was told of {expected}"
    if not after.lost_commands and len(expected) != len(after.scenario.lines) and not after.scenario.stops:
        yield f"the model was told of {expected} only"
    if set(files) - {*after.world.repository, "made.txt"}:
        yield f"the commit has files that nobody wrote: {sorted(files)}"


def the_registry_was_told_once(after: Aftermath) -> Iterator[str]:
    """One start, one end, the end that the run had, and no failure after a push."""
    kinds = [kind for kind, _ in after.world.events.values()]
    ends = [kind for kind in kinds if kind != "RunnerStarted"]
    if ends != [TERMINAL_EVENTS[after.run.state]]:
        yield f"ended as {after.run.state}, reported {ends}"
    if after.receives and "TaskFailed" in ends:
        yield "a failure was reported after a push"
    if kinds.count("RunnerStarted") > 1 or ("runner_id" in after.run.data and "RunnerStarted" not in kinds):
        yield f"the start was reported {kinds.count('RunnerStarted')} times"
    hashes = {entry.hash for entry, _ in after.entries}
    for kind, data in after.world.events.values():
        if kind != "RunnerStarted" and data["journal_head"] not in hashes:
            yield f"{kind} names a journal head that is not in the journal"
    wanted = "done" if after.run.state == "completed" else "failed"
    if after.world.status != wanted:
        yield f"ended as {after.run.state}, the task's status is {after.world.status}"


def nothing_old_is_reported(after: Aftermath) -> Iterator[str]:
    """No report was taken from a process whose successor had reported already."""
    if after.world.epochs != sorted(after.world.epochs):
        yield f"reports were taken in the order of the epochs {after.world.epochs}"


def artifacts_are_kept(after: Aftermath) -> Iterator[str]:
    """Every artifact that the run names is there, and was reported once."""
    there = {artifact.uri for artifact, _ in after.world.artifacts.values()}
    reported = Counter(artifact.uri for artifact in after.world.reported.values())
    for artifact in after.run.data.get("artifacts", []):
        if artifact["uri"] not in there:
            yield f"{artifact['uri']} is not there"
        if reported[artifact["uri"]] != 1:
            yield f"{artifact['uri']} was reported {reported[artifact['uri']]} times"


def answers_are_bought_once(after: Aftermath) -> Iterator[str]:
    """Requests ≤ the recorded answer + failed attempts + claims while it was open; the same words each time."""
    asked: dict[int, list[str]] = defaultdict(list)
    for position, digest in after.world.asked:
        asked[position].append(digest)
    turns = after.named("llm.chat")
    for position, digests in asked.items():
        turn = turns[position] if position < len(turns) else None
        allowed = turn.settled + turn.failed + turn.claims if turn else 0
        # A run that was stopped while it asked has an intent alone.
        allowed += bool(turn and not turn.settled and after.run.stop_reason is not None)
        if len(digests) > allowed:
            yield f"answer {position} was asked for {len(digests)} times, allowed are {allowed}"
        if len(set(digests)) > 1:
            yield f"answer {position} was asked for with {len(set(digests))} different conversations"


def commands_ran_once(after: Aftermath) -> Iterator[str]:
    """No command was started twice; one that was started was adopted; one declared lost was never started."""
    for command_id, command in after.world.commands.items():
        if command.starts > 1:
            yield f"{command_id} ({command.line}) was started {command.starts} times"
        if command.state == "running":
            yield f"{command_id} ({command.line}) still runs"
    known = {effect.idempotency_key: effect for effect in after.named("tool.bash", "command.")}
    for command_id in after.world.commands.keys() - known.keys():
        yield f"{command_id} is no effect of the journal"
    for effect in known.values():
        done = after.world.commands.get(effect.idempotency_key)
        if effect.outcome is None:
            continue
        status, starts = effect.outcome["status"], done.starts if done else 0
        if status == "exited" and starts != 1:
            yield f"{effect.key} is recorded as ended, and was started {starts} times"
        if status == "interrupted" and starts and not after.may_lose_commands:
            yield f"{effect.key} is recorded as interrupted, and was started"


def snapshots_are_stored(after: Aftermath) -> Iterator[str]:
    """Every tree and commit that an outcome names is in the store."""
    for effect in after.effects:
        if isinstance(effect.outcome, dict):
            for name in ("snapshot", "tree", "base_tree"):
                tree = effect.outcome.get(name)
                if tree and tree not in after.world.trees:
                    yield f"{effect.name} names the tree {tree}, which is not there"


INVARIANTS: tuple[Callable[[Aftermath], Iterator[str]], ...] = (
    the_journal_keeps_its_promises,
    it_ends_as_it_must,
    slots_are_given_back_once,
    the_branch_is_written_once,
    partial_work_is_pushed_once,
    the_commit_has_the_work,
    the_registry_was_told_once,
    nothing_old_is_reported,
    artifacts_are_kept,
    answers_are_bought_once,
    commands_ran_once,
    snapshots_are_stored,
)


def _effects(entries: list[tuple[Entry, dict[str, Any]]]) -> list[Effect]:
    """Effects in the order of their intents; those of a recovery are numbered in a scope of their own."""
    found: dict[tuple[str, int], Effect] = {}
    for entry, payload in entries:
        if entry.kind == "lease" and entry.name == "claimed":
            for effect in found.values():
                effect.claims += not effect.settled
        if entry.kind not in ("intent", "outcome", "attempt") or "ordinal" not in payload:
            continue
        scope = str(payload["scope"]) if "scope" in payload else f"visit-{payload['visit']}"
        place = scope, int(payload["ordinal"])
        key = idempotency_key(entry.run_id, scope, place[1], entry.name, entry.key)
        effect = found.setdefault(place, Effect(entry.name, entry.key, key))
        if entry.kind == "outcome":
            effect.settled, effect.outcome = True, payload.get("result")
        effect.failed += entry.kind == "attempt"
    return list(found.values())
