"""Wiring: the ports of one run, each with the adapter that the configuration asks for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from necrocode.engine.retry import RetryPolicy

if TYPE_CHECKING:
    from pathlib import Path

    from necrocode.artifacts.objects import ObjectArtifacts
    from necrocode.coder.agent import AgentSettings
    from necrocode.coder.settings import CoderSettings, Progress
    from necrocode.commands.runner import SupervisedCommands
    from necrocode.config import RunnerConfig
    from necrocode.credentials import LoadedCredentials
    from necrocode.engine.database import Database
    from necrocode.engine.journal import Journal
    from necrocode.engine.stop import StopToken
    from necrocode.home import Home
    from necrocode.pool.embedded import EmbeddedPool
    from necrocode.pool.holder import Epoch
    from necrocode.pool.holders import Holders
    from necrocode.registry.files import FileRegistry
    from necrocode.registry.taking import TaskSets
    from necrocode.states.ports import ArtifactStore, Coder, Ports, RepoPool, TaskRegistry


@dataclass(frozen=True, slots=True)
class Wired:
    """The ports of one run, and what must be closed after it."""

    ports: Ports
    close: Callable[[], None]


def wire(
    home: Home,
    journal: Journal,
    services: Database,
    config: RunnerConfig,
    credentials: LoadedCredentials,
    *,
    stop_of: Callable[[str], StopToken | None] = lambda _: None,
    epoch: Epoch = lambda: None,
    fence: Callable[[], None] = lambda: None,
    progress: Progress | None = None,
) -> Wired:
    """Build every adapter for one run. Nothing is contacted. ``stop_of`` gives the token of a run that is driven
    here, ``epoch`` the epoch in which it is; ``fence`` raises ``Superseded`` if another process has it by now.
    """
    from necrocode.artifacts.local import LocalArtifacts
    from necrocode.coder.loop import ToolLoopCoder
    from necrocode.git.workspace import GitWorkspaces
    from necrocode.llm.openai_client import OpenAIChat
    from necrocode.logs import FileLog
    from necrocode.pool.folders import LocalFolders
    from necrocode.states.ports import Ports
    from necrocode.testing.junit_files import SlotJUnit
    from necrocode.testing.playbooks import PlaybookFiles

    commands = commands_of(home, config, credentials, fence)
    tell, heard = _telling(progress)
    llm = OpenAIChat(
        model=config.llm_model,
        api_key=lambda: credentials.llm_api_key,
        key_variable=config.llm_api_key_env_var,
        endpoint=config.llm_endpoint,
        mask=credentials.mask,
        stream=config.llm_stream,
        heard=heard,
    )
    coder: Coder
    if config.coder_command is None:
        coder = ToolLoopCoder(llm, commands, coder_settings(config), tell)
    else:
        from necrocode.coder.agent import CommandCoder

        coder = CommandCoder(commands, agent_settings(config))
    ports = Ports(
        registry=registry_of(services, config, credentials),
        fallbacks=fallbacks_of(services, config),
        artifacts_here=None if config.artifact_store_url is None else LocalArtifacts(services, home.artifacts),
        pool=pool_of(home, journal, services, config, credentials, commands, epoch),
        folders=LocalFolders(home.locks, save_dirty=config.on_dirty_folder == "save", epoch=epoch),
        workspaces=GitWorkspaces(
            home.root,
            token=lambda: credentials.git_token,
            found_secret=credentials.found_in,
            mask=credentials.mask,
            stop_of=stop_of,
            fence=fence,
        ),
        commands=commands,
        coder=coder,
        artifacts=artifacts_of(home, services, config, credentials, epoch),
        credentials=credentials,
        log=FileLog(home, credentials.mask),
        reports=SlotJUnit(home.commands, mask=credentials.mask),
        playbooks=PlaybookFiles(),
    )

    # They take a while to start: they do it while the slot is being prepared.
    if config.coder_command is None:
        llm.preload()
    commands.warm()

    def close() -> None:
        commands.close()
        llm.close()

    return Wired(ports, close)


def _telling(progress: Progress | None) -> tuple[Progress | None, Callable[[int], None]]:
    """What the coder tells its steps to, and the model's client how much of an answer has come."""
    from dataclasses import replace

    from necrocode.coder.settings import ProgressEvent

    if progress is None:
        return None, lambda _: None
    last: list[ProgressEvent] = []

    def tell(event: ProgressEvent) -> None:
        last[:] = [event]
        progress(event)

    def heard(characters: int) -> None:
        if last and last[0].doing == "model":
            progress(replace(last[0], detail=f"{characters:,} characters so far"))

    return tell, heard


