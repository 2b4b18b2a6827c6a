"""ChainFit: a chain of quotes as a surface to trade on, and all that was decided on the way."""

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Array, Float

from jaxcal._arguments import NumbersLike, SidesLike
from jaxcal._shown import format_html
from jaxcal.calibration.comparison import Comparison
from jaxcal.calibration.results.fit import Fit
from jaxcal.chain.carry_curve import CarryCurve
from jaxcal.chain.chain_record import chain_record
from jaxcal.market.arbitrage.static_arbitrage import ArbitrageReport
from jaxcal.market.cleaning.quote_report import QuoteReport
from jaxcal.market.surface import Surface
from jaxcal.pricing.vanilla import model_vol as vol_of_model
from jaxcal.pricing.vanilla import price as price_of_model
from jaxcal.report.saved import json_text, write_json


@dataclass(frozen=True, eq=False, repr=False)
class ChainFit:
    """The result of `fit_chain`: a model of a chain of quotes, chosen by quotes it did not see, and what came of them.

    Attributes:
        fit: of the chosen model to all quotes; `fit.model` is what prices.
        reason: why this model, a sentence.
        surface: the quotes it was fitted to, with the targets of repaired ones moved.
        report: of the cleaning, of this one surface; None where a `Surface` was given.
        comparison: of the candidates, as `compare` makes it; one that was not fitted has its reason.
        candidates: one row a candidate: `model`, `num_parameters`, `inside` and `rmse_half_spreads` of all quotes;
            `inside_out`, `rmse_out_half_spreads` and `score_out`, the mean of Cauchy's loss in half-spreads, of the
            quotes held out (where no quote has a spread a half-spread is a vol point); `chosen`, `status`.
        by_expiry: one row an expiry: `expiry` (years), `expires` (as the table says it), `forward`, `discount`, quotes
            `used` and `left_out`, `inside` (share of them from bid to ask), `rmse_half_spreads`, `rmse_points`,
            `atm_vol` and `atm_skew` of the model (volatility at the forward, and its slope in log-strike), `status`.
        arbitrage: among the used quotes, at bid and ask; `to_trade` is after the fee.
        arbitrage_before_fees: the same without the fee.
        arbitrage_of_model: on a grid finer than the quotes.
        repaired: as `Repair.changes`, the quotes that had to leave their bid and ask for arbitrage to end, whose
            targets were moved; no row where that was not needed.
        left_out: one row a quote not used: `row` in the caller's table, `expiry` (years), `strike`, `option_type`,
            `verdict`, `reason`.
        notes: sentences on what was not as it should be.
        source: where the quotes came from, if that is known.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> import jaxcal as jc
        >>> surface = jc.Surface.from_vols([0.5, 1.0], [90.0, 95.0, 100.0, 105.0], [[0.2] * 4] * 2, forward=100.0)
        >>> chain = jc.fit_chain(surface, models=[jc.BlackScholes])
        >>> chain
        ChainFit(BlackScholes, 8 quotes of 2 expiries: Converged: no step within the bounds lowers the cost.)
        >>> chain.by_expiry[["expiry", "used", "rmse_points", "atm_vol", "status"]].round(4)
           expiry  used  rmse_points  atm_vol  status
        0     0.5     4          0.0      0.2  fitted
        1     1.0     4          0.0      0.2  fitted
    """

    fit: Fit[Any]
    reason: str
    surface: Surface
    report: QuoteReport | None
    comparison: Comparison
    candidates: pd.DataFrame
    by_expiry: pd.DataFrame
    arbitrage: ArbitrageReport
    arbitrage_before_fees: ArbitrageReport
    arbitrage_of_model: ArbitrageReport | None
    repaired: pd.DataFrame
    left_out: pd.DataFrame
    notes: tuple[str, ...] = ()
    source: str | None = None

    @property
    def model(self) -> Any:
        """The fitted model of the choice: `fit.model`."""
        return self.fit.model

    @property
    def converged(self) -> bool:
        """Whether the fit of the chosen model converged."""
        return self.fit.converged

    def __repr__(self) -> str:
        """One line: the model, the quotes, and how the fit ended."""
        expiries = f"{self.surface.num_expiries} expir{'y' if self.surface.num_expiries == 1 else 'ies'}"
        name = type(self.fit.model).__name__
        return f"ChainFit({name}, {self.surface.num_quotes} quotes of {expiries}: {self.fit.status})"

    def __str__(self) -> str:
        """The summary."""
        return self.summary()

    def _repr_html_(self) -> str:
        """The summary, in a notebook."""
        return format_html(self.summary())

    @property
    def sentences(self) -> list[str]:
        """What there is to say, line by line, apart from the tables."""
        fit = self.fit
        lines = [] if self.report is None else [f"Quotes: {self.report.summary()}."]
        lines += [f"Model: {self.reason}", f"Fit: {fit.status}", *fit.goodness.sentences]
        lines += _arbitrage_lines("quotes", self.arbitrage_before_fees)
        if self.arbitrage.fee is not None and self.arbitrage_before_fees.num_to_trade:
            lines += _arbitrage_lines("quotes after fees", self.arbitrage)
        if self.arbitrage_of_model is not None:
            lines += _arbitrage_lines("model", self.arbitrage_of_model)
        return [*lines, *self.notes]

    def summary(self) -> str:
        """What a person reads: the sentences, the candidates and the expiries."""
        lines = [repr(self), "", *self.sentences, ""]
        lines += _aligned(("model", *CANDIDATE_HEADS), candidate_cells(self.candidates))
        lines += ["", *_aligned(EXPIRY_HEADS, expiry_cells(self.by_expiry))]
        return "\n".join(lines)

    def price(self, strike: NumbersLike, expiry: NumbersLike, *, is_call: SidesLike = True) -> Float[Array, "..."]:
        """Prices of European options under the model, discounted, in the units of the strikes.

        Args:
            strike, expiry: numbers or arrays that broadcast; expiries in years, from the first to the last quoted one,
                between which forwards and discounts are log-linear in time.
            is_call: calls or puts.

        Raises:
            ValueError: an expiry beyond the quoted ones; a model whose smiles are each of one expiry, which has nothing
                between: `chain.fit` has its parameters.

        Example:
            >>> import jax; jax.config.update("jax_enable_x64", True)
            >>> import jaxcal as jc
            >>> surface = jc.Surface.from_vols([0.5, 1.0], [90.0, 95.0, 100.0, 105.0], [[0.2] * 4] * 2, forward=100.0)
            >>> chain = jc.fit_chain(surface, models=[jc.BlackScholes])
            >>> print(chain.price(100.0, 0.75).round(4), chain.vol(110.0, [0.5, 0.75]).round(4))
            6.9013 [0.2 0.2]
        """
        forward, discount = self._carry(expiry)
        return price_of_model(self.model, strike, expiry, forward=forward, discount=discount, is_call=is_call)

    def vol(self, strike: NumbersLike, expiry: NumbersLike) -> Float[Array, "..."]:
        """Implied volatilities of the model, decimal per square root of a year; arguments and errors as of `price`."""
        return vol_of_model(self.model, strike, expiry, forward=self._carry(expiry)[0])

    def _carry(self, expiry: NumbersLike) -> tuple[np.ndarray, np.ndarray]:
        name = type(self.model).__name__
        if self.fit.by_expiry:
            raise ValueError(f"{name} is a smile of each expiry, with nothing between: chain.fit has its parameters")
        return CarryCurve.of(self.surface).at(expiry)

    def to_dict(self) -> dict[str, Any]:
        """All of it as values that JSON can hold, null for what is not known; the fit is in it, as `save` writes it."""
        return chain_record(
            self.fit,
            self.report,
            self.source,
            texts={"reason": self.reason, "notes": list(self.notes)},
            tables={
                "candidates": self.candidates,
                "by_expiry": self.by_expiry,
                "repaired": self.repaired,
                "left_out": self.left_out,
            },
            arbitrage={
                "quotes": self.arbitrage_before_fees,
                "quotes_after_fees": self.arbitrage,
                "model": self.arbitrage_of_model,
            },
        )

    def to_json(self, path: str | PathLike[str] | None = None) -> str:
        """The text of `to_dict` as JSON that strict readers read, with a digest; `load` reads the fit from its file.

        Args:
            path: of a file to write it to, which is replaced.

        Raises:
            OSError: the file cannot be written.
        """
        record = self.to_dict()
        if path is not None:
            write_json(record, Path(path))
        return json_text(record)


