"""What must hold of a stage after any deaths, checked from outside (DESIGN.md §4). Each check yields what is wrong."""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from fnmatch import fnmatch
from itertools import pairwise
from pathlib import Path

from necrocode.engine import audit
from necrocode.engine.errors import NoTransition
from necrocode.engine.journal import Journal
from necrocode.engine.runs import RunRecord, begin, follow
from necrocode.scripted.server import SeenRequest
from necrocode.states.lifecycle import LIFECYCLE
from tests.crash import processes, stores
from tests.crash.scene import Effect, Scene, rows_of

TERMINAL_EVENTS = {"completed": "TaskCompleted", "failed": "TaskFailed", "cancelled": "TaskFailed"}

#: How files and folders are called until they are complete, and on their way out. (Objects that git or libgit2 had
#: begun to write are git's own to tidy; the artifact store sweeps its drafts by age; those of a slot's state are
#: written over when the slot is next used.)
_DRAFTS = (
    "*.new",
    "*.lock",
    "*.tmp",
    "*.part",
    ".request-*",
    ".trash-*",
    ".probe*",
    ".necrocode-*",
    ".~necrocode-*",
)

_FIXED_DRAFTS = (".probe", "cache.git.new", "snapshots.git.new", "*.new.lock")

_RAN = re.compile(r"ran (\d+) time\(s\)")


@dataclass(frozen=True)
class Violation:
    """One thing that does not hold."""

    invariant: str
    words: str


def violations(scene: Scene) -> list[Violation]:
    """Everything that does not hold."""
    found = []
    for invariant in INVARIANTS:
        try:
            found += [Violation(invariant.__name__, words) for words in invariant(scene)]
        except Exception as error:  # noqa: BLE001 - a check that cannot be made is a finding, not the end of a campaign
            found.append(Violation(invariant.__name__, f"could not be checked: {type(error).__name__}: {error}"))
    return found


# --- the journal ---


def journal_is_whole(scene: Scene) -> Iterator[str]:
    """``verify --all`` is clean."""
    with scene.stage.journal() as journal:
        report = audit.verify(journal, lifecycles={LIFECYCLE.name: LIFECYCLE})
    yield from (f"run {p.run_id}, entry {p.seq}: {p.problem}" for p in report.problems)
    if report.entries_checked < len(scene.runs):
        yield f"only {report.entries_checked} entries were checked"


def projection_can_be_rebuilt(scene: Scene) -> Iterator[str]:
    """Rebuilding ``runs`` from ``entries`` gives the same rows."""
    copy = scene.stage.root / "rebuilt.db"
    copy.unlink(missing_ok=True)
    with (
        closing(sqlite3.connect(scene.stage.home / "journal.db")) as source,
        closing(sqlite3.connect(copy)) as target,
    ):
        source.backup(target)
    with Journal(copy) as journal:
        different = audit.rebuild(journal)
    if different:
        yield f"{different} rows of the projection are not what the entries say"


def transitions_are_declared(scene: Scene) -> Iterator[str]:
    """Every transition is the one that the table chooses on the recorded data, guards included."""
    for run_id, entries in scene.entries.items():
        run: RunRecord | None = None
        for entry, payload in entries:
            if run is not None and entry.kind == "transition":
                data = {**run.data, **payload["patch"]}
                try:
                    row = LIFECYCLE.choose(run.state, entry.name, data)
                except NoTransition as error:
                    yield f"run {run_id}, entry {entry.seq}: {error}"
                else:
                    if row.target != entry.state:
                        yield f"run {run_id}, entry {entry.seq}: leads to {entry.state}, the table says {row.target}"
            run = begin(entry, payload) if run is None else follow(run, entry, payload)


