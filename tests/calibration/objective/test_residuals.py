"""Residuals: zero at the market, a volatility near it, finite and monotone everywhere else."""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcal as jc
from jaxcal.calibration.objective.residuals import MarketValues
from jaxcal.formulas.black import black_price

RESIDUALS = [jc.ImpliedVolResidual(), jc.VegaPriceResidual(), jc.PriceResidual()]


@pytest.fixture(scope="module")
def market(dax):
    return MarketValues.of_surface(dax)


def test_market_values_are_black_prices(dax, market):
    value = black_price(
        dax.vol,
        dax.strike,
        dax.expiry[:, None],
        forward=dax.forward[:, None],
        is_call=dax.strike >= dax.forward[:, None],
    )
    np.testing.assert_allclose(np.asarray(market.value * dax.forward[:, None]), np.asarray(value), rtol=1e-12)
    slope = jax.jvp(
        lambda vol: black_price(vol, dax.strike, dax.expiry[:, None], forward=dax.forward[:, None]),
        (dax.vol,), (jnp.ones_like(dax.vol),),
    )[1]  # fmt: skip
    np.testing.assert_allclose(np.asarray(market.vega * dax.forward[:, None]), np.asarray(slope), rtol=1e-10)
    np.testing.assert_allclose(np.asarray(market.log_strike), np.log(dax.strike / dax.forward[:, None]), atol=1e-15)
    np.testing.assert_array_equal(np.asarray(market.used), np.asarray(dax.weight) > 0)


def test_atm_total_vol_is_that_of_the_nearest_used_quote(dax, market):
    expected = []
    for line in range(8):
        used = np.asarray(dax.weight[line]) > 0
        near = np.argmin(np.where(used, np.abs(np.log(dax.strike[line] / dax.forward[line])), np.inf))
        expected.append(float(dax.vol[line, near]) * float(dax.expiry[line]) ** 0.5)
    np.testing.assert_allclose(np.asarray(market.atm_total_vol()), expected, rtol=1e-14)


@pytest.mark.parametrize("residual", RESIDUALS, ids=repr)
def test_zero_at_the_market(market, residual):
    np.testing.assert_allclose(np.asarray(residual(market.value, market)), 0.0, atol=1e-9)


@pytest.mark.parametrize("residual", RESIDUALS, ids=repr)
def test_zero_at_the_market_also_where_quotes_are_worth_nothing(residual):
    """Exact volatilities of far wings must not pull a fit away from the truth."""
    years, strike = jnp.asarray([0.02, 0.5]), jnp.asarray([[60.0, 70.0, 75.0, 100.0], [5.0, 20.0, 400.0, 900.0]])
    wings = MarketValues.of(years, jnp.asarray([100.0, 100.0]), strike, jnp.full((2, 4), 0.2), jnp.ones((2, 4)))
    assert float(jnp.min(wings.value)) < 1e-20
    np.testing.assert_allclose(np.asarray(residual(wings.value, wings)), 0.0, atol=1e-9)
    # and an error of the size of the grid's is not worth more there than at the money
    noisy = np.asarray(residual(wings.value + 1e-8, wings))
    assert np.abs(noisy).max() < 0.2 * (100.0 if isinstance(residual, jc.PriceResidual) else 1.0)


def test_implied_vol_residual_is_the_difference_of_volatilities(dax, market):
    shifted = MarketValues.of(dax.expiry, dax.forward, dax.strike, dax.vol + 0.03, dax.weight)
    large = np.asarray((shifted.value > 2e-7) & market.used)
    found = np.asarray(jc.ImpliedVolResidual()(shifted.value, market))
    np.testing.assert_allclose(found[large], 0.03, atol=1e-10)


