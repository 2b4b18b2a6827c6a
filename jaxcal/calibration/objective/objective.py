"""Objective: what a fit minimised, apart from its quotes and its numerics."""

import equinox as eqx

from jaxcal.calibration.objective.loss import AbstractLoss
from jaxcal.calibration.objective.prior import AbstractPrior
from jaxcal.calibration.objective.residuals import AbstractResidual, ImpliedVolResidual
from jaxcal.models.parameters import Scales


class Objective(eqx.Module):
    """The residual, the prior, the loss and the ties of a fit. With its surface and model this is all that its minimum
    depends on.

    Attributes:
        residual: what was minimised, quote by quote.
        prior: residuals of the parameters, with the strength that was used; or None.
        loss: of every residual, with the scale that was used; None for half the square.
        scales: search scales and ties that were asked for beside the model's own.

    Example:
        >>> Objective().residual.floor
        1e-07
    """

    residual: AbstractResidual = ImpliedVolResidual()
    prior: AbstractPrior | None = None
    loss: AbstractLoss | None = None
    scales: Scales = Scales()
