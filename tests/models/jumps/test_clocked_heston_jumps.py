"""Factors and jumps on one clock: prices of another integral, nested models, rules, derivatives."""

from itertools import pairwise
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad

import jaxcal as jc
from jaxcal.calibration.best_fit import in_order
from jaxcal.calibration.engine.grid_fit import GridFit

MAKE: Any = jc.ClockedHestonJumps  # from fields by the dozen
STILL = jc.DoubleHeston(0.02, 6.0, 0.02, 0.6, -0.8, 0.02, 0.5, 0.03, 0.3, -0.4)
HESTON = jc.Heston(0.04, 2.0, 0.05, 0.6, -0.7)
RARE, SMALL = (0.3, -0.25, 0.3), (20.0, 0.005, 0.02)
BATES = jc.Bates(0.04, 2.0, 0.05, 0.6, -0.7, *RARE)
KNOTS, PACE = (0.1, 0.5, 2.0), (3.0, 0.4, 1.5)
Z = jnp.asarray([1.5, 3.0 - 0.5j, 40.0 + 0.2j, -0.3j])
T = jnp.asarray([[0.05], [0.7], [5.0]])
NAMES = ("v0", "kappa", "theta", "sigma", "rho", "jump_intensity", "jump_mean", "jump_std")


def with_jumps(model, *kinds):
    """The model with these kinds of jumps."""
    fields = [jnp.asarray(x) for x in zip(*kinds, strict=True)]
    return eqx.tree_at(lambda m: (m.jump_intensity, m.jump_mean, m.jump_std), model, fields)


@jax.jit
def log_cf(model, z, t):
    return model.log_cf(z, t)


def logs(model, years=T):
    return np.asarray(log_cf(model, jnp.tile(Z, (3, 1)), years))


# Of an independent Lewis integral, good to about 1e-8.
STRIKE, EXPIRY = np.array([100.0, 70.0, 130.0, 100.0, 90.0]), np.array([1.0, 1.0, 1.0, 0.1, 0.1])
ONE_KIND = [13.98156529, 33.64550044, 3.89599641, 2.83419976, 10.64133469]
TWO_KINDS = [14.80021111, 33.93938380, 4.87718904, 3.07655297, 10.69166126]


@pytest.mark.parametrize(("kinds", "expected"), [((RARE,), ONE_KIND), ((RARE, SMALL), TWO_KINDS)])
def test_prices_are_those_of_another_integral(kinds, expected):
    model = with_jumps(jc.ClockedHestonJumps.of(STILL, [0.25], [2.0]), *kinds)
    found = np.asarray(jc.price(model, STRIKE, EXPIRY, forward=100.0))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-7)
    np.testing.assert_allclose(found, [lewis(model, k, t) for k, t in zip(STRIKE, EXPIRY, strict=True)], rtol=2e-12)


def lewis(model, strike, t, forward=100.0):
    """A call by Lewis's integral along Im z = -1/2, the characteristic function by numpy's complex numbers."""
    years = min(t, 0.25) + 2.0 * max(t - 0.25, 0.0)
    parts = np.stack([np.asarray(getattr(model, name)) for name in NAMES[:5]])
    kinds = np.stack([np.asarray(getattr(model, name)) for name in NAMES[5:]])

    def phi(z):
        total = 0.0
        for v0, kappa, theta, sigma, rho in parts.T:
            beta = kappa - 1j * rho * sigma * z
            d = np.sqrt(beta**2 + sigma**2 * (z**2 + 1j * z))
            g = (beta - d) / (beta + d)
            fading = np.exp(-d * years)
            total += kappa * theta / sigma**2 * ((beta - d) * years - 2 * np.log((1 - g * fading) / (1 - g)))
            total += v0 / sigma**2 * (beta - d) * (1 - fading) / (1 - g * fading)
        for intensity, mean, std in kinds.T:
            jump = np.exp(1j * z * mean - 0.5 * std**2 * z**2) - 1 - 1j * z * (np.exp(mean + 0.5 * std**2) - 1)
            total += intensity * years * jump
        return np.exp(total)

    k = np.log(strike / forward)
    integrand = lambda u: np.real(np.exp(-1j * u * k) * phi(u - 0.5j)) / (u**2 + 0.25)  # noqa: E731
    edges = [0.0, 1.0, 4.0, 16.0, 64.0, 256.0, 1024.0]
    whole = sum(quad(integrand, a, b, epsabs=1e-15, epsrel=1e-13, limit=400)[0] for a, b in pairwise(edges))
    return forward - np.sqrt(strike * forward) / np.pi * whole


