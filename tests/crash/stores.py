"""What must hold of repositories: the remote's branches, the pushed commit, the stores under the home."""

from __future__ import annotations

import subprocess
from collections.abc import Collection, Iterator
from itertools import chain, count
from pathlib import Path

from necrocode.engine.runs import RunRecord
from tests.crash.scenarios import REPOSITORY
from tests.crash.scene import Scene


def branches_are_written_once(scene: Scene) -> Iterator[str]:
    """The run's branch was written once, with the recorded commit on the recorded base, or the branch of its partial
    work was; no other branch was.
    """
    stage, now = scene.stage, scene.stage.branches()
    for run in scene.runs:
        branch, commit, wanted = str(run.data.get("branch")), str(run.data.get("commit")), run.state == "completed"
        wanted = wanted and scene.scenario.pushes | scene.scenario.cancelled
        expected = dict(scene.before)
        if wanted:
            _, writes = scene.before.get(branch, ("", 0))
            expected[branch] = (commit, writes + 1)
            if now.get(branch) == commit:
                yield from _commit_is_ours(scene, run)
        if scene.scenario.pushes_partial and not wanted:
            last = _last_tree(scene, run)
            if last not in (None, run.data.get("start_tree")):
                partial = free_beside(scene.before, f"wip/{branch}")
                expected[partial] = (str(run.data.get("partial_commit")), 1)
                if run.data.get("partial_branch") != partial:
                    yield f"partial work belongs to {partial}, recorded is {run.data.get('partial_branch')}"
                elif now.get(partial) == run.data["partial_commit"]:
                    yield from _partial_is_ours(scene, run, str(last))
            elif "partial_branch" in run.data:
                yield f"nothing was changed, and {run.data['partial_branch']} was pushed"
        for name in sorted(expected.keys() | now.keys()):
            found = (now.get(name, "none"), stage.branch_updates(name))
            if name not in expected:
                yield f"nobody should have made the branch {name}: {found}"
            elif found != expected[name]:
                yield f"branch {name}: at {found[0]} after {found[1]} writes, should be {expected[name]}"
        if bool(run.data.get("pushed")) != wanted:
            yield f"run {run.run_id} says pushed={run.data.get('pushed')}, and ended as {run.state}"


def _commit_is_ours(scene: Scene, run: RunRecord) -> Iterator[str]:
    remote, data = scene.stage.remote, run.data
    parents, tree = _commit(remote, data["commit"])
    if parents != [data["base_commit"]]:
        yield f"the commit's parents are {parents}, the recorded base is {data['base_commit']}"
    if tree != data["commit_tree"]:
        yield f"the commit's tree is {tree}, the recorded one {data['commit_tree']}"
    wanted_files = {**REPOSITORY, **scene.scenario.files}
    for name in sorted(wanted_files.keys() | _names(remote, data["commit"])):
        found = _content(remote, data["commit"], name)
        if found != wanted_files.get(name) and name not in scene.scenario.lines:
            yield f"{name} in the commit is {found!r}"
    for name, lines in scene.scenario.lines.items():
        written = (_content(remote, data["commit"], name) or "").splitlines()
        for line in lines:
            (effect,) = (e for e in scene.effects(run.run_id, "tool.bash") if f"echo {line} " in e.note["command"])
            # one whose process was killed under its keeper ended with that exit code, wherever it was by then
            wanted = {0} if effect.result["status"] == "interrupted" else {0, 1}
            wanted = {1} if f"done {line}" in effect.result["content"] else wanted
            if written.count(line) not in wanted:
                yield f"{name} in the commit is {written}, {line!r} not {wanted} times: {effect.result['content']}"
        if written != [line for line in lines if line in written]:
            yield f"{name} in the commit is {written}, not of {lines}"


def free_beside(taken: Collection[str], wanted: str) -> str:
    """``wanted``, or with the lowest number that makes it free."""
    names = chain([wanted], (f"{wanted}-{number}" for number in count(2)))
    return next(name for name in names if name not in taken)


def _last_tree(scene: Scene, run: RunRecord) -> str | None:
    """The last snapshot of the coder's; ``None`` if it never came to one."""
    if "base_tree" not in run.data:
        return None
    last = None
    for entry, payload in scene.entries[run.run_id]:
        if (entry.kind, entry.state) == ("outcome", "implementing") and isinstance(payload.get("result"), dict):
            last = payload["result"].get("snapshot") or last
    return last


def _partial_is_ours(scene: Scene, run: RunRecord, last: str) -> Iterator[str]:
    remote, commit = scene.stage.remote, run.data["partial_commit"]
    if _commit(remote, commit) != ([run.data["base_commit"]], last):
        yield f"partial work is {_commit(remote, commit)}, the base {run.data['base_commit']}, the last tree {last}"
    message = _git(remote, "show", "--no-patch", "--format=%B", commit).stdout.split("\n")
    for line in (f"Necrocode-Run: {run.run_id}", f"Necrocode-Stop-Reason: {run.stop_reason}"):
        if line not in message:
            yield f"the message of the partial work is {message}, without {line!r}"


def stores_are_sound(scene: Scene) -> Iterator[str]:
    """git fsck finds nothing in any store, no lock was left, and every recorded snapshot and commit is there."""
    repositories = [scene.stage.remote, *sorted((scene.stage.home / "repos").glob("*/*.git"))]
    for repository in repositories:
        yield from (f"{repository.name}: {line}" for line in _complaints(repository))
    wanted = set[str]()
    for entries in scene.entries.values():
        for entry, payload in entries:
            result = payload.get("result")
            if entry.kind == "outcome" and isinstance(result, dict):
                wanted |= {result[name] for name in ("snapshot", "tree", "base_tree") if result.get(name)}
                wanted |= {result["commit"]} if entry.name == "git.commit" and result.get("commit") else set()
    snapshots = [repository for repository in repositories if repository.name == "snapshots.git"]
    missing = wanted.difference(*(_present(repository, wanted) for repository in snapshots)) if wanted else set()
    yield from (f"the recorded object {name} is in no store" for name in sorted(missing))


def _complaints(repository: Path) -> list[str]:
    """What ``git fsck`` finds; objects that nothing names are none of its business."""
    done = _git(repository, "fsck", "--full", "--no-dangling", "--no-progress")
    lines = [line for line in (done.stdout + done.stderr).splitlines() if not line.startswith("notice:")]
    return lines or ([f"git fsck: exit code {done.returncode}"] if done.returncode else [])


def _commit(repository: Path, name: str) -> tuple[list[str], str]:
    """Parents and tree of a commit."""
    parents, tree = _git(repository, "show", "--no-patch", "--format=%P%n%T", name).stdout.splitlines()
    return parents.split(), tree


def _content(repository: Path, name: str, path: str) -> str | None:
    """A file of a commit; ``None`` if it has none of that name."""
    done = _git(repository, "show", f"{name}:{path}")
    return done.stdout if done.returncode == 0 else None


def _names(repository: Path, name: str) -> set[str]:
    """The files of a commit."""
    return set(_git(repository, "ls-tree", "-r", "--name-only", name).stdout.splitlines())


def _present(repository: Path, names: Collection[str]) -> set[str]:
    """Those of ``names`` that are objects of the repository."""
    done = _git(repository, "cat-file", "--batch-check", stdin="".join(f"{name}\n" for name in sorted(names)))
    return {line.split()[0] for line in done.stdout.splitlines() if not line.endswith("missing")}


def _git(repository: Path, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["git", "-c", "safe.bareRepository=all", "-c", "safe.directory=*", f"--git-dir={repository}", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )
