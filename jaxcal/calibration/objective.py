"""Objective: what a fit made small, apart from its quotes and its numerics."""

import equinox as eqx

from jaxcal.calibration.prior import AbstractPrior
from jaxcal.calibration.residuals import AbstractResidual, ImpliedVolResidual


class Objective(eqx.Module):
    """The residual and the prior of a fit. With its surface and model this is all that its minimum depends on.

    Attributes:
        residual: what was made small, quote by quote.
        prior: residuals of the parameters, or None.

    Example:
        >>> Objective().residual.floor
        1e-07
    """

    residual: AbstractResidual = ImpliedVolResidual()
    prior: AbstractPrior | None = None
