"""Many surfaces with known Heston truths: half as equity indices have them, half as crypto does."""

# pyright: reportArgumentType=false
# (arrays on the host, where the nouns are declared with those of JAX)
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

import jaxcal as jc
from benchmarks.inputs.truths import DAYS, EXPIRY, PLACES, Ranges
from benchmarks.inputs.work import PARAMETERS, Work
from jaxcal.calibration.objective.fit_data import Target
from jaxcal.calibration.starts.starting_values import starting_models

RECOVERED = 1e-6  # the largest error in volatility of a fit that found the truth
_CHUNK = 32  # surfaces in one compiled call


@dataclass(frozen=True)
class Many:
    """`truth` [B, 5] in the order of `PARAMETERS`, `expiry` [E] years, `strike` and `vol` [B, E, K]; forwards are 100.

    `vol` is by a contour for each quote, much finer than the grid of a fit, so the parameters are known.
    """

    truth: np.ndarray
    expiry: np.ndarray
    strike: np.ndarray
    vol: np.ndarray

    def __len__(self) -> int:
        return len(self.truth)

    def surface(self, rows: np.ndarray | slice = slice(None), noise: float = 0.0, seed: int = 0) -> jc.Surface:
        """Chosen rows as one `Surface` with a leading axis; `noise` is a share of each volatility."""
        strike, vol = self.strike[rows], self.vol[rows]
        if noise:
            vol = vol * np.exp(noise * np.random.default_rng(seed).standard_normal(vol.shape))
        size, e, k = vol.shape
        ones, unknown = np.ones((size, e)), np.full(vol.shape, np.nan)
        fields = {
            "expiry": np.broadcast_to(self.expiry, (size, e)), "forward": 100.0 * ones, "discount": ones,
            "strike": strike, "is_call": strike >= 100.0, "vol": vol, "bid_vol": unknown, "ask_vol": unknown,
            "weight": np.ones(vol.shape),
            "row": np.broadcast_to(np.arange(e * k, dtype=np.int32).reshape(e, k), vol.shape),
        }  # fmt: skip
        return jc.Surface(**jax.tree.map(jnp.asarray, fields))

    def recovered(self, parameters: np.ndarray) -> np.ndarray:
        """Which fits reproduce the exact volatilities everywhere: `[B]`, from `[B, 5]` parameters of the first B."""
        size = len(parameters)
        again = volatilities(parameters, self.expiry, self.strike[:size])
        return np.max(np.abs(again - self.vol[:size]), axis=(1, 2)) <= RECOVERED


def many(size: int, seed: int = 4, num_expiries: int = 0, num_strikes: int = 0) -> Many:
    """Random truths; 8 expiries of 15 strikes each unless told otherwise."""
    rng = np.random.default_rng(seed)
    ranges = [Ranges(rng, crypto=bool(i % 2)) for i in range(size)]
    drawn = [r.heston() for r in ranges]
    truth = np.asarray([[values[name] for name in PARAMETERS] for values in drawn])
    level = np.asarray([r.level for r in ranges])
    expiry = np.geomspace(7.0, 730.0, num_expiries) / 365.0 if num_expiries else EXPIRY
    places = np.linspace(-3.0, 2.0, num_strikes) if num_strikes else PLACES
    strike = 100.0 * np.exp(places * (level[:, None] * np.sqrt(expiry))[..., None])
    return Many(truth, expiry, strike, volatilities(truth, expiry, strike))


def volatilities(parameters: np.ndarray, expiry: np.ndarray, strike: np.ndarray) -> np.ndarray:
    """`[B, E, K]` by a contour for each quote; NaN for parameters that no Heston model has."""
    chunks = [slice(i, i + _CHUNK) for i in range(0, len(parameters), _CHUNK)]

    def one(rows: slice) -> np.ndarray:
        chosen = np.minimum(np.arange(rows.start, rows.start + _CHUNK), len(parameters) - 1)
        found = _volatilities(jnp.asarray(parameters[chosen]), jnp.asarray(strike[chosen]), jnp.asarray(expiry))
        return np.asarray(found)[: len(parameters[rows])]

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = np.concatenate(list(pool.map(one, chunks)))
    # inside `jit` the contour has a fixed size; outside it is refined where that is not enough
    for i in np.flatnonzero(np.isnan(found).any(axis=(1, 2)) & np.isfinite(parameters).all(axis=1)):
        try:
            found[i] = np.asarray(jc.model_vol(jc.Heston(*parameters[i]), strike[i], expiry[:, None], forward=100.0))
        except ValueError:
            continue
    return found


@jax.jit
def _volatilities(parameters: Array, strike: Array, expiry: Array) -> Array:
    def one(row: tuple[Array, Array]) -> Array:
        return jc.model_vol(jc.Heston(*row[0]), row[1], expiry[:, None], forward=100.0)

    return jax.lax.map(one, (parameters, strike))


def parameters_of(model: Any) -> np.ndarray:
    """`[B, 5]` of a model whose fields have a leading axis."""
    return np.stack([np.asarray(getattr(model, name), np.float64) for name in PARAMETERS], axis=-1)


def target_of(surface: jc.Surface) -> Target:
    """A surface with a leading axis in the terms of a fit, on the host, strikes padded to a power of two as by
    `calibrate_many`.
    """
    e, k = surface.vol.shape[1:]
    more = [(0, 0), (0, 2 ** (e - 1).bit_length() - e), (0, 2 ** (k - 1).bit_length() - k)]
    fields = Target.of(surface)
    fillers = (1.0, 1.0, 1.0, 0.2, 0.0)
    columns = zip(jax.tree.leaves(fields), fillers, strict=True)
    padded = [np.pad(x, more[: np.ndim(x)], constant_values=fill) for x, fill in columns]
    return Target(*padded)


def starts(target: Target) -> np.ndarray:
    """`[B, 5]` what a cold fit of jaxcal starts from: read off each surface."""
    return parameters_of(starting_models(jc.Heston, target, np.float64)[0])


def works(surfaces: Many, size: int) -> list[Work]:
    """The first `size` surfaces as the peers take them, with the starts that jaxcal reads off the data."""
    begin = starts(target_of(surfaces.surface(slice(size))))
    flat = np.ones(len(surfaces.expiry))
    of = partial(Work, spot=100.0, days=DAYS, expiry=surfaces.expiry, zero_rate=0.0 * flat, forward=100.0 * flat)
    return [
        of(
            name=f"surface {i}", discount=flat, strike=surfaces.strike[i], vol=surfaces.vol[i], start=begin[i],
            truth=surfaces.truth[i],
        )
        for i in range(size)
    ]  # fmt: skip
