"""The home: made for its owner only, or refused with a way out."""

from __future__ import annotations

from pathlib import Path

import pytest

from necrocode.home import Home, HomeUnusable, default_home


def test_what_is_missing_is_made_for_its_owner_only(tmp_path: Path) -> None:
    home = Home(tmp_path / "a" / "home").make()
    folders = [home.root, home.commands, home.repos, home.artifacts, home.logs, home.locks]
    assert [folder.stat().st_mode & 0o777 for folder in folders] == [0o700] * len(folders)
    assert list(home.locks.iterdir()) == []
    assert Home(home.root).make() == home


def test_everything_lies_below_the_root(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert home.journal == tmp_path / "journal.db"
    assert home.services == tmp_path / "services.db"
    assert home.log_of("r") == tmp_path / "logs" / "r.log"


def test_a_file_in_the_way_is_said_to_be_there(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    for root in (tmp_path / "home", tmp_path / "home" / "below"):
        with pytest.raises(HomeUnusable, match=r"a file is in the way; name another folder with --home") as caught:
            Home(root).make()
        assert caught.value.stop_reason == "home_unusable"


def test_a_home_that_nobody_can_write_is_refused() -> None:
    with pytest.raises(HomeUnusable, match="cannot write in /proc/necrocode"):
        Home(Path("/proc/necrocode")).make()


def test_the_default_follows_the_xdg_specification() -> None:
    assert default_home({"XDG_DATA_HOME": "/data", "HOME": "/home/u"}) == Path("/data/necrocode")
    assert default_home({"XDG_DATA_HOME": "relative", "HOME": "/home/u"}) == Path("/home/u/.local/share/necrocode")
    assert default_home({"HOME": "/home/u"}) == Path("/home/u/.local/share/necrocode")
    assert default_home({}).is_absolute()