CANDIDATE_HEADS = ("parameters", "inside", "held out", "half-spr.", "held out", "score")
EXPIRY_HEADS = (
    "expiry",
    "forward",
    "used",
    "left out",
    "inside",
    "half-spr.",
    "vol points",
    "atm vol",
    "skew",
    "status",
)


def candidate_cells(candidates: pd.DataFrame) -> list[tuple[str, ...]]:
    """The rows of `ChainFit.candidates` as tables show them: name, parameters, share inside of all quotes and of those
    held out, misfit in half-spreads likewise, mean loss held out; the chosen one has a star.
    """
    return [
        (
            f"{row.model} *" if row.chosen else str(row.model), str(row.num_parameters or "-"),
            _text(row.inside, ".0%"), _text(row.inside_out, ".0%"), _text(row.rmse_half_spreads, ".2f"),
            _text(row.rmse_out_half_spreads, ".2f"), _text(row.score_out, ".3f"),
        )
        for row in candidates.itertuples(index=False)
    ]  # fmt: skip


def expiry_cells(by_expiry: pd.DataFrame) -> list[tuple[str, ...]]:
    """The rows of `ChainFit.by_expiry` as tables show them."""
    return [
        (
            str(row.expires or f"{row.expiry:.4g}"), _text(row.forward, ".6g"), str(row.used), str(row.left_out),
            _text(row.inside, ".0%"), _text(row.rmse_half_spreads, ".2f"), _text(row.rmse_points, ".2f"),
            _text(row.atm_vol, ".2%"), _text(row.atm_skew, ".3f"), str(row.status),
        )
        for row in by_expiry.itertuples(index=False)
    ]  # fmt: skip


def _arbitrage_lines(whose: str, found: ArbitrageReport) -> list[str]:
    return [f"Arbitrage of the {whose}: {line}." for line in str(found).splitlines()]


def _aligned(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns of text: the first and the last to the left where they are sentences, numbers to the right."""
    table = [tuple(heads), *map(tuple, rows)]
    widths = [max(len(cell) for cell in column) for column in zip(*table, strict=True)]
    lines = []
    for row in table:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        if heads[-1] == "status":
            cells[-1] = row[-1]
        lines.append("  ".join(cells).rstrip())
    return lines


def _text(number: Any, form: str) -> str:
    value = float(number)
    return "-" if np.isnan(value) else format(value, form)
