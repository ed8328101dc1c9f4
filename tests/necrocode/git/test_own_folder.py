"""A user's own checkout as a slot: used, and given back with every file of theirs as it was."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from necrocode.engine.errors import EnvironmentFault, TaskError, Transient
from necrocode.engine.stop import StopToken
from necrocode.git.workspace import GitWorkspace, GitWorkspaces
from necrocode.pool.folders import LocalFolders
from necrocode.states.ports import SlotAllocation
from tests.necrocode.git.repositories import Origin, commit_all, git, picture, write


class Desk:
    """A remote, a user's checkout of it with files of their own, and what lends it."""

    def __init__(self, root: Path) -> None:
        self.home = root / "home"
        self.origin = Origin(root / "remote", {"a": "a\n", "src/b": "b\n", ".gitignore": "*.env\nnode_modules/\n"})
        self.folder = root / "checkout"
        git(root, "clone", "--quiet", self.origin.url, str(self.folder))
        write(self.folder, {"notes.txt": "mine", "src/scratch": "mine too", "x.env": "SECRET", "node_modules/m": "m"})
        self.folders = LocalFolders(self.home / "locks", poll=timedelta(milliseconds=10))

    def allocate(self, run_id: str = "run-1", folders: LocalFolders | None = None) -> SlotAllocation:
        """Borrow the folder, without waiting."""
        return (folders or self.folders).allocate(
            str(self.folder), run_id=run_id, key=f"{run_id}-key", timeout=timedelta(0), stop=StopToken()
        )

    def open(self, loan: SlotAllocation, run_id: str = "run-1") -> GitWorkspace:
        """A workspace as another process would open it."""
        return GitWorkspaces(self.home).open(loan, repo_url=str(self.folder), run_id=run_id)

    def git_state(self) -> dict[bytes, tuple[str, bytes]]:
        """Everything in the user's .git."""
        return picture(self.folder / ".git", without=frozenset())


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def refused(desk: Desk) -> TaskError:
    with pytest.raises(TaskError) as caught:
        desk.allocate()
    return caught.value


def test_a_run_in_it_changes_nothing_in_the_end(desk: Desk) -> None:
    files, state = picture(desk.folder), desk.git_state()
    theirs = desk.origin.commit({"a": "newer\n", "added/c": "c\n"})
    loan = desk.allocate()
    assert loan.kind == "folder"
    workspace = desk.open(loan)
    refs = workspace.fetch(base_branch=None, branch="x")
    assert refs.base_commit == theirs
    base = workspace.tree_of(refs.base_commit)
    workspace.lay(commit=refs.base_commit, tree=base)
    assert (desk.folder / "a").read_text() == "newer\n"
    assert (desk.folder / "added" / "c").read_text() == "c\n"
    assert workspace.snapshot() == base, "their own untracked files are no part of the work"

    write(desk.folder, {"work": "done", "src/b": "changed", "notes.txt": "changed by the run", "y.env": "ignored"})
    tree = workspace.snapshot()
    assert [(c.path, c.status) for c in workspace.changes(base, tree)] == [
        ("notes.txt", "A"),
        ("src/b", "M"),
        ("work", "A"),
    ]
    workspace.restore(base)
    assert (desk.folder / "notes.txt").read_text() == "mine"
    assert not (desk.folder / "work").exists()
    workspace.restore(tree)
    assert (desk.folder / "notes.txt").read_text() == "changed by the run"
    assert workspace.snapshot() == tree
    workspace.give_back()
    desk.folders.release(loan, run_id="run-1", key="k")
    (desk.folder / "y.env").unlink()
    assert picture(desk.folder) == files
    assert desk.git_state() == state
    workspace.give_back()
    assert picture(desk.folder) == files


def test_their_files_come_back_also_when_the_run_removed_them(desk: Desk) -> None:
    files = picture(desk.folder)
    workspace = desk.open(desk.allocate())
    refs = workspace.fetch(base_branch=None, branch="x")
    base = workspace.tree_of(refs.base_commit)
    workspace.lay(commit=refs.base_commit, tree=base)
    (desk.folder / "notes.txt").unlink()
    (desk.folder / "src" / "scratch").unlink()
    (desk.folder / "src" / "b").unlink()
    assert [c.path for c in workspace.changes(base, workspace.snapshot())] == ["src/b"]
    workspace.give_back()
    assert picture(desk.folder) == files


