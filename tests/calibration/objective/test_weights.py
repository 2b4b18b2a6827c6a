"""Weights by rule and by column, and the residual of the bid-ask spread."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import jaxcal as jc
from jaxcal.calibration.objective.residuals import MarketValues
from jaxcal.calibration.objective.weights import weighed


@pytest.fixture(scope="module")
def table():
    strike = np.array([80.0, 90.0, 100.0, 110.0, 120.0])
    iv = np.array([0.26, 0.23, 0.2, 0.19, 0.185])
    half = np.array([0.02, 0.01, 0.0025, 0.005, 0.01])
    rows = {
        "expiry": 0.5, "strike": strike, "iv": iv, "bid_iv": iv - half, "ask_iv": iv + half, "forward": 100.0,
        "open_interest": [4.0, 0.0, 12.0, np.nan, 4.0], "bid_size": [1.0, 2.0, 3.0, 4.0, 5.0], "ask_size": 1.0,
    }  # fmt: skip
    return pd.DataFrame(rows).sample(frac=1.0, random_state=0).reset_index(drop=True)


@pytest.fixture(scope="module")
def surface(table):
    return jc.Surface.from_quotes(table)


def test_rules(surface):
    used = np.asarray(surface.weight) > 0
    for rule in (jc.UniformWeights(), jc.VegaWeights(), jc.InverseSpreadWeights(2.0)):
        weights = weighed(rule, surface)
        assert weights[used].mean() == pytest.approx(1.0)
        assert (weights[~used] == 0).all()
    vega = np.asarray(MarketValues.of_surface(surface).vega)[used]
    np.testing.assert_allclose(weighed(jc.VegaWeights(2.0), surface)[used], vega**2 / np.mean(vega**2), rtol=1e-9)
    half = np.array([0.02, 0.01, 0.0025, 0.005, 0.01])
    expected = 1.0 / half / np.mean(1.0 / half)
    np.testing.assert_allclose(weighed(jc.InverseSpreadWeights(), surface)[used], expected, rtol=1e-9)
    # a side that is not known: twice the distance to the other; neither: the median
    less = eqx.tree_at(
        lambda s: (s.bid_vol, s.ask_vol), surface,
        (surface.bid_vol.at[0, :2].set(jnp.nan), surface.ask_vol.at[0, 1].set(jnp.nan)),
    )  # fmt: skip
    half[1] = np.median(half[[0, 2, 3, 4]])
    expected = 1.0 / half / np.mean(1.0 / half)
    np.testing.assert_allclose(weighed(jc.InverseSpreadWeights(), less)[used], expected, rtol=1e-9)


def test_columns(table, surface):
    used = np.asarray(surface.weight) > 0
    interest = jc.weights_from(table, surface, "open_interest")
    np.testing.assert_allclose(interest[used], np.array([4.0, 0.0, 12.0, 0.0, 4.0]) / 4.0)
    size = jc.weights_from(table, surface, "size")
    np.testing.assert_allclose(size[used], np.array([1.0, 1.5, 2.0, 2.5, 3.0]) / 2.0)
    with pytest.raises(ValueError, match="the table has no column volume; columns found: expiry"):
        jc.weights_from(table, surface, "volume")
    with pytest.raises(ValueError, match="and the table 2 rows"):
        jc.weights_from(table[:2], surface, "size")
    with pytest.raises(ValueError, match="one of them positive"):
        jc.weights_from(table.assign(open_interest=0.0), surface, "open_interest")
    with pytest.raises(ValueError, match="must be finite and not negative"):
        jc.weights_from(table.assign(open_interest=-1.0), surface, "open_interest")


def test_fits_use_them(table, surface):
    def sigma(**settings):
        return float(jc.calibrate(jc.BlackScholes, surface, **settings).model.sigma)

    used = np.asarray(surface.weight) > 0
    vol = np.asarray(surface.vol)[used]
    for name, rule in (("uniform", jc.UniformWeights()), ("vega", jc.VegaWeights()), ("inverse_spread", None)):
        weights = weighed(rule or jc.InverseSpreadWeights(), surface)[used]
        assert sigma(weights=name) == pytest.approx(np.average(vol, weights=weights), rel=1e-6)
    assert sigma(weights=jc.weights_from(table, surface, "open_interest")) == pytest.approx(
        np.average(vol, weights=[4.0, 0.0, 12.0, 0.0, 4.0]), rel=1e-6
    )
    many = jc.calibrate_many(jc.BlackScholes, [surface, surface], weights="vega")
    np.testing.assert_allclose(many.model.sigma, sigma(weights="vega"), rtol=1e-9)


def test_bad_input(surface):
    flat = jc.Surface.from_vols([0.5], [90.0, 100.0], [[0.2, 0.2]], forward=100.0)
    with pytest.raises(ValueError, match="need bid and ask, and the surface has none"):
        jc.calibrate(jc.BlackScholes, flat, weights="inverse_spread")
    with pytest.raises(ValueError, match="take weights_from"):
        jc.calibrate(jc.BlackScholes, flat, weights="open_interest")
    with pytest.raises(ValueError, match="there are no weights 'best'; there are uniform, vega"):
        jc.calibrate(jc.BlackScholes, flat, weights="best")
    with pytest.raises(ValueError, match="must not be negative"):
        jc.VegaWeights(-1.0)
    # one surface without a spread does not stop the others
    fits = jc.calibrate_many(jc.BlackScholes, [flat, surface], weights="inverse_spread")
    assert fits.converged.tolist() == [False, True]
    assert "need bid and ask" in fits.reasons[0]
    # nothing to fit: a status
    none = jc.calibrate(jc.BlackScholes, surface, weights=np.zeros(surface.vol.shape))
    assert none.status == jc.Outcome.TOO_FEW_QUOTES


def test_the_spread_is_a_band(surface):
    market = MarketValues.of_surface(surface)
    used, vol = np.asarray(surface.weight) > 0, surface.vol
    residual = jc.BidAskResidual()

    def at(vols):
        moved = MarketValues.of(surface.expiry, surface.forward, surface.strike, vols, surface.weight)
        return np.asarray(residual(moved.value, market))[used]

    half = np.array([0.02, 0.01, 0.0025, 0.005, 0.01])
    np.testing.assert_allclose(at(vol + 0.002), 0.0, atol=1e-12)
    np.testing.assert_allclose(at(vol + 0.03), 0.03 - half, atol=1e-9)
    np.testing.assert_allclose(at(vol - 0.03), half - 0.03, atol=1e-9)
    # without a spread it is the distance to the target
    # locked ones only: a vol point
    locked = MarketValues.of(surface.expiry, surface.forward, surface.strike, vol, surface.weight, vol, vol)
    np.testing.assert_allclose(np.asarray(locked.half_spread)[used], 0.01, rtol=1e-12)
    blind = MarketValues.of(
        surface.expiry, surface.forward, surface.strike, vol, surface.weight, vol * np.nan, vol * np.nan
    )
    moved = MarketValues.of(surface.expiry, surface.forward, surface.strike, vol + 0.01, surface.weight)
    np.testing.assert_allclose(np.asarray(residual(moved.value, blind))[used], 0.01, atol=1e-9)


def test_fits_to_the_band(surface):
    fit = jc.calibrate(jc.BlackScholes, surface, residual=jc.BidAskResidual())
    assert fit.converged
    many = jc.calibrate_many(jc.BlackScholes, [surface, surface], residual=jc.BidAskResidual())
    np.testing.assert_allclose(many.model.sigma, float(fit.model.sigma), rtol=1e-9)
    grid = np.linspace(0.18, 0.27, 9001)[:, None]
    used = np.asarray(surface.weight) > 0
    bid, ask = np.asarray(surface.bid_vol)[used], np.asarray(surface.ask_vol)[used]
    cost = 0.5 * np.sum((grid - np.clip(grid, bid, ask)) ** 2, axis=1)
    np.testing.assert_allclose(float(fit.cost), cost.min(), rtol=1e-5)
    # where everything fits inside, the middle decides if it is asked to
    wide = eqx.tree_at(lambda s: (s.bid_vol, s.ask_vol), surface, (surface.bid_vol - 0.2, surface.ask_vol + 0.2))
    drawn = jc.calibrate(jc.BlackScholes, wide, residual=jc.BidAskResidual(inside=0.05))
    assert float(drawn.model.sigma) == pytest.approx(float(np.mean(np.asarray(surface.vol)[used])), rel=1e-6)
    assert float(jc.calibrate(jc.BlackScholes, wide, residual=jc.BidAskResidual()).cost) < 1e-20


def test_a_residual_in_half_spreads(surface):
    market = MarketValues.of_surface(surface)
    used, vol = np.asarray(surface.weight) > 0, surface.vol

    def at(vols, residual=jc.HalfSpreadResidual(), market=market):
        moved = MarketValues.of(surface.expiry, surface.forward, surface.strike, vols, surface.weight)
        return np.asarray(residual(moved.value, market))[used]

    half = np.array([0.02, 0.01, 0.0025, 0.005, 0.01])
    np.testing.assert_allclose(at(vol + half.max()), half.max() / half, atol=1e-7)
    np.testing.assert_allclose(at(surface.bid_vol), -1.0, atol=1e-7)
    np.testing.assert_allclose(at(vol + 0.03, jc.HalfSpreadResidual(inside=0.2)), (0.03 - 0.8 * half) / half, atol=1e-7)
    # wherever the target is: of a quote at its ask, above it, and locked
    beyond = MarketValues.of(
        surface.expiry, surface.forward, surface.strike, vol.at[0, 0].add(0.02).at[0, 1].add(0.03), surface.weight,
        surface.bid_vol.at[0, 3].set(vol[0, 3]), surface.ask_vol.at[0, 3].set(vol[0, 3]),
    )  # fmt: skip
    expected = [0.02, 0.01, 0.0025, 0.1 * 0.01, 0.01]
    np.testing.assert_allclose(np.asarray(beyond.half_spread)[used], expected, rtol=1e-9)
    # one side not known: the distance to the other; neither: the median, here of what is left; too small: a tenth of it
    bid = surface.bid_vol.at[0, 0].set(np.nan).at[0, 1].set(np.nan).at[0, 2].set(vol[0, 2] - 1e-6)
    ask = surface.ask_vol.at[0, 1].set(np.nan).at[0, 2].set(vol[0, 2] + 1e-6)
    found = MarketValues.of(surface.expiry, surface.forward, surface.strike, vol, surface.weight, bid, ask)
    middle = np.median([0.02, 1e-6, 0.005, 0.01])
    expected = [0.02, middle, 0.1 * middle, 0.005, 0.01]
    np.testing.assert_allclose(np.asarray(found.half_spread)[used], expected, rtol=1e-9)
    blind = MarketValues.of(
        surface.expiry, surface.forward, surface.strike, vol, surface.weight, bid * np.nan, ask * np.nan
    )
    np.testing.assert_allclose(at(vol + 0.03, market=blind), 3.0, atol=1e-7)


def test_fits_in_half_spreads(surface):
    """Of one number they are the weighted mean; the scale of a robust loss is one of them."""
    used = np.asarray(surface.weight) > 0
    half = 0.5 * (np.asarray(surface.ask_vol) - np.asarray(surface.bid_vol))[used]
    vol = np.asarray(surface.vol)[used]
    fit = jc.calibrate(jc.BlackScholes, surface, residual=jc.HalfSpreadResidual())
    mean = np.average(vol, weights=half**-2)
    assert float(fit.model.sigma) == pytest.approx(mean, rel=1e-7)
    np.testing.assert_allclose(np.asarray(fit.residuals)[used], (mean - vol) / half, atol=1e-6)
    rmse = np.sqrt(np.mean((mean - vol) ** 2))
    assert float(fit.rmse_vol) == pytest.approx(rmse, rel=1e-6)  # a volatility all the same
    robust = jc.calibrate(jc.BlackScholes, surface, residual=jc.HalfSpreadResidual(), loss=jc.Cauchy(3.0))
    grid = np.linspace(0.18, 0.27, 90001)[:, None]
    cost = np.sum(4.5 * np.log1p(((grid - vol) / half / 3.0) ** 2), axis=1)
    assert float(robust.cost) == pytest.approx(cost.min(), rel=1e-6)
    many = jc.calibrate_many(jc.BlackScholes, [surface, surface], residual=jc.HalfSpreadResidual())
    np.testing.assert_allclose(many.model.sigma, mean, rtol=1e-7)


def test_a_priors_strength_by_discrepancy_counts_in_half_spreads(surface):
    """Noise of one half-spread, where nothing else is said."""
    belief = jc.Gaussian({"sigma": 0.3}, std=0.01)

    def sigma(**noise):
        prior = jc.Scaled(belief, "discrepancy", **noise)
        fit = jc.calibrate(jc.BlackScholes, surface, residual=jc.HalfSpreadResidual(), prior=prior)
        return float(fit.model.sigma)

    assert sigma() == sigma(noise=1.0)
    assert abs(sigma() - sigma(noise=3.0)) > 1e-4
