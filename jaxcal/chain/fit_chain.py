"""fit_chain: quotes of one underlying at one time to a surface to trade on."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from os import PathLike, fspath
from typing import Any

import jax.numpy as jnp
import numpy as np
import pandas as pd

from jaxcal._arguments import host_only
from jaxcal._text import numbered
from jaxcal.calibration.arguments import Bounds
from jaxcal.calibration.calibration_spec import CalibrationSpec, spec_of
from jaxcal.calibration.objective.loss import AbstractLoss, Cauchy
from jaxcal.calibration.objective.residuals import AbstractResidual, HalfSpreadResidual
from jaxcal.calibration.results.unfitted import is_unfitted
from jaxcal.chain.by_expiry import expiry_table
from jaxcal.chain.chain_fit import ChainFit
from jaxcal.chain.model_choice import Choice, choose_model
from jaxcal.dates.variance_clock import VarianceClock
from jaxcal.market.arbitrage.repair import repair_arbitrage
from jaxcal.market.arbitrage.static_arbitrage import ArbitrageReport, find_arbitrage
from jaxcal.market.cleaning.cleaning_rules import CleaningRules, SuitedRules
from jaxcal.market.cleaning.quote_report import QuoteReport, inspect_quotes
from jaxcal.market.surface import Surface
from jaxcal.market.surface_choice import choose_surface, key_text
from jaxcal.market.tables.table_file import QuoteError
from jaxcal.market.tables.verdict import Verdict
from jaxcal.market.taker_fee import TakerFee
from jaxcal.models.base import AbstractModel
from jaxcal.models.registry import ModelName, model_names
from jaxcal.risk.model_arbitrage import model_arbitrage
from jaxcal.venues.read_quotes import read_quotes

AnyModel = type[AbstractModel] | AbstractModel | CalibrationSpec | str
Quotes = pd.DataFrame | QuoteReport | Surface | str | PathLike[str]

_CANDIDATES = (
    ModelName.BLACK_SCHOLES,
    ModelName.HESTON,
    ModelName.BATES,
    ModelName.DOUBLE_HESTON,
    ModelName.CLOCKED_DOUBLE_HESTON,
    ModelName.CLOCKED_HESTON_JUMPS,
)
# On recorded chains of this size, laws with constant parameters are far from what a clock reaches, and each is a
# program of seconds to compile: one of them is enough to tell.
_CANDIDATES_OF_MANY = (ModelName.HESTON, ModelName.CLOCKED_DOUBLE_HESTON, ModelName.CLOCKED_HESTON_JUMPS)
_MANY_PLACES, _MANY_EXPIRIES = 256, 4
_LEAST_SPREADS = 0.5  # share of the quotes with a spread from which on misfits are measured in half-spreads
_REPAIRED = ("row", "years", "strike", "vol", "repaired_vol", "change", "amount", "outside")
_LEFT_OUT = ("row", "expiry", "strike", "option_type", "verdict", "reason")


@host_only
def fit_chain(
    quotes: Quotes,
    *,
    models: Iterable[AnyModel] | Mapping[str, AnyModel] | AnyModel | None = None,
    residual: AbstractResidual | None = None,
    loss: AbstractLoss | str | None = None,
    bounds: Bounds | None = None,
    fee: TakerFee | None = None,
    repair: bool = True,
    enough: float = 0.95,
    arbitrage_free: bool = True,
    underlying: str | None = None,
    time: str | None = None,
    rules: CleaningRules | SuitedRules | None = None,
    rate: float | None = None,
    dividend_yield: float | None = None,
    clock: VarianceClock | None = None,
    source: str | None = None,
) -> ChainFit:
    """Read, clean and repair quotes, and fit the smallest model that they ask for: a surface to trade on.

    Quotes are cleaned by `inspect_quotes`. If some can be traded against each other at a profit, before fees,
    `repair_arbitrage` moves the targets of those that no arbitrage-free prices can meet between bid and ask; all
    others stay at their mids. The candidates are fitted by misfits in half-spreads with Cauchy's loss, which puts as
    many quotes as possible between bid and ask, and every fifth quote is held out to choose among them (`choose_model`
    has the rule). The chosen model is fitted to all quotes.

    Where fewer than half of the quotes have a bid and an ask apart, misfits are volatilities with least squares, and a
    note says so.

    Args:
        quotes: the tidy table (see `read_quotes`), or a path for `read_quotes`; the `QuoteReport` of a table; or a
            `Surface`, which is not cleaned or repaired.
        models: candidates, as `compare` takes them, or names as on the command line. By default Black-Scholes, Heston,
            Bates, double Heston, `ClockedDoubleHeston` and `ClockedHestonJumps`, which are laws and so free of
            arbitrage; of more than 256 padded places in more than four expiries only Heston and the two with a clock,
            for the others take long to compile and are far from what a clock reaches on recorded chains of that size.
        residual, loss, bounds: as in `calibrate`, of every candidate; a `CalibrationSpec` is fitted as it says itself.
        fee: of the venue, `TakerFee.deribit()` for Deribit, for `arbitrage`; nothing by default.
        repair: whether arbitrage at bid and ask is repaired.
        enough: share of held-out quotes between bid and ask at which no larger candidate is tried; above 1, never.
        arbitrage_free: whether a smile model with static arbitrage on the grid of `model_arbitrage` is passed over.
        underlying, time: choose a surface where the table has several; `time` in ISO 8601, or its beginning.
        rules, rate, dividend_yield, clock: of the cleaning, as in `inspect_quotes`; not for a report or a surface.
        source: where the quotes came from, for the record; the path by default.

    Returns:
        A `ChainFit`. A fit that did not converge is a status. What no model can be fitted to has the reason in
        `comparison` and NaN for every number.

    Raises:
        QuoteError: the table cannot be read, has no usable quote, or several surfaces of which none is chosen.
        ValueError: an argument cannot be, or no candidate could be fitted at all, with the reasons.
        TypeError: `quotes`, a model or the fee is something else.
        OSError: the file cannot be read.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> import jaxcal as jc
        >>> vols = [[0.23, 0.21, 0.2, 0.21, 0.22, 0.25], [0.22, 0.21, 0.2, 0.2, 0.21, 0.23]]
        >>> surface = jc.Surface.from_vols([0.5, 1.0], [80.0, 90.0, 100.0, 105.0, 110.0, 120.0], vols, forward=100.0)
        >>> chain = jc.fit_chain(surface, models=["black-scholes", "ssvi"])
        >>> print(chain.reason.split(":")[0], chain.converged, chain.arbitrage_of_model.num_violations)
        SSVI (5 parameters) True 0
    """
    if not isinstance(fee, TakerFee | None):
        raise TypeError(f"fee is {repr(fee)[:60]}: give it a TakerFee, such as TakerFee(0.0003, cap=0.125)")
    if not enough > 0.0:
        raise ValueError(f"enough {enough} must be a positive share of the held-out quotes")
    specs = {} if models is None else _specs(models)
    cleaning = {"rules": rules, "rate": rate, "dividend_yield": dividend_yield, "clock": clock}
    report, surface, rows = _read(quotes, underlying, time, cleaning)
    source = fspath(quotes) if source is None and isinstance(quotes, str | PathLike) else source
    before = _of_table(find_arbitrage(surface if report is None else report), rows)
    after = before
    if fee is not None:
        after = _of_table(find_arbitrage(surface if report is None else report, fee=fee), rows)
    notes: list[str] = []
    repaired = pd.DataFrame(columns=list(_REPAIRED))
    if repair and report is not None and _static(before).any():
        repaired, said = _repaired(report, rows)
        notes += said
        surface = _moved(surface, repaired)
    spreads = _num_spreads(surface)
    if 2 * spreads >= surface.num_quotes:
        default: dict[str, Any] = {"residual": HalfSpreadResidual(), "loss": Cauchy(1.0)}
    else:
        default = {}
        notes.append(
            f"{spreads or 'None'} of {surface.num_quotes} quotes {'have' if spreads > 1 else 'has'} a bid and an ask "
            "apart: misfits are in volatility, and a half-spread stands for a vol point."
        )
    given = default | {k: v for k, v in {"residual": residual, "loss": loss}.items() if v is not None}
    given |= {} if bounds is None else {"bounds": bounds}
    specs = specs or _specs(default_candidates(surface))
    asked = {name: _with(name, model, given) for name, model in specs.items()}
    choice = choose_model(asked, surface, enough=enough, arbitrage_free=arbitrage_free)
    fit = choice.entry.fit
    assert fit is not None  # a choice has one
    return ChainFit(
        fit=fit,
        reason=choice.reason,
        surface=surface,
        report=report,
        comparison=choice.comparison,
        candidates=_candidates(choice),
        by_expiry=expiry_table(fit, report),
        arbitrage=after,
        arbitrage_before_fees=before,
        arbitrage_of_model=None if is_unfitted(fit.outcome).all() else model_arbitrage(fit),
        repaired=repaired,
        left_out=_left_out(report, rows),
        notes=tuple(notes),
        source=source,
    )


def default_candidates(surface: Surface) -> tuple[ModelName, ...]:
    """The candidates where a caller names none, from few parameters to many: all of them laws."""
    large = surface.vol.size > _MANY_PLACES and surface.num_expiries > _MANY_EXPIRIES
    return _CANDIDATES_OF_MANY if large else _CANDIDATES


def _specs(models: Any) -> dict[str, Any]:
    """The candidates by name."""
    if isinstance(models, Mapping):
        return {str(name): _class(model) for name, model in models.items()}
    several = [models] if isinstance(models, str | type | AbstractModel | CalibrationSpec) else list(models)
    found: list[Any] = []
    for model in several:
        found += [name.model for name in model_names(model)] if isinstance(model, str) else [model]
    if not found:
        raise ValueError("there is no model to fit: name one, or leave models out for the default candidates")
    return numbered((_template(model).__name__, model) for model in found)


def _class(model: Any) -> Any:
    return model_names(model)[0].model if isinstance(model, str) else model


def _template(model: Any) -> type[AbstractModel]:
    plain = model.model if isinstance(model, CalibrationSpec) else model
    template = plain if isinstance(plain, type) else type(plain)
    if not issubclass(template, AbstractModel):
        raise TypeError(f"{repr(model)[:60]} is not a model: fit_chain takes classes, instances, specs and names")
    return template


def _with(name: str, model: Any, given: Mapping[str, Any]) -> CalibrationSpec:
    """The spec of a candidate; what a `CalibrationSpec` says itself stays."""
    if isinstance(model, CalibrationSpec):
        return model
    try:
        return spec_of(model, **given)
    except ValueError as error:
        raise ValueError(f"{name}: {error}; give that model a CalibrationSpec of its own") from None


def _read(
    quotes: Any, underlying: str | None, time: str | None, cleaning: Mapping[str, Any]
) -> tuple[QuoteReport | None, Surface, np.ndarray]:
    """The report of one surface, the surface, and the places of its rows in the caller's table."""
    said = {name: value for name, value in cleaning.items() if value is not None}
    if isinstance(quotes, Surface):
        said |= {name: value for name, value in (("underlying", underlying), ("time", time)) if value is not None}
        if said:
            raise ValueError(f"a Surface is cleaned and chosen already: leave out {', '.join(said)}")
        if np.ndim(quotes.expiry) != 1:
            raise ValueError("the surface is a batch: give one surface at a time")
        if not quotes.num_quotes:
            raise QuoteError("the surface has no quote: every weight is 0")
        return None, quotes, np.arange(0)
    if isinstance(quotes, str | PathLike):
        quotes = read_quotes(quotes)
    if isinstance(quotes, pd.DataFrame):
        quotes = inspect_quotes(quotes, **said)
    elif not isinstance(quotes, QuoteReport):
        raise TypeError(f"quotes is a {type(quotes).__name__}: give a table, a path, a QuoteReport or a Surface")
    elif said:
        raise ValueError(f"a QuoteReport is cleaned already: give {', '.join(said)} to inspect_quotes")
    report, surface = choose_surface(quotes, underlying, time)
    if len(quotes.keys) < 2:
        return report, surface, np.arange(len(report.table))
    return report, surface, np.flatnonzero(quotes.table["group"].eq(quotes.keys.index(report.keys[0])))


