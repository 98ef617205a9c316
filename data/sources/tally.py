"""How often something was met, with its first example."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

from data.program import named

SEVERAL = re.compile(r"\b(row|link|archive|file)s\b")
PLAIN = r"\1"  # of one


@dataclass
class Tally:
    """Counts by what they are of, in words, and the first example of each."""

    counts: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)

    def add(self, what: str, example: str = "", count: int = 1) -> None:
        if count:
            self.counts[what] += count
            self.first.setdefault(what, example)

    def merge(self, other: Tally) -> None:
        for what, count in other.counts.items():
            self.add(what, other.first[what], count)

    def described(self) -> str:
        """Return it as ``2 binary (a.png, …), 3 hidden (.env, …)``; empty if nothing was met."""
        return ", ".join(
            f"1 {SEVERAL.sub(PLAIN, what)} ({named(self.first[what])})"
            if count == 1
            else f"{count:,} {what} ({named(self.first[what])}, …)"
            for what, count in sorted(self.counts.items())
        )
