from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jaxcal.formulas import implied_vol as module
from jaxcal.formulas.black import black_otm, black_price, black_vega
from jaxcal.formulas.implied_vol import implied_vol, implied_vol_of_logs

GOLDENS = pd.read_csv(Path(__file__).parents[1] / "goldens" / "implied_vol.csv")
EPS = np.finfo(np.float64).eps


def positional(price, strike, expiry, forward, discount, is_call):
    return implied_vol(price, strike, expiry, forward=forward, discount=discount, is_call=is_call)


def black(vol, strike, expiry, forward, discount, is_call):
    return black_price(vol, strike, expiry, forward=forward, discount=discount, is_call=is_call)


inverse = jax.jit(positional)
slopes = jax.jit(jax.vmap(jax.grad(positional, argnums=tuple(range(5)))))
curvatures = jax.jit(jax.vmap(jax.hessian(positional, argnums=tuple(range(5)))))

# vol, strike, expiry, forward, discount, is_call
QUOTES = [
    np.array(column)
    for column in zip(
        (0.2, 110.0, 0.5, 100.0, 0.99, True),
        (0.2, 90.0, 0.5, 100.0, 0.99, True),
        (0.6, 100.0, 1.0, 100.0, 0.95, False),
        (1.5, 40.0, 2.0, 100.0, 0.9, False),
        (3.0, 100.0, 4.0, 100.0, 1.0, True),
        (0.3, 160.0, 0.25, 100.0, 1.0, True),
        strict=True,
    )
]


@pytest.fixture(scope="module")
def wide():
    """(log-distance, total volatility, undiscounted call price at forward 1) over all that doubles can hold."""
    distance = np.concatenate([[0.0, 1e-300, 1e-100], 10.0 ** np.linspace(-12.0, 2.8, 50)])
    d1 = np.concatenate([-np.linspace(0.02, 36.5, 90)[::-1], np.linspace(0.0, 7.0, 40)])
    k, d = (x.ravel() for x in np.meshgrid(distance, d1))
    root = np.sqrt(d * d + 2.0 * k)
    s = np.where(d >= 0, root + d, 2.0 * k / (root + np.abs(d) + 1e-300))
    k, s = k[s > 1e-12], s[s > 1e-12]
    strike = np.exp(k)
    k = np.log1p(strike - 1.0)  # of the strike as rounded
    price = np.asarray(black_otm(s, strike, 1.0, forward=1.0))
    kept = (price > 1e-300) & (price < 1.0)
    return k[kept], s[kept], price[kept]


@pytest.fixture(scope="module")
def conditioning(wide):
    """d log vol / d log price, where the double nearest the price decides the volatility no better than that."""
    k, s, price = wide
    return price / (s * np.exp(-0.5 * (k / s - 0.5 * s) ** 2) / np.sqrt(2.0 * np.pi))


def test_reference_volatilities():
    found = inverse(
        GOLDENS.price.to_numpy(),
        GOLDENS.K.to_numpy(),
        GOLDENS["T"].to_numpy(),
        GOLDENS.F.to_numpy(),
        1.0,
        (GOLDENS.kind == "call").to_numpy(),
    )
    error = pd.Series(np.abs(found / GOLDENS.implied_vol.to_numpy() - 1.0)).groupby(GOLDENS.group).max()
    assert (error < 1e-14).all(), error  # the best peer reaches 1.8e-13


def test_start_is_within_four_per_cent_and_one_step_within_a_millionth(wide, conditioning):
    k, s, price = wide
    exact = conditioning < 1e6
    value, room = jnp.asarray(price[exact]), jnp.asarray(1.0 - price[exact])
    distance = jnp.asarray(k[exact])
    start = jax.jit(module._start)(value, room, distance, jnp.exp(-0.5 * distance))
    assert np.abs(start / s[exact] - 1.0).max() < 0.04
    stepped = jax.jit(lambda s: module._step(s, module._over(value, room), distance))(start)
    assert np.abs(stepped / s[exact] - 1.0).max() < 1e-6


