"""Double Heston on a clock: the law of DoubleHeston at the clock's time, its rules, its derivatives, its fits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcal as jc
from jaxcal.calibration.starts.starting_values import make_starts

STILL = jc.DoubleHeston(0.02, 6.0, 0.02, 0.6, -0.8, 0.02, 0.5, 0.03, 0.3, 0.4)
KNOTS, PACE = (0.1, 0.5, 2.0), (3.0, 0.4, 1.5)
MODEL = jc.ClockedDoubleHeston.of(STILL, KNOTS, PACE)
YEARS = np.array([0.05, 0.1, 0.3, 0.5, 1.0, 5.0])
CLOCK = np.array([0.05, 0.1, 0.7, 1.3, 1.5, 6.4])
Z = jnp.asarray([1.5, 3.0 - 0.5j, 40.0 + 0.2j, -0.3j])


@jax.jit
def log_cf(model, z, t):
    return model.log_cf(z, t)


@jax.jit
def price_at(pace):
    return jc.price(jc.ClockedDoubleHeston.of(STILL, KNOTS, pace), 95.0, 0.7, forward=100.0)


def test_the_clock():
    np.testing.assert_allclose(np.asarray(MODEL.clock(YEARS)), CLOCK, rtol=1e-15)
    assert float(MODEL.clock(0.3)) == pytest.approx(0.7, rel=1e-15)
    assert float(jax.grad(lambda t: MODEL.clock(t))(1.0)) == pytest.approx(0.4, rel=1e-15)


def test_the_law_is_that_of_the_factors_at_the_time_of_the_clock():
    z = jnp.asarray(np.tile(Z, (YEARS.size, 1)))
    found = np.asarray(log_cf(MODEL, z, YEARS[:, None]))
    expected = np.asarray(log_cf(STILL, z, CLOCK[:, None]))
    np.testing.assert_allclose(found, expected, rtol=1e-13)
    for limits, of_still in zip(
        MODEL.moment_bounds(jnp.asarray(YEARS)), STILL.moment_bounds(jnp.asarray(CLOCK)), strict=True
    ):
        np.testing.assert_allclose(np.asarray(limits), np.asarray(of_still), rtol=1e-12)
    np.testing.assert_allclose(MODEL.decay_cone(), STILL.decay_cone(), rtol=1e-15)


def test_a_clock_that_runs_as_time_does():
    model = jc.ClockedDoubleHeston.of(STILL, KNOTS)
    t = YEARS[:, None]
    z = jnp.asarray(np.tile(Z, (YEARS.size, 1)))
    np.testing.assert_allclose(np.asarray(log_cf(model, z, t)), np.asarray(log_cf(STILL, z, t)), rtol=1e-13)


def test_without_knots():
    model = jc.ClockedDoubleHeston.of(STILL, [])
    assert model.pace.shape == (0,)
    np.testing.assert_allclose(np.asarray(model.clock(YEARS)), YEARS, rtol=1e-15)
    price = float(jc.price(model, 95.0, 0.7, forward=100.0))
    assert price == pytest.approx(float(price_at(jnp.ones(3))), rel=1e-13)


def test_total_variance_never_falls():
    """Whatever the pace, no calendar arbitrage: calls at one strike over the forward rise with time."""
    slow = jc.ClockedDoubleHeston.of(STILL, KNOTS, (1e-3, 1e-3, 1e-3))
    strike, years = np.asarray([70.0, 100.0, 140.0]), np.linspace(0.05, 3.0, 30)[:, None]
    prices = np.asarray(jc.price(slow, strike, years, forward=100.0))
    assert (np.diff(prices, axis=0) >= -1e-12).all()


def test_the_clock_is_as_wide_as_what_comes_in():
    narrow = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), MODEL)
    assert narrow.clock(0.3).dtype == jnp.float32
    assert MODEL.clock(jnp.asarray(0.3, jnp.float32)).dtype == jnp.float64
    wide = log_cf(MODEL, Z.astype(jnp.complex64), jnp.asarray(0.7, jnp.float32))  # phi follows its nodes
    assert wide.dtype == jnp.complex64


def test_float32():
    narrow = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), MODEL)
    found = log_cf(narrow, Z.astype(jnp.complex64), jnp.asarray(0.7, jnp.float32))
    assert found.dtype == jnp.complex64
    np.testing.assert_allclose(np.asarray(found), np.asarray(log_cf(MODEL, Z, jnp.asarray(0.7))), rtol=5e-5)


PARAMETERS = np.asarray([getattr(STILL, name) for name in STILL.bounds] + list(PACE))


def clocked(vector):
    return jc.ClockedDoubleHeston(*vector[:10], pace=vector[10:], knots=jnp.asarray(KNOTS))


def of_law(vector):
    """ln phi at the expiries of `of_prices`, an expiry a half."""
    logs = clocked(vector).log_cf(jnp.stack([Z, Z]), jnp.asarray([[0.3], [3.0]]))
    return jnp.concatenate([jnp.real(logs), jnp.imag(logs)], axis=1).ravel()


def of_prices(vector):
    return jc.price(clocked(vector), jnp.asarray([85.0, 120.0]), jnp.asarray([[0.3], [3.0]]), forward=100.0).ravel()


# of prices, other models show the same in tests/pricing
@pytest.mark.parametrize("value", [of_law, pytest.param(of_prices, marks=pytest.mark.slow)])
def test_forward_is_reverse_is_a_difference(value):
    everything = jax.jit(lambda x: (value(x), jax.jacfwd(value)(x), jax.jacrev(value)(x)))
    _, forward, reverse = map(np.asarray, everything(PARAMETERS))
    np.testing.assert_allclose(forward, reverse, rtol=1e-9, atol=1e-11)
    for i in range(PARAMETERS.size):
        h = 1e-5 * abs(PARAMETERS[i])
        up, down = (np.asarray(everything(PARAMETERS + sign * h * np.eye(PARAMETERS.size)[i])[0]) for sign in (1, -1))
        np.testing.assert_allclose(forward[:, i], (up - down) / (2 * h), rtol=1e-5, atol=1e-6)
    assert (forward[: len(forward) // 2, 11:] == 0.0).all()  # an option sees the intervals before its expiry only


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("pace", (3.0, 0.0, 1.5), "pace must be positive"),
        ("knots", (0.5, 0.1, 2.0), "knots must be positive and increase"),
        ("knots", (0.0, 0.1, 2.0), "knots must be positive and increase"),
        ("pace", (3.0, 0.4), "every knot has a pace"),
        ("pace", 3.0, "every knot has a pace"),
        ("knots", 0.5, "knots must be a vector of times"),
        ("v0_2", -0.1, "v0_2 must not be negative"),
        ("rho_1", 1.0, "rho_1 must lie in"),
    ],
)
def test_bad_input(field, value, sentence):
    fields = {name: getattr(STILL, name) for name in STILL.bounds} | {"pace": PACE, "knots": KNOTS, field: value}
    with pytest.raises(ValueError, match=sentence):
        jc.ClockedDoubleHeston(**fields)


def test_a_broken_rule_inside_jit_is_nan():
    assert np.isnan(float(price_at(jnp.asarray([3.0, -0.4, 1.5]))))
    assert np.isfinite(float(price_at(jnp.asarray(PACE))))


EXPIRY = np.array([7, 14, 30, 61, 91, 182, 365, 730]) / 365.0
STRIKE = 100.0 * np.exp(np.linspace(-3.0, 2.0, 15) * 0.25 * np.sqrt(EXPIRY)[:, None])


@pytest.mark.slow
def test_a_fit_finds_the_vols():
    truth = jc.ClockedDoubleHeston.of(STILL, EXPIRY[:-1], (0.5, 1.4, 0.8, 1.0, 2.0, 1.3, 0.7))
    vol = jc.model_vol(truth, STRIKE, EXPIRY[:, None], forward=100.0)
    fit = jc.calibrate(jc.ClockedDoubleHeston, jc.Surface.from_vols(EXPIRY, STRIKE, vol, forward=100.0))
    assert fit.converged
    np.testing.assert_allclose(np.asarray(fit.model.knots), EXPIRY[:-1])  # one at each expiry but the last
    assert float(fit.rmse_vol) < 1e-6


@pytest.fixture(scope="module")
def vol():
    still = jc.DoubleHeston(0.02, 6.0, 0.02, 0.6, -0.8, 0.02, 0.5, 0.03, 0.3, -0.4)
    return np.asarray(jc.model_vol(still, STRIKE, EXPIRY[:, None], forward=100.0))


@pytest.mark.slow
def test_many_surfaces(vol):
    three = jc.Surface.from_vols(EXPIRY[2:5], STRIKE[2:5], vol[2:5], forward=100.0)
    few = jc.Surface.from_vols(EXPIRY[2:5], STRIKE[2:5, :3], vol[2:5, :3], forward=100.0)
    fits = jc.calibrate_many(jc.ClockedDoubleHeston, {"three": three, "few": few})
    assert fits["three"].model.pace.shape == (2,)
    np.testing.assert_allclose(np.asarray(fits["three"].model.knots), EXPIRY[2:4])
    assert float(fits["three"].rmse_vol) < 1e-5
    assert fits["few"].status == jc.Outcome.TOO_FEW_QUOTES


@pytest.mark.slow
def test_many_surfaces_of_one_and_of_several_expiries(vol):
    surfaces = {
        "one": jc.Surface.from_vols(EXPIRY[2:3], STRIKE[2:3], vol[2:3], forward=100.0),
        "three": jc.Surface.from_vols(EXPIRY[2:5], STRIKE[2:5], vol[2:5], forward=100.0),
    }
    fits = jc.calibrate_many(jc.ClockedDoubleHeston, surfaces)
    assert fits["one"].model.knots.shape == (0,)
    assert fits["three"].model.pace.shape == (2,)
    assert float(fits["one"].rmse_vol) < 1e-5


def test_starts_have_a_knot_at_every_expiry_but_the_last():
    heston = jax.tree.map(jnp.asarray, jc.Heston(0.04, 2.0, 0.04, 0.5, -0.5))
    for count in (1, 3):
        rows = slice(2, 2 + count)
        surface = jc.Surface.from_vols(EXPIRY[rows], STRIKE[rows], np.full((count, 15), 0.2), forward=100.0)
        for start in make_starts(jc.ClockedDoubleHeston, surface, heston):
            np.testing.assert_allclose(np.asarray(start.knots), EXPIRY[2 : 1 + count])


def test_starts_have_at_most_ten_knots_and_the_dtype_of_the_surface():
    years = jnp.linspace(0.05, 2.0, 14)
    strike = 100.0 * jnp.exp(jnp.linspace(-0.2, 0.2, 5))
    surface = jc.Surface.from_vols(years, strike, jnp.full((14, 5), 0.2), forward=100.0)
    narrow = jax.tree.map(lambda x: x.astype(jnp.float32) if x.dtype == jnp.float64 else x, surface)
    for one in (surface, narrow):
        heston = jax.tree.map(lambda x, one=one: jnp.asarray(x, one.vol.dtype), jc.Heston(0.04, 2.0, 0.04, 0.5, -0.5))
        starts = make_starts(jc.ClockedDoubleHeston, one, heston)
        assert len(starts) == 5
        for start in starts:
            assert start.knots.shape == start.pace.shape == (10,)
            assert {leaf.dtype for leaf in jax.tree.leaves(start)} == {one.vol.dtype}
            assert set(np.asarray(start.knots)) < set(np.asarray(one.expiry))
