"""Implied volatilities of models over the whole domain: right or NaN, in float64 and in float32."""

from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import jaxcal as jc

ROWS = pd.read_csv(Path(__file__).parents[1] / "goldens" / "vol_domain.csv")
QUICK = ["BlackScholes", "NIG", "SABR", "SVI"]


def vols_of(name):
    """Found and exact volatilities; all models of a class in one batch, each at its own quote."""
    rows = ROWS[ROWS.model == name]
    parameters = np.asarray([list(map(float, str(p).split(";"))) for p in rows.parameters]).T
    model = getattr(jc, name)(*map(jnp.asarray, parameters))
    strike, expiry = jnp.asarray(np.exp(rows.k.to_numpy())), jnp.asarray(rows["T"].to_numpy())
    vols = partial(jc.model_vol, forward=1.0)
    # a smile is evaluated operation by operation outside jit, each a program to compile
    found = (jax.jit(vols) if isinstance(model, jc.AbstractVolModel) else vols)(model, strike, expiry)
    return np.diagonal(np.asarray(found)), rows.vol.to_numpy()


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[] if n in QUICK else pytest.mark.slow) for n in ROWS.model.unique()]
)
def test_right_or_nan(name):
    found, exact = vols_of(name)
    known = ~np.isnan(found)
    np.testing.assert_allclose(found[known], exact[known], rtol=1e-9)
    # two scales that one contour cannot serve: a jump so rare that only it reaches the strike
    assert known.mean() >= (0.8 if name == "Merton" else 0.9)


def test_short_expiries_far_from_the_money():
    """Values below what a double can hold, by a contour integral in 40 digits."""
    found = jc.model_vol(jc.Heston(0.04, 1.5, 0.06, 0.5, -0.5), jnp.asarray([20.0, 40.0, 200.0, 300.0]), 1 / 365,
                         forward=100.0)  # fmt: skip
    np.testing.assert_allclose(found, [0.502656, 0.406752, 0.248756, 0.293251], atol=1e-6)
    strikes = jnp.asarray([1e-4, 50.0, 60.0, 150.0, 200.0, 1e8])
    for years in (1 / 525_600, 1 / 365):
        np.testing.assert_allclose(jc.model_vol(jc.BlackScholes(0.2), strikes, years, forward=100.0), 0.2, rtol=1e-12)


@pytest.mark.parametrize("seconds", [30.0, 3.0, 0.3, 1e-3, 1e-90])
def test_the_last_seconds_are_right_or_nan(seconds):
    """Where the saddle point lies beyond the last moment that is looked at, no contour is right."""
    strikes = jnp.asarray([1e-4, 1.0, 50.0, 90.0, 99.0, 99.9, 100.1, 101.0, 110.0, 300.0, 1e8])
    found = np.asarray(jc.model_vol(jc.BlackScholes(0.2), strikes, seconds / 31_536_000, forward=100.0))
    known = ~np.isnan(found)
    np.testing.assert_allclose(found[known], 0.2, rtol=1e-9)
    assert known.sum() >= (2 if seconds >= 1e-3 else 0)
    assert known.all() or seconds < 30.0


@pytest.mark.parametrize(("sigma", "years"), [(2.0, 50.0), (5.0, 10.0), (0.5, 1000.0)])
def test_values_near_their_upper_bound(sigma, years):
    strikes = jnp.asarray([1e-4, 50.0, 100.0, 150.0, 1e8])
    found = jc.model_vol(jc.BlackScholes(sigma), strikes, years, forward=100.0)
    np.testing.assert_allclose(found, sigma, rtol=1e-9)
    for is_call in (True, False):
        price = np.asarray(jc.price(jc.BlackScholes(sigma), strikes, years, forward=100.0, is_call=is_call))
        assert (price <= (100.0 if is_call else np.asarray(strikes))).all()


def test_jumps_of_great_total_variance_stay_within_their_bounds():
    model = jc.Kou(1.5, 150.0, 0.4, 3.0, 2.0)
    strikes = jnp.asarray([1.0, 50.0, 100.0, 200.0, 1e4])
    price = np.asarray(jc.price(model, strikes, jnp.asarray([[1.0], [20.0]]), forward=100.0))
    assert not np.isnan(price).any()
    assert (price <= 100.0).all()
    vol = np.asarray(jc.model_vol(model, strikes, 1.0, forward=100.0))
    assert not np.isnan(vol).any()


@pytest.mark.parametrize(
    "model",
    [
        jc.BlackScholes(0.2),
        pytest.param(jc.Heston(0.04, 1.5, 0.06, 0.5, -0.5), marks=pytest.mark.slow),
        pytest.param(jc.NIG(15.0, -5.0, 0.5), marks=pytest.mark.slow),
    ],
    ids=lambda model: type(model).__name__,
)  # fmt: skip
def test_float32_is_float64_to_its_own_rounding(model):
    years = np.asarray([1 / 365, 1 / 52, 0.25, 1.0, 5.0])[:, None]
    strike = 100.0 * np.exp(0.2 * np.sqrt(years) * np.linspace(-4.0, 4.0, 17))
    arguments = strike, np.broadcast_to(years, strike.shape), np.full(strike.shape, 100.0)
    strike, years, forward = (np.asarray(x, np.float32) for x in arguments)
    narrow = jc.model_vol(model, strike, years, forward=forward)
    # the same doubles, so that rounding of the inputs is no difference
    wide = np.asarray(jc.model_vol(model, *(np.asarray(x, np.float64) for x in (strike, years)), forward=100.0))
    assert narrow.dtype == np.float32
    error = np.abs(np.asarray(narrow, np.float64) / wide - 1.0)
    assert np.nanmax(error) < 5e-3
    assert (error < 1e-3).mean() >= 0.9
    greeks = jc.greeks(model, strike[2], years[2], forward=forward[2], order=1)
    np.testing.assert_allclose(greeks.vol, narrow[2], rtol=1e-3)
