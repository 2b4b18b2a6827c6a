"""A masked quote spoils nothing: gradients of a sum that leaves it out are those of a sum without it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcal as jc
from jaxcal.formulas.black import black_vega

MODELS = [
    jc.BlackScholes(0.2),
    jc.SABR(alpha=0.2, beta=1.0, rho=-0.3, nu=0.5),
]
SLOW = [
    jc.NIG(15.0, -5.0, 0.5),
    jc.SVI(a=0.01, b=0.1, rho=-0.3, m=0.0, sigma=0.2),
    jc.Kou(0.16, 1.0, 0.37, 10.0, 6.0),
    jc.Merton(0.15, 0.5, -0.1, 0.15),
    jc.VarianceGamma(0.2, 0.1, -0.15),
    jc.CGMY(0.5, 6.0, 9.0, 0.8),
    jc.Heston(0.04, 1.5, 0.06, 0.7, -0.65),
    jc.Bates(0.04, 1.5, 0.06, 0.7, -0.65, 0.4, -0.1, 0.12),
    jc.SVCJ(0.04, 1.5, 0.06, 0.5, -0.65, 0.4, -0.1, 0.12, 0.05, -0.4),
    jc.DoubleHeston(0.02, 4.0, 0.02, 0.5, -0.8, 0.02, 0.4, 0.05, 0.3, -0.5),
]
# strike, expiry, forward, discount: the first two are quotes, the last can be priced and not be inverted
GOOD = np.asarray([[90.0, 0.5, 100.0, 0.98], [105.0, 0.6, 101.0, 0.97]])
BAD = np.asarray(
    [
        [np.nan, 0.5, 100.0, 0.98],
        [-90.0, 0.5, 100.0, 0.98],
        [90.0, np.nan, 100.0, 0.98],
        [90.0, 0.0, 100.0, 0.98],
        [90.0, 0.5, np.inf, 0.98],
        [90.0, 0.5, 0.0, 0.98],
        [90.0, 0.5, 100.0, np.nan],
        [1e-200, 1e-6, 1e100, 0.98],
    ]
)


def sums(model, rows, used, discounted):
    strike, expiry, forward, discount = rows.T
    if discounted:
        found = jc.price(model, strike, expiry, forward=forward, discount=discount, is_call=jnp.asarray(False))
    else:
        found = jc.model_vol(model, strike, expiry, forward=forward)
    return jnp.sum(jnp.where(used, found, 0.0))


def assert_alike(model, jitted, kinds=(True, False)):
    gradient = jax.grad(sums, argnums=(0, 1))
    gradient = jax.jit(gradient, static_argnums=3) if jitted else gradient
    # equally many rows, so that both are one program
    rows, used = np.concatenate([GOOD, BAD]), np.arange(len(GOOD) + len(BAD)) < len(GOOD)
    alone = np.concatenate([GOOD, np.broadcast_to(GOOD[:1], BAD.shape)])
    model = jax.tree.map(jnp.asarray, model)
    for discounted in kinds:
        by_model, by_rows = gradient(model, jnp.asarray(rows), used, discounted)
        expected, by_good = gradient(model, jnp.asarray(alone), used, discounted)
        for a, b in zip(jax.tree.leaves(by_model), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(by_rows[: len(GOOD)], by_good[: len(GOOD)], rtol=1e-12, atol=1e-14)
        assert (np.asarray(by_rows)[len(GOOD) :] == 0.0).all()
        if discounted:  # a derivative in time is 0 for a smile
            assert np.abs(np.asarray(by_good)[: len(GOOD), [0, 2, 3]]).min() > 0.0


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_gradients_are_those_of_the_unmasked_rows(model):
    assert_alike(model, jitted=True)


@pytest.mark.slow
@pytest.mark.parametrize("model", SLOW, ids=lambda model: type(model).__name__)
def test_gradients_of_larger_models(model):
    assert_alike(model, jitted=True)


def test_outside_jit_too():
    assert_alike(MODELS[0], jitted=False, kinds=(True,))


def test_derivatives_outside_jit_are_refined_as_the_values_are():
    """128 nodes do not price this: with derivatives or without, the grid becomes finer."""
    model, strike = jc.Merton(0.08, 0.5, -0.3, 0.02), jnp.asarray([75.0, 99.0])

    def values(sigma, strike):
        law = jc.Merton(sigma, model.jump_intensity, model.jump_mean, model.jump_std)
        return jc.price(law, strike, 0.1, forward=100.0)

    assert np.isnan(jc.price(model, strike, 0.1, forward=100.0, pricer=jc.Saddle(128))).any()
    exact = jc.price(model, strike, 0.1, forward=100.0, pricer=jc.Series())
    found, slope = jax.jvp(lambda sigma: values(sigma, strike), (0.08,), (1.0,))
    np.testing.assert_allclose(found, exact, atol=1e-10)
    up, down = (
        jc.price(jc.Merton(0.08 + h, 0.5, -0.3, 0.02), strike, 0.1, forward=100.0, pricer=jc.Series())
        for h in (1e-5, -1e-5)
    )
    np.testing.assert_allclose(slope, (up - down) / 2e-5, rtol=1e-6, atol=1e-8)
    by_reverse = jax.grad(lambda sigma: values(sigma, strike[:1])[0])(0.08)
    np.testing.assert_allclose(by_reverse, slope[0], rtol=1e-10)


def test_a_bad_member_of_a_batch_is_alone():
    sigma = jnp.asarray([0.2, np.nan, 0.3])
    found = jc.price(jc.BlackScholes(sigma), 100.0, 1.0, forward=100.0)
    assert np.isnan(found).tolist() == [False, True, False]
    slope = jax.grad(lambda s: jnp.nansum(jc.price(jc.BlackScholes(s), 100.0, 1.0, forward=100.0)))(sigma)
    vega = black_vega(np.asarray([0.2, 0.3]), 100.0, 1.0, forward=100.0)
    np.testing.assert_allclose(np.asarray(slope)[[0, 2]], vega, rtol=1e-10)
