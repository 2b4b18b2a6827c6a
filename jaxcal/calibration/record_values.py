"""The plain values of a record, checked: names, numbers, lists, tables, and bounds of parameters."""

import contextlib
import sys
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from jaxcal.calibration.objective.feller import feller_bounds
from jaxcal.models.interval import Interval

Record = dict[str, Any]

_MOST = int(sys.float_info.max)


def bound_to_record(name: str, bound: Any, template: type[Any]) -> Any:
    """Two numbers, the name of another parameter, or a table; a ValueError where there is a function of one's own."""
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


def bound_from_record(name: str, bound: Any, template: type[Any]) -> Any:
    """The inverse of `bound_to_record`."""
    what = f"the bounds of {name}"
    if isinstance(bound, list) and len(bound) == 2 and all(type(x) in (int, float) for x in bound):
        return tuple(_real(x, what) for x in bound)
    if isinstance(bound, str):
        return bound
    if not isinstance(bound, Mapping):
        raise ValueError(f"the bounds of {name} are {shown(bound)}: give [lower, upper], a table, or another parameter")
    refuse_unknown(bound, ("lower", "upper", "scale", "unit"), what)
    rules = _unit_rules(name, template)
    unit = bound.get("unit")
    scale = bound.get("scale", "linear")
    if not {"lower", "upper"} <= set(bound) or scale not in ("log", "linear"):
        raise ValueError(f'the bounds of {name} are {shown(bound)}: give lower, upper, and the scale "log" or "linear"')
    if unit is not None and not (isinstance(unit, str) and unit in rules):
        known = " or ".join(rules) or "there is none for this parameter"
        raise ValueError(f"the unit of the bounds of {name} is {shown(unit)}; known is {known}")
    own = Interval(0.0, 1.0) if unit is None else rules[unit]
    lower, upper = (_real(bound[end], what) for end in ("lower", "upper"))
    return own._replace(lower=lower, upper=upper, scale=bound.get("scale", own.scale))


def _unit_rules(name: str, template: type[Any]) -> dict[str, Interval]:
    """The units and origins of a parameter that have a name."""
    found = {}
    if name in template.bounds and (template.bounds[name].unit or template.bounds[name].origin):
        found["model"] = template.bounds[name]
    with contextlib.suppress(ValueError, KeyError):
        found["feller"] = feller_bounds(template)[name]
    return found


def numbers_of(value: Any, what: str) -> np.ndarray:
    """A number, or an array of a list of them."""
    try:
        array = np.asarray(value)
    except ValueError:  # rows of several lengths
        array = np.asarray(None)
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{what} is {shown(value)}: it must be a number, or a list of them")
    return array.astype(float)


def plain_number(value: Any, what: str = "a part") -> Any:
    """A number or an array as numbers in lists."""
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{what} is {shown(value)}: no file can hold it")
    return array.tolist()


def table_of(value: Any, what: str) -> Mapping[str, Any]:
    """The value, if it is a table."""
    if not isinstance(value, Mapping):
        raise ValueError(f"{what} is {shown(value)}: it must be a table of names and values")
    return value


def list_of(value: Any, what: str, kind: type[Any]) -> list[Any]:
    """The value, if it is a list of one kind."""
    if not isinstance(value, list) or not all(isinstance(one, kind) for one in value):
        raise ValueError(f"{what} is {shown(value)}: it must be a list")
    return value


def refuse_unknown(given: Mapping[str, Any], known: Iterable[str], what: str) -> None:
    """A ValueError names the first key that is not known, and those that are."""
    known = list(known)
    if unknown := [name for name in given if name not in known]:
        raise ValueError(f"{what} has no {shown(unknown[0])}; it has {', '.join(known)}")


def refuse_other_kinds(given: Mapping[str, Any], usual: Mapping[str, Any], what: str) -> None:
    """A ValueError where a value is of another kind than the default of its key, or of one that no key takes."""
    for name, value in given.items():
        default, number = usual.get(name), isinstance(value, int | float) and not isinstance(value, bool)
        if type(default) in (int, float) and not (number or isinstance(value, list)):
            raise ValueError(f"{name} of {what} is {shown(value)}: it must be a number")
        if isinstance(default, bool) and not isinstance(value, bool):
            raise ValueError(f"{name} of {what} is {shown(value)}: it must be true or false")
        if not isinstance(value, bool | int | float | str | list | Mapping):
            raise ValueError(f"{name} of {what} is {shown(value)}: it must be a number, a name, a list or a table")


def plain_name(name: Any) -> str:
    """Of a class or of a person: in lower case, without hyphens, and without what all of a kind end in."""
    letters = "".join(letter for letter in str(name).lower() if letter.isalnum())
    return letters.removesuffix("residual").removesuffix("weights")


def shown(value: Any) -> str:
    """Any value of a file, for a sentence."""
    try:
        text = repr(value)
    except ValueError:  # an integer of more than 4,300 digits
        text = "an integer of thousands of digits"
    return text if len(text) <= 80 else text[:77] + "..."


def _real(value: Any, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or (isinstance(value, int) and abs(value) > _MOST):
        raise ValueError(f"{what} hold {shown(value)}: give numbers")
    return float(value)
