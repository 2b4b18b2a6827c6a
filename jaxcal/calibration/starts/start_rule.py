"""StartRule: where a fit of one class of models starts, and where a global search draws its starts."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxcal.calibration.starts.smile_shape import SmileShape
from jaxcal.models.base import AbstractModel

Kind = type[AbstractModel]
Values = dict[str, Any]
Range = tuple[float, float]
Ranges = dict[str, Range]


class StartRule(NamedTuple):
    """What is known of a class of models; without `read` a fit starts in the middle of the bounds, without `ranges` a
    global search all over them.

    Attributes:
        read: the parameters to start from, read off a surface, the most promising first.
        ranges: what markets have shown, by parameter, at a level of volatility.
        simpler: the class from whose fit one of this class starts, if any.
        extend: the parameters to start from, given the surface and the fit of `simpler`.
        piecewise: fitted to the shortest expiries first, then to more and more of them, from `of(simpler, knots)`.
        also_from_starts: likewise from what `simpler` itself would start from.
        num_knots: of the model, at most, where it has knots that the caller does not name.
        by_quoted_expiry: whether vectors have an entry for every quoted expiry.
    """

    read: Callable[[SmileShape], list[Values]] | None = None
    ranges: Callable[[float], Ranges] | None = None
    simpler: Kind | None = None
    extend: Callable[[SmileShape, Any], list[Values]] | None = None
    piecewise: bool = False
    also_from_starts: bool = False
    num_knots: int = 0
    by_quoted_expiry: bool = False


Rules = Mapping[Kind, StartRule]


def read_parameters(model: AbstractModel) -> Values:
    """The parameters of a model, in double precision."""
    return {name: np.asarray(getattr(model, name), np.float64) for name in model.bounds}
