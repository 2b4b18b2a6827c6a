"""A `CalibrationSpec`, and what it is made of, as plain values: what a TOML or a JSON file of it holds. Nothing is
evaluated in reading one: classes are looked up by name among the library's and those of the caller.
"""

import contextlib
import dataclasses
import inspect
from collections.abc import Iterable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxcal.calibration.calibration_spec import CalibrationSpec
from jaxcal.calibration.objective.feller import Feller, feller_bounds
from jaxcal.calibration.objective.gaussian_prior import Gaussian
from jaxcal.calibration.objective.loss import AbstractLoss, Cauchy, Huber, Linear, SoftL1
from jaxcal.calibration.objective.prior import AbstractPrior, Combined, Scaled, Smoothness
from jaxcal.calibration.objective.residuals import (
    AbstractResidual,
    BidAskResidual,
    HalfSpreadResidual,
    ImpliedVolResidual,
    PriceResidual,
    VegaPriceResidual,
)
from jaxcal.calibration.objective.weights import (
    AbstractWeights,
    InverseSpreadWeights,
    UniformWeights,
    VegaWeights,
)
from jaxcal.calibration.toward_fit import Toward
from jaxcal.dates.variance_clock import VarianceClock
from jaxcal.market.cleaning.cleaning_rules import THRESHOLDS, CleaningRules, SuitedRules
from jaxcal.models.base import AbstractModel
from jaxcal.models.interval import Interval
from jaxcal.models.parameters import Scales
from jaxcal.models.registry import ModelName
from jaxcal.pricing.cos import Cos
from jaxcal.pricing.laguerre import Laguerre
from jaxcal.pricing.pricer import AbstractPricer
from jaxcal.pricing.saddle import Saddle
from jaxcal.pricing.series import Series
from jaxcal.pricing.sinh import Sinh
from jaxcal.solvers.gradient import Optax
from jaxcal.solvers.least_squares import AbstractLeastSquaresSolver
from jaxcal.solvers.levenberg_marquardt import LevenbergMarquardt

Record = dict[str, Any]

_LIBRARY: tuple[type[Any], ...] = (
    ImpliedVolResidual, BidAskResidual, HalfSpreadResidual, VegaPriceResidual, PriceResidual, Linear, Huber, SoftL1,
    Cauchy, Gaussian, Toward, Smoothness, Feller, Scaled, Combined, UniformWeights, VegaWeights, InverseSpreadWeights,
    LevenbergMarquardt, Optax, Sinh, Saddle, Laguerre, Cos, Series,
)  # fmt: skip
_BASES: dict[str, type[Any]] = {
    "residual": AbstractResidual, "loss": AbstractLoss, "prior": AbstractPrior, "weights": AbstractWeights,
    "solver": AbstractLeastSquaresSolver, "pricer": AbstractPricer,
}  # fmt: skip
_OPTIMISERS = ("adabelief", "adagrad", "adam", "adamax", "adamw", "lion", "nadam", "radam", "rmsprop", "sgd", "yogi")
KEYS = ("model", "start", "free", "bounds", *_BASES, "cleaning", "clock")


def model_class(name: Any, classes: Iterable[type[Any]] = ()) -> type[Any]:
    """The model of a name, as `ModelName` or the class has it; a ValueError where there is none."""
    if isinstance(name, str):
        for one in classes:
            if issubclass(one, AbstractModel) and one.__name__ == name:
                return one
        for one in ModelName:
            if _plain_name(name) == _plain_name(one.value):
                return one.model
    known = ", ".join(one.value for one in ModelName)
    raise ValueError(f"there is no model {_shown(name)}; there are {known}, and those given as classes=(...)")


