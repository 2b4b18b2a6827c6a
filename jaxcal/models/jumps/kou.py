"""Kou (2002): constant volatility and double-exponential jumps of the log price."""

from collections.abc import Mapping
from typing import ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from jaxcal._types import BoolLike
from jaxcal.models.base import AbstractFourierModel
from jaxcal.models.complex_math import reciprocal
from jaxcal.models.interval import Interval
from jaxcal.models.jumps.odd_parts import odd_jumps


class Kou(AbstractFourierModel):
    """Geometric Brownian motion with double-exponential jumps of its logarithm.

    Args:
        sigma: volatility between jumps, decimal per square root of year.
        jump_intensity: expected number of jumps a year.
        p_up: probability that a jump goes up, in [0, 1].
        eta_up: 1 / mean size of a jump up, above 1 (the price has no mean otherwise).
        eta_down: 1 / mean size of a jump down, positive.

    Raises:
        ValueError: on construction with numbers outside the domain, as every model.

    References:
        S. Kou, Management Science 48 (2002) 1086-1101.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> import jaxcal as jc
        >>> model = jc.Kou(sigma=0.16, jump_intensity=1.0, p_up=0.4, eta_up=10.0, eta_down=5.0)
        >>> round(float(jc.price(model, 98.0, 0.5, forward=102.5, discount=0.975)), 9)
        9.122963956
    """

    sigma: Float[Array, "*batch"] | float
    jump_intensity: Float[Array, "*batch"] | float
    p_up: Float[Array, "*batch"] | float
    eta_up: Float[Array, "*batch"] | float
    eta_down: Float[Array, "*batch"] | float

    bounds: ClassVar[Mapping[str, Interval]] = {
        "sigma": Interval(1e-3, 10.0, "log"),
        "jump_intensity": Interval(1e-3, 200.0, "log"),
        "p_up": Interval(0.0, 1.0, "linear"),
        "eta_up": Interval(1.01, 500.0, "log"),
        "eta_down": Interval(0.1, 500.0, "log"),
    }

    def log_cf(self, z: Complex[Array, "*shape"], t: Float[Array, "*#shape"]) -> Complex[Array, "*shape"]:
        """Kou's eq. 4 less its drift: eta / (eta -+ iz) - 1 and the compensators share the factor z^2 + iz, which is
        taken out so that nothing cancels.
        """
        parameters = (self.sigma, self.jump_intensity, self.p_up, self.eta_up, self.eta_down)
        sigma, intensity, p_up, up, down, t = (jnp.asarray(p).astype(z.dtype) for p in (*parameters, t))
        rising = p_up / (up - 1.0) * reciprocal(up - 1j * z)
        falling = (1.0 - p_up) / (down + 1.0) * reciprocal(down + 1j * z)
        return -t * (z * z + 1j * z) * (0.5 * sigma**2 + intensity * (rising + falling))

    def moment_bounds(self, t: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
        return -jnp.full_like(t, self.eta_down), jnp.full_like(t, self.eta_up)

    def decay_cone(self) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """That of the Gaussian part; jumps stay bounded there."""
        return jnp.asarray(-jnp.pi / 4), jnp.asarray(jnp.pi / 4)

    def odd_parts(self) -> tuple[str, ...]:
        up, down = 2.0 * self.p_up / np.square(self.eta_up), 2.0 * (1.0 - self.p_up) / np.square(self.eta_down)
        return odd_jumps(self.jump_intensity, up + down)

    def violations(self) -> Mapping[str, BoolLike]:
        return {
            "sigma must not be negative": self.sigma < 0,
            "jump_intensity must not be negative": self.jump_intensity < 0,
            "p_up must lie in [0, 1]": (self.p_up < 0) | (self.p_up > 1),
            "eta_up must be above 1": self.eta_up <= 1,
            "eta_down must be positive": self.eta_down <= 0,
        }
