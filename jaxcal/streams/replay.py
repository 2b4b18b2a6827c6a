"""replay: recorded surfaces through a recalibrator; a table of the parameters over time with their bands."""

import threading
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from statistics import NormalDist
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, Float

from jaxcal._arguments import host_only
from jaxcal._status import Outcome
from jaxcal.market.surface import Surface
from jaxcal.market.tables.quote_columns import QuoteKey
from jaxcal.models.base import AbstractModel
from jaxcal.models.parameters import Scales, from_vector
from jaxcal.streams.recalibrator import Recalibrator
from jaxcal.streams.state import StreamState
from jaxcal.streams.update import Update


@host_only
def replay(
    recalibrator: Recalibrator[Any],
    surfaces: Mapping[Any, Surface] | Iterable[tuple[QuoteKey, Surface]],
    *,
    level: float = 0.95,
    stop: threading.Event | None = None,
) -> pd.DataFrame:
    """Run recorded surfaces through a recalibrator, one stream an underlying, in the order of their times.

    Args:
        recalibrator: the settings of all streams.
        surfaces: by `(underlying, quote_time)`, as `surfaces_from_quotes` gives them.
        level: probability of the bands.
        stop: once it is set, the replay ends after the fit at work.

    Returns:
        One row a surface, sorted by underlying, then time: `underlying`, `quote_time`; `update` (its
        name) and `used`; `outcome` and `converged` of the fit; `rmse_vol` (decimal), `inside`, `rmse_half_spreads`,
        `num_quotes`, `num_steps`; `surprise` and `noise` of the state; and for every free parameter its value in the
        state, `<name>_low` and `<name>_high`, between which it lies with the probability `level`. A surface that was
        not used shows the state as it was. Before a stream starts its parameters are NaN.

    Raises:
        ValueError: a surface without a time; a level that is not between 0 and 1.

    Example:
        >>> import jaxcal as jc
        >>> surface = jc.Surface.from_vols([0.5], [90.0, 100.0, 110.0], [[0.21, 0.2, 0.2]], forward=100.0)
        >>> days = pd.date_range("2026-03-02T16:00Z", periods=3)
        >>> table = replay(jc.Recalibrator(jc.BlackScholes), {("X", day): surface for day in days})
        >>> table[["update", "sigma"]].round(4)
            update   sigma
        0  STARTED  0.2033
        1  UPDATED  0.2033
        2  UPDATED  0.2033
    """
    if not 0.0 < level < 1.0:
        raise ValueError(f"level is {level}: it must lie between 0 and 1")
    pairs = list(surfaces.items() if isinstance(surfaces, Mapping) else surfaces)
    if unknown := [key for key, _ in pairs if key[1] is None]:
        raise ValueError(f"a surface of {unknown[0][0] or 'no name'} has no time: a stream needs one for each")
    pairs.sort(key=lambda pair: (pair[0][0] or "", pair[0][1]))
    return pd.DataFrame(list(_rows(recalibrator, pairs, level, stop or threading.Event())))


def _rows(
    recalibrator: Recalibrator[Any], pairs: list[tuple[QuoteKey, Surface]], level: float, stop: threading.Event
) -> Iterator[dict[str, Any]]:
    states: dict[str | None, StreamState[Any] | None] = {}
    for (underlying, time), surface in pairs:
        assert time is not None
        if stop.is_set():
            return
        before = states.get(underlying)
        state, fit = recalibrator.step(before, surface, time)
        states[underlying] = state
        yield {
            "underlying": underlying,
            "quote_time": time,
            "update": Update.UNFITTED.name if state is None else Update(int(state.update)).name,
            "used": state is not None and state.used,
            "outcome": Outcome(int(fit.outcome)).name,
            "converged": fit.converged,
            "rmse_vol": float(fit.rmse_vol),
            "inside": fit.inside,
            "rmse_half_spreads": fit.rmse_half_spreads,
            "num_quotes": surface.num_quotes,
            "num_steps": int(fit.num_steps),
            "surprise": np.nan if state is None else float(state.surprise),
            "noise": np.nan if state is None else float(state.noise),
        } | _parameters(state, recalibrator.free, recalibrator.scales, level)


def _parameters(
    state: StreamState[Any] | None, names: tuple[str, ...], scales: Scales, level: float
) -> dict[str, float]:
    if state is None:
        return {name + end: np.nan for name in names for end in ("", "_low", "_high")}
    low, high = parameter_band(state, names, scales, level)
    found: dict[str, float] = {}
    for name, *band in zip(names, low, high, strict=True):
        found |= {name: float(getattr(state.model, name)), f"{name}_low": band[0], f"{name}_high": band[1]}
    return found


def parameter_band(
    state: StreamState[Any], names: tuple[str, ...], scales: Scales, level: float
) -> tuple[np.ndarray, np.ndarray]:
    """`[p]` and `[p]`: bounds of each parameter with probability `level`, the others at their mean.

    From the normal distribution on the search scales, so positive parameters have positive bounds.

    Example:
        >>> import jaxcal as jc
        >>> surface = jc.Surface.from_vols([0.5], [90.0, 100.0, 110.0], [[0.21, 0.2, 0.2]], forward=100.0)
        >>> state, _ = jc.Recalibrator(jc.BlackScholes, noise=0.005).step(None, surface, 0.0)
        >>> low, high = parameter_band(state, ("sigma",), Scales(), 0.95)
        >>> print(low.round(4), high.round(4))
        [0.1978] [0.2091]
    """
    quantile = NormalDist().inv_cdf(0.5 + 0.5 * level)
    steps = np.diag(quantile * np.sqrt(np.diag(np.asarray(state.covariance))))
    mean = np.asarray(state.mean)
    values = np.asarray(_values(names, scales, state.model, np.concatenate([mean - steps, mean + steps])))
    return values[: len(mean)].diagonal(), values[len(mean) :].diagonal()


@partial(jax.jit, static_argnums=(0, 1))
def _values(
    names: tuple[str, ...], scales: Scales, model: AbstractModel, points: Float[Array | np.ndarray, "n p"]
) -> Float[Array, "n p"]:
    """The named parameters at search vectors."""

    def at(y: Float[Array, " p"]) -> Float[Array, " p"]:
        found = from_vector(model, names, y, scales)
        return jnp.stack([getattr(found, name) for name in names])

    return jax.vmap(at)(jnp.asarray(points))
