"""Where settings come from at the command line: flag > environment > file > default; and files that cannot be used."""

from __future__ import annotations

import json
from typing import Any

from tests.e2e.conftest import Play
from tests.e2e.stage import BRANCH, SOLVE, Stage


def recorded(stage: Stage) -> dict[str, Any]:
    """The settings of the newest run."""
    run = stage.runs()[-1]
    with stage.journal() as journal:
        return dict(journal.settings(run.run_id))


def test_a_flag_beats_the_environment_which_beats_the_file_which_beats_the_default(stage: Stage, play: Play) -> None:
    model = play(*SOLVE)
    (stage.root / "necrocode.toml").write_text(
        'llm_model = "of-file"\nmax_turns = 7\npool_size = 2\nllm-max-tokens = 123\n', encoding="utf-8"
    )
    env = {"NECROCODE_LLM_MODEL": "of-environment", "NECROCODE_MAX_TURNS": "8", "RUNNER_TIMEOUT": "77"}
    done = stage.necrocode("run", stage.task(), "--model", "of-flag", "--no-push", **env)
    assert done.code == 0, done.err
    settings = recorded(stage)
    wanted = {
        "llm_model": "of-flag",
        "max_turns": 8,
        "pool_size": 2,
        "llm_max_tokens": 123,
        "git_retry_count": 3,
        "default_timeout_seconds": 77,
        "push": False,
    }
    assert {name: settings[name] for name in wanted} == wanted
    assert "llm_api_key" not in settings
    body = model.requests[0].body
    assert (body["model"], body.get("max_tokens", body.get("max_completion_tokens"))) == ("of-flag", 123)


def test_a_named_file_is_read_and_one_in_pyproject_too(stage: Stage, play: Play) -> None:
    play(*SOLVE)
    (stage.root / "pyproject.toml").write_text('[tool.necrocode]\nllm_model = "of-pyproject"\n', encoding="utf-8")
    named = stage.root / "other.yaml"
    named.write_text("llm_model: of-named\npush: false\n", encoding="utf-8")
    assert stage.necrocode("run", stage.task()).code == 0
    assert recorded(stage)["llm_model"] == "of-pyproject"
    assert stage.necrocode("run", stage.task("b.json", task_id="b"), "--config", named).code == 0
    assert recorded(stage)["llm_model"] == "of-named"
    assert stage.necrocode("run", stage.task("c.json", task_id="c"), NECROCODE_CONFIG=str(named)).code == 0
    assert recorded(stage)["llm_model"] == "of-named"
    assert set(stage.branches()) == {"main", BRANCH}


def test_a_configuration_that_cannot_be_used_ends_with_exit_code_2_and_every_problem(stage: Stage) -> None:
    bad = stage.root / "bad.toml"
    bad.write_text('llm_modle = "x"\nmax_turns = 0\nsandbox = "maybe"\n', encoding="utf-8")
    done = stage.necrocode("run", stage.task(), "--config", bad, NECROCODE_POOL_SIZE="none")
    assert done.code == 2, done.err
    for words in (
        "llm_modle: is not known; did you mean 'llm_model'?",
        "max_turns:",
        "sandbox:",
        "pool_size:",
        "bad.toml",
    ):
        assert words in done.err
    assert "environment NECROCODE_POOL_SIZE" in done.err
    for name in ("missing.toml", "broken.toml", "odd.ini"):
        if name != "missing.toml":
            (stage.root / name).write_text("= =", encoding="utf-8")
        refused = stage.necrocode("runs", "--config", stage.root / name)
        assert refused.code == 2, refused.err
        assert name in refused.err
    url = stage.necrocode("run", stage.task(), "--endpoint", "ftp://example.org")
    # the flag that the message names is one
    assert url.err.endswith("(flag --llm-endpoint)\n")
    assert stage.necrocode("run", stage.task(), "--llm-endpoint", "ftp://example.org").err == url.err
    assert url.code == 2
    assert "llm_endpoint: must be a URL" in url.err
    assert not stage.home.exists()


def test_an_unknown_variable_is_a_warning(stage: Stage) -> None:
    done = stage.necrocode("runs", NECROCODE_LLM_MODLE="x")
    assert done.code == 0
    assert "NECROCODE_LLM_MODLE is not known; did you mean 'llm_model'?" in done.err


def test_the_home_is_the_flags_then_the_environments_then_the_users(stage: Stage) -> None:
    flag = stage.root / "by-flag"
    assert stage.necrocode("runs", "--home", "by-flag").code == 0
    assert (flag / "journal.db").exists() and not stage.home.exists()
    assert stage.necrocode("runs").code == 0
    assert (stage.home / "journal.db").exists()
    assert stage.necrocode("runs", NECROCODE_HOME="").code == 0
    assert (stage.root / "user" / ".local" / "share" / "necrocode" / "journal.db").exists()
    assert (stage.home.stat().st_mode & 0o777) == 0o700


def test_a_resumed_run_keeps_its_settings_but_for_what_is_said_now(stage: Stage, play: Play) -> None:
    model = play(*SOLVE)
    task = stage.task()
    wrong = {"LLM_API_KEY": "a-wrong-key-this-is", "NECROCODE_LLM_MODEL": "first", "NECROCODE_MAX_TURNS": "9"}
    assert stage.necrocode("run", task, "--no-push", **wrong).code == 3
    assert stage.necrocode("resume", NECROCODE_LLM_MODEL="second").code == 0
    assert [request.body["model"] for request in model.requests] == ["first", "second", "second"]
    settings = recorded(stage)
    assert (settings["max_turns"], settings["push"]) == (9, False)
    changes = [entry for entry, _ in stage.entries() if entry.name == "settings_changed"]
    assert len(changes) == 1


def test_the_branch_of_the_flag_counts_and_is_checked(stage: Stage, play: Play) -> None:
    play(*SOLVE)
    for name in ("-bad", "a..b", "with space"):
        refused = stage.necrocode("run", f"--branch={name}", stage.task())
        assert refused.code == 2, refused.err
        assert "--branch" in refused.err
    two = stage.root / "two.json"
    task = json.loads(stage.task().read_text(encoding="utf-8"))
    two.write_text(json.dumps([task, {**task, "task_id": "2"}]), encoding="utf-8")
    assert stage.necrocode("run", "--branch", "x", two).code == 2
    assert not stage.home.exists()
    named = stage.task(branch_name="topic/of-task")
    assert stage.necrocode("run", named).code == 0
    assert stage.necrocode("run", "--branch", "topic/of-flag", stage.task("b.json", task_id="b")).code == 0
    assert {"topic/of-task", "topic/of-flag"} <= set(stage.branches())