def commands_of(
    home: Home, config: RunnerConfig, credentials: LoadedCredentials, fence: Callable[[], None] = lambda: None
) -> SupervisedCommands:
    """The command runner of this home."""
    from necrocode.commands.limits import CommandLimits
    from necrocode.commands.runner import SupervisedCommands
    from necrocode.commands.whole import WholeOutputs
    from necrocode.git.layout import readable_for

    return SupervisedCommands(
        home.commands,
        sandbox="require" if config.sandbox == "required" else config.sandbox,
        mask=credentials.mask,
        secret_names=credentials.secret_names,
        read_only_paths=readable_for,
        limits=CommandLimits(
            memory_mb=config.max_memory_mb,
            file_size_mb=config.max_file_size_mb,
            processes=config.max_processes,
            disk_mb=config.max_disk_mb,
            cpu_percent=config.max_cpu_percent,
        ),
        fence=fence,
        whole=WholeOutputs(home.outputs, credentials.mask),
    )


def registry_of(services: Database, config: RunnerConfig, credentials: LoadedCredentials) -> TaskRegistry:
    """The registry that is told of tasks: the one at the URL, else the one in files, else the embedded one."""
    if config.task_registry_url is None:
        return next(iter(_local_registries(services, config).values()))
    from necrocode.registry.rest import TaskRegistryClient

    return TaskRegistryClient(
        config.task_registry_url,
        token=lambda: credentials.registry_token,
        timeout=timedelta(seconds=config.service_timeout_seconds),
        mask=credentials.mask,
    )


def fallbacks_of(services: Database, config: RunnerConfig) -> dict[str, TaskRegistry]:
    """By sink: where a run reports to if the registry at the URL cannot be reached as it begins."""
    return _local_registries(services, config) if config.task_registry_url is not None else {}


def file_registry(config: RunnerConfig) -> FileRegistry:
    """The registry in files: below ``task_registry_dir``, else below the home."""
    from necrocode.imports.kiro import tick_done
    from necrocode.registry.files import FileRegistry

    return FileRegistry(
        registry_folder(config), lock_timeout=timedelta(seconds=config.lock_timeout_seconds), on_done=tick_done
    )


def task_sets_of(config: RunnerConfig, credentials: LoadedCredentials) -> TaskSets:
    """Where task sets are: in the registry at the URL, else in files."""
    if config.task_registry_url is None:
        return file_registry(config)
    from necrocode.registry.rest_sets import RemoteTaskSets

    return RemoteTaskSets(
        config.task_registry_url,
        token=lambda: credentials.registry_token,
        timeout=timedelta(seconds=config.service_timeout_seconds),
        mask=credentials.mask,
    )


def registry_folder(config: RunnerConfig) -> Path:
    """Where the registry in files is."""
    return config.task_registry_dir or config.home / "registry"


def _local_registries(services: Database, config: RunnerConfig) -> dict[str, TaskRegistry]:
    from necrocode.registry.embedded import EmbeddedRegistry

    found: dict[str, TaskRegistry] = {}
    if config.task_registry_dir is not None:
        found["registry_files"] = file_registry(config)
    found["registry_embedded"] = EmbeddedRegistry(services)
    return found


def pool_of(
    home: Home,
    journal: Journal,
    services: Database,
    config: RunnerConfig,
    credentials: LoadedCredentials,
    commands: SupervisedCommands,
    epoch: Epoch = lambda: None,
) -> RepoPool:
    """The pool that lends slots."""
    if config.repo_pool_url is None:
        return embedded_pool(home, journal, services, config, commands, epoch)
    from necrocode.pool.rest import RepoPoolClient

    return RepoPoolClient(
        config.repo_pool_url,
        token=lambda: credentials.pool_token,
        timeout=timedelta(seconds=config.service_timeout_seconds),
        mask=credentials.mask,
        epoch=epoch,
    )


