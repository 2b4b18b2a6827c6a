"""Error bounds for revivals of |phi|, which decays and rises again: with jumps of nearly one size it has peaks about
2 pi / size apart, and the nodes may end before a peak or step over it.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from jaxcal.models.base import AbstractFourierModel

_STRIDE = 0.7  # change from node to node of the root of the revival: about a standard deviation of a peak
_PHASE_STEP = 4.0  # radians of phase from node to node: near 2 pi a rule and its half agree on a wrong value
_COVERED = 0.5  # nats of revival that the ordinary bounds still cover
_BEYOND = 1.5 ** np.arange(14)  # where the integrand is evaluated from the last node on, in units of that node


def revives(model: AbstractFourierModel, t: Float[Array, " q"]) -> bool:
    """Whether `model` gives a bound on revivals; found from shapes, without computing anything."""
    return jax.eval_shape(lambda t: model.revival(jax.lax.complex(t, t), t), t) is not None


def revival_bound(
    model: AbstractFourierModel, z: Complex[Array, "*shape"], t: Float[Array, "*#shape"]
) -> Float[Array, "*shape"]:
    """`model.revival`, zero for a model without one."""
    found = model.revival(z, t)
    return jnp.zeros_like(jnp.real(z)) if found is None else found


def stepped_over(
    model: AbstractFourierModel,
    z: Complex[Array, "q n"],
    t: Float[Array, " q"],
    log_terms: Complex[Array, "q n"],
    log_bound: Float[Array, "q n"] | None = None,
) -> Float[Array, " q"]:
    """What peaks between the nodes `z` may add to the sum of the exponentials of `log_terms`.

    Where neither the root of `model.revival` nor the phase changes much from node to node, a peak is resolved, and adds
    nothing. Elsewhere the whole peak counts as missed, or what `log_bound` says, if that is less. Zero for a
    model without revivals.
    """
    model, z, log_terms = jax.lax.stop_gradient((model, z, log_terms))
    found = model.revival(z, t[:, None])
    if found is None:
        return jnp.zeros_like(t)
    revival = jnp.maximum(found, 0.0)
    phase_step = jnp.abs(jnp.diff(jnp.imag(log_terms), axis=-1))
    far = (jnp.abs(jnp.diff(jnp.sqrt(revival), axis=-1)) > _STRIDE) | (phase_step > _PHASE_STEP)
    edge = jnp.zeros_like(far[:, :1])
    either = jnp.concatenate([far, edge], axis=-1) | jnp.concatenate([edge, far], axis=-1)
    log_missed = jnp.real(log_terms) + revival
    log_missed = log_missed if log_bound is None else jnp.minimum(log_missed, log_bound)
    total = jnp.sum(jnp.where(either, jnp.exp(log_missed), 0.0), axis=-1)
    return jnp.where(jnp.max(revival, axis=-1) > _COVERED, total, 0.0)


def from_beside(
    model: AbstractFourierModel,
    z: Complex[Array, "q m n"],
    t: Float[Array, " q"],
    log_factor: Float[Array, "q m n"],
    steps: Float[Array, "q m"],
) -> Float[Array, "q n"]:
    """Logarithm of a bound on the error of each term of a trapezoidal rule, from the integrand beside its contour.

    The integrals of |F(t + i d)| and of |F(t - i d)| times exp(-2 pi d / h) bound the error of the rule with step h,
    for any d, which may change along the contour (N. Trefethen and J. Weideman, SIAM Review 56(3), 2014, "The
    exponentially convergent trapezoidal rule", section 5). So on each side the least over some d is a bound, and an
    envelope of the peaks may replace them. `z` are points beside the nodes at distances of `steps` times h,
    `log_factor` the logarithm of the size of what multiplies phi there.
    """
    model, z, log_factor, steps = jax.lax.stop_gradient((model, z, log_factor, steps))
    rows, many = z.shape[0], z.shape[1] * z.shape[2]
    flat, years = z.reshape(rows, many), t[:, None]
    size = (jnp.real(model.log_cf(flat, years)) + revival_bound(model, flat, years)).reshape(z.shape) + log_factor
    bound = size - 2.0 * jnp.pi * jnp.abs(steps)[:, :, None]
    bound = jnp.where(jnp.isnan(bound), jnp.inf, bound)
    above = (steps > 0)[:, :, None]
    up, down = (jnp.min(jnp.where(side, bound, jnp.inf), axis=1) for side in (above, ~above))
    return jnp.logaddexp(up, down)


def beyond_last(
    model: AbstractFourierModel, last: Complex[Array, " q"], log_strike: Float[Array, " q"], t: Float[Array, " q"]
) -> Float[Array, " q"]:
    """The integral of |exp(k (1 - iz)) phi(z) / (z (z + i))| / pi, peaks replaced by their envelope, along the ray
    from -i/2 through `last`, beyond `last`; zero for a model without revivals there.
    """
    model, last, k = jax.lax.stop_gradient((model, last, log_strike))
    reach = (last + 0.5j)[:, None] * jnp.asarray(_BEYOND, t.dtype).astype(last.dtype)[None, :]
    z = reach - 0.5j
    revival = revival_bound(model, z, t[:, None])
    log_size = jnp.real(model.log_cf(z, t[:, None])) + revival + k[:, None] * (1.0 + jnp.imag(z))
    # measured on a logarithmic scale: |dz| = |z + i/2| d ln
    mass = jnp.exp(log_size + jnp.log(jnp.abs(reach / (z * (z + 1j))))) * float(np.log(1.5) / np.pi)
    # NaN where phi has overflowed: it may revive there
    uncovered = jnp.max(jnp.where(jnp.isnan(revival), jnp.inf, revival), axis=-1) > _COVERED
    return jnp.where(uncovered, jnp.sum(mass, axis=-1), 0.0)
