"""The DAX surface of 5 July 2002, on which published Heston fits can be compared."""

import jax.numpy as jnp
import numpy as np
import pytest

import jaxcal as jc

PUBLISHED = {"v0": 0.1957, "kappa": 15.66, "theta": 0.0746, "sigma": 3.36, "rho": -0.5115}


def squared_vol_points(fit):
    """Sum over the quotes of squared implied-volatility errors, in squared vol points, uniform weights."""
    return 1e4 * float(jnp.nansum((fit.model_vol - fit.surface.vol) ** 2))


def test_implied_vol_fit_is_the_published_one(dax_fit):
    assert dax_fit.converged
    assert 2e4 * float(dax_fit.cost) == pytest.approx(177.2, abs=0.1)
    assert squared_vol_points(dax_fit) == pytest.approx(2e4 * float(dax_fit.cost), rel=1e-6)
    for name, value in PUBLISHED.items():
        assert f"{getattr(dax_fit.model, name):.3g}" == f"{value:.3g}", name


def test_vega_weighted_fit_ends_elsewhere(dax):
    """The vega-weighted optimum, measured in the same sum of squared implied-volatility errors, stands at 203.4."""
    fit = jc.calibrate(jc.Heston, dax, residual=jc.VegaPriceResidual())
    assert fit.converged
    assert squared_vol_points(fit) == pytest.approx(203.4, abs=0.1)


def test_misfit_can_be_priced_again_by_another_method(dax, dax_fit):
    """The reported volatilities are the model's: priced one by one, outside the fit."""
    used = np.asarray(dax.weight) > 0
    again = jc.model_vol(dax_fit.model, dax.strike, dax.expiry[:, None], forward=dax.forward[:, None])
    np.testing.assert_allclose(np.asarray(dax_fit.model_vol)[used], np.asarray(again)[used], atol=1e-9)
    np.testing.assert_allclose(np.asarray(dax_fit.residuals)[used], np.asarray(again - dax.vol)[used], atol=2e-6)
    rmse = np.sqrt(np.mean(np.asarray(again - dax.vol)[used] ** 2))
    assert float(dax_fit.rmse_vol) == pytest.approx(rmse, rel=1e-7)


def test_no_step_along_any_parameter_lowers_the_cost(dax, dax_fit):
    """Checked with prices from outside the fit, one parameter at a time, both ways."""

    def misfit(model):
        vol = jc.model_vol(model, dax.strike, dax.expiry[:, None], forward=dax.forward[:, None])
        return float(jnp.nansum(jnp.where(dax.weight > 0, vol - dax.vol, 0.0) ** 2))

    best = misfit(dax_fit.model)
    for name, value in dax_fit.parameters.items():
        for factor in (0.999, 1.001):
            assert misfit(jc.Heston(**{**dax_fit.parameters, name: factor * value})) > best, (name, factor)


@pytest.mark.parametrize(
    "pricer",
    [
        jc.Cos(),
        pytest.param(jc.Saddle(), marks=pytest.mark.slow),
        pytest.param(jc.Laguerre(4), marks=pytest.mark.slow),
    ],
    ids=repr,
)
def test_every_pricer_ends_at_the_same_optimum(dax, dax_fit, pricer):
    """Also one that is far too coarse: the check on a finer grid finds out."""
    fit = jc.calibrate(jc.Heston, dax, pricer=pricer)
    assert fit.converged
    assert float(fit.rmse_vol) == pytest.approx(float(dax_fit.rmse_vol), rel=1e-6)
    for name, value in dax_fit.parameters.items():
        assert getattr(fit.model, name) == pytest.approx(value, rel=1e-5), name


def test_random_starts_end_at_the_one_optimum(dax, dax_fit):
    random = np.random.default_rng(5)
    missed = []
    for _ in range(60):
        v0, kappa, theta, sigma = np.exp(random.uniform(np.log([0.01, 0.3, 0.01, 0.2]), np.log([1.0, 30.0, 1.0, 6.0])))
        start = jc.Heston(float(v0), float(kappa), float(theta), float(sigma), float(random.uniform(-0.9, 0.9)))
        fit = jc.calibrate(start, dax)
        if not (fit.converged and float(fit.cost) < 1.000001 * float(dax_fit.cost)):
            missed.append((start, str(fit.status), float(fit.rmse_vol)))
    assert not missed


def test_black_scholes_is_the_mean_volatility(dax):
    """Over expiries past ten weeks, where every quote has a price worth inverting."""
    long = np.broadcast_to(np.asarray(dax.expiry)[:, None] > 0.2, dax.vol.shape).astype(float)
    fit = jc.calibrate(jc.BlackScholes, dax, weights=long)
    assert fit.converged
    mean = float(np.mean(np.asarray(dax.vol)[np.asarray(dax.weight) * long > 0]))
    assert float(fit.model.sigma) == pytest.approx(mean, rel=1e-8)


def test_smiles_on_the_edge_of_arbitrage(dax):
    """Six of the eight SVI smiles end at a bound; at one of them two log-strikes bind."""
    fit = jc.calibrate(jc.SVI, dax)
    assert fit.converged
    assert 100.0 * float(fit.rmse_vol) == pytest.approx(0.27526, abs=2e-5)