def test_round_trip_over_all_doubles(wide, conditioning):
    k, s, price = wide
    strike = np.exp(k)
    relative = np.abs(np.asarray(implied_vol(price, strike, 1.0, forward=1.0)) / s - 1.0)
    assert (relative / (1.0 + conditioning)).max() < 1e-14


def test_in_the_money_prices_taken_as_given():
    # The exact volatility of these very doubles: Newton's method in 60 digits on the price.
    rows = [(90.0, 10.000000001), (33.3, 66.7000000000003), (99.0, 1.5), (0.7, 99.3 + 1e-12), (50.0, 99.0)]
    strike, price = (np.array(x) for x in zip(*rows, strict=True))
    found = np.asarray(inverse(price, strike, 0.25, 100.0, 1.0, True))
    for vol, K, P in zip(found, strike, price, strict=True):
        with mp.workdps(60):
            target = mp.mpf(P) - (100 - mp.mpf(K))

            def error(s, K=mp.mpf(K), target=target):
                d2 = mp.log(100 / K) / s - s / 2  # the out-of-the-money put
                return mp.log((K * mp.ncdf(-d2) - 100 * mp.ncdf(-d2 - s)) / target)

            reference = mp.findroot(error, mp.mpf(vol) / 2)
            assert abs(float(vol / (2 * reference) - 1)) < 1e-14, (K, P)


@given(
    st.floats(1e-3, 1e6),
    st.floats(-5.0, 5.0),
    st.floats(1e-4, 30.0),
    st.floats(0.01, 5.0),
    st.floats(0.3, 1.1),
    st.booleans(),
)
@example(100.0, 0.0, 1.0, 0.2, 1.0, False)
def test_round_trip_of_discounted_prices(forward, deviations, expiry, vol, discount, is_call):
    strike = forward * np.exp(deviations * vol * np.sqrt(expiry))
    price = float(jitted_black(vol, strike, expiry, forward, discount, is_call))
    bound = discount * (forward if is_call else strike)
    vega = float(black_vega(vol, strike, expiry, forward=forward, discount=discount))
    # How far the rounding of price and intrinsic value moves the volatility.
    blur = 4.0 * EPS * (price + discount * max(forward, strike) * (strike < forward if is_call else strike > forward))
    if vega == 0.0 or blur / vega > 0.1 * vol or bound - price < 4.0 * blur:
        return
    found = float(inverse(price, strike, expiry, forward, discount, is_call))
    assert abs(found - vol) <= blur / vega + 1e-14 * vol


jitted_black = jax.jit(black)


def test_put_and_call_of_one_strike_have_one_volatility():
    strike = np.array([64.0, 96.0, 104.0, 160.0])
    put = np.asarray(black_price(0.4, strike, 0.5, forward=100.0, is_call=False))
    call = np.asarray(black_price(0.4, strike, 0.5, forward=100.0, is_call=True))
    np.testing.assert_allclose(inverse(put, strike, 0.5, 100.0, 1.0, False), 0.4, rtol=1e-14)
    np.testing.assert_allclose(inverse(call, strike, 0.5, 100.0, 1.0, True), 0.4, rtol=1e-14)


