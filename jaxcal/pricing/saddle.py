"""A FourierGrid through each quote's saddle point: relative accuracy far from the money, for any parameters.

On the imaginary axis, z = -iq, the integrand exp(k (1 - iz)) phi(z) / (z (z + i)) has a minimum on each side of its
poles q = 0 and q = 1. A contour that crosses there meets an integrand of the size of the price itself, so nothing
cancels (R. Lord and C. Kahl, Journal of Computational Finance 10(4), 2007, "Optimal Fourier inversion"). The contour
is a hyperbola z = -iq - i b sin w + b sinh(t + i w), on which the trapezoidal rule in t converges geometrically,
whatever the scales of the integrand (S. Boyarchenko and S. Levendorskii, IJTAF 22(3), 2019, "Sinh-acceleration").
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Complex, Float, Int

from jaxcal.models.base import AbstractFourierModel
from jaxcal.models.complex_math import Cartesian, log
from jaxcal.pricing.fourier import FourierGrid
from jaxcal.pricing.pricer import AbstractPricer
from jaxcal.pricing.revival import stepped_over

_ROOM = 0.02  # a strip narrower than this beyond the pole is left unused: the contour then crosses between the poles
_TILT = 0.4  # radians: of five tilts up to it, up and down, one is taken; a Gaussian allows less than pi/4
_OUTERMOST = 0.7  # radians: what lies beyond the last two is not looked at, but known to be near
# where the integrand is looked at, in t
_SCAN = np.concatenate([[1.0, 2.0], np.arange(2.5, 14.5, 0.5), [15.0, 16.0, 18.0, 20.0, 24.0, 29.0, 35.0, 42.0]])
_CLOSER = 0.125  # and again around the end found, at this distance: peaks may fall between those points
_AROUND = np.arange(-1.0, 2.5, _CLOSER)


class Contour(NamedTuple):
    """Where each quote's contour runs: crossing `q`, width `b`, `tilt`, last node `end`; `outer` if beyond the
    poles.
    """

    q: Float[Array, " q"]
    b: Float[Array, " q"]
    tilt: Float[Array, " q"]
    end: Float[Array, " q"]
    outer: Array

    def at(self, t: Float[Array, "#q n"]) -> tuple[Complex[Array, "q n"], Complex[Array, "q n"]]:
        """The points z(t) and dz/dt."""
        b, tilt = self.b[:, None], self.tilt[:, None]
        along, across = b * jnp.sinh(t), b * jnp.cosh(t)
        rise = -self.q[:, None] + (across - b) * jnp.sin(tilt)
        z = jax.lax.complex(along * jnp.cos(tilt), rise)
        return z, jax.lax.complex(across * jnp.cos(tilt), along * jnp.sin(tilt))


class Saddle(AbstractPricer):
    """One contour a quote: right to rounding over every parameter we know of, at `num_nodes` characteristic functions a
    quote and about 250 more to place the contour.

    Args:
        num_nodes: nodes a quote; None chooses 128, and outside `jit` 512 or 2048 where that is not enough.

    Example:
        >>> Saddle().sized().num_nodes
        128
    """

    num_nodes: int | None = eqx.field(static=True, default=None)

    def sized(self) -> "Saddle":
        return self if self.num_nodes else Saddle(128)

    def finer(self) -> "Saddle | None":
        nodes = self.sized().num_nodes or 128
        return None if nodes >= 2048 else Saddle(4 * nodes)

    @property
    def points(self) -> int:
        return 256 + (self.sized().num_nodes or 128)

    def tolerance(self, dtype: jnp.dtype) -> float:
        return max(1e-10, 100.0 * float(jnp.finfo(dtype).eps))

    def grid(
        self,
        model: AbstractFourierModel,
        expiry: Float[Array, " e"],
        log_strike: Float[Array, "e k"],
        total_vol: Float[Array, " e"],
    ) -> FourierGrid:
        """One row a quote: the grid has `e * k` rows of one strike."""
        years = jnp.broadcast_to(expiry[:, None], log_strike.shape).ravel()
        return saddle_grid(model, log_strike.ravel(), years, self.sized().num_nodes or 128, inside=True)

    def value(
        self, model: AbstractFourierModel, expiry: Float[Array, " q"], log_strike: Float[Array, " q"]
    ) -> tuple[Float[Array, " q"], Float[Array, " q"]]:
        grid = saddle_grid(model, log_strike, expiry, self.sized().num_nodes or 128)
        return values_on(grid, model)


def values_on(grid: FourierGrid, model: AbstractFourierModel) -> tuple[Float[Array, " q"], Float[Array, " q"]]:
    """Out-of-the-money values on a grid of `saddle_grid`, in units of the forward, and a bound on their errors."""
    points, imaginary = jnp.split(grid.factored_cf(model)[:, 0], 2, axis=-1)
    offset = grid.offset[:, 0]
    value = offset - jnp.sum(points, axis=-1)
    # every other node: the trapezoidal rule with twice the step
    halved = offset - 2.0 * jnp.sum(points[:, ::2], axis=-1)
    # halving the step squares the relative error of a geometrically convergent rule; 5/4 instead of 2 is for safety
    scale = jnp.where(offset > 0, 1.0, jnp.abs(value))
    missed = jnp.abs(value - halved) / jnp.where(scale > 0, scale, 1.0)
    eps = float(jnp.finfo(value.dtype).eps)
    rounding = 16.0 * scale + 4.0 * jnp.sum(jnp.abs(points) + jnp.abs(imaginary), axis=-1)
    # what is left of a value far below its terms is rounding, of either sign
    unseen = stepped_over(model, grid.nodes[:, 0], grid.expiry, grid.log_terms(model)[:, 0])
    return jnp.maximum(value, 0.0), scale * missed**1.25 + eps * rounding + unseen


def saddle_grid(
    model: AbstractFourierModel,
    log_strike: Float[Array, " q"],
    expiry: Float[Array, " q"],
    num_nodes: int,
    *,
    inside: bool = False,
) -> FourierGrid:
    """A grid of one row a quote, for quotes at ln(K / F) and `expiry` years.

    The placement is not differentiated through (the value does not depend on it); the kernel's dependence on
    `log_strike` is. With `inside` every contour crosses between the poles, where each model has its moments: such
    a grid stays right for other parameters, but far from the money only to rounding of the forward.
    """
    k, t = log_strike, expiry
    contour = jax.lax.stop_gradient(_place(*jax.lax.stop_gradient((model, k, t)), inside, num_nodes))
    step = contour.end / (num_nodes - 1)
    position = jnp.arange(num_nodes, dtype=t.dtype)[None, :]
    z, dz = contour.at(step[:, None] * position)
    measure = jnp.log(jnp.where(position == 0, 0.5, 1.0) * step[:, None] / jnp.pi)
    # a contour that crosses beyond a pole starts where z (z + i) < 0, at the cut of the logarithm: its phase would jump
    flip = jax.lax.complex(jnp.where(contour.outer, -1.0, 1.0).astype(t.dtype), jnp.zeros_like(t))[:, None]
    turn = jax.lax.complex(jnp.zeros_like(t), jnp.where(contour.outer, np.pi, 0.0).astype(t.dtype))[:, None]
    log_pole = log(flip * (z * (z + 1j))) + turn
    log_factor = _complex(k)[:, None] * (1.0 - 1j * z) + log(dz) - log_pole + _complex(measure)
    row = (k.size, 1)
    weights = jnp.broadcast_to(
        jnp.where(jnp.arange(2 * num_nodes) < num_nodes, -1.0, 0.0).astype(t.dtype), (*row, 2 * num_nodes)
    )
    offset = jnp.where(contour.outer, 0.0, jnp.where(k >= 0, 1.0, jnp.exp(k)))[:, None]
    return FourierGrid(
        expiry,
        Cartesian.of(z[:, None, :]),
        Cartesian.of(log_factor[:, None, :]),
        weights,
        jnp.zeros(row, jnp.int32),
        offset,
    )


def _complex(x: Array) -> Array:
    return jax.lax.complex(x, jnp.zeros_like(x))


def _axis(q: Float[Array, " q"]) -> Complex[Array, " q"]:
    return jax.lax.complex(jnp.zeros_like(q), -q)


def _place(
    model: AbstractFourierModel, k: Float[Array, " q"], t: Float[Array, " q"], inside: bool, num_nodes: int
) -> Contour:
    lower, upper = model.moment_bounds(t)
    call = k >= 0
    room = jnp.where(call, upper - 1.0, -lower).astype(t.dtype)
    outer = (room > _ROOM) & (not inside)
    origin, sign = jnp.where(call, 1.0, 0.0), jnp.where(call, 1.0, -1.0)

    def crossing(m: Array) -> Array:
        """Search variable: logarithm of the distance from the pole outside, logit inside (0, 1)."""
        return jnp.where(outer, origin + sign * jnp.exp(jnp.where(outer, m, 0.0)), jax.nn.sigmoid(m))

    def slope(q: Array) -> Array:
        """d/dq of the logarithm of the integrand on the axis, a convex function of q."""
        z = _axis(q)
        tangent = jax.jvp(lambda z: model.log_cf(z, t), (z,), (jnp.ones_like(z),))[1]
        return jnp.real(-1j * tangent) - k - 1.0 / q - 1.0 / (q - 1.0)

    direction = jnp.where(outer, sign, 1.0)

    def halve(_: Int[ArrayLike, ""], bracket: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bracket
        middle = 0.5 * (low + high)
        past = slope(crossing(middle)) * direction > 0
        return jnp.where(past, low, middle), jnp.where(past, middle, high)

    largest = jnp.where(outer, jnp.log(jnp.where(outer, room, 1.0)), 7.0)
    low, high = jax.lax.fori_loop(0, 16, halve, (jnp.where(outer, largest - 16.0, -7.0), largest))
    q = crossing(0.5 * (low + high))
    # stay away from the last finite moment: a saddle that hugs that singularity is too narrow to integrate through
    q = jnp.where(outer, origin + sign * jnp.minimum(jnp.abs(q - origin), 0.85 * room), q)
    from_pole = jnp.minimum(jnp.abs(q), jnp.abs(q - 1.0))
    nearest = jnp.where(outer, jnp.minimum(from_pole, room - jnp.abs(q - origin)), from_pole)
    small = 0.02 * nearest
    either = jnp.stack([q - small, q + small])
    before, after = jax.vmap(slope)(either)
    b = jnp.minimum(jnp.sqrt(2.0 * small / (jnp.abs(after - before) + jnp.finfo(t.dtype).tiny)), nearest)

    def size(tilt: Array, at: Array) -> tuple[Array, Array]:
        """Logarithm of the integrand on the contours of some tilt, and of what it may rise to again."""
        z, dz = Contour(q, b, tilt, q, outer).at(at)
        log_kernel = jnp.real(model.log_cf(z, t[:, None])) + k[:, None] * (1.0 + jnp.imag(z))
        here = log_kernel + jnp.log(jnp.abs(dz / (z * (z + 1j))))
        return here, here + model.revival(z, t[:, None])

    first = size(jnp.zeros_like(q), jnp.zeros((1, 1), t.dtype))[0]  # where all of them cross the axis
    floor = first + float(np.log(0.05 * jnp.finfo(t.dtype).eps))
    points, spacing = jnp.asarray(_SCAN, t.dtype), jnp.asarray(np.diff(_SCAN, prepend=0.0), t.dtype)

    def scan(tilt: Array) -> tuple[Array, Array]:
        """The last point at which the integrand is above rounding, and by how many nats it rises above its value at
        the saddle point.
        """
        found, levelled = size(jnp.full_like(q, tilt), points[None, :])
        last = jnp.max(jnp.where(levelled >= floor, points + spacing, 1.0), axis=-1)
        hill = jnp.max(jnp.where(jnp.isnan(found), -jnp.inf, found) - first, axis=-1)
        return jnp.minimum(last, points[-1]), jnp.maximum(hill, 0.0)

    lower, upper = (jnp.asarray(edge, t.dtype) for edge in model.decay_cone())
    # a half-plane of decay is that of an exponential, whose growth beyond it is slow and shows on the scan; jumps of
    # nearly one size, which make the cone narrower, grow in peaks that may fall between the points of the scan
    limited = upper - lower < 3.0
    below, above = limited & (lower > -_TILT), limited & (upper < _TILT)
    tilts = jnp.asarray(np.linspace(-1.0, 1.0, 5), t.dtype)
    tilts = tilts * jnp.where(tilts < 0, jnp.where(below, -lower, _TILT), jnp.where(above, upper, _TILT))
    ends, hills = jax.vmap(scan)(tilts)
    beyond = jnp.stack([jnp.where(below, jnp.inf, hills[0]), jnp.where(above, jnp.inf, hills[-1])])
    best = jnp.argmin(_log_errors(tilts, ends, hills, beyond, num_nodes), axis=0)
    tilt, end = tilts[best], jnp.take_along_axis(ends, best[None, :], axis=0)[0]
    again = end[:, None] + jnp.asarray(_AROUND, t.dtype)[None, :]
    end = jnp.max(jnp.where(size(tilt, again)[1] >= floor, again, 1.0), axis=-1)
    return Contour(q, b, tilt, jnp.maximum(end + _CLOSER, 1.0), outer)


def _log_errors(
    tilts: Float[Array, " w"], ends: Float[Array, "w q"], hills: Float[Array, "w q"], beyond: Float[Array, "2 q"],
    num_nodes: int,
) -> Float[Array, "w q"]:  # fmt: skip
    """Of the trapezoidal rule on each of the tilts: the integrand at another tilt, times exp(-2 pi distance / step).

    The least of these on either side counts, and what the hill on the contour itself makes of rounding. Where nothing
    is lost to either, the shorter contour is better.
    """
    edges = jnp.asarray([-_OUTERMOST, _OUTERMOST], tilts.dtype)
    apart = jnp.concatenate([edges[:1], tilts, edges[1:]])[None, :, None] - tilts[:, None, None]
    everywhere = jnp.concatenate([beyond[:1], hills, beyond[1:]])[None, :, :]
    bound = everywhere - 2.0 * jnp.pi * jnp.abs(apart) * (num_nodes / ends)[:, None, :]
    left = jnp.min(jnp.where(apart < 0, bound, jnp.inf), axis=1)
    right = jnp.min(jnp.where(apart > 0, bound, jnp.inf), axis=1)
    rounding = hills + float(np.log(jnp.finfo(ends.dtype).eps))
    return jnp.maximum(jnp.maximum(left, right), rounding) + 0.1 * ends
