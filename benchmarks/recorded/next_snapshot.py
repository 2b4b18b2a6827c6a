"""Yesterday's shape under today's level: fits of one snapshot on the quotes of the next, only the states fitted anew.

    python -m benchmarks.recorded.next_snapshot                                # three weeks of four snapshots a day
    python -m benchmarks.recorded.next_snapshot --weeks 2026-W26               # a day from one to the next

Writes `benchmarks/results/next_snapshot.csv`, one row a pair of snapshots and model, and prints the shares inside bid
and ask by series (a week's file and a coin). Pairs are neighbours in a file. Quotes are those of expiries that both
snapshots have; fits and refits are in half-spreads under Cauchy's loss. What is fitted anew:

- `ClockedDoubleHeston`, `ClockedHestonJumps`: the variances `v0` of the factors, two and three numbers; the clock goes
  on by the time that passed. "and pace": its paces too.
- `SVI`: a level and a slope in time. The smile of each expiry is carried along by log-strike in deviations,
  k / sqrt(T), and all volatilities are multiplied by exp(level + slope ln T): two numbers.
"""

import argparse
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from scipy.optimize import least_squares

import jaxcal as jc
from benchmarks.inputs.chains import DATA, RULES
from benchmarks.inputs.variants import IN_HALF_SPREADS
from benchmarks.instruments.machine import description
from jaxcal.calibration.results.goodness_of_fit import GoodnessOfFit
from jaxcal.models.parameters import with_fields

RESULTS = Path(__file__).parents[1] / "results" / "next_snapshot.csv"
WEEKS = "2026-W08,2026-W16,2026-W24"
_YEAR = 365.0 * 86400.0
_SOON = 1e-9  # years to the knot that the time has passed
STATES = {jc.ClockedDoubleHeston: ("v0_1", "v0_2"), jc.ClockedHestonJumps: ("v0",)}


class Pair(NamedTuple):
    """A snapshot and the next: `years` between them, and the rows of expiries that both have."""

    before: jc.Surface
    after: jc.Surface
    years: float
    rows: list[tuple[int, int]]

    @classmethod
    def of(cls, before: jc.Surface, after: jc.Surface, years: float) -> "Pair":
        quoted = [(np.asarray(each.weight) > 0).any(axis=1) for each in (before, after)]
        old, new = (np.where(q, np.asarray(s.expiry), np.nan) for q, s in zip(quoted, (before, after), strict=True))
        near = np.abs(old[:, None] - years - new[None, :]) < 60.0 / _YEAR
        return cls(before, after, years, [(int(i), int(j)) for i, j in np.argwhere(near)])

    @property
    def counted(self) -> np.ndarray:
        """`[E, K]` the quotes of the later snapshot that count."""
        shared = np.zeros(self.after.weight.shape, bool)
        shared[[j for _, j in self.rows]] = True
        return shared & (np.asarray(self.after.weight) > 0) & np.isfinite(np.asarray(self.after.bid_vol))


def pairs(path: Path, coin: str) -> Iterator[tuple[str, Pair]]:
    """The neighbours in a file, by the time of the later."""
    quotes = jc.read_quotes(path)
    surfaces = jc.surfaces_from_quotes(quotes[quotes["underlying"].eq(coin)].reset_index(drop=True), rules=RULES)
    found = sorted((pd.Timestamp(str(time)), surface) for (_, time), surface in surfaces.items())
    for (time, before), (later, after) in itertools.pairwise(found):
        yield f"{later:%Y-%m-%dT%H:%M}", Pair.of(before, after, (later - time).total_seconds() / _YEAR)


def later_on(model: Any, years: float) -> Any:
    """The law as it stands so much later: knots are nearer, and of those passed the last pace holds on."""
    knots, pace = np.asarray(model.knots) - years, np.asarray(model.pace)
    first = max(int(np.sum(knots <= 0.0)) - 1, 0)
    knots, pace = np.maximum(knots[first:], _SOON), pace[first:]
    return with_fields(model, {"knots": jnp.asarray(knots), "pace": jnp.asarray(pace)})


