"""The tables of docs/results/models.md are those that `benchmarks.tables.model_tables` makes of the results at hand."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import jaxcal as jc
from benchmarks.tables import model_tables
from benchmarks.tables.model_tables import CHAINS_PAGE, MODELS_PAGE, RESULTS, chain_page, chains, filled, read
from benchmarks.tables.readme_table import ROOT
from jaxcal.calibration.comparison import Comparison, Entry

PAGE = "".join(f"<!-- {name}: begin -->\nold {name}\n<!-- {name}: end -->\n" for name in model_tables.SECTIONS)
FITS = {
    "model": ["SVCJ", "Heston"],  # in the order of the page, not of the file
    "parameters": [10, 5],
    "ms, from a start": [20.04, 1.7649],
    "steps, from a start": [9, 5],
    "from a start": ["Converged: no ", "Converged: no "],
    "ms, from the data": [80.9, 3.5],
    "steps, from the data": [46, 5],
    "from the data": ["Not converged:", "Converged: no "],
}
RECOVERY = {
    "model": ["Heston", "SVCJ"],
    "truths": [200, 200],
    "recovered": [1.0, 0.955],
    "target": [0.999, 0.95],
    "misses": [None, "9 CONVERGED, 1e-4 to 1e-2"],
    "median_ms": [3.7283, 80.915],
}
MINIMA = {
    "chain": ["dax", "dax"],
    "quotes": [104, 104],
    "model": ["Heston", "Bates"],
    "rmse": [1.32111, 0.65],
    "seconds": [0.0127, 0.131],
    "outcome": ["CONVERGED", "STEP_LIMIT"],
    "best_rmse": [1.32111, 0.6328],
    "starts": [256, 256],
    "share_at_best": [1.0, 0.69921875],
    "excess": [0.0, 0.02718],
    "reached": [True, False],
}


def chain_row(chain: str, model: str, rmse: float, out: float, **more: object) -> dict[str, object]:
    row = {"chain": chain, "quotes": 1302, "model": model, "num_parameters": 5, "num_quotes": 1302}
    row |= {"rmse_points": rmse, "num_held_out": 260, "rmse_out_points": out, "aic": -9.0, "inside": 0.25}
    row |= {"inside_out": 0.2, "rmse_half_spreads": 3.456, "first_seconds": 2.0, "seconds": 0.0123, "num_steps": 7}
    return row | {"converged": True, "status": "Converged: no step within the bounds lowers the cost."} | more


NAN = float("nan")
CHAINS = pd.DataFrame(
    [
        chain_row("dax_2002-07-05", "Heston", 1.321, 1.5, inside=NAN, rmse_half_spreads=NAN),
        chain_row("btc_2025-12-05", "Heston", 3.0, 3.2),
        chain_row("btc_2026-01-08T15", "Heston", 2.0, 2.2, num_parameters=9),
        chain_row("btc_2026-02-19T15", "Heston", 4.0, 4.2, inside=0.75, converged=False, status="Not converged: why."),
        chain_row("btc_2026-02-19T15", "Kou", NAN, NAN, num_parameters=0, inside=NAN, converged=False, status="Error"),
        chain_row("btc_2026-01-08T15", "Kou", 5.0, 6.0, inside=NAN, rmse_half_spreads=NAN),
        chain_row("spx_2022-02-04", "Heston", 0.5, 0.6),
        chain_row("eth_2026-01-08T15", "Heston", 7.0, 8.0),
    ]
)


def test_pages_are_what_the_results_make_them() -> None:
    remedy = "run python -m benchmarks.tables.model_tables"
    page = MODELS_PAGE.read_text(encoding="utf-8")
    assert page == filled(page, RESULTS), remedy
    assert CHAINS_PAGE.read_text(encoding="utf-8") == chain_page(read(RESULTS, "real_chains")), remedy


def test_sections_without_results_say_so(tmp_path: Path) -> None:
    page = filled(PAGE, tmp_path)
    assert "old" not in page
    names = [name for name, _ in model_tables.SECTIONS.values()]
    modules = re.findall(r"Not measured yet: `python -m (benchmarks\.\w+\.\w+)` does it\.", page)
    assert sorted(module.split(".")[-1] for module in modules) == sorted(names)
    assert all((ROOT / f"{module.replace('.', '/')}.py").exists() for module in modules)
    assert "benchmarks.recorded.real_chains" in chain_page(None)


def test_figures_of_the_files_stand_in_the_tables(tmp_path: Path) -> None:
    for name, columns in (("model_fits", FITS), ("recovery", RECOVERY), ("local_minima", MINIMA)):
        pd.DataFrame(columns).to_csv(tmp_path / f"{name}.csv", index=False)
    CHAINS.to_csv(tmp_path / "real_chains.csv", index=False)
    page = filled(PAGE, tmp_path)
    lines = page.splitlines()
    assert lines.index("| `Heston` | 5 | 1.76 | 5 | converged | 3.5 | 5 | converged |") < lines.index(
        "| `SVCJ` | 10 | 20 | 9 | converged | 80.9 | 46 | not converged |"
    )
    assert "| `Heston` | 200 | 100.0 % | 99.9 % |  | 3.73 |" in lines
    assert "| `SVCJ` | 200 | 95.5 % | 95.0 % | 9 CONVERGED, 1e-4 to 1e-2 | 80.9 |" in lines
    assert "The best fit known was reached on so many chains: `Heston` 1 of 1, `Bates` 0 of 1." in page
    assert "| dax | 104 | `Bates` | 0.6500 | 0.6328 | 256 | 2.718 | no | 70 % | 0.13 | step limit |" in lines
    assert filled(page, tmp_path) == page


def test_chains_are_grouped_and_what_is_missing_is_said() -> None:
    lines = chains(CHAINS)
    heading = "| model | parameters | BTC, daily files (1) | BTC snapshots (2) | ETH snapshots (1) | US indices (1) "
    assert f"{heading}| DAX (1) | inside bid-ask | held out | RMSE in half-spreads | converged |" in lines
    heston = "| `Heston` | 5 to 9 | 3.00 / 3.20 | 3.00 / 3.20 | 7.00 / 8.00 | 0.50 / 0.60 | 1.32 / 1.50 | 25 % | 20 % "
    assert f"{heston}| 3.46 | 5 of 6 |" in lines
    assert "| `Kou` | 5 | – / – | 5.00 / 6.00 (1 only) | – / – | – / – | – / – | – | 20 % | 3.46 | 1 of 2 |" in lines


def test_shares_between_bid_and_ask_stand_by_chain() -> None:
    rows = [
        chain_row("btc_2025-12-05", "Kou", 1.0, 1.0),  # not one of those that are shown
        chain_row("btc_2025-12-05", "ClockedDoubleHeston in half-spreads", 1.0, 1.0, num_parameters=20, inside=0.8149),
        chain_row("btc_2025-12-05", "Heston", 1.0, 1.0, inside=0.2),
        chain_row("spx_2024-01-05 on a clock", "Heston", 1.0, 1.0),
        chain_row("dax_2002-07-05", "Heston", 1.0, 1.0, inside=NAN),
    ]
    lines = model_tables.inside(pd.DataFrame(rows))
    assert "| chain | quotes | `Heston` (5) | `ClockedDoubleHeston in half-spreads` (20) |" in lines
    assert lines[-2:] == [
        "| btc_2025-12-05 | 1,302 | 20 % | 81 % |",
        "| spx_2024-01-05 on a clock | 1,302 | 25 % | – |",
    ]


def test_columns_are_those_of_a_comparison() -> None:
    surface = jc.Surface.from_vols([0.5], [90.0, 100.0, 110.0], [[0.21, 0.2, 0.22]], forward=100.0)
    table = Comparison((Entry("Heston"),), surface, np.zeros((1, 8), bool)).to_frame()
    assert ["chain", "quotes", *table.columns] == list(CHAINS.columns)


def test_every_chain_has_its_own_table() -> None:
    page = chain_page(CHAINS)
    assert page.count("\n## ") == 6
    assert "## btc_2026-02-19T15, 1,302 quotes" in page
    converged = "| `Heston` | 5 | 1,302 | 3.000 | 3.200 | 25 % | 20 % | 3.46 | 12.3 | 7 | converged |"
    assert converged in page.splitlines()
    assert "| not converged |" in page


@pytest.mark.parametrize("page", ["", PAGE + "<!-- fits: end -->", PAGE.replace("fits: begin", "x")])
def test_page_without_its_markers_is_refused(page: str, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="<!-- fits: begin --> and <!-- fits: end --> once each"):
        filled(page, tmp_path)


def test_tables_are_no_doctests() -> None:
    assert ">>>" not in chain_page(read(RESULTS, "real_chains"))
