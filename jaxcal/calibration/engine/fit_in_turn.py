"""fit_in_turn: a surface of tied slices, fitted expiry by expiry, each above the one before: where its fit starts."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcal.calibration.engine.grid_fit import MAX_STEP, Method
from jaxcal.calibration.objective.fit_data import Target
from jaxcal.calibration.objective.residuals import MarketValues
from jaxcal.compilation.quick_jit import QuickJit, never
from jaxcal.models.parameters import with_fields
from jaxcal.models.smiles.arbitrage_free_svi import ArbitrageFreeSVI, Below, first_below
from jaxcal.pricing.smile_grid import SmileGrid
from jaxcal.solvers.least_squares import least_squares
from jaxcal.solvers.levenberg_marquardt import LevenbergMarquardt

_STEPS = LevenbergMarquardt(max_steps=60)  # the fit of all expiries that follows does the rest


@partial(QuickJit, static_argnums=0, small=never, task="fit of one expiry after the other")
def fit_in_turn(names: tuple[str, ...], method: Method, target: Target, start: ArbitrageFreeSVI) -> ArbitrageFreeSVI:
    """`start` with the parameters of each slice fitted to the quotes of its expiry, from the first one on.

    Args:
        names: of the parameters of a slice, all of them.
        method: its residual, loss and limits.
        target: with the expiries of the knots.
        start: where an expiry with fewer quotes than parameters stays.
    """
    market, root_weight = MarketValues.of(*target), jnp.sqrt(target.weight)
    scales = [start.bounds[name] for name in names]
    size = start.knots.shape[0]
    lower, upper = (jnp.asarray(limit)[::size] for limit in method.limits)

    def turn(below: Below, row: tuple[MarketValues, Array, Array, Array]) -> tuple[Below, dict[str, Array]]:
        market, root_weight, strike, y0 = row
        market, root_weight, strike = jax.tree.map(lambda leaf: leaf[None], (market, root_weight, strike))
        grid = SmileGrid(market.expiry[:, 0], market.forward[:, 0], strike)

        def own(y: Float[Array, " p"]) -> dict[str, Array]:
            return {name: scale.from_search(x) for name, scale, x in zip(names, scales, y, strict=True)}

        def residuals(y: Float[Array, " p"], _: Any) -> Float[Array, " m"]:
            at, _ = ArbitrageFreeSVI.above(below, **own(y))
            difference = method.residual(grid.value_of_slices(jax.tree.map(lambda x: x[None], at)), market)
            if method.loss is not None:
                difference = method.loss.root(difference)
            return (jnp.where(root_weight > 0, difference, 0.0) * root_weight).ravel()

        found = least_squares(
            residuals, _STEPS, y0, lower=lower, upper=upper, max_step=MAX_STEP, run=jnp.sum(market.used) >= y0.size
        )
        return ArbitrageFreeSVI.above(below, **own(found.y))[1], own(found.y)

    y0 = [scale.to_search(jnp.asarray(getattr(start, name))) for name, scale in zip(names, scales, strict=True)]
    _, found = jax.lax.scan(
        turn, first_below(target.vol.dtype), (market, root_weight, target.strike, jnp.stack(y0, -1))
    )
    return with_fields(start, found)
