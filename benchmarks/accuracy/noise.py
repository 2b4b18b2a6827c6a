"""Noise and bad quotes: how far fits of 1,000 Heston surfaces end from the truth, by loss.

Exact volatilities of random Heston truths (half like equity indices, half like crypto), 8 expiries of 15 strikes. Two
sets of quotes: with Gaussian noise of 0.3 vol points on every one; and with the same noise and, on one quote in twenty,
10 vol points on top. Every loss, with the scale that it finds for itself, is fitted to both. The error of a parameter
is relative, of rho absolute; the table has its median over the surfaces, and the ratio to the linear loss's without bad
quotes.

    python -m benchmarks.accuracy.noise --surfaces 1000 --out benchmarks/results
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd

import jaxcal as jc
from benchmarks.inputs.truths import EXPIRY, PLACES, Ranges, truth

NOISE, SHARE, OUTLIER = 0.003, 0.05, 0.10
LOSSES: dict[str, jc.AbstractLoss | None] = {
    "linear": None, "huber": jc.Huber(), "cauchy": jc.Cauchy(), "soft_l1": jc.SoftL1(),
}  # fmt: skip


def quotes_of(number: int, seed: int = 4) -> tuple[np.ndarray, list[jc.Surface], list[jc.Surface]]:
    """Parameters `[B, 5]` of the truths, their surfaces with noise, and with noise and bad quotes."""
    vols = jax.jit(lambda model, strike: jc.model_vol(model, strike, EXPIRY[:, None], forward=100.0))
    parameters, noisy, spoiled = [], [], []
    for i in range(number):
        rng = np.random.default_rng([seed, i])
        ranges = Ranges(rng, crypto=bool(i % 2))
        model = truth("Heston", ranges)
        strike = 100.0 * np.exp(PLACES * ranges.level * np.sqrt(EXPIRY)[:, None])
        exact = np.asarray(vols(jax.tree.map(np.float64, model), strike))
        vol = exact + rng.normal(scale=NOISE, size=exact.shape)
        bad = rng.uniform(size=exact.shape) < SHARE
        # a far wing of a low volatility may have none left after the noise
        vol = np.where(vol > 0.01, vol, np.nan)
        parameters.append([float(getattr(model, name)) for name in jc.Heston.bounds])
        noisy.append(jc.Surface.from_vols(EXPIRY, strike, vol, forward=100.0))
        spoiled.append(jc.Surface.from_vols(EXPIRY, strike, vol + OUTLIER * bad, forward=100.0))
    return np.asarray(parameters), noisy, spoiled


def errors_of(model: jc.AbstractModel, truths: np.ndarray) -> np.ndarray:
    """`[B, 5]` relative errors of the parameters, of rho absolute."""
    found = np.stack([np.asarray(getattr(model, name)) for name in jc.Heston.bounds], axis=1)
    return np.abs(found - truths) / np.where(np.asarray(list(jc.Heston.bounds)) == "rho", 1.0, np.abs(truths))


def rows(number: int) -> Iterator[dict[str, Any]]:
    """One row for every loss and set of quotes."""
    truths, noisy, spoiled = quotes_of(number)
    base: np.ndarray | None = None
    for name, loss in LOSSES.items():
        for quotes, surfaces in (("noise", noisy), ("noise and bad quotes", spoiled)):
            began = time.perf_counter()
            fits = jc.calibrate_many(jc.Heston, surfaces, loss=loss)
            seconds = time.perf_counter() - began
            errors = errors_of(fits.model, truths)
            found = np.append(np.nanmedian(errors, axis=0), np.nanmedian(errors))
            base = found if base is None else base
            scales: Any = [np.asarray(part.loss.scale) for part in fits.parts if part.loss is not None]  # pyright: ignore[reportAttributeAccessIssue]
            print(f"{quotes}, {name}: {fits.summary()}; {seconds:.0f} s, compiling included", flush=True)
            fields = (*jc.Heston.bounds, "all")
            yield {
                "quotes": quotes,
                "loss": name,
                "surfaces": number,
                "converged": int(fits.converged.sum()),
                **dict(zip(fields, found, strict=True)),
                **{f"{field}_ratio": ratio for field, ratio in zip(fields, found / base, strict=True)},
                "scale_points": 100.0 * float(np.median(np.concatenate(scales))) if scales else np.nan,
                "steps": float(fits.num_steps.mean()),
            }


def main() -> None:
    """Run, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--surfaces", type=int, default=1000)
    parser.add_argument("--out", type=Path, help="folder for noise.csv")
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    jc.enable_compilation_cache()
    found = []
    for row in rows(options.surfaces):
        found.append(row)
        if options.out is not None:
            options.out.mkdir(parents=True, exist_ok=True)
            pd.DataFrame(found).round(5).to_csv(options.out / "noise.csv", index=False)
    print(pd.DataFrame(found).round(4).to_string(index=False))


if __name__ == "__main__":
    main()