def spec_to_record(spec: CalibrationSpec) -> Record:
    """Names, numbers, lists and tables, of everything that is not None; numbers exactly.

    Raises:
        ValueError: a part is a function or an object that no file can hold.

    Example:
        >>> import jaxcal as jc
        >>> record = spec_to_record(jc.CalibrationSpec(jc.BlackScholes, loss="huber", bounds={"sigma": (0.1, 1.0)}))
        >>> record["model"], record["bounds"], record["loss"]
        ('BlackScholes', {'sigma': [0.1, 1.0]}, {'kind': 'Huber', 'scale': 'auto'})
    """
    found: Record = {"model": spec.template.__name__}
    if not isinstance(spec.model, type):
        found["start"] = _fields(spec.model, lambda name, value: _number(value))
    if spec.free is not None:
        found["free"] = list(spec.free)
    if spec.bounds:
        found["bounds"] = {name: _bound_to_record(name, b, spec.template) for name, b in spec.bounds.items()}
    for name in _BASES:
        value = getattr(spec, name)
        if isinstance(value, np.ndarray):
            found[name] = value.tolist()
        elif value is not None:
            found[name] = object_to_record(value, name, spec.template)
    if isinstance(spec.rules, SuitedRules):
        found["cleaning"] = {"profile": "suited", **spec.rules.thresholds()}
    elif spec.rules is not None:
        found["cleaning"] = {"profile": spec.rules.based_on, **spec.rules.thresholds()}
    if spec.clock is not None:
        found["clock"] = dataclasses.asdict(spec.clock)
        found["clock"]["events"] = [[time.isoformat(), days] for time, days in spec.clock.events]
    return found


def spec_from_record(record: Mapping[str, Any], classes: Iterable[type[Any]] = ()) -> CalibrationSpec:
    """The spec of plain values, as a person may write them too: an object is a table with its `kind` and arguments, or
    its name alone.

    Raises:
        ValueError: an unknown key, name or argument, or a value that the spec refuses.

    Example:
        >>> spec_from_record({"model": "black-scholes", "loss": "huber", "weights": {"kind": "vega", "power": 2.0}})
        CalibrationSpec(BlackScholes, loss=Huber(), weights=VegaWeights(power=2.0))
    """
    _refuse_unknown(record, KEYS, "a calibration spec")
    if "model" not in record:
        raise ValueError('there is no model: begin with model = "heston", say')
    classes = tuple(classes)
    template = model_class(record["model"], classes)
    parts: Record = {"model": template}
    if "start" in record:
        parts["model"] = model_from_record(template, record["start"])
    if "free" in record:
        parts["free"] = _listed(record["free"], "free", str)
    if "bounds" in record:
        table = _table(record["bounds"], "bounds")
        parts["bounds"] = {name: _bound_from_record(name, bound, template) for name, bound in table.items()}
    for name, base in _BASES.items():
        value = record.get(name)
        if name == "prior" and isinstance(value, list):
            parts[name] = [object_from_record(one, name, base, template, classes) for one in value]
        elif name == "weights" and isinstance(value, list):
            parts[name] = _numbers(value, name)
        elif value is not None:
            parts[name] = object_from_record(value, name, base, template, classes)
    if "cleaning" in record:
        parts["rules"] = _rules(_table(record["cleaning"], "cleaning"))
    if "clock" in record:
        given = _table(record["clock"], "clock")
        _refuse_unknown(given, [entry.name for entry in dataclasses.fields(VarianceClock)], "clock")
    try:
        if "clock" in record:
            parts["clock"] = VarianceClock(**record["clock"])
        return CalibrationSpec(**parts)
    except TypeError as error:
        raise ValueError(str(error)) from None


def model_from_record(template: type[Any], values: Any) -> Any:
    """A model of plain numbers by name; a ValueError where one is missing, too many, or none."""
    values = _table(values, "the parameters")
    known = [entry.name for entry in dataclasses.fields(template)]
    _refuse_unknown(values, known, template.__name__)
    needed = [entry.name for entry in dataclasses.fields(template) if entry.default is dataclasses.MISSING]
    if missing := [name for name in needed if name not in values]:
        raise ValueError(f"{template.__name__} has no {missing[0]}: it takes {', '.join(known)}")
    numbers = {}
    for name, value in values.items():
        array = _numbers(value, f"{name} of {template.__name__}")
        numbers[name] = float(array) if array.ndim == 0 else jnp.asarray(array)
    return template(**numbers)


def object_to_record(value: Any, what: str, template: type[Any]) -> Record:
    """A residual, loss, prior, rule, solver or pricer: its class and its arguments; where it is not made of its fields,
    those, exactly.
    """

    def part(name: str, value: Any) -> Any:
        if isinstance(value, eqx.Module) and not isinstance(value, Scales):
            return object_to_record(value, f"{what}.{name}", template)
        if isinstance(value, tuple) and value and all(isinstance(one, eqx.Module) for one in value):
            return [object_to_record(one, f"{what}.{name}", template) for one in value]
        if optimiser := next((one for one in _OPTIMISERS if getattr(optax, one) is value), None):
            return {"optax": optimiser}
        if isinstance(value, str | None):
            return value
        return _number(value, f"{name} of {what}")

    names = [entry.name for entry in dataclasses.fields(value)]
    plain = set(inspect.signature(type(value)).parameters) == set(names)
    if plain and not any(isinstance(getattr(value, name), Scales) for name in names):
        return {"kind": type(value).__name__, **_fields(value, part)}
    exact = {name: to_exact(getattr(value, name), template) for name in names}
    return {"kind": type(value).__name__, "fields": exact}