@pytest.mark.parametrize(
    ("price", "strike", "expiry", "forward", "discount", "is_call"),
    [
        pytest.param(9.99, 90.0, 1.0, 100.0, 1.0, True, id="call below intrinsic"),
        pytest.param(9.99, 110.0, 1.0, 100.0, 1.0, False, id="put below intrinsic"),
        pytest.param(-0.01, 110.0, 1.0, 100.0, 1.0, True, id="negative price"),
        pytest.param(100.0, 110.0, 1.0, 100.0, 1.0, True, id="call at the forward"),
        pytest.param(101.0, 90.0, 1.0, 100.0, 1.0, True, id="call above the forward"),
        pytest.param(90.0, 90.0, 1.0, 100.0, 1.0, False, id="put at the strike"),
        pytest.param(95.0, 110.0, 1.0, 100.0, 0.9, True, id="call above the discounted forward"),
        pytest.param(np.nan, 110.0, 1.0, 100.0, 1.0, True, id="price nan"),
        pytest.param(np.inf, 110.0, 1.0, 100.0, 1.0, True, id="price inf"),
        pytest.param(5.0, np.nan, 1.0, 100.0, 1.0, True, id="strike nan"),
        pytest.param(5.0, 0.0, 1.0, 100.0, 1.0, False, id="strike zero"),
        pytest.param(5.0, -110.0, 1.0, 100.0, 1.0, True, id="strike negative"),
        pytest.param(5.0, np.inf, 1.0, 100.0, 1.0, True, id="strike inf"),
        pytest.param(5.0, 110.0, 0.0, 100.0, 1.0, True, id="expiry zero"),
        pytest.param(5.0, 110.0, -1.0, 100.0, 1.0, True, id="expiry negative"),
        pytest.param(5.0, 110.0, np.nan, 100.0, 1.0, True, id="expiry nan"),
        pytest.param(5.0, 110.0, np.inf, 100.0, 1.0, True, id="expiry inf"),
        pytest.param(5.0, 110.0, 1.0, 0.0, 1.0, True, id="forward zero"),
        pytest.param(5.0, 110.0, 1.0, -100.0, 1.0, False, id="forward negative"),
        pytest.param(5.0, 110.0, 1.0, np.nan, 1.0, True, id="forward nan"),
        pytest.param(5.0, 110.0, 1.0, np.inf, 1.0, True, id="forward inf"),
        pytest.param(5.0, 110.0, 1.0, 100.0, 0.0, True, id="discount zero"),
        pytest.param(5.0, 110.0, 1.0, 100.0, -0.9, True, id="discount negative"),
        pytest.param(5.0, 110.0, 1.0, 100.0, np.nan, True, id="discount nan"),
        pytest.param(5.0, 110.0, 1.0, 100.0, np.inf, True, id="discount inf"),
    ],
)
def test_nan_where_there_is_no_volatility(price, strike, expiry, forward, discount, is_call):
    assert np.isnan(inverse(price, strike, expiry, forward, discount, is_call))


def test_no_time_value_is_zero_volatility():
    price, strike = np.array([10.0, 0.0, 0.0]), np.array([90.0, 110.0, 100.0])
    np.testing.assert_array_equal(inverse(price, strike, 1.0, 100.0, 1.0, True), 0.0)
    assert inverse(np.nextafter(10.0, 11.0), 90.0, 1.0, 100.0, 1.0, True) > 0.0


def test_smallest_and_largest_prices():
    tiny = inverse(1e-298, 1000.0, 1.0, 1.0, 1.0, True)
    assert float(black_price(tiny, 1000.0, 1.0, forward=1.0)) == pytest.approx(1e-298, rel=1e-11)
    almost = np.nextafter(1.0, 0.0)  # one rounding below the bound
    assert float(inverse(almost, 1.0, 1.0, 1.0, 1.0, True)) == pytest.approx(16.58, abs=0.01)


def test_slopes_are_those_of_the_inverse_function():
    vol, *market, is_call = QUOTES
    price = black(*QUOTES)
    found = slopes(price, *market, is_call)
    vega = black_vega(vol, market[0], market[1], forward=market[2], discount=market[3])
    np.testing.assert_allclose(found[0], 1.0 / vega, rtol=1e-12)
    inputs = [np.asarray(price), *market]
    for i, column in enumerate(inputs):
        step = 1e-6 * column
        up, down = ([*inputs[:i], column + sign * step, *inputs[i + 1 :]] for sign in (1.0, -1.0))
        difference = (inverse(*up, is_call) - inverse(*down, is_call)) / (2.0 * step)
        np.testing.assert_allclose(found[i], difference, rtol=1e-6, atol=1e-9)


