"""Repositories that are missing, closed, empty, unusual, or not what they were."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from necrocode.demo.stage import git, make_remote
from tests.e2e.conftest import Play
from tests.e2e.stage import BRANCH, CONTENTS, FINISH, SOLVE, Finished, Stage, calls
from tests.necrocode.loopback import Request, Response, serve

SANDBOX_OFF = {"NECROCODE_SANDBOX": "off"}
"""So that a test command can change the remote in the middle of a run."""


def refused(stage: Stage, done: Finished, reason: str) -> str:
    """The task failed for ``reason``, and the remote is as it was; returns the error."""
    assert done.code == 1, done.err
    run = stage.only_run
    assert (run.state, run.status, run.stop_reason) == ("failed", "closed", reason)
    error = str(run.data["error"])
    assert error in done.err
    assert stage.events()[-1][1] == "TaskFailed"
    return error


def test_a_repository_that_does_not_exist_is_named(stage: Stage, play: Play) -> None:
    model = play(*SOLVE)
    done = stage.necrocode("run", stage.task(repo_url=str(stage.root / "nowhere.git")))
    assert "nowhere.git" in refused(stage, done, "repo_not_found")
    assert model.requests == []


def test_a_repository_that_needs_a_login_parks_and_goes_on_once_it_is_let_in(stage: Stage, play: Play) -> None:
    play(*SOLVE)
    git(stage.remote, "update-server-info")
    closed = True

    def answer(request: Request) -> Response:
        if closed:
            return Response(401, b"login, please", {"WWW-Authenticate": 'Basic realm="git"'})
        file = stage.remote.joinpath(*request.path[1:])
        return Response(200, file.read_bytes()) if file.is_file() else Response(404)

    with serve(answer) as server:
        task = stage.task(repo_url=f"{server.url}/remote.git")
        done = stage.necrocode("run", task, "--no-push")
        assert done.code == 3, done.err
        assert stage.only_run.status == "parked"
        assert stage.only_run.stop_reason == "git_auth"
        assert "credential helper" in str(stage.only_run.data["error"])
        assert f"necrocode resume {stage.only_run.run_id}" in done.err
        assert stage.lent_slots() == {}
        closed = False
        assert stage.necrocode("resume").code == 0
    assert stage.only_run.state == "completed"


def test_an_empty_repository_is_a_task_error(stage: Stage) -> None:
    shutil.rmtree(stage.remote)
    git(stage.root, "init", "--quiet", "--bare", str(stage.remote))
    assert "empty" in refused(stage, stage.necrocode("run", stage.task()), "repo_empty")


def test_a_default_branch_with_another_name_is_found_and_built_on(stage: Stage, play: Play) -> None:
    play(*SOLVE)
    git(stage.remote, "branch", "--move", "main", "trunk/current")
    done = stage.necrocode("run", stage.task())
    assert done.code == 0, done.err
    branches = stage.branches()
    assert set(branches) == {"trunk/current", BRANCH}
    assert git(stage.remote, "rev-parse", f"{BRANCH}^").strip() == branches["trunk/current"]
    assert stage.only_run.data["base_branch"] == "trunk/current"


def test_a_detached_default_is_a_task_error_that_says_what_to_name(stage: Stage) -> None:
    (stage.remote / "HEAD").write_text(stage.branches()["main"] + "\n", encoding="ascii")
    error = refused(stage, stage.necrocode("run", stage.task()), "no_base_branch")
    assert "detached" in error and "base_branch" in error


def test_a_default_branch_that_does_not_exist_is_a_task_error(stage: Stage) -> None:
    git(stage.remote, "symbolic-ref", "HEAD", "refs/heads/gone")
    error = refused(stage, stage.necrocode("run", stage.task()), "no_base_branch")
    assert "no default branch" in error and "base_branch" in error


def test_a_named_base_branch_is_built_on_and_a_missing_one_is_a_task_error(stage: Stage, play: Play) -> None:
    play(*SOLVE)
    (stage.remote / "HEAD").write_text(stage.branches()["main"] + "\n", encoding="ascii")
    missing = stage.necrocode("run", stage.task(base_branch="release"))
    assert "no branch release" in refused(stage, missing, "no_base_branch")
    assert stage.necrocode("run", stage.task(base_branch="main")).code == 0
    assert BRANCH in stage.branches()


def test_a_branch_of_somebody_else_is_never_written(stage: Stage, play: Play) -> None:
    play(*SOLVE)
    theirs = stage.push({"other.txt": "theirs\n"}, branch=BRANCH)
    error = refused(stage, stage.necrocode("run", stage.task()), "branch_exists")
    assert BRANCH in error and "--branch" in error and "on_branch_exists" in error
    assert stage.branches()[BRANCH] == theirs

    other = stage.necrocode("run", "--branch", "feature/mine", stage.task())
    assert other.code == 0, other.err
    suffix = stage.necrocode("run", stage.task(), NECROCODE_ON_BRANCH_EXISTS="suffix")
    assert suffix.code == 0, suffix.err
    assert set(stage.branches()) == {"main", BRANCH, "feature/mine", f"{BRANCH}-2"}
    assert stage.branches()[BRANCH] == theirs


def test_a_branch_that_appears_during_the_run_is_not_overwritten(stage: Stage, play: Play) -> None:
    play(*SOLVE)
    theirs = stage.branches()["main"]
    push = f"git -C {stage.remote} update-ref refs/heads/{BRANCH} {theirs}"
    done = stage.necrocode("run", stage.task(test_commands=[push]), **SANDBOX_OFF)
    assert BRANCH in refused(stage, done, "branch_exists")
    assert stage.branches()[BRANCH] == theirs


def test_a_default_branch_that_moves_meanwhile_changes_nothing(stage: Stage, play: Play) -> None:
    play(*SOLVE)
    before = stage.branches()["main"]
    later = stage.push({"later.txt": "x\n"}, branch="later")
    move = f"git -C {stage.remote} update-ref refs/heads/main {later}"
    done = stage.necrocode("run", stage.task(test_commands=[move]), **SANDBOX_OFF)
    assert done.code == 0, done.err
    assert stage.branches()["main"] == later
    assert git(stage.remote, "rev-parse", f"{BRANCH}^").strip() == before


def test_an_earlier_branch_of_ours_is_moved_onto_the_new_base(stage: Stage, play: Play) -> None:
    play(*SOLVE)
    assert stage.necrocode("run", stage.task()).code == 0
    first = stage.branches()[BRANCH]
    base = stage.push({"more.txt": "more\n"})
    play(calls(("write_file", {"path": "second.txt", "content": "second\n"})), FINISH)
    done = stage.necrocode("run", stage.task())
    assert done.code == 0, done.err
    assert git(stage.remote, "rev-parse", f"{BRANCH}^").strip() == base
    assert stage.branches()[BRANCH] != first
    for name, words in (("greet.py", "hello, {name}"), ("more.txt", "more"), ("second.txt", "second")):
        assert words in git(stage.remote, "show", f"{BRANCH}:{name}")
    assert stage.branch_updates(BRANCH) == 2


def test_a_rebase_conflict_is_handed_to_the_coder(stage: Stage, play: Play) -> None:
    play(*SOLVE)
    assert stage.necrocode("run", stage.task()).code == 0
    stage.push({"greet.py": "def greet(name):\n    return 'good day'\n"})
    resolved = "def greet(name):\n    return f'hello, {name}, good day'\n"
    model = play(
        calls(("read_file", {"path": "greet.py"})),
        calls(("write_file", {"path": "greet.py", "content": resolved})),
        FINISH,
    )
    done = stage.necrocode("run", stage.task())
    assert done.code == 0, done.err
    brief = model.requests[0].body["messages"][1]["content"]
    assert "conflict" in brief.lower() and "greet.py" in brief
    read = model.requests[1].body["messages"][-1]["content"]
    assert "<<<<<<<" in read and "good day" in read and "hello, {name}" in read
    assert git(stage.remote, "show", f"{BRANCH}:greet.py") == resolved


def test_a_repository_with_lfs_files_is_refused_and_named(stage: Stage, play: Play) -> None:
    model = play(*SOLVE)
    stage.push({".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n", "big.bin": "pointer\n"})
    assert "LFS" in refused(stage, stage.necrocode("run", stage.task()), "unsupported_repo")
    assert model.requests == []


def test_a_sha256_repository_is_refused(stage: Stage) -> None:
    shutil.rmtree(stage.remote)
    git(stage.root, "init", "--quiet", "--bare", "--object-format=sha256", str(stage.remote))
    shutil.rmtree(stage.root / "seed" / ".git")
    git(stage.root / "seed", "init", "--quiet", "--initial-branch=main", "--object-format=sha256")
    git(stage.root / "seed", "add", "--all")
    git(stage.root / "seed", "commit", "--quiet", "--no-gpg-sign", "-m", "one")
    git(stage.root / "seed", "push", "--quiet", str(stage.remote), "HEAD:refs/heads/main")
    refused(stage, stage.necrocode("run", stage.task()), "unsupported_repo")


def test_a_push_that_the_remote_rejects_fails_with_its_words(stage: Stage, play: Play) -> None:
    play(*SOLVE)
    hook = stage.remote / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho 'only on Tuesdays' >&2\nexit 1\n", encoding="ascii")
    hook.chmod(0o755)
    done = stage.necrocode("run", stage.task())
    assert "only on Tuesdays" in refused(stage, done, "push_rejected")
    assert set(stage.branches()) == {"main"}


def test_a_slot_that_was_left_in_disorder_is_laid_out_anew(stage: Stage, play: Play) -> None:
    play(*SOLVE)
    assert stage.necrocode("run", stage.task()).code == 0
    slot = Path(stage.only_run.data["last_slot"]["path"])
    for damage in ("dirty", "git elsewhere", "gone"):
        if damage == "gone":
            shutil.rmtree(slot)
        elif damage == "git elsewhere":
            (slot / ".git").write_text(f"gitdir: {stage.root / 'seed' / '.git'}\n", encoding="utf-8")
        else:
            (slot / ".git").mkdir(parents=True)
            (slot / ".git" / "index.lock").touch()
            (slot / ".git" / "HEAD").write_text("0" * 40 + "\n", encoding="ascii")
            (slot / "left-over.txt").write_text("left over\n", encoding="utf-8")
            (slot / "greet.py").write_text("nonsense\n", encoding="utf-8")
        done = stage.necrocode("run", stage.task(task_id=damage))
        assert done.code == 0, done.err
        run = stage.runs()[-1]
        files = git(stage.remote, "ls-tree", "--name-only", str(run.data["branch"])).split()
        assert sorted(files) == sorted(CONTENTS)
        assert run.data["last_slot"]["path"] == str(slot)


def test_odd_names_kinds_and_contents_of_files_come_through_unchanged(stage: Stage, play: Play) -> None:
    play(*SOLVE)
    seed = stage.root / "seed"
    (seed / "sp ace").mkdir()
    (seed / "sp ace" / "two\nlines.txt").write_text("x\n", encoding="utf-8")
    (seed / os.fsdecode(b"lat\xefn")).write_text("y\n", encoding="utf-8")
    (seed / "dangling").symlink_to("/nowhere/x")
    (seed / "to-folder").symlink_to("sp ace")
    (seed / "run.sh").write_text("#!/bin/sh\n", encoding="utf-8")
    (seed / "run.sh").chmod(0o755)
    (seed / "crlf.txt").write_bytes(b"a\r\nb\n")
    (seed / "big.bin").write_bytes(os.urandom(2_000_000))
    other = stage.root / "other.git"
    make_remote(other, stage.root / "other", {"f": "1\n"}, "other")
    git(seed, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(other), "vendored")
    stage.push({".gitattributes": "*.txt text=auto eol=crlf\n"})
    # the files are touched, and with them git's idea of what may have changed
    look = "chmod -R u+w . ; touch -d '2001-01-01' crlf.txt run.sh 'sp ace'/*; sh check.sh"
    done = stage.necrocode("run", stage.task(test_commands=[look]))
    assert done.code == 0, done.err
    assert git(stage.remote, "diff", "--name-status", "main", BRANCH).split() == ["M", "greet.py"]


def test_the_users_git_settings_are_heeded_but_their_hooks_do_not_run(stage: Stage, play: Play) -> None:
    play(*SOLVE)
    ran, hooks, user = stage.root / "hook-ran", stage.root / "hooks", stage.root / "user"
    hooks.mkdir()
    user.mkdir()
    for name in ("pre-push", "post-checkout", "pre-commit", "post-commit", "watch"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {ran}\nexit 1\n", encoding="utf-8")
        (hooks / name).chmod(0o755)
    (user / ".gitconfig").write_text(
        f'[url "{stage.root}/"]\n\tinsteadOf = "mine:"\n[commit]\n\tgpgSign = true\n[push]\n\tdefault = nothing\n'
        f"[core]\n\thooksPath = {hooks}\n\tfsmonitor = {hooks}/watch\n\tautocrlf = true\n[fetch]\n\tprune = true\n",
        encoding="utf-8",
    )
    done = stage.necrocode("run", stage.task(repo_url="mine:remote.git"))
    assert done.code == 0, done.err
    assert git(stage.remote, "diff", "--name-only", "main", BRANCH).split() == ["greet.py"]
    assert not ran.exists()
