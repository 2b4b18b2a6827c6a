"""CalibrationSpec: the whole question of a fit, apart from the quotes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Generic

import jax
import numpy as np
from numpy.typing import ArrayLike, NDArray

from jaxcal.calibration.arguments import Bounds, find_scales, free_names, intervals, without_ties
from jaxcal.calibration.objective.loss import AbstractLoss, make_loss
from jaxcal.calibration.objective.prior import AbstractPrior, make_prior
from jaxcal.calibration.objective.residuals import AbstractResidual, ImpliedVolResidual
from jaxcal.calibration.objective.weights import AbstractWeights, checked_values, find_weights
from jaxcal.dates.variance_clock import VarianceClock
from jaxcal.market.cleaning.cleaning_rules import CleaningRules, SuitedRules
from jaxcal.models.base import Model
from jaxcal.models.interval import Interval
from jaxcal.models.parameters import Scales
from jaxcal.pricing.pricer import AbstractPricer
from jaxcal.solvers.least_squares import AbstractLeastSquaresSolver
from jaxcal.solvers.levenberg_marquardt import LevenbergMarquardt

_RESIDUAL, _SOLVER = ImpliedVolResidual(), LevenbergMarquardt()
_STATIC = ("free", "bounds", "rules", "clock")


@jax.tree_util.register_pytree_node_class
@dataclass(frozen=True, eq=False, repr=False, init=False)
class CalibrationSpec(Generic[Model]):
    """All that decides a fit beside its quotes: every verb that fits takes one in place of a model, and every `Fit`
    keeps its own as `fit.spec`.

    Arguments given beside it take the place of its own: `calibrate(spec, surface, loss="huber")`. `dataclasses.replace`
    makes a changed one. Two are equal where all their values are. `save` and `load` write and read it, as TOML.

    Args:
        model: a class, to start from parameters read off the surface; or an instance, to start there.
        free, bounds, residual, loss, prior, weights, solver, pricer: as in `calibrate`; names of losses and weights
            become the objects they stand for.
        rules, clock: how the surface is made of a table of quotes, as in `Surface.from_quotes`. The command line and
            bulk jobs use them; a fit has a surface already, and passes them on.

    Raises:
        ValueError: what `calibrate` raises for these arguments.
        TypeError: an argument is of another kind.

    Example:
        >>> import jaxcal as jc
        >>> spec = jc.CalibrationSpec(jc.BlackScholes, loss="huber", bounds={"sigma": (0.05, 2.0)})
        >>> surface = jc.Surface.from_vols([0.5], [90.0, 100.0, 110.0], [[0.21, 0.2, 0.2]], forward=100.0)
        >>> fit = jc.calibrate(spec, surface)
        >>> fit.spec == spec, fit.spec.loss
        (True, Huber())
    """

    model: type[Model] | Model
    free: tuple[str, ...] | None
    bounds: dict[str, Interval | tuple[float, float] | str]
    residual: AbstractResidual
    loss: AbstractLoss | None
    prior: AbstractPrior | None
    weights: NDArray[np.floating] | AbstractWeights | None
    solver: AbstractLeastSquaresSolver
    pricer: AbstractPricer | None
    rules: CleaningRules | SuitedRules | None
    clock: VarianceClock | None

    def __init__(
        self,
        model: type[Model] | Model,
        *,
        free: Sequence[str] | None = None,
        bounds: Bounds | None = None,
        residual: AbstractResidual = _RESIDUAL,
        loss: AbstractLoss | str | None = None,
        prior: AbstractPrior | Sequence[AbstractPrior] | None = None,
        weights: ArrayLike | AbstractWeights | str | None = None,
        solver: AbstractLeastSquaresSolver = _SOLVER,
        pricer: AbstractPricer | None = None,
        rules: CleaningRules | SuitedRules | None = None,
        clock: VarianceClock | None = None,
    ) -> None:
        """See the class."""
        template = model if isinstance(model, type) else type(model)
        if isinstance(free, str):
            raise ValueError(f"free must name parameters in a sequence: write [{free!r}], not {free!r}")
        for name, value, kinds, example in (
            ("residual", residual, AbstractResidual, "ImpliedVolResidual()"),
            ("solver", solver, AbstractLeastSquaresSolver, "LevenbergMarquardt()"),
            ("pricer", pricer, AbstractPricer | None, "Sinh()"),
            ("rules", rules, CleaningRules | SuitedRules | None, "CleaningRules.crypto()"),
            ("clock", clock, VarianceClock | None, "VarianceClock()"),
        ):
            if not isinstance(value, kinds):
                raise TypeError(f"{name} is {repr(value)[:100]}: give it something such as {example}")
        if isinstance(weights, str):
            weights = find_weights(weights)
        elif weights is not None and not isinstance(weights, AbstractWeights):
            weights = checked_values(weights)
        if not isinstance(bounds, Mapping | None):
            raise TypeError(f"bounds is {repr(bounds)[:100]}: give a dict, such as {{name: (lower, upper)}}")
        bounds = bounds or {}
        in_order = sorted(bounds, key=lambda name: (*getattr(template, "bounds", ()), name).index(name))
        named = None if free is None else tuple(str(one) if isinstance(one, str) else one for one in free)
        parts = {
            "model": model, "free": named,
            "bounds": {name: _bound(name, bounds[name]) for name in in_order}, "residual": residual,
            "loss": make_loss(loss), "prior": make_prior(prior, template), "weights": weights, "solver": solver,
            "pricer": pricer, "rules": rules, "clock": clock,
        }  # fmt: skip
        for name, value in parts.items():
            object.__setattr__(self, name, value)
        _ = self.names, self.limits  # raises

    @property
    def template(self) -> type[Model]:
        """The class of the model."""
        return self.model if isinstance(self.model, type) else type(self.model)

    @property
    def ties(self) -> dict[str, str]:
        """By name, the parameter that one is equal to."""
        return dict(self.scales.ties)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The parameters that are fitted, in the model's order."""
        names = free_names(self.template, self.free)
        if self.free and not isinstance(self.model, type):
            for name in (name for name in names if not np.size(getattr(self.model, name))):
                raise ValueError(f"free names {name}, of which this {self.template.__name__} has none: its size is 0")
        return without_ties(names, self.free, self.scales)

    @cached_property
    def limits(self) -> Mapping[str, Interval]:
        """The bounds of every parameter: the model's own, or those given."""
        return intervals(self.template, self.bounds)

    @cached_property
    def scales(self) -> Scales:
        """The search scales and ties that the bounds ask for."""
        return find_scales(self.template, self.bounds)

    def own(self, **parts: Any) -> "CalibrationSpec[Model]":
        """The same with parts that have been checked before, and have the form in which they are kept."""
        return _made({entry.name: parts.get(entry.name, getattr(self, entry.name)) for entry in fields(self)})

    def tree_flatten(self) -> tuple[list[Any], Any]:
        """All numbers are leaves; names, classes and rules are part of the structure. What a transformation puts in the
        place of a number, None included, stays a leaf, so the structure stays the same.
        """
        parts = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        static = {name: parts.pop(name) for name in _STATIC}
        static["bounds"] = tuple(static["bounds"].items())
        if isinstance(self.model, type):
            static["model"] = parts.pop("model")
        leaves, tree = jax.tree.flatten(parts, is_leaf=lambda leaf: leaf is None)
        numbers = [leaf for leaf in leaves if not _is_name(leaf)]
        others = tuple((i, leaf) for i, leaf in enumerate(leaves) if _is_name(leaf))
        return numbers, (tree, others, tuple(static.items()))

    @classmethod
    def tree_unflatten(cls, structure: Any, numbers: Sequence[Any]) -> "CalibrationSpec":
        """See `tree_flatten`."""
        tree, others, static = structure
        leaves = list(numbers)
        for place, leaf in others:
            leaves.insert(place, leaf)
        parts = jax.tree.unflatten(tree, leaves) | dict(static)
        return _made(parts | {"bounds": dict(parts["bounds"])})

    def __eq__(self, other: object) -> bool:
        """Whether all values are equal, NaN to itself."""
        if not isinstance(other, CalibrationSpec):
            return NotImplemented
        return _same(self.tree_flatten(), other.tree_flatten())

    def __hash__(self) -> int:
        """Of all but the numbers."""
        return hash(self.tree_flatten()[1])

    def __repr__(self) -> str:
        """The class, or the start, and what is not as it would be."""
        parts = [self.model.__name__ if isinstance(self.model, type) else repr(self.model)]
        default = {"bounds": {}, "residual": _RESIDUAL, "solver": _SOLVER}
        for entry in fields(self)[1:]:
            value, usual = getattr(self, entry.name), default.get(entry.name)
            if not _same(jax.tree.flatten(value), jax.tree.flatten(usual)):
                parts.append(f"{entry.name}={value!r}")
        return f"CalibrationSpec({', '.join(parts)})"


