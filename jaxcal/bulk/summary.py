"""Summary: what a bulk job did, counted from what it wrote."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import pyarrow as pa

from jaxcal.bulk.input.cleaned_partition import ERROR, MIXED_CURRENCIES, TOO_MANY_ROWS, UNREADABLE
from jaxcal.bulk.input.input_problem import Problem
from jaxcal.market.tables.verdict import Verdict

_COLUMNS = ["underlying", "quote_time", "outcome", "status", "num_quotes", "left_out", "profile", "sources"]
_DAMAGED = (Verdict.NOT_A_NUMBER, Verdict.MISSING, Verdict.UNREADABLE)  # verdicts on rows that cannot be read


@dataclass(frozen=True)
class Summary:
    """The end of a job.

    Attributes:
        surfaces: rows of the result.
        outcomes: number of surfaces by outcome, most frequent first.
        quotes: number used.
        left_out: number of quotes left out, by reason.
        profiles: number of surfaces by the rules of their cleaning, most frequent first.
        problems: all that were found in the input.
        resumed: parts that an earlier run had written.
        damaged: parts of an earlier run that were damaged, and computed again.
        interrupted: whether the job was stopped before its end; the other figures then count what is written.
    """

    surfaces: int
    outcomes: dict[str, int]
    quotes: int
    left_out: dict[str, int]
    problems: tuple[Problem, ...] = ()
    resumed: int = 0
    damaged: int = 0
    interrupted: bool = False
    profiles: dict[str, int] = field(default_factory=dict)

    @property
    def converged(self) -> int:
        """Number of fits that converged."""
        return self.outcomes.get("CONVERGED", 0)

    @property
    def complete(self) -> bool:
        """Whether all of the input is in the result."""
        return not self.interrupted and not any(problem.lost for problem in self.problems)

    def record(self) -> dict[str, Any]:
        """What does not depend on interruptions."""
        return {
            "surfaces": self.surfaces,
            "outcomes": self.outcomes,
            "quotes": {"used": self.quotes, "left_out": self.left_out},
            "problems": len(self.problems),
        }

    def __str__(self) -> str:
        """One line for a person."""
        others = [f"{count:,} {name.lower().replace('_', ' ')}" for name, count in self.outcomes.items()]
        line = f"{self.surfaces:,} surface{'' if self.surfaces == 1 else 's'}"
        return ": ".join([line, ", ".join(others)] if others else [line])


def summarize(
    tables: Iterable[pa.Table],
    problems: Iterable[Problem],
    *,
    resumed: int = 0,
    damaged: int = 0,
    interrupted: bool = False,
) -> Summary:
    """Count the rows of a result.

    Args:
        tables: of surfaces, part by part.
        problems: found while reading.
        resumed, damaged, interrupted: see `Summary`.

    Example:
        >>> print(summarize([], []))
        0 surfaces
    """
    outcomes, left_out, profiles, quotes = Counter[str](), Counter[str](), Counter[str](), 0
    found = list(problems)
    for table in tables:
        outcomes.update(table["outcome"].to_pylist())
        for row in table.select(_COLUMNS).to_pylist():
            quotes += row["num_quotes"]
            left_out.update(dict(row["left_out"]))
            profiles.update([] if row["profile"] is None else [row["profile"]])
            found += _problems(row)
    return Summary(
        surfaces=outcomes.total(),
        outcomes=dict(sorted(outcomes.items(), key=lambda pair: (-pair[1], pair[0]))),
        quotes=quotes,
        left_out=dict(sorted(left_out.items(), key=lambda pair: (-pair[1], pair[0]))),
        problems=tuple(found),
        resumed=resumed,
        damaged=damaged,
        interrupted=interrupted,
        profiles=dict(profiles.most_common()),
    )


def _problems(row: dict[str, Any]) -> Iterator[Problem]:
    """What the row of a surface tells about the input."""
    when = None if row["quote_time"] is None else pd.Timestamp(row["quote_time"]).isoformat()
    name = " ".join(word for word in (row["underlying"], when) if word) or "the surface"
    left_out, sources = dict(row["left_out"]), ", ".join(row["sources"])
    if row["outcome"] == MIXED_CURRENCIES:
        yield Problem(sources, "currencies", f"{name}: {row['status']}")
    elif row["outcome"] in (UNREADABLE, TOO_MANY_ROWS, ERROR):
        yield Problem(sources, "error" if row["outcome"] == ERROR else "rows", f"{name}: {row['status']}")
    elif damaged := {verdict: left_out[verdict] for verdict in map(str, _DAMAGED) if verdict in left_out}:
        counted = ", ".join(f"{count:,} with a {verdict}" for verdict, count in damaged.items())
        yield Problem(sources, "rows", f"{name}: rows that cannot be read are left out: {counted}")
    if len(row["sources"]) > 1 and (twice := left_out.get(str(Verdict.DUPLICATE))):
        yield Problem(sources, "duplicate", f"{name}: {twice:,} quotes are in it more than once; the first is used")
