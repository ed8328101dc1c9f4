"""Where settings come from: flags, the environment, a file; the first that sets one wins."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from necrocode.config import LOCAL, PREFIX, SECRETS, RunnerConfig, build, from_environment
from necrocode.documents import UnreadableDocument, format_of, parse, read_bounded
from necrocode.errors import InvalidInput, Problem, close_match
from necrocode.home import default_home
from necrocode.validation import problems_of

FILES = ("necrocode.toml", "necrocode.yaml", "necrocode.yml", "pyproject.toml")
"""Looked for in this order in each folder from the working directory upwards; a pyproject.toml without a
``[tool.necrocode]`` table is passed over."""

CONFIG_VARIABLE = "NECROCODE_CONFIG"
"""The environment variable that names the file, as ``--config`` does."""

_FOLDERS = LOCAL | {"task_registry_dir"}


class InvalidConfig(InvalidInput):
    """The configuration cannot be used."""


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """A configuration, and how it came about."""

    config: RunnerConfig
    #: By field, for those that are not at their default: such as ``environment NECROCODE_POOL_SIZE``.
    sources: Mapping[str, str]
    warnings: tuple[str, ...] = ()
    #: The configuration file that was read, if any.
    file: Path | None = None


def load_config(
    flags: Mapping[str, Any] | None = None,
    config_file: Path | None = None,
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> LoadedConfig:
    """The configuration: flag > environment > file > default.

    ``flags`` are values by field; ``None`` counts as not given. Without ``config_file``, the one of
    :data:`CONFIG_VARIABLE` is read, else the first of :data:`FILES` from ``cwd`` upwards. Relative folders in a file
    start at the file's folder, others at ``cwd``.

    Raises :class:`InvalidConfig` with every problem, its field and where the value came from: also for keys in the file
    that are not known. Unknown ``NECROCODE_…`` variables are warnings.
    """
    environ = os.environ if environ is None else environ
    cwd = Path.cwd() if cwd is None else cwd
    problems: list[Problem] = []
    warnings = _unknown_variables(environ)
    found = _find(config_file, environ, cwd, problems, warnings)
    file_values = _read(found, problems) if found else {}

    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for field, value in file_values.items():
        if field in RunnerConfig.model_fields:
            assert found is not None
            values[field], sources[field] = _from(found.parent, field, value), f"file {found}"
        else:
            problems.append(
                Problem(field, "is not known" + close_match(field, RunnerConfig.model_fields), f"file {found}")
            )
    for field, (name, value) in from_environment(environ).items():
        values[field], sources[field] = _from(cwd, field, value), f"environment {name}"
    for field, value in (flags or {}).items():
        if value is not None:
            values[field], sources[field] = _from(cwd, field, value), f"flag --{field.replace('_', '-')}"
    values.setdefault("home", default_home(environ))

    config = None
    try:
        config = build(values)
    except ValidationError as error:
        problems += problems_of(error, sources)
    if config is None or problems:
        raise InvalidConfig("the configuration", problems)
    if found and SECRETS & file_values.keys() and found.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
        warnings.append(f"{found} holds a secret and can be read by other users: chmod 600 {found}")
    return LoadedConfig(config, sources, tuple(warnings), found)


def _unknown_variables(environ: Mapping[str, str]) -> list[str]:
    known = {PREFIX + field.upper() for field in RunnerConfig.model_fields}
    known |= {CONFIG_VARIABLE, "NECROCODE_DEBUG", *(f"{PREFIX}{field.upper()}_FILE" for field in SECRETS)}
    known |= {"NECROCODE_SERVE_TOKENS", "NECROCODE_SERVE_TOKENS_FILE"}
    return [
        f"the environment variable {name} is not known" + close_match(name[len(PREFIX) :], RunnerConfig.model_fields)
        for name in sorted(environ)
        if name.startswith(PREFIX) and name not in known
    ]


def _find(
    named: Path | None, environ: Mapping[str, str], cwd: Path, problems: list[Problem], warnings: list[str]
) -> Path | None:
    if named is None and environ.get(CONFIG_VARIABLE):
        named = Path(environ[CONFIG_VARIABLE])
    if named is not None:
        return cwd / named.expanduser()
    for folder in (cwd, *cwd.parents):
        here = [folder / name for name in FILES if (folder / name).is_file()]
        here = [path for path in here if path.name != "pyproject.toml" or _has_table(path)]
        if not here:
            continue
        if len(here) > 1:
            others = ", ".join(path.name for path in here[1:])
            warnings.append(f"{here[0]} is read; beside it, {others} is not")
        # as git does for its own: whoever may write into a parent folder must not choose our endpoint for us
        if here[0].stat().st_uid not in (os.geteuid(), 0):
            problems.append(
                Problem("", f"{here[0]} belongs to another user: if you trust it, name it with --config", "file")
            )
            return None
        return here[0]
    return None


def _has_table(path: Path) -> bool:
    try:
        document = parse(read_bounded(path), "toml")
    except UnreadableDocument:
        # somebody else's tool will say so; it may well not be meant for us
        return False
    return isinstance(document.get("tool"), dict) and "necrocode" in document["tool"]


def _read(path: Path, problems: list[Problem]) -> dict[str, Any]:
    source = f"file {path}"
    form = format_of(path)
    if form not in ("toml", "yaml"):
        problems.append(Problem("", "a configuration file ends in .toml, .yaml or .yml", source))
        return {}
    try:
        content = read_bounded(path)
        document = parse(content, form) if content.strip() else None
    except UnreadableDocument as error:
        problems.append(Problem("", f"the file {error}", source))
        return {}
    # an empty file, or one of comments only
    if document is None:
        return {}
    if path.name == "pyproject.toml":
        document = document.get("tool", {}).get("necrocode", {})
    if not isinstance(document, dict):
        problems.append(Problem("", "the file must hold a mapping of settings to values", source))
        return {}
    return {field.replace("-", "_"): value for field, value in document.items()}


def _from(folder: Path, field: str, value: Any) -> Any:
    """``value``, a relative folder made absolute from ``folder``."""
    if field in _FOLDERS and isinstance(value, str | Path) and str(value).strip() and not str(value).startswith("~"):
        return folder / value
    return value
