"""The configuration: what each setting takes, what is journaled, and where values come from."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from necrocode.config import LLMConfig, RunnerConfig, build, frozen_view, thawed
from necrocode.config_sources import InvalidConfig, LoadedConfig, load_config

KEY = "sk-0123456789-0123456789"


def load(
    tmp_path: Path, flags: Mapping[str, Any] | None = None, file: Path | None = None, /, **environ: str
) -> LoadedConfig:
    return load_config(flags or {}, file, {"HOME": str(tmp_path), **environ}, tmp_path)


def problems(tmp_path: Path, flags: Mapping[str, Any] | None = None, /, **environ: str) -> list[str]:
    with pytest.raises(InvalidConfig) as caught:
        load(tmp_path, flags, **environ)
    return [str(problem) for problem in caught.value.problems]


def test_the_defaults_are_those_of_the_design(tmp_path: Path) -> None:
    config = load(tmp_path).config
    assert config.home == tmp_path / ".local" / "share" / "necrocode"
    assert (config.llm_model, config.llm_api_key_env_var, config.git_token_env_var) == (
        "gpt-4",
        "LLM_API_KEY",
        "GIT_TOKEN",
    )
    assert (config.llm_timeout_seconds, config.llm_max_tokens, config.default_timeout_seconds) == (120, 4000, 1800)
    assert (config.llm_retry_count, config.max_implementation_attempts) == (3, 3)
    assert (config.mask_secrets, config.push, config.sandbox, config.network) == (True, True, "auto", False)
    assert (config.durability, config.log_level, config.structured_logging) == ("power-loss", "info", False)
    assert config.lease_seconds == 30
    assert config.task_registry_url is config.repo_pool_url is config.artifact_store_url is None


def test_flag_beats_environment_beats_file_beats_default(tmp_path: Path) -> None:
    (tmp_path / "necrocode.toml").write_text("pool_size = 2\nmax_turns = 20\nllm_model = 'file'\n")
    loaded = load(tmp_path, {"pool_size": 9, "push": None}, NECROCODE_POOL_SIZE="5", NECROCODE_MAX_TURNS="50")
    config = loaded.config
    assert (config.pool_size, config.max_turns, config.llm_model, config.push) == (9, 50, "file", True)
    assert loaded.sources == {
        "pool_size": "flag --pool-size",
        "max_turns": "environment NECROCODE_MAX_TURNS",
        "llm_model": f"file {tmp_path / 'necrocode.toml'}",
    }


@pytest.mark.parametrize(
    ("name", "value", "field", "expected"),
    [
        ("TASK_REGISTRY_URL", "http://h:1/a/", "task_registry_url", "http://h:1/a"),
        ("REPO_POOL_URL", "https://h", "repo_pool_url", "https://h"),
        ("ARTIFACT_STORE_URL", "https://h/", "artifact_store_url", "https://h"),
        ("RUNNER_LOG_LEVEL", "DEBUG", "log_level", "debug"),
        ("RUNNER_TIMEOUT", "60", "default_timeout_seconds", 60),
        ("NECROCODE_PUSH", "false", "push", False),
        ("NECROCODE_SANDBOX", " Required ", "sandbox", "required"),
    ],
)
def test_plain_and_prefixed_names(tmp_path: Path, name: str, value: str, field: str, expected: object) -> None:
    loaded = load(tmp_path, **{name: value})
    assert getattr(loaded.config, field) == expected
    assert loaded.sources == {field: f"environment {name}"}


def test_the_prefixed_name_counts_first_and_an_empty_one_not_at_all(tmp_path: Path) -> None:
    assert load(tmp_path, NECROCODE_LOG_LEVEL="error", RUNNER_LOG_LEVEL="debug").config.log_level == "error"
    assert load(tmp_path, NECROCODE_LOG_LEVEL=" ", RUNNER_LOG_LEVEL="debug").config.log_level == "debug"


def test_the_file_is_looked_for_upwards_and_the_nearest_wins(tmp_path: Path) -> None:
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    (tmp_path / "necrocode.yaml").write_text("pool_size: 2\n")
    assert load_config({}, None, {"HOME": "/"}, below).config.pool_size == 2
    (tmp_path / "a" / "pyproject.toml").write_text("[tool.other]\nx = 1\n")
    assert load_config({}, None, {"HOME": "/"}, below).config.pool_size == 2
    (tmp_path / "a" / "pyproject.toml").write_text("[tool.necrocode]\npool-size = 3\n")
    loaded = load_config({}, None, {"HOME": "/"}, below)
    assert (loaded.config.pool_size, loaded.file) == (3, tmp_path / "a" / "pyproject.toml")
    (tmp_path / "a" / "necrocode.toml").write_text("pool_size = 4\n")
    loaded = load_config({}, None, {"HOME": "/"}, below)
    assert loaded.config.pool_size == 4
    assert loaded.warnings == (f"{tmp_path / 'a' / 'necrocode.toml'} is read; beside it, pyproject.toml is not",)


def test_a_named_file_counts_alone(tmp_path: Path) -> None:
    (tmp_path / "necrocode.toml").write_text("pool_size = 2\n")
    (tmp_path / "other.yml").write_text("max_turns: 7\n")
    for loaded in (load(tmp_path, None, Path("other.yml")), load(tmp_path, NECROCODE_CONFIG="other.yml")):
        assert (loaded.config.pool_size, loaded.config.max_turns) == (4, 7)
    with pytest.raises(InvalidConfig, match="the file does not exist"):
        load(tmp_path, None, Path("gone.toml"))
    with pytest.raises(InvalidConfig, match=r"ends in \.toml, \.yaml or \.yml"):
        load(tmp_path, None, Path("config.json"))


def test_a_file_of_another_user_is_not_obeyed_unless_it_is_named(tmp_path: Path) -> None:
    file = tmp_path / "necrocode.toml"
    file.write_text("llm_endpoint = 'https://evil.example'\n")
    try:
        os.chown(file, 12345, 12345)
    except PermissionError:
        pytest.skip("only root can give a file to another user")
    assert problems(tmp_path) == [f"{file} belongs to another user: if you trust it, name it with --config (file)"]
    assert load(tmp_path, None, file).config.llm_endpoint == "https://evil.example"


def test_folders_in_a_file_start_at_the_file(tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    file = tmp_path / "conf" / "x.toml"
    file.write_text("home = 'state'\ntask_registry_dir = '../registry'\n")
    config = load(tmp_path, None, file).config
    assert config.home == tmp_path / "conf" / "state"
    assert config.task_registry_dir is not None
    assert config.task_registry_dir.resolve() == tmp_path / "registry"
    assert load(tmp_path, {"home": Path("here")}, file).config.home == tmp_path / "here"
    assert load(tmp_path, NECROCODE_HOME="there").config.home == tmp_path / "there"
    assert load(tmp_path, XDG_DATA_HOME="/data").config.home == Path("/data/necrocode")
    assert load(tmp_path, XDG_DATA_HOME="data").config.home == tmp_path / ".local" / "share" / "necrocode"


def test_every_problem_is_listed_with_its_field_and_source(tmp_path: Path) -> None:
    file = tmp_path / "necrocode.toml"
    file.write_text("pool_sise = 3\nmax_turns = 'many'\nprices = {m = {input = 1}}\nzebra = 1\n")
    assert problems(tmp_path, {"sandbox": "maybe"}, NECROCODE_LLM_ENDPOINT="host") == [
        f"pool_sise: is not known; did you mean 'pool_size'? (file {file})",
        f"zebra: is not known (file {file})",
        "llm_endpoint: must be a URL such as https://host:port/path (environment NECROCODE_LLM_ENDPOINT)",
        f"max_turns: must be a whole number (file {file})",
        f"prices.m.output: is required (file {file})",
        "sandbox: must be one of 'auto', 'bubblewrap', 'landlock', 'required' or 'off' (flag --sandbox)",
    ]


def test_unknown_variables_are_warnings(tmp_path: Path) -> None:
    loaded = load(tmp_path, NECROCODE_POOLSIZE="3", NECROCODE_ZEBRA="1", NECROCODE_LLM_API_KEY_FILE="/x", OTHER="2")
    assert loaded.warnings == (
        "the environment variable NECROCODE_POOLSIZE is not known; did you mean 'pool_size'?",
        "the environment variable NECROCODE_ZEBRA is not known",
    )


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("pool_size", 0, "must be 1 or more"),
        ("llm_timeout_seconds", float("nan"), "must be a finite number"),
        ("llm_timeout_seconds", -1, "must be more than 0"),
        ("git_retry_count", 1.5, "must be a whole number"),
        ("log_level", "loud", "must be one of 'debug', 'info', 'warning', 'error' or 'critical'"),
        ("push", "perhaps", "must be true or false"),
        ("task_registry_url", "ftp://x", "must be a URL"),
        ("task_registry_url", "http://user:pw@x", "must hold no user name or password"),
        ("task_registry_url", "http://x/?a=b", r"must hold no '\?'"),
        ("task_registry_url", "http://x:port", "is not a URL"),
        ("git_token_env_var", "A-B", "must be the name of an environment variable"),
        ("committer_name", "a\nb", "must be one line"),
        ("committer_email", "<a@b>", "must be one line"),
        ("max_cost_usd", "-0.01", "must be 0 or more"),
        ("max_cost_usd", "Infinity", "must be a finite number"),
        ("llm_model", " ", "must not be empty"),
        ("home", 5, "must be a path|not a valid path"),
        ("prices", [], "must be a mapping"),
        ("network", ["https://index.example/simple"], "must be a host such as index.example, not a URL"),
        ("network", ["index.example:99999"], "has a port that is not between 1 and 65535"),
        ("network", ["pypi..org"], "must be a host"),
        ("network", "index.example, *", "must be a host"),
        ("network", [["index.example"]], "must be true, false or a list of hosts"),
        ("network", {"index.example": 443}, "must be true, false or a list of hosts"),
        ("network", 443, "must be true, false or a list of hosts"),
    ],
)
def test_what_a_setting_does_not_take(tmp_path: Path, field: str, value: object, problem: str) -> None:
    (found,) = problems(tmp_path, {field: value})
    assert found.startswith(f"{field}: ")
    assert found.endswith(f"(flag --{field.replace('_', '-')})")
    with pytest.raises(InvalidConfig, match=problem):
        load(tmp_path, {field: value})


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("necrocode.toml", "pool_size = ", "the file is not TOML"),
        ("necrocode.yaml", "- a\n", "must hold a mapping of settings"),
        ("necrocode.yaml", "pool_size: 1\npool_size: 2\n", "has the key 'pool_size' twice"),
        ("pyproject.toml", "[tool]\nnecrocode = 3\n", "must hold a mapping of settings"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, content: str, problem: str) -> None:
    (tmp_path / name).write_text(content)
    (found,) = problems(tmp_path)
    assert problem in found
    assert found.endswith(f"(file {tmp_path / name})")


def test_an_empty_file_sets_nothing(tmp_path: Path) -> None:
    (tmp_path / "necrocode.yaml").write_text("# nothing yet\n")
    (tmp_path / "necrocode.toml").write_text("")
    assert load(tmp_path).sources == {}
    assert load(tmp_path, None, Path("necrocode.yaml")).sources == {}


def test_prices_come_from_a_file_or_as_json(tmp_path: Path) -> None:
    (tmp_path / "necrocode.toml").write_text('[prices."m-1"]\ninput = 2.5\noutput = "10"\n')
    assert str(load(tmp_path).config.prices["m-1"].input) == "2.5"
    loaded = load(tmp_path, NECROCODE_PRICES='{"m-2": {"input": "0.1", "output": 1}}')
    assert str(loaded.config.prices["m-2"].input) == "0.1"
    assert problems(tmp_path, NECROCODE_PRICES="{")[0].startswith("prices: must be a mapping")


def test_a_secret_is_shown_nowhere(tmp_path: Path) -> None:
    loaded = load(tmp_path, NECROCODE_LLM_API_KEY=KEY)
    assert loaded.config.llm_api_key is not None
    assert loaded.config.llm_api_key.get_secret_value() == KEY
    llm = loaded.config.llm
    shown = f"{loaded!r} {loaded.config!s} {loaded.config.model_dump_json()} {llm!r} {frozen_view(loaded.config)}"
    assert KEY not in shown
    with pytest.raises(InvalidConfig) as caught:
        load(tmp_path, {"llm_api_key": [KEY]}, NECROCODE_POOL_SIZE="x")
    assert KEY not in str(caught.value)
    with pytest.raises(ValidationError) as direct:
        RunnerConfig(llm_api_key=[KEY])  # type: ignore[arg-type]
    assert KEY not in str(direct.value)


def test_a_file_with_a_secret_that_others_can_read_is_warned_of(tmp_path: Path) -> None:
    file = tmp_path / "necrocode.toml"
    file.write_text(f"llm_api_key = '{KEY}'\n")
    file.chmod(0o644)
    assert load(tmp_path).warnings == (f"{file} holds a secret and can be read by other users: chmod 600 {file}",)
    file.chmod(0o600)
    assert load(tmp_path).warnings == ()


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        build({}).pool_size = 5


def test_made_in_python_it_takes_arguments_then_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NECROCODE_POOL_SIZE", "7")
    monkeypatch.setenv("TASK_REGISTRY_URL", "http://h")
    assert RunnerConfig().pool_size == 7
    assert RunnerConfig(pool_size=2).pool_size == 2
    assert RunnerConfig().task_registry_url == "http://h"
    assert build({}).pool_size == 4
    with pytest.raises(ValidationError):
        RunnerConfig(pool_sise=2)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("told", "taken"),
    [
        ("true", True),
        ("No", False),
        ("1", True),
        ('["Index.Example", "*.files.example:8443", "index.example"]', ("index.example", "*.files.example:8443")),
        ("index.example, 127.0.0.1:8080,", ("index.example", "127.0.0.1:8080")),
        ("[]", False),
        (",", False),
    ],
)
def test_network_is_all_none_or_a_list_of_hosts(tmp_path: Path, told: str, taken: object) -> None:
    config = load(tmp_path, NECROCODE_NETWORK=told).config
    assert config.network == taken
    assert thawed(json.loads(json.dumps(frozen_view(config))), build({"home": "/x"})).network == taken


def test_the_frozen_view_is_json_and_gives_the_configuration_back(tmp_path: Path) -> None:
    price = {"m": {"input": "2.50", "output": "10"}}
    values = {"home": tmp_path, "max_cost_usd": "1.10", "prices": price, "pool_size": 2, "llm_api_key": KEY}
    config = build(values)
    view = json.loads(json.dumps(frozen_view(config)))
    assert "home" not in view
    assert "llm_api_key" not in view
    assert thawed(view, config) == config
    assert thawed(view | {"gone_setting": 1}, config) == config
    other = build({"home": tmp_path / "other", "pool_size": 9})
    assert (thawed(view, other).pool_size, thawed(view, other).home) == (2, tmp_path / "other")
    assert thawed({}, other) == other


@given(
    values=st.fixed_dictionaries(
        {},
        optional={
            "pool_size": st.integers(1, 100),
            "llm_timeout_seconds": st.floats(0.001, 1000),
            "max_cost_usd": st.decimals(0, 1000, places=6).map(str),
            "push": st.booleans(),
            "llm_model": st.text("abc/-.:", min_size=1, max_size=10),
            "sandbox": st.sampled_from(["auto", "bubblewrap", "landlock", "required", "off"]),
        },
    )
)
def test_any_configuration_survives_the_journal(values: dict[str, Any]) -> None:
    config = build({**values, "home": "/x"})
    assert thawed(json.loads(json.dumps(frozen_view(config))), build({"home": "/x"})) == config


def test_the_models_part_has_its_own_class() -> None:
    llm = LLMConfig(api_key=KEY, model="m", endpoint="http://h/v1/", timeout_seconds=3, max_tokens=5)  # type: ignore[arg-type]
    assert (llm.model, llm.endpoint, llm.timeout_seconds, llm.max_tokens) == ("m", "http://h/v1", 3, 5)
    assert build({"home": "/x", "llm_model": "m"}).llm.model == "m"


@pytest.mark.parametrize("url", ["s3://my-bucket/some/prefix", "gs://a.b_c", "s3://bucket/", "https://h/x"])
def test_an_artifact_store_may_be_a_bucket(tmp_path: Path, url: str) -> None:
    assert load(tmp_path, ARTIFACT_STORE_URL=url).config.artifact_store_url == url.rstrip("/")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ftp://h/x", "must be a URL such as https://host:port/path, s3://bucket/prefix or gs://bucket/prefix"),
        ("azure://c/x", "must be a URL such as"),
        ("my-bucket", "must be a URL such as"),
        ("s3://", "must name a bucket"),
        ("s3://key:secret@bucket", "must name a bucket"),
        ("s3://bucket/../x", "must have a prefix of"),
        ("gs://bucket/a//b", "must have a prefix of"),
        ("gs://bucket/a?b=c", "must have a prefix of"),
    ],
)
def test_an_artifact_store_of_another_kind_is_refused(tmp_path: Path, url: str, words: str) -> None:
    (problem,) = problems(tmp_path, ARTIFACT_STORE_URL=url)
    assert problem.startswith(f"artifact_store_url: {words}")
    assert problem.endswith("(environment ARTIFACT_STORE_URL)")


def test_retention_is_by_type(tmp_path: Path) -> None:
    loaded = load(tmp_path, NECROCODE_ARTIFACT_RETENTION_DAYS='{"log": 7, "diff": 365}')
    assert loaded.config.artifact_retention_days == {"log": 7, "diff": 365}
    assert build(frozen_view(loaded.config)).artifact_retention_days == {"log": 7, "diff": 365}
    (problem,) = problems(tmp_path, NECROCODE_ARTIFACT_RETENTION_DAYS='{"log": -1}')
    assert problem.startswith("artifact_retention_days")