def object_from_record(
    record: Any, what: str, base: type[Any], template: type[Any], classes: Iterable[type[Any]] = ()
) -> Any:
    """The inverse of `object_to_record`; `record` may be a name alone, for the defaults."""
    table = {"kind": record} if isinstance(record, str) else _table(record, what)
    found = {_plain_name(one.__name__): one for one in (*_LIBRARY, *classes) if issubclass(one, base)}
    kind = found.get(_plain_name(table.get("kind", "")))
    if kind is None:
        names = ", ".join(one.__name__ for one in found.values())
        raise ValueError(f"{what}: there is no kind {_shown(table.get('kind'))}; there are {names}")
    given = {name: value for name, value in table.items() if name != "kind"}
    if set(given) == {"fields"}:
        return _by_fields(kind, _table(given["fields"], what), what, template)
    known = list(inspect.signature(kind).parameters)
    _refuse_unknown(given, known, f"{what}, {kind.__name__}")

    def part(value: Any) -> Any:
        if isinstance(value, Mapping) and "kind" in value:
            return object_from_record(value, what, base, template, classes)
        if isinstance(value, Mapping) and set(value) == {"optax"} and value["optax"] in _OPTIMISERS:
            return getattr(optax, value["optax"])
        if isinstance(value, list) and value and all(isinstance(one, Mapping) for one in value):
            return tuple(part(one) for one in value)
        return np.asarray(value) if isinstance(value, list) else value

    try:
        return kind(**{name: part(value) for name, value in given.items()})
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what}, {kind.__name__}: {' '.join(str(error).split())}") from None


def to_exact(value: Any, template: type[Any]) -> Any:
    """Arrays with dtype and shape; names, tuples and scales as they are."""
    if isinstance(value, Scales):
        own = {name: _bound_to_record(name, interval, template) for name, interval in value.own}
        return {"own": own, "ties": dict(value.ties)}
    if isinstance(value, tuple | list):
        return [to_exact(one, template) for one in value]
    if isinstance(value, str | bool | int | float):
        return value
    array = np.asarray(value)
    return {"dtype": array.dtype.name, "shape": list(array.shape), "values": array.ravel().tolist()}


def from_exact(record: Any, template: type[Any]) -> Any:
    """The inverse of `to_exact`; arrays on the host."""
    if isinstance(record, list):
        return tuple(from_exact(one, template) for one in record)
    if not isinstance(record, Mapping):
        return record
    if set(record) == {"own", "ties"}:
        own = ((name, _bound_from_record(name, bound, template)) for name, bound in record["own"].items())
        return Scales(tuple(own), tuple(record["ties"].items()))
    if set(record) != {"dtype", "shape", "values"} or record["dtype"] not in _DTYPES:
        raise ValueError(f"{_shown(record)} is no array with its dtype, shape and values")
    return np.asarray(record["values"], record["dtype"]).reshape(record["shape"])


_DTYPES = ("bool", "int32", "int64", "float32", "float64")


def _by_fields(kind: type[Any], given: Mapping[str, Any], what: str, template: type[Any]) -> Any:
    """An object whose class makes it of something else than its fields, which a file has."""
    names = [entry.name for entry in dataclasses.fields(kind)]
    if set(given) != set(names):
        raise ValueError(f"{what}, {kind.__name__}: its fields are {', '.join(names)}, not {', '.join(given)}")
    made = object.__new__(kind)
    for name in names:
        object.__setattr__(made, name, from_exact(given[name], template))
    if isinstance(made, AbstractPrior) and not template.vectors:
        middle = {name: jax.ShapeDtypeStruct((), np.dtype(float)) for name in template.bounds}
        try:
            jax.eval_shape(lambda values: made(_unchecked(template, values)), middle)
        except Exception as error:
            raise ValueError(f"{what}, {kind.__name__}: its fields do not fit together: {error}"[:400]) from None
    return made


def _unchecked(template: type[Any], values: Mapping[str, Any]) -> Any:
    model = object.__new__(template)
    for entry in dataclasses.fields(template):
        object.__setattr__(model, entry.name, values.get(entry.name, entry.default))
    return model


