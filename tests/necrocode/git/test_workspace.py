"""A workspace on a pool's slot: fetched, laid out, recorded, compared, committed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from necrocode.engine.errors import EnvironmentFault, TaskError
from necrocode.git.keeping import collect, forget_run, kept_runs
from necrocode.git.layout import readable_for
from necrocode.git.objects import ObjectStore
from necrocode.git.workspace import GitWorkspaces
from necrocode.states.ports import ChangedFile, CommitRequest
from tests.necrocode.git.conftest import FILES, Bench
from tests.necrocode.git.repositories import fsck, git, picture, write

AT = datetime(2026, 1, 2, 3, 4, 5, 678_900, tzinfo=UTC)


def request(tree: str, parent: str) -> CommitRequest:
    return CommitRequest(tree, parent, "feat(task-1): add a thing", "Runner", "runner@example.com", AT)


def test_a_laid_slot_is_a_clean_checkout_of_the_base(bench: Bench) -> None:
    workspace = bench.open()
    refs = workspace.fetch(base_branch=None, branch="feature/x")
    assert refs.base_branch == "main"
    assert refs.base_commit == bench.origin.head("main")
    assert refs.branch_commit is None
    tree = workspace.tree_of(refs.base_commit)
    workspace.lay(commit=refs.base_commit, tree=tree)
    slot = bench.slot()
    assert {path.decode(): content for path, (_, content) in picture(slot).items()} == {
        name: content if isinstance(content, bytes) else content.encode() for name, content in FILES.items()
    }
    assert git(slot, "status", "--porcelain") == ""
    assert git(slot, "rev-parse", "HEAD") == refs.base_commit
    assert git(slot, "rev-parse", "origin/main") == refs.base_commit
    assert git(slot, "remote", "get-url", "origin") == bench.origin.url
    assert git(slot, "branch", "--show-current") == "", "HEAD is detached"
    assert fsck(slot) == ""
    assert workspace.snapshot() == tree
    assert readable_for(slot) == (bench.place.cache,)


def test_gits_status_in_a_laid_slot_needs_to_read_no_file(bench: Bench) -> None:
    workspace = bench.open()
    refs = workspace.fetch(base_branch=None, branch="x")
    # Far more than are written before the next tick of the clock is waited for.
    bench.origin.commit({f"many/{n}": f"{n}" for n in range(60)})
    refs = workspace.fetch(base_branch=None, branch="x")
    workspace.lay(commit=refs.base_commit, tree=workspace.tree_of(refs.base_commit))
    shown = git(bench.slot(), "ls-files", "--debug", "many/7")
    state = (bench.slot() / "many" / "7").stat()
    assert f"mtime: {state.st_mtime_ns // 10**9}:{state.st_mtime_ns % 10**9}" in shown
    assert f"ino: {state.st_ino % 2**32}" in shown
    assert f"size: {state.st_size}" in shown


def test_work_of_an_earlier_run_shows_as_changes_in_a_laid_slot(bench: Bench) -> None:
    first = bench.open()
    refs = first.fetch(base_branch="main", branch="x")
    first.lay(commit=refs.base_commit, tree=first.tree_of(refs.base_commit))
    write(bench.slot(), {"new.py": "new", "README.md": "changed\n", "build/out": "ignored"})
    (bench.slot() / "src" / "main.py").unlink()
    tree = first.snapshot()

    second = bench.open(number=2)
    second.lay(commit=refs.base_commit, tree=tree)
    assert git(bench.slot(2), "status", "--porcelain").splitlines() == ["M README.md", " D src/main.py", "?? new.py"]
    assert second.snapshot() == tree
    assert not (bench.slot(2) / "build").exists()


def test_a_dirty_slot_with_a_detached_head_and_a_broken_git_is_laid_anew(bench: Bench) -> None:
    workspace = bench.open()
    refs = workspace.fetch(base_branch=None, branch="x")
    tree = workspace.tree_of(refs.base_commit)
    workspace.lay(commit=refs.base_commit, tree=tree)
    slot = bench.slot()
    git(slot, "checkout", "--quiet", "-b", "mine")
    write(slot, {"left": "over", "build/cache": "ignored", "src/x.pyc": "ignored", "empty/dir/.keep": "x"})
    (slot / "empty" / "dir" / ".keep").unlink()
    git(slot, "add", "-A")
    git(slot, "commit", "--quiet", "-m", "by the model")
    (slot / ".git" / "HEAD").write_text("nonsense")
    workspace.lay(commit=refs.base_commit, tree=tree)
    assert git(slot, "status", "--porcelain", "--ignored") == ""
    assert sorted(path.name for path in slot.iterdir()) == [".git", ".gitignore", "README.md", "src"]


def test_a_snapshot_survives_its_process(bench: Bench) -> None:
    workspace = bench.open()
    refs = workspace.fetch(base_branch=None, branch="x")
    workspace.lay(commit=refs.base_commit, tree=workspace.tree_of(refs.base_commit))
    write(bench.slot(), {"src/main.py": "changed"})
    tree = workspace.snapshot(paths=["src/main.py"])
    write(bench.slot(), {"src/main.py": "half", "junk": "junk"})

    again = bench.open(workspaces=GitWorkspaces(bench.home))
    again.restore(tree)
    assert (bench.slot() / "src" / "main.py").read_text() == "changed"
    assert not (bench.slot() / "junk").exists()
    assert again.snapshot(paths=[]) == tree


def test_every_snapshot_of_a_live_run_survives_a_collection_and_none_of_a_forgotten_one(bench: Bench) -> None:
    workspace = bench.open()
    refs = workspace.fetch(base_branch=None, branch="x")
    workspace.lay(commit=refs.base_commit, tree=workspace.tree_of(refs.base_commit))
    trees = []
    for number in range(5):
        write(bench.slot(), {"count": f"{number}"})
        trees.append(workspace.snapshot())
    commit = workspace.commit(request(trees[2], refs.base_commit))
    git(bench.place.store, "gc", "--quiet", "--prune=now")
    store = ObjectStore(bench.place.store)
    assert kept_runs(store) == {"run-1"}
    for tree in trees:
        assert "count" in store.read_tree(bytes.fromhex(tree))
    again = bench.open(workspaces=GitWorkspaces(bench.home))
    again.restore(trees[0])
    assert (bench.slot() / "count").read_text() == "0"
    write(bench.slot(), {"count": "more"})
    trees.append(again.snapshot())
    assert git(bench.place.store, "rev-list", "--count", "refs/necrocode/runs/run-1") == "6"

    collect(bench.place, grace=timedelta(0))
    forget_run(store, "run-1")
    assert kept_runs(store) == set()
    git(bench.place.store, "gc", "--quiet", "--prune=now")
    assert bytes.fromhex(commit) not in [bytes.fromhex(c) for c in git(bench.place.store, "rev-list", "--all").split()]
    assert not ObjectStore(bench.place.store).has(bytes.fromhex(trees[0]))


def test_the_same_request_is_the_same_commit(bench: Bench) -> None:
    workspace = bench.open()
    refs = workspace.fetch(base_branch=None, branch="x")
    workspace.lay(commit=refs.base_commit, tree=workspace.tree_of(refs.base_commit))
    write(bench.slot(), {"new": "new"})
    tree = workspace.snapshot()
    commit = workspace.commit(request(tree, refs.base_commit))
    assert workspace.commit(request(tree, refs.base_commit)) == commit
    assert bench.open("run-2", 2).commit(request(tree, refs.base_commit)) == commit
    shown = git(bench.place.store, "show", "-s", "--format=%an|%ae|%aI|%cI|%P|%T|%s", commit)
    assert shown == (
        "Runner|runner@example.com|2026-01-02T03:04:05+00:00|2026-01-02T03:04:05+00:00|"
        f"{refs.base_commit}|{tree}|feat(task-1): add a thing"
    )
    assert workspace.message_of(commit) == "feat(task-1): add a thing\n"
    assert workspace.tree_of(commit) == tree


def test_a_diff_is_what_git_apply_takes(bench: Bench, tmp_path: Path) -> None:
    workspace = bench.open()
    refs = workspace.fetch(base_branch=None, branch="x")
    base = workspace.tree_of(refs.base_commit)
    workspace.lay(commit=refs.base_commit, tree=base)
    slot = bench.slot()
    write(
        slot,
        {
            "src/data.bin": bytes(reversed(range(256))),
            "src/crlf.txt": b"one\r\nthree\r\n",
            "latin": b"caf\xe9\n",
            'odd "name"\n.txt': "x",
            "no newline": "end",
            "empty": "",
        },
    )
    (slot / "src" / "main.py").unlink()
    (slot / "README.md").chmod(0o755)
    (slot / "link").symlink_to("README.md")
    tree = workspace.snapshot()
    patch = workspace.diff(base, tree)

    other = tmp_path / "applied"
    git(tmp_path, "clone", "--quiet", bench.origin.url, str(other))
    git(other, "apply", "--binary", "--index", "-", stdin=patch)
    assert git(other, "write-tree") == tree
    assert workspace.changes(base, tree) == [
        ChangedFile("README.md", "T", 0, 0),
        ChangedFile("empty", "A", 0, 0),
        ChangedFile("latin", "A", 1, 0),
        ChangedFile("link", "A", 1, 0),
        ChangedFile("no newline", "A", 1, 0),
        ChangedFile('odd "name"\n.txt', "A", 1, 0),
        ChangedFile("src/crlf.txt", "M", 1, 1),
        ChangedFile("src/data.bin", "M", 0, 0),
        ChangedFile("src/main.py", "D", 0, 1),
    ]
    assert workspace.diff(tree, tree) == b""
    assert workspace.changes(tree, tree) == []


def test_a_bundle_brings_the_commit_to_a_clone_of_the_base(bench: Bench, tmp_path: Path) -> None:
    workspace = bench.open()
    refs = workspace.fetch(base_branch=None, branch="x")
    workspace.lay(commit=refs.base_commit, tree=workspace.tree_of(refs.base_commit))
    write(bench.slot(), {"new": "new"})
    commit = workspace.commit(request(workspace.snapshot(), refs.base_commit))
    bundle = tmp_path / "work.bundle"
    bundle.write_bytes(workspace.bundle(commit, refs.base_commit))
    other = tmp_path / "other"
    git(tmp_path, "clone", "--quiet", bench.origin.url, str(other))
    git(other, "bundle", "verify", str(bundle))
    git(other, "fetch", "--quiet", str(bundle), "HEAD")
    assert git(other, "rev-parse", "FETCH_HEAD") == commit


def test_what_set_up_changed_is_carried_onto_another_tree(bench: Bench) -> None:
    workspace = bench.open()
    refs = workspace.fetch(base_branch=None, branch="x")
    base = workspace.tree_of(refs.base_commit)
    workspace.lay(commit=refs.base_commit, tree=base)
    write(bench.slot(), {"setup/lock": "locked", "README.md": "set up\n"})
    set_up = workspace.snapshot()
    write(bench.slot(), {"src/main.py": "work\n", "src/new/x": "x"})
    (bench.slot() / "src" / "data.bin").unlink()
    done = workspace.snapshot()
    carried = workspace.carry(before=set_up, after=done, onto=base)
    assert [(change.path, change.status) for change in workspace.changes(base, carried)] == [
        ("src/data.bin", "D"),
        ("src/main.py", "M"),
        ("src/new/x", "A"),
    ]
    assert workspace.carry(before=base, after=done, onto=set_up) == done
    assert workspace.carry(before=done, after=base, onto=done) == base


def test_a_missing_commit_is_a_damaged_store(bench: Bench) -> None:
    workspace = bench.open()
    workspace.fetch(base_branch=None, branch="x")
    with pytest.raises(EnvironmentFault) as caught:
        workspace.tree_of("1" * 40)
    assert caught.value.stop_reason == "store_damaged"


@pytest.mark.parametrize("run_id", ["../x", "a/b", "x.lock", ""])
def test_a_run_id_that_would_leave_its_ref_is_refused(bench: Bench, run_id: str) -> None:
    with pytest.raises(ValueError, match="ref"):
        bench.open(run_id=run_id)


def test_a_second_opening_of_the_same_loan_is_the_same_workspace(bench: Bench) -> None:
    assert bench.open() is bench.open()
    assert bench.open("run-2") is not bench.open()


def test_no_address_is_a_task_error(bench: Bench) -> None:
    from necrocode.states.ports import SlotAllocation

    with pytest.raises(TaskError) as caught:
        bench.workspaces.open(SlotAllocation("s", bench.slot(), 1), repo_url="-oops", run_id="r")
    assert caught.value.stop_reason == "repo_not_found"


def test_a_trees_files_are_read_without_a_slot_and_no_link_is_followed(bench: Bench) -> None:
    workspace = bench.open()
    (bench.origin.checkout / "link.yaml").symlink_to("/etc/passwd")
    bench.origin.commit({"deep/er/file.txt": "inside\n", "big.bin": "x" * 100})
    refs = workspace.fetch(base_branch=None, branch="x")
    tree = workspace.tree_of(refs.base_commit)
    assert {"deep/er/file.txt", "big.bin", "link.yaml", *FILES} == set(workspace.paths(tree))
    assert workspace.content(tree, "deep/er/file.txt", max_bytes=100) == b"inside\n"
    assert workspace.content(tree, "big.bin", max_bytes=99) is None
    for path in ("deep", "deep/er", "link.yaml", "none", "deep/none/x", "big.bin/x", "../x", "/etc/passwd", ""):
        assert workspace.content(tree, path, max_bytes=100) is None
