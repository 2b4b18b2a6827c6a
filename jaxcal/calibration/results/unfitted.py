"""Unfitted: a fit that did not take place has no numbers, so that no filter and no average takes it for a good one."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool
from numpy.typing import ArrayLike, NDArray

from jaxcal._status import Outcome
from jaxcal.calibration.engine.grid_fit import GridFit
from jaxcal.models.base import AbstractModel, Model
from jaxcal.models.parameters import with_fields

UNFITTED = tuple(int(outcome) for outcome in Outcome if not outcome.fitted)


def is_unfitted(outcome: ArrayLike) -> Bool[np.ndarray, "*b"]:
    """Where an outcome, as a number, says "Not fitted".

    Example:
        >>> is_unfitted([Outcome.CONVERGED, Outcome.TOO_FEW_QUOTES]).tolist()
        [False, True]
    """
    return np.isin(np.asarray(outcome), UNFITTED)


def without_unfitted(result: GridFit[Model], weight: ArrayLike) -> GridFit[Model]:
    """The last round of a fit, or of many, on the host or not, with NaN for every number of what was not fitted: no
    step, and no parameter at a bound.

    Args:
        result: whose fields have the axes of its `outcome` first.
        weight: `[..., e, k]` of the quotes. Where every expiry was fitted by itself, one that is padding has no
            parameters, and takes nothing from the sums over the others.
    """
    outcome = np.asarray(result.outcome)
    if outcome.ndim == 0 and int(outcome) not in UNFITTED:  # the common case, for which numpy takes its time
        return result
    bad = is_unfitted(outcome)
    if not bad.any():
        return result
    weight = np.asarray(weight)
    counted = bad
    if bad.ndim == weight.ndim - 1:
        quoted = np.any(weight > 0, axis=-1)
        counted = bad & (quoted | ~quoted.any(axis=-1, keepdims=True))

    def blank(leaf: Any, where: NDArray[np.bool_], filler: Any) -> Any:
        values = np.array(leaf)
        values[where] = filler
        return values if isinstance(leaf, np.ndarray) else jax.numpy.asarray(values)

    numbers = ("residuals", "model_vol", "information", "cost", "rmse_vol", "gradient")
    fields = {name: blank(getattr(result, name), counted, np.nan) for name in numbers}
    fields |= {name: blank(getattr(result, name), bad, 0) for name in ("num_steps", "at_bound")}
    model = {name: blank(getattr(result.model, name), bad, np.nan) for name in result.model.bounds}
    return with_fields(result, fields | {"model": with_fields(result.model, model)})


def unknown_model(template: type[Model], shape: tuple[int, ...] = (), dtype: Any = float) -> Model:
    """A model of which nothing is known: NaN in every parameter, each of `shape`.

    Example:
        >>> import jaxcal as jc
        >>> float(unknown_model(jc.BlackScholes).sigma)
        nan
    """
    needed = [f.name for f in dataclasses.fields(template) if f.default is dataclasses.MISSING]  # type: ignore[arg-type]
    # of shapes alone: a model checks its numbers where it is made, and NaN is none
    like = jax.eval_shape(lambda value: template(**dict.fromkeys(needed, value)), 0.0)
    return jax.tree.map(lambda _: np.full(shape, np.nan, dtype), like)


def make_unfitted(
    model: type[AbstractModel] | AbstractModel,
    names: tuple[str, ...],
    shape: tuple[int, ...],
    outcome: Outcome,
    dtype: Any = float,
) -> GridFit:
    """The last round of a fit that did not take place: no numbers, of quotes `[E, K]`.

    Example:
        >>> import jaxcal as jc
        >>> result = make_unfitted(jc.BlackScholes, ("sigma",), (2, 8), Outcome.INVALID)
        >>> result.residuals.shape, int(result.outcome), float(result.cost)
        ((2, 8), 6, nan)
    """
    like = unknown_model(model) if isinstance(model, type) else model
    expiries = shape[:1] if like.per_expiry else ()
    quotes = (shape[0], 1, shape[1]) if expiries else shape
    size = len(names) if expiries else sum(np.size(getattr(like, name)) for name in names)

    def nan(*axes: int) -> Array:
        return jnp.asarray(np.full(axes, np.nan, dtype))

    return GridFit(
        model=jax.tree.map(lambda leaf: nan(*(expiries or np.shape(leaf))), like),
        residuals=nan(*quotes), model_vol=nan(*quotes), information=nan(*expiries, size, size), cost=nan(*expiries),
        rmse_vol=nan(*expiries), gradient=nan(*expiries), num_steps=jnp.asarray(np.zeros(expiries, np.int32)),
        outcome=jnp.asarray(np.full(expiries, int(outcome), np.int32)),
        at_bound=jnp.asarray(np.zeros((*expiries, size), bool)), moved=jnp.asarray(np.zeros(expiries, bool)),
    )  # fmt: skip