def spec_of(model: Any, **given: Any) -> CalibrationSpec:
    """The spec of a call: of a model, or one that was given; with the arguments beside it that are not None.

    Example:
        >>> import jaxcal as jc
        >>> spec_of(jc.CalibrationSpec(jc.BlackScholes, loss="huber"), loss="cauchy", prior=None)
        CalibrationSpec(BlackScholes, loss=Cauchy())
    """
    given = {name: value for name, value in given.items() if value is not None}
    if not isinstance(model, CalibrationSpec):
        return CalibrationSpec(model, **given)
    return replace(model, **given) if given else model


def _made(parts: Mapping[str, Any]) -> CalibrationSpec:
    """Without the checks: the parts may be traced, or anything that a transformation puts there."""
    spec = object.__new__(CalibrationSpec)
    for name, value in parts.items():
        object.__setattr__(spec, name, value)
    return spec


def _is_name(leaf: Any) -> bool:
    """Whether a leaf stands for something, as "auto" and a function do, and no transformation concerns it."""
    return isinstance(leaf, str) or callable(leaf)


def _bound(name: str, pair: Any) -> Any:
    """A tie, an interval with a scale of its own, or two numbers."""
    if isinstance(pair, str):
        return pair
    try:
        lower, upper = map(float, pair[:2] if isinstance(pair, Interval) else pair)
        own = isinstance(pair, Interval) and (pair.unit or pair.origin)
        return pair._replace(lower=lower, upper=upper) if own else (lower, upper)
    except (TypeError, ValueError):
        shown = repr(pair)[:60]
        raise ValueError(
            f"bounds of {name} are {shown}: give (lower, upper), an Interval, or the name of another parameter"
        ) from None


def _same(one: tuple[Sequence[Any], Any], other: tuple[Sequence[Any], Any]) -> bool:
    """Whether two trees, leaves and structure, are equal."""

    def equal(x: Any, y: Any) -> bool:
        x, y = np.asarray(x), np.asarray(y)
        return np.array_equal(x, y, equal_nan=x.dtype.kind == "f" and y.dtype.kind == "f")

    return one[1] == other[1] and all(equal(x, y) for x, y in zip(one[0], other[0], strict=True))
