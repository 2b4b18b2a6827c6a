"""basis and mix: the derivatives of a characteristic function as combinations of a few functions."""

import operator
from functools import reduce

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcal as jc
from jaxcal.models.complex_math import Cartesian
from jaxcal.models.registry import ModelName

HESTON = (0.09, 3.0, 0.08, 0.4, -0.3)
DOUBLE = jc.DoubleHeston(0.02, 6.0, 0.02, 0.6, -0.8, 0.02, 0.5, 0.03, 0.3, -0.4)
JUMPS = (0.5, -0.1, 0.2)
CLOCKED_JUMPS = jc.ClockedHestonJumps(
    *zip(HESTON, (0.02, 40.0, 0.01, 2.0, 0.3), strict=True), *zip(JUMPS, (9.0, 0.0, 0.02), strict=True),
    pace=[1.2, 0.8], knots=[0.1, 0.5],
)  # fmt: skip
WITH_BASIS = (
    jc.Heston(*HESTON), jc.Bates(*HESTON, *JUMPS), jc.SVCJ(*HESTON, *JUMPS, 0.05, -0.5), DOUBLE,
    jc.ClockedDoubleHeston.of(DOUBLE, [0.1, 0.5], [1.2, 0.8]), jc.HestonHullWhite(*HESTON, 0.05, 0.015),
    jc.Merton(0.2, *JUMPS), CLOCKED_JUMPS,
)  # fmt: skip
Z = jnp.asarray([[0.3 - 0.5j, 5.0 - 0.4j, 40.0 + 3.0j], [-1.0j, 1e-3 - 0.2j, 12.0 - 4.0j]])
T = jnp.asarray([[0.05], [1.7]])


def test_every_model_that_has_one_is_here():
    kinds = [name.model for name in ModelName if issubclass(name.model, jc.AbstractFourierModel)]
    assert {kind for kind in kinds if "basis" in vars(kind)} == {type(model) for model in WITH_BASIS}


@pytest.mark.parametrize("model", WITH_BASIS, ids=lambda model: type(model).__name__)
def test_derivatives_are_combinations_of_the_basis(model):
    model = jax.tree.map(jnp.asarray, model)
    rng = np.random.default_rng(3)
    moves = jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape)), model)
    if hasattr(model, "knots"):  # not a parameter
        moves = eqx.tree_at(lambda m: m.knots, moves, jnp.zeros_like(model.knots))

    @jax.jit
    def both(model, moves):
        found = model.basis(Cartesian.of(Z), T)
        coefficients = model.mix(moves, T)
        assert len(found.rows) == len(coefficients) == model.basis_size
        sums = reduce(operator.add, (c * row for c, row in zip(coefficients, found.rows, strict=True)))
        return (found.log_cf.to_complex(), sums.to_complex()), jax.jvp(lambda m: m.log_cf(Z, T), (model,), (moves,))

    (value, change), (expected, slope) = both(model, moves)
    np.testing.assert_allclose(value, expected, rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(change, slope, rtol=1e-12, atol=1e-13 * float(jnp.max(jnp.abs(slope))))
