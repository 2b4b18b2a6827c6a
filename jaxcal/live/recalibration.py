"""Recalibration: what one look at a live market gave."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

DOUBTS = (
    "ahead of the clock", "clock answers not believed", "answers that nobody waits for", "messages not understood",
)  # fmt: skip
_NO_MESSAGES = ("snapshots asked for again", *DOUBTS[1:])


@dataclass(frozen=True)
class Health:
    """How a feed is, at one time.

    Attributes:
        connections: made so far; more than one means that it was lost.
        last_error: why the last connection ended; empty if none has.
        connected: whether contracts are subscribed to now.
        contracts: followed.
        counts: messages so far, by what became of them.
    """

    connections: int = 0
    last_error: str = ""
    connected: bool = False
    contracts: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def messages(self) -> int:
        """All messages of subscriptions so far."""
        return sum(count for name, count in self.counts.items() if name not in _NO_MESSAGES)

    @property
    def doubts(self) -> dict[str, int]:
        """What was not believed or not understood so far, by its name in `counts`; what never happened is left out."""
        return {name: self.counts[name] for name in DOUBTS if self.counts.get(name)}


@dataclass(frozen=True)
class Recalibration:
    """One step of a live session.

    Attributes:
        number: from 0.
        time: of the market, UTC.
        update: name of what became of the surface (see `Update`); `"SKIPPED"` where there was none to be fitted.
        sentence: the same for a person.
        used: whether the surface moved the state.
        converged: of the fit.
        parameters: of the state, by name; with `_low` and `_high`, between which each lies with 95 % probability.
        rmse_vol: of the fit, decimal; NaN without one.
        quotes, contracts_left_out: options used, and options that were not, with reasons, in this look.
        expiries: of the surface.
        seconds: from the look to the result.
        late: it took longer than the cadence.
        missed: looks left out so far because one before took too long.
        warming: programs were compiled for it; its time is no measure.
        health: of the feed.

    Example:
        >>> import pandas as pd
        >>> from jaxcal.live.recalibration import Recalibration
        >>> step = Recalibration(0, pd.Timestamp("2026-03-02T12:00Z"), "UPDATED", "", parameters={"sigma": 0.6})
        >>> step.row()["sigma"], step.row()["rmse_vol"]
        (0.6, None)
    """

    number: int
    time: pd.Timestamp
    update: str
    sentence: str
    used: bool = False
    converged: bool = False
    parameters: Mapping[str, float] = field(default_factory=dict)
    rmse_vol: float = math.nan
    quotes: int = 0
    contracts_left_out: int = 0
    expiries: int = 0
    seconds: float = 0.0
    late: bool = False
    missed: int = 0
    warming: bool = False
    health: Health = Health()

    def row(self) -> dict[str, Any]:
        """One flat table of plain values; None where there is no number."""
        h = self.health
        flat: dict[str, Any] = {
            "number": self.number, "time": self.time.isoformat(), "update": self.update, "sentence": self.sentence,
            "used": self.used, "converged": self.converged, "rmse_vol": self.rmse_vol, "quotes": self.quotes,
            "contracts_left_out": self.contracts_left_out, "expiries": self.expiries, "seconds": self.seconds,
            "late": self.late, "missed": self.missed, "warming": self.warming, "connected": h.connected,
            "connections": h.connections, "last_error": h.last_error, "contracts": h.contracts, "messages": h.messages,
            "gaps": h.counts.get("snapshots asked for again", 0), "repeated": h.counts.get("repeated", 0),
            "garbage": h.counts.get("garbage", 0),
        }  # fmt: skip
        flat |= {name.replace(" ", "_"): h.counts.get(name, 0) for name in DOUBTS}
        flat |= self.parameters
        return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in flat.items()}
