"""Blocks by platform: an accelerator is given thousands at a time, with the results of a processor."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcal as jc
from jaxcal.compilation.side_by_side import map_some, side_by_side
from jaxcal.formulas.american import in_blocks
from jaxcal.risk.greeks_of_model import greeks


@pytest.fixture
def accelerator(monkeypatch):
    """As if JAX's default platform were one."""
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    jax.clear_caches()
    yield
    jax.clear_caches()


def lengths(count):
    """How many options at a time a function of `count` of them sees."""
    seen = []

    def noted(x):
        seen.append(x.size)
        return 2.0 * x

    given = jnp.arange(float(count))
    np.testing.assert_array_equal(in_blocks(noted, given, block=(4, 64)), 2.0 * given)
    return set(seen)


def test_blocks_of_a_processor_and_of_an_accelerator(monkeypatch):
    assert lengths(10) == {4}
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert side_by_side(4, 64) == 64
    assert lengths(11) == {11}


@pytest.mark.parametrize("together", [1, 2, 3, 7, 100])
def test_rows_come_back_in_order(together):
    rows = {"x": jnp.arange(7.0), "y": jnp.ones((7, 2))}
    found = map_some(lambda row: row["x"] * row["y"], rows, together)
    np.testing.assert_array_equal(found, np.arange(7.0)[:, None] * np.ones(2))


MODELS = jc.BlackScholes(jnp.asarray([0.1, 0.2, 0.3]))
QUOTES = np.linspace(80.0, 120.0, 5), 0.5


def both():
    found = greeks(MODELS, *QUOTES, forward=100.0)
    return jc.price(MODELS, *QUOTES, forward=100.0), found.delta, found.vega.sigma


def test_models_side_by_side_have_the_prices_and_greeks_of_each(request):
    expected = both()
    request.getfixturevalue("accelerator")
    for one, other in zip(both(), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-13, atol=1e-15)
