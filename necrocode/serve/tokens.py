"""Bearer tokens of the services' callers, and what each may do."""

from __future__ import annotations

import hmac
import os
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from necrocode.documents import UnreadableDocument, read_bounded
from necrocode.errors import InvalidInput, Problem

Scope: TypeAlias = Literal["reader", "runner", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
"""Each may do what those before it may: read; what a runner does; change task sets."""

VARIABLE = "NECROCODE_SERVE_TOKENS"
FILE_VARIABLE = "NECROCODE_SERVE_TOKENS_FILE"

MIN_LENGTH = 16
"""Characters: a shorter token can be guessed, and would not be masked reliably."""

_LINE = re.compile(r"\s*(?P<scope>[a-z]+)\s*[:=]\s*(?P<token>[\x21-\x7e]+)\s*\Z")


@dataclass(frozen=True, slots=True)
class Token:
    """One caller's token."""

    scope: Scope
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Tokens:
    """All tokens. With none, everybody may do everything."""

    known: Sequence[Token] = ()

    def __bool__(self) -> bool:
        return bool(self.known)

    def scope_of(self, authorization: str) -> Scope | None:
        """The scope that an ``Authorization`` header gives; ``None`` for no token or a wrong one."""
        if not self.known:
            return "admin"
        scheme, _, given = authorization.partition(" ")
        found: Scope | None = None
        # every token is looked at, so that the time taken says nothing about which one came close
        for token in self.known:
            if hmac.compare_digest(token.secret.encode(), given.strip().encode()):
                found = token.scope
        return found if scheme.lower() == "bearer" else None


def load_tokens(file: Path | None, environ: Mapping[str, str]) -> tuple[Tokens, tuple[str, ...]]:
    """The tokens of ``file``, else of :data:`FILE_VARIABLE`, else of :data:`VARIABLE`; and warnings.

    One ``scope: token`` a line (in the variable also between ``;``); empty lines and those that begin with ``#`` count
    for nothing. Raises :class:`InvalidInput`; no error and no warning repeats a token.
    """
    if file is None and environ.get(FILE_VARIABLE):
        file = Path(environ[FILE_VARIABLE])
    if file is None:
        text, source, warnings = environ.get(VARIABLE, "").replace(";", "\n"), f"environment {VARIABLE}", ()
        return (_parsed(text, source) if text.strip() else Tokens()), warnings
    file = file.expanduser()
    try:
        text = read_bounded(file, max_bytes=1_000_000).decode()
    except UnreadableDocument as error:
        raise InvalidInput("--tokens", [Problem("", f"{file} {error}")]) from error
    except UnicodeDecodeError as error:
        raise InvalidInput("--tokens", [Problem("", f"{file} is not text")]) from error
    others = os.stat(file).st_mode & (stat.S_IRGRP | stat.S_IROTH)  # noqa: PTH116
    warning = (f"{file} holds tokens and can be read by other users: chmod 600 {file}",) if others else ()
    return _parsed(text, f"file {file}"), warning


def _parsed(text: str, source: str) -> Tokens:
    tokens, problems = [], []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.match(line)
        if match is None or match["scope"] not in SCOPES:
            problems.append(Problem(f"line {number}", f"must be '{' | '.join(SCOPES)}: TOKEN'", source))
        elif len(match["token"]) < MIN_LENGTH:
            problems.append(Problem(f"line {number}", f"the token must have {MIN_LENGTH} characters at least", source))
        else:
            tokens.append(Token(match["scope"], match["token"]))
    if not tokens and not problems:
        problems.append(Problem("", "holds no token", source))
    if problems:
        raise InvalidInput("the tokens", problems)
    return Tokens(tuple(tokens))