def test_curvatures_are_the_slopes_of_the_slopes():
    _, *market, is_call = QUOTES
    inputs = [np.asarray(black(*QUOTES)), *market]
    found = curvatures(*inputs, is_call)
    for i, column in enumerate(inputs):
        step = 1e-5 * column
        up, down = ([*inputs[:i], column + sign * step, *inputs[i + 1 :]] for sign in (1.0, -1.0))
        for j, (high, low) in enumerate(zip(slopes(*up, is_call), slopes(*down, is_call), strict=True)):
            difference = (high - low) / (2.0 * step)
            np.testing.assert_allclose(found[j][i], difference, rtol=2e-5, atol=1e-7)


def test_forward_and_reverse_mode_agree():
    _, *market, is_call = QUOTES
    inputs = (black(*QUOTES), *map(jnp.asarray, market))
    function = partial(positional, is_call=is_call)
    tangents = tuple(jnp.full_like(x, 0.1 * n + 0.1) for n, x in enumerate(inputs))
    _, pushed = jax.jvp(function, inputs, tangents)
    pulled = jax.vjp(function, *inputs)[1](jnp.ones_like(pushed))
    assert float(pushed.sum()) == pytest.approx(
        sum(float((a * b).sum()) for a, b in zip(pulled, tangents, strict=True))
    )


def test_a_masked_quote_does_not_spoil_a_gradient():
    price, strike = jnp.array([5.0, 9.0, np.nan]), jnp.array([100.0, 90.0, 100.0])

    def loss(forward):
        vols = implied_vol(price, strike, 1.0, forward=forward)
        return jnp.where(jnp.isnan(vols), 0.0, vols).sum()

    alone = jax.grad(lambda forward: implied_vol(5.0, 100.0, 1.0, forward=forward))(100.0)
    assert float(jax.grad(loss)(100.0)) == pytest.approx(float(alone), rel=1e-12)


def test_a_bad_lane_changes_no_neighbour():
    _, *market, is_call = QUOTES
    price = np.asarray(black(*QUOTES))
    spoiled = np.where(np.arange(price.size) == 2, np.nan, price)
    clean, mixed = (np.asarray(inverse(p, *market, is_call)) for p in (price, spoiled))
    np.testing.assert_array_equal(np.delete(clean, 2), np.delete(mixed, 2))
    assert np.isnan(mixed[2])
    assert np.isfinite(clean).all()


def test_arguments_broadcast_and_vmap_agrees():
    prices, expiries = np.array([4.0, 5.0, 6.0]), np.array([0.5, 1.0])
    table = implied_vol(prices, 100, expiries[:, None], forward=100.0)
    assert table.shape == (2, 3)
    rows = jax.vmap(lambda T: implied_vol(prices, 100, T, forward=100.0))(jnp.asarray(expiries))
    np.testing.assert_allclose(table, rows, rtol=1e-15)


def test_new_numbers_do_not_recompile():
    traces = []

    @jax.jit
    def traced(price, strike):
        traces.append(None)
        return implied_vol(price, strike, 1.0, forward=100.0)

    for price in (4.0, 5.0, np.nan):
        traced(np.full(3, price), np.array([90.0, 100.0, 110.0]))
    assert len(traces) == 1


def test_float32_stays_float32():
    _, *market, is_call = QUOTES
    price = np.asarray(black(*QUOTES)).astype(np.float32)
    narrow = implied_vol(
        price,
        market[0].astype(np.float32),
        market[1].astype(np.float32),
        forward=market[2].astype(np.float32),
        discount=1.0,
        is_call=is_call,
    )
    assert narrow.dtype == jnp.float32
    wide = inverse(
        price.astype(np.float64), *(x.astype(np.float32).astype(np.float64) for x in market[:3]), 1.0, is_call
    )
    np.testing.assert_allclose(narrow, wide, rtol=1e-5)
    assert float(implied_vol(np.float32(1e-37), np.float32(1000.0), np.float32(1.0), forward=np.float32(1.0))) > 0.5


