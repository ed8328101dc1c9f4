"""The configuration: every setting, with its default and its bounds."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    model_validator,
)

from necrocode.home import default_home

PREFIX = "NECROCODE_"
PLAIN_NAMES = {
    "TASK_REGISTRY_URL": "task_registry_url",
    "REPO_POOL_URL": "repo_pool_url",
    "ARTIFACT_STORE_URL": "artifact_store_url",
    "RUNNER_LOG_LEVEL": "log_level",
    "RUNNER_TIMEOUT": "default_timeout_seconds",
}
"""Environment variables without the prefix, and the settings they stand for. The prefixed name counts first."""


def _service_url(url: str) -> str:
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"is not a URL: {error}") from None
    if parts.scheme not in ("http", "https") or not host or any(character.isspace() for character in url):
        raise ValueError("must be a URL such as https://host:port/path")
    if parts.username or parts.password:
        raise ValueError("must hold no user name or password: give the token by its own setting")
    if parts.query or parts.fragment:
        raise ValueError("must hold no '?' or '#'")
    return url.rstrip("/")


def _store_url(url: str) -> str:
    """A service's URL, or that of a bucket with an optional prefix."""
    import re
    from urllib.parse import urlsplit

    scheme, _, rest = url.partition("://")
    if scheme in ("http", "https"):
        return _service_url(url)
    if scheme not in ("s3", "gs") or urlsplit(url).scheme != scheme:
        raise ValueError("must be a URL such as https://host:port/path, s3://bucket/prefix or gs://bucket/prefix")
    bucket, *prefix = rest.rstrip("/").split("/")
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]", bucket):
        raise ValueError("must name a bucket: 3 or more small letters, digits, '-', '.' and '_'")
    if not all(re.fullmatch(r"[A-Za-z0-9_=-][A-Za-z0-9._=-]*", segment) for segment in prefix):
        raise ValueError("must have a prefix of letters, digits, '.', '_', '=' and '-' between single '/'")
    return url.rstrip("/")


def _env_name(name: str) -> str:
    import re

    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise ValueError("must be the name of an environment variable")
    return name


def _network(value: object) -> object:
    """A list of hosts from a sequence, or from a string with commas; an empty one is no network."""
    if isinstance(value, str):
        if value.strip().lower() in ("true", "false", "1", "0", "yes", "no", "on", "off"):
            return value.strip().lower()
        value = [part for part in value.split(",") if part.strip()]
    if isinstance(value, bool) or value in (0, 1):
        return value
    from necrocode.commands.hosts import checked

    if not isinstance(value, list | tuple) or not all(isinstance(entry, str) for entry in value):
        raise ValueError("must be true, false or a list of hosts")
    return tuple(dict.fromkeys(checked(entry) for entry in value)) or False


def _lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


def _one_line(text: str) -> str:
    if any(character in text for character in "\r\n\0<>"):
        raise ValueError("must be one line, without '<' and '>'")
    return text


