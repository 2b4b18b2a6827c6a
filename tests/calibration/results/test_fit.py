"""What a Fit holds and prints, and whether its standard errors have the right size."""

import dataclasses

import equinox as eqx
import jax
import numpy as np
import pytest

import jaxcal as jc

COLUMNS = [
    "row", "expiry", "strike", "is_call", "forward", "discount", "market_vol", "bid_vol", "ask_vol", "model_vol",
    "residual", "weight",
]  # fmt: skip


def test_arrays(dax, dax_fit):
    used = np.asarray(dax.weight) > 0
    residuals, vol = np.asarray(dax_fit.residuals), np.asarray(dax_fit.model_vol)
    assert residuals.shape == vol.shape == dax.vol.shape
    assert (np.isfinite(residuals) == used).all()
    assert (np.isfinite(vol) == used).all()
    assert float(dax_fit.cost) == pytest.approx(0.5 * np.nansum(residuals**2), rel=1e-6)
    assert float(dax_fit.rmse_vol) == pytest.approx(np.sqrt(np.mean((vol - np.asarray(dax.vol))[used] ** 2)), rel=1e-12)
    assert dax_fit.information.shape == (5, 5)
    assert dax_fit.surface is dax
    assert dax_fit.free == ("v0", "kappa", "theta", "sigma", "rho")
    assert dax_fit.parameters == {name: float(getattr(dax_fit.model, name)) for name in dax_fit.free}


def test_residuals_are_not_weighted(dax):
    weights = np.full(dax.weight.shape, 4.0)
    fit = jc.calibrate(jc.Heston, dax, weights=weights)
    used = np.asarray(dax.weight) > 0
    difference = np.asarray(fit.model_vol - dax.vol)[used]
    np.testing.assert_allclose(np.asarray(fit.residuals)[used], difference, atol=2e-6)
    assert float(fit.cost) == pytest.approx(2.0 * np.sum(np.asarray(fit.residuals)[used] ** 2), rel=1e-6)


def test_to_frame(dax, dax_fit):
    quotes, frame = jc.dax_quotes("quantlib"), dax_fit.to_frame()
    assert list(frame.columns) == COLUMNS
    assert len(frame) == 104
    back = quotes.loc[frame["row"]].reset_index(drop=True)
    for ours, theirs in (("strike", "strike"), ("expiry", "expiry"), ("forward", "forward"), ("market_vol", "iv")):
        np.testing.assert_allclose(frame[ours], back[theirs], rtol=1e-15)
    np.testing.assert_allclose(frame["model_vol"] - frame["market_vol"], frame["residual"], atol=2e-6)
    assert (frame["weight"] == 1.0).all()
    assert frame["is_call"].equals(frame["strike"] >= frame["forward"])
    assert float(dax_fit.rmse_vol) == pytest.approx(
        np.sqrt(((frame["model_vol"] - frame["market_vol"]) ** 2).mean()), rel=1e-12
    )


def test_to_frame_has_the_quotes_used_only(dax):
    weights = np.where(np.arange(16) % 2 == 0, 2.0, 0.0) * np.ones((8, 1))
    frame = jc.calibrate(jc.Heston, dax, weights=weights).to_frame()
    assert len(frame) == 8 * 7
    assert (frame["weight"] == 2.0).all()
    assert frame["residual"].notna().all()


def test_summary(dax_fit):
    lines = dax_fit.summary().splitlines()
    assert lines[0].startswith("Heston: 104 quotes")
    assert lines[1] == str(dax_fit.status)
    words = {line.split()[0]: line.split()[1:] for line in lines[2:] if line}
    for name, value in dax_fit.parameters.items():
        printed, error = map(float, words[name])
        assert printed == pytest.approx(value, rel=1e-5)
        assert error == pytest.approx(float(getattr(dax_fit.standard_errors, name)), rel=1e-3)
    assert float(words["RMSE,"][-1]) == pytest.approx(100 * float(dax_fit.rmse_vol), abs=1e-4)
    assert int(words["steps"][-1]) == dax_fit.num_steps


def test_fit_is_a_frozen_pytree(dax_fit):
    leaves, tree = jax.tree.flatten(dax_fit)
    again = jax.tree.unflatten(tree, leaves)
    assert again.summary() == dax_fit.summary()
    with pytest.raises(dataclasses.FrozenInstanceError):
        dax_fit.cost = 0.0


def test_standard_errors_by_definition(dax, dax_fit):
    """From derivatives of the model's volatilities by finite differences: s^2 (J' J)^-1 in natural parameters."""
    used = np.asarray(dax.weight) > 0

    def vols(parameters):
        model = jc.Heston(**parameters)
        vol = jc.model_vol(model, dax.strike, dax.expiry[:, None], forward=dax.forward[:, None])
        return np.asarray(vol)[used]

    columns = []
    for name, value in dax_fit.parameters.items():
        step = 1e-4 * abs(value)
        up, down = (vols({**dax_fit.parameters, name: value + sign * step}) for sign in (1, -1))
        columns.append((up - down) / (2 * step))
    jacobian = np.stack(columns, axis=1)
    noise = np.sum((vols(dax_fit.parameters) - np.asarray(dax.vol)[used]) ** 2) / (104 - 5)
    expected = np.sqrt(noise * np.diagonal(np.linalg.inv(jacobian.T @ jacobian)))
    np.testing.assert_allclose(np.array(jax.tree.leaves(dax_fit.standard_errors)), expected, rtol=1e-3)


def test_standard_errors_have_the_size_of_the_scatter(options, truth):
    """200 surfaces with independent noise of a twentieth of a vol point: the fits scatter as reported."""
    random, noise = np.random.default_rng(11), 5e-4
    found, reported, rmse = [], [], []
    for _ in range(200):
        vol = options.vol + noise * random.standard_normal(options.vol.shape)
        fit = jc.calibrate(jc.Heston, eqx.tree_at(lambda s: s.vol, options, vol))
        assert fit.converged
        found.append([float(x) for x in jax.tree.leaves(fit.model)])
        reported.append([float(x) for x in jax.tree.leaves(fit.standard_errors)])
        rmse.append(float(fit.rmse_vol))
    # the floor under the residual makes a few wing quotes count less in the fit than in rmse_vol
    assert np.mean(rmse) == pytest.approx(noise * np.sqrt(115 / 120), rel=0.1)
    scatter, mean = np.std(found, axis=0, ddof=1), np.mean(reported, axis=0)
    np.testing.assert_allclose(scatter / mean, 1.0, atol=0.25)
    # and the truth is where they say, not beside it
    bias = (np.mean(found, axis=0) - np.array(jax.tree.leaves(truth))) / (scatter / np.sqrt(200))
    assert (np.abs(bias) < 4.0).all()