def runs_end_once(scene: Scene) -> Iterator[str]:
    """There is one run; it ends as it must, once, and nothing comes after that."""
    if len(scene.runs) != 1:
        yield f"there are {len(scene.runs)} runs of one task"
    for run in scene.runs:
        entries = [entry for entry, _ in scene.entries[run.run_id]]
        closed = [entry.seq for entry in entries if entry.kind == "closed"]
        if closed != [entries[-1].seq]:
            yield f"run {run.run_id}: closed at {closed}, and its last entry is {entries[-1].seq}"
        if run.status != "closed":
            why = f"{run.stop_reason}: {run.data.get('error')}"
            yield f"run {run.run_id} has not ended: {run.status} in {run.state} ({why})"
            continue
        wanted, reason = scene.scenario.ends, scene.scenario.stop_reason
        if scene.scenario.cancelled and run.data.get("pushed"):
            # the cancel came after the point of no return
            wanted, reason = "completed", None
        if (run.state, run.stop_reason) != (wanted, reason):
            yield (
                f"run {run.run_id} ended as {run.state} ({run.stop_reason}: {run.data.get('error')}), "
                f"not as {wanted} ({reason})"
            )


def nobody_holds_a_lease(scene: Scene) -> Iterator[str]:
    """No lease is held once the runs are over."""
    for row in rows_of(scene.stage.home / "journal.db", "SELECT run_id, epoch FROM leases WHERE held = 1"):
        yield f"the lease of run {row['run_id']} is still held in epoch {row['epoch']}"


# --- the world ---


def slots_are_given_back_once(scene: Scene) -> Iterator[str]:
    """Every slot is free, and each tenure of a run was one loan that ended once."""
    for row in scene.rows("SELECT slot_id, status, run_id, loan_key FROM slots"):
        if row["status"] != "free" or row["run_id"] or row["loan_key"]:
            yield f"slot {row['slot_id']} is {row['status']}, lent to {row['run_id']}"
    loans = scene.rows("SELECT slot_id, generation, loan_key, run_id, lent_at, ended_at, ended_by FROM loans")
    by_slot: dict[str, list[sqlite3.Row]] = defaultdict(list)
    for loan in loans:
        by_slot[loan["slot_id"]].append(loan)
        if loan["ended_at"] is None:
            yield f"loan {loan['generation']} of slot {loan['slot_id']} never ended"
        elif loan["ended_by"] != "released":
            yield f"loan {loan['generation']} of slot {loan['slot_id']} ended as {loan['ended_by']}"
    # a tenure that was called back is lent once more if the run goes on after all, or if a death cut the call-back off
    called_back = [e for run in scene.runs for e in scene.effects(run.run_id, "slot.call_back")]
    again = sum(e.claims + bool((e.result or {}).get("slot_id")) for e in called_back)
    for key, times in Counter(loan["loan_key"] for loan in loans).items():
        if times > 1 + again:
            yield f"{times} loans have the key {key}"
    for slot_id, each in by_slot.items():
        for earlier, later in pairwise(each):
            if earlier["ended_at"] is not None and later["lent_at"] < earlier["ended_at"]:
                yield f"slot {slot_id} was lent twice at once, in generations {earlier['generation']} and later"
    if scene.scenario.own_folder:
        return
    for run in scene.runs:
        intended = {effect.key for effect in scene.effects(run.run_id, "slot.allocate")}
        made = {effect.key for effect in scene.effects(run.run_id, "slot.allocate") if effect.outcome is not None}
        lent = len({loan["loan_key"] for loan in loans if loan["run_id"] == run.run_id})
        if not len(made) <= lent <= len(intended):
            yield f"run {run.run_id} had {len(made)} tenures ({len(intended)} intended) and {lent} loans"


def nothing_runs_on(scene: Scene) -> Iterator[str]:
    """No process of a run, of its supervisors or of its git commands is left, and no command's folder."""
    run_ids = [run.run_id for run in scene.runs]
    for process in processes.gone(lambda: processes.commands(run_ids), scene.patience_seconds):
        yield f"process {process.pid} of a command is left: {process.line[:200]}"
    for process in processes.gone(lambda: processes.about(scene.stage.root), scene.patience_seconds):
        yield f"process {process.pid} is left: {process.line[:200]}"
    folder = scene.stage.home / "commands"
    left = sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.exists() else []
    if left:
        yield f"commands left folders behind: {left}"


