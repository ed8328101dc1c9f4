"""A model that tries to leave its slot, or to have somebody else run what it planted."""

from __future__ import annotations

from pathlib import Path

from necrocode.demo.stage import git
from tests.e2e.conftest import Play
from tests.e2e.stage import BRANCH, CONTENTS, EDIT, FINISH, Stage, calls

NO_SANDBOX = {"NECROCODE_SANDBOX": "off"}
"""What is tried here must fail even where nothing confines the commands."""


def test_paths_that_leave_the_slot_are_refused(stage: Stage, play: Play) -> None:
    outside = stage.root / "outside"
    outside.mkdir()
    (outside / "secret.txt").write_text("treasure\n", encoding="utf-8")
    link = calls(("bash", {"command": f"ln -s {outside} way-out; ln -s {outside}/secret.txt leak"}))
    write = "write_file"
    attempts = calls(
        (write, {"path": "../escaped.txt", "content": "x"}),
        (write, {"path": f"{outside}/escaped.txt", "content": "x"}),
        (write, {"path": "way-out/escaped.txt", "content": "x"}),
        ("read_file", {"path": "way-out/secret.txt"}),
        ("read_file", {"path": "leak"}),
        ("read_file", {"path": "../../../../../../../../../etc/passwd"}),
        ("edit_file", {"path": "leak", "old_text": "treasure", "new_text": "gone"}),
        (write, {"path": ".git/config", "content": "[core]"}),
        (write, {"path": "a/../.git/hooks/pre-commit", "content": "x"}),
        ("search", {"pattern": "treasure", "path": "way-out"}),
    )
    away = calls(("bash", {"command": "rm way-out leak"}))
    model = play(link, attempts, away, EDIT, FINISH)
    done = stage.necrocode("run", stage.task(), **NO_SANDBOX)
    assert done.code == 0, done.err
    told = [message["content"] for message in model.requests[2].body["messages"] if message["role"] == "tool"][1:]
    assert len(told) == 10
    assert all(content.startswith("Error:") for content in told), told
    assert not any("treasure" in content.replace("'treasure'", "") for content in told)
    assert [path.name for path in outside.iterdir()] == ["secret.txt"]
    assert (outside / "secret.txt").read_text(encoding="utf-8") == "treasure\n"
    assert not list(stage.root.rglob("escaped.txt"))
    assert sorted(git(stage.remote, "ls-tree", "--name-only", BRANCH).split()) == sorted(CONTENTS)


def test_a_git_folder_that_points_elsewhere_leads_nobody_there(stage: Stage, play: Play) -> None:
    victim, treasure = stage.root / "victim", stage.root / "treasure"
    treasure.mkdir()
    (treasure / "keep.txt").write_text("keep\n", encoding="utf-8")
    git(stage.root, "clone", "--quiet", str(stage.remote), str(victim))
    git(victim, "config", "core.worktree", str(treasure))
    before = _content(victim)
    point = f"rm -rf .git && echo 'gitdir: {victim}/.git' > .git"
    play(EDIT, calls(("bash", {"command": point})), FINISH)
    done = stage.necrocode("run", stage.task(), **NO_SANDBOX)
    assert done.code == 0, done.err
    assert _content(victim) == before
    assert _content(treasure) == {"keep.txt": b"keep\n"}
    assert git(stage.remote, "diff", "--name-only", "main", BRANCH).split() == ["greet.py"]


def test_planted_hooks_filters_and_programs_in_the_configuration_never_run(stage: Stage, play: Play) -> None:
    marker = stage.root / "it-ran"
    script = f"#!/bin/sh\\ntouch {marker}\\ncat\\n"
    hooks = "applypatch-msg post-checkout post-commit post-index-change pre-commit pre-push reference-transaction"
    plant = f"""
set -e
printf '{script}' > .git/evil && chmod +x .git/evil
evil="$PWD/.git/evil"
mkdir -p .git/hooks
for hook in {hooks}; do cp .git/evil .git/hooks/$hook; done
for name in core.fsmonitor core.sshCommand core.pager core.editor credential.helper diff.external \
    filter.evil.clean filter.evil.smudge filter.evil.process gpg.program core.askPass; do
    git config "$name" "$evil"
done
git config core.hooksPath "$PWD/.git/hooks"
git config commit.gpgSign true
rm -f {marker}
echo '* filter=evil diff=evil' > .git/info/attributes
echo '*.py filter=evil' >> .gitattributes
"""
    undo = calls(("bash", {"command": "rm .gitattributes; echo done"}))
    play(calls(("bash", {"command": plant})), EDIT, undo, FINISH)
    done = stage.necrocode("run", stage.task(), **NO_SANDBOX)
    assert done.code == 0, done.err
    assert not marker.exists()
    # the next user of the slot does not run them either
    assert stage.necrocode("run", stage.task(task_id="2"), **NO_SANDBOX).code in (0, 1)
    assert not marker.exists()
    assert git(stage.remote, "diff", "--name-only", "main", BRANCH).split() == ["greet.py"]


def _content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
