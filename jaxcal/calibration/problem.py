"""CalibrationProblem: everything a solver needs, with all that does not depend on the parameters computed once."""

from typing import Generic, TypeVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcal.calibration.residuals import AbstractResidual, MarketValues
from jaxcal.models.base import AbstractFourierModel
from jaxcal.models.parameters import from_vector
from jaxcal.pricing.fourier import FourierGrid
from jaxcal.pricing.pricer import AbstractPricer

Model = TypeVar("Model", bound=AbstractFourierModel)


class CalibrationProblem(eqx.Module, Generic[Model]):
    """A model template, which of its fields are free, market values, a pricing grid and a residual.

    Attributes:
        model: values of the fixed fields; those of the free ones are ignored.
        free: names of the free fields, the order of a search vector.
        market: the surface in the terms of the residual.
        grid: prices as a linear functional of the characteristic function.
        residual: what is made small.
        root_weight: `[E, K]`, 0 at padding.
    """

    model: Model
    free: tuple[str, ...] = eqx.field(static=True)
    market: MarketValues
    grid: FourierGrid
    residual: AbstractResidual
    root_weight: Float[Array, "e k"]

    def model_at(self, y: Float[Array, " p"]) -> Model:
        """The model of a search vector."""
        return from_vector(self.model, self.free, y)

    def values(self, y: Float[Array, " p"]) -> Float[Array, "e k"]:
        """Out-of-the-money model values in units of the forward."""
        return self.grid.value(self.model_at(y)).reshape(self.root_weight.shape)

    def residuals(self, y: Float[Array, " p"]) -> Float[Array, " m"]:
        """Weighted residuals, `E * K` of them; zero at padding."""
        difference = self.residual(self.values(y), self.market)
        return (jnp.where(self.root_weight > 0, difference, 0.0) * self.root_weight).ravel()


def problem_of(
    model: Model,
    free: tuple[str, ...],
    market: MarketValues,
    weight: Float[Array, "e k"],
    residual: AbstractResidual,
    pricer: AbstractPricer,
) -> CalibrationProblem[Model]:
    """A problem whose grid is built around `model` and the market's at-the-money volatilities."""
    grid = pricer.grid(model, market.expiry[:, 0], market.log_strike, market.atm_total_vol())
    return CalibrationProblem(model, free, market, grid, residual, jnp.sqrt(weight))
