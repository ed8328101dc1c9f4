"""Credentials: where they come from, who never sees them, and what stays when they are gone."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from necrocode.config import RunnerConfig, build
from necrocode.config_sources import InvalidConfig
from necrocode.credentials import GIT_TOKEN, LLM_KEY, LoadedCredentials, load_credentials
from necrocode.states.ports import Credentials

KEY = "sk-0123456789-abcdefghij"
TOKEN = "ghp_ABCDEFGHIJ0123456789"


def config(tmp_path: Path, **values: Any) -> RunnerConfig:
    secrets = tmp_path / "no secrets"
    secrets.mkdir(exist_ok=True)
    return build({"home": tmp_path, "secrets_dir": secrets, **values})


def secret_file(path: Path, content: str | bytes, mode: int = 0o600) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    path.chmod(mode)
    return path


def test_the_environment_gives_each_of_them(tmp_path: Path) -> None:
    environ = {
        "LLM_API_KEY": KEY,
        "GIT_TOKEN": TOKEN,
        "TASK_REGISTRY_TOKEN": "registry-token",
        "REPO_POOL_TOKEN": "pool-token",
        "ARTIFACT_STORE_TOKEN": "artifact-token",
    }
    credentials, warnings = load_credentials(config(tmp_path), environ)
    assert (credentials.llm_api_key, credentials.git_token) == (KEY, TOKEN)
    assert credentials.registry_token == "registry-token"
    assert credentials.pool_token == "pool-token"
    assert credentials.artifact_token == "artifact-token"
    assert warnings == ()


def test_without_any_there_is_none(tmp_path: Path) -> None:
    credentials, warnings = load_credentials(config(tmp_path), {"LLM_API_KEY": "  "})
    assert (credentials.llm_api_key, credentials.git_token, warnings) == (None, None, ())
    assert credentials.mask(KEY) == KEY


def test_the_variables_names_can_be_chosen(tmp_path: Path) -> None:
    chosen = config(tmp_path, llm_api_key_env_var="MY_KEY", git_token_env_var="MY_GIT")
    credentials, _ = load_credentials(chosen, {"MY_KEY": KEY, "MY_GIT": TOKEN, "LLM_API_KEY": "other-key-value"})
    assert (credentials.llm_api_key, credentials.git_token) == (KEY, TOKEN)


def test_configuration_beats_variable_beats_file_beats_folder(tmp_path: Path) -> None:
    file = secret_file(tmp_path / "key", "key-of-the-file\n")
    secret_file(tmp_path / "mounted" / "llm_api_key", "key-of-the-folder\n")
    secret_file(tmp_path / "mounted" / "GIT_TOKEN", TOKEN)
    mounted = config(tmp_path, secrets_dir=tmp_path / "mounted")
    environ = {"LLM_API_KEY_FILE": str(file)}
    assert load_credentials(mounted, {})[0].llm_api_key == "key-of-the-folder"
    assert load_credentials(mounted, {})[0].git_token == TOKEN
    assert load_credentials(mounted, environ)[0].llm_api_key == "key-of-the-file"
    assert load_credentials(mounted, {"NECROCODE_LLM_API_KEY_FILE": str(file)})[0].llm_api_key == "key-of-the-file"
    credentials, warnings = load_credentials(mounted, environ | {"LLM_API_KEY": KEY})
    assert credentials.llm_api_key == KEY
    assert warnings == ("LLM_API_KEY and LLM_API_KEY_FILE are both set: LLM_API_KEY counts",)
    configured = config(tmp_path, llm_api_key="key-of-the-configuration")
    assert load_credentials(configured, {"LLM_API_KEY": KEY})[0].llm_api_key == "key-of-the-configuration"


def test_a_file_that_others_can_read_is_warned_of(tmp_path: Path) -> None:
    for mode in (0o640, 0o604):
        file = secret_file(tmp_path / "key", KEY, mode)
        _, warnings = load_credentials(config(tmp_path), {"LLM_API_KEY_FILE": str(file)})
        assert warnings == (f"{file} holds the LLM key and can be read by other users: chmod 600 {file}",)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"\xff\xfe\x00k", "is not text"),
        (b"two words", "must be one word of printable ASCII"),
        (b"-----BEGIN KEY-----\nabc\n-----END KEY-----", "must be one word of printable ASCII"),
        ("schlüssel-schlüssel".encode(), "must be one word of printable ASCII"),
        (b"x" * 70_000, "is larger than 65,536 bytes"),
        (None, "does not exist"),
    ],
)
def test_a_file_that_holds_no_token_is_refused_without_repeating_it(
    tmp_path: Path, content: bytes | None, problem: str
) -> None:
    file = tmp_path / "key"
    if content is not None:
        secret_file(file, content)
    with pytest.raises(InvalidConfig, match=f"LLM key: .*{problem}.*environment LLM_API_KEY_FILE") as caught:
        load_credentials(config(tmp_path), {"LLM_API_KEY_FILE": str(file)})
    if content and content.strip():
        assert content[:9].decode("latin-1") not in str(caught.value)


def test_a_secrets_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match=r"secrets_dir: .* is not a folder"):
        load_credentials(config(tmp_path, secrets_dir=tmp_path / "gone"), {})


def test_a_short_secret_is_warned_of(tmp_path: Path) -> None:
    credentials, warnings = load_credentials(config(tmp_path), {"GIT_TOKEN": "1234567"})
    assert warnings == ("the Git token is shorter than 8 bytes and will not be masked",)
    assert credentials.mask("1234567") == "1234567"


def test_masking_can_be_turned_off_but_not_the_search(tmp_path: Path) -> None:
    credentials, warnings = load_credentials(config(tmp_path, mask_secrets=False), {"GIT_TOKEN": TOKEN})
    assert "mask_secrets is off" in warnings[0]
    assert credentials.mask(TOKEN) == TOKEN
    assert credentials.found_in(TOKEN.encode()) == GIT_TOKEN


def test_commands_get_no_variable_that_holds_a_credential(tmp_path: Path) -> None:
    environ = {
        "LLM_API_KEY": KEY,
        "OPENAI_API_KEY": KEY,
        "PROXY": f"https://user:{KEY}@proxy.example",
        "PIN": "1234567",
        "REPO_POOL_TOKEN": "1234567",
        "PATH": "/bin",
    }
    credentials, _ = load_credentials(config(tmp_path, git_token_env_var="MY_GIT"), environ)
    names = credentials.secret_names
    assert {"LLM_API_KEY", "LLM_API_KEY_FILE", "NECROCODE_LLM_API_KEY", "MY_GIT", "MY_GIT_FILE"} <= names
    assert {"OPENAI_API_KEY", "PROXY", "PIN"} <= names
    assert "PATH" not in names


def test_wiping_hands_out_nothing_and_goes_on_masking(tmp_path: Path) -> None:
    credentials, _ = load_credentials(config(tmp_path), {"LLM_API_KEY": KEY, "GIT_TOKEN": TOKEN})
    credentials.wipe()
    credentials.wipe()
    assert (credentials.llm_api_key, credentials.git_token) == (None, None)
    assert credentials.mask(f"{KEY} {TOKEN}") == "*** ***"
    credentials.learn("password", "hunter2-hunter2")
    assert credentials.mask(f"{KEY} hunter2-hunter2") == "*** ***"


def test_what_is_learned_later_is_masked_too() -> None:
    credentials = LoadedCredentials({LLM_KEY: KEY})
    credentials.learn("password", "hunter2-hunter2")
    credentials.learn("password", "another-password")
    assert credentials.mask("hunter2-hunter2 another-password") == "*** ***"
    assert credentials.found_in(b"x hunter2-hunter2") == "password"
    assert credentials.llm_api_key == KEY


def test_it_is_the_port_and_shows_no_value() -> None:
    credentials = LoadedCredentials({LLM_KEY: KEY})
    port: Credentials = credentials
    assert repr(port) == "LoadedCredentials(LLM key)"
    with pytest.raises(TypeError, match="never pickled"):
        pickle.dumps(credentials)


@given(
    key=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=80),
    token=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=80),
    between=st.text(max_size=10),
)
def test_whatever_was_loaded_is_masked_and_found(key: str, token: str, between: str) -> None:
    credentials = LoadedCredentials({LLM_KEY: key, GIT_TOKEN: token})
    masked = credentials.mask(f"{key}{between}{token}")
    assert key not in masked
    assert token not in masked
    assert credentials.found_in(f"{between}{token}".encode("utf-8", "surrogatepass")) is not None


def test_the_secrets_of_a_bucket_are_credentials_where_artifacts_go_to_one(tmp_path: Path) -> None:
    environ = {"AWS_SECRET_ACCESS_KEY_FILE": str(secret_file(tmp_path / "key", KEY)), "AWS_SESSION_TOKEN": TOKEN}
    bucket, _ = load_credentials(config(tmp_path, artifact_store_url="s3://bucket"), environ)
    assert bucket.bucket_secrets == {"secret_access_key": KEY, "session_token": TOKEN}
    assert bucket.mask(f"{KEY} {TOKEN}") == "*** ***"
    assert {"AWS_SECRET_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY_FILE", "AWS_SESSION_TOKEN"} <= bucket.secret_names
    bucket.wipe()
    assert bucket.bucket_secrets == {}
    google, _ = load_credentials(config(tmp_path, artifact_store_url="gs://bucket"), {"GOOGLE_BEARER_TOKEN": TOKEN})
    assert google.bucket_secrets == {"bearer_token": TOKEN}
    assert "GOOGLE_APPLICATION_CREDENTIALS" in google.secret_names
    # elsewhere they are variables like any other, which a task's commands may be given
    other, _ = load_credentials(config(tmp_path, artifact_store_url="https://h"), environ)
    assert other.bucket_secrets == {}
    assert "AWS_SESSION_TOKEN" not in other.secret_names
