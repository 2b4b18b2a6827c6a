"""Weights of the quotes, from the surface or from the table of quotes."""

from abc import abstractmethod

import equinox as eqx
import numpy as np
import pandas as pd
from jaxtyping import Float
from numpy.typing import ArrayLike

from jaxcal.market.surface import Surface

Numbers = Float[np.ndarray, "e k"]


class AbstractWeights(eqx.Module):
    """A rule that gives every quote of a surface its weight. Subclass it for another.

    Weights multiply the losses of the residuals. Those of a rule are scaled to a mean of 1 over the quotes, so that a
    prior means the same whatever the rule.

    Example:
        >>> class NearTheMoney(AbstractWeights):
        ...     def of(self, surface):
        ...         return np.exp(-np.log(surface.strike / surface.forward[:, None]) ** 2 / surface.expiry[:, None])
        >>> import jaxcal as jc
        >>> surface = jc.Surface.from_vols([1.0], [80.0, 100.0], [[0.25, 0.2]], forward=100.0)
        >>> weighed(NearTheMoney(), surface)[0, :2].round(3)
        array([0.975, 1.025])
    """

    @abstractmethod
    def of(self, surface: Surface) -> Numbers:
        """Weights `[E, K]` of a surface on the host, up to a factor; not negative; at padding anything.

        Raises:
            ValueError: the surface does not hold what the rule needs.
        """


class UniformWeights(AbstractWeights):
    """Every quote the same.

    Example:
        >>> UniformWeights()
        UniformWeights()
    """

    def of(self, surface: Surface) -> Numbers:
        return np.ones(surface.vol.shape)


class VegaWeights(AbstractWeights):
    """The market's Black vega, undiscounted, in units of the forward: wings count little.

    Args:
        power: of the vega; 2 makes a fit of volatilities one of prices, to first order.

    Raises:
        ValueError: the power is negative.

    Example:
        >>> import jaxcal as jc
        >>> surface = jc.Surface.from_vols([0.25], [80.0, 100.0], [[0.25, 0.2]], forward=100.0)
        >>> weighed(VegaWeights(), surface)[0, :2].round(3)
        array([0.307, 1.693])
    """

    power: float = 1.0

    def __check_init__(self) -> None:
        if not self.power >= 0:
            raise ValueError(f"the power of VegaWeights is {self.power}: it must not be negative")

    def of(self, surface: Surface) -> Numbers:
        root = np.sqrt(np.asarray(surface.expiry, float))[:, None]
        total = np.asarray(surface.vol, float) * root
        d1 = np.log(np.asarray(surface.forward, float)[:, None] / np.asarray(surface.strike, float)) / total + total / 2
        return (np.exp(-0.5 * d1**2) * root) ** self.power


class InverseSpreadWeights(AbstractWeights):
    """One over the bid-ask spread in volatility: tight quotes count most.

    Where one side is not known, the spread is taken to be twice the distance to the other; where neither is, the
    median of the surface. A spread below a tenth of the median counts as that.

    Args:
        power: of the inverse spread; 2 is right where the noise of a quote is proportional to its spread.

    Raises:
        ValueError: the power is negative; of a surface without bid and ask.

    Example:
        >>> import jaxcal as jc
        >>> rule = InverseSpreadWeights()
        >>> surface = jc.Surface.from_quotes(jc.synthetic_chain())
        >>> bool(weighed(rule, surface)[np.asarray(surface.weight) > 0].mean().round(6) == 1.0)
        True
    """

    power: float = 1.0

    def __check_init__(self) -> None:
        if not self.power >= 0:
            raise ValueError(f"the power of InverseSpreadWeights is {self.power}: it must not be negative")

    def of(self, surface: Surface) -> Numbers:
        vol, bid, ask = (np.asarray(x, float) for x in (surface.vol, surface.bid_vol, surface.ask_vol))
        spread = np.where(np.isnan(bid), 2.0 * (ask - vol), np.where(np.isnan(ask), 2.0 * (vol - bid), ask - bid))
        known = (np.asarray(surface.weight) > 0) & np.isfinite(spread)
        middle = float(np.median(spread[known])) if known.any() else np.nan
        if not middle > 0:
            raise ValueError("weights by inverse spread need bid and ask, and the surface has none that differ")
        return np.maximum(np.where(known, spread, middle), 0.1 * middle) ** -self.power


