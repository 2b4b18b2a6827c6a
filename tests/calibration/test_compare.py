"""Several models on one surface: the numbers are what they say, and a bad model costs the others nothing."""

import math

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcal as jc
from jaxcal.calibration.compare import held_out_quotes


class Broken(jc.AbstractFourierModel):
    """A model of a caller, with a mistake in it."""

    sigma: float
    bounds = {"sigma": jc.Interval(0.01, 3.0, "log")}  # noqa: RUF012

    def log_cf(self, z, t):
        raise KeyError("sigmaa")


@pytest.fixture(scope="module")
def comparison(dax):
    several = jc.Heston(0.1, jnp.asarray([1.0, 2.0]), 0.1, 1.0, -0.5)  # a batch, which one surface cannot start from
    return jc.compare({"flat": jc.BlackScholes, "broken": Broken(0.2), "Heston": jc.Heston, "two": several}, dax)


def entry(comparison, name):
    return next(entry for entry in comparison.entries if entry.name == name)


def test_every_fifth_quote_is_held_out(dax):
    held_out = held_out_quotes(dax)
    used = np.asarray(dax.weight) > 0
    assert np.flatnonzero(held_out[used]).tolist() == list(range(2, 104, 5))
    assert not held_out[~used].any()
    assert held_out.any(axis=-1).all()
    np.testing.assert_array_equal(held_out, held_out_quotes(dax))


def test_a_sparse_smile_keeps_its_quotes():
    vol = np.full((4, 8), np.nan)
    vol[0, :2] = vol[1, 0] = vol[2, 3:5] = vol[3, :] = 0.2  # quotes 0 1, 2, 3 4 and 5 to 12
    surface = jc.Surface.from_vols([0.1, 0.2, 0.3, 0.4], np.arange(90.0, 98.0), vol, forward=93.0)
    assert held_out_quotes(surface).sum(axis=-1).tolist() == [0, 0, 0, 2]
    assert np.flatnonzero(held_out_quotes(surface)[3]).tolist() == [2, 7]


def test_errors_in_sample_are_those_of_the_fit(comparison, dax, dax_fit):
    heston = entry(comparison, "Heston")
    assert heston.fit.cost == dax_fit.cost
    assert heston.rmse_points == pytest.approx(100 * float(dax_fit.rmse_vol), rel=1e-9)
    squares = float(jnp.nansum(dax_fit.residuals**2))
    assert heston.aic == pytest.approx(104 * math.log(squares / 104) + 2 * 5, rel=1e-9)
    assert (heston.num_parameters, heston.num_quotes, heston.num_held_out) == (5, 104, 21)
    assert heston.converged
    assert heston.reason == str(dax_fit.status)
    assert heston.first_seconds > 0
    assert 0 < heston.seconds < 10
    # AIC prefers five parameters to one where they explain something
    assert heston.aic < entry(comparison, "flat").aic - 100


def test_held_out_quotes_are_priced_by_the_fit_to_the_others(comparison, dax):
    held_out = held_out_quotes(dax)
    fit = jc.calibrate(jc.Heston, dax, weights=(~held_out).astype(float))
    expiry, forward = (np.broadcast_to(np.asarray(x)[:, None], held_out.shape) for x in (dax.expiry, dax.forward))
    strike = np.asarray(dax.strike)[held_out]
    vol = jc.model_vol(fit.model, strike, expiry[held_out], forward=forward[held_out])
    errors = np.asarray(vol) - np.asarray(dax.vol)[held_out]
    heston = entry(comparison, "Heston")
    assert heston.rmse_out_points == pytest.approx(100 * np.sqrt(np.mean(errors**2)), abs=1e-6)
    assert abs(heston.rmse_out_points - heston.rmse_points) > 0.01  # other quotes and another fit
    assert float(heston.refit.surface.weight[held_out].sum()) == 0


