"""QuickJit: compiled with options of its own wherever it is a program of its own, and as part of others elsewhere."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcal.compilation.quick_jit import QuickJit, _is_inside

INSIDE: list[bool] = []
cube = QuickJit(lambda x: x * x * x)


def seen(x):
    INSIDE.append(_is_inside((x,)))
    return cube(x)


def looped(x):
    """A body without tracers of its own."""
    return jax.lax.fori_loop(0, 1, lambda _, c: c + seen(x), 0.0)


@pytest.mark.parametrize(
    ("use", "inside", "expected"),
    [
        (lambda x: seen(x), False, 8.0),
        (lambda x: jax.vmap(seen)(jnp.full(3, x))[0], False, 8.0),
        (lambda x: jax.vmap(jax.vmap(seen))(jnp.full((2, 3), x))[0, 0], False, 8.0),
        (lambda x: jax.jvp(seen, (x,), (1.0,))[1], False, 12.0),
        (lambda x: jax.vmap(jax.jacfwd(seen))(jnp.full(3, x))[0], False, 12.0),
        (lambda x: jax.jit(seen)(x), True, 8.0),
        (lambda x: jax.grad(seen)(x), True, 12.0),
        (lambda x: jax.hessian(seen)(x), True, 12.0),
        (lambda x: jax.jit(jax.vmap(seen))(jnp.full(3, x))[0], True, 8.0),
        # arrays that only `vmap` has marked, in programs that something else is at work on
        (lambda x: jax.jit(lambda y: jax.vmap(seen)(jnp.full(3, 2.0))[0] + y)(x) - x, True, 8.0),
        (lambda x: jax.grad(lambda y: y * jax.vmap(seen)(jnp.full(3, 2.0))[0])(x), True, 8.0),
        (lambda x: jax.vmap(looped)(jnp.full(3, x))[0], True, 8.0),
    ],
)  # fmt: skip
def test_every_transformation(use, inside, expected):
    INSIDE.clear()
    found = use(2.0)
    assert float(np.asarray(found)) == expected
    assert INSIDE
    assert all(one == inside for one in INSIDE)


@pytest.mark.parametrize("rare", [False, True])
def test_no_program_is_compiled_without_optimisation_and_without_fusion_emitters(rare):
    """Both at once give a wrong gradient of `american_price`."""
    wanted = QuickJit(lambda x: x, rare=rare)._wanted
    assert ("xla_backend_optimization_level" in wanted) != ("xla_cpu_use_fusion_emitters" in wanted)