def test_another_process_goes_on_and_gives_back(desk: Desk) -> None:
    files = picture(desk.folder)
    loan = desk.allocate()
    first = desk.open(loan)
    refs = first.fetch(base_branch=None, branch="x")
    base = first.tree_of(refs.base_commit)
    first.lay(commit=refs.base_commit, tree=base)
    write(desk.folder, {"work": "done"})
    tree = first.snapshot()
    write(desk.folder, {"work": "half"})

    assert desk.folders.holds(loan, run_id="run-1")
    second = desk.open(loan)
    second.restore(tree)
    assert (desk.folder / "work").read_text() == "done"
    second.lay(commit=refs.base_commit, tree=tree)
    assert second.snapshot() == tree
    desk.open(loan).give_back()
    assert picture(desk.folder) == files


def test_after_parking_it_is_taken_up_again_over_what_the_user_did_meanwhile(desk: Desk) -> None:
    loan = desk.allocate()
    workspace = desk.open(loan)
    refs = workspace.fetch(base_branch=None, branch="x")
    workspace.lay(commit=refs.base_commit, tree=workspace.tree_of(refs.base_commit))
    write(desk.folder, {"work": "done"})
    tree = workspace.snapshot()
    workspace.give_back()
    desk.folders.release(loan, run_id="run-1", key="k")

    write(desk.folder, {"more notes": "written while it was parked"})
    files = picture(desk.folder)
    again = desk.folders.allocate(
        str(desk.folder), run_id="run-1", key="second", timeout=timedelta(0), stop=StopToken()
    )
    assert again.generation != loan.generation
    resumed = desk.open(again)
    resumed.lay(commit=refs.base_commit, tree=tree)
    assert (desk.folder / "work").read_text() == "done"
    assert resumed.snapshot() == tree
    resumed.give_back()
    assert picture(desk.folder) == files


def test_what_the_run_left_can_be_found_again(desk: Desk) -> None:
    workspace = desk.open(desk.allocate())
    refs = workspace.fetch(base_branch=None, branch="x")
    workspace.lay(commit=refs.base_commit, tree=workspace.tree_of(refs.base_commit))
    write(desk.folder, {"by the user, meanwhile": "precious"})
    workspace.give_back()
    assert not (desk.folder / "by the user, meanwhile").exists()
    (store,) = desk.home.glob("repos/*/snapshots.git")
    assert git(store, "show", "refs/necrocode/left/run-1:by the user, meanwhile") == "precious"
    assert git(store, "show", "refs/necrocode/saved/run-1:notes.txt") == "mine"


@pytest.mark.parametrize("kind", ["changed", "deleted", "mode"])
def test_uncommitted_changes_are_refused_and_named(desk: Desk, kind: str) -> None:
    if kind == "changed":
        write(desk.folder, {"src/b": "edited"})
    elif kind == "deleted":
        (desk.folder / "src" / "b").unlink()
    else:
        (desk.folder / "src" / "b").chmod(0o755)
    error = refused(desk)
    assert error.stop_reason == "slot_dirty"
    assert "src/b" in str(error)


def test_uncommitted_changes_are_saved_and_given_back_if_so_configured(desk: Desk) -> None:
    write(desk.folder, {"src/b": "edited", "staged": "s"})
    (desk.folder / "a").unlink()
    git(desk.folder, "add", "staged")
    files, state = picture(desk.folder), desk.git_state()
    workspace = desk.open(desk.allocate(folders=LocalFolders(desk.home / "locks", save_dirty=True)))
    refs = workspace.fetch(base_branch=None, branch="x")
    base = workspace.tree_of(refs.base_commit)
    workspace.lay(commit=refs.base_commit, tree=base)
    assert (desk.folder / "src" / "b").read_text() == "b\n"
    assert workspace.snapshot() == base
    workspace.give_back()
    assert picture(desk.folder) == files
    assert desk.git_state() == state


@pytest.mark.parametrize("name", ["blocked.env", "blocked", "dir"])
def test_files_of_theirs_in_the_way_of_the_base_are_refused_before_anything_is_touched(desk: Desk, name: str) -> None:
    git(desk.origin.checkout, "rm", "--quiet", ".gitignore")
    desk.origin.commit({name: "the repository's own"})
    if name == "dir":
        write(desk.folder, {"dir/node_modules/x": "ignored, theirs"})
    else:
        write(desk.folder, {name: "theirs"})
    files, state = picture(desk.folder), desk.git_state()
    workspace = desk.open(desk.allocate())
    refs = workspace.fetch(base_branch=None, branch="x")
    with pytest.raises(TaskError) as caught:
        workspace.lay(commit=refs.base_commit, tree=workspace.tree_of(refs.base_commit))
    assert caught.value.stop_reason == "slot_dirty"
    assert name in str(caught.value)
    workspace.give_back()
    assert picture(desk.folder) == files
    assert desk.git_state() == state


