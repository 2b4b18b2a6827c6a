"""Every model is fitted by the same three lines: parameters that made a surface price it again."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcal as jc
from jaxcal.calibration.starts.smile_shape import SmileShape
from jaxcal.calibration.starts.starting_values import make_starts
from jaxcal.models.smiles.ssvi import SSVIHeston

YEARS = np.array([7, 14, 30, 61, 91, 182, 365, 730]) / 365.0
STRIKE = 100.0 * np.exp(np.linspace(-3.0, 2.0, 15) * 0.25 * np.sqrt(YEARS)[:, None])
HESTON = {"v0": 0.05, "kappa": 2.0, "theta": 0.05, "sigma": 0.6, "rho": -0.6}
JUMPS = {"jump_intensity": 0.8, "jump_mean": -0.1, "jump_std": 0.1}
EVERY, ROOT = jnp.ones(8), jnp.asarray(np.sqrt(YEARS))

FOURIER = [
    # Heston is a part; test_bates_leaves_the_heston_optimum fits it by default
    pytest.param(jc.Bates(**HESTON, **JUMPS), marks=pytest.mark.slow),
    pytest.param(jc.Merton(0.2, **JUMPS), marks=pytest.mark.slow),
    pytest.param(jc.Kou(0.2, 2.0, 0.4, 25.0, 12.0), marks=pytest.mark.slow),
    jc.NIG(10.0, -4.0, 0.5),
    pytest.param(jc.CGMY(0.3, 5.0, 12.0, 1.2), marks=pytest.mark.slow),
    pytest.param(jc.BlackScholesHullWhite(0.25, 0.05, 0.02, 0.3), marks=pytest.mark.slow),
]
SLOW = [
    jc.SVCJ(**HESTON, **JUMPS, variance_jump_mean=0.03, jump_correlation=-0.5),
    jc.DoubleHeston(0.02, 6.0, 0.02, 0.8, -0.7, 0.03, 0.5, 0.04, 0.4, -0.4),
    jc.HestonHullWhite(**HESTON, mean_reversion=0.05, rate_vol=0.02),
    jc.VarianceGamma(0.25, 0.1, -0.15),
    jc.PiecewiseHeston(0.05, 2.0, jnp.asarray([0.04, 0.06, 0.05, 0.07]), 0.6, -0.6, jnp.asarray(YEARS[[1, 3, 5]])),
]
SMILES = [
    jc.SABR(0.2 * EVERY, EVERY, -0.4 * EVERY, 1.0 * EVERY),
    pytest.param(jc.SVI(0.01 * ROOT, 0.08 * ROOT, -0.3 * EVERY, 0.02 * EVERY, 0.1 * EVERY), marks=pytest.mark.slow),
    jc.SSVI(jnp.asarray(YEARS), jnp.linspace(0.03, 0.06, 8), -0.5, 0.9, 0.4),
    pytest.param(SSVIHeston(jnp.asarray(YEARS), jnp.linspace(0.03, 0.06, 8), -0.5, 3.0), marks=pytest.mark.slow),
]


def vols(model):
    """`[8, 15]` exact volatilities."""
    if model.per_expiry:
        slices = [jax.tree.map(lambda leaf, i=i: leaf[i], model) for i in range(8)]
        rows = [jc.model_vol(m, k, t, forward=100.0) for m, k, t in zip(slices, STRIKE, YEARS, strict=True)]
        return np.stack([np.asarray(row) for row in rows])
    return np.asarray(jc.model_vol(model, STRIKE, YEARS[:, None], forward=100.0))


def recovers(truth):
    market = vols(truth)
    assert np.isfinite(market).sum() >= 100
    surface = jc.Surface.from_vols(YEARS, STRIKE, market, forward=100.0)
    fit = jc.calibrate(type(truth), surface)
    assert np.nanmax(np.abs(vols(fit.model) - market)) < 1e-6
    assert float(fit.rmse_vol) < 1e-6
    return fit


def name(model):
    return type(model).__name__


@pytest.mark.parametrize("truth", FOURIER, ids=name)
def test_recovers_a_law(truth):
    fit = recovers(truth)
    assert fit.converged
    for field in fit.free:
        bounds = type(truth).bounds[field]
        relative = float(bounds.relative(getattr(fit.model, field), fit.model))
        assert bounds.lower <= relative <= bounds.upper


@pytest.mark.slow
@pytest.mark.parametrize("truth", SLOW, ids=name)
def test_recovers_a_larger_law(truth):
    assert recovers(truth).converged


@pytest.mark.parametrize("truth", SMILES, ids=name)
def test_recovers_a_smile(truth):
    fit = recovers(truth)
    assert np.asarray(fit.residuals)[:, :15].shape == (8, 15)
    assert fit.converged


def test_parameters_of_each_expiry():
    fit = recovers(SMILES[0])
    np.testing.assert_allclose(fit.parameters["alpha"], 0.2, rtol=1e-6)
    assert np.shape(fit.standard_errors.rho) == (8,)
    assert fit.free == ("alpha", "rho", "nu")  # beta is held
    assert [label for label, _, _ in fit.table()][:2] == ["alpha[0]", "alpha[1]"]
    assert "alpha[7]" in fit.summary()


def test_an_expiry_with_too_few_quotes_takes_nothing_from_the_others():
    market = vols(SMILES[0])
    surface = jc.Surface.from_vols(YEARS, STRIKE, market, forward=100.0)
    weights = np.asarray(surface.weight).copy()
    weights[3, 2:] = 0.0
    fit = jc.calibrate(jc.SABR, surface, weights=weights)
    assert fit.status == jc.Status(jc.Outcome.TOO_FEW_QUOTES, (), (3,))
    assert "Expiries concerned (counted from 0): 3" in str(fit.status)
    alpha = np.asarray(fit.model.alpha)
    assert np.isnan(alpha[3])
    np.testing.assert_allclose(np.delete(alpha, 3), 0.2, rtol=1e-6)


@pytest.mark.slow
def test_beta_moves_where_it_is_named():
    market = vols(jc.SABR(2.0 * EVERY, 0.5 * EVERY, -0.2 * EVERY, 0.6 * EVERY))
    surface = jc.Surface.from_vols(YEARS, STRIKE, market, forward=100.0)
    fit = jc.calibrate(jc.SABR(0.2, 0.9, -0.2, 0.6), surface, free=["alpha", "beta", "rho", "nu"])
    assert fit.free == ("alpha", "beta", "rho", "nu")
    assert float(fit.rmse_vol) < 1e-5
    np.testing.assert_allclose(np.asarray(fit.model.beta), 0.5, atol=1e-3)


def test_bates_leaves_the_heston_optimum(dax, dax_fit):
    """From Heston's optimum with its jumps nearly dead, Bates stays near 1.3 vol points; the best known is 0.61."""
    fit = jc.calibrate(jc.Bates, dax)
    assert fit.converged
    assert float(fit.rmse_vol) < 0.5 * float(dax_fit.rmse_vol)
    assert 100.0 * float(fit.rmse_vol) == pytest.approx(0.6109, abs=2e-3)


