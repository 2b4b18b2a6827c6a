"""Series: Merton's sum and his characteristic function check each other."""

from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import jaxcal as jc

GOLDEN = Path(__file__).parents[1] / "goldens" / "family_domain.csv"
MODEL = jc.Merton(0.2, 0.5, -0.1, 0.15)
value_of = jax.jit(lambda pricer, *quotes: pricer.value(*quotes))


def test_against_the_characteristic_function():
    table = pd.read_csv(GOLDEN, dtype=str).query("model == 'Merton'")
    for row in table.to_dict("records"):
        model = jc.Merton(*(float(x) for x in str(row["parameters"]).split(";")))
        arguments = {"forward": 1.0, "is_call": float(row["k"]) >= 0}
        strike, expiry = float(np.exp(float(row["k"]))), float(row["T"])
        found = float(jc.price(model, strike, expiry, **arguments, pricer=jc.Series()))
        assert abs(found - float(row["otm"])) <= 1e-13
        other = float(jc.price(model, strike, expiry, **arguments))
        assert abs(found - other) <= 1e-12


def test_bound_holds():
    """Few terms: the error is below what is reported, and the price NaN rather than wrong."""
    model = jax.tree.map(jnp.asarray, jc.Merton(0.2, 20.0, -0.05, 0.1))
    k, t = jnp.asarray(np.linspace(-1.0, 0.8, 7)), jnp.asarray(np.ones(7))
    exact, _ = value_of(jc.Series(256), model, t, k)
    for terms in (4, 8, 16, 32):
        value, bound = value_of(jc.Series(terms), model, t, k)
        assert (np.abs(np.asarray(value) - np.asarray(exact)) <= np.asarray(bound)).all()
    assert np.isnan(np.asarray(jc.price(model, 100.0, 1.0, forward=100.0, pricer=jc.Series(8))))


def test_far_prices_keep_their_relative_accuracy():
    model = jc.Merton(0.1, 0.1, -0.2, 0.1)
    k = np.asarray([-2.5, -1.5, 0.8, 1.2])
    vols = [
        np.asarray(jc.model_vol(model, np.exp(k), 0.25, forward=1.0, pricer=pricer)) for pricer in (jc.Series(), None)
    ]
    np.testing.assert_allclose(vols[0], vols[1], rtol=1e-9)


@eqx.filter_jit
def gradient(pricer, model):
    return jax.grad(lambda m: jc.price(m, 110.0, 0.5, forward=100.0, pricer=pricer))(model)


@pytest.mark.parametrize("intensity", [0.5, 0.0])
def test_derivatives(intensity):
    """At no jumps too, where the derivative in the intensity is one-sided."""
    model = jax.tree.map(jnp.asarray, jc.Merton(0.2, intensity, -0.1, 0.15))
    found, expected = (jax.tree.leaves(gradient(pricer, model)) for pricer in (jc.Series(64), jc.Saddle(128)))
    np.testing.assert_allclose(np.asarray(found), np.asarray(expected), rtol=1e-9, atol=1e-11)


def test_grid_of_a_fit():
    strike, expiry = jnp.asarray([80.0, 100.0, 115.0]), jnp.asarray([0.1, 1.0])
    log_strike = jnp.asarray(np.log(np.broadcast_to(strike, (2, 3)) / 100.0))

    @jax.jit
    def on_a_grid(model):
        return jc.Series().grid(model, expiry, log_strike, expiry).value(model)

    found = np.asarray(on_a_grid(jax.tree.map(jnp.asarray, MODEL)))
    expected = jc.price(MODEL, strike, expiry[:, None], forward=100.0, is_call=strike >= 100.0)
    np.testing.assert_allclose(100.0 * found, np.asarray(expected), atol=1e-12)


def test_calibrates():
    surface = jc.synthetic_surface(MODEL)
    fit = jc.calibrate(jc.Merton(0.25, 1.0, -0.05, 0.1), surface, pricer=jc.Series())
    assert fit.converged
    np.testing.assert_allclose([fit.parameters[name] for name in jc.Merton.bounds], jax.tree.leaves(MODEL), rtol=1e-5)


def test_other_models_are_refused():
    with pytest.raises(TypeError, match="Series prices Merton, not Heston"):
        jc.price(jc.Heston(0.04, 1.5, 0.06, 0.7, -0.65), 100.0, 1.0, forward=100.0, pricer=jc.Series())
