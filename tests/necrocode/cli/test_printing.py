"""What the commands print: the JSON documents that scripts rely on, and lines for people."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from datetime import datetime
from typing import Any

import pytest

from necrocode.states.lifecycle import LIFECYCLE
from tests.e2e.conftest import Play
from tests.e2e.stage import BRANCH, SOLVE, Stage

RUN_FIELDS = {
    "id": str,
    "task_id": str,
    "spec_name": str,
    "state": str,
    "status": str,
    "stop_reason": str | None,
    "attempts": int,
    "branch": str,
    "commit": str | None,
    "slot_id": str | None,
    "artifacts": list,
    "llm_calls": int,
    "tokens_in": int,
    "tokens_out": int,
    "cost_usd": float | None,
    "error": str | None,
    "created_at": str,
    "finished_at": str | None,
    "epoch": int,
    "head_seq": int,
    "head_hash": str,
}
"""DESIGN.md §5: additions only."""

ENTRY_FIELDS = {"run_id", "seq", "kind", "state", "name", "key", "epoch", "at", "payload", "prev_hash", "hash"}
ARTIFACT_FIELDS = {"type", "uri", "size_bytes", "sha256", "created_at", "metadata"}


def assert_run(run: dict[str, Any]) -> None:
    """The fields are there and of their kinds."""
    for field, kind in RUN_FIELDS.items():
        assert field in run, field
        assert isinstance(run[field], kind), (field, run[field])
    for field in ("created_at", "finished_at"):
        if run[field] is not None:
            assert datetime.fromisoformat(run[field]).tzinfo is not None
    assert re.fullmatch("[0-9a-f]{64}", run["head_hash"])
    for artifact in run["artifacts"]:
        assert set(artifact) >= ARTIFACT_FIELDS


def assert_entries(run: dict[str, Any], entries: list[dict[str, Any]]) -> None:
    """Numbered from 1, chained, with payloads as JSON."""
    assert [entry["seq"] for entry in entries] == list(range(1, run["head_seq"] + 1))
    for before, entry in zip([None, *entries], entries, strict=False):
        assert set(entry) == ENTRY_FIELDS
        assert isinstance(entry["payload"], dict)
        assert entry["run_id"] == run["id"]
        assert datetime.fromisoformat(entry["at"]).tzinfo is not None
        assert entry["prev_hash"] == (before["hash"] if before else "")
    assert entries[-1]["hash"] == run["head_hash"]


def test_run_json_is_one_document_on_stdout_and_show_json_gives_the_same(stage: Stage, play: Play) -> None:
    play(*SOLVE)
    prices = json.dumps({"gpt-4": {"input": "30", "output": "60"}})
    done = stage.necrocode("run", "--json", stage.task(), NECROCODE_PRICES=prices, NECROCODE_LOG_LEVEL="info")
    assert done.code == 0, done.err
    document = done.json
    assert set(document) == {"run", "entries"}
    run = document["run"]
    assert_run(run)
    assert_entries(run, document["entries"])
    assert (run["state"], run["status"], run["stop_reason"], run["error"]) == ("completed", "closed", None, None)
    assert (run["branch"], run["commit"]) == (BRANCH, stage.branches()[BRANCH])
    assert (run["llm_calls"], run["tokens_in"], run["tokens_out"]) == (2, 2000, 40)
    assert run["cost_usd"] == pytest.approx((2000 * 30 + 40 * 60) / 1_000_000)
    assert run["slot_id"] is None
    assert {artifact["type"] for artifact in run["artifacts"]} == {"diff", "log", "test"}
    assert '"transition"' not in done.out.split('"entries"')[0]
    assert "transition" in done.err
    shown = stage.necrocode("show", "--json", run["id"])
    assert shown.json == document


def test_a_failed_run_tells_why_in_json(done: Stage) -> None:
    failed = done.necrocode("show", "--json", done.runs()[1].run_id).json
    assert_run(failed["run"])
    assert_entries(failed["run"], failed["entries"])
    assert failed["run"]["stop_reason"] == "test_command_not_found"
    assert "no-such-command" in failed["run"]["error"]
    assert failed["run"]["commit"] is None


def test_runs_lists_them_oldest_first(done: Stage) -> None:
    listed = done.necrocode("runs", "--json").json
    assert set(listed) == {"runs"}
    assert [run["task_id"] for run in listed["runs"]] == ["1", "2"]
    for run in listed["runs"]:
        assert_run(run)
    assert [run["task_id"] for run in done.necrocode("runs", "--json", "--limit", "1").json["runs"]] == ["2"]
    assert done.necrocode("runs", "--json", "--status", "parked").json == {"runs": []}
    table = done.necrocode("runs").out.splitlines()
    assert len(table) == 3
    assert listed["runs"][0]["id"] in table[1] and BRANCH in table[1]
    assert "test_command_not_found" in table[2]


def test_an_empty_home_has_no_runs(stage: Stage) -> None:
    assert stage.necrocode("runs").out == "no runs\n"
    assert stage.necrocode("runs", "--json").json == {"runs": []}
    assert stage.necrocode("resume", "--all").err == "there is nothing to resume\n"
    assert stage.necrocode("resume", "--json").json == {"results": []}


def test_show_finds_a_run_by_either_end_of_its_id(done: Stage) -> None:
    run = done.runs()[0]
    for name in (run.run_id, run.run_id[-6:]):
        shown = done.necrocode("show", name)
        assert shown.code == 0
        assert run.run_id in shown.out and BRANCH in shown.out and "passed: sh check.sh" in shown.out
    ambiguous = done.necrocode("show", run.run_id[:4])
    assert ambiguous.code == 2
    assert "several runs" in ambiguous.err
    entries = done.necrocode("show", run.run_id, "--entries").out
    for words in ("tool.edit_file", "llm.chat", "git.push", "transition"):
        assert words in entries


def test_verify_counts_what_it_checked(done: Stage) -> None:
    runs = done.runs()
    report = done.necrocode("verify", "--json").json
    assert report == {
        "ok": True,
        "runs_checked": 2,
        "entries_checked": sum(run.head_seq for run in runs),
        "problems": [],
    }
    one = done.necrocode("verify", runs[0].run_id, "--json").json
    assert (one["ok"], one["runs_checked"], one["entries_checked"]) == (True, 1, runs[0].head_seq)
    assert "2 runs" in done.necrocode("verify", "--all").out


def test_heads_that_were_kept_are_checked_against(done: Stage) -> None:
    heads = done.necrocode("verify", "--heads")
    assert heads.code == 0
    kept = done.root / "heads.json"
    kept.write_text(heads.out, encoding="utf-8")
    assert done.necrocode("verify", "--against", kept).code == 0
    kept.write_text(heads.out.replace(done.runs()[0].head_hash, "0" * 64), encoding="utf-8")
    changed = done.necrocode("verify", "--against", kept, "--json")
    assert changed.code == 5
    assert changed.json["problems"]
    assert done.necrocode("verify", "--against", done.root / "nowhere.json").code == 2


def test_db_check_says_where_each_file_stands(done: Stage) -> None:
    checked = done.necrocode("db", "check", "--json")
    assert checked.code == 0
    files = checked.json["databases"]
    assert [file["file"].rpartition("/")[2] for file in files] == ["journal.db", "services.db"]
    assert all(file["whole"] and file["revision"] == file["expected"] for file in files)
    assert done.necrocode("db", "upgrade").code == 0


def test_doctor_finds_nothing_to_do(done: Stage) -> None:
    looked = done.necrocode("doctor", "--json")
    assert looked.code == 0
    findings = {finding["subject"]: finding for finding in looked.json["findings"]}
    assert {"python", "git", "sandbox", "LLM key", "home", "slots", "journal"} <= set(findings)
    assert all(finding["fine"] for finding in findings.values())
    assert set(findings["git"]) == {"subject", "words", "fine", "mended", "way_out"}
    assert "2 runs" in findings["journal"]["words"]


def test_the_diagram_and_the_table_name_every_state(done: Stage) -> None:
    diagram = done.necrocode("diagram")
    table = done.necrocode("diagram", "--table")
    assert diagram.code == table.code == 0
    assert "stateDiagram" in diagram.out
    for state in LIFECYCLE.states:
        assert state in diagram.out and state in table.out


def test_piped_progress_is_plain_lines(stage: Stage, play: Play) -> None:
    play(*SOLVE)
    done = stage.necrocode("run", stage.task())
    assert done.out == ""
    assert "\x1b" not in done.err and "\r" not in done.err
    run = stage.only_run
    for words in (
        "implementing → testing",
        "edit_file greet.py",
        "sh check.sh: passed",
        f"pushed {BRANCH}",
        run.run_id,
    ):
        assert words in done.err


def test_on_a_terminal_there_is_one_live_line_and_the_same_end(stage: Stage, play: Play) -> None:
    play({**SOLVE[0], "delay_seconds": 1.2}, SOLVE[1])
    (stage.root / "user").mkdir()
    controller, terminal = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "necrocode", "run", str(stage.task())],
        cwd=stage.root,
        env=stage.env(TERM="xterm", COLUMNS="100"),
        stdin=subprocess.DEVNULL,
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    shown = b""
    # a terminal whose last writer has gone reads as an error
    with contextlib.suppress(OSError):
        while chunk := os.read(controller, 65_536):
            shown += chunk
    os.close(controller)
    assert process.wait() == 0, shown
    text = shown.decode()
    assert "Traceback" not in text
    assert "implementing · turn 1 · model · 0 tokens · 0:0" in text
    assert "implementing → testing" in text and f"pushed {BRANCH}" in text