def nothing_is_left_half_made(scene: Scene) -> Iterator[str]:
    """No draft, no lock of git's and no rubbish is left in the home.

    A cancelled run makes nothing anew: there a draft may stand whose name is fixed, which the next run writes over.
    """
    heals = _FIXED_DRAFTS if any(run.state == "cancelled" for run in scene.runs) else ()
    for path in sorted(scene.stage.home.rglob("*")):
        own_lock = path.suffix == ".lock" and not any(above.suffix == ".git" for above in path.parents)
        draft = _matches(path, _DRAFTS) and not _matches(path, heals)
        if draft and not own_lock and path.parent.name != "state":
            yield f"{path.relative_to(scene.stage.home)} was left"


def _matches(path: Path, patterns: Iterable[str]) -> bool:
    return any(fnmatch(path.name, pattern) for pattern in patterns)


def registry_was_told_once(scene: Scene) -> Iterator[str]:
    """One start and one end were reported, the end that the run had, with a head that is in its journal."""
    events = scene.rows("SELECT idempotency_key, event_type, data FROM task_events ORDER BY id")
    for run in scene.runs:
        own = [row for row in events if json.loads(row["data"]).get("run_id") == run.run_id]
        ends = [row for row in own if row["event_type"] in TERMINAL_EVENTS.values()]
        kinds = [row["event_type"] for row in ends]
        if kinds != [TERMINAL_EVENTS.get(run.state)]:
            yield f"run {run.run_id} ended as {run.state} and reported {kinds}"
        if len({row["idempotency_key"] for row in ends}) > 1:
            yield f"run {run.run_id} reported its end under several ids"
        started = sum(row["event_type"] == "RunnerStarted" for row in own)
        if started > 1 or (run.state == "completed" and started != 1):
            yield f"run {run.run_id} reported its start {started} times"
        hashes = {entry.hash for entry, _ in scene.entries[run.run_id]}
        for row in ends:
            if json.loads(row["data"])["journal_head"] not in hashes:
                yield f"run {run.run_id} reported a journal head that is not in its journal"
        status = scene.rows("SELECT status FROM tasks")
        wanted = "done" if run.state == "completed" else "failed"
        if [row["status"] for row in status] != [wanted]:
            yield f"run {run.run_id} ended as {run.state}, the task's status is {[row['status'] for row in status]}"


def artifacts_are_kept(scene: Scene) -> Iterator[str]:
    """Every artifact of a run is there with the content that was recorded, and was reported once."""
    reported = Counter(row["uri"] + row["type"] for row in scene.rows("SELECT uri, type FROM task_artifacts"))
    for run in scene.runs:
        artifacts = run.data.get("artifacts", [])
        if not {"log"} <= {artifact["type"] for artifact in artifacts}:
            yield f"run {run.run_id} kept no log: {[artifact['type'] for artifact in artifacts]}"
        for artifact in artifacts:
            content = scene.artifact(artifact["uri"])
            if (len(content), hashlib.sha256(content).hexdigest()) != (artifact["size_bytes"], artifact["sha256"]):
                yield f"the artifact {artifact['uri']} is not what was recorded"
            times = reported[artifact["uri"] + artifact["type"]]
            if times != 1:
                yield f"the artifact {artifact['uri']} was reported {times} times"


def answers_are_bought_once(scene: Scene) -> Iterator[str]:
    """Requests for an answer ≤ the recorded one + failed attempts + deaths in between; each says the same."""
    asked: dict[int, list[SeenRequest]] = defaultdict(list)
    for request in scene.requests:
        asked[request.position].append(request)
        if request.served in ("ended", "refused"):
            yield f"the model was asked for position {request.position}, and that was {request.served}"
    allowed = Counter[int]()
    for run in scene.runs:
        for turn, effect in enumerate(scene.effects(run.run_id, "llm.chat")):
            if effect.key != f"turn {turn + 1}":
                yield f"turn {turn + 1} is recorded as {effect.key}"
            allowed[turn] += (effect.outcome is not None) + effect.failed_attempts + effect.claims
    for position, requests in sorted(asked.items()):
        if len(requests) > allowed[position]:
            served = [request.served for request in requests]
            yield f"position {position} was asked for {len(requests)} times ({served}); allowed: {allowed[position]}"
        said = {json.dumps(request.body["messages"], sort_keys=True) for request in requests}
        if len(said) > 1:
            yield f"position {position} was asked for with {len(said)} different conversations"
        if len({request.idempotency_key for request in requests}) > 1:
            yield f"position {position} was asked for under several keys"