def carried_svi(fit: jc.Fit[jc.SVI], pair: Pair) -> np.ndarray:
    """`[E, K]` volatilities of the slices of the snapshot before, at level and slope in time of the later one."""
    after, counted = pair.after, pair.counted
    log_strike = np.log(np.asarray(after.strike) / np.asarray(after.forward)[:, None])
    vol = np.full(after.vol.shape, np.nan)
    for i, j in pair.rows:
        then, now = (float(np.asarray(s.expiry)[k]) for s, k in ((pair.before, i), (after, j)))
        rho, b, m, sigma, a = (float(np.asarray(getattr(fit.model, name))[i]) for name in jc.SVI.bounds)
        k = log_strike[j] * np.sqrt(then / now) - m
        vol[j] = np.sqrt((a + b * (rho * k + np.hypot(k, sigma))) / then)
    years = np.broadcast_to(np.asarray(after.expiry)[:, None], vol.shape)
    market, bid, ask = (np.asarray(x, float)[counted] for x in (after.vol, after.bid_vol, after.ask_vol))

    def moved(level_and_slope: np.ndarray) -> np.ndarray:
        return vol * np.exp(level_and_slope[0] + level_and_slope[1] * np.log(years))

    def gap(level_and_slope: np.ndarray) -> np.ndarray:
        return (moved(level_and_slope)[counted] - market) / (0.5 * (ask - bid))

    return moved(least_squares(gap, np.zeros(2), loss="cauchy").x)


def refitted(fit: jc.Fit[Any], pair: Pair, free: tuple[str, ...]) -> np.ndarray:
    """`[E, K]` volatilities of the law of the snapshot before, these parameters fitted to the later one."""
    start = later_on(fit.model, pair.years)
    again = jc.calibrate(start, pair.after, weights=pair.counted.astype(float), free=free, **IN_HALF_SPREADS)
    return np.asarray(again.model_vol)


def rows_of(path: Path, coin: str) -> Iterator[dict[str, object]]:
    """One row a pair and model."""

    def row(name: str, vol: np.ndarray, fit: jc.Fit[Any]) -> dict[str, object]:
        at = GoodnessOfFit.of(vol, pair.after, counted)
        figures = {"inside": at.inside, "rmse_half_spreads": at.rmse_half_spreads, "rmse_points": 100.0 * at.rmse_vol}
        return place | {"model": name, "inside_before": fit.inside, **figures}

    for time, pair in pairs(path, coin):
        counted = pair.counted
        place = {"file": path.stem, "underlying": coin, "quote_time": time, "hours": pair.years * 8760.0}
        place |= {"quotes": int(counted.sum())}

        for model, states in STATES.items():
            fit = jc.calibrate(model, pair.before, **IN_HALF_SPREADS)
            yield row(model.__name__, refitted(fit, pair, states), fit)
            yield row(f"{model.__name__} and pace", refitted(fit, pair, (*states, "pace")), fit)
        svi = jc.calibrate(jc.SVI, pair.before, **IN_HALF_SPREADS)
        yield row("SVI", carried_svi(svi, pair), svi)


def by_series(rows: pd.DataFrame) -> pd.DataFrame:
    """Shares inside bid and ask, in percent, medians over the pairs of a series."""
    of = rows.groupby(["file", "underlying", "model"], sort=False)
    table = (100.0 * of["inside"].median()).unstack("model")
    table.insert(0, "hours", rows.groupby(["file", "underlying"])["hours"].median())
    table.insert(1, "pairs", rows.groupby(["file", "underlying"])["quote_time"].nunique())
    return table.round(1)


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weeks", default=WEEKS)
    parser.add_argument("--coins", default="BTC,ETH")
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    jc.enable_compilation_cache()
    rows = pd.read_csv(RESULTS).to_dict("records") if RESULTS.exists() else []
    for path in sorted((DATA / "deribit" / "snapshots").glob("*.parquet")):
        if not path.stem.startswith(tuple(options.weeks.split(","))):
            continue
        for coin in options.coins.split(","):
            jax.clear_caches()  # a process may run out of memory mappings, of which every compiled program takes many
            rows = [row for row in rows if (row["file"], row["underlying"]) != (path.stem, coin)]
            rows += list(rows_of(path, coin))
            pd.DataFrame(rows).to_csv(RESULTS, index=False, float_format="%.6g")
            print(by_series(pd.DataFrame(rows)).to_string(), flush=True)
    print(*(f"{key}: {value}" for key, value in description().items()), sep="\n")


if __name__ == "__main__":
    main()
