"""How a configured token reaches a server: through askpass, to the right host only, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from necrocode.engine.errors import EnvironmentFault, TaskError, Transient
from necrocode.git.workspace import GitWorkspace, GitWorkspaces
from necrocode.states.ports import CommitRequest, PushRequest, SlotAllocation
from tests.necrocode.git.http_remote import GitServer, serving
from tests.necrocode.git.repositories import Origin, git, write

TOKEN = "tok-5up3r-s3cret"


@pytest.fixture
def origin(tmp_path: Path) -> Origin:
    made = Origin(tmp_path / "remote", {"a": "a"})
    git(made.bare, "config", "http.receivepack", "true")
    return made


@pytest.fixture
def server(origin: Origin) -> Iterator[GitServer]:
    with serving(GitServer(origin.bare.parent, TOKEN)) as running:
        yield running


def reach(tmp_path: Path, url: str, token: str | None) -> GitWorkspace:
    slot = tmp_path / "slot"
    slot.mkdir(exist_ok=True)
    workspaces = GitWorkspaces(tmp_path / "home", token=lambda: token, mask=lambda text: text.replace(TOKEN, "***"))
    return workspaces.open(SlotAllocation("s", slot / "work", 1), repo_url=url, run_id="run")


def test_fetch_and_push_log_in_with_the_token_and_show_it_to_nobody(
    tmp_path: Path, origin: Origin, server: GitServer
) -> None:
    workspace = reach(tmp_path, f"{server.url}/origin.git", TOKEN)
    refs = workspace.fetch(base_branch=None, branch="x")
    assert refs.base_commit == origin.head("main")
    workspace.lay(commit=refs.base_commit, tree=workspace.tree_of(refs.base_commit))
    write(tmp_path / "slot" / "work", {"b": "b"})
    at = datetime(2026, 1, 1, tzinfo=UTC)
    commit = workspace.commit(CommitRequest(workspace.snapshot(), refs.base_commit, "feat: b", "R", "r@x.com", at))
    workspace.push(PushRequest(commit, "x", None))
    assert origin.head("x") == commit
    assert set(server.logins) == {f"x-access-token:{TOKEN}"}
    assert server.exposed == []
    for path in tmp_path.rglob("*"):
        if path.is_file() and not path.is_symlink():
            assert TOKEN.encode() not in path.read_bytes(), path


def test_a_login_in_the_address_is_used_and_kept_nowhere(tmp_path: Path, server: GitServer) -> None:
    address = server.url.replace("http://", f"http://me:{TOKEN}@") + "/origin.git"
    workspace = reach(tmp_path, address, "another-token")
    refs = workspace.fetch(base_branch=None, branch="x")
    workspace.lay(commit=refs.base_commit, tree=workspace.tree_of(refs.base_commit))
    assert set(server.logins) == {f"me:{TOKEN}"}
    assert server.exposed == []
    assert TOKEN not in (tmp_path / "slot" / "work" / ".git" / "config").read_text()


@pytest.mark.parametrize("token", [None, "wrong-token"])
def test_a_refused_login_parks(tmp_path: Path, server: GitServer, token: str | None) -> None:
    with pytest.raises(EnvironmentFault) as caught:
        reach(tmp_path, f"{server.url}/origin.git", token).fetch(base_branch=None, branch="x")
    assert caught.value.stop_reason == "git_auth"
    assert not isinstance(caught.value, Transient)
    assert "wrong-token" not in str(caught.value)


def test_a_forbidden_repository_parks(tmp_path: Path, origin: Origin) -> None:
    with serving(GitServer(origin.bare.parent, TOKEN, status=403)) as server:
        with pytest.raises(EnvironmentFault) as caught:
            reach(tmp_path, f"{server.url}/origin.git", "wrong-token").fetch(base_branch=None, branch="x")
        assert caught.value.stop_reason == "git_auth"


def test_a_missing_repository_on_a_server_is_named(tmp_path: Path, server: GitServer) -> None:
    with pytest.raises(TaskError) as caught:
        reach(tmp_path, f"{server.url}/missing.git", TOKEN).fetch(base_branch=None, branch="x")
    assert caught.value.stop_reason == "repo_not_found"


def test_a_server_that_is_down_is_worth_another_try(tmp_path: Path, origin: Origin) -> None:
    with (
        serving(GitServer(origin.bare.parent, TOKEN, status=503)) as server,
        pytest.raises(Transient),
    ):
        reach(tmp_path, f"{server.url}/origin.git", TOKEN).fetch(base_branch=None, branch="x")


def test_another_host_that_we_are_sent_to_gets_no_token(tmp_path: Path, origin: Origin, server: GitServer) -> None:
    with serving(GitServer(origin.bare.parent, TOKEN, redirect_to=server.url)) as first:
        with pytest.raises(EnvironmentFault) as caught:
            reach(tmp_path, f"{first.url}/origin.git", TOKEN).fetch(base_branch=None, branch="x")
        assert caught.value.stop_reason == "git_auth"
    assert server.logins == []


def test_the_users_own_credential_helper_is_asked_when_no_token_is_configured(
    tmp_path: Path, origin: Origin, server: GitServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    helper = tmp_path / "helper"
    helper.write_text(f"#!/bin/sh\n[ $1 = get ] && printf 'username=u\\npassword={TOKEN}\\n'\n")
    helper.chmod(0o755)
    config = tmp_path / "gitconfig"
    config.write_text(f"[credential]\n\thelper = {helper}\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    refs = reach(tmp_path, f"{server.url}/origin.git", None).fetch(base_branch=None, branch="x")
    assert refs.base_commit == origin.head("main")
    assert set(server.logins) == {f"u:{TOKEN}"}
