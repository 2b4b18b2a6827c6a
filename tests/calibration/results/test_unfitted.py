"""What was not fitted has no numbers: neither a Fit, nor Fits, nor what is made of them."""

import json
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcal as jc
from tests.small_models import Line, Lines

SMILE = [0.25, 0.22, 0.2, 0.19, 0.2]
GOOD = jc.Surface.from_vols([0.5, 1.0], [80.0, 90.0, 100.0, 110.0, 120.0], [SMILE] * 2, forward=100.0)
EMPTY = eqx.tree_at(lambda s: s.weight, GOOD, 0.0 * GOOD.weight)
ONE = eqx.tree_at(lambda s: s.weight, EMPTY, EMPTY.weight.at[0, 2].set(1.0))  # too few for a line
LINES = Lines(0.2, 0.0)
ALONE = jc.Surface.from_vols([0.5], [100.0], [[0.2]], forward=100.0)
UNKNOWN = eqx.tree_at(lambda s: s.vol, GOOD, GOOD.vol.at[0, 0].set(jnp.nan))


def has_no_numbers(fit: jc.Fit) -> None:
    assert str(fit.status).startswith("Not fitted")
    assert not fit.status.fitted
    numbers = (fit.model, fit.standard_errors, fit.cost, fit.rmse_vol, fit.gradient, fit.residuals, fit.model_vol)
    for leaf in jax.tree.leaves((*numbers, fit.information)):
        assert np.isnan(np.asarray(leaf)).all()
    assert np.isnan([fit.inside, fit.rmse_half_spreads, fit.diagnostics().condition]).all()
    assert int(fit.num_steps) == 0
    assert fit.status.at_bounds == ()


@pytest.mark.parametrize(
    ("model", "surface"),
    [(Line, ONE), (Line, EMPTY), (Line, UNKNOWN), (LINES, ALONE), (LINES, EMPTY), (LINES, UNKNOWN)],
    ids=["Line-one", "Line-empty", "Line-unknown", "Lines-alone", "Lines-empty", "Lines-unknown"],
)
def test_no_number_of_a_surface_that_was_not_fitted(model, surface):
    fit = jc.calibrate(model, surface)
    if model is LINES and surface is UNKNOWN:  # expiry by expiry
        assert np.isnan(np.asarray(fit.model.level)).tolist() == [True, False]
        assert np.isnan(np.asarray(fit.model_vol)[0]).all()
        assert np.isnan(float(fit.rmse_vol))
        assert "over the others" in fit.summary()
        return
    has_no_numbers(fit)
    with pytest.raises(ValueError, match="no model to look at: Not fitted"):
        jc.model_arbitrage(fit)
    for kind in ("gauss_newton", "hessian", "sandwich"):
        assert np.isnan(jc.covariance(fit, kind).matrix).all()
    assert "Not fitted" in repr(fit)


@pytest.mark.parametrize(("model", "one"), [(Line, ONE), (LINES, ALONE)], ids=["Line", "Lines"])
def test_none_of_many_is_taken_for_the_best(model, one):
    fits = jc.calibrate_many(model, {"one": one, "empty": EMPTY, "text": "no surface", "good": GOOD})
    frame = fits.to_frame()
    assert frame["outcome"].tolist() == ["TOO_FEW_QUOTES", "TOO_FEW_QUOTES", "INVALID", "CONVERGED"]
    numbers = frame.drop(columns=["outcome", "status", "converged", "num_quotes", "num_steps"])
    assert numbers.loc[["one", "empty", "text"]].isna().all(axis=None)
    assert frame["num_steps"].tolist()[:3] == [0, 0, 0]
    assert frame["rmse_vol"].idxmin() == "good"
    assert frame.index[frame["rmse_vol"] < 0.5].tolist() == ["good"]
    assert np.isnan(fits.cost[:3]).all()
    has_no_numbers(fits["one"])


def test_other_precisions_and_losses():
    settings: Any
    for settings in ({"precision": "float32"}, {"precision": "mixed"}, {"loss": "huber"}):
        fits = jc.calibrate_many(Line, [ONE, UNKNOWN, GOOD], **settings)
        assert fits.converged.tolist() == [False, False, True]
        assert np.isnan(fits.rmse_vol).tolist() == [True, True, False]
        has_no_numbers(fits[0])
        has_no_numbers(fits[1])


def test_a_search_and_a_comparison():
    optima = jc.global_search(Line, ONE, num_starts=4)
    assert len(optima) == 1
    has_no_numbers(optima.best)
    entry = jc.compare([Line], ONE, repeats=0).entries[0]
    assert np.isnan([entry.rmse_points, entry.aic, entry.inside, entry.rmse_half_spreads]).all()


def test_a_stream_keeps_its_state_and_the_fit_has_no_numbers():
    recalibrator = jc.Recalibrator(jc.BlackScholes)
    has_no_numbers(recalibrator.step(None, EMPTY, 0.0)[1])
    state, fit = recalibrator.step(None, GOOD, 0.0)
    assert fit.converged
    assert state is not None
    for surface in (EMPTY, UNKNOWN):
        later, fit = recalibrator.step(state, surface, 1.0)
        has_no_numbers(fit)
        assert later is not None
        assert float(later.model.sigma) == float(state.model.sigma)
    assert recalibrator.step(state, GOOD, 1.0)[1].converged


def test_files_say_null(tmp_path: Path):
    paths = jc.write_fit(jc.calibrate(Line, ONE), tmp_path)
    record = json.loads(paths["parameters"].read_text(encoding="utf-8"), parse_constant=pytest.fail)
    assert record["parameters"] == record["standard_errors"] == {"level": None, "slope": None}
    assert [record[name] for name in ("rmse_vol", "cost", "inside", "rmse_half_spreads")] == [None] * 4
