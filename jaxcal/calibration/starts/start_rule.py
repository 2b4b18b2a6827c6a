"""StartRule: the initial guesses of one class of models, and the ranges of a global search."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxcal.calibration.starts.smile_shape import SmileShape, namespace_of
from jaxcal.models.base import AbstractModel

Kind = type[AbstractModel]
Values = dict[str, Any]
Range = tuple[float, float]
Ranges = dict[str, Range]


class StartRule(NamedTuple):
    """How fits of a class of models start. Without `read` a fit starts in the middle of the bounds, without `ranges` a
    global search covers them.

    Attributes:
        read: initial guesses read off a surface, the most promising first.
        ranges: values seen in markets, by parameter, at a level of volatility.
        simpler: the class from whose fit one of this class starts, if any.
        extend: initial guesses from the surface and the fit of `simpler`.
        piecewise: bootstrapped from the shortest expiries on, from `of(simpler, knots)`.
        also_from_starts: also bootstrapped from the starts of `simpler`.
        num_knots: the most knots, if the caller names none.
        in_turn: fitted expiry by expiry first, each slice above the one before.
        rounds: how often a fit from the class goes on where it ended at the limit of steps, with as many again.
        by_quoted_expiry: whether vectors have an entry for every quoted expiry.
        sifted: whether the starts are carried some steps, and only the most promising is fitted to the end.
    """

    read: Callable[[SmileShape], list[Values]] | None = None
    ranges: Callable[[float], Ranges] | None = None
    simpler: Kind | None = None
    extend: Callable[[SmileShape, Any], list[Values]] | None = None
    piecewise: bool = False
    also_from_starts: bool = False
    num_knots: int = 0
    in_turn: bool = False
    rounds: int = 1
    by_quoted_expiry: bool = False
    sifted: bool = False


Rules = Mapping[Kind, StartRule]


def read_parameters(model: AbstractModel) -> Values:
    """The parameters of a model, in double precision on the host."""

    def read(value: Any) -> Any:
        xp = namespace_of(value)
        return xp.asarray(value, np.float64 if xp is np else None)

    return {name: read(getattr(model, name)) for name in model.bounds}
