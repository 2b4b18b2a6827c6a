"""calibrate_many: one model to many surfaces."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, TypeVar

import jax
import numpy as np
from numpy.typing import ArrayLike, NDArray

from jaxcal._status import Outcome
from jaxcal.calibration.arguments import checked_weights, free_names, intervals, start_of
from jaxcal.calibration.batch import Precision, rounds
from jaxcal.calibration.calibrate import PERFECT, ladder_of
from jaxcal.calibration.fits import Fits, Part
from jaxcal.calibration.initial import simpler_model, starts_of_many
from jaxcal.calibration.prior import AbstractPrior
from jaxcal.calibration.residuals import AbstractResidual, ImpliedVolResidual
from jaxcal.calibration.round import Method, Round, Target, slices_of
from jaxcal.calibration.shapes import few_shapes, stacked
from jaxcal.market.surface import Surface
from jaxcal.models.base import AbstractModel
from jaxcal.models.interval import Interval
from jaxcal.models.parameters import batch_size, search_bounds
from jaxcal.pricing.pricer import AbstractPricer
from jaxcal.solvers.least_squares import AbstractLeastSquaresSolver
from jaxcal.solvers.levenberg_marquardt import LevenbergMarquardt

Model = TypeVar("Model", bound=AbstractModel)
Solve = Callable[[NDArray[np.int64], Any, AbstractPricer, AbstractPricer], Round]

_SOLVER, _RESIDUAL = LevenbergMarquardt(), ImpliedVolResidual()


def calibrate_many(
    model: type[Model] | Model | Sequence[Model] | Mapping[Hashable, Model],
    surfaces: Sequence[Surface] | Mapping[Hashable, Surface] | Surface,
    *,
    residual: AbstractResidual = _RESIDUAL,
    weights: Sequence[ArrayLike | None] | Mapping[Hashable, ArrayLike] | None = None,
    solver: AbstractLeastSquaresSolver = _SOLVER,
    pricer: AbstractPricer | None = None,
    free: Sequence[str] | None = None,
    bounds: Mapping[str, Interval | tuple[float, float]] | None = None,
    prior: AbstractPrior | None = None,
    precision: Precision = "float64",
    devices: Sequence[jax.Device] | None = None,
) -> Fits[Model]:
    """Fit a model to each of many surfaces, as `calibrate` does one, in compiled batches on all cores or devices.

    Surfaces of different sizes are padded to a few common shapes, so that few programs are compiled. A few fits step
    together; when one ends the next surface takes its place, so none waits for the slowest. The result for a surface
    does not depend on the others.

    Args:
        model: a class, to start from each surface's own data; an instance, to start everywhere there, or one with a
            leading axis of surfaces on its fields; or an instance for each surface, in a sequence or a dict. With
            `free`, the other fields stay as they are in the instance.
        surfaces: a sequence; a dict, whose keys the results then have; or one `Surface` whose fields have a leading
            axis `[B]`.
        residual, solver, pricer, free, bounds, prior: as in `calibrate`, for all surfaces.
        weights: for each surface `[E, K]` or None, as in `calibrate`.
        precision: "float64"; "float32"; or "mixed", which iterates in float32 and ends in float64 at the same optimum.
            Surfaces in float32 are fitted in float32.
        devices: where to fit; all of JAX's local devices by default.

    Returns:
        `Fits`, in the order of `surfaces`. A surface that cannot be fitted, or whose weights or start break a rule, has
        a status and a reason, and changes nothing for the others.

    Raises:
        ValueError: no surfaces, more or fewer weights or starts than surfaces, and what `calibrate` raises for
            arguments that all surfaces share.

    Example:
        >>> import jaxcal as jc
        >>> surfaces = {name: jc.synthetic_surface(jc.BlackScholes(vol)) for name, vol in (("A", 0.2), ("B", 0.3))}
        >>> fits = jc.calibrate_many(jc.BlackScholes, surfaces)
        >>> print(f"{fits['B'].model.sigma:.4f}", fits.summary())
        0.3000 2 surfaces: 2 CONVERGED; RMSE ... vol points in the median
    """
    keys, given = _in_order(surfaces)
    template, starts = _starts_given(model, keys)
    names, limits = free_names(template, free), intervals(template, bounds)
    reasons: dict[int, str] = {}
    weighted = _weighted(given, _by_position(weights, keys, "weights"), reasons)
    if starts is not None:
        starts = _checked_starts(starts, given, reasons)

    settings = (names, limits, residual, prior, solver, precision, devices)
    parts: list[Part] = []
    for place, shape in few_shapes(weighted):
        batch = stacked([weighted[i] for i in place], shape)
        if precision == "float32":
            batch = jax.tree.map(lambda x: x.astype(np.float32) if x.dtype == np.float64 else x, batch)
        begin = None if starts is None else [starts[i] for i in place]
        for rows, result in _fitted(template, batch, begin, free is not None, pricer, *settings):
            unfit = np.asarray([place[row] in reasons for row in rows])
            parts.append(Part(place[rows], batch.weight[rows], _refused(result, unfit)))
    return Fits(keys, tuple(given), reasons, names, tuple(parts))
