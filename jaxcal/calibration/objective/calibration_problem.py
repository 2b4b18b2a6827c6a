"""CalibrationProblem: everything a solver needs; what does not depend on the parameters is computed once."""

from typing import Any, Generic

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcal.calibration.objective.loss import AbstractLoss
from jaxcal.calibration.objective.prior import AbstractPrior
from jaxcal.calibration.objective.residuals import AbstractResidual, MarketValues
from jaxcal.models.base import AbstractFourierModel, AbstractModel, AbstractVolModel, Model
from jaxcal.models.parameters import Scales, from_vector
from jaxcal.pricing.fourier import FourierGrid
from jaxcal.pricing.pricer import AbstractPricer
from jaxcal.pricing.sinh import Sinh
from jaxcal.pricing.smile_grid import SmileGrid
from jaxcal.solvers.least_squares import AbstractResiduals, linearised


class CalibrationProblem(eqx.Module, Generic[Model]):
    """A model template, which of its fields are free, market values, a pricing grid, a residual, a loss and a prior.

    Attributes:
        model: values of the fixed fields; those of the free ones are ignored.
        free: names of the free fields, the order of a search vector.
        market: the surface in the terms of the residual.
        grid: values from a model: a `FourierGrid`, for instance.
        residual: what is minimised.
        prior: residuals of the parameters, or None.
        root_weight: `[E, K]`, 0 at padding.
        loss: of every residual, with a scale that is a number; None for half the square.
        scales: search scales and ties that are not the model's own.
    """

    model: Model
    free: tuple[str, ...] = eqx.field(static=True)
    market: MarketValues
    grid: Any
    residual: AbstractResidual
    prior: AbstractPrior | None
    root_weight: Float[Array, "e k"]
    loss: AbstractLoss | None = None
    scales: Scales = Scales()

    def model_at(self, y: Float[Array, " p"]) -> Model:
        """The model of a search vector."""
        return from_vector(self.model, self.free, y, self.scales)

    def values(self, y: Float[Array, " p"]) -> Float[Array, "e k"]:
        """Out-of-the-money model values in units of the forward."""
        return self.grid.value(self.model_at(y)).reshape(self.root_weight.shape)

    def residuals(self, y: Float[Array, " p"]) -> Float[Array, " m"]:
        """Weighted residuals, `E * K` of them, zero at padding; those of the prior follow.

        Half the sum of their squares is the cost: with a loss they are its signed roots.
        """
        return self._residuals(self.values(y), self.model_at(y))

    def _residuals(self, values: Float[Array, "e k"], model: Model) -> Float[Array, " m"]:
        quotes = self._of_quotes(values).ravel()
        if self.prior is None:
            return quotes
        return jnp.concatenate([quotes, self.prior(model).astype(quotes.dtype)])

    def _of_quotes(self, values: Float[Array, "e k"]) -> Float[Array, "e k"]:
        difference = self.residual(values, self.market)
        if self.loss is not None:
            difference = self.loss.root(difference)
        return jnp.where(self.root_weight > 0, difference, 0.0) * self.root_weight

    def linearised(self, y: Float[Array, " p"]) -> tuple[Float[Array, " m"], Float[Array, "m p"]]:
        """Residuals and their Jacobian. Of a model with a basis that is no larger than `y`, the grid is applied to the
        basis, and the chain rule to its values for the quotes, not at the nodes; likewise of a surface of slices, to
        the derivatives along the numbers of a slice.
        """
        model, grid = self.model, self.grid
        if isinstance(model, AbstractVolModel) and not model.per_expiry and self.prior is None:
            slices = model.slices(grid.expiry) if self.residual.by_quote else None
            if slices is not None and len(jax.tree.leaves(slices)) < y.size:
                return self._along_slices(y)
        if not (isinstance(grid, FourierGrid) and isinstance(model, AbstractFourierModel)):
            return linearised(lambda y, _: self.residuals(y), y, None)
        if not 0 < model.basis_size <= y.size:
            return linearised(lambda y, _: self.residuals(y), y, None)
        here: Any = self.model_at(y)
        values, rows = grid.linearised(here)
        values = values.reshape(self.root_weight.shape)  # some grids have a row for each quote

        def of_quotes(change: Float[Array, "e k"]) -> Float[Array, "e k"]:
            return jax.jvp(self._of_quotes, (values,), (change,))[1]

        slope = of_quotes(jnp.ones_like(values)) if self.residual.by_quote else None

        def along(v: Float[Array, " p"]) -> Float[Array, " m"]:
            _, direction = jax.jvp(self.model_at, (y,), (v,))
            years = grid.expiry[:, None]
            factors = here.mix(direction, years)
            if not len(factors) == len(rows) == here.basis_size:
                raise ValueError(
                    f"{type(here).__name__}: basis gives {len(rows)} functions and mix {len(factors)} factors, "
                    f"basis_size says {here.basis_size}: make the three agree"
                )
            factors = jnp.stack([jnp.broadcast_to(c, years.shape) for c in factors])
            change = jnp.sum(factors * rows, axis=0).reshape(values.shape)
            # nothing times what lies where there is no quote may be no number
            quotes = of_quotes(change) if slope is None else jnp.where(self.root_weight > 0, slope * change, 0.0)
            quotes = quotes.ravel()
            if self.prior is None:
                return quotes
            _, of_prior = jax.jvp(self.prior, (here,), (direction,))
            return jnp.concatenate([quotes, of_prior.astype(quotes.dtype)])

        return self._residuals(values, here), jax.vmap(along, out_axes=-1)(jnp.eye(y.size, dtype=y.dtype))

    def _along_slices(self, y: Float[Array, " p"]) -> tuple[Float[Array, " m"], Float[Array, "m p"]]:
        def slices_at(y: Float[Array, " p"]) -> Any:
            return self.model_at(y).slices(self.grid.expiry)  # type: ignore[attr-defined]

        def quotes_of(slices: Any) -> Float[Array, "e k"]:
            return self._of_quotes(self.grid.value_of_slices(slices).reshape(self.root_weight.shape))

        slices, by_parameter = slices_at(y), jax.tree.leaves(jax.jacfwd(slices_at)(y))
        leaves, structure = jax.tree.flatten(slices)
        places = jnp.eye(len(leaves), dtype=y.dtype)
        directions = structure.unflatten(
            [jnp.broadcast_to(place[:, None], (place.size, x.size)) for place, x in zip(places, leaves, strict=True)]
        )
        quotes, along = jax.linearize(quotes_of, slices)
        by_slice = jnp.where(self.root_weight > 0, jax.vmap(along)(directions), 0.0)
        jacobian = jnp.einsum("qek,qep->ekp", by_slice, jnp.stack(by_parameter))
        return quotes.ravel(), jacobian.reshape(quotes.size, y.size)

    def cost(self, y: Float[Array, " p"]) -> Float[Array, ""]:
        """The objective: the weighted sum of the losses of the quotes, plus half the sum of squares of the prior's
        residuals.
        """
        residuals = self.residuals(y)
        return 0.5 * (residuals @ residuals)


