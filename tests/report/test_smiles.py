"""The picture of a fit: a panel for every smile, whatever their number, and no state left behind."""

import subprocess
import sys
from pathlib import Path

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.collections import LineCollection

from jaxcal.calibration.calibrate import calibrate
from jaxcal.calibration.results.fit import Fit
from jaxcal.market.surface import Surface
from jaxcal.models.diffusions.black_scholes import BlackScholes
from jaxcal.report.smiles import plot_smiles

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def forty() -> Fit:
    """Black-Scholes fitted to 40 monthly smiles of three quotes."""
    vol = np.broadcast_to([0.22, 0.2, 0.21], (40, 3))
    surface = Surface.from_vols(np.arange(1, 41) / 12.0, [90.0, 100.0, 110.0], vol, forward=100.0)
    return calibrate(BlackScholes, surface)


def first(fit: Fit, number: int) -> Fit:
    """The same fit as if it had only its first smiles."""
    alive = jnp.arange(fit.surface.weight.shape[0])[:, None] < number
    return eqx.tree_at(lambda f: f.surface.weight, fit, jnp.where(alive, fit.surface.weight, 0.0))


@pytest.fixture(scope="module")
def fit(forty: Fit) -> Fit:
    return first(forty, 2)


@pytest.mark.parametrize("number", [1, 7, 40])
def test_every_expiry_has_a_panel(forty: Fit, number: int) -> None:
    figure = plot_smiles(first(forty, number))
    assert len(figure.axes) == number
    assert all("days" in axes.get_title() for axes in figure.axes)
    figure.canvas.draw()


def test_panel_shows_market_model_and_error(fit: Fit, tmp_path: Path) -> None:
    path = tmp_path / "smiles.png"
    figure = plot_smiles(fit, path, title="Two smiles")
    assert path.read_bytes().startswith(PNG)
    axes = figure.axes[0]
    lines = {str(line.get_label()): line for line in axes.lines}
    np.testing.assert_allclose(np.asarray(lines["market"].get_ydata()), [22.0, 20.0, 21.0])
    np.testing.assert_allclose(np.asarray(lines["model"].get_ydata()), 100.0 * float(fit.model.sigma), rtol=1e-9)
    strikes = np.asarray(lines["model"].get_xdata())
    np.testing.assert_allclose(strikes[[0, -1]], [90.0, 110.0])
    assert "RMSE 0.82" in axes.get_title()
    assert figure.get_suptitle() == "Two smiles"


def test_bid_ask_bars_are_drawn_where_known(fit: Fit) -> None:
    assert not plot_smiles(fit).axes[0].collections
    wide = eqx.tree_at(lambda f: (f.surface.bid_vol, f.surface.ask_vol), fit, (fit.surface.vol - 0.01, fit.surface.vol))
    (bars,) = plot_smiles(wide).axes[0].collections
    assert isinstance(bars, LineCollection)
    ends = np.array(bars.get_segments())
    np.testing.assert_allclose(ends[:, 1, 1] - ends[:, 0, 1], 1.0)


def test_a_failed_fit_is_drawn_without_a_line(fit: Fit) -> None:
    failed = eqx.tree_at(lambda f: f.model.sigma, fit, jnp.asarray(jnp.nan))
    model = next(line for line in plot_smiles(failed).axes[0].lines if line.get_label() == "model")
    assert np.isnan(np.asarray(model.get_ydata())).all()


def test_panels_of_equal_days_are_told_apart(fit: Fit) -> None:
    years = fit.surface.expiry.at[:2].set(jnp.array([11.0, 11.3]) / 365.0)
    near = eqx.tree_at(lambda f: f.surface.expiry, fit, years)
    assert [axes.get_title().split(" ·")[0] for axes in plot_smiles(near).axes] == ["11.0 days", "11.3 days"]


def test_the_format_of_the_file_is_its_ending(fit: Fit, tmp_path: Path) -> None:
    plot_smiles(fit, tmp_path / "smiles.svg")
    assert b"<svg" in (tmp_path / "smiles.svg").read_bytes()
    with pytest.raises(ValueError, match="not supported"):
        plot_smiles(fit, tmp_path / "smiles.doc")


def test_importing_the_library_does_not_import_matplotlib() -> None:
    code = "import sys, jaxcal; jaxcal.calibrate; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
