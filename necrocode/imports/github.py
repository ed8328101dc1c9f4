"""GitHub issues as ``gh issue view --json title,body,number,url,labels`` (or ``gh issue list``) prints them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from necrocode.documents import UnreadableDocument, parse, read_bounded
from necrocode.errors import Problem
from necrocode.imports.imported import Imported, InvalidImport
from necrocode.registry.tasksets import SetTask, TaskSet

_URL = re.compile(r"(https?://[^/\s]+/([^/\s]+)/([^/\s]+))/issues/\d+/?\Z")


def read_issues(path: Path, spec_name: str | None = None) -> Imported:
    """The issue, or the list of issues, in the JSON at ``path`` (``-``: standard input); without ``spec_name``, the
    repository names the spec.

    The repository's URL is taken from the issue's. Issues do not wait for each other. Raises :class:`InvalidImport`.
    """
    what = "issue on standard input" if str(path) == "-" else f"issue file {path}"
    try:
        document = parse(read_bounded(path), "json")
    except UnreadableDocument as error:
        raise InvalidImport(what, [Problem("", f"the file {error}")]) from None
    issues = document if isinstance(document, list) else [document]
    problems: list[Problem] = [] if issues else [Problem("", "holds no issue")]
    tasks: list[SetTask] = []
    specs: list[str] = []
    for place, issue in enumerate(issues):
        prefix = f"[{place}]." if isinstance(document, list) else ""
        found = _problems(issue, prefix)
        problems += found
        if found:
            continue
        number = str(issue["number"])
        if number in {task.id for task in tasks}:
            problems.append(Problem(f"{prefix}number", f"{number} is there twice"))
        url, owner_repo = _repository(issue["url"])
        specs.append(spec_name or owner_repo)
        labels = [label["name"] for label in issue.get("labels") or [] if isinstance(label.get("name"), str)]
        tasks.append(
            SetTask(
                id=number,
                title=issue["title"].strip(),
                description=(issue.get("body") or "").strip() or issue["title"].strip(),
                metadata={
                    "repo_url": url,
                    "labels": labels,
                    "source": {"format": "github", "url": issue["url"]},
                },
            )
        )
    if len(set(specs)) > 1:
        problems.append(Problem("", f"the issues are of several repositories: name one spec with --spec: {set(specs)}"))
    if problems:
        raise InvalidImport(what, problems)
    return Imported(TaskSet(specs[0], tuple(tasks)))


def _problems(issue: Any, prefix: str) -> list[Problem]:
    if not isinstance(issue, dict):
        return [Problem(prefix.rstrip("."), "must be an issue: an object with title, number and url")]
    found = []
    if not isinstance(issue.get("title"), str) or not issue["title"].strip():
        found.append(Problem(f"{prefix}title", "must be text that is not empty"))
    if not isinstance(issue.get("body"), str | None):
        found.append(Problem(f"{prefix}body", "must be text"))
    number = issue.get("number")
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        found.append(Problem(f"{prefix}number", "must be the issue's number"))
    if not isinstance(issue.get("url"), str) or not _URL.match(issue["url"]):
        found.append(Problem(f"{prefix}url", "must be the issue's URL, such as https://github.com/owner/repo/issues/1"))
    labels = issue.get("labels")
    if labels is not None and not (isinstance(labels, list) and all(isinstance(each, dict) for each in labels)):
        found.append(Problem(f"{prefix}labels", "must be a list of objects"))
    return found


def _repository(url: str) -> tuple[str, str]:
    """The repository's URL and name."""
    match = _URL.match(url)
    assert match is not None
    return match[1], match[3]
