"""What prices compile: a program before the model, the model's, one after it; not one for every operation."""

import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcal as jc


@pytest.fixture
def compiled(caplog):
    """Runs a function and returns the names of the programs compiled meanwhile."""

    def names(function):
        caplog.clear()
        with jax.log_compiles(), caplog.at_level(logging.WARNING):
            jax.block_until_ready(function())
        texts = [r.getMessage() for r in caplog.records]
        return [text.split("jit(")[1].split(")")[0] for text in texts if text.startswith("Finished XLA compilation")]

    return names


# numbers of quotes that no other test has
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    ("value", "most"),
    [
        (lambda k: jc.price(jc.BlackScholes(0.2), k, 0.5, forward=100.0), 9),
        (lambda k: jc.model_vol(jc.BlackScholes(0.2), k, 0.5, forward=100.0), 9),
        (lambda k: jax.vmap(lambda x: jc.price(jc.BlackScholes(0.2), x, 0.5, forward=100.0))(jnp.asarray(k)), 11),
    ],
)
def test_a_call_is_few_programs(compiled, value, most):
    found = compiled(lambda: value(np.linspace(80.0, 120.0, 517)))
    assert "_program" in found
    assert len(found) <= most, found


@pytest.mark.parametrize(("order", "most"), [(1, 160), (2, 185)])
def test_greeks_differentiate_phi_in_one_loop(order, most):
    """The derivatives of phi at the nodes enter two reductions; stored for each sum they were fusions of their own, 306
    in all for the second order, and three times the time to run.
    """
    from jaxcal.pricing.expansion import expansion

    model = jax.tree.map(jnp.asarray, jc.Heston(0.04, 1.5, 0.06, 0.7, -0.65))
    k, t = jnp.linspace(-0.4, 0.4, 32), jnp.full(32, 0.5)
    options = {"xla_cpu_use_fusion_emitters": False} if jax.default_backend() == "cpu" else {}

    def of(model, k, t):
        return expansion(model, tuple(model.bounds), k, t, 128, order)

    text = jax.jit(of, compiler_options=options).lower(model, k, t).compile().as_text()
    assert text is not None
    assert 0 < text.count(" fusion(") <= most
