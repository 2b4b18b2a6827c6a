"""What a fit says of how well it fits: true volatilities in far wings, and the quotes' own spreads as the measure."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcal as jc
from tests.small_models import Lines

STRIKE = np.asarray([60.0, 80.0, 90.0, 100.0, 110.0, 120.0, 150.0])


def chain(vols, half=None, expiry=7 / 365):
    surface = jc.Surface.from_vols([expiry], STRIKE, [vols], forward=100.0)
    if half is None:
        return surface
    sides = {
        name: surface.vol.at[0, : len(STRIKE)].add(sign * jnp.asarray(half))
        for name, sign in (("bid_vol", -1.0), ("ask_vol", 1.0))
    }
    return eqx.tree_at(lambda s: (s.bid_vol, s.ask_vol), surface, (sides["bid_vol"], sides["ask_vol"]))


# of a week's options at 60 and 150 the first is worth 1e-69 of the forward at a volatility of 0.2
SMILE = [1.2, 0.7, 0.4, 0.2, 0.3, 0.5, 0.9]


@pytest.mark.parametrize("residual", [jc.ImpliedVolResidual(), jc.VegaPriceResidual(), jc.PriceResidual()])
def test_the_error_is_that_of_the_volatilities_however_little_a_quote_is_worth(residual):
    fit = jc.calibrate(jc.BlackScholes(0.2), chain(SMILE), free=["sigma"], residual=residual)
    sigma = float(fit.model.sigma)
    np.testing.assert_allclose(np.asarray(fit.model_vol)[0, :7], sigma, rtol=1e-6)
    assert float(fit.rmse_vol) == pytest.approx(np.sqrt(np.mean((sigma - np.asarray(SMILE)) ** 2)), rel=1e-6)
    assert fit.to_frame()["model_vol"].notna().all()


def test_the_same_of_many_and_of_a_comparison():
    surface = chain(SMILE)
    fit = jc.calibrate(jc.BlackScholes, surface)
    fits = jc.calibrate_many(jc.BlackScholes, [surface, chain([0.2] * 7)])
    assert fits.rmse_vol[0] == pytest.approx(float(fit.rmse_vol), rel=1e-9)
    np.testing.assert_allclose(fits.model_vol[0], fit.model_vol, rtol=1e-9)
    np.testing.assert_allclose(fits[0].model_vol, fit.model_vol, rtol=1e-9)
    assert fits.to_frame()["rmse_vol"][1] == pytest.approx(0.0, abs=1e-9)
    entry = jc.compare([jc.BlackScholes], surface, repeats=0).entries[0]
    assert entry.rmse_points == pytest.approx(100.0 * float(fit.rmse_vol), rel=1e-9)


def test_smiles_of_each_expiry():
    fit = jc.calibrate(Lines, chain(SMILE, expiry=1 / 365))
    level, slope = (float(np.asarray(getattr(fit.model, name))[0]) for name in ("level", "slope"))
    vols = level + slope * np.log(STRIKE / 100.0)
    np.testing.assert_allclose(np.asarray(fit.model_vol)[0, :7], vols, rtol=1e-6)
    assert float(fit.rmse_vol) == pytest.approx(np.sqrt(np.mean((vols - np.asarray(SMILE)) ** 2)), rel=1e-6)


def test_single_precision_sees_the_same():
    one = jc.calibrate_many(jc.BlackScholes, [chain(SMILE)], precision="float32")[0]
    sigma = float(one.model.sigma)
    assert one.model_vol.dtype == jnp.float32
    np.testing.assert_allclose(np.asarray(one.model_vol)[0, :7], sigma, rtol=1e-3)
    assert float(one.rmse_vol) == pytest.approx(np.sqrt(np.mean((sigma - np.asarray(SMILE)) ** 2)), rel=1e-3)


def test_inside_and_half_spreads():
    vols, half = np.asarray([0.2, 0.21, 0.19, 0.2, 0.2, 0.22, 0.18]), np.asarray([0.015] * 6 + [0.0])
    surface = chain(vols, half)
    surface = eqx.tree_at(lambda s: s.bid_vol, surface, surface.bid_vol.at[0, 0].set(jnp.nan))  # no spread of the first
    fit = jc.calibrate(jc.BlackScholes, surface)
    off = float(fit.model.sigma) - vols
    assert fit.inside == pytest.approx(np.mean(np.abs(off[1:]) <= half[1:]))
    assert fit.rmse_half_spreads == pytest.approx(np.sqrt(np.mean((off[1:6] / half[1:6]) ** 2)))
    entry = jc.compare([jc.BlackScholes], surface, repeats=0).entries[0]
    assert (entry.inside, entry.rmse_half_spreads) == (fit.inside, fit.rmse_half_spreads)
    fits = jc.calibrate_many(jc.BlackScholes, [surface, chain(vols)])
    np.testing.assert_allclose(fits.inside, [fit.inside, np.nan])
    np.testing.assert_allclose(fits.rmse_half_spreads, [fit.rmse_half_spreads, np.nan])
    assert "scale" not in fit.summary()
    assert f"{'inside bid and ask':<22}{fit.inside:>12.1%}" in fit.summary()


def test_errors_are_a_scale_where_the_model_misses_the_spreads():
    vols = np.asarray([0.3, 0.27, 0.24, 0.2, 0.19, 0.2, 0.22])
    fit = jc.calibrate(jc.BlackScholes, chain(vols, [0.002] * 7))
    assert fit.rmse_half_spreads > 5
    assert fit.summary().endswith("standard errors are a scale, not an interval.")
    without = jc.calibrate(jc.BlackScholes, chain(vols))
    assert np.isnan([without.inside, without.rmse_half_spreads]).all()
    assert "bid" not in without.summary()


def test_a_fit_is_printed_with_its_numbers():
    surface = chain([0.2] * 7)
    fit, fits = jc.calibrate(jc.BlackScholes, surface), jc.calibrate_many(jc.BlackScholes, [surface, surface])
    greeks = jc.greeks(fit.model, jnp.asarray([90.0, 100.0]), 0.5, forward=100.0, order=1)
    comparison = jc.compare([jc.BlackScholes], surface, repeats=0)
    shown = [
        repr(fit),
        str(fit),
        fit._repr_html_(),
        repr(fits),
        fits._repr_html_(),
        repr(surface),
        repr(greeks),
        repr(comparison),
    ]
    shown += [str(comparison), comparison._repr_html_(), repr(fit.model), repr(fits.model), repr(jc.covariance(fit))]
    for text in shown:
        assert "f64[" not in text
    assert repr(fit.model) == "BlackScholes(sigma=0.2)"
    assert str(fit) == fit.summary()
    assert repr(jc.Heston(v0=0.04, kappa=1.5, theta=0.06, sigma=0.7, rho=-0.65)).endswith("sigma=0.7, rho=-0.65)")
