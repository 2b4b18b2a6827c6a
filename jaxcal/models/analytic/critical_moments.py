"""CriticalMoments: the open interval of real q for which E[exp(q X)] is finite."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int

_FARTHEST = 1e9  # stands for "no end": a saddle point lies at k / (vol^2 t), where a minute before expiry that is far
_LOG_MOMENT = 60.0  # of a single jump: where exp would overflow in a narrow dtype, no saddle point lies either


class CriticalMoments(NamedTuple):
    """An interval (lower, upper) of moments, lower <= 0 and upper >= 1.

    Example:
        >>> t = jnp.asarray(0.5)
        >>> found = CriticalMoments.bisect(lambda q: (q < -3.0) | (q > 5.0), t)
        >>> round(float(found.lower), 6), round(float(found.upper), 6)
        (-3.0, 5.0)
        >>> [float(x) for x in found.within(CriticalMoments.everything(t))] == [float(x) for x in found]
        True
    """

    lower: Float[Array, "*shape"]
    upper: Float[Array, "*shape"]

    @staticmethod
    def everything(t: Float[Array, "*shape"]) -> "CriticalMoments":
        """Every moment exists."""
        return CriticalMoments(jnp.full_like(t, -_FARTHEST), jnp.full_like(t, _FARTHEST))

    @staticmethod
    def bisect(
        infinite: Callable[[Float[Array, "*shape"]], Bool[Array, "*shape"]], t: Float[Array, "*shape"]
    ) -> "CriticalMoments":
        """By bisection in the logarithm of the distance from 0 and from 1, given which moments are infinite at `t`."""

        def distance(sign: Float[Array, ""], origin: Float[Array, ""]) -> Float[Array, "*shape"]:
            def halve(_: Int[ArrayLike, ""], bracket: tuple[Array, Array]) -> tuple[Array, Array]:
                low, high = bracket
                middle = 0.5 * (low + high)
                bad = infinite(origin + sign * jnp.exp(middle))
                return jnp.where(bad, low, middle), jnp.where(bad, middle, high)

            start = (jnp.full_like(t, -14.0), jnp.full_like(t, 21.0))
            return jnp.exp(jax.lax.fori_loop(0, 40, halve, start)[0])

        # both ends in one loop: it is compiled once
        below, above = jax.vmap(distance)(jnp.asarray([-1.0, 1.0], t.dtype), jnp.asarray([0.0, 1.0], t.dtype))
        return CriticalMoments(-below, 1.0 + above)

    @staticmethod
    def of_normal_jumps(mean: Float[Array, ""], std: Float[Array, ""], t: Float[Array, "*shape"]) -> "CriticalMoments":
        """Where E[exp(q J)] <= exp(60), J a normal jump: all its moments exist, but not all can be written down."""

        def reach(signed_mean: Array) -> Array:
            # the positive root of std^2 q^2 / 2 + mean q = 60, without cancellation
            root = jnp.sqrt(signed_mean**2 + 2.0 * _LOG_MOMENT * std**2)
            ahead = 2.0 * _LOG_MOMENT / jnp.maximum(root + signed_mean, 2.0 * _LOG_MOMENT / _FARTHEST)
            against = (root - signed_mean) / jnp.maximum(std**2, jnp.finfo(root.dtype).tiny)
            return jnp.minimum(jnp.where(signed_mean < 0, against, ahead), _FARTHEST)

        return CriticalMoments(
            jnp.broadcast_to(-reach(-mean), jnp.shape(t)).astype(t.dtype),
            jnp.broadcast_to(reach(mean), jnp.shape(t)).astype(t.dtype),
        )

    def within(self, other: "CriticalMoments") -> "CriticalMoments":
        """The moments that both have."""
        return CriticalMoments(jnp.maximum(self.lower, other.lower), jnp.minimum(self.upper, other.upper))
