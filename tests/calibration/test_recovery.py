"""Parameters that made a surface are found again from it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcal as jc
from jaxcal.pricing.pricer import total_vol_of

ISSUE_START = jc.Heston(v0=0.09, kappa=3.0, theta=0.09, sigma=0.4, rho=-0.3)


def relative_error(fit, truth):
    return max(abs(float(getattr(fit.model, name)) / float(getattr(truth, name)) - 1.0) for name in fit.free)


@pytest.mark.parametrize("start", [jc.Heston, ISSUE_START], ids=["from the surface", "from an instance"])
def test_120_options(options, truth, start):
    fit = jc.calibrate(start, options)
    assert fit.converged
    assert relative_error(fit, truth) < 1e-6
    assert float(fit.rmse_vol) < 1e-9


@pytest.mark.parametrize(
    "pricer",
    [
        jc.Cos(),
        pytest.param(jc.Saddle(), marks=pytest.mark.slow),
        pytest.param(jc.Laguerre(4), marks=pytest.mark.slow),
    ],
    ids=repr,
)
def test_120_options_with_every_pricer(options, truth, pricer):
    fit = jc.calibrate(ISSUE_START, options, pricer=pricer)
    assert fit.converged
    assert relative_error(fit, truth) < 1e-6


@pytest.mark.parametrize(
    "residual", [jc.VegaPriceResidual(), pytest.param(jc.PriceResidual(), marks=pytest.mark.slow)], ids=repr
)
def test_120_options_with_every_residual(options, truth, residual):
    fit = jc.calibrate(jc.Heston, options, residual=residual)
    assert fit.converged
    assert relative_error(fit, truth) < 1e-6


@pytest.mark.parametrize("start", [jc.BlackScholes, jc.BlackScholes(0.9)], ids=["from the surface", "from an instance"])
def test_black_scholes(options, start):
    flat = jc.Surface.from_vols(options.expiry, options.strike[:, :15], np.full((8, 15), 0.3), forward=options.forward)
    fit = jc.calibrate(start, flat)
    assert fit.converged
    assert float(fit.model.sigma) == pytest.approx(0.3, rel=1e-9)


@pytest.fixture(scope="module")
def gallery():
    """60 seeded truths, alternately like equity and like crypto, with 8 x 15 exact volatilities each."""
    random = np.random.default_rng(20020705)
    years = np.array([7, 14, 30, 61, 91, 182, 365, 730]) / 365.0

    def log_uniform(low, high):
        return float(np.exp(random.uniform(np.log(low), np.log(high))))

    found = []
    for number in range(60):
        if number % 2 == 0:
            four = log_uniform(0.01, 0.16), log_uniform(0.3, 8.0), log_uniform(0.01, 0.16), log_uniform(0.2, 1.5)
            model = jc.Heston(*four, float(random.uniform(-0.9, -0.2)))
        else:
            four = log_uniform(0.1, 1.0), log_uniform(1.0, 30.0), log_uniform(0.2, 1.0), log_uniform(1.0, 8.0)
            model = jc.Heston(*four, float(random.uniform(-0.5, 0.3)))
        deviation = np.asarray(total_vol_of(jax.tree.map(jnp.asarray, model), jnp.asarray(years)))
        strike = np.exp(np.linspace(-2.5, 2.0, 15) * deviation[:, None])
        vol = jc.model_vol(model, jnp.asarray(strike), jnp.asarray(years)[:, None], forward=1.0)
        found.append((model, jc.Surface.from_vols(years, strike, vol, forward=1.0)))
    return found


def test_gallery_from_the_surface(gallery):
    missed = []
    for model, surface in gallery:
        fit = jc.calibrate(jc.Heston, surface)
        error = float(jnp.max(jnp.where(surface.weight > 0, jnp.abs(fit.model_vol - surface.vol), 0.0)))
        if not (fit.converged and error <= 1e-6):
            missed.append((model, str(fit.status), error))
    assert not missed


def test_gallery_with_an_exchanged_start(gallery):
    """Every fit starts at the truth of the next surface but one: of the same kind, but far away."""
    missed = []
    for number, (model, surface) in enumerate(gallery[:-2]):
        start = gallery[number + 2][0]
        fit = jc.calibrate(start, surface)
        if not (fit.converged and float(fit.rmse_vol) <= 1e-6):
            missed.append((model, start, str(fit.status), float(fit.rmse_vol)))
    assert not missed
