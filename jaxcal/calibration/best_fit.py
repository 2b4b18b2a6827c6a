"""The path of a fit, of one surface and of each of many: strength of the prior, scale of the loss, starts, grids."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxcal.calibration.engine.grid_fit import GridFit, LossAndPrior
from jaxcal.calibration.engine.multistart import AbstractQuotes, multistart
from jaxcal.calibration.objective.loss import AbstractLoss, is_automatic
from jaxcal.calibration.objective.prior import AbstractPrior
from jaxcal.calibration.prior_strength import SearchedPriors, fit_at_own_strength
from jaxcal.calibration.robust_scale import fit_at_own_scale
from jaxcal.models.base import AbstractModel
from jaxcal.models.parameters import with_fields


def best_fit(
    model: type[AbstractModel] | AbstractModel,
    quotes: AbstractQuotes,
    loss: AbstractLoss | None,
    prior: AbstractPrior | None,
    *,
    searched: SearchedPriors | None = None,
    several: bool = True,
) -> tuple[GridFit, LossAndPrior]:
    """The last round of every fit, and the loss and the prior that were used, in the form that `quotes` have them.

    Args:
        model: a class; or an instance to start from, with the axes of the rows.
        quotes: of one surface, or of many.
        loss: shared by all; a scale that is to be found is that of each surface.
        prior: as `LossAndPrior` has it; or
        searched: priors with a strength that is to be found.
        several: whether more than the first start is tried.
    """

    def fit(own: LossAndPrior) -> tuple[GridFit, LossAndPrior]:
        if is_automatic(own.loss):
            return fit_at_own_scale(model, quotes, own, several=several)
        own = own._replace(loss=quotes.broadcast(own.loss))
        return multistart(model, quotes, own, several=several).found, own

    own = LossAndPrior(loss, prior)
    found, own = fit(own) if searched is None else fit_at_own_strength(fit, quotes, own, searched)
    # those of an instance, and those that a prior is about, are told apart by their places
    return (in_order(found, quotes.settings.names) if isinstance(model, type) and own.prior is None else found), own


def in_order(found: GridFit, names: Sequence[str]) -> GridFit:
    """A fit whose interchangeable parts are in the order of the model, those of `names` alike, of one or of many."""
    for part in found.model.orders():
        if not set(part.names) <= set(names):
            continue
        xp: Any = jnp if isinstance(part.key, Array) else np
        order = np.argsort(np.asarray(part.key), axis=-1, kind="stable")
        sizes = [np.shape(getattr(found.model, name))[-1] for name in names]
        starts = np.cumsum([0, *sizes])
        place = np.broadcast_to(np.arange(starts[-1]), (*order.shape[:-1], starts[-1])).copy()
        fields = {}
        for name, start in zip(names, starts[:-1], strict=True):
            if name in part.names:
                place[..., start : start + order.shape[-1]] = start + order
                fields[name] = xp.take_along_axis(getattr(found.model, name), order, axis=-1)
        information = xp.take_along_axis(found.information, place[..., None, :], axis=-1)
        information = xp.take_along_axis(information, place[..., :, None], axis=-2)
        at_bound = xp.take_along_axis(found.at_bound, place, axis=-1)
        found = eqx.tree_at(
            lambda fit: (fit.model, fit.information, fit.at_bound),
            found,
            (with_fields(found.model, fields), information, at_bound),
        )
    return found
