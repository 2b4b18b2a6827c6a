"""Double Heston on a clock of its own: the clock has the level of expiries, two factors the shape of their smiles."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Complex, Float

from jaxcal._types import BoolLike, float_dtype
from jaxcal.models.analytic.buckets import bucket_violations, check_buckets, numbers, years_in_buckets, years_on_clock
from jaxcal.models.base import AbstractFourierModel, LogCFBasis
from jaxcal.models.complex_math import Cartesian, real
from jaxcal.models.diffusions.double_heston import (
    DoubleHeston,
    double_heston_basis,
    double_heston_cone,
    double_heston_factors,
    double_heston_log_cf,
    double_heston_mix,
    double_heston_moments,
    double_heston_violations,
)
from jaxcal.models.diffusions.heston import heston_slope_in_t, heston_terms
from jaxcal.models.interval import Interval

_WIDER = {
    "kappa": Interval(1e-3, 300.0, "log"),
    "theta": Interval(1e-6, 1e3, "log"),
    "sigma": Interval(1e-3, 300.0, "log"),
}


class ClockedDoubleHeston(AbstractFourierModel):
    """`DoubleHeston` whose time runs at another pace after each knot: X at t is that of `DoubleHeston` at clock(t).

    n `knots` make n + 1 intervals, the last without end. In the first the clock runs as time does, after each knot at
    the `pace` that belongs to it. A change of clock moves the variance of all later expiries and keeps a martingale
    one, so there is no arbitrage whatever the pace. Weekends, events and the term structure of volatility go into it,
    and the two factors are left with the shape of the smiles.

    Args:
        v0_1, v0_2: variances today, per year of the clock; their sum is that of the returns.
        kappa_1, kappa_2: speeds of mean reversion, per year of the clock.
        theta_1, theta_2: long-run variances, per year of the clock.
        sigma_1, sigma_2: volatilities of variance, per year of the clock.
        rho_1, rho_2: correlations of each variance with its own part of the returns, in (-1, 1).
        pace: `[n]` years of the clock in a year after each knot, positive.
        knots: `[n]` times in years, positive and increasing, at which the pace changes. Not a parameter.

    Raises:
        ValueError: on construction with numbers outside the domain, as every model, or with a pace that is not as long
            as the knots.

    References:
        P. Christoffersen, S. Heston, K. Jacobs, Management Science 55 (2009) 1914-1932, for the two factors. That a
        change of time keeps a martingale one: P. Carr, L. Wu, "Time-changed Levy processes and option pricing", Journal
        of Financial Economics 71 (2004) 113-141, section 2; here the change is not random.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> import jaxcal as jc
        >>> still = jc.DoubleHeston(0.02, 6.0, 0.02, 0.6, -0.8, 0.02, 0.5, 0.03, 0.3, -0.4)
        >>> model = jc.ClockedDoubleHeston.of(still, knots=[0.25], pace=[2.0])
        >>> print(model.clock(1.0))
        1.75
        >>> round(float(jc.price(model, 100.0, 1.0, forward=100.0)), 9)
        10.274883674
        >>> round(float(jc.price(still, 100.0, 1.75, forward=100.0)), 9)
        10.274883674
    """

    v0_1: Float[Array, "..."] | float
    kappa_1: Float[Array, "..."] | float
    theta_1: Float[Array, "..."] | float
    sigma_1: Float[Array, "..."] | float
    rho_1: Float[Array, "..."] | float
    v0_2: Float[Array, "..."] | float
    kappa_2: Float[Array, "..."] | float
    theta_2: Float[Array, "..."] | float
    sigma_2: Float[Array, "..."] | float
    rho_2: Float[Array, "..."] | float
    pace: Float[Array, "..."] = eqx.field(converter=numbers)
    knots: Float[Array, "..."] = eqx.field(converter=numbers)

    # wider than those of DoubleHeston: the clock makes up for variances that grow far beyond those of today
    bounds: ClassVar[Mapping[str, Interval]] = {
        **{name: _WIDER.get(name[:-2], interval) for name, interval in DoubleHeston.bounds.items()},
        "pace": Interval(1e-3, 1e3, "log"),
    }
    vectors: ClassVar[frozenset[str]] = frozenset({"pace", "knots"})

    def __check_init__(self) -> None:
        check_buckets(self, ())
        given = (float, int, np.ndarray, Array)  # JAX puts other things into a tree on the way
        if isinstance(self.pace, given) and np.shape(self.pace) != np.shape(self.knots):
            shapes = f"{np.shape(self.pace)} and {np.shape(self.knots)}"
            raise ValueError(f"ClockedDoubleHeston: every knot has a pace: their shapes must be the same, not {shapes}")

    @classmethod
    def of(
        cls, model: DoubleHeston, knots: Sequence[float] | ArrayLike, pace: Sequence[float] | ArrayLike | None = None
    ) -> "ClockedDoubleHeston":
        """`model` on a clock: by default on one that runs as time does, a start for a calibration.

        Example:
            >>> import jaxcal as jc
            >>> still = jc.DoubleHeston(0.02, 6.0, 0.02, 0.6, -0.8, 0.02, 0.5, 0.03, 0.3, -0.4)
            >>> jc.ClockedDoubleHeston.of(still, [0.25, 1.0]).pace.tolist()
            [1.0, 1.0]
        """
        at, fields = numbers(knots), {name: getattr(model, name) for name in model.bounds}
        return cls(**fields, pace=jnp.ones_like(at) if pace is None else numbers(pace), knots=at)

    def clock(self, t: ArrayLike) -> Float[Array, "..."]:
        """Years of the clock at times `t` in years from today, of any shape.

        Example:
            >>> import jaxcal as jc
            >>> still = jc.DoubleHeston(0.02, 6.0, 0.02, 0.6, -0.8, 0.02, 0.5, 0.03, 0.3, -0.4)
            >>> model = jc.ClockedDoubleHeston.of(still, [0.25, 1.0], pace=[2.0, 0.5])
            >>> model.clock(jnp.asarray([0.1, 0.5, 3.0])).tolist()
            [0.1, 0.75, 2.75]
        """
        return self._clock(jnp.asarray(t, float_dtype(t, self.pace, self.knots)))

    def _clock(self, t: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """The same in the dtype of `t`."""
        return years_on_clock(self.knots, self.pace, t)

    def log_cf(self, z: Complex[Array, "*shape"], t: Float[Array, "*#shape"]) -> Complex[Array, "*shape"]:
        return double_heston_log_cf(self, z, self._clock(t.astype(jnp.real(z).dtype)))

    basis_size: ClassVar[int] = 11

    def basis(self, z: Cartesian, t: Float[Array, "*#shape"]) -> LogCFBasis:
        years = self._clock(t.astype(z.re.dtype))
        still = double_heston_basis(self, z, years)
        first, second = (
            heston_slope_in_t(v0, kappa * theta, sigma, heston_terms(kappa, sigma, rho, z, years))
            for v0, kappa, theta, sigma, rho in (real(z, *factor) for factor in double_heston_factors(self))
        )
        return LogCFBasis(still.log_cf, (*still.rows, first + second))

    def mix(self, direction: Any, t: Float[Array, "*shape"]) -> tuple[Any, ...]:
        years = years_in_buckets(self.knots, t)[1:]
        pace = direction.pace.astype(t.dtype)[(..., *(None,) * t.ndim)]
        return *double_heston_mix(self, direction), jnp.sum(pace * years, axis=0)

    def still(self, t: Float[Array, "*shape"]) -> tuple["ClockedDoubleHeston", Float[Array, "*shape"]]:
        without = eqx.tree_at(lambda model: (model.pace, model.knots), self, (jnp.zeros(0), jnp.zeros(0)))
        return without, self._clock(t)

    def moment_bounds(self, t: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
        return double_heston_moments(self, self._clock(t))

    def decay_cone(self) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """As `DoubleHeston`, at any time of the clock."""
        return double_heston_cone(self.rho_1, self.rho_2)

    def violations(self) -> Mapping[str, BoolLike]:
        rules = double_heston_violations(self) | {"pace must be positive": self.pace <= 0}
        return bucket_violations(rules, self.knots)
