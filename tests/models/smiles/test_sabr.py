"""SABR against exact evaluations of Hagan's formulas, published values, and the prices behind a shift."""

from pathlib import Path

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pandas as pd
import pytest

import jaxcal as jc
from jaxcal.formulas.bachelier import bachelier_price
from jaxcal.models.smiles.sabr import NormalSABR

GOLDENS = Path(__file__).resolve().parents[2] / "goldens"
# alpha, beta, rho, nu
MODELS = {
    "rates": (0.036, 0.5, -0.25, 0.35),
    "equity": (0.25, 1.0, -0.7, 1.2),
    "normal": (0.008, 0.0, 0.3, 0.4),
    "nu 0": (0.05, 0.7, 0.2, 0.0),
    "rho -0.999": (0.1, 0.4, -0.999, 2.0),
    "rho 0.999": (0.1, 0.4, 0.999, 2.0),
    "tiny alpha": (1e-4, 0.5, -0.3, 5.0),
}
STRIKES = (0.001, 0.02, 0.035 - 1e-12, 0.035, 0.035 * (1 + 1e-7), 0.0351, 0.08, 3.0)


def _vol(*row):
    *fields, strike, expiry, forward = row
    return jc.SABR(*fields).vol(strike, expiry, forward)


def _normal_vol(*row):
    *fields, strike, expiry, forward = row
    return jc.SABR(*fields).normal_vol(strike, expiry, forward)


def _both(*row):
    return jnp.stack([_vol(*row), _normal_vol(*row)])


vols = jax.jit(jax.vmap(_both))
pulled = jax.jit(jax.vmap(jax.jacrev(_both, tuple(range(7)))))
pushed = jax.jit(jax.vmap(jax.jacfwd(_both, tuple(range(7)))))


def exact(alpha, beta, rho, nu, strike, expiry, forward):
    """Eq. 2.17a and A.67a, with the limit at the money taken a little beside it in the working precision."""
    alpha, beta, rho, nu, strike, expiry, forward = (mp.mpf(x) for x in (alpha, beta, rho, nu, strike, expiry, forward))
    nu = nu or mp.mpf("1e-45")
    if strike == forward:
        strike *= 1 + mp.mpf("1e-45")
    log, rest = mp.log(forward / strike), 1 - beta
    middle = (forward * strike) ** (rest / 2)
    z = nu / alpha * middle * log
    stretch = z / mp.log((mp.sqrt(1 - 2 * rho * z + z * z) + z - rho) / (1 - rho))
    skew = 1 + (rest * log) ** 2 / 24 + (rest * log) ** 4 / 1920
    black = rest**2 / 24 * alpha**2 / middle**2 + rho * beta * nu * alpha / middle / 4 + (2 - 3 * rho**2) / 24 * nu**2
    normal = black - (rest**2 + beta * (2 - beta)) / 24 * alpha**2 / middle**2
    wide = alpha * (forward * strike) ** (beta / 2) * (1 + log**2 / 24 + log**4 / 1920)
    return alpha / middle / skew * stretch * (1 + black * expiry), wide / skew * stretch * (1 + normal * expiry)


@pytest.fixture(scope="module", autouse=True)
def digits():
    with mp.workdps(120):
        yield


@pytest.fixture(scope="module")
def shifted():
    return jc.SABR(alpha=0.03, beta=0.5, rho=-0.3, nu=0.5, shift=0.03)


def rows_of(name):
    rows = [(*MODELS[name], strike, 0.75, 0.035) for strike in STRIKES]
    return rows, tuple(jnp.asarray(x) for x in zip(*rows, strict=True))


def test_goldens():
    """Eq. 2.17a to 1e-12 relative, at and very near the money too."""
    rows = pd.read_csv(GOLDENS / "sabr_hagan.csv")
    columns = (jnp.asarray(rows[x].to_numpy()) for x in ("alpha", "beta", "rho", "nu", "K", "T", "F"))
    found = jax.jit(jax.vmap(_vol))(*columns)
    np.testing.assert_allclose(found, rows["hagan_lognormal_vol"], rtol=1e-12, atol=0)


def test_published_values():
    """As printed in the documentation of the MathWorks Financial Instruments Toolbox, with and without a shift."""
    assert float(jc.SABR(0.036, 0.5, -0.25, 0.35).vol(0.03, 2.0, 0.0357)) == pytest.approx(0.2122, abs=5e-5)
    assert float(jc.SABR(0.041, 0.5, -0.2, 0.33).normal_vol(0.02, 2.0, 0.0209)) == pytest.approx(0.0059, abs=5e-5)
    model = jc.SABR(0.01, 0.5, -0.1, 0.15, shift=0.005)
    assert float(model.shifted_vol(-0.001, 1.0, 0.0002)) == pytest.approx(0.1518, abs=5e-5)


