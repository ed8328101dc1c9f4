"""Fetching from and pushing to real remotes: what each refusal is called, and that nobody's work is overwritten."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from necrocode.engine.errors import EnvironmentFault, Interrupted, TaskError, Transient
from necrocode.engine.stop import StopToken
from necrocode.git.command import run_git, words
from necrocode.git.layout import RemoteUrl, RepoPlace
from necrocode.git.workspace import GitWorkspace, GitWorkspaces
from necrocode.states.ports import CommitRequest, PushRequest, RemoteRefs, SlotAllocation
from tests.necrocode.git.conftest import Bench
from tests.necrocode.git.repositories import Origin, commit_all, git, write

AT = datetime(2026, 1, 2, tzinfo=UTC)


def reach(tmp_path: Path, url: str, **settings: object) -> GitWorkspace:
    """A workspace on any address."""
    workspaces = GitWorkspaces(tmp_path / "home", **settings)  # type: ignore[arg-type]
    return workspaces.open(SlotAllocation("s", tmp_path / "s" / "work", 1), repo_url=url, run_id="run")


def refused(workspace: GitWorkspace, base_branch: str | None = None) -> tuple[str, str]:
    """Stop reason and words of a fetch that fails for the task's own fault."""
    with pytest.raises(TaskError) as caught:
        workspace.fetch(base_branch=base_branch, branch="x")
    return caught.value.stop_reason, str(caught.value)


def work(workspace: GitWorkspace, bench: Bench, files: dict[str, str | bytes]) -> tuple[RemoteRefs, str]:
    """Lay the base, change files, commit."""
    refs = workspace.fetch(base_branch=None, branch="feature/x")
    workspace.lay(commit=refs.base_commit, tree=workspace.tree_of(refs.base_commit))
    write(bench.slot(), files)
    tree = workspace.snapshot()
    return refs, workspace.commit(CommitRequest(tree, refs.base_commit, "feat: x", "R", "r@example.com", AT))


# --- fetching ---------------------------------------------------------------------------------------------------------


def test_a_default_branch_of_any_name_is_the_base(tmp_path: Path) -> None:
    origin = Origin(tmp_path / "remote", {"a": "a"}, branch="trunk/stable")
    refs = reach(tmp_path, origin.url).fetch(base_branch=None, branch="x")
    assert refs.base_branch == "trunk/stable"
    assert refs.base_commit == origin.head("trunk/stable")


def test_a_named_base_and_our_earlier_branch_are_fetched(tmp_path: Path) -> None:
    origin = Origin(tmp_path / "remote", {"a": "a"})
    next_commit = origin.commit({"b": "b"}, branch="next")
    ours = origin.commit({"c": "c"}, branch="feature/x")
    workspace = reach(tmp_path, origin.url)
    refs = workspace.fetch(base_branch="next", branch="feature/x")
    assert refs == RemoteRefs("next", next_commit, ours)
    assert workspace.message_of(ours) == "change\n"
    moved = origin.commit({"d": "d"}, branch="next")
    assert workspace.fetch(base_branch="next", branch="feature/x").base_commit == moved


def test_a_branch_rewritten_on_the_remote_is_fetched_as_it_is_now(tmp_path: Path) -> None:
    origin = Origin(tmp_path / "remote", {"a": "a"})
    workspace = reach(tmp_path, origin.url)
    first = workspace.fetch(base_branch=None, branch="x").base_commit
    git(origin.checkout, "commit", "--quiet", "--amend", "-m", "rewritten")
    git(origin.checkout, "push", "--quiet", "--force", "origin", "main")
    second = workspace.fetch(base_branch=None, branch="x").base_commit
    assert second == origin.head("main")
    assert second != first
    assert workspace.message_of(first) == "change\n", "what a run may stand on is never thrown away"


def test_a_second_fetch_of_the_same_commits_asks_only(tmp_path: Path) -> None:
    origin = Origin(tmp_path / "remote", {"a": "a"})
    workspace = reach(tmp_path, origin.url)
    refs = workspace.fetch(base_branch=None, branch="x")
    # A hook of the remote's that fetching would run: git-upload-pack runs this command to make packs.
    git(origin.bare, "config", "uploadpack.packObjectsHook", "false")
    assert workspace.fetch(base_branch=None, branch="x") == refs


@pytest.mark.parametrize("missing", ["nothing at all", "a plain folder"])
def test_no_repository_is_named(tmp_path: Path, missing: str) -> None:
    if missing == "a plain folder":
        (tmp_path / "nowhere").mkdir()
    reason, said = refused(reach(tmp_path, str(tmp_path / "nowhere")))
    assert reason == "repo_not_found"
    assert str(tmp_path / "nowhere") in said


