"""Credentials: loaded once for a run, handed to who needs them, masked everywhere else."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from necrocode.config import PREFIX, RunnerConfig
from necrocode.config_sources import InvalidConfig
from necrocode.documents import UnreadableDocument, read_bounded
from necrocode.errors import Problem
from necrocode.masking import MIN_BYTES, Masker

MOUNTED = Path("/run/secrets/necrocode")
"""The folder of mounted secrets that is looked into where the configuration names none."""

LLM_KEY, GIT_TOKEN = "LLM key", "Git token"
REGISTRY_TOKEN, POOL_TOKEN, ARTIFACT_TOKEN = "registry token", "pool token", "artifact store token"

S3_SECRET, S3_SESSION, GCS_TOKEN = "S3 secret access key", "S3 session token", "GCS bearer token"

_BUCKETS = {
    "s3": {S3_SECRET: "AWS_SECRET_ACCESS_KEY", S3_SESSION: "AWS_SESSION_TOKEN"},
    "gs": {GCS_TOKEN: "GOOGLE_BEARER_TOKEN"},
}
"""By the scheme of the artifact store's URL: the credentials that it needs, named as its users name them."""

_OTHERS = {
    "s3": ("AWS_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "AWS_WEB_IDENTITY_TOKEN_FILE"),
    "gs": (
        "GOOGLE_APPLICATION_CREDENTIALS",
        "GOOGLE_SERVICE_ACCOUNT",
        "GOOGLE_SERVICE_ACCOUNT_PATH",
        "GOOGLE_SERVICE_ACCOUNT_KEY",
        "SERVICE_ACCOUNT",
    ),
}
"""Variables that only obstore reads."""

#: Bytes.
_MAX_FILE = 65_536


class LoadedCredentials:
    """The secrets of one run: implements the port :class:`necrocode.states.ports.Credentials`.

    Safe between threads. Its repr and its errors never show a value.
    """

    def __init__(
        self, secrets: Mapping[str, str], *, names: frozenset[str] = frozenset(), masking: bool = True
    ) -> None:
        """``secrets`` by what they are for (:data:`LLM_KEY`, …); ``names``: variables that commands never get.

        With ``masking`` off, :meth:`mask` returns texts as they are.
        """
        self._secrets = dict(secrets)
        self._masked = dict(secrets)
        self._names = names
        self._masking = masking
        self._masker = Masker(self._masked)

    def get(self, name: str) -> str | None:
        """The secret of that name; ``None`` if there is none, or after :meth:`wipe`."""
        return self._secrets.get(name)

    @property
    def llm_api_key(self) -> str | None:
        """The key for the model's service."""
        return self.get(LLM_KEY)

    @property
    def git_token(self) -> str | None:
        """The token for git's https remotes."""
        return self.get(GIT_TOKEN)

    @property
    def registry_token(self) -> str | None:
        """The bearer token of the task registry."""
        return self.get(REGISTRY_TOKEN)

    @property
    def pool_token(self) -> str | None:
        """The bearer token of the repo pool."""
        return self.get(POOL_TOKEN)

    @property
    def artifact_token(self) -> str | None:
        """The bearer token of the artifact store."""
        return self.get(ARTIFACT_TOKEN)

    @property
    def bucket_secrets(self) -> dict[str, str]:
        """The secrets of a bucket of artifacts, by the names of obstore's settings."""
        named = {"secret_access_key": S3_SECRET, "session_token": S3_SESSION, "bearer_token": GCS_TOKEN}
        found = {setting: self.get(name) for setting, name in named.items()}
        return {setting: secret for setting, secret in found.items() if secret is not None}

    @property
    def secret_names(self) -> frozenset[str]:
        """Names of the environment variables that hold a credential, or the path of one: no command gets them."""
        return self._names

    def learn(self, name: str, secret: str) -> None:
        """Mask ``secret`` too from now on: one that turned up later, such as a password in a repository's URL."""
        if secret and secret not in self._masked.values():
            while name in self._masked:
                name += "'"
            self._masked[name] = secret
            self._masker = Masker(self._masked)

    def mask(self, text: str) -> str:
        """``text`` with every secret of 8 bytes or more, in any of its forms, as ``***``."""
        return self._masker.mask(text) if self._masking else text

    def found_in(self, content: bytes) -> str | None:
        """The name of a secret that ``content`` holds, if any."""
        return self._masker.found_in(content)

    def wipe(self) -> None:
        """Hand out no secret any more. Masking goes on."""
        self._secrets = {}

    def __repr__(self) -> str:
        return f"LoadedCredentials({', '.join(sorted(self._secrets)) or 'none'})"

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("credentials are never pickled: that would write them somewhere")


def load_credentials(
    config: RunnerConfig, environ: Mapping[str, str] | None = None
) -> tuple[LoadedCredentials, tuple[str, ...]]:
    """The credentials that ``config`` names, and warnings (a file others can read, a secret too short to be masked).

    Each comes from, first: the configuration itself; the environment variable; the file that ``<variable>_FILE`` names;
    the file called like the variable (also in small letters) in the folder of mounted secrets.

    Raises :class:`InvalidConfig` for a file that is named and cannot be read, and for what cannot be a token.
    """
    environ = os.environ if environ is None else environ
    scheme = (config.artifact_store_url or "").partition("://")[0]
    variables = {
        LLM_KEY: config.llm_api_key_env_var,
        GIT_TOKEN: config.git_token_env_var,
        REGISTRY_TOKEN: config.registry_token_env_var,
        POOL_TOKEN: config.pool_token_env_var,
        ARTIFACT_TOKEN: config.artifact_token_env_var,
        **_BUCKETS.get(scheme, {}),
    }
    search = _Search(config, environ)
    secrets = {
        name: value for name, variable in variables.items() if (value := search.find(name, variable)) is not None
    }
    if search.problems:
        raise InvalidConfig("a credential", search.problems)
    short = [name for name, value in secrets.items() if len(value.encode()) < MIN_BYTES]
    search.warnings += [f"the {name} is shorter than {MIN_BYTES} bytes and will not be masked" for name in short]
    if not config.mask_secrets and secrets:
        search.warnings.append("mask_secrets is off: credentials may stand in logs, artifacts and the journal")
    names = _names((*variables.values(), *_OTHERS.get(scheme, ())), secrets, environ)
    return LoadedCredentials(secrets, names=names, masking=config.mask_secrets), tuple(search.warnings)


class _Search:
    """Looks for each credential in turn and collects what is wrong."""

    def __init__(self, config: RunnerConfig, environ: Mapping[str, str]) -> None:
        self._config = config
        self._environ = environ
        self.problems: list[Problem] = []
        self.warnings: list[str] = []
        self._folder = config.secrets_dir
        if self._folder is None and MOUNTED.is_dir():
            self._folder = MOUNTED
        elif self._folder is not None and not self._folder.is_dir():
            self.problems.append(Problem("secrets_dir", f"{self._folder} is not a folder"))

    def find(self, name: str, variable: str) -> str | None:
        configured = self._config.llm_api_key if name == LLM_KEY else None
        if configured is not None and configured.get_secret_value().strip():
            return self._checked(name, configured.get_secret_value(), "llm_api_key")
        files = [variable + "_FILE", *([f"{PREFIX}LLM_API_KEY_FILE"] if name == LLM_KEY else [])]
        value = self._environ.get(variable, "")
        named = [(file, self._environ[file]) for file in files if self._environ.get(file)]
        if value.strip():
            if named:
                self.warnings.append(f"{variable} and {named[0][0]} are both set: {variable} counts")
            return self._checked(name, value, f"environment {variable}")
        for file, path in named:
            return self._read(name, Path(path).expanduser(), f"environment {file}")
        if self._folder is not None:
            for mounted in (self._folder / variable, self._folder / variable.lower()):
                if mounted.is_file():
                    return self._read(name, mounted, f"file {mounted}")
        return None

    def _read(self, name: str, path: Path, source: str) -> str | None:
        try:
            content = read_bounded(path, max_bytes=_MAX_FILE)
        except UnreadableDocument as error:
            self.problems.append(Problem(name, f"{path} {error}", source))
            return None
        if path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
            self.warnings.append(f"{path} holds the {name} and can be read by other users: chmod 600 {path}")
        try:
            value = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            self.problems.append(Problem(name, f"{path} is not text", source))
            return None
        if not value.strip():
            self.problems.append(Problem(name, f"{path} is empty", source))
            return None
        return self._checked(name, value, source)

    def _checked(self, name: str, value: str, source: str) -> str | None:
        value = value.strip()
        # it becomes a header or a line of a protocol: what refuses anything else there would repeat the value
        if not (value.isascii() and value.isprintable() and " " not in value):
            self.problems.append(
                Problem(
                    name, "must be one word of printable ASCII characters (is it the right file or variable?)", source
                )
            )
            return None
        return value


def _names(variables: Iterable[str], secrets: Mapping[str, str], environ: Mapping[str, str]) -> frozenset[str]:
    names = {f"{PREFIX}LLM_API_KEY", f"{PREFIX}LLM_API_KEY_FILE"}
    for variable in variables:
        names |= {variable, f"{variable}_FILE"}
    masker = Masker(secrets)
    for name, value in environ.items():
        # such as a second variable with the same key, or a URL with the token in it
        if value.strip() in secrets.values() or masker.found_in(os.fsencode(value)):
            names.add(name)
    return frozenset(names)