def commands_ran_once(scene: Scene) -> Iterator[str]:
    """No command was started twice; one that was started was adopted, and the model has its real output."""
    started = Counter(scene.ledger.read_text().split()) if scene.ledger and scene.ledger.exists() else Counter[str]()
    yield from (f"command {key} was started {times} times" for key, times in started.items() if times > 1)
    known = set[str]()
    for run in scene.runs:
        for effect in scene.effects(run.run_id, "tool.bash", "command."):
            if effect.name == "commands.reap":
                continue
            known.add(effect.idempotency_key)
            if effect.result is None:
                if not scene.scenario.cancelled:
                    yield f"{effect.name} ({effect.key}) has no outcome"
                continue
            status = effect.result["status"]
            output = effect.result.get("output") or effect.result.get("content") or ""
            ran = [int(times) for times in _RAN.findall(output)]
            if any(times != 1 for times in ran):
                yield f"{effect.name} ({effect.key}) says that it ran {ran} times"
            lost = scene.hurt or _was_parked(scene, run.run_id, effect)
            if status == "interrupted" and not lost and started[effect.idempotency_key]:
                yield f"{effect.name} ({effect.key}) had been started and was not adopted"
            if status == "exited" and scene.ledger and ran and not started[effect.idempotency_key]:
                yield f"{effect.name} ({effect.key}) has an exit code and was never started"
            if status in ("stopped", "timeout", "not_started") and not scene.scenario.cancelled:
                yield f"{effect.name} ({effect.key}) ended as {status}"
    yield from (f"command {key} was started and is no effect of the journal" for key in sorted(started.keys() - known))


def _was_parked(scene: Scene, run_id: str, effect: Effect) -> bool:
    """Whether the run was parked while the command was in doubt: whoever gives a slot back ends what runs there."""
    assert effect.outcome is not None
    between = range(effect.intent.seq, effect.outcome.seq)
    return any(entry.kind == "parked" and entry.seq in between for entry, _ in scene.entries[run_id])


def own_folder_is_as_before(scene: Scene) -> Iterator[str]:
    """A user's folder has the files that it had, and no others but ignored ones that commands made."""
    if not scene.scenario.own_folder:
        return
    now = {
        name: content
        for name, content in files_of(scene.stage.root / "checkout").items()
        if name in scene.folder_before or not name.endswith(".log")
    }
    for name in sorted(now.keys() | scene.folder_before.keys()):
        if now.get(name) != scene.folder_before.get(name):
            yield f"{name} in the user's folder was {scene.folder_before.get(name)!r} and is {now.get(name)!r}"


def doctor_has_nothing_to_do(scene: Scene) -> Iterator[str]:
    """``doctor --json`` finds nothing, and ``verify --all --json`` says so too."""
    done = scene.stage.necrocode("doctor", "--json")
    yield from (
        f"{each['subject']}: {each['words']}" for each in done.json["findings"] if not each["fine"] or each["mended"]
    )
    if done.code != 0:
        yield f"doctor: exit code {done.code}"
    verified = scene.stage.necrocode("verify", "--all", "--json")
    if verified.code != 0 or not verified.json["ok"]:
        yield f"verify: exit code {verified.code}: {verified.json['problems']}"


INVARIANTS: tuple[Callable[[Scene], Iterator[str]], ...] = (
    journal_is_whole,
    projection_can_be_rebuilt,
    transitions_are_declared,
    runs_end_once,
    nobody_holds_a_lease,
    slots_are_given_back_once,
    nothing_runs_on,
    nothing_is_left_half_made,
    stores.branches_are_written_once,
    stores.stores_are_sound,
    registry_was_told_once,
    artifacts_are_kept,
    answers_are_bought_once,
    commands_ran_once,
    own_folder_is_as_before,
    doctor_has_nothing_to_do,
)


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its content; the user's index aside, which git may refresh."""
    found = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }
    return {name: content for name, content in found.items() if name != ".git/index"}
