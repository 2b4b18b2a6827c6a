"""Ten thousand random Heston truths, noise-free: does a fit from the data find each of them again?

    python -m benchmarks.accuracy.gallery                      # ten minutes on two cores
    python -m benchmarks.accuracy.gallery --truths 999

A third of the truths is like equity indices, a third like crypto, and a third extreme: levels of 5 to 200 % (at most
400 % at the start and in the long run), variance that starts at a hundredth to a hundred times its mean, mean reversion
of weeks to decades, any correlation, volatilities of variance that break Feller's condition by far. Prices come from a
contour for each quote (`jc.Saddle`), never from the grid of a fit; volatilities from these by bisection in numpy, never
from the inversion of a fit. Quotes worth less than 1e-7 of the forward are left out. Recovered means: prices of the
fitted model, by the same two, are within 1e-6 of every volatility. Writes `benchmarks/results/gallery.csv`, a row a
kind of truth.
"""

import argparse
import time
from collections import Counter
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from scipy.special import ndtr

import jaxcal as jc
from benchmarks.inputs.truths import EXPIRY, Ranges, strikes
from benchmarks.instruments.machine import description

RESULTS = Path(__file__).parents[1] / "results" / "gallery.csv"
KINDS = ("equity", "crypto", "extreme")
FORWARD = 100.0
LEAST = 1e-7  # of the forward: what a quote must be worth
TARGET = 0.999
AT_ONCE = 64


def truth(i: int, rng: np.random.Generator) -> tuple[str, jc.Heston, np.ndarray]:
    """The kind of truth number `i`, its parameters, and its `[E, K]` strikes."""
    kind = KINDS[i % len(KINDS)]
    ranges = Ranges(rng, crypto=kind == "crypto")
    if kind != "extreme":
        return kind, jc.Heston(**ranges.heston()), strikes(ranges.level)
    level = ranges.lu(0.05, 2.0)
    v0, theta = (min(16.0, level**2 * ranges.lu(0.1, 10.0)) for _ in range(2))
    model = jc.Heston(v0, ranges.lu(0.05, 60.0), theta, level * ranges.lu(0.1, 15.0), ranges.u(-0.98, 0.98))
    return kind, model, strikes(np.sqrt(min(v0, theta)))


@eqx.filter_jit
def _otm(models: jc.Heston, strike: jax.Array) -> jax.Array:
    """`[B, E, K]` out-of-the-money values of many models, by contours."""

    def one(model: jc.Heston, strike: jax.Array) -> jax.Array:
        expiry = jnp.asarray(EXPIRY)[:, None]
        is_call = strike >= FORWARD
        return jc.price(model, strike, expiry, forward=FORWARD, is_call=is_call, pricer=jc.Saddle())

    return jax.vmap(one)(models, strike)


def otm(models: jc.Heston, strike: np.ndarray) -> np.ndarray:
    """The same, a few at a time; every leaf of `models` and `strike` with a leading axis."""
    count = len(strike)
    rows = []
    for begin in range(0, count, AT_ONCE):
        at = np.minimum(np.arange(begin, begin + AT_ONCE), count - 1)  # the last ones filled up: one shape for all
        batch = jax.tree.map(lambda leaf, at=at: jnp.asarray(leaf)[at], models)
        rows.append(np.asarray(_otm(batch, jnp.asarray(strike[at]))))
    return np.concatenate(rows)[:count]


def bisected(value: np.ndarray, strike: np.ndarray) -> np.ndarray:
    """Black volatilities of out-of-the-money values, NaN where the value is below `LEAST` or at its bound."""
    root = np.sqrt(EXPIRY)[:, None]
    x, sign = np.log(FORWARD / strike), np.where(strike >= FORWARD, 1.0, -1.0)
    low, high = np.zeros(value.shape), np.full(value.shape, 20.0)
    for _ in range(60):
        total = 0.5 * (low + high) * root
        d = x / total + 0.5 * total
        above = sign * (FORWARD * ndtr(sign * d) - strike * ndtr(sign * (d - total))) > value
        low, high = np.where(above, low, 0.5 * (low + high)), np.where(above, 0.5 * (low + high), high)
    known = (value > LEAST * FORWARD) & (value < 0.999 * np.minimum(FORWARD, strike))
    return np.where(known, 0.5 * (low + high), np.nan)


def stacked(models: list[jc.Heston]) -> jc.Heston:
    return jax.tree.map(lambda *leaves: np.stack([np.asarray(leaf, float) for leaf in leaves]), *models)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--truths", type=int, default=10_000)
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    jc.enable_compilation_cache()
    rng = np.random.default_rng(5)
    kinds, models, places = zip(*(truth(i, rng) for i in range(options.truths)), strict=True)
    strike, truths = np.stack(places), stacked(list(models))
    vol = bisected(otm(truths, strike), strike)
    surfaces = [jc.Surface.from_vols(EXPIRY, k, v, forward=FORWARD) for k, v in zip(strike, vol, strict=True)]
    begin = time.perf_counter()
    fits = jc.calibrate_many(jc.Heston, surfaces)
    seconds = time.perf_counter() - begin
    difference = np.abs(bisected(otm(fits.model, strike), strike) - vol)
    missing = np.isfinite(vol) & ~np.isfinite(difference)  # the fitted model has no volatility where the truth has one
    error = np.max(np.where(missing, np.inf, np.nan_to_num(difference)), axis=(1, 2))
    feller = np.asarray(2.0 * truths.kappa * truths.theta >= truths.sigma**2)
    table = pd.DataFrame({"kind": kinds, "Feller": np.where(feller, "holds", "does not"), "error": error})
    table["quotes"] = np.isfinite(vol).sum(axis=(1, 2))
    table["converged"], table["steps"] = np.asarray(fits.converged), np.asarray(fits.num_steps)
    table["miss"] = [
        classified(fits[i], surfaces[i], models[i]) if error[i] > 1e-6 else "" for i in range(options.truths)
    ]
    rows = [
        {
            "kind": kind,
            "Feller": holds,
            "truths": len(own),
            "recovered": (own["error"] <= 1e-6).mean(),
            "misses": "; ".join(f"{n} {text}" for text, n in Counter(t for t in own["miss"] if t).most_common()),
            "converged, error above 1e-4": int((own["converged"] & (own["error"] > 1e-4)).sum()),
            "median_steps": own["steps"].median(),
            "fewest_quotes": int(own["quotes"].min()),
        }
        for (kind, holds), own in [*table.groupby(["kind", "Feller"]), (("all", "either"), table)]
    ]
    pd.DataFrame(rows).to_csv(RESULTS, index=False)
    print(pd.DataFrame(rows).to_string(), f"{len(fits) / seconds:.0f} a second", sep="\n")
    print(table[table["miss"].ne("")].to_string())
    print(*(f"{key}: {value}" for key, value in description().items()), sep="\n")


def classified(fit: jc.Fit, surface: jc.Surface, truth: jc.Heston) -> str:
    """Why a truth was missed: how the fit ended, and what a fit that starts at the truth says."""
    ended = fit.status.outcome.name + (" at a bound" if fit.status.at_bounds else "")
    again = jc.calibrate(truth, surface)
    if not again.converged:
        return f"{ended}; a start at the truth ends {again.status.outcome.name} too"
    lower = float(again.cost) < 0.5 * float(fit.cost)
    return f"{ended}; {'another optimum is lower' if lower else 'the truth costs no less'}"


if __name__ == "__main__":
    main()
