"""Implied volatilities of the exchange's own marks against its own `mark_iv`, on every recorded table of Deribit.

    python -m benchmarks.accuracy.marks               # half a minute

Writes `benchmarks/results/marks.csv`: one row a file, and one for all. Options out of the money, more than a day from
expiry, with a mark of 1e-4 coin or more; differences in vol points. Of those above half a point: "rounding" is the
share in which the mark and `mark_iv`, each rounded as printed, can both be right, "forward_bp" the median move of the
forward, in basis points, that makes both right: the exchange stamps a mark and its underlying at different moments.
"""

from pathlib import Path

import jax
import numpy as np
import pandas as pd
from jax.typing import ArrayLike

import jaxcal as jc
from benchmarks.inputs.chains import DATA
from benchmarks.instruments.machine import description
from jaxcal.market.tables.quote_columns import validate_quotes

RESULTS = Path(__file__).parents[1] / "results" / "marks.csv"
LARGE = 0.5  # vol points
_LEAST_YEARS, _LEAST_MARK = 1.0 / 365.0, 1e-4
_HALF_MARK, _HALF_VOL = 0.5e-4, 0.5e-4  # of the last digit: of marks in coin, where they have four; of volatilities


def differences(path: Path) -> pd.DataFrame | None:
    """One row an option: our volatility of the mark less the exchange's; None of a table without marks."""
    try:
        quotes = jc.read_quotes(path)
    except jc.QuoteError:  # order books
        return None
    if not {"mark", "mark_iv", "forward"} <= set(quotes.columns):
        return None
    columns = validate_quotes(quotes)
    strike, years, forward, is_call = columns.strike, columns.years, columns.forward, columns.side > 0
    mark, given = (pd.to_numeric(quotes[name]).to_numpy(float) for name in ("mark", "mark_iv"))
    chosen = np.where(is_call, strike >= forward, strike <= forward) & (years > _LEAST_YEARS) & (mark >= _LEAST_MARK)
    rows = np.flatnonzero(chosen & np.isfinite(given))
    strike, years, forward, is_call, mark, given = (x[rows] for x in (strike, years, forward, is_call, mark, given))
    found = np.asarray(jc.implied_vol(mark * forward, strike, years, forward=forward, is_call=is_call))

    def coins(vol: ArrayLike, of_forward: ArrayLike) -> jax.Array:
        return jc.black_price(vol, strike, years, forward=of_forward, is_call=is_call) / of_forward

    price, vega = jax.jvp(lambda vol: coins(vol, forward), (given,), (np.ones_like(given),))
    _, delta = jax.jvp(lambda f: coins(given, f), (forward,), (np.ones_like(given),))
    gap = np.asarray(mark - price)
    return pd.DataFrame(
        {
            "points": 100.0 * (found - given),
            "rounding": np.abs(gap) <= _HALF_MARK + _HALF_VOL * np.asarray(vega),
            "forward_bp": 1e4 * np.abs(gap / (np.asarray(delta) * forward)),
        }
    )


def summary(rows: pd.DataFrame) -> dict[str, object]:
    """Medians and quantiles of a table of `differences`."""
    gap = rows["points"].abs()
    large = rows[gap > LARGE]
    return {
        "options": len(rows),
        "without_vol": int(gap.isna().sum()),
        "median_points": gap.median(),
        "p99_points": gap.quantile(0.99),
        "largest_points": gap.max(),
        "above_half": len(large) / len(rows),
        "of_those_rounding": large["rounding"].mean(),
        "of_those_forward_bp": large["forward_bp"].median(),
    }


def main() -> None:
    jax.config.update("jax_enable_x64", True)
    paths = [
        path for kind in ("single", "snapshots", "daily", "hourly") for path in (DATA / "deribit" / kind).glob("*")
    ]
    found = {path.name: differences(path) for path in sorted(paths)}
    tables = {name: table for name, table in found.items() if table is not None and len(table)}
    rows = [{"file": name, **summary(table)} for name, table in tables.items()]
    rows.append({"file": "all", **summary(pd.concat(tables.values()))})
    table = pd.DataFrame(rows)
    table.to_csv(RESULTS, index=False, float_format="%.5g")
    print(table.round(4).to_string(index=False))
    print(*(f"{key}: {value}" for key, value in description().items()), sep="\n")


if __name__ == "__main__":
    main()
