"""The table of a fit: numbers a person reads, and a word where there is no number."""

import dataclasses

import equinox as eqx
import jax.numpy as jnp
import pytest
from rich.console import Console

from jaxcal.calibration.calibrate import calibrate
from jaxcal.calibration.results.fit import Fit
from jaxcal.cli.console.fit_tables import fit_table
from jaxcal.market.surface import Surface
from jaxcal.models.diffusions.heston import Heston
from jaxcal.synthetic import synthetic_surface

TRUTH = Heston(v0=0.04, kappa=1.5, theta=0.06, sigma=0.7, rho=-0.65)


@pytest.fixture(scope="module")
def surface() -> Surface:
    return synthetic_surface(TRUTH, expiry=[0.1, 0.5])


@pytest.fixture(scope="module")
def fit(surface: Surface) -> Fit:
    return calibrate(TRUTH, surface)


def text(fit: Fit, **settings) -> str:
    console = Console(width=100, record=True, file=None, quiet=False)
    with console.capture() as captured:
        console.print(fit_table(fit, **settings))
    return captured.get()


def row(shown: str, name: str) -> list[str]:
    line = next(line for line in shown.splitlines() if line.startswith(f"│ {name} "))
    return [cell.strip() for cell in line.strip("│").split("│")]


def test_values_errors_and_status(fit: Fit) -> None:
    shown = text(fit, title="Made-up chain", truth=TRUTH)
    assert "Made-up chain" in shown.splitlines()[0]
    assert row(shown, "v0")[1:] == ["0.04", row(shown, "v0")[2], "0.04"]
    assert float(row(shown, "v0")[2]) < 1e-6  # exact quotes leave no error to speak of
    assert "16 quotes, 2 expiries" in shown
    assert str(fit.status) in shown


def test_without_truth_there_is_no_column_for_it(fit: Fit) -> None:
    assert "truth" not in text(fit)
    assert len(row(text(fit), "rho")) == 3


def test_a_missing_standard_error_is_explained(fit: Fit) -> None:
    unknown = eqx.tree_at(lambda f: f.information, fit, jnp.zeros((5, 5)))
    two = {"information": jnp.eye(2), "at_bound": jnp.asarray([False, True])}
    fixed = dataclasses.replace(fit, free=("v0", "theta"), **two)
    assert row(text(unknown), "theta") == ["theta", "0.06", "not determined"]
    assert row(text(fixed), "theta")[2] == "at its bound"
    assert row(text(fixed), "kappa")[2] == "fixed"