def test_an_equal_file_of_theirs_is_not_in_the_way(desk: Desk) -> None:
    desk.origin.commit({"notes.txt": "mine"})
    files = picture(desk.folder)
    workspace = desk.open(desk.allocate())
    refs = workspace.fetch(base_branch=None, branch="x")
    base = workspace.tree_of(refs.base_commit)
    workspace.lay(commit=refs.base_commit, tree=base)
    assert workspace.snapshot() == base
    workspace.give_back()
    assert picture(desk.folder) == files


def test_the_users_other_ignore_files_count(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    excludes = tmp_path / "excludes"
    excludes.write_text("*.idea\n")
    config = tmp_path / "gitconfig"
    config.write_text(f"[core]\n\texcludesFile = {excludes}\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    write(desk.folder, {"p.idea": "ignored everywhere", "big.dat": "ignored here", ".git/info/exclude": "*.dat\n"})
    workspace = desk.open(desk.allocate())
    refs = workspace.fetch(base_branch=None, branch="x")
    workspace.lay(commit=refs.base_commit, tree=workspace.tree_of(refs.base_commit))
    write(desk.folder, {"p.idea": "changed", "big.dat": "changed"})
    assert workspace.snapshot() == workspace.tree_of(refs.base_commit)
    workspace.give_back()
    assert (desk.folder / "p.idea").read_text() == "changed"


def test_local_commits_ahead_of_the_base_are_back_in_the_end(desk: Desk) -> None:
    write(desk.folder, {"local/only": "committed here", "a": "local\n"})
    commit = commit_all(desk.folder)
    files = picture(desk.folder)
    workspace = desk.open(desk.allocate())
    refs = workspace.fetch(base_branch=None, branch="x")
    assert refs.base_commit != commit
    workspace.lay(commit=refs.base_commit, tree=workspace.tree_of(refs.base_commit))
    assert not (desk.folder / "local").exists()
    workspace.give_back()
    assert picture(desk.folder) == files
    assert git(desk.folder, "rev-parse", "HEAD") == commit
    assert git(desk.folder, "status", "--porcelain") == ""


def test_a_git_that_the_model_redirected_changes_nothing_of_ours(desk: Desk, tmp_path: Path) -> None:
    loan = desk.allocate()
    workspace = desk.open(loan)
    refs = workspace.fetch(base_branch=None, branch="x")
    workspace.lay(commit=refs.base_commit, tree=workspace.tree_of(refs.base_commit))
    git(desk.folder, "config", "remote.origin.url", str(tmp_path / "evil.git"))
    assert desk.open(loan).remote_branch("main") == refs.base_commit


def test_a_linked_worktree_will_do(desk: Desk, tmp_path: Path) -> None:
    main = desk.folder
    desk.folder = tmp_path / "linked"
    git(main, "worktree", "add", "--quiet", "-b", "side", str(desk.folder))
    write(desk.folder, {"notes.txt": "mine"})
    files = picture(desk.folder)
    workspace = desk.open(desk.allocate())
    refs = workspace.fetch(base_branch=None, branch="x")
    workspace.lay(commit=refs.base_commit, tree=workspace.tree_of(refs.base_commit))
    write(desk.folder, {"a": "changed"})
    workspace.give_back()
    assert picture(desk.folder) == files
    assert git(desk.folder, "status", "--porcelain") == "?? notes.txt"


# --- what is lent, and to whom ----------------------------------------------------------------------------------------


def test_it_is_lent_to_one_run_at_a_time_by_its_real_path(desk: Desk, tmp_path: Path) -> None:
    loan = desk.allocate()
    assert desk.allocate() == loan, "the same key is the same loan"
    link = tmp_path / "link"
    link.symlink_to(desk.folder)
    with pytest.raises(Transient) as caught:
        desk.folders.allocate(str(link), run_id="run-2", key="k2", timeout=timedelta(0), stop=StopToken())
    assert caught.value.stop_reason == "no_slot"
    assert not desk.folders.holds(loan, run_id="run-2")
    desk.folders.release(loan, run_id="run-2", key="k2")
    assert desk.folders.holds(loan, run_id="run-1")
    desk.folders.release(loan, run_id="run-1", key="k")
    assert not desk.folders.holds(loan, run_id="run-1")
    assert desk.allocate("run-2").generation == 2


@pytest.mark.parametrize("call", ["holds", "allocate", "release"])
def test_a_folder_that_a_later_epoch_holds_is_not_an_older_ones(desk: Desk, call: str) -> None:
    old = LocalFolders(desk.home / "locks", epoch=lambda: 1)
    new = LocalFolders(desk.home / "locks", epoch=lambda: 2)
    loan = desk.allocate(folders=old)
    assert new.holds(loan, run_id="run-1")
    with pytest.raises(EnvironmentFault, match="epoch 2, not 1") as refused:
        match call:
            case "holds":
                old.holds(loan, run_id="run-1")
            case "allocate":
                desk.allocate(folders=old)
            case _:
                old.release(loan, run_id="run-1", key="k")
    assert refused.value.stop_reason == "superseded"
    assert new.holds(loan, run_id="run-1"), "it was not ended"


def test_unfinished_work_of_a_dead_run_is_refused_to_another_and_open_to_its_own(desk: Desk) -> None:
    script = f"""
from datetime import timedelta
from pathlib import Path
from necrocode.engine.stop import StopToken
from necrocode.git.workspace import GitWorkspaces
from necrocode.pool.folders import LocalFolders
loan = LocalFolders(Path({str(desk.home / "locks")!r})).allocate(
    {str(desk.folder)!r}, run_id="run-1", key="run-1-key", timeout=timedelta(0), stop=StopToken())
workspace = GitWorkspaces(Path({str(desk.home)!r})).open(loan, repo_url="", run_id="run-1")
refs = workspace.fetch(base_branch=None, branch="x")
workspace.lay(commit=refs.base_commit, tree=workspace.tree_of(refs.base_commit))
Path({str(desk.folder)!r}, "work").write_text("unfinished")
"""
    files = picture(desk.folder)
    subprocess.run([sys.executable, "-c", script], check=True)
    with pytest.raises(TaskError) as caught:
        desk.allocate("run-2")
    assert caught.value.stop_reason == "slot_dirty"
    assert "run-1" in str(caught.value)
    loan = desk.allocate("run-1")
    desk.open(loan).give_back()
    assert picture(desk.folder) == files
    desk.folders.release(loan, run_id="run-1", key="k")
    assert desk.allocate("run-2").kind == "folder"


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("missing", "slot_unusable"),
        ("plain", "slot_unusable"),
        ("bare", "unsupported_repo"),
        ("sparse", "unsupported_repo"),
        ("empty", "repo_empty"),
        ("merging", "slot_dirty"),
        ("sha256", "unsupported_repo"),
        ("lfs", "unsupported_repo"),
    ],
)
def test_what_cannot_be_used_is_named(desk: Desk, tmp_path: Path, kind: str, reason: str) -> None:
    if kind in ("missing", "plain", "empty", "bare", "sha256"):
        desk.folder = tmp_path / kind
    if kind in ("plain", "empty", "bare", "sha256"):
        desk.folder.mkdir()
    if kind == "empty":
        git(desk.folder, "init", "--quiet")
    elif kind == "bare":
        git(desk.folder, "init", "--quiet", "--bare")
    elif kind == "sha256":
        git(desk.folder, "init", "--quiet", "--object-format=sha256")
    elif kind == "sparse":
        git(desk.folder, "sparse-checkout", "set", "src")
    elif kind == "merging":
        (desk.folder / ".git" / "MERGE_HEAD").write_text(git(desk.folder, "rev-parse", "HEAD") + "\n")
    elif kind == "lfs":
        write(desk.folder, {".gitattributes": "*.bin filter=lfs\n", "x.bin": "pointer"})
        commit_all(desk.folder)
    error = refused(desk)
    assert error.stop_reason == reason
    assert str(desk.folder) in str(error) or kind == "lfs"


def test_a_folder_without_a_remote_needs_an_address(desk: Desk) -> None:
    git(desk.folder, "remote", "remove", "origin")
    loan = desk.allocate()
    with pytest.raises(TaskError) as caught:
        desk.open(loan)
    assert caught.value.stop_reason == "repo_not_found"
    named = GitWorkspaces(desk.home).open(loan, repo_url=desk.origin.url, run_id="run-1")
    assert named.fetch(base_branch=None, branch="x").base_branch == "main"


def test_another_runs_workspace_does_not_touch_it(desk: Desk) -> None:
    loan = desk.allocate()
    workspace = desk.open(loan)
    refs = workspace.fetch(base_branch=None, branch="x")
    workspace.lay(commit=refs.base_commit, tree=workspace.tree_of(refs.base_commit))
    other = GitWorkspaces(desk.home).open(loan, repo_url=desk.origin.url, run_id="run-2")
    with pytest.raises(EnvironmentFault) as caught:
        other.restore(workspace.tree_of(refs.base_commit))
    assert "run-1" in str(caught.value)