def test_an_empty_repository_is_named(tmp_path: Path) -> None:
    origin = Origin(tmp_path / "remote")
    assert refused(reach(tmp_path, origin.url))[0] == "repo_empty"
    assert refused(reach(tmp_path, origin.url), "main")[0] == "repo_empty"


def test_a_missing_base_branch_is_named(tmp_path: Path) -> None:
    origin = Origin(tmp_path / "remote", {"a": "a"})
    reason, said = refused(reach(tmp_path, origin.url), "develop")
    assert reason == "no_base_branch"
    assert "develop" in said


def test_a_detached_head_of_the_remote_is_named(tmp_path: Path) -> None:
    origin = Origin(tmp_path / "remote", {"a": "a"})
    git(origin.bare, "update-ref", "--no-deref", "HEAD", str(origin.head("main")))
    reason, said = refused(reach(tmp_path, origin.url))
    assert reason == "no_base_branch"
    assert "detached" in said
    assert reach(tmp_path, origin.url).fetch(base_branch="main", branch="x").base_commit == origin.head("main")


def test_a_default_branch_that_does_not_exist_is_named(tmp_path: Path) -> None:
    origin = Origin(tmp_path / "remote", {"a": "a"})
    git(origin.bare, "symbolic-ref", "HEAD", "refs/heads/gone")
    assert refused(reach(tmp_path, origin.url))[0] == "no_base_branch"


def test_lfs_and_other_filters_are_refused_only_where_a_file_uses_them(tmp_path: Path) -> None:
    origin = Origin(tmp_path / "remote", {".gitattributes": "*.psd filter=lfs diff=lfs -text\n", "a": "a"})
    workspace = reach(tmp_path, origin.url)
    workspace.fetch(base_branch=None, branch="x")
    origin.commit({"art/logo.psd": "version https://git-lfs.github.com/spec/v1\n"})
    reason, said = refused(workspace)
    assert reason == "unsupported_repo"
    assert "LFS" in said
    assert "art/logo.psd" in said
    git(origin.checkout, "rm", "--quiet", "-r", "art")
    origin.commit({"keys/.gitattributes": "secret* filter=git-crypt\n", "keys/secret.key": "x"})
    assert "git-crypt" in refused(workspace)[1]


def test_a_sha256_repository_is_refused(tmp_path: Path) -> None:
    bare = tmp_path / "new.git"
    git(tmp_path, "init", "--quiet", "--bare", "--object-format=sha256", str(bare))
    checkout = tmp_path / "checkout"
    git(tmp_path, "init", "--quiet", "--object-format=sha256", str(checkout))
    write(checkout, {"a": "a"})
    commit_all(checkout)
    git(checkout, "push", "--quiet", str(bare), "HEAD:refs/heads/main")
    assert refused(reach(tmp_path, str(bare)))[0] == "unsupported_repo"


def test_a_shallow_remote_is_refused(tmp_path: Path) -> None:
    origin = Origin(tmp_path / "remote", {"a": "a"})
    origin.commit({"a": "b"})
    git(tmp_path, "clone", "--quiet", "--bare", "--depth=1", f"file://{origin.bare}", "shallow.git")
    assert refused(reach(tmp_path, str(tmp_path / "shallow.git")))[0] == "unsupported_repo"


def test_a_transport_that_runs_commands_is_refused(tmp_path: Path) -> None:
    reason, _ = refused(reach(tmp_path, f"ext::sh -c 'touch {tmp_path}/ran'"))
    assert reason in ("unsupported_repo", "repo_not_found")
    assert not (tmp_path / "ran").exists()


def test_a_remote_that_cannot_be_reached_is_worth_another_try(tmp_path: Path) -> None:
    with pytest.raises(Transient):
        reach(tmp_path, "http://127.0.0.1:1/x.git").fetch(base_branch=None, branch="x")


