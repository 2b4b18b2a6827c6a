from pathlib import Path

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxcal.formulas.black import black_otm, black_price, black_vega, log_moneyness

GOLDENS = pd.read_csv(Path(__file__).parents[1] / "goldens" / "implied_vol.csv")
ARGUMENTS = ("vol", "strike", "expiry", "forward", "discount")


def positional(vol, strike, expiry, forward, discount, is_call):
    return black_price(vol, strike, expiry, forward=forward, discount=discount, is_call=is_call)


def exact(vol, strike, expiry, forward, discount, is_call):
    """The same price in mpmath's working precision; arguments may be mpf."""
    s = vol * mp.sqrt(expiry)
    d1 = mp.log(mp.mpf(forward) / strike) / s + s / 2
    if is_call:
        return discount * (forward * mp.ncdf(d1) - strike * mp.ncdf(d1 - s))
    return discount * (strike * mp.ncdf(s - d1) - forward * mp.ncdf(-d1))


value = jax.jit(positional)
gradient = jax.jit(jax.vmap(jax.grad(positional, argnums=tuple(range(5)))))
hessian = jax.jit(jax.vmap(jax.hessian(positional, argnums=tuple(range(5)))))

# vol, strike, expiry, forward, discount, is_call
ORDINARY = [
    (0.2, 110.0, 0.5, 100.0, 0.99, True),
    (0.2, 110.0, 0.5, 100.0, 0.99, False),
    (0.6, 100.0, 1.0, 100.0, 0.95, True),
    (0.6, 100.0, 1.0, 100.0, 0.95, False),
    (0.1, 100.1, 1.0 / 365.0, 100.0, 1.0, True),
    (2.5, 30.0, 4.0, 100.0, 0.9, False),
    (0.3, 250.0, 0.1, 100.0, 1.0, True),
    (0.15, 20.0, 2.0, 100.0, 1.0, False),
]
# Without volatility, without time, or both; at, in and out of the money; and so little of either that d1 overflows.
CORNERS = [
    (vol, strike, expiry, 100.0, 0.9, is_call)
    for vol, expiry in [(0.0, 1.0), (0.2, 0.0), (0.0, 0.0), (1e-160, 1.0), (1e-320, 1.0), (1e-8, 1e-12), (0.2, 1e-300)]
    for strike in (100.0, 90.0, 110.0, 100.0 * (1 + 1e-13))
    for is_call in (True, False)
]


def columns(rows):
    return [np.array(column) for column in zip(*rows, strict=True)]


def test_reference_prices():
    found = value(
        GOLDENS.implied_vol.to_numpy(),
        GOLDENS.K.to_numpy(),
        GOLDENS["T"].to_numpy(),
        GOLDENS.F.to_numpy(),
        1.0,
        (GOLDENS.kind == "call").to_numpy(),
    )
    # The volatility is rounded to a double, and `condition` is d log vol / d log price.
    error = np.abs(found / GOLDENS.price.to_numpy() - 1.0) / (1.0 + 1.0 / GOLDENS.condition.to_numpy())
    assert error.max() < 2e-15


def test_far_wings_against_fifty_digits():
    distance = np.array([0.0, 1e-9, 1e-3, 0.1, 1.0, 5.0, 20.0, 100.0])
    deviations = np.array([0.0, 0.3, 1.0, 3.0, 10.0, 20.0, 36.0])
    k, a = (x.ravel() for x in np.meshgrid(distance[1:], deviations[1:]))
    vol, strike = k / a, np.exp(k)
    found = np.asarray(black_otm(vol, strike, 1.0, forward=1.0))
    with mp.workdps(50):
        reference = np.array(
            [float(exact(mp.mpf(v), mp.mpf(K), 1, 1, 1, True)) for v, K in zip(vol, strike, strict=True)]
        )
    condition = 1.0 + a * a + vol * vol  # of the price in vol and strike
    assert (np.abs(found / reference - 1.0) / condition).max() < 2e-15


def test_tiny_total_volatility_at_the_money():
    total_vol = np.array([1e-12, 1e-6, 1e-3])
    with mp.workdps(40):
        reference = [float(100 * mp.erf(mp.mpf(s) / (2 * mp.sqrt(2)))) for s in total_vol]
    np.testing.assert_allclose(black_otm(total_vol, 100.0, 1.0, forward=100.0), reference, rtol=2e-15)


@given(st.floats(0.01, 4.0), st.floats(-3.0, 3.0), st.floats(0.001, 20.0), st.floats(1e-3, 1e6), st.floats(0.3, 1.1))
def test_parity_bounds_and_scale(vol, log_strike, expiry, forward, discount):
    strike = forward * np.exp(log_strike)
    call, put = (float(value(vol, strike, expiry, forward, discount, is_call)) for is_call in (True, False))
    scale = discount * max(forward, strike)
    assert call - put == pytest.approx(discount * (forward - strike), abs=4e-16 * scale)
    assert max(discount * (forward - strike), 0.0) <= call <= discount * forward
    assert max(discount * (strike - forward), 0.0) <= put <= discount * strike
    otm = float(black_otm(vol, strike, expiry, forward=forward))
    assert discount * otm == pytest.approx(min(call, put), rel=1e-15)
    doubled = float(value(vol, 2.0 * strike, expiry, 2.0 * forward, discount, True))
    assert doubled == 2.0 * call