def _absolute(path: Path) -> Path:
    try:
        return Path.cwd() / path.expanduser()
    except RuntimeError as error:
        raise ValueError(f"cannot be expanded: {error}") from None


Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=1000)]
Folder = Annotated[Path, AfterValidator(_absolute)]
ServiceUrl = Annotated[Text, AfterValidator(_service_url)]
StoreUrl = Annotated[Text, AfterValidator(_store_url)]
EnvName = Annotated[Text, AfterValidator(_env_name)]
OneLine = Annotated[Text, AfterValidator(_one_line)]
Seconds = Annotated[float, Field(gt=0, le=30 * 86400, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
Retries = Annotated[int, Field(ge=0, le=100)]
Days = Annotated[int, Field(ge=0, le=36_500)]
Money = Annotated[Decimal, Field(ge=0, allow_inf_nan=False)]
Sandbox: TypeAlias = Literal["auto", "bubblewrap", "landlock", "required", "off"]
LogLevel: TypeAlias = Literal["debug", "info", "warning", "error", "critical"]


class ModelPrice(BaseModel):
    """What a model costs, in US dollars for a million tokens."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    input: Money
    output: Money


class LLMConfig(BaseModel):
    """Where the model is and how it is asked."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    api_key: SecretStr | None = None
    model: Text = "gpt-4"
    #: Of an OpenAI-compatible service, up to and without ``/chat/completions``; ``None``: OpenAI's own.
    endpoint: ServiceUrl | None = None
    timeout_seconds: Seconds = 120
    #: Of one answer.
    max_tokens: Count = 4000


_ENVIRONMENT: ContextVar[Mapping[str, str] | None] = ContextVar("environment", default=None)
"""What stands for ``os.environ`` while settings are read; ``None``: itself."""


class RunnerConfig(BaseModel):
    """Every setting of the runner.

    ``RunnerConfig(...)`` takes keyword arguments, then the environment, then the defaults; configuration files are
    :func:`necrocode.config_sources.load_config`'s. Raises pydantic's ``ValidationError`` with every problem.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    # --- where things are
    #: The folder of the journal, slots and artifacts.
    home: Folder = Field(default_factory=lambda: default_home(environment()))
    task_registry_url: ServiceUrl | None = None
    repo_pool_url: ServiceUrl | None = None
    #: A service, or a bucket (``s3://bucket/prefix``, ``gs://bucket/prefix``), whose endpoint, region and credentials
    #: come from the environment (``AWS_…``, ``GOOGLE_…``).
    artifact_store_url: StoreUrl | None = None
    #: The older file-based registry: is told of tasks where no URL is set, or where a run cannot reach it as it begins.
    task_registry_dir: Folder | None = None
    #: A mounted folder of secrets, a file each, named like the environment variable it stands for.
    secrets_dir: Folder | None = None

    # --- credentials: the values, or the environment variables that hold them
    llm_api_key: SecretStr | None = None
    llm_api_key_env_var: EnvName = "LLM_API_KEY"
    git_token_env_var: EnvName = "GIT_TOKEN"
    registry_token_env_var: EnvName = "TASK_REGISTRY_TOKEN"
    pool_token_env_var: EnvName = "REPO_POOL_TOKEN"
    artifact_token_env_var: EnvName = "ARTIFACT_STORE_TOKEN"
    mask_secrets: bool = True

    # --- the model
    llm_model: Text = "gpt-4"
    llm_endpoint: ServiceUrl | None = None
    llm_timeout_seconds: Seconds = 120
    llm_max_tokens: Count = 4000
    #: Whether answers are asked for as a stream: what comes is shown, and a proxy's patience does not end a long one.
    llm_stream: bool = True
    #: ``tools``: function calling; ``actions``: one JSON object an answer, which names a tool; ``json``: one JSON
    #: document of changed files an answer; ``auto``: the first of these that the endpoint and the model can do.
    tool_mode: Annotated[Literal["auto", "tools", "actions", "json"], BeforeValidator(_lower)] = "auto"
    #: Tokens of a prompt and its answer together; where it is not set, the price list's.
    context_window: Annotated[int, Field(ge=1000, le=100_000_000)] | None = None
    #: LLM answers in one attempt at the task.
    max_turns: Count = 100
    #: Tokens of the whole run, in and out.
    max_total_tokens: Count | None = None
    #: Calls of tools, and bytes of their output that the model is shown, of the whole run.
    max_tool_calls: Count = 2_000
    max_total_output_bytes: Annotated[int, Field(ge=65_536, le=1 << 40)] = 32 * 1024 * 1024
    #: US dollars of the whole run; counts only for models that have a price.
    max_cost_usd: Money | None = None
    #: By model; where it is not named, the price list's (of the package genai-prices, for known providers).
    prices: dict[str, ModelPrice] = {}

    # --- another coder
    #: A command-line agent that does the task in place of our own tool loop, such as ``some-agent -f {prompt_file}``.
    coder_command: Text | None = None
    #: Variables that it gets, such as that of its own key.
    coder_pass_env: list[EnvName] = []
    #: For one attempt at the task.
    coder_timeout_seconds: Seconds = 1800

    # --- limits and attempts
    #: Active seconds of a run whose task says nothing else.
    default_timeout_seconds: Seconds = 1800
    max_implementation_attempts: Count = 3
    git_retry_count: Retries = 3
    network_retry_count: Retries = 3
    llm_retry_count: Retries = 3
    #: Before the first of those retries; doubled for each further one.
    retry_initial_seconds: Seconds = 1
    #: Of one call to the registry, the pool or the artifact store.
    service_timeout_seconds: Seconds = 30

    # --- slots
    #: Slots a repository may have.
    pool_size: Count = 4
    #: How long to wait for one when all are lent.
    slot_timeout_seconds: Seconds = 600
    #: A user's own folder with changes in it: refused, or saved first.
    on_dirty_folder: Annotated[Literal["refuse", "save"], BeforeValidator(_lower)] = "refuse"

    # --- commands
    #: ``auto``: bubblewrap where it works, else Landlock with seccomp, else none with a warning; ``required``: one of
    #: them or exit 3; ``bubblewrap`` or ``landlock``: that one or exit 3; ``off``.
    sandbox: Annotated[Sandbox, BeforeValidator(_lower)] = "auto"
    #: Whether commands may use the network: none of it, all of it, or these hosts only, by a proxy that they are given:
    #: ``["index.example", "*.files.example", "127.0.0.1:8080"]`` (ports 80 and 443 where there is none).
    network: Annotated[bool | tuple[Text, ...], BeforeValidator(_network)] = False
    command_timeout_seconds: Seconds = 600
    max_output_bytes: Annotated[int, Field(ge=1024, le=64 * 1024 * 1024)] = 65_536
    #: Address space of each process of a command.
    max_memory_mb: Count | None = None
    #: 100 is one CPU; rounded up to whole ones.
    max_cpu_percent: Annotated[int, Field(ge=1, le=100_000)] | None = None
    #: Processes and threads that a command in a sandbox may have at once.
    max_processes: Annotated[int, Field(ge=16, le=1_000_000)] = 2048
    #: Of each file that a command writes.
    max_file_size_mb: Count = 4096
    #: What may vanish of the disk's free space while a command runs, whoever takes it, before the command is killed.
    max_disk_mb: Count = 20_480

    # --- tests
    #: Whether a task that names neither test commands nor a playbook is tested by what the repository looks like.
    detect_tests: bool = True
    #: Whether test commands are asked what became of each test: pytest writes JUnit XML then (``PYTEST_ADDOPTS``).
    test_reports: bool = True
    #: How often a test command that fails is run again. One that passes then is called flaky, everywhere it is told of.
    test_reruns: Annotated[int, Field(ge=0, le=20)] = 0
    #: The tests are run once before the coder works. ``report``: to tell tests that failed before from those that it
    #: broke; ``forgive``: a command, too, that fails by no other tests than those and ends as it did then, passes.
    baseline_tests: Annotated[Literal["off", "report", "forgive"], BeforeValidator(_lower)] = "off"

    # --- what is delivered
    push: bool = True
    #: Whether a run that fails or is cancelled pushes what there is of its work to ``wip/<branch>``.
    push_partial_work: bool = False
    #: A branch of that name that isn't ours: the task fails, or the name gets a number.
    on_branch_exists: Annotated[Literal["fail", "suffix"], BeforeValidator(_lower)] = "fail"
    committer_name: OneLine = "necrocode"
    committer_email: OneLine = "necrocode@localhost"

    # --- the runner itself
    log_level: Annotated[LogLevel, BeforeValidator(_lower)] = "info"
    structured_logging: bool = False
    durability: Annotated[Literal["power-loss", "process-crash"], BeforeValidator(_lower)] = "power-loss"
    #: A process that gave no sign of life for so long may lose its run to another (``--take-over``). It gives one every
    #: sixth of it.
    lease_seconds: Seconds = 30
    #: How often a repo pool that is a service is told that the run in its slot is alive.
    slot_renew_seconds: Seconds = 60
    #: How long to wait for another process that holds a database's lock.
    lock_timeout_seconds: Seconds = 30
    #: Days that ended runs, their artifacts and logs are kept by ``prune``.
    retention_days: Days = 30
    #: The same for artifacts of a type, such as ``{log = 7, diff = 365}``: shorter or longer than their run is kept.
    artifact_retention_days: dict[Text, Days] = {}
    #: Days that an unused slot is kept by ``prune``.
    slot_retention_days: Days = 14

    @model_validator(mode="before")
    @classmethod
    def _and_the_environment(cls, values: dict[str, Any]) -> dict[str, Any]:
        return {field: value for field, (_, value) in from_environment(environment()).items()} | values

    @property
    def llm(self) -> LLMConfig:
        """The model's part. ``api_key`` only if it was configured as such (see :mod:`necrocode.credentials`)."""
        return LLMConfig(
            api_key=self.llm_api_key,
            model=self.llm_model,
            endpoint=self.llm_endpoint,
            timeout_seconds=self.llm_timeout_seconds,
            max_tokens=self.llm_max_tokens,
        )


BUCKETS = ("s3://", "gs://")
"""How the URL of an artifact store begins that is a bucket, not a service."""

SECRETS = frozenset({"llm_api_key"})
"""Fields that hold a secret themselves."""

_STRUCTURED = ("prices", "artifact_retention_days", "coder_pass_env", "network")

LOCAL = frozenset({"home", "secrets_dir"})
"""Fields that say where this process finds things, not what a run does."""


def environment() -> Mapping[str, str]:
    """What stands for ``os.environ`` now."""
    import os

    given = _ENVIRONMENT.get()
    return os.environ if given is None else given


def from_environment(environ: Mapping[str, str]) -> dict[str, tuple[str, Any]]:
    """By field: the variable that sets it, and its value (JSON where the field is no scalar)."""
    found: dict[str, tuple[str, Any]] = {}
    for field in RunnerConfig.model_fields:
        names = [PREFIX + field.upper(), *(name for name, plain in PLAIN_NAMES.items() if plain == field)]
        for name in names:
            value = environ.get(name, "").strip()
            if value:
                found[field] = name, _structured(value) if field in _STRUCTURED else value
                break
    return found


def _structured(value: str) -> Any:
    import json

    try:
        return json.loads(value)
    except ValueError:
        return value


def build(values: Mapping[str, Any]) -> RunnerConfig:
    """The configuration of exactly ``values`` and the defaults, whatever the environment says."""
    token = _ENVIRONMENT.set({})
    try:
        return RunnerConfig(**values)
    finally:
        _ENVIRONMENT.reset(token)


def frozen_view(config: RunnerConfig) -> dict[str, Any]:
    """The effective configuration as JSON, without secrets and :data:`LOCAL` fields: it is journaled with each run."""
    return config.model_dump(mode="json", exclude=set(SECRETS | LOCAL))


def thawed(view: Mapping[str, Any], current: RunnerConfig) -> RunnerConfig:
    """The configuration of a journaled ``view``; what that does not hold (secrets, new settings) as in ``current``.

    Settings that this release no longer has are passed over.
    """
    own = {name: getattr(current, name) for name in RunnerConfig.model_fields}
    kept = {name: value for name, value in view.items() if name in own and name not in SECRETS | LOCAL}
    return build(own | kept)
