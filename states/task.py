"""The task context: what is to be done, validated."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from necrocode.states.playbook import Playbook, is_outside

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
Command = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]

_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_PASSWORD = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/@]*:[^/@]+@")
_BRANCH_RULES = (
    (r"[\x00-\x20\x7f~^:?*\[\\]", "a space, a control character or one of ~ ^ : ? * [ \\"),
    (r"\.\.|@\{|//", "'..', '@{' or '//'"),
    (r"(^|/)\.|\.lock(/|$)", "a part that starts with '.' or ends in '.lock'"),
    (r"^/|/$|\.$|^-|^@$", "a '/' or '-' at the start, or a '/' or '.' at the end"),
)


def valid_branch(name: str) -> str:
    """``name``, if git takes it as a branch name (rules: git-check-ref-format); else ``ValueError``."""
    for pattern, what in _BRANCH_RULES:
        if re.search(pattern, name):
            raise ValueError(f"not a branch name git takes: it has {what}")
    return name


def _env_names(names: list[str]) -> list[str]:
    for name in names:
        if not _ENV_NAME.match(name):
            raise ValueError(f"{name!r} is not the name of an environment variable")
    return names


def _env(values: dict[str, str]) -> dict[str, str]:
    _env_names(list(values))
    for name, value in values.items():
        if "\0" in value:
            raise ValueError(f"the value of {name} holds a NUL character")
    return values


def _inside(paths: list[str]) -> list[str]:
    for path in paths:
        if path.startswith(("/", "~")) or ".." in path.split("/"):
            raise ValueError(f"{path!r} leaves the repository")
    return paths


Branch = Annotated[Name, AfterValidator(valid_branch)]


class TaskContext(BaseModel):
    """One coding task, as a task file or a registry gives it.

    ``timeout_seconds`` counts active seconds: time in which the run was dead or parked does not count.
    ``deadline_at`` is absolute. Keys that are not known stay in :attr:`unknown_keys` and are warned of. Raises
    pydantic's ``ValidationError`` with every problem and its field.
    """

    model_config = ConfigDict(frozen=True, extra="allow", str_max_length=1_000_000)

    task_id: Name
    spec_name: Name
    title: Name
    description: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
    acceptance_criteria: list[str] = []
    dependencies: list[str] = []
    required_skill: str | None = None
    repo_url: Name | None = None
    base_branch: Branch | None = None
    slot_path: Name | None = None
    slot_id: Name | None = None
    branch_name: Branch | None = None
    setup_commands: list[Command] = []
    test_commands: list[Command] = []
    env: Annotated[dict[str, str], AfterValidator(_env)] = {}
    pass_env: Annotated[list[str], AfterValidator(_env_names)] = []
    fail_fast: bool = True
    timeout_seconds: Annotated[float, Field(gt=0, le=30 * 86400)] | None = None
    deadline_at: datetime | None = None
    related_files: Annotated[list[str], AfterValidator(_inside)] = []
    max_tokens: Annotated[int, Field(gt=0)] | None = None
    #: Of a YAML or JSON file with a :class:`~necrocode.states.playbook.Playbook`: in the repository (as it was before
    #: the coder worked), unless it is absolute or begins with ``./``, ``../`` or ``~``.
    playbook_path: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=1000)] | None = None
    #: The playbook itself; that of a user's own file is kept here.
    playbook: Playbook | None = None
    metadata: dict[str, Any] = {}

    @model_validator(mode="after")
    def _has_a_repository(self) -> TaskContext:
        if _PASSWORD.match(self.repository or ""):
            raise ValueError("the repository's URL must hold no password: use GIT_TOKEN or git's credential helpers")
        if self.repository is None and self.slot_path is None:
            raise ValueError("one of repo_url (or metadata.repo_url) and slot_path is required")
        if self.playbook is not None and self.playbook_path and not is_outside(self.playbook_path):
            raise ValueError("give playbook or playbook_path, not both")
        if self.deadline_at is not None and self.deadline_at.tzinfo is None:
            raise ValueError("deadline_at needs a time zone, such as 2026-01-31T06:00:00Z")
        return self

    @property
    def repository(self) -> str | None:
        """URL or path of the repository: ``repo_url``, else ``metadata.repo_url``."""
        url = self.repo_url or self.metadata.get("repo_url")
        return url if isinstance(url, str) and url.strip() else None

    @property
    def subject(self) -> str:
        """What at most one live run may work on: repository, spec and task."""
        return "\n".join((self.repository or self.slot_path or "", self.spec_name, self.task_id))

    @property
    def branch(self) -> str:
        """The branch that will be pushed: ``branch_name``, else ``feature/task-{spec}-{task}`` made safe for git."""
        return self.branch_name or f"feature/task-{_slug(self.spec_name)}-{_slug(self.task_id)}"

    @property
    def unknown_keys(self) -> list[str]:
        """Keys of the input that this release does not know, sorted."""
        return sorted(self.model_extra or {})


def _slug(text: str) -> str:
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.")
    slug = re.sub(r"\.{2,}", ".", slug)
    return slug.removesuffix(".lock") or "x"
