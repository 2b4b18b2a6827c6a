"""Knots by need: where a level is missed, and nowhere else."""

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, Float

import jaxcal as jc
from jaxcal.calibration.search.add_knots import level_misses
from jaxcal.models.analytic.buckets import years_on_clock

EXPIRY = np.array([0.1, 0.2, 0.3, 0.5, 1.0])
STRIKE = np.array([80.0, 90.0, 100.0, 110.0, 120.0])


class Clocked(jc.AbstractVolModel):
    """One volatility in business time."""

    sigma: Float[Array, ""] | float
    pace: Float[Array, "..."]
    knots: Float[Array, "..."]
    bounds: ClassVar = {"sigma": jc.Interval(0.01, 5.0, "log"), "pace": jc.Interval(1e-3, 1e3, "log")}
    vectors: ClassVar = frozenset({"pace", "knots"})

    def vol(self, strike, expiry, forward):
        t = jnp.broadcast_to(jnp.asarray(expiry), jnp.broadcast_shapes(jnp.shape(strike), jnp.shape(expiry)))
        return self.sigma * jnp.sqrt(years_on_clock(self.knots, self.pace, t) / t)


def surface_of(model, noise=0.0):
    vol = np.asarray(model.vol(STRIKE[None, :], EXPIRY[:, None], 100.0))
    vol = vol + noise * np.random.default_rng(2).standard_normal(vol.shape)
    return jc.Surface.from_vols(EXPIRY, STRIKE, vol, forward=100.0)


def clocked(knots, pace):
    return Clocked(0.2, jnp.asarray(pace), jnp.asarray(knots))


TRUTH = clocked(EXPIRY[:-1], [1.5, 0.4, 2.0, 0.8])


def test_levels_that_are_missed_get_knots_and_then_nothing_is_missed():
    surface = surface_of(TRUTH, 1e-4)
    fit = jc.calibrate(clocked([0.3], [1.0]), surface)
    assert (level_misses(fit) > 3.0).any()
    more = jc.add_knots(fit)
    assert more.converged
    assert float(more.cost) < 1e-3 * float(fit.cost)
    np.testing.assert_allclose(more.model.knots, EXPIRY[:-1])
    np.testing.assert_allclose(more.model.pace, TRUTH.pace, rtol=0.02)
    assert (level_misses(more) < 3.0).all()
    again = jc.calibrate(more.spec, surface)  # the spec says how it began
    np.testing.assert_allclose(again.model.pace, more.model.pace, rtol=1e-6)
    assert jc.add_knots(more) is more


def test_the_loss_is_wide_first_and_its_own_in_the_end():
    fit = jc.calibrate(clocked([0.3], [1.0]), surface_of(TRUTH, 1e-4), loss=jc.Cauchy(0.001))
    more = jc.add_knots(fit)
    assert more.model.knots.size == 4
    assert more.loss == jc.Cauchy(0.001)


def test_a_level_that_is_matched_gets_none():
    fit = jc.calibrate(clocked([0.3], [1.0]), surface_of(clocked([0.3], [1.4]), 1e-3))
    assert jc.add_knots(fit) is fit


def test_what_rounding_leaves_is_no_level():
    fit = jc.calibrate(clocked([0.3], [1.0]), surface_of(clocked([0.3], [1.4])))
    assert jc.add_knots(fit) is fit


def test_no_more_than_most_and_those_that_miss_most_first():
    fit = jc.calibrate(clocked([0.3], [1.0]), surface_of(clocked([0.3, 0.5], [1.5, 0.2]), 1e-4))
    more = jc.add_knots(fit, most=2)
    assert more.model.knots.tolist() == pytest.approx([0.3, 0.5])


def test_bad_input():
    surface = surface_of(TRUTH)
    with pytest.raises(ValueError, match="BlackScholes has no clock"):
        jc.add_knots(jc.calibrate(jc.BlackScholes(0.2), surface))
    fit = jc.calibrate(clocked([0.1, 0.3], [1.0, 1.0]), surface)
    with pytest.raises(ValueError, match="most is 1, and the clock has 2 knots"):
        jc.add_knots(fit, most=1)
    nothing = eqx.tree_at(lambda s: s.weight, surface, jnp.zeros_like(surface.weight))
    with pytest.raises(ValueError, match="there is no fit to add knots to"):
        jc.add_knots(jc.calibrate(clocked([0.1], [1.0]), nothing))


def test_what_it_cannot_take_is_said():
    surface = surface_of(TRUTH, 1e-4)
    fit = jc.calibrate(clocked([0.3], [1.0]), surface)
    with pytest.raises(TypeError, match="a number of knots, not True"):
        jc.add_knots(fit, most=True)
    held = jc.calibrate(fit.model, surface, prior=jc.toward(fit))
    with pytest.raises(ValueError, match="about its own paces, 1 of them: fit without it, add knots"):
        jc.add_knots(held)


def test_a_pace_that_moves_no_quote_leaves_the_others_their_errors():
    surface = surface_of(TRUTH, 1e-4)
    fit, dead = (jc.calibrate(clocked(knots, [1.0] * len(knots)), surface) for knots in ([0.3], [0.3, 5.0]))
    errors = dead.standard_errors
    assert np.isnan(np.asarray(errors.pace)).tolist() == [False, True]
    np.testing.assert_allclose(errors.sigma, fit.standard_errors.sigma, rtol=1e-6)
    assert dead.effective_parameters == fit.effective_parameters == 2.0


def test_no_vector_of_nothing_is_free():
    with pytest.raises(ValueError, match="free names pace, of which this Clocked has none"):
        jc.calibrate(clocked([], []), surface_of(TRUTH), free=["pace"])
