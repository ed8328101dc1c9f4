"""``necrocode demo``: the README's first command."""

from __future__ import annotations

from tests.e2e.stage import Stage


def test_the_demo_kills_resumes_and_pushes_and_says_that_the_answers_are_recorded(stage: Stage) -> None:
    temporary = stage.root / "temporary"
    temporary.mkdir()
    done = stage.necrocode("demo", TMPDIR=str(temporary), NECROCODE_LLM_MODEL="mine")
    assert done.code == 0, done.out + done.err
    assert "RECORDED" in done.out
    assert "kill -9" in done.out and "killed, resumed, pushed once." in done.out
    assert "slots still lent: 0" in done.out and "0 problems" in done.out
    assert list(temporary.iterdir()) == []
    assert not stage.home.exists()


def test_the_live_demo_needs_a_key(stage: Stage) -> None:
    done = stage.necrocode("demo", "--live", LLM_API_KEY="")
    assert done.code == 2
    assert "LLM_API_KEY" in done.err