def test_by_logs_where_values_underflow_and_rooms_are_lost():
    """Volatilities of values from exp(-1e9) to 1 - exp(-250), from Black's formula in 150 digits."""
    random = np.random.default_rng(1)
    k = np.exp(random.uniform(np.log(1e-7), np.log(14.0), 200))
    s = np.exp(random.uniform(np.log(3e-4), np.log(40.0), 200))
    logs = []
    with mp.workdps(150):
        for distance, total in zip(k, s, strict=True):
            x, w = mp.mpf(distance), mp.mpf(total)
            z = x / w - w / 2
            tail = mp.exp(x) * mp.erfc((z + w) / mp.sqrt(2)) / 2
            value, room = mp.erfc(z / mp.sqrt(2)) / 2 - tail, mp.erfc(-z / mp.sqrt(2)) / 2 + tail
            logs.append((float(mp.log(value)), float(mp.log(room))))
    log_value, log_room = np.asarray(logs).T
    assert log_value.min() < -1e7
    assert log_room.min() < -150.0
    found, by_value, by_room = implied_vol_of_logs(log_value, log_room, -k, 0.25)
    np.testing.assert_allclose(found, 2.0 * s, rtol=2e-14)
    assert ((by_value > 0) != (by_room > 0)).all()
    # a relative error in what counts moves the volatility by as much as is said
    up, less = (1e-6 * (np.asarray(by) > 0) for by in (by_value, by_room))
    moved, _, _ = implied_vol_of_logs(log_value + up, log_room + less, -k, 0.25)
    change = np.abs(np.asarray(moved) / np.asarray(found) - 1.0) / (1e-6 * np.asarray(by_value + by_room))
    resolved = np.asarray(by_value + by_room) > 1e-7
    np.testing.assert_allclose(change[resolved], 1.0, rtol=1e-2)
    four = (np.asarray(x, np.float32) for x in (log_value, log_room, k, np.full(200, 0.25)))
    narrow = jax.jit(implied_vol_of_logs)(*four)[0]
    assert narrow.dtype == np.float32
    np.testing.assert_allclose(narrow, 2.0 * s, rtol=3e-6)


def test_derivatives_by_logs_are_those_of_the_inverse():
    def by_price(log_value, strike):
        return implied_vol(jnp.exp(log_value), strike, 0.5, forward=1.0)

    def by_logs(log_value, strike):
        return implied_vol_of_logs(log_value, jnp.log1p(-jnp.exp(log_value)), jnp.log(strike), 0.5)[0]

    derivatives = [
        jax.jit(lambda *point, f=f: (jax.grad(f, (0, 1))(*point), jax.hessian(f, (0, 1))(*point)))
        for f in (by_price, by_logs)
    ]
    for point in ((-4.0, 1.3), (-1.2, 1.05), (-0.2, 1.6), (-0.02, 2.5)):
        for expected, found in zip(*(jax.tree.leaves(both(*point)) for both in derivatives), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


@jax.jit
@partial(jax.value_and_grad, argnums=(0, 1, 2, 3))
def masked(log_value, log_room, log_strike, expiry):
    found = implied_vol_of_logs(log_value, log_room, log_strike, expiry)[0]
    return jnp.where(jnp.isnan(found), 0.0, 1.0 + found)


@pytest.mark.parametrize("bad", [(0.5, -1.0, 0.1, 1.0), (np.nan, -1.0, 0.1, 1.0), (-1.0, -0.5, np.inf, 1.0),
                                 (-1.0, -0.5, 0.1, 0.0), (-np.inf, -0.0, 0.1, 1.0), (0.0, 0.0, 0.1, 1.0)])  # fmt: skip
def test_by_logs_nothing_is_made_of_nothing(bad):
    value, slopes = masked(*bad)
    assert value == 0.0
    assert all(float(slope) == 0.0 for slope in slopes)