def test_a_model_that_cannot_be_fitted_says_why(comparison):
    broken, two = entry(comparison, "broken"), entry(comparison, "two")
    assert broken.reason == "KeyError: 'sigmaa'"
    assert two.reason == "ValueError: kappa has shape (2,), not that of one model"
    frame = comparison.to_frame().set_index("model")
    assert frame.index.tolist() == ["flat", "broken", "Heston", "two"]
    assert frame.loc["broken", ["rmse_points", "rmse_out_points", "aic", "seconds"]].isna().all()
    assert frame["converged"].tolist() == [True, False, True, False]
    assert not comparison.converged
    assert list(comparison.fits) == ["flat", "Heston"]
    assert "broken: KeyError: 'sigmaa'" in comparison.summary()


def test_parameters_stand_with_their_errors(comparison, dax_fit):
    frame = comparison.parameters().set_index(["model", "parameter"])
    assert len(frame) == 6
    assert frame.loc[("Heston", "rho"), "value"] == float(dax_fit.model.rho)
    assert frame.loc[("Heston", "rho"), "standard_error"] == float(dax_fit.standard_errors.rho)
    assert frame["expiry"].isna().all()


def test_too_few_quotes_give_no_numbers(dax):
    few = (np.arange(16) < 1) & (np.arange(8)[:, None] < 4)
    comparison = jc.compare([jc.Heston, jc.BlackScholes], dax, weights=few.astype(float), repeats=0)
    heston, flat = comparison.entries
    assert not heston.converged
    assert math.isnan(heston.rmse_points)
    assert math.isnan(heston.rmse_out_points)
    assert math.isnan(heston.aic)
    assert flat.converged
    assert flat.num_quotes == 4
    assert flat.num_held_out == 0  # every smile has one quote
    assert flat.refit is None
    assert math.isnan(flat.rmse_out_points)
    assert math.isnan(flat.seconds)


def test_inside_bid_ask_and_half_spreads(dax):
    """Against a flat fit at sigma: bid and ask half a point and two points from the mid, one quote without a bid."""
    sigma = float(jc.calibrate(jc.BlackScholes, dax).model.sigma)
    vol = np.asarray(dax.vol)
    used = np.asarray(dax.weight) > 0
    below, above = np.full(vol.shape, 0.005), np.full(vol.shape, 0.02)
    below[0, 0] = np.nan
    quoted = eqx.tree_at(lambda s: (s.bid_vol, s.ask_vol), dax, (jnp.asarray(vol - below), jnp.asarray(vol + above)))
    found = jc.compare([jc.BlackScholes], quoted, repeats=0)
    flat = found.entries[0]
    known = used & ~np.isnan(below)
    miss = (sigma - vol)[known]
    assert flat.inside == pytest.approx(np.mean((miss >= -0.005) & (miss <= 0.02)), abs=1e-12)
    assert 0.02 < flat.inside < 0.9
    held = found.held_out
    assert flat.held_out_vol is not None
    out = flat.held_out_vol[held] - np.asarray(dax.vol)[held]
    assert flat.inside_out == pytest.approx(np.mean((out >= -0.005) & (out <= 0.02)), abs=1e-12)
    assert 0.02 < flat.inside_out < 0.9
    assert flat.rmse_half_spreads == pytest.approx(np.sqrt(np.mean((miss / 0.0125) ** 2)), rel=1e-6)
    assert math.isnan(jc.compare([jc.BlackScholes], dax, repeats=0).entries[0].inside)


