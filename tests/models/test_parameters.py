"""Intervals, and the map between models and search vectors."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import jaxcal as jc
from jaxcal.models.parameters import Scales, from_vector, search_bounds, to_vector

NAMES = ("v0", "kappa", "theta", "sigma", "rho")
inside = st.tuples(
    *(
        st.floats(interval.lower, interval.upper, allow_subnormal=False)
        for interval in (jc.Heston.bounds[name] for name in NAMES)
    )
)


@pytest.mark.parametrize(("tied", "other"), [("theta", "v0"), ("kappa", "rho")])
def test_bounds_that_depend_on_a_tied_parameter_follow_it(tied, other):
    """Also where the tied parameter stands before the one it follows."""
    scales = Scales((("sigma", jc.feller_bounds(jc.Heston)["sigma"]),), ((tied, other),))
    free = tuple(name for name in NAMES if name != tied)
    start = jax.tree.map(jnp.asarray, jc.Heston(0.04, 1.5, 0.09, 0.2, 0.7))
    y = to_vector(start, free, scales)
    moved = from_vector(start, free, y.at[free.index("sigma")].set(0.0) + 0.1, scales)  # 0: on the edge
    assert getattr(moved, tied) == getattr(moved, other) != getattr(start, other)
    edge = np.sqrt(2.0 * moved.kappa * moved.theta)
    np.testing.assert_allclose(moved.sigma, edge * np.exp(0.1), rtol=1e-14)
    back = from_vector(start, free, to_vector(moved, free, scales), scales)
    np.testing.assert_allclose(jax.tree.leaves(back), jax.tree.leaves(moved), rtol=1e-14)


@given(inside)
def test_model_to_vector_and_back(values):
    model = jax.tree.map(jnp.asarray, jc.Heston(*values))
    y = to_vector(model, NAMES)
    lower, upper = search_bounds(model, jc.Heston.bounds, NAMES, np.dtype(np.float64))
    rounding = 1e-13  # the bounds lie inside by a few roundings
    assert ((lower <= np.asarray(y) + rounding) & (np.asarray(y) - rounding <= upper)).all()
    back = from_vector(model, NAMES, y)
    np.testing.assert_allclose(jax.tree.leaves(back), values, rtol=1e-14)


@given(inside, st.sets(st.sampled_from(NAMES), min_size=1))
def test_other_fields_are_untouched(values, chosen):
    free = tuple(name for name in NAMES if name in chosen)
    model = jax.tree.map(jnp.asarray, jc.Heston(*values))
    moved = from_vector(model, free, to_vector(model, free) + 0.125)
    for name, value in zip(NAMES, values, strict=True):
        found = float(getattr(moved, name))
        if name not in free:
            assert found == value
        elif jc.Heston.bounds[name].scale == "log":
            assert found == pytest.approx(value * np.exp(0.125), rel=1e-13)
        else:
            assert found == pytest.approx(value + 0.125, abs=1e-14)


@given(st.floats(1e-8, 1e8), st.floats(1.0 + 1e-6, 1e6), st.floats(0.0, 1.0))
def test_log_interval_round_trip(lower, ratio, place):
    interval = jc.Interval(lower, lower * ratio, "log")
    value = lower * ratio**place
    y = interval.to_search(jnp.asarray(value))
    assert float(interval.from_search(y)) == pytest.approx(value, rel=1e-13)
    assert lower <= interval.middle <= lower * ratio
    assert interval.middle**2 == pytest.approx(lower * lower * ratio)


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_linear_interval_is_itself(lower, width):
    interval = jc.Interval(lower, lower + width)
    assert interval.scale == "linear"
    assert interval.middle == pytest.approx(lower + width / 2)
    assert float(interval.from_search(interval.to_search(jnp.asarray(lower)))) == lower


def test_search_bounds():
    lower, upper = search_bounds(
        SimpleNamespace(a=2.0, b=np.zeros(3)),
        {"a": jc.Interval(0.01, 100.0, "log"), "b": jc.Interval(-1.0, 2.0)},
        ("b", "a"),
        np.dtype(np.float32),
    )
    assert lower.dtype == upper.dtype == np.float32
    np.testing.assert_allclose(lower, [-1.0, -1.0, -1.0, np.log(0.01)], rtol=1e-6)
    np.testing.assert_allclose(upper, [2.0, 2.0, 2.0, np.log(100.0)], rtol=1e-6)


@pytest.mark.parametrize("model", [jc.Heston, jc.BlackScholes])
def test_every_field_has_an_interval_in_order(model):
    instance = model(*(interval.middle for interval in model.bounds.values()))
    assert list(vars(instance)) == list(model.bounds)
    for interval in model.bounds.values():
        assert interval.lower < interval.upper
        assert interval.scale == "linear" or interval.lower > 0


def test_heston_bounds_are_as_wide_as_promised():
    """Vol of variance to 30, mean reversion to 100, correlation to 0.999: real ETH chains end at 24 and 78."""
    bounds = jc.Heston.bounds
    assert bounds["sigma"].lower <= 1e-3
    assert bounds["sigma"].upper >= 30.0
    assert bounds["kappa"].upper >= 100.0
    assert (bounds["rho"].lower, bounds["rho"].upper) == (-0.999, 0.999)
