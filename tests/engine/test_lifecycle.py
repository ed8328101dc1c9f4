"""A lifecycle is a table that is checked when it is declared, and that chooses without moving anything."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from necrocode.engine.diagram import markdown, mermaid
from necrocode.engine.errors import LifecycleError, NoTransition
from necrocode.engine.lifecycle import Lifecycle, State, Transition, rows


def table(
    *transitions: Transition,
    states: tuple[State, ...] = (State("a"), State("b"), State("end", terminal=True)),
    initial: str = "a",
    **more: Any,
) -> Lifecycle:
    return Lifecycle(
        name="t", version=more.pop("version", 1), initial=initial, states=states, transitions=transitions, **more
    )


SOUND = (Transition("go", "a", "b"), Transition("go", "b", "end"))


@pytest.mark.parametrize(
    ("build", "words"),
    [
        pytest.param(
            lambda: table(*SOUND, states=(State("a"), State("a"), State("b"), State("end", terminal=True))),
            "a state is declared twice",
            id="state twice",
        ),
        pytest.param(lambda: table(*SOUND, initial="c"), "initial state 'c' is not declared", id="unknown initial"),
        pytest.param(
            lambda: table(Transition("go", "a", "b"), Transition("go", "b", "a"), states=(State("a"), State("b"))),
            "no state is terminal",
            id="no terminal state",
        ),
        pytest.param(lambda: table(*SOUND, Transition("x", "a", "c")), "unknown state 'c'", id="unknown target"),
        pytest.param(lambda: table(*SOUND, Transition("x", "c", "a")), "unknown state 'c'", id="unknown source"),
        pytest.param(
            lambda: table(Transition("go", "a", "b", "gaurd"), *SOUND[1:], guards={"guard": bool}),
            "unknown guard 'gaurd'",
            id="misspelt guard",
        ),
        pytest.param(lambda: table(*SOUND, guards={"spare": bool}), r"unused guards \['spare'\]", id="unused guard"),
        pytest.param(lambda: table(*SOUND, Transition("x", "end", "a")), "'end' is terminal", id="out of the end"),
        pytest.param(lambda: table(*SOUND, SOUND[0]), "declared twice", id="row twice"),
        pytest.param(
            lambda: table(*SOUND, Transition("go", "a", "end")), "an unguarded row stands before it", id="never tried"
        ),
        pytest.param(
            lambda: table(*SOUND, states=(State("a"), State("b"), State("c"), State("end", terminal=True))),
            r"unreachable states \['c'\]",
            id="unreachable",
        ),
        pytest.param(
            lambda: table(*SOUND, Transition("x", "a", "c"), states=(*map(State, "abc"), State("end", terminal=True))),
            r"no way to a terminal state from \['c'\]",
            id="trap",
        ),
        pytest.param(
            lambda: table(
                *SOUND,
                Transition("x", "a", "c"),
                Transition("x", "c", "d"),
                Transition("x", "d", "c"),
                states=(*map(State, "abcd"), State("end", terminal=True)),
            ),
            r"no way to a terminal state from \['c', 'd'\]",
            id="trap of two",
        ),
        pytest.param(lambda: table(*SOUND, Transition("to-x", "a", "end")), "'to-x' is no identifier", id="name"),
        pytest.param(lambda: table(*SOUND, version=2, older={1: {"old": "c"}}), "unknown state 'c'", id="older state"),
        pytest.param(
            lambda: table(*SOUND, version=2, older={1: {"old": "end"}}), "terminal state 'end'", id="older end"
        ),
        pytest.param(lambda: table(*SOUND, version=2, older={2: {}}), "version 2 is not older than 2", id="older self"),
    ],
)
def test_a_table_that_is_no_lifecycle_is_refused_by_name(build: Any, words: str) -> None:
    with pytest.raises(LifecycleError, match=words):
        build()


def test_the_first_row_whose_guard_holds_is_chosen() -> None:
    lifecycle = table(
        Transition("go", "a", "b", "small"),
        Transition("go", "a", "a", "middling"),
        Transition("go", "a", "end"),
        Transition("go", "b", "end"),
        guards={"small": lambda data: data["n"] < 5, "middling": lambda data: data["n"] < 50},
    )
    assert [lifecycle.choose("a", "go", {"n": n}).target for n in (1, 10, 100)] == ["b", "a", "end"]


def test_a_guard_may_answer_with_anything_that_is_true() -> None:
    lifecycle = table(
        Transition("go", "a", "b", "has_names"), *SOUND[1:], guards={"has_names": lambda data: data["names"]}
    )
    assert lifecycle.choose("a", "go", {"names": ["x", "y"]}).target == "b"
    with pytest.raises(NoTransition, match="every guard of 'go' from 'a' refuses"):
        lifecycle.choose("a", "go", {"names": []})


@pytest.mark.parametrize(("state", "trigger"), [("a", "nowhere"), ("b", "back"), ("end", "go")])
def test_a_trigger_that_is_not_declared_from_the_state_leads_nowhere(state: str, trigger: str) -> None:
    lifecycle = table(*SOUND, Transition("back", "a", "a"))
    with pytest.raises(NoTransition, match=f"'{trigger}' is not declared from '{state}'"):
        lifecycle.choose(state, trigger, {})


def test_what_a_guard_raises_is_not_taken_for_a_refusal() -> None:
    lifecycle = table(
        Transition("go", "a", "b", "needs_n"),
        Transition("go", "a", "end"),
        *SOUND[1:],
        guards={"needs_n": lambda data: data["n"] > 1},
    )
    with pytest.raises(KeyError):
        lifecycle.choose("a", "go", {})


NAMES = ("s0", "s1", "s2", "s3")
TRIGGERS = ("t0", "t1", "t2")
GUARDS = ("g0", "g1", "g2")


@st.composite
def lifecycles(draw: st.DrawFn) -> Lifecycle:
    """Valid tables: drawn rows, and an unguarded way to each state and from each to the end."""
    row = st.builds(
        Transition,
        st.sampled_from(TRIGGERS),
        st.sampled_from(NAMES),
        st.sampled_from((*NAMES, "end")),
        st.none() | st.sampled_from(GUARDS),
    )
    drawn = draw(st.lists(row, max_size=25, unique=True))
    kept: list[Transition] = []
    for each in drawn:
        if not any((k.source, k.trigger, k.guard) == (each.source, each.trigger, None) for k in kept):
            kept.append(each)
    ways = [Transition("onward", a, b) for a, b in zip(NAMES, (*NAMES[1:], "end"), strict=True)]
    used = {each.guard for each in kept}
    return Lifecycle(
        name="drawn",
        version=1,
        initial=NAMES[0],
        states=[*map(State, NAMES), State("end", terminal=True)],
        transitions=[*kept, *ways],
        guards={name: lambda data, name=name: data[name] for name in GUARDS if name in used},  # type: ignore[misc]
    )


@given(
    lifecycles(),
    st.sampled_from((*NAMES, "end")),
    st.sampled_from((*TRIGGERS, "onward", "unknown")),
    st.fixed_dictionaries({name: st.booleans() for name in GUARDS}),
)
def test_choosing_is_reading_the_table_from_the_top(
    lifecycle: Lifecycle, state: str, trigger: str, data: dict[str, bool]
) -> None:
    expected = next(
        (
            row
            for row in lifecycle.transitions
            if (row.source, row.trigger) == (state, trigger) and (row.guard is None or data[row.guard])
        ),
        None,
    )
    if expected is None:
        with pytest.raises(NoTransition):
            lifecycle.choose(state, trigger, data)
    else:
        assert lifecycle.choose(state, trigger, data) is expected


@given(lifecycles())
def test_the_diagrams_show_every_row_of_the_table(lifecycle: Lifecycle) -> None:
    drawn, listed = mermaid(lifecycle), markdown(lifecycle)
    for row in lifecycle.transitions:
        label = f"{row.trigger} [{row.guard}]" if row.guard else row.trigger
        arrow = next(line for line in drawn.splitlines() if line.startswith(f"    {row.source} --> {row.target}: "))
        assert label in arrow.partition(": ")[2].split(", ")
        line = next(line for line in listed.splitlines() if line.startswith(f"| `{row.source}` "))
        assert label in line
        assert f"→ `{row.target}`" in line


def test_rows_are_the_same_transition_from_several_states() -> None:
    assert rows("stop", ("a", "b"), "end", "ready") == (
        Transition("stop", "a", "end", "ready"),
        Transition("stop", "b", "end", "ready"),
    )


def test_states_of_an_older_version_are_called_as_the_mapping_says() -> None:
    lifecycle = table(*SOUND, version=3, older={1: {"alpha": "a", "beta": "b"}, 2: {"alpha": "a"}})
    assert [lifecycle.mapped(1, state) for state in ("alpha", "beta")] == ["a", "b"]
    assert lifecycle.mapped(2, "b") == "b"
    assert lifecycle.mapped(3, "a") == "a"
    assert lifecycle.names("a") == {"a", "alpha"}
    assert lifecycle.names("b") == {"b", "beta"}
    assert lifecycle.names("end") == {"end"}


def test_a_version_that_cannot_be_resumed_says_which_can() -> None:
    lifecycle = table(*SOUND, version=3, older={2: {}})
    with pytest.raises(LifecycleError, match=r"version 1 .* drives version 3 and can resume \[2\]"):
        lifecycle.mapped(1, "a")
    with pytest.raises(LifecycleError, match="version 4"):
        lifecycle.mapped(4, "a")
    with pytest.raises(LifecycleError, match="has a state 'gamma' that is no longer known"):
        lifecycle.mapped(2, "gamma")