def embedded_pool(
    home: Home,
    journal: Journal,
    services: Database,
    config: RunnerConfig,
    commands: SupervisedCommands,
    epoch: Epoch = lambda: None,
    holders: Holders | None = None,
) -> EmbeddedPool:
    """The slots of this machine; ``holders``: who borrows them, if not processes of this machine."""
    from necrocode.pool.embedded import EmbeddedPool

    def quiesce(run_id: str) -> None:
        commands.reap(run_id)

    return EmbeddedPool(
        services,
        home.root,
        limit=config.pool_size,
        run_is_over=lambda run_id: run_is_over(journal, run_id),
        quiesce=quiesce,
        epoch=epoch,
        holders=holders,
    )


def artifacts_of(
    home: Home,
    services: Database,
    config: RunnerConfig,
    credentials: LoadedCredentials,
    epoch: Epoch = lambda: None,
) -> ArtifactStore:
    """The store that keeps artifacts."""
    if config.artifact_store_url is None:
        from necrocode.artifacts.local import LocalArtifacts

        return LocalArtifacts(services, home.artifacts)
    bucket = bucket_of(config, credentials)
    if bucket is not None:
        return bucket
    from necrocode.artifacts.rest import ArtifactStoreClient

    return ArtifactStoreClient(
        config.artifact_store_url,
        token=lambda: credentials.artifact_token,
        timeout=timedelta(seconds=config.service_timeout_seconds),
        mask=credentials.mask,
        epoch=epoch,
    )


def bucket_of(config: RunnerConfig, credentials: LoadedCredentials) -> ObjectArtifacts | None:
    """The bucket that keeps artifacts, if it is one."""
    from necrocode.config import BUCKETS

    if config.artifact_store_url is None or not config.artifact_store_url.startswith(BUCKETS):
        return None
    from necrocode.artifacts.objects import ObjectArtifacts

    return ObjectArtifacts(
        config.artifact_store_url,
        secrets=lambda: credentials.bucket_secrets,
        timeout=timedelta(seconds=config.service_timeout_seconds),
        mask=credentials.mask,
    )


def coder_settings(config: RunnerConfig) -> CoderSettings:
    """The coder's part of the configuration."""
    from necrocode.coder.settings import CoderSettings

    price = config.prices.get(config.llm_model)
    return CoderSettings(
        model=config.llm_model,
        endpoint=config.llm_endpoint,
        answer_tokens=config.llm_max_tokens,
        llm_timeout=timedelta(seconds=config.llm_timeout_seconds),
        llm_retry=RetryPolicy(
            attempts=1 + config.llm_retry_count, first_wait=timedelta(seconds=config.retry_initial_seconds)
        ),
        max_turns=config.max_turns,
        max_total_tokens=config.max_total_tokens,
        max_tool_calls=config.max_tool_calls,
        max_shown_bytes=config.max_total_output_bytes,
        max_cost=config.max_cost_usd,
        context_window=config.context_window,
        price_in=Decimal(price.input) if price else None,
        price_out=Decimal(price.output) if price else None,
        command_timeout=timedelta(seconds=config.command_timeout_seconds),
        max_output_bytes=config.max_output_bytes,
        network=config.network,
        tool_mode=config.tool_mode,
    )


def agent_settings(config: RunnerConfig) -> AgentSettings:
    """The part of the configuration that is about another coder."""
    from necrocode.coder.agent import AgentSettings

    assert config.coder_command is not None
    return AgentSettings(
        command=config.coder_command,
        model=config.llm_model,
        timeout=timedelta(seconds=config.coder_timeout_seconds),
        pass_env=tuple(config.coder_pass_env),
        network=config.network,
        max_output_bytes=config.max_output_bytes,
    )


def run_is_over(journal: Journal, run_id: str) -> bool:
    """Whether a run has no claim to a slot any more: ended, parked or unknown."""
    from necrocode.engine.errors import RunNotFound

    try:
        return journal.run(run_id).status in ("closed", "parked")
    except RunNotFound:
        return True