@pytest.mark.parametrize(
    ("nested", "like"),
    [
        (jc.ClockedHestonJumps.of(STILL, KNOTS, PACE), jc.ClockedDoubleHeston.of(STILL, KNOTS, PACE)),
        (jc.ClockedHestonJumps.of(jc.ClockedDoubleHeston.of(STILL, KNOTS, PACE)), None),
        (jc.ClockedHestonJumps.of(HESTON), HESTON),
        (jc.ClockedHestonJumps.of(BATES), BATES),
        (jc.ClockedHestonJumps.of(STILL), STILL),
    ],
)  # fmt: skip
def test_it_is_the_nested_model(nested, like):
    like = jc.ClockedDoubleHeston.of(STILL, KNOTS, PACE) if like is None else like
    np.testing.assert_allclose(logs(nested), logs(like), rtol=1e-13)
    t = T[:, 0]
    for found, expected in zip(nested.moment_bounds(t), like.moment_bounds(t), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12)
    np.testing.assert_allclose(nested.decay_cone(), like.decay_cone(), rtol=1e-15)


def test_parts_without_variance_or_intensity_change_nothing():
    one = jc.ClockedHestonJumps.of(HESTON, KNOTS, PACE)
    wide = MAKE(
        *([float(x), y] for x, y in zip(jax.tree.leaves(HESTON), (0.0, 3.0, 0.0, 2.0, 0.1), strict=True)),
        [0.0], [0.1], [0.2], pace=PACE, knots=KNOTS,
    )  # fmt: skip
    np.testing.assert_allclose(logs(wide), logs(one), rtol=1e-13)


def test_other_knots_keep_the_clock():
    old = with_jumps(jc.ClockedHestonJumps.of(STILL, [0.5], [2.0]), RARE)
    more = jc.ClockedHestonJumps.of(old, [0.2, 0.5, 1.0])
    np.testing.assert_allclose(more.pace, [1.0, 2.0, 2.0], rtol=1e-15)
    np.testing.assert_allclose(logs(more), logs(old), rtol=1e-13)
    # a first knot beyond the old one: years of the new clock are longer, and the law at its knots is the same
    later = jc.ClockedHestonJumps.of(old, [1.0, 2.0])
    at = jnp.asarray([[1.0], [2.0], [2.5]])
    np.testing.assert_allclose(logs(later, at), logs(old, at), rtol=1e-12)


def test_parts_that_are_added():
    model = jc.ClockedHestonJumps.of(HESTON, KNOTS, factors=4, jumps=4)
    assert [np.shape(getattr(model, name)) for name in NAMES] == [(4,)] * 8
    assert [float(getattr(model, name)[0]) for name in NAMES[:5]] == [0.04, 2.0, 0.05, 0.6, -0.7]
    assert len(set(model.kappa.tolist())) == len(set(model.jump_intensity.tolist())) == 4


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: jc.ClockedHestonJumps.of(STILL, factors=1), "factors is 1, and DoubleHeston has 2"),
        (lambda: jc.ClockedHestonJumps.of(STILL, factors=9), "adds parts up to 4 of a kind, not 9"),
        (lambda: jc.ClockedHestonJumps.of(STILL, pace=[2.0]), "a pace without knots"),
        (lambda: MAKE.of(jc.Merton(0.2, *RARE)), "Merton has no parts"),
        (lambda: jc.ClockedHestonJumps.of(STILL, KNOTS, (3.0, -0.4, 1.5)), "pace must be positive"),
        (lambda: jc.ClockedHestonJumps.of(STILL, KNOTS, (3.0, 0.4)), "for each knot"),
        (lambda: jc.ClockedHestonJumps.of(STILL, (0.5, 0.1, 2.0)), "knots must be positive and increase"),
        (lambda: jc.ClockedHestonJumps.of(STILL, (0.5, 0.5)), "knots must be positive and increase"),
        (lambda: jc.ClockedHestonJumps.of(STILL, (0.5, np.nan)), "knots must be positive and increase"),
        (lambda: jc.ClockedHestonJumps.of(STILL, (0.5, np.inf), (1.0, 1.0)), "knots must be finite"),
        (lambda: jc.ClockedHestonJumps.of(jc.ClockedHestonJumps.of(STILL, [0.5]), []), "the model has a clock of 1"),
        (lambda: MAKE(*[[]] * 5, [], [], [], [], []), "one factor or more"),
        (lambda: MAKE(*[[0.1, 0.2]] * 4, [0.1], [], [], [], [], []), "for each factor"),
        (lambda: MAKE(*[[0.1]] * 5, [1.0], [0.1], [], [], []), "for each kind of jumps"),
        (lambda: MAKE(*[0.1] * 5, [], [], [], [], []), "are vectors"),
        (lambda: MAKE(*[[0.1]] * 4, [1.0], [], [], [], [], []), "rho must lie in"),
        (lambda: MAKE(*[[0.1]] * 5, [-1.0], [0.1], [0.1], [], []), "jump_intensity must not be neg"),
    ],
)
def test_bad_input(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: MAKE.of(STILL, jumps=True), "jumps is a number of parts, not True"),
        (lambda: MAKE.of(jc.Heston), "not the class Heston"),
    ],
)
def test_what_is_no_number_of_parts(call, sentence):
    with pytest.raises(TypeError, match=sentence):
        call()


