"""``necrocode show``: one run and its journal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from necrocode.cli.session import common, json_option, opened, print_json


@click.command("show")
@click.argument("run")
@click.option("--entries", is_flag=True, help="Print the journal's entries, too.")
@json_option
@common
def command(run: str, entries: bool, as_json: bool, config_file: Path | None, home: Path | None) -> None:
    """Show RUN (its id, or as much of the start or end of it as is unique)."""
    from necrocode.views import entry_json, run_json

    with opened(config_file, home) as runner:
        journal = runner.journal
        record = journal.find(run)
        shown = run_json(journal, record)
        if as_json:
            listed = [entry_json(journal, entry) for entry in journal.entries(record.run_id)]
            print_json({"run": shown, "entries": listed})
            return
        for field, value in shown.items():
            if value not in (None, [], ""):
                click.echo(f"{field:>15}  {_plain(value)}")
        if entries:
            click.echo()
            for entry in journal.entries(record.run_id):
                click.echo(line(entry.seq, entry_json(journal, entry, whole=False)))


def line(seq: int, entry: dict[str, Any]) -> str:
    """One entry on one line, its payload cut short."""
    payload = json.dumps(entry["payload"], ensure_ascii=False)
    payload = payload if len(payload) <= 100 else payload[:99] + "…"
    what = " ".join(part for part in (entry["name"], entry["key"]) if part)
    return f"{seq:5}  {entry['at'][11:23]}  {entry['state']:<13} {entry['kind']:<10} {what}  {payload}"


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return _BELOW.join(_plain(item) for item in value)
    if isinstance(value, dict):
        if "uri" in value:
            return f"{value['type']}: {value['uri']} ({value['size_bytes']:,} bytes)"
        if "command" in value:
            return _test(value)
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def _test(test: dict[str, Any]) -> str:
    """How a test command ended, and below it the tests that failed, those that the change broke first."""
    from necrocode.states.guards import verdict

    word, runs = verdict(test), f" in run {test['runs']}" if test.get("runs", 1) > 1 else ""
    name = f"{test['name']}: " if "name" in test else ""
    counts = test.get("counts")
    failed = counts["failures"] + counts["errors"] if counts else 0
    of_them = f", {failed} of {counts['tests']} tests failed" if counts else ""
    lines = [f"{word}{runs}: {name}{test['command']} ({test['seconds']} s{of_them})"]
    lines += [f"  {test['reason']}"] if "reason" in test else []
    if "broken" in test:
        lines += [f"  broken by the change: {each}" for each in test["broken"]]
        lines += [f"  failed before, too: {each}" for each in test["failed_before"]]
    else:
        lines += [f"  failed: {each}" for each in test.get("failing", [])]
    lines += [f"  failed at first: {each}" for each in test.get("flaky_tests", [])]
    return _BELOW.join(lines)


_BELOW = "\n" + " " * 17