def test_starts_lie_within_the_bounds(dax):
    for model in (jc.Bates, jc.SVCJ, jc.Merton, jc.Kou, jc.NIG, jc.CGMY, jc.VarianceGamma, jc.SSVI, jc.SVI):
        for start in make_starts(model, dax):
            for field, interval in model.bounds.items():
                value = np.asarray(interval.relative(getattr(start, field), start))
                slack = 1e-9 * max(1.0, abs(interval.lower), abs(interval.upper))
                assert (interval.lower - slack <= value).all(), (model, field)
                assert (value <= interval.upper + slack).all(), (model, field)
                assert np.isfinite(value).all()


def test_smile_shape(dax):
    shape = SmileShape.of(dax)
    assert np.asarray(shape.quotes).tolist() == [13.0] * 8
    assert (np.asarray(shape.skew) < 0).all()
    assert float(shape.side) == -1.0
    assert 0.2 < float(shape.level) < 0.5
    truth = jc.Heston(0.04, 1.5, 0.04, 0.3, 0.0)
    surface = jc.Surface.from_vols(YEARS, STRIKE, vols(truth), forward=100.0)
    np.testing.assert_allclose(np.asarray(SmileShape.of(surface).vol), 0.2, rtol=0.02)


@pytest.mark.slow
def test_smoothness_draws_neighbours_together(dax):
    heston = jc.Heston(0.19, 15.0, 0.075, 3.2, -0.5)
    start = jc.PiecewiseHeston.of(heston, [0.1, 0.5], vary=("theta", "rho"))
    free, tied = (jc.calibrate(start, dax, prior=prior) for prior in (None, jc.Smoothness(10.0)))
    assert np.ptp(np.asarray(tied.model.rho)) < 0.01 * np.ptp(np.asarray(free.model.rho))
    assert float(free.rmse_vol) < float(tied.rmse_vol)
    constant = jc.calibrate(heston, dax)
    assert float(tied.rmse_vol) == pytest.approx(float(constant.rmse_vol), rel=1e-2)
    np.testing.assert_allclose(np.asarray(jc.Smoothness(2.0)(start)), 0.0)


def test_a_model_outside_its_domain_is_refused_on_the_host_and_nan_inside_jit(dax):
    with pytest.raises(ValueError, match=r"Heston\(.*\): rho must lie in \(-1, 1\)"):
        jc.Heston(0.04, 1.0, 0.04, 0.5, 1.2)

    @jax.jit
    def inside(sigma):
        return jc.price(jc.BlackScholes(sigma), 100.0, 1.0, forward=100.0)

    assert np.isnan(float(inside(-0.2)))
    assert np.isfinite(float(inside(0.2)))


def test_a_class_that_is_no_model_is_refused(dax):
    class Nothing(jc.AbstractModel):
        sigma: float
        bounds = {"sigma": jc.Interval(0.1, 1.0)}  # noqa: RUF012

    with pytest.raises(TypeError, match="Nothing is neither an AbstractFourierModel nor an AbstractVolModel"):
        jc.calibrate(Nothing, dax)
    with pytest.raises(TypeError, match="has neither log_cf nor vol"):
        jc.price(Nothing(0.2), 100.0, 1.0, forward=100.0)


def test_a_smile_model_takes_no_pricer():
    with pytest.raises(ValueError, match="it takes no pricer"):
        jc.price(jc.SVI(0.01, 0.1, -0.3, 0.0, 0.2), 100.0, 1.0, forward=100.0, pricer=jc.Saddle())
