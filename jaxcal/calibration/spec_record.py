"""A `CalibrationSpec`, and what it is made of, as plain values: what a TOML or a JSON file of it holds. Nothing is
evaluated in reading one: classes are looked up by name among the library's and those of the caller.
"""

import dataclasses
import importlib
import inspect
from collections.abc import Iterable, Mapping
from typing import Any

import equinox as eqx
import jax
import numpy as np

from jaxcal.calibration.calibration_spec import CalibrationSpec
from jaxcal.calibration.objective.feller import Feller
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
from jaxcal.calibration.record_values import (
    Record,
    bound_from_record,
    bound_to_record,
    list_of,
    numbers_of,
    plain_name,
    plain_number,
    refuse_other_kinds,
    refuse_unknown,
    shown,
    table_of,
)
from jaxcal.calibration.toward_fit import Toward
from jaxcal.dates.variance_clock import VarianceClock
from jaxcal.market.cleaning.cleaning_rules import THRESHOLDS, CleaningRules, SuitedRules
from jaxcal.models.base import AbstractModel
from jaxcal.models.parameters import Scales
from jaxcal.models.registry import ModelName
from jaxcal.pricing.cos import Cos
from jaxcal.pricing.laguerre import Laguerre
from jaxcal.pricing.pricer import AbstractPricer
from jaxcal.pricing.saddle import Saddle
from jaxcal.pricing.series import Series
from jaxcal.pricing.sinh import Sinh
from jaxcal.solvers.least_squares import AbstractLeastSquaresSolver
from jaxcal.solvers.levenberg_marquardt import LevenbergMarquardt

