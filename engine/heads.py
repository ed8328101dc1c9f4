"""Heads: what is kept elsewhere, so that nothing it covers can be changed unseen, by anyone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from necrocode.engine.effects import Json
from necrocode.engine.journal import Journal


@dataclass(frozen=True, slots=True)
class Heads:
    """The hashes that a journal ended with at one moment."""

    #: The last link of the chain over all runs; 0 and "" for an empty journal.
    chain_n: int
    chain_hash: str
    #: Sequence number and hash of each run's last entry.
    runs: Mapping[str, tuple[int, str]]

    def to_json(self) -> dict[str, Json]:
        """As a JSON object."""
        return {
            "chain": {"n": self.chain_n, "hash": self.chain_hash},
            "runs": {run_id: {"seq": seq, "hash": digest} for run_id, (seq, digest) in sorted(self.runs.items())},
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Heads:
        """From what :meth:`to_json` gave. Raises ``ValueError`` if it is something else."""
        try:
            runs = {str(run): (int(head["seq"]), str(head["hash"])) for run, head in value["runs"].items()}
            return cls(int(value["chain"]["n"]), str(value["chain"]["hash"]), runs)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError("not a heads file: it needs chain {n, hash} and runs {id: {seq, hash}}") from error


def heads(journal: Journal) -> Heads:
    """The heads as they are now."""
    with journal.database.read() as connection:
        last = connection.exec_driver_sql("SELECT n, hash FROM chain ORDER BY n DESC LIMIT 1").fetchone()
        rows = connection.exec_driver_sql("SELECT run_id, head_seq, head_hash FROM runs").fetchall()
    return Heads(last[0] if last else 0, last[1] if last else "", {row[0]: (row[1], row[2]) for row in rows})
