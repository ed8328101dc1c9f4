"""Help, wrong usage, exit codes of usage errors, and tracebacks only for those who ask."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest

from necrocode.cli import COMMANDS, cli
from tests.e2e.conftest import Play
from tests.e2e.stage import SOLVE, Stage

NECROCODE = f"{sys.executable} -m necrocode"

PAGES = [(name,) for name in COMMANDS] + [
    ("db", "upgrade"),
    ("db", "check"),
    *(("tasks", name) for name in ("import", "list", "move")),
    *(("artifacts", name) for name in ("list", "export")),
]


def test_help_lists_every_command_and_the_exit_codes(stage: Stage) -> None:
    done = stage.necrocode("--help")
    assert done.code == 0
    for name, line in COMMANDS.items():
        assert f"  {name} " in done.out and line in " ".join(done.out.split())
    for words in ("0 completed", "2 bad usage", "3 the environment failed", "130 interrupted"):
        assert words in " ".join(done.out.split())
    assert stage.necrocode("-h").out == done.out
    assert not stage.home.exists()


def test_every_command_says_what_it_does_and_what_each_option_is_for(capsys: pytest.CaptureFixture[str]) -> None:
    for page in PAGES:
        cli.main([*page, "--help"], standalone_mode=False)
        shown = capsys.readouterr().out
        assert shown.startswith("Usage: "), page
        command: click.Command = cli
        for name in page:
            assert isinstance(command, click.Group)
            found = command.get_command(click.Context(command), name)
            assert found is not None
            command = found
        assert command.help, page
        for parameter in command.params:
            if isinstance(parameter, click.Option) and not parameter.hidden:
                assert parameter.help, (page, parameter.name)
                assert parameter.opts[0] in shown


def test_commands_that_print_data_have_json_and_all_have_home_and_config() -> None:
    printing = {"run", "resume", "runs", "show", "cancel", "verify", "doctor", "prune", "serve"}
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        options = {option for parameter in command.params for option in parameter.opts}
        assert ("--json" in options) == (name in printing), name
        if name not in ("diagram", "demo", "db", "tasks", "artifacts", "acp"):
            assert {"--home", "--config", "--debug"} <= options, name


@pytest.mark.parametrize(
    "arguments",
    [
        ("frobnicate",),
        ("run",),
        ("run", "--no-such-option", "x.json"),
        ("run", "--jobs", "0", "x.json"),
        ("run", "--jobs", "many", "x.json"),
        ("run", "--sandbox", "sometimes", "x.json"),
        ("resume", "--all", "abc"),
        ("show",),
        ("runs", "--status", "odd"),
        ("verify", "--all", "abc"),
        ("db", "downgrade"),
        ("prune", "--older-than", "-1"),
    ],
    ids=" ".join,
)
def test_wrong_usage_ends_with_exit_code_2_and_a_hint(
    arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from necrocode.cli import main

    monkeypatch.setattr(sys, "argv", ["necrocode", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Error: " in captured.err and "Traceback" not in captured.err


def test_version_is_printed(stage: Stage) -> None:
    done = stage.necrocode("--version")
    assert done.code == 0
    assert done.out.startswith("necrocode") and any(character.isdigit() for character in done.out)


def test_help_is_printed_without_heavy_imports(stage: Stage) -> None:
    script = (
        "import sys, necrocode.cli as c\n"
        "c.cli.main(['--help'], standalone_mode=False)\n"
        "heavy = {'sqlalchemy', 'alembic', 'openai', 'pygit2', 'pydantic', 'rich', 'httpx'}\n"
        "found = heavy & set(sys.modules)\n"
        "assert not found, found\n"
    )
    done = subprocess.run([sys.executable, "-c", script], env=stage.env(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_run_imports_nothing_that_it_does_not_use(stage: Stage, play: Play) -> None:
    play(*SOLVE)
    # makes the databases, for which there is much to import
    assert stage.necrocode("doctor").code == 0
    script = (
        "import sys\n"
        "from necrocode.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert end.code == 0, end.code\n"
        "unused = {'alembic', 'fastapi', 'httpx', 'obstore', 'pygments', 'rich', 'uvicorn'}\n"
        "assert 'openai' in sys.modules\n"
        "print(sorted(unused & set(sys.modules)))\n"
    )
    command = [sys.executable, "-c", script, "run", str(stage.task())]
    done = subprocess.run(command, env=stage.env(), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


def test_a_run_that_is_not_there_is_bad_usage_and_only_debug_shows_a_traceback(done: Stage) -> None:
    for command in (
        ["show", "nosuch"],
        ["watch", "nosuch"],
        ["cancel", "nosuch"],
        ["resume", "nosuch"],
        ["verify", "no"],
    ):
        shown = done.necrocode(*command)
        assert shown.code == 2, command
        assert shown.err.startswith("error: there is no run ")
    debugged = done.necrocode("show", "nosuch", "--debug")
    assert debugged.code == 2
    assert "Traceback" in debugged.err and "error: there is no run" in debugged.err


def test_a_reader_that_goes_away_is_no_error(done: Stage) -> None:
    ended = _shell(done, f"{NECROCODE} show --entries {done.runs()[0].run_id} | head -1")
    assert ended.stdout.count("\n") == 1
    assert ended.stderr == ""


def test_output_that_cannot_be_written_is_an_error_of_the_environment(done: Stage) -> None:
    for arguments in ("runs", "runs --json", "show --json " + done.runs()[0].run_id):
        ended = _shell(done, f"{NECROCODE} {arguments} > /dev/full")
        assert ended.returncode == 3, ended.stderr
        assert ended.stderr == "error: No space left on device (--debug shows where)\n"


def test_standard_streams_that_are_closed_are_no_trouble_and_never_become_a_database(stage: Stage, play: Play) -> None:
    play(*SOLVE)
    (stage.root / "user").mkdir()
    ended = _shell(stage, f"{NECROCODE} run {stage.task()} <&- >&- 2>&-")
    assert ended.returncode == 0
    assert stage.only_run.state == "completed"
    nothing = _shell(stage, f"{NECROCODE} run - <&-")
    assert (nothing.returncode, "the file is empty" in nothing.stderr) == (2, True)


def test_a_working_directory_that_is_gone_is_named(stage: Stage) -> None:
    (stage.root / "user").mkdir()
    ended = _shell(stage, f"mkdir gone && cd gone && rmdir ../gone && {NECROCODE} runs")
    assert ended.returncode == 3
    assert "the working directory is not there any more" in ended.stderr


def test_an_output_that_knows_no_unicode_gets_escapes(stage: Stage, play: Play) -> None:
    play(*SOLVE)
    done = stage.necrocode("run", "--json", stage.task(title="Grüße"), PYTHONIOENCODING="ascii")
    assert done.code == 0, done.err
    assert done.json["run"]["title"] == "Grüße"


def _shell(stage: Stage, command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-c", command], cwd=stage.root, env=stage.env(), capture_output=True, text=True, check=False
    )
