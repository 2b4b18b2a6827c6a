"""The tables of docs/results/models.md, from the files of the last runs: `python -m benchmarks.tables.model_tables`.

Replaces what stands between the markers `<!-- fits: begin -->` and `<!-- fits: end -->`, and likewise for recovery,
gallery, minima, chains, inside and snapshots, and writes docs/results/model_chains.md with every chain by itself. The
figures are those of `results/{model_fits,recovery,gallery,local_minima,real_chains,snapshots}.csv`, rounded; only the
medians over chains and snapshots are computed here.
"""

import argparse
import math
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.accuracy.recovery import MODELS
from benchmarks.recorded.snapshots import by_model as by_model_of_snapshots
from benchmarks.tables.readme_table import ROOT, markdown

RESULTS = ROOT / "benchmarks" / "results"
PAGES = ROOT / "docs" / "results"
MODELS_PAGE, CHAINS_PAGE = PAGES / "models.md", PAGES / "model_chains.md"
NONE = "–"
US, ON_A_CLOCK = ("ndx", "spx"), "US indices on a clock"
INSIDE = (
    "Heston", "Bates", "SVCJ", "DoubleHeston", "PiecewiseBates by spread", "ClockedDoubleHeston",
    "ClockedDoubleHeston by spread", "ClockedDoubleHeston in half-spreads", "ClockedHestonJumps in half-spreads",
    "ESSVI in half-spreads", "ArbitrageFreeSVI in half-spreads",
)  # fmt: skip


def fits(table: pd.DataFrame) -> list[str]:
    """One row a model: a warm fit from a start nearby, and from the data."""
    sources = ("from a start", "from the data")
    heading = [
        "model",
        "parameters",
        *(f"{what} {source}" for source in sources for what in ("ms", "steps", "outcome")),
    ]
    rows = [
        [f"`{row['model']}`", number(row["parameters"], ".0f")]
        + [
            cell
            for source in sources
            for cell in (
                number(row[f"ms, {source}"], ".3g"),
                number(row[f"steps, {source}"], ".0f"),
                outcome(row[source]),
            )
        ]
        for row in by_model(table)
    ]
    about = "A start is 10 % off in every parameter; of a model with parameters of each expiry it is the truth itself."
    return [*paragraph(about), "", *markdown(heading, rows)]


def recovery(table: pd.DataFrame) -> list[str]:
    """One row a model: how many random truths were found again, and how the others were missed."""
    rows = [
        [
            f"`{row['model']}`",
            number(row["truths"], ".0f"),
            percent(row["recovered"]),
            percent(row["target"]),
            "" if pd.isna(row["misses"]) else str(row["misses"]),
            number(row["median_ms"], ".3g"),
        ]
        for row in by_model(table)
    ]
    about = (
        "Recovered: every volatility of the fitted model is within 1e-6 of the truth's. Misses are counted by how the "
        "fit ended and by their largest error of a volatility."
    )
    return [*paragraph(about), "", *markdown(["model", "truths", "recovered", "target", "misses", "median ms"], rows)]


def gallery(table: pd.DataFrame) -> list[str]:
    """One row a kind of Heston truth."""
    rows = [
        [
            str(row["kind"]),
            str(row["Feller"]),
            number(row["truths"], ",.0f"),
            percent(row["recovered"], ".2f"),
            "" if pd.isna(row["misses"]) else str(row["misses"]),
            number(row["converged, error above 1e-4"], ".0f"),
            number(row["median_steps"], ".0f"),
        ]
        for row in table.to_dict("records")
    ]
    heading = ["truths like", "Feller's condition", "truths", "recovered", "misses"]
    return markdown([*heading, "converged, error above 1e-4", "median steps"], rows)


def minima(table: pd.DataFrame) -> list[str]:
    """One row a chain and model: the default fit against the best of many random starts."""
    counts = table.groupby("model", sort=False)["reached"].agg(["sum", "count"])
    reached = ", ".join(f"`{model}` {row['sum']} of {row['count']}" for model, row in counts.iterrows())
    order = {model: place for place, model in enumerate(models_of(table))}
    rows = [
        [
            str(row["chain"]),
            number(row["quotes"], ",.0f"),
            f"`{row['model']}`",
            number(row["rmse"], ".4f"),
            number(row["best_rmse"], ".4f"),
            number(row["starts"], ".0f"),
            number(100.0 * row["excess"], ".3f"),
            "yes" if row["reached"] else "no",
            percent(row["share_at_best"], ".0f"),
            number(row["seconds"], ".2g"),
            str(row["outcome"]).lower().replace("_", " "),
        ]
        for row in table.sort_values("model", key=lambda names: names.map(order), kind="stable").to_dict("records")
    ]
    heading = ["chain", "quotes", "model", "RMSE, vol points", "best RMSE of the starts", "starts", "excess %"]
    heading += ["reached", "starts that got there", "seconds", "outcome"]
    about = (
        "Excess: of the default fit's error over the least known. Reached: that is at most 0.1 % for `Heston` and 1 % "
        "for the others. Of a fit in half-spreads the error is the root of twice the cost a quote. Starts that got "
        "there: within 0.1 % of the best of them. Seconds: of the default fit, warm."
    )
    about = f"The best fit known was reached on so many chains: {reached}. {about}"
    return [*paragraph(about), "", *markdown(heading, rows)]


