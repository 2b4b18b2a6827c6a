"""choose_model: the smallest model that quotes it did not see ask for, and the reason as a sentence."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from jaxcal.calibration.calibration_spec import CalibrationSpec
from jaxcal.calibration.compare import compare, held_out_quotes
from jaxcal.calibration.comparison import Comparison, Entry
from jaxcal.calibration.objective.residuals import half_spreads
from jaxcal.calibration.results.unfitted import is_unfitted
from jaxcal.market.surface import Surface
from jaxcal.models.base import AbstractVolModel
from jaxcal.risk.model_arbitrage import model_arbitrage

LEAST_HELD_OUT = 5  # held-out quotes below which they decide nothing
_NEGLIGIBLE = 0.5 * math.log1p(0.1**2)  # the loss of a misfit of a tenth of a half-spread
_PASSED = "Passed over"  # how the reason of a candidate begins that was fitted and may not be chosen

Scores = Float[np.ndarray, " h"]


@dataclass(frozen=True, eq=False)
class Choice:
    """The model chosen among candidates.

    Attributes:
        entry: of the chosen model.
        comparison: of all candidates, in the order given; one that was not fitted has its reason.
        reason: why this model, a sentence.
        out: for each candidate `(inside, rms, score)` of the held-out quotes: share from bid to ask, root mean square
            and mean Cauchy loss of the misfit in half-spreads; NaN where there are none.
    """

    entry: Entry
    comparison: Comparison
    reason: str
    out: tuple[tuple[float, float, float], ...]


def choose_model(
    candidates: Mapping[str, CalibrationSpec], surface: Surface, *, enough: float, arbitrage_free: bool
) -> Choice:
    """Fit the candidates one after the other, as `compare` does, and choose one by the quotes held out.

    A candidate is fitted where it has no more parameters than there are quotes left to fit it to. The first one with at
    least the share `enough` of held-out quotes between bid and ask is chosen, and no other is fitted. Otherwise it is
    the one of fewest parameters whose mean held-out loss is within one standard error of the least, or more than it by
    no more than the loss of a tenth of a half-spread. The error is that of the mean difference from the best, quotes of
    an expiry taken together where that is more. The loss is Cauchy's of the misfit in half-spreads, so that a few
    quotes out of reach do not decide. A model that knows no volatility at a quote (a value below a ten-millionth of
    the forward) misses by all of it.

    With fewer than five quotes held out it is the first one with that share of all quotes between bid and ask, or else
    the one with the least criterion of Akaike's for small samples. An only candidate is fitted whatever there is.

    Args:
        candidates: by name.
        surface: what they are fitted to.
        enough: share of the held-out quotes.
        arbitrage_free: whether a smile model with static arbitrage is passed over. The other models are laws.

    Raises:
        ValueError: none of them could be fitted, with the reasons.

    References:
        L. Breiman, J. Friedman, R. Olshen, C. Stone, "Classification and Regression Trees" (1984), section 3.4.3, for
        the rule of one standard error. C. Hurvich, C.-L. Tsai, "Regression and time series model selection in small
        samples", Biometrika 76 (1989) 297-307, eq. 4, for the criterion.

    Example:
        >>> import jaxcal as jc
        >>> surface = jc.Surface.from_vols([0.5, 1.0], [90.0, 95.0, 100.0, 105.0], [[0.2] * 4] * 2, forward=100.0)
        >>> models = {"flat": jc.CalibrationSpec(jc.BlackScholes)}
        >>> print(choose_model(models, surface, enough=0.95, arbitrage_free=True).reason)
        flat (1 parameter): Akaike's criterion is least; too few could be held out.
    """
    held_out = held_out_quotes(surface)
    by_quotes = int(held_out.sum()) >= LEAST_HELD_OUT
    most = max(surface.num_quotes - (int(held_out.sum()) if by_quotes else 1), 1)
    most = most if len(candidates) > 1 else math.inf
    unit = _half_spreads(surface)[held_out]
    entries: list[Entry] = []
    for name, spec in candidates.items():
        entry = _fitted(name, spec, surface, most, arbitrage_free)
        entries.append(entry)
        share = _out_of_sample(entry, surface, held_out, unit)[0] if by_quotes else entry.inside
        if _counts(entry) and share >= enough:
            break
    fitted = {entry.name for entry in entries}
    entries += [
        Entry(name, reason="Not fitted: a smaller model is enough.") for name in candidates if name not in fitted
    ]
    comparison = Comparison(tuple(entries), surface, held_out)
    out = tuple(_out_of_sample(entry, surface, held_out, unit) for entry in entries)
    with_numbers = [place for place, entry in enumerate(entries) if _has_numbers(entry)]
    sound = [place for place in with_numbers if _counts(entries[place])] or with_numbers
    if not sound:
        if (failed := next((entry for entry in entries if entry.fit is not None), None)) is not None:
            return Choice(failed, comparison, f"No candidate could be fitted; {failed.name}: {failed.reason}", out)
        reasons = "; ".join(f"{e.name}: {e.reason.rstrip('.')}" for e in entries)
        raise ValueError(f"no model could be fitted to {_count(surface.num_quotes, 'quote')}: {reasons}")
    if not by_quotes:
        enclosing = [place for place in sound if entries[place].inside >= enough]
        best = min(sound, key=lambda place: (_akaike(entries[place]), entries[place].num_parameters))
        why = "Akaike's criterion is least"
        if enclosing:
            best = min(enclosing, key=lambda place: entries[place].num_parameters)
            why = f"{entries[best].inside:.0%} of {_count(entries[best].num_quotes, 'quote')} between bid and ask"
        return Choice(entries[best], comparison, f"{_named(entries[best])}: {why}; too few could be held out.", out)
    scores = {place: _scores(entries[place], surface, held_out, unit) for place in sound}
    expiry = np.broadcast_to(np.arange(held_out.shape[0])[:, None], held_out.shape)[held_out]
    best = min(sound, key=lambda place: float(np.mean(scores[place])))
    near = [place for place in sound if _is_near(scores[place] - scores[best], expiry)]
    chosen = min(near, key=lambda place: (entries[place].num_parameters, float(np.mean(scores[place]))))
    reason = _reason(entries, out, chosen, best, sound, enough)
    return Choice(entries[chosen], comparison, reason, out)


def _fitted(name: str, spec: CalibrationSpec, surface: Surface, most: float | int, arbitrage_free: bool) -> Entry:
    """The candidate compared, or why it was passed over."""
    fewest = len(spec.names)  # a vector has more
    if fewest > most:
        return Entry(name, reason=f"Not fitted: {_count(fewest, 'parameter')} or more, for {_count(most, 'quote')}.")
    entry = compare({name: spec}, surface, repeats=0).entries[0]
    if not _has_numbers(entry):
        return entry
    if entry.num_parameters > most:
        reason = f"{_PASSED}: {entry.num_parameters} parameters, for {_count(most, 'quote')}. {entry.reason}"
        return replace(entry, reason=reason)
    if arbitrage_free and isinstance(entry.fit.model, AbstractVolModel):  # pyright: ignore[reportOptionalMemberAccess]
        found = model_arbitrage(entry.fit)  # pyright: ignore[reportArgumentType]
        if found.num_violations:
            return replace(entry, reason=f"{_PASSED}: its smiles have arbitrage: {found}. {entry.reason}")
    return entry


def _has_numbers(entry: Entry) -> bool:
    return entry.fit is not None and not is_unfitted(entry.fit.outcome).all() and not math.isnan(entry.rmse_points)


def _counts(entry: Entry) -> bool:
    """Whether a candidate may be chosen while there is another."""
    return _has_numbers(entry) and entry.converged and not entry.reason.startswith(_PASSED)


def _half_spreads(surface: Surface) -> Float[np.ndarray, "e k"]:
    """`[E, K]` as `HalfSpreadResidual` has them: a vol point where no quote has a spread."""
    vol, bid, ask, weight = (jnp.asarray(x) for x in (surface.vol, surface.bid_vol, surface.ask_vol, surface.weight))
    return np.asarray(half_spreads(vol, bid, ask, weight > 0), np.float64)


def _misfits(entry: Entry, surface: Surface, held_out: Bool[np.ndarray, "e k"], unit: Scores) -> Scores:
    """`[h]` of the held-out quotes, in half-spreads."""
    market = np.asarray(surface.vol, np.float64)[held_out]
    if entry.held_out_vol is None:
        return np.full(market.shape, np.nan)
    return (np.nan_to_num(np.asarray(entry.held_out_vol, np.float64)[held_out]) - market) / unit


def _scores(entry: Entry, surface: Surface, held_out: Bool[np.ndarray, "e k"], unit: Scores) -> Scores:
    return 0.5 * np.log1p(_misfits(entry, surface, held_out, unit) ** 2)


def _out_of_sample(
    entry: Entry, surface: Surface, held_out: Bool[np.ndarray, "e k"], unit: Scores
) -> tuple[float, float, float]:
    if not _has_numbers(entry) or entry.held_out_vol is None or not held_out.any():
        return math.nan, math.nan, math.nan
    bid, ask, vol = (
        np.asarray(x, np.float64)[held_out] for x in (surface.bid_vol, surface.ask_vol, entry.held_out_vol)
    )
    sided = np.isfinite(bid) & np.isfinite(ask)
    inside = float(((bid <= vol) & (vol <= ask))[sided].mean()) if sided.any() else math.nan
    misfits = _misfits(entry, surface, held_out, unit)
    score = float(_scores(entry, surface, held_out, unit).mean())
    return inside, float(np.sqrt(np.mean(misfits**2))), score


def _is_near(difference: Scores, expiry: np.ndarray) -> bool:
    """Whether the mean of the differences from the best is within its standard error, or not worth a parameter."""
    n, mean = len(difference), float(difference.mean())
    each = float(np.sum((difference - mean) ** 2))
    together = float(np.sum(np.bincount(expiry, difference - mean) ** 2))
    return mean <= max(math.sqrt(max(each, together)) / n, _NEGLIGIBLE)


def _akaike(entry: Entry) -> float:
    """For small samples; infinite where there are too few quotes for it, or none for the expiries."""
    spare = entry.num_quotes - entry.num_parameters - 1
    if spare <= 0 or math.isnan(entry.aic):
        return math.inf
    return entry.aic + 2.0 * entry.num_parameters * (entry.num_parameters + 1) / spare


def _named(entry: Entry) -> str:
    return f"{entry.name} ({_count(entry.num_parameters, 'parameter')})"


def _count(number: float | int, noun: str) -> str:
    return f"{number:,.0f} {noun}{'s' * (number != 1)}"


def _reason(
    entries: Sequence[Entry],
    out: Sequence[tuple[float, float, float]],
    chosen: int,
    best: int,
    sound: Sequence[int],
    enough: float,
) -> str:
    def figures(place: int) -> str:
        inside, rms, _ = out[place]
        held = entries[place].num_held_out
        if math.isnan(inside) or math.isnan(entries[place].rmse_half_spreads):  # locked quotes have no spread
            return f"held-out misfit {entries[place].rmse_out_points:.3g} vol points"
        return f"{inside:.0%} of {held} held-out quotes between bid and ask, misfit {rms:.2g} half-spreads"

    text = f"{_named(entries[chosen])}: {figures(chosen)}"
    others = [place for place in sound if place != chosen]
    smaller = [place for place in others if entries[place].num_parameters < entries[chosen].num_parameters]
    if out[chosen][0] >= enough:
        text += f", the first with {enough:.0%}" if others else f", of {enough:.0%} that are enough"
    elif chosen != best:
        text += f"; within one standard error of the best, {_named(entries[best])}: {figures(best)}"
    if smaller:
        next_best = min(smaller, key=lambda place: out[place][2])
        text += f"; {_named(entries[next_best])}: {figures(next_best)}"
    passed = [entry.name for entry in entries if entry.reason.startswith(_PASSED)]
    text += f"; passed over: {', '.join(passed)}" if passed else ""
    if not entries[chosen].converged:
        text += f". {entries[chosen].reason}"
    return text.rstrip(".") + "."