def test_two_processes_may_fetch_at_once(tmp_path: Path) -> None:
    origin = Origin(tmp_path / "remote", {"a": "a"})
    results: list[RemoteRefs] = []

    def fetch() -> None:
        results.append(reach(tmp_path, origin.url).fetch(base_branch=None, branch="x"))

    threads = [threading.Thread(target=fetch) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {result.base_commit for result in results} == {origin.head("main")}
    assert len(results) == 4


# --- rebasing ---------------------------------------------------------------------------------------------------------


def test_an_earlier_branch_is_moved_onto_the_new_base(bench: Bench) -> None:
    bench.origin.commit({"src/new.py": "ours\n"}, branch="feature/x")
    git(bench.origin.checkout, "reset", "--quiet", "--hard", "HEAD~1")
    bench.origin.commit({"README.md": "moved on\n"})
    workspace = bench.open()
    refs = workspace.fetch(base_branch=None, branch="feature/x")
    assert refs.branch_commit is not None
    moved = workspace.rebase(branch_commit=refs.branch_commit, base_commit=refs.base_commit)
    assert moved.conflicts == ()
    base = workspace.tree_of(refs.base_commit)
    assert [(c.path, c.status) for c in workspace.changes(base, moved.tree)] == [("src/new.py", "A")]
    assert workspace.rebase(branch_commit=refs.base_commit, base_commit=refs.base_commit).tree == base
    workspace.lay(commit=refs.base_commit, tree=moved.tree)
    assert git(bench.slot(), "status", "--porcelain") == "?? src/new.py"


def test_conflicts_are_written_into_the_files_and_listed(bench: Bench) -> None:
    origin = bench.origin
    origin.commit({"text": "one\ntwo\nthree\n", "gone": "1\n", "kept": "1\n", "bin": b"\0\1", "latin": b"caf\xe9\n"})
    git(origin.checkout, "checkout", "--quiet", "-b", "feature/x")
    (origin.checkout / "gone").unlink()
    origin.commit(
        {
            "text": "one\nOURS\nthree\n",
            "kept": "ours\n",
            "bin": b"\0ours",
            "latin": b"\xe9\xe9\n",
            "both": "ours\n",
            "thing": "file",
        },
        branch="feature/x",
    )
    git(origin.checkout, "checkout", "--quiet", "main")
    (origin.checkout / "kept").unlink()
    origin.commit(
        {
            "text": "one\nTHEIRS\nthree\n",
            "gone": "theirs\n",
            "bin": b"\0theirs",
            "latin": b"\xe8\n",
            "both": "theirs\n",
            "thing/inner": "x",
        }
    )
    workspace = bench.open()
    refs = workspace.fetch(base_branch=None, branch="feature/x")
    assert refs.branch_commit is not None
    moved = workspace.rebase(branch_commit=refs.branch_commit, base_commit=refs.base_commit)
    assert moved.conflicts == ("bin", "both", "gone", "kept", "latin", "text", "thing~branch")
    workspace.lay(commit=refs.base_commit, tree=moved.tree)
    slot = bench.slot()
    assert (slot / "text").read_text() == "one\n<<<<<<< base\nTHEIRS\n=======\nOURS\n>>>>>>> branch\nthree\n"
    assert (slot / "latin").read_bytes() == b"<<<<<<< base\n\xe8\n=======\n\xe9\xe9\n>>>>>>> branch\n"
    assert (slot / "both").read_text() == "<<<<<<< base\ntheirs\n=======\nours\n>>>>>>> branch\n"
    assert (slot / "bin").read_bytes() == b"\0ours"
    assert (slot / "gone").read_text() == "theirs\n"
    assert (slot / "kept").read_text() == "ours\n"
    assert (slot / "thing" / "inner").read_text() == "x"
    assert (slot / "thing~branch").read_text() == "file"
    assert workspace.snapshot() == moved.tree


# --- pushing ----------------------------------------------------------------------------------------------------------


def test_a_commit_has_landed_also_when_others_built_on_it(bench: Bench) -> None:
    workspace = bench.open()
    _, commit = work(workspace, bench, {"new": "new"})
    assert not workspace.has_landed(commit, "feature/x")
    workspace.push(PushRequest(commit, "feature/x", None))
    assert workspace.has_landed(commit, "feature/x")
    git(bench.origin.checkout, "fetch", "--quiet", "origin")
    git(bench.origin.checkout, "checkout", "--quiet", "origin/feature/x")
    bench.origin.commit({"theirs": "theirs"}, branch="feature/x")
    assert bench.origin.head("feature/x") != commit
    assert bench.open().has_landed(commit, "feature/x")
    assert not bench.open().has_landed(commit, "main")


def test_a_new_branch_is_pushed_once_and_again_without_a_write(bench: Bench) -> None:
    workspace = bench.open()
    _, commit = work(workspace, bench, {"new": "new"})
    bench.origin.hook("post-receive", "cat >> pushes")
    request = PushRequest(commit, "feature/x", None)
    workspace.push(request)
    assert bench.origin.head("feature/x") == commit
    assert workspace.remote_branch("feature/x") == commit
    workspace.push(request)
    workspace.push(PushRequest(commit, "feature/x", commit))
    assert len((bench.origin.bare / "pushes").read_text().splitlines()) == 1


def test_a_branch_that_somebody_else_made_is_left_as_it_is(bench: Bench) -> None:
    workspace = bench.open()
    _, commit = work(workspace, bench, {"new": "new"})
    theirs = bench.origin.commit({"their": "work"}, branch="feature/x")
    for expected in (None, "1" * 40):
        with pytest.raises(TaskError) as caught:
            workspace.push(PushRequest(commit, "feature/x", expected))
        assert caught.value.stop_reason == "branch_exists"
        assert theirs in str(caught.value)
    assert bench.origin.head("feature/x") == theirs


def test_an_earlier_branch_of_ours_is_replaced_if_it_is_what_it_was(bench: Bench) -> None:
    earlier = bench.origin.commit({"earlier": "x"}, branch="feature/x")
    git(bench.origin.checkout, "reset", "--quiet", "--hard", "HEAD~1")
    bench.origin.commit({"README.md": "moved on\n"})
    workspace = bench.open()
    refs, commit = work(workspace, bench, {"new": "new"})
    assert refs.branch_commit == earlier
    workspace.push(PushRequest(commit, "feature/x", earlier))
    assert bench.origin.head("feature/x") == commit


def test_of_pushers_that_expect_the_same_exactly_one_wins(bench: Bench) -> None:
    count = 6
    commits, outcomes = [], dict[int, str]()
    workspaces = []
    for number in range(count):
        workspace = bench.open(f"run-{number}", number + 1)
        refs = workspace.fetch(base_branch=None, branch="feature/x")
        workspace.lay(commit=refs.base_commit, tree=workspace.tree_of(refs.base_commit))
        write(bench.slot(number + 1), {"who": str(number)})
        request = CommitRequest(workspace.snapshot(), refs.base_commit, "feat: x", "R", "r@example.com", AT)
        commits.append(workspace.commit(request))
        workspaces.append(workspace)
    # Every pusher has seen the old value before the first of them writes.
    bench.origin.hook("pre-receive", "sleep 0.3")
    start = threading.Barrier(count)

    def push(number: int) -> None:
        start.wait()
        try:
            workspaces[number].push(PushRequest(commits[number], "feature/x", None))
            outcomes[number] = "pushed"
        except (TaskError, Transient) as error:
            outcomes[number] = str(error.stop_reason)

    threads = [threading.Thread(target=push, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [number for number, outcome in outcomes.items() if outcome == "pushed"]
    assert len(winners) == 1
    assert bench.origin.head("feature/x") == commits[winners[0]]
    assert set(outcomes.values()) <= {"pushed", "branch_exists"}


@pytest.mark.parametrize("hook", ["pre-receive", "update"])
def test_a_hooks_refusal_is_told_in_its_own_words(bench: Bench, hook: str) -> None:
    workspace = bench.open()
    _, commit = work(workspace, bench, {"new": "new"})
    bench.origin.hook(hook, "echo 'commits need a ticket number' >&2\nexit 1")
    with pytest.raises(TaskError) as caught:
        workspace.push(PushRequest(commit, "feature/x", None))
    assert caught.value.stop_reason == "push_rejected"
    assert "commits need a ticket number" in str(caught.value)
    assert bench.origin.head("feature/x") is None


def test_a_remote_that_denies_rewriting_is_told_of(bench: Bench) -> None:
    earlier = bench.origin.commit({"earlier": "x"}, branch="feature/x")
    git(bench.origin.checkout, "reset", "--quiet", "--hard", "HEAD~1")
    git(bench.origin.bare, "config", "receive.denyNonFastForwards", "true")
    workspace = bench.open()
    _, commit = work(workspace, bench, {"new": "new"})
    with pytest.raises(TaskError) as caught:
        workspace.push(PushRequest(commit, "feature/x", earlier))
    assert caught.value.stop_reason == "push_rejected"
    assert bench.origin.head("feature/x") == earlier


def test_a_branch_in_the_way_of_the_branchs_name_is_told_of(bench: Bench) -> None:
    bench.origin.commit({"x": "x"}, branch="feature")
    workspace = bench.open()
    _, commit = work(workspace, bench, {"new": "new"})
    with pytest.raises(TaskError) as caught:
        workspace.push(PushRequest(commit, "feature/x", None))
    assert caught.value.stop_reason == "push_rejected"
    assert bench.origin.head("feature/x") is None


def test_hooks_and_configuration_around_us_run_nothing(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hooks = tmp_path / "hooks"
    write(hooks, {"pre-push": f"#!/bin/sh\ntouch {tmp_path}/ran\n"})
    (hooks / "pre-push").chmod(0o755)
    config = tmp_path / "gitconfig"
    config.write_text(f"[core]\n\thooksPath = {hooks}\n[push]\n\tgpgSign = if-asked\n\tfollowTags = true\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_WORK_TREE", str(tmp_path))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "index"))
    workspace = bench.open()
    _, commit = work(workspace, bench, {"new": "new"})
    workspace.push(PushRequest(commit, "feature/x", None))
    assert bench.origin.head("feature/x") == commit
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "elsewhere").exists()


def test_the_users_own_rewriting_of_addresses_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    origin = Origin(tmp_path / "remote", {"a": "a"})
    config = tmp_path / "gitconfig"
    config.write_text(f'[url "{origin.bare.parent}/"]\n\tinsteadOf = https://git.example.com/\n')
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    refs = reach(tmp_path, "https://git.example.com/origin.git").fetch(base_branch=None, branch="x")
    assert refs.base_commit == origin.head("main")


# --- the command ------------------------------------------------------------------------------------------------------


def test_a_stop_ends_git_and_everything_it_started(bench: Bench) -> None:
    stop = StopToken()
    workspaces = GitWorkspaces(bench.home, stop_of=lambda _: stop)
    workspace = bench.open(workspaces=workspaces)
    _, commit = work(workspace, bench, {"new": "new"})
    bench.origin.hook("pre-receive", "echo $$ > started\nsleep 60\n")
    started = bench.origin.bare / "started"

    def stop_it() -> None:
        while not (started.exists() and started.read_text()):
            time.sleep(0.02)
        stop.stop(Interrupted("enough"))

    threading.Thread(target=stop_it, daemon=True).start()
    began = time.monotonic()
    with pytest.raises(Interrupted):
        workspace.push(PushRequest(commit, "feature/x", None))
    assert time.monotonic() - began < 30
    pid = int(started.read_text())
    for _ in range(1000):
        if not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2][:3]:
            break
        time.sleep(0.02)
    else:
        pytest.fail("the hook still runs")
    assert bench.origin.head("feature/x") is None