WEIGHTS: dict[str, type[AbstractWeights]] = {
    "uniform": UniformWeights, "vega": VegaWeights, "inverse_spread": InverseSpreadWeights,
}  # fmt: skip
_OF_TABLE = {"open_interest": ("open_interest",), "size": ("bid_size", "ask_size")}


def find_weights(name: str) -> AbstractWeights:
    """The rule of a name; a ValueError where there is none."""
    rule = WEIGHTS.get(name.strip().lower().replace("-", "_"))
    if rule is None:
        hint = ": take weights_from(quotes, surface, ...), as a Surface does not hold them" if name in _OF_TABLE else ""
        raise ValueError(f"there are no weights {name!r}{hint}; there are {', '.join(WEIGHTS)}")
    return rule()


def checked_values(weights: ArrayLike) -> np.ndarray:
    """Weights that a caller gave, on the host; a ValueError where one of them is negative or not finite."""
    try:
        values = np.asarray(weights, float)
    except (TypeError, ValueError):
        raise ValueError(f"weights are {repr(weights)[:60]}: give a number for each quote, or a rule") from None
    if not (np.isfinite(values) & (values >= 0)).all():
        raise ValueError("weights must be finite and not negative")
    return values


def weighed(rule: AbstractWeights, surface: Surface) -> Numbers:
    """The weights of a rule, with mean 1 over the quotes of a surface and 0 elsewhere."""
    used = np.asarray(surface.weight) > 0
    return _scaled(np.where(used, np.asarray(rule.of(surface), float), 0.0), used)


def weights_from(quotes: pd.DataFrame, surface: Surface, column: str) -> Numbers:
    """Weights from a column of the table that a surface was made from, for `calibrate(..., weights=...)`.

    Args:
        quotes: the table that was given to `Surface.from_quotes` or `surfaces_from_quotes`.
        surface: made from it; `surface.row` says which quote is where.
        column: "open_interest"; "size", the mean of `bid_size` and `ask_size`; or any column of numbers. A quote whose
            number is missing is left out, like one of weight 0.

    Returns:
        `[E, K]`, with mean 1 over the quotes and 0 where there is none.

    Raises:
        ValueError: the column is not in the table, a weight is negative or not finite, none is positive, or the table
            is shorter than the surface says.

    Example:
        >>> import pandas as pd, jaxcal as jc
        >>> table = {"expiry": 0.5, "strike": [110.0, 90.0], "iv": 0.2, "forward": 101.0, "open_interest": [30, 10]}
        >>> surface = jc.Surface.from_quotes(pd.DataFrame(table))
        >>> weights_from(pd.DataFrame(table), surface, "open_interest")[0, :2]
        array([0.5, 1.5])
    """
    names = [name for name in _OF_TABLE.get(column, (column,)) if name in quotes]
    if not names:
        wanted = " and ".join(_OF_TABLE.get(column, (column,)))
        raise ValueError(f"the table has no column {wanted}; columns found: {', '.join(map(str, quotes.columns))}")
    numbers = quotes[names].to_numpy(float, na_value=np.nan)
    known = np.isfinite(numbers)
    values = np.sum(np.where(known, numbers, 0.0), axis=1) / np.maximum(known.sum(axis=1), 1)
    if np.isinf(numbers).any() or (values < 0).any():
        raise ValueError(f"{column} must be finite and not negative")
    row, used = np.asarray(surface.row), np.asarray(surface.weight) > 0
    if used.any() and row[used].max() >= len(values):
        raise ValueError(f"the surface has a quote of row {row[used].max()}, and the table {len(values)} rows")
    return _scaled(np.where(used, values[np.where(used, row, 0)], 0.0), used)


def _scaled(values: np.ndarray, used: np.ndarray) -> Numbers:
    mean = values[used].mean() if used.any() else 1.0
    if not (np.isfinite(values[used]).all() and (values[used] >= 0).all() and mean > 0):
        raise ValueError("weights must be finite and not negative, and one of them positive")
    return values / mean
