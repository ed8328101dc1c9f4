"""A lifecycle as a Mermaid diagram and as a Markdown table."""

from __future__ import annotations

from necrocode.engine.lifecycle import Lifecycle, Transition


def mermaid(lifecycle: Lifecycle) -> str:
    """A Mermaid ``stateDiagram-v2``: one arrow for each pair of states, its triggers and guards written on it."""
    lines = ["stateDiagram-v2", f"    [*] --> {lifecycle.initial}"]
    arrows: dict[tuple[str, str], list[str]] = {}
    for row in lifecycle.transitions:
        arrows.setdefault((row.source, row.target), []).append(_label(row))
    lines += [f"    {source} --> {target}: {', '.join(labels)}" for (source, target), labels in arrows.items()]
    lines += [f"    {name} --> [*]" for name, state in lifecycle.states.items() if state.terminal]
    return "\n".join(lines) + "\n"


def markdown(lifecycle: Lifecycle) -> str:
    """A Markdown table: each state, what its handler does, and the ways out of it."""
    lines = ["| state | what its handler does | leaves by |", "| --- | --- | --- |"]
    for name, state in lifecycle.states.items():
        ways: dict[str, list[str]] = {}
        for row in lifecycle.transitions:
            if row.source == name:
                ways.setdefault(row.target, []).append(_label(row))
        leaves = "; ".join(f"{', '.join(labels)} → `{target}`" for target, labels in ways.items())
        lines.append(f"| `{name}` | {state.does} | {leaves or 'terminal'} |")
    return "\n".join(lines) + "\n"


def _label(row: Transition) -> str:
    return f"{row.trigger} [{row.guard}]" if row.guard else row.trigger