def test_a_command_that_does_not_end_is_ended(bench: Bench) -> None:
    workspace = bench.open(workspaces=GitWorkspaces(bench.home, network_timeout=timedelta(seconds=3)))
    _, commit = work(workspace, bench, {"new": "new"})
    bench.origin.hook("pre-receive", "sleep 60")
    with pytest.raises(Transient) as caught:
        workspace.push(PushRequest(commit, "feature/x", None))
    assert caught.value.stop_reason == "git_timeout"


def test_no_git_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EnvironmentFault) as caught:
        run_git(["version"])
    assert caught.value.stop_reason == "no_git"


def test_words_hold_no_login_and_no_end() -> None:
    said = words("fatal: https://user:pass@host/x\x1b[31m\nremote: no\n" + "x" * 9000)
    assert "pass" not in said
    assert "\x1b" not in said
    assert len(said) < 2100


# --- addresses --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://host/a/b", "https://HOST/a/b.git/"),
        ("https://user:pass@host/a/b", "https://host/a/b.git"),
        ("git@host:a/b.git", "ssh://git@host/a/b"),
        ("/tmp/../tmp/x/", "file:///tmp/x"),
    ],
)
def test_two_spellings_are_one_repository(one: str, other: str) -> None:
    assert RemoteUrl.parse(one).key == RemoteUrl.parse(other).key


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://host/a", "https://host/b"),
        ("https://host/a", "https://host:444/a"),
        ("ssh://a@host/x", "ssh://b@host/x"),
    ],
)
def test_two_repositories_are_two(one: str, other: str) -> None:
    assert RemoteUrl.parse(one).key != RemoteUrl.parse(other).key


@pytest.mark.parametrize("text", ["", "  ", "-x", "https:///nohost", "a\nb", "--upload-pack=x"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"address|host"):
        RemoteUrl.parse(text)


def test_a_password_in_an_address_leaves_it() -> None:
    url = RemoteUrl.parse("https://me:s3cret@host:8443/a/b")
    assert url.url == "https://host:8443/a/b"
    assert (url.username, url.password, url.token_host) == ("me", "s3cret", "host:8443")
    assert RemoteUrl.parse("http://host/x").token_host is None, "a token is never sent in the clear"
    assert "s3cret" not in RemoteUrl.parse("ssh://me:s3cret@host/x").url


def test_a_place_is_named_after_its_repository(tmp_path: Path) -> None:
    place = RepoPlace(tmp_path, RemoteUrl.parse("git@host:team/Some Thing!.git").key)
    assert place.path.parent == tmp_path / "repos"
    assert place.path.name.startswith("some-thing-")
