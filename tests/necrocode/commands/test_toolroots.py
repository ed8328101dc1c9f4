"""Which folders stay readable when the home is hidden."""

from __future__ import annotations

from pathlib import Path

import pytest

from necrocode.commands.toolroots import credential_files, tool_roots


@pytest.fixture
def home(tmp_path: Path) -> Path:
    path = tmp_path / "home" / "user"
    path.mkdir(parents=True)
    return path


def folder(path: Path, *names: str) -> Path:
    for name in names:
        (path / name).mkdir(parents=True, exist_ok=True)
    path.mkdir(parents=True, exist_ok=True)
    return path


def executable(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def roots(home: Path, *path: Path, hidden: tuple[Path, ...] = (), **variables: str) -> list[Path]:
    source = {"PATH": ":".join(map(str, path)), "HOME": str(home), **variables}
    return tool_roots(source, home, hidden)


def test_the_systems_folders_need_no_place_of_their_own(home: Path) -> None:
    assert roots(home, Path("/usr/bin"), Path("/bin"), Path("/usr/local/sbin"), Path("/nowhere/bin")) == []


def test_a_virtual_environment_brings_its_interpreter(home: Path) -> None:
    python = executable(home / ".local/share/uv/python/cpython-3.12/bin/python3.12")
    venv = folder(home / "project/.venv", "bin", "lib")
    (venv / "pyvenv.cfg").write_text(f"home = {python.parent}\nversion = 3.12\n")
    folder(python.parents[1], "lib")
    (venv / "bin/python").symlink_to(python)
    assert roots(home, venv / "bin") == [venv, python.parents[1]]


def test_links_are_followed_hop_by_hop(home: Path) -> None:
    store = folder(home / "tools/ruff-1", "bin", "lib")
    executable(store / "bin/ruff")
    between = folder(home / ".local/share/between/bin")
    folder(between.parent, "lib")
    (between / "ruff").symlink_to("../../../../tools/ruff-1/bin/ruff")
    (folder(home / ".local/bin") / "ruff").symlink_to(between / "ruff")
    assert roots(home, home / ".local/bin") == [home / ".local/bin", store, home / ".local/share/between"]


def test_a_version_manager_is_readable_whole(home: Path) -> None:
    folder(home / ".pyenv", "shims", "bin", "libexec", "versions/3.12/bin")
    folder(home / ".cargo", "bin", "registry")
    folder(home / ".rustup", "toolchains")
    node = folder(home / ".nvm/versions/node/v22", "bin", "lib")
    assert set(roots(home, home / ".pyenv/shims", home / ".cargo/bin", node / "bin")) == {
        home / ".pyenv",
        home / ".cargo",
        home / ".rustup",
        node,
    }


def test_a_linked_version_is_readable_under_both_names(home: Path) -> None:
    real = folder(home / ".sdk/java/21", "bin", "lib")
    (home / ".sdk/java/current").symlink_to("21")
    assert roots(home, home / ".sdk/java/current/bin") == [real, home / ".sdk/java/current"]


def test_a_toolchain_variable_counts_too(home: Path) -> None:
    java = folder(home / "jdk")
    assert roots(home, JAVA_HOME=str(java), GOPATH=str(home), NVM_DIR="relative", CARGO_HOME="/nowhere") == [java]


def test_the_home_itself_never_is(home: Path) -> None:
    folder(home, "bin", "lib")
    executable(home / "bin/tool")
    assert roots(home, home / "bin", home, home.parent, Path("/")) == [home / "bin"]


def test_a_folder_of_scripts_does_not_uncover_the_project_around_it(home: Path) -> None:
    project = folder(home / "project", "bin", "secrets")
    assert roots(home, project / "bin") == [project / "bin"]


def test_a_link_to_a_lone_script_uncovers_that_script_only(home: Path) -> None:
    script = executable(home / "notes/run.sh")
    (folder(home / ".local/bin") / "run").symlink_to(script)
    assert roots(home, home / ".local/bin") == [home / ".local/bin", script]


@pytest.mark.parametrize("place", [".ssh", ".aws", ".config", ".gnupg", ".docker", ".kube", ".config/tool/deep"])
def test_places_of_credentials_never_are(home: Path, place: str) -> None:
    folder(home / place, "bin", "lib")
    executable(home / place / "bin/tool")
    (folder(home / ".local/bin") / "tool").symlink_to(home / place / "bin/tool")
    (home / ".local/bin/netrc").symlink_to(home / ".netrc")
    (home / ".netrc").write_text("machine host password secret")
    assert roots(home, home / place / "bin", home / ".local/bin") == [home / ".local/bin"]


def test_what_is_hidden_stays_hidden(home: Path) -> None:
    own = folder(home / "prefix/necrocode", "bin", "lib")
    folder(home / "prefix", "bin", "lib")
    assert roots(home, own / "bin", own, hidden=(own,)) == []
    # not as a part of something else either
    assert roots(home, home / "prefix/bin", hidden=(own,)) == [home / "prefix/bin"]


def test_a_loop_of_links_ends(home: Path) -> None:
    place = folder(home / "loop/bin")
    (place / "a").symlink_to("b")
    (place / "b").symlink_to("a")
    assert roots(home, place) == [place]


def test_logins_inside_a_tools_folder_are_named(home: Path) -> None:
    cargo = folder(home / ".cargo", "bin", "registry")
    (cargo / "credentials.toml").write_text("[registry]\ntoken = 'secret'\n")
    assert credential_files(roots(home, cargo / "bin")) == [cargo / "credentials.toml"]