@pytest.mark.parametrize("name", MODELS)
def test_vols(name):
    """Both formulas to 1e-13, near rho = +-1 and without volatility of volatility too."""
    rows, columns = rows_of(name)
    expected = np.array([[float(x) for x in exact(*row)] for row in rows])
    expected[expected <= 0] = np.nan  # beyond its expiries the expansion is negative: no number
    np.testing.assert_allclose(vols(*columns), expected, rtol=2e-13)


@pytest.mark.parametrize("name", MODELS)
def test_derivatives(name):
    """Reverse mode against differences in 120 digits and forward mode, in every field and argument."""
    rows, columns = rows_of(name)
    found, h = np.stack(pulled(*columns), axis=-1), mp.mpf("1e-18")
    np.testing.assert_allclose(np.stack(pushed(*columns), axis=-1), found, rtol=1e-10, atol=1e-11)
    for q, row in enumerate(rows):
        if np.isnan(vols(*columns)[q]).any():
            continue
        for i in range(7):
            up, down = (exact(*(mp.mpf(x) + sign * h * (j == i) for j, x in enumerate(row))) for sign in (1, -1))
            expected = [float((u - d) / (2 * h)) for u, d in zip(up, down, strict=True)]
            np.testing.assert_allclose(found[q, :, i], expected, rtol=1e-9, atol=1e-11)


def test_second_derivatives_at_the_money():
    """The smile is smooth there: curvature in strike equals a difference of slopes from either side."""
    slope = jax.jit(jax.grad(lambda k: _vol(*MODELS["rates"], k, 0.75, 0.035)))
    curvature = float(jax.jit(jax.grad(slope))(0.035))
    assert curvature == pytest.approx(float(slope(0.0351) - slope(0.0349)) / 2e-4, rel=1e-4)


def test_shift_prices(shifted):
    """Plain Black at `vol` is Black of forward + shift at `shifted_vol`, with the derivatives of that price."""
    strike, forward, years = jnp.asarray([0.001, 0.01, 0.02, 0.021, 0.05]), 0.02, 2.0

    def by_vol(model, forward):
        return jc.black_price(model.vol(strike, years, forward), strike, years, forward=forward)

    def by_shift(model, forward):
        moved = model.shifted_vol(strike, years, forward)
        return jc.black_price(moved, strike + 0.03, years, forward=forward + 0.03)

    np.testing.assert_allclose(jax.jit(by_vol)(shifted, forward), jax.jit(by_shift)(shifted, forward), rtol=1e-13)
    one, other = (jax.jit(jax.jacfwd(by, (0, 1)))(shifted, forward) for by in (by_vol, by_shift))
    for x, y in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-10, atol=1e-14)
    back = jax.jit(jax.jacrev(by_vol, (0, 1)))(shifted, forward)
    for x, y in zip(jax.tree.leaves(one), jax.tree.leaves(back), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-10, atol=1e-14)


def test_shifted_strikes_below_zero(shifted):
    found = shifted.shifted_vol(jnp.asarray([-0.029, -0.01, -0.03, -0.05]), 1.0, -0.005)
    assert np.isfinite(found[:2]).all()
    assert np.isnan(found[2:]).all()
    assert np.isfinite(shifted.normal_vol(-0.01, 1.0, -0.005))
    assert np.isnan(shifted.vol(-0.01, 1.0, 0.02))  # there is no Black volatility of a negative strike
    assert np.isnan(shifted.vol(1e3, 0.01, 0.02))  # nor of a value below the smallest number


def test_normal_vol_gives_black_prices():
    """The two formulas are expansions of one law: their prices agree to the order of the expansion."""
    model, strike = jc.SABR(0.036, 0.5, -0.25, 0.35), jnp.asarray([0.03, 0.035, 0.04])
    black = jc.black_price(model.vol(strike, 0.25, 0.035), strike, 0.25, forward=0.035)
    normal = bachelier_price(model.normal_vol(strike, 0.25, 0.035), strike, 0.25, forward=0.035)
    np.testing.assert_allclose(normal, black, rtol=2e-4)


