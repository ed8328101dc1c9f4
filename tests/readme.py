"""The generated parts of the README: ``python -m tests.readme`` writes them anew."""

from __future__ import annotations

import re
from pathlib import Path

from necrocode.engine.diagram import markdown, mermaid
from necrocode.states.lifecycle import LIFECYCLE
from tests.crash import report
from tests.necrocode.commands import escapes

README = Path(__file__).parent.parent / "README.md"


def generated(text: str) -> str:
    """The README's text with its generated parts as they should be."""
    parts = {
        "lifecycle table": markdown(LIFECYCLE),
        "crash campaign": report.markdown(report.Report.read(report.KEPT)),
        "plain mode": escapes.markdown(),
        "lifecycle diagram": f"```mermaid\n{mermaid(LIFECYCLE)}```\n",
    }
    for name, content in parts.items():
        pattern = re.compile(rf"(<!-- {name}: begin -->\n).*?(<!-- {name}: end -->)", re.DOTALL)
        assert len(pattern.findall(text)) == 1, f"the README has no place for the {name}"
        text = pattern.sub(lambda match, content=content: match[1] + content + match[2], text)  # type: ignore[misc]
    return text


if __name__ == "__main__":
    README.write_text(generated(README.read_text(encoding="utf-8")), encoding="utf-8")
