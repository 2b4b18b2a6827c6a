"""American options at any rate and yield.

`python -m benchmarks.accuracy.american_rates` writes `results/american_rates.csv`.

300 calls and puts: volatility 5 to 150 %, a day to three years, strikes half to twice the spot, rates and yields of -3
to 8 %, a tenth without rate and a tenth without yield. And 100 with two boundaries, volatility 2 to 60 %, strikes
within 2.5 standard deviations. The reference is QuantLib's finite differences, which need no boundary, on a grid of
2,000 prices by 1,000 times. Errors are over the spot. A row for each kind: one boundary of exercise, none (the European
price is exact), two (for a put 0 > rate > yield). Takes three minutes.
"""

from pathlib import Path

import jax

jax.config.update("jax_enable_x64", True)

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import QuantLib as ql  # noqa: E402

from benchmarks.speed.american import SPOT, Columns, QuantLib, jaxcal  # noqa: E402

RESULTS = Path(__file__).resolve().parents[1] / "results" / "american_rates.csv"


def options(count: int) -> Columns:
    """Options at any rate and yield."""
    random = np.random.default_rng(11)
    rate, dividend_yield = random.uniform(-0.03, 0.08, (2, count))
    tenth = count // 10
    rate[:tenth], dividend_yield[tenth : 2 * tenth] = 0.0, 0.0
    return {
        "vol": np.exp(random.uniform(np.log(0.05), np.log(1.5), count)),
        "strike": SPOT * np.exp(random.uniform(np.log(0.5), np.log(2.0), count)),
        "expiry": np.exp(random.uniform(np.log(1.0 / 365.0), np.log(3.0), count)),
        "rate": rate,
        "dividend_yield": dividend_yield,
        "is_call": random.random(count) < 0.5,
    }


def two_boundaries(count: int) -> Columns:
    """Options with two boundaries of exercise."""
    random = np.random.default_rng(12)
    higher = random.uniform(-0.03, 0.0, count)
    lower = higher - random.uniform(0.0, 0.04, count)
    vol = np.exp(random.uniform(np.log(0.02), np.log(0.6), count))
    expiry = np.exp(random.uniform(np.log(1.0 / 365.0), np.log(3.0), count))
    strike = SPOT * np.exp(np.clip(random.uniform(-2.5, 2.5, count) * vol * np.sqrt(expiry), -0.7, 0.7))
    is_call = random.random(count) < 0.5
    rate, dividend_yield = np.where(is_call, lower, higher), np.where(is_call, higher, lower)
    return {
        "vol": vol, "strike": strike, "expiry": expiry, "rate": rate, "dividend_yield": dividend_yield,
        "is_call": is_call,
    }  # fmt: skip


def kinds(columns: Columns) -> np.ndarray:
    """`[n]` how many boundaries of exercise there are, in words."""
    gain = np.where(columns["is_call"], columns["dividend_yield"], columns["rate"])
    loss = np.where(columns["is_call"], columns["rate"], columns["dividend_yield"])
    one = (gain > 0.0) | ((gain == 0.0) & (loss < 0.0))
    return np.where(one, "one boundary", np.where((gain < 0.0) & (loss < gain), "two boundaries", "no boundary"))


def main() -> None:
    tables = []
    for columns in (options(300), two_boundaries(100)):
        found = jaxcal(columns)()
        engine = QuantLib().pricer(lambda process: ql.FdBlackScholesVanillaEngine(process, 1000, 2000), columns)
        table = pd.DataFrame(columns).assign(kind=kinds(columns), found=found, reference=engine())
        tables.append(table.assign(error=(table["found"] - table["reference"]).abs() / SPOT))
        print(tables[-1].sort_values("error").tail(5).to_string())
    groups = [*tables[0].groupby("kind"), ("all 300", tables[0]), ("two boundaries, 100", tables[1])]
    rows = [
        {
            "kind": kind,
            "options": len(group),
            "not_a_number": int(group["found"].isna().sum()),
            "median": group["error"].median(),
            "p90": group["error"].quantile(0.9),
            "largest": group["error"].max(),
        }
        for kind, group in groups
    ]
    result = pd.DataFrame(rows)
    result.to_csv(RESULTS, index=False, float_format="%.3g")
    print(result.to_string(index=False))


if __name__ == "__main__":
    main()
