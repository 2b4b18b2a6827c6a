"""The table, the files and the picture of a comparison; and those of fits whose parameters are not plain numbers."""

import dataclasses
import json
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from rich.console import Console

import jaxcal as jc
from jaxcal.calibration.comparison import Comparison
from jaxcal.calibration.results.fit import Fit
from jaxcal.cli.console.fit_tables import comparison_table, fit_table
from jaxcal.report.comparison_picture import plot_comparison
from jaxcal.report.files import write_comparison, write_fit
from jaxcal.report.smiles import plot_smiles

STRIKES = np.array([80.0, 85.0, 90.0, 95.0, 100.0, 105.0, 110.0, 120.0])


class Broken(jc.AbstractFourierModel):
    """A model of a caller, with a mistake in it."""

    sigma: float
    bounds = {"sigma": jc.Interval(0.01, 3.0, "log")}  # noqa: RUF012

    def log_cf(self, z, t):
        raise KeyError("sigmaa")


def smiles(number: int) -> jc.Surface:
    vol = 0.2 + 0.3 * np.log(STRIKES / 100.0) ** 2 - 0.1 * np.log(STRIKES / 100.0)
    return jc.Surface.from_vols(np.arange(1, number + 1) / 4, STRIKES, np.tile(vol, (number, 1)), forward=100.0)


@pytest.fixture(scope="module")
def surface() -> jc.Surface:
    return smiles(2)


@pytest.fixture(scope="module")
def comparison(surface: jc.Surface) -> Comparison:
    starts = {"flat": jc.BlackScholes, "broken": Broken(0.2), "also flat": jc.BlackScholes(0.3)}
    return jc.compare(starts, surface, repeats=0)


@pytest.fixture(scope="module")
def quoted(comparison: Comparison) -> Comparison:
    """The same with a bid and an ask, as if the fits had seen them."""
    entries = tuple(
        dataclasses.replace(entry, inside=0.25, inside_out=0.2, rmse_half_spreads=2.0) for entry in comparison.entries
    )
    return dataclasses.replace(comparison, entries=entries)


def shown(comparison: Comparison, **settings) -> str:
    console = Console(width=160)
    with console.capture() as captured:
        console.print(comparison_table(comparison, **settings))
    return captured.get()


def row(text: str, name: str) -> list[str]:
    line = next(line for line in text.splitlines() if line.startswith(f"│ {name} "))
    return [cell.strip() for cell in line.strip("│").split("│")]


def entry_row(text: str, name: str) -> list[str]:
    return next(line for line in text.splitlines() if line.startswith(f"{name} ")).split()


def test_console_table(comparison: Comparison, quoted: Comparison) -> None:
    text = shown(comparison, title="Two smiles")
    flat = comparison.entries[0]
    assert text.startswith("Two smiles")
    expected = ["flat", "1", f"{flat.rmse_points:.3f}", f"{flat.rmse_out_points:.3f}", f"{flat.aic:.1f}", "-", "-"]
    assert entry_row(text, "flat")[:7] == expected
    assert entry_row(text, "broken")[1:] == ["-"] * 9
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 80
    assert "held out: 3 of 16 quotes" in text
    assert "broken: KeyError: 'sigmaa'" in text
    assert entry_row(shown(quoted), "flat")[5:8] == ["25%", "20%", "2.00"]


def test_files(quoted: Comparison, tmp_path: Path) -> None:
    paths = write_comparison(quoted, tmp_path / "deep", source="chain.csv")
    assert {name: path.name for name, path in paths.items()} == {
        "table": "comparison.csv", "record": "comparison.json", "picture": "comparison.png"
    }  # fmt: skip
    read = pd.read_csv(paths["table"])
    pd.testing.assert_frame_equal(read, quoted.to_frame(), check_dtype=False)
    assert paths["picture"].read_bytes().startswith(b"\x89PNG")

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    record = json.loads(paths["record"].read_text(encoding="utf-8"), parse_constant=refuse)
    flat, broken, _ = record["models"]
    assert record["source"] == "chain.csv"
    assert record["held_out"] == 3
    assert record["quotes"] == {"used": 16, "left_out": None}
    assert flat["parameters"]["sigma"] == pytest.approx(float(quoted.fits["flat"].model.sigma), rel=1e-12)
    assert flat["standard_errors"]["sigma"] > 0
    assert flat["seconds"] is None
    assert broken["status"] == "KeyError: 'sigmaa'"
    assert broken["parameters"] is None
    assert broken["converged"] is False


def lines(axes: Axes) -> dict[str, np.ndarray]:
    return {str(line.get_label()): np.asarray(line.get_ydata(), float) for line in axes.lines}


def widths(axes: Axes) -> list[float]:
    return [patch.get_width() for patch in axes.patches if isinstance(patch, Rectangle)]


def test_picture(comparison: Comparison, quoted: Comparison) -> None:
    figure = plot_comparison(comparison, title="Two smiles")
    errors, sizes, *panels = figure.axes
    assert figure.get_suptitle() == "Two smiles"
    assert [label.get_text() for label in errors.get_yticklabels()] == ["flat", "broken", "also flat"]
    assert widths(errors) == pytest.approx([comparison.entries[0].rmse_points, 0.0, comparison.entries[2].rmse_points])
    assert "not fitted" in [text.get_text() for text in errors.texts]
    assert sizes.get_xlabel() == "parameters"
    assert [axes.get_title() for axes in panels] == ["91 days", "182 days"]
    for axes in panels:
        assert list(lines(axes))[1:] == ["market", "flat", "also flat"]
        np.testing.assert_allclose(lines(axes)["flat"], 100 * float(comparison.fits["flat"].model.sigma), rtol=1e-9)
    colours = {line.get_color() for line in panels[0].lines if "flat" in str(line.get_label())}
    assert len(colours) == 2
    figure.canvas.draw()
    shares = plot_comparison(quoted).axes[1]
    assert widths(shares) == [25.0, 25.0, 25.0]