def _fields(value: Any, part: Any) -> Record:
    found = {entry.name: part(entry.name, getattr(value, entry.name)) for entry in dataclasses.fields(value)}
    return {name: one for name, one in found.items() if one is not None}


def _bound_to_record(name: str, bound: Any, template: type[Any]) -> Any:
    if isinstance(bound, str):
        return bound
    if not isinstance(bound, Interval):
        return list(bound)
    found: Record = {"lower": bound.lower, "upper": bound.upper, "scale": bound.scale}
    if (bound.unit, bound.origin) == (None, None):
        return found
    for rule, known in _unit_rules(name, template).items():
        if (bound.unit, bound.origin) == (known.unit, known.origin):
            return found | {"unit": rule}
    raise ValueError(f"the unit or the origin of the bounds of {name} is a function of your own: no file can hold it")


def _bound_from_record(name: str, bound: Any, template: type[Any]) -> Any:
    if isinstance(bound, list) and len(bound) == 2 and all(type(x) in (int, float) for x in bound):
        return tuple(map(float, bound))
    if isinstance(bound, str):
        return bound
    if not isinstance(bound, Mapping):
        raise ValueError(
            f"the bounds of {name} are {_shown(bound)}: give [lower, upper], a table, or another parameter"
        )
    _refuse_unknown(bound, ("lower", "upper", "scale", "unit"), f"the bounds of {name}")
    rules = _unit_rules(name, template)
    unit = bound.get("unit")
    if not {"lower", "upper"} <= set(bound) or bound.get("scale", "linear") not in ("log", "linear"):
        raise ValueError(
            f'the bounds of {name} are {_shown(bound)}: give lower, upper, and the scale "log" or "linear"'
        )
    if unit is not None and unit not in rules:
        known = " or ".join(rules) or "there is none for this parameter"
        raise ValueError(f"the unit of the bounds of {name} is {_shown(unit)}; known is {known}")
    own = Interval(0.0, 1.0) if unit is None else rules[unit]
    return own._replace(lower=float(bound["lower"]), upper=float(bound["upper"]), scale=bound.get("scale", own.scale))


def _unit_rules(name: str, template: type[Any]) -> dict[str, Interval]:
    """The units and origins of a parameter that have a name."""
    found = {}
    if name in template.bounds and (template.bounds[name].unit or template.bounds[name].origin):
        found["model"] = template.bounds[name]
    with contextlib.suppress(ValueError, KeyError):
        found["feller"] = feller_bounds(template)[name]
    return found


def _rules(given: Mapping[str, Any]) -> CleaningRules | SuitedRules:
    _refuse_unknown(given, ("profile", *THRESHOLDS), "cleaning")
    own = {name: value for name, value in given.items() if name != "profile"}
    if bad := [name for name, value in own.items() if isinstance(value, bool) or not isinstance(value, int | float)]:
        raise ValueError(f"cleaning: {bad[0]} is {_shown(own[bad[0]])}: it must be a number")
    profile = given.get("profile", "suited")
    return (
        SuitedRules(**own) if profile == "suited" else dataclasses.replace(CleaningRules.profile(str(profile)), **own)
    )


def _numbers(value: Any, what: str) -> np.ndarray:
    try:
        array = np.asarray(value)
    except ValueError:  # rows of several lengths
        array = np.asarray(None)
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{what} is {_shown(value)}: it must be a number, or a list of them")
    return array.astype(float)


def _number(value: Any, what: str = "a part") -> Any:
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{what} is {_shown(value)}: no file can hold it")
    return array.tolist()


def _table(value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{what} is {_shown(value)}: it must be a table of names and values")
    return value


def _listed(value: Any, what: str, kind: type[Any]) -> list[Any]:
    if not isinstance(value, list) or not all(isinstance(one, kind) for one in value):
        raise ValueError(f"{what} is {_shown(value)}: it must be a list")
    return value


def _refuse_unknown(given: Mapping[str, Any], known: Iterable[str], what: str) -> None:
    known = list(known)
    if unknown := [name for name in given if name not in known]:
        raise ValueError(f"{what} has no {_shown(unknown[0])}; it has {', '.join(known)}")


def _plain_name(name: Any) -> str:
    """Of a class or of a person: in lower case, without hyphens, and without what all of a kind end in."""
    letters = "".join(letter for letter in str(name).lower() if letter.isalnum())
    return letters.removesuffix("residual").removesuffix("weights")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
