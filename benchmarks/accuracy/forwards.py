"""Forwards from put-call parity against the exchange's own, on every recorded snapshot of Deribit.

    python -m benchmarks.accuracy.forwards            # half a minute

Writes `benchmarks/results/forwards.csv`: one row a file and coin, and one for all, with the distance in basis points on
expiries with five pairs or more. "plain" is least squares through all two-sided pairs of an expiry, near the money or
not; "inside" is the share of the exchange's forwards within two standard errors of ours, and within six.
"""

from pathlib import Path

import jax
import numpy as np
import pandas as pd

import jaxcal as jc
from benchmarks.inputs.chains import DATA
from benchmarks.instruments.machine import description

RESULTS = Path(__file__).parents[1] / "results" / "forwards.csv"
_FEWEST = 5


def distances(path: Path) -> pd.DataFrame:
    """One row an expiry of a snapshot: the forwards given, by parity and by plain least squares, in basis points."""
    quotes = jc.read_quotes(path)
    given = jc.inspect_quotes(quotes).forwards
    found = jc.inspect_quotes(quotes.drop(columns="forward")).forwards
    key = ["underlying", "quote_time", "years"]
    both = given.merge(found, on=key, suffixes=("", "_parity"), how="left")
    both = both[both["num_pairs_parity"].ge(_FEWEST)]
    plain = _plain(quotes)
    years = (plain["expiry"] - plain["quote_time"]).dt.total_seconds()
    both = both.assign(second=(both["years"] * 31_536_000).round()).merge(
        plain.assign(second=years.round()), on=["underlying", "quote_time", "second"], how="left"
    )
    own = both["forward"]
    return pd.DataFrame(
        {
            "file": path.stem,
            "underlying": both["underlying"],
            "parity": 1e4 * (both["forward_parity"] / own - 1.0),
            "plain": 1e4 * (both["plain"] / own - 1.0),
            "error": 1e4 * both["forward_error_parity"] / own,
        }
    )


def _plain(quotes: pd.DataFrame) -> pd.DataFrame:
    """The F of `call - put = 1 - K / F`, in coin, by least squares over all pairs that have both sides."""
    key = ["underlying", "quote_time", "expiry", "strike"]
    two_sided = quotes[quotes["bid"].gt(0.0) & quotes["ask"].gt(0.0)]
    mid = (0.5 * (two_sided["bid"] + two_sided["ask"])).rename("mid")
    sides = two_sided[[*key, "option_type"]].join(mid).pivot_table(index=key, columns="option_type", values="mid")
    pairs = sides.dropna().reset_index()
    slope = pairs.assign(top=pairs["strike"] * (1.0 - pairs["C"] + pairs["P"]), bottom=pairs["strike"] ** 2)
    sums = slope.groupby(key[:3])[["top", "bottom"]].sum()
    return (sums["bottom"] / sums["top"]).rename("plain").reset_index()


def summary(rows: pd.DataFrame) -> dict[str, object]:
    """Medians and quantiles of a table of `distances`."""
    gap = rows["parity"].abs()
    return {
        "expiries": len(rows),
        "median_bp": gap.median(),
        "p95_bp": gap.quantile(0.95),
        "largest_bp": gap.max(),
        "bias_bp": rows["parity"].median(),
        "plain_median_bp": rows["plain"].abs().median(),
        "plain_p95_bp": rows["plain"].abs().quantile(0.95),
        "inside_2_errors": (gap <= 2.0 * rows["error"]).mean(),
        "inside_6_errors": (gap <= 6.0 * rows["error"]).mean(),
    }


def main() -> None:
    jax.config.update("jax_enable_x64", True)
    found = pd.concat([distances(path) for path in sorted((DATA / "deribit" / "snapshots").glob("*.parquet"))])
    assert np.isfinite(found["parity"]).all(), "an expiry with pairs has no forward"
    by_file = found.groupby(["file", "underlying"])
    rows = [{"file": file, "underlying": coin, **summary(group)} for (file, coin), group in by_file]
    rows += [{"file": "all", "underlying": coin, **summary(group)} for coin, group in found.groupby("underlying")]
    rows.append({"file": "all", "underlying": "all", **summary(found)})
    table = pd.DataFrame(rows).round(4)
    table.to_csv(RESULTS, index=False)
    print(table.to_string(index=False))
    print(*(f"{key}: {value}" for key, value in description().items()), sep="\n")


if __name__ == "__main__":
    main()