_LIBRARY: tuple[type[Any], ...] = (
    ImpliedVolResidual, BidAskResidual, HalfSpreadResidual, VegaPriceResidual, PriceResidual, Linear, Huber, SoftL1,
    Cauchy, Gaussian, Toward, Smoothness, Feller, Scaled, Combined, UniformWeights, VegaWeights, InverseSpreadWeights,
    LevenbergMarquardt, Sinh, Saddle, Laguerre, Cos, Series,
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
            if plain_name(name) == plain_name(one.value):
                return one.model
    known = ", ".join(one.value for one in ModelName)
    raise ValueError(f"there is no model {shown(name)}; there are {known}, and those given as classes=(...)")


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
    found: Record = {"model": class_name(spec.template, ModelName)}
    if not isinstance(spec.model, type):
        found["start"] = _fields(spec.model, lambda name, value: plain_number(value))
    if spec.free is not None:
        found["free"] = list(spec.free)
    if spec.bounds:
        found["bounds"] = {name: bound_to_record(name, b, spec.template) for name, b in spec.bounds.items()}
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


def spec_from_record(
    record: Mapping[str, Any], classes: Iterable[type[Any]] = (), *, checked: bool = True
) -> CalibrationSpec:
    """The spec of plain values, as a person may write them too: an object is a table with its `kind` and arguments, or
    its name alone. Not `checked`, the start may be NaN, as that of a fit without numbers is.

    Raises:
        ValueError: an unknown key, name or argument, or a value that the spec refuses.

    Example:
        >>> spec_from_record({"model": "black-scholes", "loss": "huber", "weights": {"kind": "vega", "power": 2.0}})
        CalibrationSpec(BlackScholes, loss=Huber(), weights=VegaWeights(power=2.0))
    """
    refuse_unknown(record, KEYS, "a calibration spec")
    if "model" not in record:
        raise ValueError('there is no model: begin with model = "heston", say')
    classes = tuple(classes)
    template = model_class(record["model"], classes)
    parts: Record = {"model": template}
    if "start" in record:
        parts["model"] = model_from_record(template, record["start"], checked=checked)
    if "free" in record:
        parts["free"] = list_of(record["free"], "free", str)
    if "bounds" in record:
        table = table_of(record["bounds"], "bounds")
        parts["bounds"] = {name: bound_from_record(name, bound, template) for name, bound in table.items()}
    for name, base in _BASES.items():
        value = record.get(name)
        if name == "prior" and isinstance(value, list):
            parts[name] = [object_from_record(one, name, base, template, classes) for one in value]
        elif name == "weights" and isinstance(value, list):
            parts[name] = numbers_of(value, name)
        elif value is not None:
            parts[name] = object_from_record(value, name, base, template, classes)
    if "cleaning" in record:
        parts["rules"] = _rules(table_of(record["cleaning"], "cleaning"))
    if "clock" in record:
        given = table_of(record["clock"], "clock")
        usual = {entry.name: entry.default for entry in dataclasses.fields(VarianceClock)}
        refuse_unknown(given, usual, "clock")
        refuse_other_kinds(given, usual, "clock")
    try:
        if "clock" in record:
            parts["clock"] = VarianceClock(**record["clock"])
        return CalibrationSpec(**parts)
    except TypeError as error:
        raise ValueError(str(error)) from None


def model_from_record(template: type[Any], values: Any, *, checked: bool = True) -> Any:
    """A model of plain numbers by name; a ValueError where one is missing, too many, or none."""
    values = table_of(values, "the parameters")
    known = [entry.name for entry in dataclasses.fields(template)]
    refuse_unknown(values, known, template.__name__)
    needed = [entry.name for entry in dataclasses.fields(template) if entry.default is dataclasses.MISSING]
    if missing := [name for name in needed if name not in values]:
        raise ValueError(f"{template.__name__} has no {missing[0]}: it takes {', '.join(known)}")
    numbers = {}
    for name, value in values.items():
        array = numbers_of(value, f"{name} of {template.__name__}")
        numbers[name] = float(array) if array.ndim == 0 else array
    if not checked and any(np.isnan(one).any() for one in numbers.values()):
        return _unchecked(template, numbers)
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
        if callable(value) and value.__module__.startswith("optax.") and value.__name__ in _OPTIMISERS:
            return {"optax": value.__name__}
        if isinstance(value, str | None):
            return value
        return plain_number(value, f"{name} of {what}")

    kind = type(value)
    called = class_name(kind, _library(_BASES[what.partition(".")[0]], kind.__name__))
    names = [entry.name for entry in dataclasses.fields(value)]
    plain = set(inspect.signature(kind).parameters) == set(names)
    # a constructor of the caller's own may make other numbers of the same arguments
    plain &= _is_of_library(kind) or kind.__dataclass_params__.init
    if plain and not any(isinstance(getattr(value, name), Scales) for name in names):
        return {"kind": called, **_fields(value, part)}
    exact = {name: to_exact(getattr(value, name), template, f"{name} of {what}") for name in names}
    return {"kind": called, "fields": exact}


def object_from_record(
    record: Any, what: str, base: type[Any], template: type[Any], classes: Iterable[type[Any]] = ()
) -> Any:
    """The inverse of `object_to_record`; `record` may be a name alone, for the defaults."""
    table = {"kind": record} if isinstance(record, str) else table_of(record, what)
    found = _library(base, table.get("kind", "")) | {
        plain_name(one.__name__): one for one in classes if issubclass(one, base)
    }
    kind = found.get(plain_name(table.get("kind", "")))
    if kind is None:
        names = ", ".join(one.__name__ for one in found.values())
        raise ValueError(f"{what}: there is no kind {shown(table.get('kind'))}; there are {names}")
    given = {name: value for name, value in table.items() if name != "kind"}
    if set(given) == {"fields"}:
        return _by_fields(kind, table_of(given["fields"], what), what, template)
    usual = {name: parameter.default for name, parameter in inspect.signature(kind).parameters.items()}
    refuse_unknown(given, usual, f"{what}, {kind.__name__}")
    refuse_other_kinds(given, usual, f"{what}, {kind.__name__}")
    static = {entry.name for entry in dataclasses.fields(kind) if entry.metadata.get("static")}

    def part(value: Any) -> Any:
        if isinstance(value, Mapping) and "kind" in value:
            return object_from_record(value, what, base, template, classes)
        if isinstance(value, Mapping) and set(value) == {"optax"} and value["optax"] in _OPTIMISERS:
            return getattr(importlib.import_module("optax"), value["optax"])
        if isinstance(value, list) and value and all(isinstance(one, Mapping) for one in value):
            return tuple(part(one) for one in value)
        return np.asarray(value) if isinstance(value, list) else value

    try:
        return kind(**{name: _tuples(part(value)) if name in static else part(value) for name, value in given.items()})
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{what}, {kind.__name__}: {' '.join(str(error).split())}") from None


def to_exact(value: Any, template: type[Any], what: str = "a part") -> Any:
    """Arrays with dtype and shape; names, tuples and scales as they are; a ValueError of all else."""
    if isinstance(value, Scales):
        own = {name: bound_to_record(name, interval, template) for name, interval in value.own}
        return {"own": own, "ties": dict(value.ties)}
    if isinstance(value, tuple | list):
        return [to_exact(one, template, what) for one in value]
    if isinstance(value, str | bool | int | float):
        return value
    array = np.asarray(value)
    if array.dtype.name not in _DTYPES:
        raise ValueError(f"{what} is {shown(value)}: no file can hold it")
    return {"dtype": array.dtype.name, "shape": list(array.shape), "values": array.ravel().tolist()}


def from_exact(record: Any, template: type[Any]) -> Any:
    """The inverse of `to_exact`; arrays on the host."""
    if isinstance(record, list):
        return tuple(from_exact(one, template) for one in record)
    if not isinstance(record, Mapping):
        return record
    if set(record) == {"own", "ties"}:
        own = ((name, bound_from_record(name, bound, template)) for name, bound in record["own"].items())
        return Scales(tuple(own), tuple(record["ties"].items()))
    if set(record) != {"dtype", "shape", "values"} or record["dtype"] not in _DTYPES:
        raise ValueError(f"{shown(record)} is no array with its dtype, shape and values")
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


def _library(base: type[Any], name: Any) -> dict[str, type[Any]]:
    """The library's classes of a kind, by plain name; `Optax` only where it is named: optax is slow to import."""
    found = {plain_name(one.__name__): one for one in _LIBRARY if issubclass(one, base)}
    if base is AbstractLeastSquaresSolver and plain_name(name) == "optax":
        from jaxcal.solvers.gradient import Optax

        found["optax"] = Optax
    return found


def _is_of_library(kind: type[Any]) -> bool:
    return kind.__module__.startswith("jaxcal.")


def class_name(kind: type[Any], library: Iterable[str]) -> str:
    """How a file calls a class; a ValueError where reading would find another, one of the library's, under that."""
    if not _is_of_library(kind) and plain_name(kind.__name__) in map(plain_name, library):
        raise ValueError(f"{kind.__name__} is a class of your own with the name of one of jaxcal's: rename it")
    return kind.__name__


def _tuples(value: Any) -> Any:
    """Of a static field, which has no arrays."""
    value = value.tolist() if isinstance(value, np.ndarray) else value
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _unchecked(template: type[Any], values: Mapping[str, Any]) -> Any:
    model = object.__new__(template)
    for entry in dataclasses.fields(template):
        object.__setattr__(model, entry.name, values.get(entry.name, entry.default))
    return model


def _fields(value: Any, part: Any) -> Record:
    found = {entry.name: part(entry.name, getattr(value, entry.name)) for entry in dataclasses.fields(value)}
    return {name: one for name, one in found.items() if one is not None}


def _rules(given: Mapping[str, Any]) -> CleaningRules | SuitedRules:
    refuse_unknown(given, ("profile", *THRESHOLDS), "cleaning")
    own = {name: value for name, value in given.items() if name != "profile"}
    if bad := [name for name, value in own.items() if isinstance(value, bool) or not isinstance(value, int | float)]:
        raise ValueError(f"cleaning: {bad[0]} is {shown(own[bad[0]])}: it must be a number")
    profile = given.get("profile", "suited")
    return (
        SuitedRules(**own) if profile == "suited" else dataclasses.replace(CleaningRules.profile(str(profile)), **own)
    )