def test_derivatives_against_fifty_digits():
    first, second = gradient(*columns(ORDINARY)), hessian(*columns(ORDINARY))
    with mp.workdps(50):
        for row, (*point, is_call) in enumerate(ORDINARY):
            numbers = [mp.mpf(x) for x in point]

            def price(*arguments, is_call=is_call):
                return exact(*arguments, is_call=is_call)

            for i, name in enumerate(ARGUMENTS):
                orders = [int(i == n) for n in range(5)]
                reference = float(mp.diff(price, numbers, tuple(orders)))
                assert float(first[i][row]) == pytest.approx(reference, rel=1e-12, abs=1e-280), (row, name)
                for j, other in enumerate(ARGUMENTS):
                    orders = [int(i == n) + int(j == n) for n in range(5)]
                    reference = float(mp.diff(price, numbers, tuple(orders)))
                    found = float(second[i][j][row])
                    assert found == pytest.approx(reference, rel=1e-11, abs=1e-12), (row, name, other)


def test_price_and_its_first_two_derivatives_are_finite_in_every_corner():
    rows = columns(CORNERS)
    for result in jax.tree.leaves((value(*rows), gradient(*rows), hessian(*rows))):
        assert np.isfinite(result).all()


def test_corners_are_intrinsic_value_and_the_right_delta():
    rows = columns([row for row in CORNERS if row[0] == 0.0 or row[2] == 0.0])
    _, strike, _, forward, discount, is_call = rows
    sign = np.where(is_call, 1.0, -1.0)
    np.testing.assert_array_equal(value(*rows), discount * np.maximum(sign * (forward - strike), 0.0))
    in_the_money = (np.sign(sign * (forward - strike)) + 1.0) / 2.0  # one half at the money
    np.testing.assert_allclose(gradient(*rows)[3], discount * sign * in_the_money, rtol=1e-15)
    np.testing.assert_allclose(gradient(*rows)[1], -discount * sign * in_the_money, rtol=1e-15)


def test_vega_at_the_money_is_there_without_volatility():
    found = jax.grad(positional)(0.0, 100.0, 0.25, 100.0, 0.9, True)
    assert float(found) == pytest.approx(0.9 * 100.0 * 0.5 / np.sqrt(2.0 * np.pi), rel=1e-15)


def test_vega_is_the_derivative():
    vol, strike, expiry, forward, discount, _ = rows = columns(ORDINARY + CORNERS)
    found = black_vega(vol, strike, expiry, forward=forward, discount=discount)
    np.testing.assert_allclose(found, gradient(*rows)[0], rtol=1e-15)


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("vol", -0.1), ("vol", np.nan), ("strike", 0.0), ("strike", -1.0), ("strike", np.nan), ("strike", np.inf),
        ("expiry", -1e-9), ("expiry", np.nan), ("forward", 0.0), ("forward", -5.0), ("forward", np.inf),
        ("forward", np.nan), ("discount", np.nan),
    ],
)  # fmt: skip
def test_nan_where_there_is_no_price(name, bad):
    row = dict(zip((*ARGUMENTS, "is_call"), ORDINARY[0], strict=True)) | {name: bad}
    assert np.isnan(value(*row.values()))
    row.pop("is_call")
    assert np.isnan(black_vega(row.pop("vol"), row.pop("strike"), row.pop("expiry"), **row))


def test_a_bad_lane_changes_no_neighbour():
    vol, *others = columns(ORDINARY)
    spoiled = np.where(np.arange(vol.size) == 3, np.nan, vol)
    clean, mixed = (np.asarray(value(v, *others)) for v in (vol, spoiled))
    np.testing.assert_array_equal(np.delete(clean, 3), np.delete(mixed, 3))
    assert np.isnan(mixed[3])


def test_arguments_broadcast_and_vmap_agrees():
    strikes, expiries = np.linspace(80.0, 120.0, 5), np.array([0.1, 1.0])
    table = black_price(0.2, strikes, expiries[:, None], forward=100)
    assert table.shape == (2, 5)
    rows = jax.vmap(lambda T: black_price(0.2, strikes, T, forward=100))(jnp.asarray(expiries))
    np.testing.assert_allclose(table, rows, rtol=1e-15)
    assert black_price(1, 100, 1, forward=100).shape == ()


def test_dtype_follows_the_arrays():
    vol = np.array([0.2, 0.9], np.float32)
    narrow = black_price(vol, 110.0, 0.5, forward=100, is_call=True)
    assert narrow.dtype == jnp.float32
    np.testing.assert_allclose(narrow, black_price(vol.astype(np.float64), 110.0, 0.5, forward=100), rtol=2e-6)
    assert black_price(vol, np.array([110.0]), 0.5, forward=100.0).dtype == jnp.float64


def test_log_moneyness_next_to_the_money():
    forward, strike = 100.0, 100.0 * (1.0 + 1e-12)
    with mp.workdps(40):
        reference = float(mp.log(mp.mpf(forward) / mp.mpf(strike)))
    assert float(log_moneyness(jnp.array(forward), jnp.array(strike))) == pytest.approx(reference, rel=1e-15)
    far = log_moneyness(jnp.array([1e-200, 1e200]), jnp.array([1e90, 1e-90]))
    np.testing.assert_allclose(far, np.log(10.0) * np.array([-290.0, 290.0]), rtol=1e-15)