def test_normal_sabr():
    """Against the formula of the paper in 120 digits, for strikes of any sign, and at the money."""
    model = NormalSABR(alpha=0.007, rho=-0.18, nu=0.29)
    strike = np.array([-0.05, -0.00383, -0.0038299999, 0.0, 0.02])
    found = model.normal_vol(jnp.asarray(strike), 0.25, -0.00383)
    alpha, rho, nu, years = (mp.mpf(x) for x in (0.007, -0.18, 0.29, 0.25))
    for value, k in zip(found, strike, strict=True):
        z = nu / alpha * (mp.mpf(-0.00383) - mp.mpf(k) or mp.mpf("1e-45"))
        stretch = z / mp.log((mp.sqrt(1 - 2 * rho * z + z * z) + z - rho) / (1 - rho))
        expected = alpha * stretch * (1 + (2 - 3 * rho**2) / 24 * nu**2 * years)
        assert float(value) == pytest.approx(float(expected), rel=1e-13)


def test_normal_sabr_prices():
    """Black at its `vol` is Bachelier at its `normal_vol`, with derivatives."""
    strike, forward = jnp.asarray([80.0, 99.0, 100.0, 101.0, 130.0]), 100.0

    def by_black(model):
        return jc.black_price(model.vol(strike, 0.5, forward), strike, 0.5, forward=forward)

    def by_bachelier(model):
        return bachelier_price(model.normal_vol(strike, 0.5, forward), strike, 0.5, forward=forward)

    model = NormalSABR(alpha=20.0, rho=-0.4, nu=0.8)
    np.testing.assert_allclose(jax.jit(by_black)(model), jax.jit(by_bachelier)(model), rtol=1e-13)
    one, other = jax.jit(jax.jacfwd(by_black))(model), jax.jit(jax.jacrev(by_bachelier))(model)
    for x, y in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-10, atol=1e-12)


def test_domain():
    broken = {
        "alpha must be positive": {"alpha": 0.0},
        r"beta must lie in \[0, 1\]": {"beta": 1.1},
        r"rho must lie in \(-1, 1\)": {"rho": 1.0},
        "nu must not be negative": {"nu": -0.1},
        "shift must not be negative": {"shift": -0.01},
    }
    good = {"alpha": 0.2, "beta": 1.0, "rho": 0.0, "nu": 0.0}
    for sentence, change in broken.items():
        with pytest.raises(ValueError, match=sentence):
            jc.SABR(**(good | change))
    with pytest.raises(ValueError, match="alpha must be positive"):
        NormalSABR(alpha=0.0, rho=0.0, nu=0.3)
    # the lawful corner: lognormal without volatility of volatility is Black
    assert float(jc.SABR(**good).vol(130.0, 2.0, 100.0)) == pytest.approx(0.2, rel=1e-15)


def test_bad_market_input_is_nan():
    model = jc.SABR(*MODELS["rates"])
    found = model.vol(jnp.asarray([-0.01, 0.0, 0.03, 0.03]), jnp.asarray([1.0, 1.0, 0.0, 1.0]), 0.035)
    np.testing.assert_array_equal(np.isnan(found), [True, True, True, False])
    assert np.isnan(jc.SABR(0.2, 1.0, 0.9, 6.0).vol(100.0, 100.0, 100.0))  # the expansion in time is negative
    slope = jax.grad(
        lambda a: jnp.sum(jnp.nan_to_num(jc.SABR(a, 0.5, 0.0, 0.3).vol(jnp.asarray([-1.0, 1.0]), 1.0, 1.0)))
    )
    assert np.isfinite(slope(0.2))


def test_float32():
    row = [jnp.asarray(x, jnp.float32) for x in (*MODELS["rates"], 0.05, 0.75, 0.035)]
    found = jax.jit(_vol)(*row)
    assert found.dtype == jnp.float32
    assert float(found) == pytest.approx(float(_vol(*MODELS["rates"], 0.05, 0.75, 0.035)), rel=1e-6)


def test_a_batch_with_a_shift_is_its_members():
    alphas, strikes = jnp.asarray([0.03, 0.05]), jnp.asarray([0.01, 0.02, 0.03])
    many = jc.SABR(alphas, 0.5, jnp.asarray([-0.2, 0.1]), 0.4, shift=0.01)
    found = jc.price(many, strikes, 1.0, forward=0.02)
    single = [jc.SABR(a, 0.5, r, 0.4, shift=0.01) for a, r in ((0.03, -0.2), (0.05, 0.1))]
    expected = [np.asarray(jc.price(model, strikes, 1.0, forward=0.02)) for model in single]
    np.testing.assert_allclose(found, expected, rtol=1e-14)