def chains(table: pd.DataFrame) -> list[str]:
    """One row a model: medians over the chains of each group."""
    group = table["chain"].map(group_of)
    groups = {name: table.loc[group == name, "chain"].nunique() for name in GROUPS if (group == name).any()}
    heading = ["model", "parameters", *(f"{name} ({count})" for name, count in groups.items())]
    heading += ["inside bid-ask", "held out", "RMSE in half-spreads", "converged"]
    most = table.loc[table["inside"].notna() & (group != ON_A_CLOCK), "chain"].nunique()
    rows = []
    for model in models_of(table):
        own = table[table["model"] == model]
        cells = []
        for name, count in groups.items():
            these = own[own["chain"].map(group_of) == name]
            known = int(these["rmse_points"].notna().sum())
            errors = " / ".join(number(these[column].median(), ".2f") for column in ("rmse_points", "rmse_out_points"))
            cells.append(errors + (f" ({known} only)" if 0 < known < count else ""))
        once = own[group[own.index] != ON_A_CLOCK]
        known = int(once["inside"].notna().sum())
        cells += [percent(once["inside"].median(), ".0f") + (f" ({known} only)" if 0 < known < most else "")]
        cells += [percent(once["inside_out"].median(), ".0f")]
        cells += [number(once["rmse_half_spreads"].median(), ".2f")]
        rows.append([f"`{model}`", span(own), *cells, f"{int(own['converged'].sum())} of {len(own)}"])
    about = (
        "In a cell: error of the quotes used / of the quotes held out, each the median over the chains of a group, "
        "whose number is in brackets. Share inside bid-ask, the same of quotes held out, and error in half-spreads are "
        "medians over all chains that have bid and ask, those of indices in calendar time. "
        "Converged: of how many chains the fit to all quotes did. A model with parameters of each "
        "expiry has as many as its row says on the chains with fewest and most expiries. "
        f"[Every chain by itself]({CHAINS_PAGE.name})."
    )
    return [*paragraph(about), "", *markdown(heading, rows)]


def inside(table: pd.DataFrame) -> list[str]:
    """One row a chain: share of quotes fitted between bid and ask, by model."""
    table = table[table["inside"].notna()]
    found = [name for name in INSIDE if name in set(table["model"])]
    counts = [span(table[table["model"] == name]) for name in found]
    heading = ["chain", "quotes", *(f"`{name}` ({count})" for name, count in zip(found, counts, strict=True))]
    rows = []
    for chain in sorted(set(table["chain"])):
        own = table[table["chain"] == chain].set_index("model")["inside"]
        quotes = table.loc[table["chain"] == chain, "quotes"].iloc[0]
        rows.append([chain, f"{quotes:,}", *(percent(own.get(name), ".0f") for name in found)])
    about = (
        "Share of the quotes with bid and ask whose fitted volatility lies between them; in brackets the number of "
        f"parameters. The same for every model is on [the page of all chains]({CHAINS_PAGE.name})."
    )
    return [*paragraph(about), "", *markdown(heading, rows)]


def snapshots(table: pd.DataFrame) -> list[str]:
    """One row a model: medians over all recorded snapshots of Deribit."""
    heading = ["model", "snapshots", "converged", "rows", "kept", "RMSE, vol points", "half-spread, vol points"]
    heading += ["RMSE in half-spreads", "median error in half-spreads", "inside bid-ask", "steps"]
    rows = [
        [
            f"`{model}`",
            number(row["surfaces"], ".0f"),
            percent(row["converged"]),
            number(row["rows"], ",.0f"),
            percent(row["kept"]),
            *(number(row[f"{what}_points"], ".2f") for what in ("rmse", "half_spread")),
            *(number(row[f"{what}_half_spreads"], ".2f") for what in ("rmse", "median")),
            percent(row["inside"], ".0f"),
            number(row["steps"], ".0f"),
        ]
        for model, row in by_model_of_snapshots(table).loc[models_of(table)].iterrows()
    ]
    about = (
        "Every recorded snapshot, BTC and ETH, through the profile `crypto()` and `calibrate_many`. Kept: of all rows, "
        "both sides of every strike among them. The other figures are medians over the snapshots."
    )
    return [*paragraph(about), "", *markdown(heading, rows)]