def test_picture_of_many_expiries_and_models() -> None:
    figure = plot_comparison(jc.compare([jc.BlackScholes(0.2)] * 11, smiles(20), repeats=0))
    panels = figure.axes[2:]
    days = [int(axes.get_title().split()[0]) for axes in panels]
    assert len(panels) == 12
    assert (days[0], days[-1]) == (91, 1825)
    assert len({(line.get_color(), line.get_linestyle()) for line in panels[0].lines[2:]}) == 11


def test_picture_without_any_fit(surface: jc.Surface, tmp_path: Path) -> None:
    nothing = jc.compare([Broken(0.2)], surface, repeats=0)
    figure = plot_comparison(nothing, tmp_path / "nothing.svg")
    assert len(figure.axes) == 2
    assert b"<svg" in (tmp_path / "nothing.svg").read_bytes()


KNOTS = jnp.asarray([0.25, 0.5])
SPECIAL = {
    "SVI": jc.SVI(*(jnp.asarray(x) for x in ([0.01, 0.03], [0.1, 0.05], [-0.4, 0.1], [0.0, 0.1], [0.2, 0.3]))),
    "SABR": jc.SABR(
        alpha=jnp.asarray([0.2, 0.3]), beta=jnp.ones(2), rho=jnp.asarray([-0.4, 0.2]), nu=jnp.asarray([0.9, 0.4])
    ),
    "SSVI": jc.SSVI(KNOTS, jnp.asarray([0.04, 0.05]), rho=-0.5, eta=1.0, gamma=0.4),
    "PiecewiseHeston": jc.PiecewiseHeston.of(jc.Heston(0.04, 1.5, 0.06, 0.7, -0.65), [0.4], vary=("theta",)),
}  # fmt: skip


def make_fit(model: jc.AbstractModel, like: Fit) -> Fit:
    """A fit that ended at `model`: what the reports read of it, without the time to fit."""
    arrays = jax.tree.map(jnp.asarray, model)
    slices = (2,) if model.per_expiry else ()
    free = tuple(name for name in model.bounds if name not in model.held)
    size = sum(np.size(getattr(model, name)) for name in free) // (2 if slices else 1)
    return dataclasses.replace(
        like, model=arrays, free=free, information=jnp.broadcast_to(jnp.eye(size), (*slices, size, size)),
        outcome=jnp.zeros(slices, jnp.int32), at_bound=jnp.zeros((*slices, size), bool),
    )  # fmt: skip


@pytest.mark.parametrize("name", SPECIAL)
def test_reports_of_models_with_several_numbers_a_parameter(name: str, comparison: Comparison, tmp_path: Path) -> None:
    model = SPECIAL[name]
    fit = make_fit(model, comparison.fits["flat"])
    drawn = [next(line for line in axes.lines if line.get_label() == "model") for axes in plot_smiles(fit).axes]
    strike, vol = (np.stack([np.asarray(get(line)) for line in drawn]) for get in (Line2D.get_xdata, Line2D.get_ydata))
    if np.ndim(fit.outcome):
        slices = [jax.tree.map(lambda leaf, i=i: leaf[i], model) for i in range(2)]
        expected = [jc.model_vol(own, strike[i], (i + 1) / 4, forward=100.0) for i, own in enumerate(slices)]
    else:
        expected = jc.model_vol(model, strike, np.array([[0.25], [0.5]]), forward=100.0)
    np.testing.assert_allclose(vol, 100 * np.asarray(expected), rtol=1e-9)
    record = json.loads(write_fit(fit, tmp_path)["parameters"].read_text(encoding="utf-8"))
    assert record["expiries"] == ([0.25, 0.5] if np.ndim(fit.outcome) else None)
    first = fit.free[0]
    assert record["parameters"][first] == pytest.approx(np.asarray(getattr(model, first)).tolist())
    assert np.all(np.asarray(record["standard_errors"][first]) > 0)
    fixed = [field for field in record["parameters"] if field not in fit.free]
    assert all(record["standard_errors"][field] is None for field in fixed)
    console = Console(width=100)
    with console.capture() as captured:
        console.print(fit_table(fit, truth=model))
    for label, value, _ in fit.table():
        cells = row(captured.get(), label)
        assert cells[1] == f"{value:.6g}"
        if not np.ndim(fit.outcome) or "[" in label:
            assert cells[3] == cells[1]


def test_an_expiry_without_a_model_has_no_line(comparison: Comparison) -> None:
    fit = make_fit(SPECIAL["SVI"], comparison.fits["flat"])
    gone = jax.tree.map(lambda leaf: leaf.at[0].set(jnp.nan), fit.model)
    without = eqx.tree_at(lambda f: f.model, fit, gone)
    first, second = (lines(axes)["model"] for axes in plot_smiles(without).axes)
    assert np.isnan(first).all()
    assert np.isfinite(second).all()
