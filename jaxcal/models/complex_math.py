"""Complex functions built from few real operations: XLA's own guard ranges that no characteristic function reaches, and
cost three to four times as much. Their derivatives are those of complex functions, not of the real operations.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex


@jax.custom_jvp
def sqrt(z: Complex[Array, "*s"]) -> Complex[Array, "*s"]:
    """Principal square root, for |z|^2 within range."""
    a, b = jnp.real(z), jnp.imag(z)
    larger = jnp.sqrt(0.5 * (jnp.sqrt(a * a + b * b) + jnp.abs(a)))
    other = 0.5 * b / jnp.where(larger > 0, larger, 1.0)
    right = a >= 0
    return jax.lax.complex(
        jnp.where(right, larger, jnp.abs(other)), jnp.where(right, other, jnp.where(b < 0, -larger, larger))
    )


@sqrt.defjvp
def _sqrt_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    root = sqrt(primals[0])
    return root, 0.5 * tangents[0] * reciprocal(root)


@jax.custom_jvp
def reciprocal(z: Complex[Array, "*s"]) -> Complex[Array, "*s"]:
    """1 / z, for |z|^2 within range."""
    a, b = jnp.real(z), jnp.imag(z)
    scale = 1.0 / (a * a + b * b)
    return jax.lax.complex(a * scale, -b * scale)


@reciprocal.defjvp
def _reciprocal_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    inverse = reciprocal(primals[0])
    return inverse, -tangents[0] * inverse * inverse


def divide(x: Complex[Array, "*#s"], y: Complex[Array, "*#s"]) -> Complex[Array, "*s"]:
    """x / y, for |y|^2 within range. The divisions come last: what ends in one XLA computes once, for all its users."""
    a, b = jnp.real(y), jnp.imag(y)
    product, square = x * jax.lax.complex(a, -b), a * a + b * b
    return jax.lax.complex(jnp.real(product) / square, jnp.imag(product) / square)


@jax.custom_jvp
def log1p(z: Complex[Array, "*s"]) -> Complex[Array, "*s"]:
    """ln(1 + z), accurate for small z."""
    a, b = jnp.real(z), jnp.imag(z)
    return jax.lax.complex(0.5 * jnp.log1p(a * (2.0 + a) + b * b), jnp.arctan2(b, 1.0 + a))


@log1p.defjvp
def _log1p_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    return log1p(primals[0]), tangents[0] * reciprocal(1.0 + primals[0])


@jax.custom_jvp
def log(z: Complex[Array, "*s"]) -> Complex[Array, "*s"]:
    """Principal logarithm, for |z|^2 within range."""
    a, b = jnp.real(z), jnp.imag(z)
    return jax.lax.complex(0.5 * jnp.log(a * a + b * b), jnp.arctan2(b, a))


@log.defjvp
def _log_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    return log(primals[0]), tangents[0] * reciprocal(primals[0])