def chain_page(table: pd.DataFrame | None) -> str:
    """The page with a table for every chain."""
    lines = [
        "# The models on every recorded chain",
        "",
        "Made by `python -m benchmarks.tables.model_tables`; [the results of the models](models.md) have the medians.",
        "",
    ]
    if table is None:
        return "\n".join([*lines, missing("real_chains"), ""])
    about = (
        "RMSE in vol points, of the quotes used and of every fifth quote under a fit to the others; share of quotes "
        "fitted from bid to ask, and of those held out; RMSE in half-spreads; a warm fit. A model that needs more "
        "quotes than some expiries have is measured on fewer quotes than the others."
    )
    lines += [*paragraph(about), ""]
    heading = [
        "model",
        "parameters",
        "quotes",
        "RMSE",
        "held out",
        "inside",
        "held out",
        "in half-spreads",
        "ms",
        "steps",
        "outcome",
    ]
    for chain in table["chain"].drop_duplicates():
        own = table[table["chain"] == chain]
        rows = [
            [
                f"`{row['model']}`",
                number(row["num_parameters"] or None, ".0f"),
                number(row["num_quotes"], ",.0f"),
                number(row["rmse_points"], ".3f"),
                number(row["rmse_out_points"], ".3f"),
                percent(row["inside"], ".0f"),
                percent(row["inside_out"], ".0f"),
                number(row["rmse_half_spreads"], ".2f"),
                number(1e3 * row["seconds"], ".3g"),
                number(row["num_steps"], ".0f"),
                outcome(row["status"]),
            ]
            for row in by_model(own)
        ]
        lines += [f"## {chain}, {own['quotes'].iloc[0]:,} quotes", "", *markdown(heading, rows), ""]
    return "\n".join(lines)


SECTIONS: dict[str, tuple[str, Callable[[pd.DataFrame], list[str]]]] = {
    "fits": ("model_fits", fits),
    "recovery": ("recovery", recovery),
    "gallery": ("gallery", gallery),
    "minima": ("local_minima", minima),
    "chains": ("real_chains", chains),
    "inside": ("real_chains", inside),
    "snapshots": ("snapshots", snapshots),
}
GROUPS = (
    "BTC, daily files", "BTC snapshots", "ETH snapshots", "US indices", "US indices on a clock", "DAX", "other",
)  # fmt: skip


def group_of(chain: str) -> str:
    """Which of `GROUPS` a chain belongs to, by its name: a snapshot has an hour in it."""
    asset, _, time = chain.partition("_")
    if asset in US:
        return ON_A_CLOCK if chain.endswith("on a clock") else "US indices"
    names = {"btc": "BTC snapshots" if "T" in time else "BTC, daily files", "eth": "ETH snapshots", "dax": "DAX"}
    return names.get(asset, "other")


def models_of(table: pd.DataFrame) -> list[str]:
    """The models of a table in the order of the page, those it does not know last."""
    known = MODELS.split(",")
    found = list(dict.fromkeys(table["model"]))
    return [name for name in known if name in found] + [name for name in found if name not in known]


def by_model(table: pd.DataFrame) -> list[dict[str, Any]]:
    rows: dict[Any, Any] = {row["model"]: row for row in table.to_dict("records")}
    return [rows[name] for name in models_of(table)]


def number(value: Any, form: str) -> str:
    return NONE if pd.isna(value) or math.isinf(value) else format(value, form)


def percent(value: Any, form: str = ".1f") -> str:
    return NONE if pd.isna(value) else f"{100.0 * value:{form}} %"


def outcome(sentence: Any) -> str:
    """What stands before the colon of a status, in lower case; "not fitted" of an error."""
    start = str(sentence).partition(":")[0].lower()
    return start if start in ("converged", "not converged") else "not fitted"


def paragraph(text: str) -> list[str]:
    """The lines of a text as long as those of the page around it."""
    return textwrap.wrap(text, 120, break_long_words=False, break_on_hyphens=False)


def span(table: pd.DataFrame) -> str:
    """The number of parameters, or the least and the greatest."""
    counts = table.loc[table["num_parameters"] > 0, "num_parameters"]
    if counts.empty:
        return NONE
    least, greatest = int(counts.min()), int(counts.max())
    return str(least) if least == greatest else f"{least} to {greatest}"


def missing(name: str) -> str:
    folder = "recorded" if name in ("real_chains", "snapshots") else "accuracy"
    return f"Not measured yet: `python -m benchmarks.{folder}.{name}` does it."


def read(results: Path, name: str) -> pd.DataFrame | None:
    path = results / f"{name}.csv"
    return pd.read_csv(path) if path.exists() else None


def filled(page: str, results: Path) -> str:
    """A page with every section made anew from the files in a folder of results."""
    for section, (name, render) in SECTIONS.items():
        begin, end = f"<!-- {section}: begin -->", f"<!-- {section}: end -->"
        if page.count(begin) != 1 or page.count(end) != 1 or page.index(begin) > page.index(end):
            raise SystemExit(f"the page must hold {begin} and {end} once each, in this order")
        table = read(results, name)
        block = "\n".join([missing(name)] if table is None else render(table))
        page = f"{page.split(begin)[0]}{begin}\n{block}\n{end}{page.split(end)[1]}"
    return page


def main() -> None:
    """Write both pages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    MODELS_PAGE.write_text(filled(MODELS_PAGE.read_text(encoding="utf-8"), options.results), encoding="utf-8")
    CHAINS_PAGE.write_text(chain_page(read(options.results, "real_chains")), encoding="utf-8")


if __name__ == "__main__":
    main()