def build_problem(
    model: Model,
    free: tuple[str, ...],
    market: MarketValues,
    weight: Float[Array, "e k"],
    residual: AbstractResidual,
    pricer: AbstractPricer,
    prior: AbstractPrior | None = None,
    loss: AbstractLoss | None = None,
    scales: Scales = Scales(),
    offset: Float[Array, ""] | None = None,
) -> CalibrationProblem[Model]:
    """A problem with its grid built around `model` and the market's at-the-money volatilities; `offset` shifts the
    nodes of `Sinh`.
    """
    grid = build_grid(model, market, pricer, offset)
    return CalibrationProblem(model, free, market, grid, residual, prior, jnp.sqrt(weight), loss, scales)


def build_grid(
    model: AbstractModel, market: MarketValues, pricer: AbstractPricer, offset: Float[Array, ""] | None = None
) -> Any:
    """The grid that prices the quotes of a market under `model` and models near it; a smile model needs no pricer."""
    if isinstance(model, AbstractVolModel):
        return SmileGrid(market.expiry[:, 0], market.forward[:, 0], market.moneyness * market.forward)
    assert isinstance(model, AbstractFourierModel)
    quotes = market.expiry[:, 0], market.log_strike, market.atm_total_vol()
    if offset is None:
        return pricer.grid(model, *quotes)
    assert isinstance(pricer, Sinh)
    return pricer.grid(model, *quotes, offset=offset)


class ProblemResiduals(AbstractResiduals):
    """The residuals of a `CalibrationProblem` as solvers take them."""

    def __call__(self, y: Float[Array, " p"], args: CalibrationProblem) -> Float[Array, " m"]:
        return args.residuals(y)

    def linearise(self, y: Float[Array, " p"], args: CalibrationProblem) -> tuple[Array, Array]:
        return args.linearised(y)
