"""The path of a fit, of one surface and of each of many: strength of the prior, scale of the loss, starts, grids."""

from jaxcal.calibration.engine.grid_fit import GridFit, LossAndPrior
from jaxcal.calibration.engine.multistart import AbstractQuotes, multistart
from jaxcal.calibration.objective.loss import AbstractLoss, is_automatic
from jaxcal.calibration.objective.prior import AbstractPrior
from jaxcal.calibration.prior_strength import SearchedPriors, fit_at_own_strength
from jaxcal.calibration.robust_scale import fit_at_own_scale
from jaxcal.models.base import AbstractModel


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
    return fit(own) if searched is None else fit_at_own_strength(fit, quotes, own, searched)
