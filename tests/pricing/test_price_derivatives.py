"""price and model_vol give the same answers inside every transformation, and derivatives that are right."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcal as jc

BLACK = jc.BlackScholes(0.25)  # for what does not depend on the model: it compiles in a third of Heston's time
SIZED = [jc.Saddle(128), jc.Laguerre(64), jc.Cos(2048)]  # inside jit nothing refines them


@pytest.mark.parametrize("pricer", SIZED, ids=repr)
def test_transformations_change_nothing(pricer):
    strike, expiry = jnp.asarray([80.0, 95.0, 100.0, 130.0]), jnp.asarray([0.2, 0.5, 1.0, 2.0])
    model = jax.tree.map(jnp.asarray, BLACK)

    def value(model, strike, expiry):
        return jc.price(model, strike, expiry, forward=100.0, pricer=pricer)

    @jax.jit
    def everything(model, strike, expiry):  # one program takes half of what three take
        return (
            value(model, strike, expiry),
            jax.vmap(value, in_axes=(None, 0, 0))(model, strike, expiry),
            jax.value_and_grad(lambda k: jnp.sum(value(model, k, expiry)))(strike),
        )

    outside = np.asarray(value(model, strike, expiry))
    inside, by_lane, (together, slope) = everything(model, strike, expiry)
    np.testing.assert_allclose(np.asarray(inside), outside, atol=1e-6)
    np.testing.assert_allclose(np.asarray(by_lane), outside, atol=1e-6)
    assert float(together) == pytest.approx(outside.sum(), abs=1e-6)
    step = 1e-3
    difference = (np.asarray(value(model, strike + step, expiry)) - value(model, strike - step, expiry)) / (2 * step)
    np.testing.assert_allclose(np.asarray(slope), difference, atol=2e-6)


@pytest.mark.parametrize("pricer", SIZED, ids=repr)
@pytest.mark.parametrize(
    "model",
    [BLACK, pytest.param(jc.Heston(0.04, 1.5, 0.06, 0.7, -0.65), marks=pytest.mark.slow)],
    ids=lambda model: type(model).__name__,
)
def test_derivatives_forward_reverse_and_finite_difference(model, pricer):
    """Those of Heston by the default pricer are in test_reference_prices.py."""
    strike = jnp.asarray([85.0, 100.0, 118.0])
    leaves, structure = jax.tree.flatten(model)
    parameters = np.asarray(leaves)

    def value(parameters):
        model = jax.tree.unflatten(structure, list(parameters))
        return jc.price(model, strike, 0.7, forward=100.0, pricer=pricer)

    # one program, half of what three take
    everything = jax.jit(lambda x: (value(x), jax.jacfwd(value)(x), jax.jacrev(value)(x)))
    _, forward, reverse = map(np.asarray, everything(parameters))
    np.testing.assert_allclose(forward, reverse, rtol=1e-9, atol=1e-11)
    for i in range(parameters.size):
        step = 1e-4 * abs(parameters[i])
        e = step * np.eye(parameters.size)[i]
        up, down = (np.asarray(everything(parameters + move)[0]) for move in (e, -e))
        difference = (up - down) / (2 * step)
        np.testing.assert_allclose(forward[:, i], difference, rtol=2e-5, atol=2e-5)


def test_derivatives_are_finite_and_right_at_the_money():
    """Strike equal to forward is where the out-of-the-money side changes."""
    slope = jax.jit(jax.grad(lambda k: jc.price(BLACK, k, 0.5, forward=100.0)))
    at, near = float(slope(jnp.asarray(100.0))), float(slope(jnp.asarray(100.0 + 1e-6)))
    exact = jax.grad(lambda k: jc.black_price(0.25, k, 0.5, forward=100.0))(100.0)
    assert at == pytest.approx(float(exact), rel=1e-9)
    assert at == pytest.approx(near, abs=1e-6)


def test_derivative_of_model_vol():
    vol = jax.jit(
        lambda sigma: jc.model_vol(jc.BlackScholes(sigma), jnp.asarray([60.0, 100.0, 150.0]), 0.5, forward=100.0)
    )
    np.testing.assert_allclose(np.asarray(jax.jacfwd(vol)(jnp.asarray(0.3))), 1.0, rtol=1e-9)