def _of_table(found: ArbitrageReport, rows: np.ndarray) -> ArbitrageReport:
    """With `row` in the caller's table."""
    if not rows.size or not len(found.violations):
        return found
    return replace(found, violations=found.violations.assign(row=rows[found.violations["row"].to_numpy(int)]))


def _static(found: ArbitrageReport) -> pd.Series:
    """Which strategies of the used quotes gain at bid and ask: those that a repair can end."""
    return found.violations["to_trade"].gt(0.0) & found.violations["kind"].ne("parity")


def _repaired(report: QuoteReport, rows: np.ndarray) -> tuple[pd.DataFrame, list[str]]:
    """The quotes that have to leave their bid and ask, with `row` in the caller's table; and what to say of it."""
    try:
        repair = repair_arbitrage(report)
    except QuoteError as error:
        return pd.DataFrame(columns=list(_REPAIRED)), [f"Repair: none: {error}."]
    changes = repair.changes[repair.changes["outside"].astype(bool)].reset_index(drop=True)
    if not len(changes):
        return changes, ["Repair: none needed: there are arbitrage-free prices between all bids and asks."]
    changes = changes.assign(row=rows[changes["row"].to_numpy(int)])
    most = changes["change"].abs().max()
    many = f"{len(changes):,} quote{'s' * (len(changes) != 1)}"
    moved = f"the targets moved by up to {most:.3g} vol points"
    return changes, [f"Repair: {many} cannot be met between bid and ask without arbitrage; {moved}."]


