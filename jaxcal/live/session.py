"""LiveSession: a feed of quotes through a recalibrator, at a set cadence."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from jaxcal._text import brief
from jaxcal.calibration.results.fit import Fit
from jaxcal.dates.instants import years_since_1970
from jaxcal.live.recalibration import Health, Recalibration
from jaxcal.market.cleaning.cleaning_rules import CleaningRules, SuitedRules
from jaxcal.market.cleaning.quote_report import QuoteReport, inspect_quotes
from jaxcal.market.padding import array_shape
from jaxcal.market.surface import Surface
from jaxcal.market.tables.table_file import QuoteError
from jaxcal.streams.recalibrator import Recalibrator
from jaxcal.streams.replay import parameter_band
from jaxcal.streams.state import StreamState
from jaxcal.streams.update import Update
from jaxcal.venues.deribit_stream.feed import DeribitFeed
from jaxcal.venues.deribit_stream.market import MarketView

_FIRST_LOOK = 2.0  # seconds after the subscription: by then the tickers of quiet contracts are there


class LiveSession:
    """A live market, calibrated again every so many seconds.

    Messages are read in the event loop; a look at the market, its cleaning, the fit and the log are the work of one
    other thread, so that reading never waits for a fit. Where a look takes longer than the cadence, those that are
    due meanwhile are left out and counted.

    Args:
        feed: where quotes come from.
        recalibrator: settings of the stream.
        every: seconds from one look to the next.
        log: keeps the results; called in the other thread.
        show: shows them; called in the event loop.
        rules: of the cleaning.

    Attributes:
        state: of the stream; None before the first fit.
        missed: looks left out so far.

    Example:
        >>> import jaxcal as jc
        >>> from jaxcal.live.session import LiveSession
        >>> from jaxcal.venues.deribit_stream.feed import DeribitFeed
        >>> LiveSession(DeribitFeed("BTC"), jc.Recalibrator(jc.BlackScholes), every=5.0).missed
        0
    """

    def __init__(
        self,
        feed: DeribitFeed,
        recalibrator: Recalibrator[Any],
        *,
        every: float,
        log: Callable[[Recalibration], None] | None = None,
        show: Callable[[Recalibration], None] | None = None,
        rules: CleaningRules | SuitedRules = SuitedRules(),
    ) -> None:
        if not 0.0 < every < 86_400.0:
            raise ValueError(f"every is {every}: it must be positive, and less than a day")
        self.feed, self.recalibrator, self.every, self.rules = feed, recalibrator, every, rules
        self.log, self.show = log, show
        self.state: StreamState[Any] | None = None
        self.missed, self._number = 0, 0

    async def run(self, *, seconds: float | None = None) -> None:
        """Follow the market until cancelled, or for so many seconds once the programs are compiled.

        Raises:
            FeedError: the feed cannot go on.
            OSError: the log cannot be written.
        """
        feeding = asyncio.create_task(self.feed.run())
        looking = asyncio.create_task(self.look(seconds=seconds))
        try:
            done, _ = await asyncio.wait([feeding, looking], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in (feeding, looking):
                task.cancel()
            await asyncio.gather(feeding, looking, return_exceptions=True)

    async def look(self, *, seconds: float | None = None) -> None:
        """The looks of `run` alone: for a feed that somebody else runs."""
        await self.feed.ready.wait()
        await asyncio.sleep(min(_FIRST_LOOK, self.every))
        loop, clock = asyncio.get_running_loop(), time.monotonic
        with ThreadPoolExecutor(1, "jaxcal-live") as worker:
            start, turn = clock(), 0
            while seconds is None or clock() - start < seconds:
                view, health = self.feed.view(), self._health()
                step = await loop.run_in_executor(worker, self._step, view, health, clock())
                if self.show is not None:
                    self.show(step)
                if step.warming:  # the cadence begins once nothing is compiled any more
                    start, turn = clock(), 0
                following = max(turn + 1, int((clock() - start) // self.every) + 1)
                self.missed += following - turn - 1
                turn = following
                await asyncio.sleep(max(0.0, start + turn * self.every - clock()))

    def _health(self) -> Health:
        market = self.feed.market
        return Health(
            self.feed.connections,
            self.feed.last_error,
            self.feed.ready.is_set(),
            len(market.names),
            dict(market.counts),
        )

    def _step(self, view: MarketView, health: Health, began: float) -> Recalibration:
        """Clean, fit, keep; in the thread of the worker."""
        try:
            step = self._fitted(view)
        except Exception as error:  # one look that fails must not end the session; it is shown and written
            step = self._skipped(pd.Timestamp(view.time, unit="ms", tz="UTC"), error, 0)
        step = replace(step, number=self._number, health=health)
        seconds = time.monotonic() - began
        late = seconds > self.every and not step.warming
        step = replace(step, seconds=seconds, late=late, missed=self.missed)
        self._number += 1
        if self.log is not None:
            self.log(step)
        return step

    def _fitted(self, view: MarketView) -> Recalibration:
        at = pd.Timestamp(view.time, unit="ms", tz="UTC")
        table = view.table()
        options = table.quotes[table.entries["kind"].eq("option")].reset_index(drop=True)
        try:
            report = inspect_quotes(options, rules=self.rules)
            surface = Surface.from_quotes(report)
        except QuoteError as error:
            return self._skipped(at, error, len(options))
        if self.state is not None and years_since_1970(at) < float(self.state.time):
            # a clock that was believed is not believed any more; what is known of the parameters stays
            self.state = replace(self.state, time=np.asarray(years_since_1970(at)))
        before = self.state
        self.state, fit = self.recalibrator.step(before, surface, at)
        grown = before is not None and self.state is not None and tuple(before.shape) != tuple(self.state.shape)
        if before is None and self.state is not None:
            self.state = _with_room(self.state)
            self.recalibrator.step(self.state, surface, at)  # compiles what all later looks run
        return self._told(at, report, surface, fit, warming=before is None or grown)

    def _skipped(self, at: pd.Timestamp, error: Exception, left_out: int) -> Recalibration:
        known = {} if self.state is None else self._parameters(self.state)
        sentence = f"Not used: {brief(error, 400) or type(error).__name__}"
        return Recalibration(-1, at, "SKIPPED", sentence, parameters=known, contracts_left_out=left_out)

    def _told(
        self, at: pd.Timestamp, report: QuoteReport, surface: Surface, fit: Fit[Any], *, warming: bool
    ) -> Recalibration:
        state = self.state
        update = Update.UNFITTED if state is None else Update(int(state.update))
        return Recalibration(
            number=-1,
            time=at,
            update=update.name,
            sentence=update.sentence if update is not Update.UNFITTED else f"Not used: {fit.status}",
            used=update.used,
            converged=bool(fit.converged),
            parameters={} if state is None else self._parameters(state),
            rmse_vol=float(fit.rmse_vol),
            quotes=surface.num_quotes,
            contracts_left_out=len(report.table) - surface.num_quotes,
            expiries=surface.num_expiries,
            warming=warming,
        )

    def _parameters(self, state: StreamState[Any]) -> dict[str, float]:
        names = self.recalibrator.free
        low, high = parameter_band(state, names, self.recalibrator.scales, 0.95)
        found: dict[str, float] = {}
        for name, *band in zip(names, low, high, strict=True):
            value = float(getattr(state.model, name))
            found |= {name: value, f"{name}_low": float(band[0]), f"{name}_high": float(band[1])}
        return found


def _with_room(state: StreamState[Any]) -> StreamState[Any]:
    """A state padded to a size that the surfaces of the day fit in: another size would compile again."""
    expiries, strikes = (int(size) for size in state.shape)
    return replace(state, shape=np.asarray(array_shape(expiries + 1, 5 * strikes // 4)))