def test_errors_are_volatilities_whatever_is_made_small(dax):
    """Of a fit by another residual, in and out of sample."""
    spread = jnp.where(dax.weight > 0, 0.001 + 0.02 * jnp.abs(jnp.log(dax.strike / dax.forward[:, None])), jnp.nan)
    quoted = eqx.tree_at(lambda s: (s.bid_vol, s.ask_vol), dax, (dax.vol - spread, dax.vol + spread))
    settings = {"residual": jc.HalfSpreadResidual(), "loss": jc.Cauchy(1.0)}
    found = jc.compare({"Heston": jc.Heston}, quoted, repeats=0, **settings).entries[0]
    fit = jc.calibrate(jc.Heston, quoted, **settings)
    assert found.rmse_points == pytest.approx(100 * float(fit.rmse_vol), rel=1e-6)
    off = np.asarray(fit.model_vol - dax.vol)[np.asarray(dax.weight) > 0]
    half = np.asarray(spread)[np.asarray(dax.weight) > 0]
    assert found.rmse_half_spreads == pytest.approx(np.sqrt(np.mean((off / half) ** 2)), rel=1e-6)
    assert found.inside == pytest.approx(np.mean(np.abs(off) <= half))
    assert 0.5 < found.rmse_out_points < 5.0


def test_models_of_every_expiry():
    """SABR: three parameters each for the two expiries that have enough quotes, and each prices its own smile."""
    strike = np.array([80.0, 85.0, 90.0, 95.0, 100.0, 105.0, 110.0, 120.0])
    smiles = [np.asarray(jc.SABR(0.3, 1.0, rho, 1.2).vol(strike, 0.5, 100.0)) for rho in (-0.5, 0.2)]
    vol = np.stack([*smiles, np.where(np.arange(8) < 2, 0.25, np.nan)])
    noise = 0.002 * np.sin(np.arange(24.0)).reshape(3, 8)
    surface = jc.Surface.from_vols([0.5, 0.5001, 1.0], strike, vol + noise, forward=100.0)
    comparison = jc.compare([jc.SABR], surface, repeats=0)
    sabr = comparison.entries[0]
    assert sabr.num_parameters == 6
    assert (sabr.num_quotes, surface.num_quotes) == (16, 18)
    assert math.isnan(sabr.aic)  # of other quotes than those of a model that fits all of them
    assert "SABR: compared on 16 of 18 quotes only." in comparison.summary()
    assert 0 < sabr.rmse_points < 0.2
    held_out = held_out_quotes(surface)
    assert sabr.num_held_out == held_out.sum() == 3
    assert sabr.refit is not None
    model = sabr.refit.model
    errors = []
    for i in range(2):
        own = jc.SABR(*(float(getattr(model, name)[i]) for name in ("alpha", "beta", "rho", "nu")))
        fitted = own.vol(surface.strike[i], surface.expiry[i], surface.forward[i])
        errors += np.asarray(fitted - surface.vol[i])[held_out[i]].tolist()
    assert sabr.rmse_out_points == pytest.approx(100 * np.sqrt(np.mean(np.square(errors))), rel=1e-6)
    rows = comparison.parameters()
    assert rows["parameter"].tolist() == ["alpha", "rho", "nu"] * 2
    assert rows["expiry"].tolist() == [0.5] * 3 + [0.5001] * 3
    assert (rows["standard_error"] > 0).all()


def test_names(dax):
    compared = jc.compare([jc.BlackScholes, jc.BlackScholes(0.4), jc.BlackScholes], dax, repeats=0)
    assert [entry.name for entry in compared.entries] == ["BlackScholes", "BlackScholes (2)", "BlackScholes (3)"]
    costs = [float(fit.cost) for fit in compared.fits.values()]
    assert costs == pytest.approx([costs[0]] * 3, rel=1e-9)


@pytest.mark.parametrize("thing", [float, 3.0, "heston"])
def test_what_is_not_a_model_is_refused(dax, thing):
    with pytest.raises(TypeError, match="is not a model"):
        jc.compare(iter([jc.BlackScholes, thing]), dax)  # as an iterator: its items are not checked before


def test_wrong_arguments(dax):
    with pytest.raises(ValueError, match="no model"):
        jc.compare([], dax)
    with pytest.raises(ValueError, match="weights have shape"):
        jc.compare([jc.BlackScholes], dax, weights=np.ones(3))
