"""Metrics: what the server counts, as Prometheus reads it."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Mapping

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds in seconds."""


class Metrics:
    """Requests by method, route and status, their durations, and those under way. Safe between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: Counter[tuple[str, str, int]] = Counter()
        self._buckets: Counter[tuple[str, int]] = Counter()
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._under_way = 0

    def began(self) -> None:
        """A request came in."""
        with self._lock:
            self._under_way += 1

    def ended(self, method: str, route: str, status: int, seconds: float) -> None:
        """It was answered. ``route``: the template, so that there are few of them."""
        with self._lock:
            self._under_way -= 1
            self._requests[method, route, status] += 1
            self._buckets[route, bisect_left(BUCKETS, seconds)] += 1
            self._seconds[route] += seconds

    def text(self, gauges: Mapping[str, Mapping[str, int]]) -> str:
        """Everything in the text format. ``gauges``: by name, the values by the state they are in."""
        with self._lock:
            requests, buckets = dict(self._requests), dict(self._buckets)
            seconds, under_way = dict(self._seconds), self._under_way
        lines = ["# HELP necrocode_requests_total Requests answered.", "# TYPE necrocode_requests_total counter"]
        for (method, route, status), count in sorted(requests.items()):
            labels = f'method="{_text(method)}",route="{_text(route)}",status="{status}"'
            lines.append(f"necrocode_requests_total{{{labels}}} {count}")
        lines += [
            "# HELP necrocode_request_seconds Time to the end of the answer.",
            "# TYPE necrocode_request_seconds histogram",
        ]
        for route in sorted(seconds):
            total = 0
            for number, bound in enumerate((*BUCKETS, float("inf"))):
                total += buckets.get((route, number), 0)
                shown = "+Inf" if bound == float("inf") else f"{bound:g}"
                lines.append(f'necrocode_request_seconds_bucket{{route="{_text(route)}",le="{shown}"}} {total}')
            lines.append(f'necrocode_request_seconds_sum{{route="{_text(route)}"}} {seconds[route]:.6f}')
            lines.append(f'necrocode_request_seconds_count{{route="{_text(route)}"}} {total}')
        lines += [
            "# HELP necrocode_requests_under_way Requests being answered now.",
            "# TYPE necrocode_requests_under_way gauge",
            f"necrocode_requests_under_way {under_way}",
        ]
        for name, values in gauges.items():
            lines += [f"# HELP {name} By state.", f"# TYPE {name} gauge"]
            lines += [f'{name}{{state="{_text(state)}"}} {value}' for state, value in sorted(values.items())]
        return "\n".join(lines) + "\n"


def _text(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