def _moved(surface: Surface, repaired: pd.DataFrame) -> Surface:
    """The surface with repaired targets, in the time of the surface."""
    if not len(repaired):
        return surface
    ratio = dict(zip(repaired["row"].tolist(), (repaired["repaired_vol"] / repaired["vol"]).tolist(), strict=True))
    row, vol = np.asarray(surface.row), np.array(surface.vol)
    used = np.asarray(surface.weight) > 0
    factor = np.array([ratio.get(int(place), 1.0) for place in row.ravel()]).reshape(row.shape)
    return replace(surface, vol=jnp.asarray(np.where(used, vol * factor, vol), surface.vol.dtype))


def _num_spreads(surface: Surface) -> int:
    bid, ask, used = (np.asarray(x) for x in (surface.bid_vol, surface.ask_vol, surface.weight))
    return int(((used > 0) & np.isfinite(bid) & np.isfinite(ask) & (ask > bid)).sum())


def _left_out(report: QuoteReport | None, rows: np.ndarray) -> pd.DataFrame:
    if report is None:
        return pd.DataFrame(columns=list(_LEFT_OUT))
    table = report.table
    mine = table["verdict"].ne(str(Verdict.USED)).to_numpy(bool)
    missing = pd.Series(None, index=table.index, dtype=object)
    columns = {
        "row": rows[mine],
        "expiry": table["years"].to_numpy(float)[mine],
        "strike": pd.to_numeric(table.get("strike", missing), errors="coerce").to_numpy(float)[mine],
        "option_type": table.get("option_type", missing).to_numpy(object)[mine],
        "verdict": table["verdict"].astype(str).to_numpy(object)[mine],
        "reason": table["reason"].to_numpy(object)[mine],
    }
    return pd.DataFrame(columns)


def _candidates(choice: Choice) -> pd.DataFrame:
    rows: Sequence[dict[str, Any]] = [
        {
            "model": entry.name, "num_parameters": entry.num_parameters, "inside": entry.inside,
            "rmse_half_spreads": entry.rmse_half_spreads, "num_held_out": entry.num_held_out, "inside_out": inside,
            "rmse_out_half_spreads": rms, "score_out": score, "chosen": entry is choice.entry,
            "status": entry.reason,
        }
        for entry, (inside, rms, score) in zip(choice.comparison.entries, choice.out, strict=True)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def name_of(chain: ChainFit) -> str:
    """The underlying and the time of a chain, as a person writes them; empty where they are not known."""
    return "" if chain.report is None else key_text(chain.report.keys[0])