def test_vega_price_residual_is_a_volatility_to_first_order(dax, market):
    shifted = MarketValues.of(dax.expiry, dax.forward, dax.strike, dax.vol + 1e-5, dax.weight)
    found = np.asarray(jc.VegaPriceResidual()(shifted.value, market))
    np.testing.assert_allclose(found[np.asarray(market.used) & (np.asarray(market.vega) > 1e-3)], 1e-5, rtol=1e-2)


def test_price_residual_is_in_the_units_of_the_forward(dax, market):
    found = jc.PriceResidual()(market.value + 1e-4, market)
    np.testing.assert_allclose(np.asarray(found), np.broadcast_to(1e-4 * dax.forward[:, None], (8, 16)), rtol=1e-9)


@pytest.mark.parametrize("residual", RESIDUALS, ids=repr)
def test_finite_and_rising_for_any_value(market, residual):
    """A wild trial point may give values below zero or above the option's bound."""
    top = jnp.minimum(market.moneyness, 1.0)
    values = jnp.concatenate(
        [jnp.asarray([-0.5, -1e-3, 0.0, 1e-12, 1e-7, 1e-6]), jnp.asarray([0.5, 0.9, 1.0, 1.1, 3.0])]
    )
    scales = [values[i] if i < 6 else values[i] * top for i in range(11)]
    found = np.stack([np.asarray(residual(jnp.broadcast_to(v, top.shape), market)) for v in scales])
    used = np.asarray(market.used)
    assert np.isfinite(found[:, used]).all()
    assert (np.diff(found[:, used], axis=0) > 0).all()


@pytest.mark.parametrize("residual", RESIDUALS, ids=repr)
def test_derivative_is_finite_and_not_zero(market, residual):
    for value in (market.value, jnp.full_like(market.value, -1e-4), jnp.full_like(market.value, 2.0)):
        slope = jax.jvp(lambda v: residual(v, market), (value,), (jnp.ones_like(value),))[1]
        slope = np.asarray(slope)[np.asarray(market.used)]
        assert np.isfinite(slope).all()
        assert (slope > 0).all()


@pytest.mark.parametrize("residual", RESIDUALS, ids=repr)
def test_no_quote_moves_the_residual_of_another(market, residual):
    assert residual.by_quote
    for i in (0, 7):
        at = jnp.zeros_like(market.value).at[0, i].set(1.0)
        slope = np.asarray(jax.jvp(lambda v: residual(v, market), (market.value,), (at,))[1])
        assert np.array_equal(np.argwhere(slope), [[0, i]])


class Centred:
    """Of which every quote moves every other."""

    def __call__(self, value, market):
        difference = super().__call__(value, market)  # type: ignore[misc]
        return difference - jnp.mean(difference, where=market.used)


def test_by_quote_is_said_of_one_call_and_not_of_another():
    class Derived(jc.ImpliedVolResidual):
        def __call__(self, value, market):
            return Centred.__call__(self, value, market)  # type: ignore[arg-type]

    class MixedIn(Centred, jc.ImpliedVolResidual):
        pass

    class Doubled(jc.ImpliedVolResidual):
        by_quote: ClassVar[bool] = True

        def __call__(self, value, market):
            return 2.0 * super().__call__(value, market)

    class SameCall(Doubled):
        floor: float = 1e-6

    class NoMore(Doubled):
        def __call__(self, value, market):
            return Centred.__call__(self, value, market)  # type: ignore[arg-type]

    kinds = (Derived, MixedIn, Doubled, SameCall, NoMore)
    assert [kind().by_quote for kind in kinds] == [False, False, True, True, False]


def test_a_residual_of_ones_own(options, truth):
    class LogPrice(jc.AbstractResidual):
        def __call__(self, value, market):
            return jnp.log(jnp.maximum(value, 1e-12) / market.value)

    fit = jc.calibrate(jc.Heston(0.05, 2.0, 0.05, 0.6, -0.5), options, residual=LogPrice())
    assert fit.converged
    assert float(fit.model.kappa) == pytest.approx(truth.kappa, rel=1e-5)
