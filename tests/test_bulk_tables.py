"""The benchmarks of many surfaces: their tables, the operations counted, and the end without an accelerator."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.instruments import roofline
from benchmarks.tables import bulk_tables, readme_table
from benchmarks.tables.bulk_tables import PAGE, RESULTS, merged, page, readme_rows

ROOT = Path(__file__).resolve().parents[1]
ABOUT = dict.fromkeys(bulk_tables.ABOUT, "x") | {"machine": "Chip, 2 cores", "commit": "abc", "date": "2026-01-01"}
PEERS = [
    {"part": "peers", "row": "jaxcal, float64", "surfaces": 1024, "surfaces/s": 1634.4, "CPU ms": 1.071,
     "recovered": 1.0, "QuantLib, Analytic CPU / CPU": 151.26, "fourier-option-pricer CPU / CPU": 71.94},
    {"part": "peers", "row": "QuantLib, Analytic", "surfaces": 32, "surfaces/s": 6.2, "CPU ms": 162.0,
     "recovered": 0.96875, "QuantLib, Analytic CPU / CPU": 1.0, "fourier-option-pricer CPU / CPU": np.nan},
]  # fmt: skip
NOISE = [{"part": "noise", "row": "noise 1 %", "surfaces": 1024, "surfaces/s": 900.0, "mean steps": 5.66}]


def table(tmp_path: Path) -> pd.DataFrame:
    merged(tmp_path / "bulk.csv", [row | ABOUT for row in NOISE])
    return merged(tmp_path / "bulk.csv", [row | ABOUT for row in PEERS])


def test_a_part_that_runs_again_replaces_its_rows(tmp_path: Path) -> None:
    first = table(tmp_path)
    assert first["part"].tolist() == ["peers", "peers", "noise"]
    again = merged(tmp_path / "bulk.csv", [{**NOISE[0], "surfaces/s": 5.0, **ABOUT}])
    assert again["part"].tolist() == ["peers", "peers", "noise"]
    assert pd.read_csv(tmp_path / "bulk.csv")["surfaces/s"].tolist() == [1634.4, 6.2, 5.0]


def test_figures_stand_in_the_tables(tmp_path: Path) -> None:
    lines = page(table(tmp_path)).splitlines()
    assert "| jaxcal, float64 | 1,024 | 1,634 | 1.07 | 100.00% | 151 | 71.9 |" in lines
    assert "| QuantLib, Analytic | 32 | 6.2 | 162 | 96.88% | 1 | – |" in lines
    assert "| noise 1 % | 1,024 | 900 | 5.7 |" in lines
    assert "- machine: Chip, 2 cores" in lines
    assert "## Quotes of a surface" not in lines  # not measured


def test_readme_takes_its_rows_from_the_csv(tmp_path: Path) -> None:
    lines = readme_rows(table(tmp_path))
    assert lines[0].startswith("| 1,024 Heston surfaces, cold starts | surfaces/s | CPU ms |")
    assert lines[2] == "| jaxcal, float64 | 1,634 | 1.07 | 100.00% | 151 | 71.9 |"
    assert lines[-1] == "Chip, 2 cores; commit abc; 2026-01-01."
    assert readme_table.bulk(tmp_path) == ["", *lines]
    assert readme_table.bulk(tmp_path / "nowhere") == []


def test_docs_are_what_the_results_make_them() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text == page(pd.read_csv(RESULTS / "bulk.csv")), "run python -m benchmarks.tables.readme_table"
    assert ">>>" not in text


def test_limit_is_that_of_the_scarcer_resource() -> None:
    plenty = 1e18
    assert roofline.limit(roofline.Peak(1e9, plenty, plenty), 5, 0) == pytest.approx(0.2e9 / roofline.INSTRUCTIONS)
    slow = roofline.limit(roofline.Peak(plenty, plenty, 1e6), 0, 10)
    assert slow == pytest.approx(1e5 / (4 * roofline.NUMBERS))
    # six multiply-adds for each of 128 quotes and 72 numbers are the least that a step can do
    assert roofline.INSTRUCTIONS > 6 * 128 * 72
    assert roofline.peak_of("NVIDIA H200") == roofline.PEAKS["H200"]
    assert roofline.peak_of("cpu") is None


def test_without_an_accelerator_the_benchmark_says_so() -> None:
    command = [sys.executable, "-m", "benchmarks.speed.gpu"]
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "no accelerator"), done.stderr
