"""A FourierGrid on sinh-shaped contours with a Black control variate: few nodes, shared by all strikes of an expiry,
whatever the scales on which phi decays.

The line Im z = -1/2 of the Lewis integral is bent into half a hyperbola, z = -i/2 - i b sin w + b sinh(t + i w), on
which the trapezoidal rule in t converges geometrically (S. Boyarchenko and S. Levendorskii, IJTAF 22(3), 2019,
"Sinh-acceleration"). The poles at 0 and -i cancel against the control variate.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from jaxcal.models.base import AbstractFourierModel
from jaxcal.models.complex_math import Cartesian, log, reciprocal
from jaxcal.models.elementary import sine
from jaxcal.pricing.fourier import FourierGrid
from jaxcal.pricing.pricer import (
    AbstractValuePricer,
    PerExpiry,
    PerQuote,
    PerStrike,
    shared_value,
    tilts_inside,
    total_vol_of,
)
from jaxcal.pricing.revival import revival_bound

_TILT = 0.3  # radians, up for strikes below the model's drift and down above it, where exp(-i z k) then decays
_SCAN = np.arange(3.5, 24.5, 1.0)  # where the integrand is evaluated to find its end, in t
_WIDTHS = ((0, 1.0), (48, 0.3), (96, 0.1))  # from so many nodes on; a narrow contour resolves rare large jumps too
_SPARE = 0.5  # added to that end: the grid must hold for models whose phi reaches further than that of the start


class Sinh(AbstractValuePricer):
    """`num_nodes` nodes for strikes below the forward and as many above, on contours as wide as 1 / (at-the-money total
    volatility), or .3 of it from 48 nodes on and .1 from 96 on, and as long as phi needs.

    It is the grid of a calibration: few nodes serve index expiries of a day as well as those of years; docs/pricing.md
    has the errors. For single prices far from the money use `Saddle`.

    Args:
        num_nodes: nodes on each of the two sides; None chooses 36, and up to 192 outside `jit`.

    Example:
        >>> Sinh().sized().num_nodes
        36
    """

    num_nodes: int | None = eqx.field(static=True, default=None)

    def sized(self) -> "Sinh":
        return self if self.num_nodes else Sinh(36)

    def finer(self) -> "Sinh | None":
        nodes = self.sized().num_nodes or 36
        return None if nodes >= 192 else Sinh(nodes + nodes // 2 if nodes < 64 else 2 * nodes)

    @property
    def points(self) -> int:
        return 4 * (self.sized().num_nodes or 36)

    def tolerance(self, dtype: jnp.dtype) -> float:
        return max(1e-9, 100.0 * float(jnp.finfo(dtype).eps))

    def grid(
        self,
        model: AbstractFourierModel,
        expiry: PerExpiry,
        log_strike: PerStrike,
        total_vol: PerExpiry,
        offset: Float[Array, ""] | float = 0.0,
    ) -> FourierGrid:
        """With `offset` 1/2 the nodes lie midway between those of the rule without: a second rule of the
        opposite error, at no cost in compile time.
        """
        num_nodes = self.sized().num_nodes or 36
        model = jax.lax.stop_gradient(model)
        tilts = tilts_inside(model, _TILT, expiry.dtype)
        # in a loop, which XLA does not fuse: it would compute these few numbers anew for every weight
        cosines, sines = jax.lax.map(lambda tilt: (jnp.cos(tilt), jnp.sin(tilt)), tilts)
        cosines, sines = cosines[None, :, None], sines[None, :, None]
        width = next(width for least, width in reversed(_WIDTHS) if num_nodes >= least)
        b = (width / total_vol)[:, None, None]
        drift = model.drift(expiry)
        shift = drift[:, None, None]

        def contour(t: Float[Array, "#e #s n"]) -> tuple[Cartesian, Cartesian]:
            grown = jnp.exp(t)
            along, across = 0.5 * b * (grown - 1.0 / grown), 0.5 * b * (grown + 1.0 / grown)
            z = Cartesian(along * cosines, (across - b) * sines - 0.5)
            return z, Cartesian(across * cosines, along * sines)

        def rows(z: Cartesian) -> Complex[Array, "e m"]:
            return z.flat_rows().to_complex()

        # exp((k - drift) (1 - iz)), which ends the integrand where phi alone would not, of the strike nearest to the
        # drift; half of it, as the drift of other models is nearer. The forward counts as a strike, also where it is
        # none: padding stands there, and a model without drift is not cut short.
        beyond = log_strike - drift[:, None]
        strikes = jnp.concatenate([beyond, -drift[:, None]], axis=-1)
        below = jnp.max(jnp.where(strikes <= 0, strikes, -total_vol[:, None]), axis=-1)
        above = jnp.min(jnp.where(strikes >= 0, strikes, total_vol[:, None]), axis=-1)
        nearest = 0.5 * jax.lax.stop_gradient(jnp.stack([below, above], axis=-1))[:, :, None]

        # to where the truncation error is as small as the discretisation error of so many nodes; the last such place,
        # since with jumps of nearly one size phi revives
        scan = jnp.asarray(_SCAN - np.log(width), expiry.dtype)
        z, dz = contour(scan[None, None, :])
        log_phi = jnp.real(model.log_cf(rows(z), expiry[:, None])) + revival_bound(model, rows(z), expiry[:, None])
        poles = (z * (z + 1j)).square_modulus()
        size = log_phi.reshape(z.re.shape) + 0.5 * jnp.log(dz.square_modulus() / poles)
        size += (shift + nearest) * (1.0 + z.im)
        # Far out a strong drift, such as that which makes up for many jumps to one side, may outgrow what decays on the
        # bent line: what only grows from there on says nothing about where the integrand has decayed before.
        grows = jnp.flip(jnp.cumprod(jnp.flip(jnp.diff(size, axis=-1) > 0, -1).astype(jnp.int32), axis=-1), -1) > 0
        grows = jnp.concatenate([jnp.zeros_like(grows[..., :1]), grows], axis=-1)
        alive = (size >= float(np.log(10.0)) * max(-14, -1 - num_nodes // 4)) & ~grows
        last = jnp.max(jnp.where(alive, scan, scan[0] - 1.0), axis=-1)
        step = jax.lax.stop_gradient(last + 1.0 + _SPARE)[:, :, None] / (num_nodes - 1)
        position = (jnp.arange(num_nodes, dtype=expiry.dtype) + offset)[None, None, :]
        z, dz = contour(step * position)
        measure = jnp.log(jnp.where(position == 0, 0.5, 1.0) * step / jnp.pi)
        log_factor = log(dz * reciprocal(z * (z + 1j))) + measure + shift * (1.0 - 1j * z)

        # the only part that depends on the strike. Its real and imaginary parts are one loop over both halves of the
        # weights: a concatenation would not vectorise.
        side = (beyond > 0).astype(jnp.int32)
        k, above = beyond[:, :, None], (side > 0)[:, :, None]
        re, im = (jnp.concatenate([part, part], axis=-1)[:, :, None, :] for part in (z.re, z.im))
        along, across = jnp.where(above, re[:, 1], re[:, 0]), jnp.where(above, im[:, 1], im[:, 0])
        quarter = jnp.where(jnp.arange(2 * num_nodes) < num_nodes, 0.5 * jnp.pi, 0.0).astype(k.dtype)[None, None, :]
        weights = -jnp.exp(k * (1.0 + across)) * sine(k * along + quarter)

        nothing = jnp.zeros_like(log_strike)
        return FourierGrid(expiry, z, log_factor, weights, side, nothing).controlled(log_strike, total_vol)

    def value(self, model: AbstractFourierModel, expiry: PerQuote, log_strike: PerQuote) -> tuple[PerQuote, PerQuote]:
        total_vol = jax.lax.stop_gradient(total_vol_of(model, expiry))

        def grid_of(nodes: int) -> FourierGrid:
            return Sinh(nodes).grid(model, expiry, log_strike[:, None], total_vol)

        nodes = self.sized().num_nodes or 36
        return shared_value(model, expiry, log_strike, grid_of, nodes, least=4, last=2, centre=model.drift(expiry))
