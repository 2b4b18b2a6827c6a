"""The files of a fit: what they hold, and that other programs can read them."""

import json
from pathlib import Path

import equinox as eqx
import jax.numpy as jnp
import pandas as pd
import pytest

from jaxcal.calibration.calibrate import calibrate
from jaxcal.calibration.results.fit import Fit
from jaxcal.market.cleaning.quote_report import QuoteReport, inspect_quotes
from jaxcal.market.surface import Surface
from jaxcal.models.diffusions.black_scholes import BlackScholes
from jaxcal.report.files import write_fit


@pytest.fixture(scope="module")
def report() -> QuoteReport:
    table = pd.DataFrame(
        {
            "underlying": "XYZ",
            "quote_time": pd.Timestamp("2026-01-05T10:00Z"),
            "expiry": 0.5,
            "strike": [-5.0, 90.0, 100.0, 110.0],
            "iv": [0.2, 0.22, 0.2, 0.21],
            "forward": 101.0,
        }
    )
    return inspect_quotes(table)


@pytest.fixture(scope="module")
def fit(report: QuoteReport) -> Fit:
    return calibrate(BlackScholes, Surface.from_quotes(report))


def strict_json(path: Path) -> dict:
    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


def test_three_files_in_a_new_folder(fit: Fit, report: QuoteReport, tmp_path: Path) -> None:
    paths = write_fit(fit, tmp_path / "a" / "b", report=report, source="xyz.csv")
    assert {name: path.name for name, path in paths.items()} == {
        "parameters": "parameters.json",
        "residuals": "residuals.csv",
        "smiles": "smiles.png",
    }
    record = strict_json(paths["parameters"])
    assert record["model"] == "BlackScholes"
    assert record["source"] == "xyz.csv"
    assert record["underlying"] == "XYZ"
    assert pd.Timestamp(record["quote_time"]) == pd.Timestamp("2026-01-05T10:00Z")
    assert record["parameters"] == {"sigma": pytest.approx(0.21, abs=1e-9)}
    # three deviations of 1, -1 and 0 points: standard error of their mean
    assert record["standard_errors"]["sigma"] == pytest.approx(0.01 / 3**0.5, rel=1e-6)
    assert record["converged"] is True
    assert record["status"] == str(fit.status)
    assert record["rmse_vol"] == pytest.approx(0.01 * (2 / 3) ** 0.5, rel=1e-6)
    assert record["quotes"] == {"used": 3, "left_out": {"strike not positive": 1}}


def test_residuals_are_the_frame_of_the_fit(fit: Fit, tmp_path: Path) -> None:
    read = pd.read_csv(write_fit(fit, tmp_path)["residuals"])
    pd.testing.assert_frame_equal(read, fit.to_frame(), check_dtype=False, rtol=1e-15)
    assert read["row"].tolist() == [1, 2, 3]


def test_what_is_not_a_number_is_null(fit: Fit, tmp_path: Path) -> None:
    failed = eqx.tree_at(lambda f: (f.model.sigma, f.rmse_vol), fit, (jnp.asarray(jnp.nan), jnp.asarray(jnp.nan)))
    record = strict_json(write_fit(failed, tmp_path)["parameters"])
    assert record["parameters"]["sigma"] is None
    assert record["rmse_vol"] is None
    assert record["quotes"] == {"used": 3, "left_out": None}


def test_a_folder_that_is_a_file_is_refused(fit: Fit, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(OSError, match="taken"):
        write_fit(fit, tmp_path / "taken")
