"""The testing kit: what a simulated death does, and what it leaves."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path

import pytest

from necrocode.engine.journal import Journal
from necrocode.engine.lifecycle import Lifecycle, State, Transition
from necrocode.engine.testing import Death, Held, Moment, Mortal, Place, at, broken_promises
from necrocode.engine.testing.mortality import Gone

TABLE = Lifecycle(
    name="kit",
    version=1,
    initial="on",
    states=[State("on"), State("off", terminal=True)],
    transitions=[Transition("switch", "on", "off")],
)


class Shop:
    def __init__(self) -> None:
        self.sold: list[str] = []

    def sell(self, what: str) -> str:
        self.sold.append(what)
        return f"a {what}"

    def refuse(self) -> None:
        raise LookupError("sold out")


def die_at(moment: Moment) -> tuple[Shop, Mortal]:
    shop, mortal = Shop(), Mortal(at(2, moment))
    counter = mortal.around(shop, "shop")
    assert counter.sell("rose") == "a rose"
    with pytest.raises(Death):
        counter.sell("tulip")
    return shop, mortal


@pytest.mark.parametrize(("moment", "sold"), [("before", 1), ("during", 2), ("after", 2)])
def test_a_death_before_a_call_prevents_it_and_a_later_one_only_loses_the_answer(moment: Moment, sold: int) -> None:
    shop, mortal = die_at(moment)
    assert len(shop.sold) == sold
    assert mortal.died_at == Place(2, "call", "shop.sell", moment)


def test_nothing_works_after_a_death_and_nobody_can_catch_it() -> None:
    shop, mortal = Shop(), Mortal(at(1))
    counter = mortal.around(shop, "shop")
    with pytest.raises(Death):
        try:
            with suppress(Exception):
                counter.sell("rose")
        finally:
            counter.sell("tulip")
    assert shop.sold == []
    assert mortal.crossings == 1


def test_a_call_that_fails_can_be_died_after() -> None:
    mortal = Mortal(at(1, "after"))
    with pytest.raises(Death):
        mortal.around(Shop(), "shop").refuse()


def test_another_thread_of_a_dead_process_is_refused_and_not_counted() -> None:
    shop, mortal = Shop(), Mortal(at(2))
    counter = mortal.around(shop, "shop")
    raised: list[BaseException] = []

    def sell() -> None:
        try:
            counter.sell("rose")
        except Gone as error:
            raised.append(error)

    def elsewhere() -> None:
        thread = threading.Thread(target=sell)
        thread.start()
        thread.join()

    elsewhere()
    assert (len(shop.sold), mortal.crossings) == (1, 0)
    counter.sell("tulip")
    with pytest.raises(Death):
        counter.sell("lily")
    elsewhere()
    assert (len(shop.sold), len(raised)) == (2, 1)


def journal_after(folder: Path, moment: Moment) -> tuple[list[str], Mortal]:
    """What is in a journal whose process died at the commit of a run's first entry."""
    Journal(folder / "life.db").close()

    def first_commit(place: Place) -> bool:
        return (place.kind, place.moment) == ("commit", moment)

    mortal = Mortal(first_commit)
    with pytest.raises(Death), mortal.journal(folder / "life.db") as journal:
        journal.create(TABLE, subject="s", data={"long": "x" * 20_000})
    mortal.remains(folder / "next.db")
    with Journal(folder / "next.db") as journal:
        assert not list(broken_promises(journal, {"kit": TABLE}))
        return [entry.name for run in journal.runs() for entry in journal.entries(run.run_id)], mortal


@pytest.mark.parametrize(("moment", "entries"), [("before", []), ("during", []), ("after", ["kit"])])
def test_a_commit_is_whole_or_not_at_all(tmp_path: Path, moment: Moment, entries: list[str]) -> None:
    found, _ = journal_after(tmp_path, moment)
    assert found == entries


def test_a_death_during_a_commit_leaves_half_of_it_in_the_log(tmp_path: Path) -> None:
    sizes = {}
    for moment in ("before", "during", "after"):
        (tmp_path / moment).mkdir()
        _, mortal = journal_after(tmp_path / moment, moment)
        mortal.remains(tmp_path / f"{moment}.db")
        log = tmp_path / f"{moment}.db-wal"
        sizes[moment] = log.stat().st_size if log.exists() else 0
    assert sizes["before"] < sizes["during"] < sizes["after"]


def test_to_others_a_mortal_process_looks_dead_or_out_of_reach() -> None:
    assert Mortal().identity.is_alive() is False
    assert Mortal(elsewhere=True).identity.is_alive() is None
    assert Mortal().identity != Mortal().identity


def test_a_held_process_goes_on_place_by_place() -> None:
    shop = Shop()

    def live(mortal: Mortal) -> str:
        counter = mortal.around(shop, "shop")
        return counter.sell("rose") + counter.sell("tulip")

    held = Held(live)
    assert held.step()
    assert (held.place, shop.sold) == (Place(1, "call", "shop.sell", "before"), [])
    assert held.step()
    assert shop.sold == ["rose"]
    held.finish()
    assert (held.ended, held.result) == (True, "a rosea tulip")

    held = Held(live)
    held.step(5)
    held.die()
    assert isinstance(held.error, Death)
    assert len(shop.sold) == 4