def test_a_knot_may_be_a_number():
    assert jc.ClockedHestonJumps.of(STILL, 0.5).knots.tolist() == [0.5]


def test_jumps_of_nearly_one_size_are_counted():
    """phi revives for ever: prices are those of the sum over the numbers of jumps."""
    model = with_jumps(jc.ClockedHestonJumps.of(HESTON, [0.25], [2.0]), (1.5, -0.4, 1e-3))
    law = with_jumps(jc.ClockedHestonJumps.of(HESTON, [0.25], [2.0]), (1.5, -0.4, 0.05))
    assert np.isfinite(np.asarray(jc.price(model, [60.0, 90.0, 120.0], 0.3, forward=100.0))).all()
    assert float(law.revival(Z[:1], jnp.asarray(0.3))[0]) > 0.0
    kinds = with_jumps(law, RARE, SMALL).jump_kinds(jnp.asarray([0.25, 1.0]))
    np.testing.assert_allclose(kinds.expected, [[0.075, 0.525], [5.0, 35.0]], rtol=1e-14)
    assert jc.ClockedHestonJumps.of(STILL).jump_kinds(jnp.asarray(1.0)) is None


@pytest.mark.slow
def test_greeks_and_the_derivative_in_every_parameter():
    model = with_jumps(jc.ClockedHestonJumps.of(STILL, [0.25], [2.0]), RARE, SMALL)
    price = jax.jit(lambda m: jc.price(m, 95.0, 0.7, forward=100.0))
    slope = jax.jit(jax.grad(price))(model)
    for name in (*NAMES, "pace"):
        for i, value in enumerate(np.asarray(getattr(model, name))):
            h = 1e-5 * abs(float(value))

            def at(x, name=name, i=i):
                return eqx.tree_at(lambda m: getattr(m, name), model, getattr(model, name).at[i].set(x))

            difference = (float(price(at(value + h))) - float(price(at(value - h)))) / (2 * h)
            assert float(getattr(slope, name)[i]) == pytest.approx(difference, rel=1e-5, abs=1e-7), name
    table = jc.greeks(model, [90.0, 110.0], 0.7, forward=100.0)
    assert np.isfinite(np.asarray(table.gamma)).all()


EXPIRY_GRID = np.array([30, 182]) / 365.0


@pytest.mark.slow
def test_a_fit_of_the_class_finds_its_law_again_and_orders_its_parts():
    """Prices of two factors and jumps: nothing is missed, the slowest factor is first, whatever start it came from."""
    truth = with_jumps(jc.ClockedHestonJumps.of(STILL, EXPIRY_GRID[:1], (0.6,)), RARE)
    strike = 100.0 * np.exp(np.linspace(-3.0, 2.0, 16) * 0.25 * np.sqrt(EXPIRY_GRID)[:, None])
    vol = np.asarray(jc.model_vol(truth, strike, EXPIRY_GRID[:, None], forward=100.0))
    fit = jc.calibrate(jc.ClockedHestonJumps, jc.Surface.from_vols(EXPIRY_GRID, strike, vol, forward=100.0))
    assert float(fit.rmse_vol) < 2e-4
    assert [np.shape(getattr(fit.model, name)) for name in NAMES] == [(3,)] * 5 + [(1,)] * 3
    assert (np.diff(np.asarray(fit.model.kappa)) > 0).all()
    np.testing.assert_array_equal(fit.model.knots, EXPIRY_GRID[:1])


def test_parts_in_order_keep_what_is_known_of_them():
    model = jc.ClockedHestonJumps.of(HESTON, [0.5], factors=3, jumps=2)
    names = tuple(model.bounds)
    places = 5 * 3 + 3 * 2 + 1
    wrong = eqx.tree_at(lambda m: m.kappa, model, jnp.asarray([9.0, 1.0, 4.0]))
    information = jnp.arange(places**2, dtype=float).reshape(places, places)
    zero, count, some = jnp.zeros(()), jnp.zeros((), int), jnp.zeros((1, 1))
    bound, moved = jnp.arange(places) == 3, jnp.asarray(False)
    found = GridFit(wrong, some, some, information, zero, zero, zero, count, count, bound, moved)
    ordered = in_order(found, names)
    assert ordered.model.kappa.tolist() == [1.0, 4.0, 9.0]
    np.testing.assert_array_equal(ordered.model.v0, np.asarray(model.v0)[[1, 2, 0]])
    assert np.flatnonzero(ordered.at_bound).tolist() == [5]  # kappa[0], which is the last now
    np.testing.assert_array_equal(ordered.information[3:6, 3:6], np.asarray(information)[np.ix_([4, 5, 3], [4, 5, 3])])
    assert in_order(found, ("v0", "kappa")) is found  # parts that are fitted in half keep their places
