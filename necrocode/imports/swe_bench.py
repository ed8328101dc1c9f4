"""SWE-bench instances: a JSON object a line."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from necrocode.documents import UnreadableDocument, parse, read_bounded
from necrocode.errors import Problem
from necrocode.imports.imported import Imported, InvalidImport
from necrocode.registry.tasksets import SetTask, TaskSet

MAX_BYTES = 512 * 1024 * 1024
_REPO = re.compile(r"[A-Za-z0-9._-]+/[A-Za-z0-9._-]+\Z")
_COMMIT = re.compile(r"[0-9a-f]{40}\Z")


def read_instances(path: Path, spec_name: str | None = None) -> Imported:
    """The instances in the JSONL at ``path`` (``-``: standard input); without ``spec_name``, the file names the spec.

    What must not reach the model is either left out (``patch``, ``test_patch``, hints) or kept in the task's metadata,
    which no prompt shows (``FAIL_TO_PASS``, ``PASS_TO_PASS``). Raises :class:`InvalidImport`, naming lines.
    """
    stdin = str(path) == "-"
    what = "instances on standard input" if stdin else f"instance file {path}"
    try:
        lines = read_bounded(path, max_bytes=MAX_BYTES).splitlines()
    except UnreadableDocument as error:
        raise InvalidImport(what, [Problem("", f"the file {error}")]) from None
    problems: list[Problem] = []
    tasks: list[SetTask] = []
    seen: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        found = _instance(line, f"line {number}")
        if isinstance(found, SetTask):
            first = seen.setdefault(found.id, number)
            if first != number:
                problems.append(Problem(f"line {number}", f"{found.id!r} is on line {first} already"))
            tasks.append(found)
        else:
            problems += found
    if not tasks and not problems:
        problems.append(Problem("", "holds no instance"))
    if problems:
        raise InvalidImport(what, problems)
    warning = (
        "base_commit is kept in the task's metadata, but this release begins on a branch, not on a commit: give a "
        "repository whose branch stands there (--repo, --base-branch)"
    )
    return Imported(TaskSet(spec_name or ("swe-bench" if stdin else path.stem), tuple(tasks)), (warning,))


def _instance(line: bytes, place: str) -> SetTask | list[Problem]:
    try:
        raw = parse(line, "json")
    except UnreadableDocument as error:
        return [Problem(place, str(error))]
    if not isinstance(raw, dict):
        return [Problem(place, "must be an object")]
    problems = [
        Problem(place, f"{field} must be text that is not empty")
        for field in ("instance_id", "problem_statement")
        if not isinstance(raw.get(field), str) or not raw[field].strip()
    ]
    if not _matches(_REPO, raw.get("repo")):
        problems.append(Problem(place, "repo must be such as 'owner/name'"))
    if not _matches(_COMMIT, raw.get("base_commit")):
        problems.append(Problem(place, "base_commit must be a commit of 40 hex digits"))
    tests: dict[str, list[str]] = {}
    for field in ("FAIL_TO_PASS", "PASS_TO_PASS"):
        names = _tests(raw.get(field))
        if names is None:
            problems.append(Problem(place, f"{field} must be a list of tests, or one as JSON in text"))
        else:
            tests[field.lower()] = names
    if problems:
        return problems
    statement = raw["problem_statement"].strip()
    return SetTask(
        id=raw["instance_id"].strip(),
        title=statement.splitlines()[0].strip()[:200],
        description=statement,
        metadata={
            "repo_url": f"https://github.com/{raw['repo']}",
            "swe_bench": {"base_commit": raw["base_commit"], "version": raw.get("version"), **tests},
            "source": {"format": "swe-bench"},
        },
    )


def _matches(pattern: re.Pattern[str], value: Any) -> bool:
    return isinstance(value, str) and pattern.match(value) is not None


def _tests(value: Any) -> list[str] | None:
    """Names of tests: a list, or as the published data sets have it, a list as JSON in text."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
    if value is None:
        return []
    return value if isinstance(value, list) and all(isinstance(each, str) for each in value) else None
