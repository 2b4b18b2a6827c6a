"""What callers hand over: numbers and sides of quotes as lists, pandas columns or strings; names; values under a
transformation of JAX. At the border, so that the code behind it sees arrays only.
"""

import inspect
from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax.core import Tracer
from jax.typing import ArrayLike
from jaxtyping import Array, Bool

from jaxcal._types import BoolLike, RealLike

# One number or side a quote, as callers have them.
NumbersLike = RealLike | Sequence[Any] | np.ndarray | pd.Series | pd.Index | pd.DataFrame
SidesLike = BoolLike | NumbersLike | str
# Numbers that all quotes share, in an axis of their own.
VectorLike = ArrayLike | Sequence[Any] | pd.Series | pd.Index

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

_ZERO = np.zeros(())
_SIDES = {"c": True, "call": True, "calls": True, "p": False, "put": False, "puts": False}
_SIDE_RULE = "a call is True, 1, 'C' or 'call', a put is False, 0, 'P' or 'put'"


def numbers(**values: Any) -> list[Any]:
    """The values of named arguments as JAX takes them: lists, columns and objects become arrays of floats, in which
    None and pd.NA are NaN.

    Raises:
        ValueError: what is no number (a string, a date, a truth value), with its argument and place; arguments whose
            shapes do not broadcast.

    Example:
        >>> numbers(strike=[90, 110.0], expiry=0.5)
        [array([ 90., 110.]), 0.5]
        >>> numbers(strike=["90", 110.0])
        Traceback (most recent call last):
        ValueError: strike[0] is '90': strike takes numbers, so convert it first
    """
    found = [_number(name, value) for name, value in values.items()]
    _refuse_apart({name: np.shape(value) for name, value in zip(values, found, strict=True)})
    return found


def _refuse_apart(shapes: dict[str, tuple[int, ...]]) -> None:
    try:
        np.broadcast_shapes(*shapes.values())
    except ValueError:
        texts = ", ".join(f"{name} {shape}" for name, shape in shapes.items() if shape)
        raise ValueError(
            f"the shapes do not fit together: {texts}; give each one number, or one for each quote"
        ) from None


def sides(is_call: Any, *beside: Any) -> Bool[Array, "..."]:
    """`is_call` as truth values: True, 1, "C" and "call" are calls, False, 0, "P" and "put" are puts, in any case.

    Args:
        is_call: of quotes.
        beside: their numbers.

    Raises:
        ValueError: anything else, with its place: a missing side is nobody's call; a shape that does not broadcast with
            that of the numbers.

    Example:
        >>> sides(["C", "put"]).tolist(), sides(1).item()
        ([True, False], True)
        >>> sides([1, -1])
        Traceback (most recent call last):
        ValueError: is_call[1] is -1: a call is True, 1, 'C' or 'call', a put is False, 0, 'P' or 'put'
    """
    if isinstance(is_call, Tracer):
        return jnp.asarray(is_call, bool)
    found = _array("is_call", is_call)
    _refuse_apart({"is_call": np.shape(found), "the quotes": np.broadcast_shapes(*map(np.shape, beside))})
    if isinstance(found, Tracer):
        return jnp.asarray(found, bool)
    if found.dtype.kind == "b":
        return jnp.asarray(found)
    flat = found.ravel()
    if found.dtype.kind in "iuf":
        known = (flat == 0) | (flat == 1)
        if known.all():
            return jnp.asarray(found == 1)
        raise ValueError(f"{_place('is_call', found, int(np.argmin(known)))}: {_SIDE_RULE}")
    result = np.zeros(flat.shape, bool)
    for i, side in enumerate(flat):
        known = _side(side)
        if known is None:
            raise ValueError(f"{_place('is_call', found, i)}: {_SIDE_RULE}")
        result[i] = known
    return jnp.asarray(result.reshape(found.shape))


def named_only(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Decorates a function some of whose arguments go by name only: one that is given by its place is refused with a
    sentence that says how to write the call.
    """
    by_place = [p for p in inspect.signature(function).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    by_name = [p for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY]
    name, most = function.__name__, len(by_place)
    needed = [p.name for p in by_name if p.default is p.empty] or [by_name[0].name]
    call = f"{name}({', '.join([p.name for p in by_place] + [f'{other}=...' for other in needed])})"

    @wraps(function)
    def checked(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        if len(args) > most:
            others = ", ".join(p.name for p in by_name)
            raise TypeError(
                f"{name} takes {most} arguments by place, not {len(args)}; {others} go by name: write {call}"
            )
        return function(*args, **kwargs)

    return checked


def host_only(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Decorates a function that decides on the host, as a fit does: under `jit`, `vmap` or `grad` it raises a sentence.

    Example:
        >>> jax.jit(host_only(abs))(1.0)
        Traceback (most recent call last):
        TypeError: abs runs on the host and cannot be inside jit, vmap or grad: call it outside; ...
    """

    @wraps(function)
    def checked(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        leaves = jax.tree.leaves((args, kwargs), is_leaf=lambda x: isinstance(x, Iterator))
        # inside jit what is known is traced too
        if any(isinstance(leaf, Tracer) for leaf in (*leaves, jax.device_put(_ZERO))):
            refuse_tracers(function.__name__)
        return function(*args, **kwargs)

    return checked


def refuse_tracers(name: str, *values: Any) -> None:
    """Raises where one of the values is traced, or where there are none: then what is called `name` is."""
    if not values or any(isinstance(value, Tracer) for value in values):
        raise TypeError(
            f"{name} runs on the host and cannot be inside jit, vmap or grad: call it outside; for many surfaces use "
            "calibrate_many, for derivatives of what is computed from a fit through_fit, for those of its parameters "
            "in the quotes quote_sensitivities"
        )


def _number(name: str, value: Any) -> Any:
    if isinstance(value, Tracer | float) or (isinstance(value, Array) and value.dtype != bool):
        return value
    found = _array(name, value)
    if isinstance(found, Tracer):
        return found
    if found.dtype.kind in "iuf":
        return value if isinstance(value, int | np.generic | np.ndarray) else found
    flat = found.ravel()
    result = np.empty(flat.shape)
    for i, item in enumerate(flat):
        known = _float(item)
        if known is None:
            takes = "years as numbers" if name in ("expiry", "ex_times") else "numbers"
            raise ValueError(f"{_place(name, found, i)}: {name} takes {takes}, so convert it first")
        result[i] = known
    return result.reshape(found.shape)


def _array(name: str, value: Any) -> Any:
    """What a caller gave as a NumPy array; a traced one where a list holds traced numbers."""
    if isinstance(value, list | tuple) and any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(value)):
        return jnp.asarray(value)
    try:
        return np.asarray(value)
    except ValueError:  # rows of several lengths
        raise ValueError(f"{name} has rows of different lengths: give it one number, or one for each quote") from None


def _float(item: Any) -> float | None:
    """A number among objects; None for what is none."""
    if item is None or item is pd.NA:
        return float("nan")
    if isinstance(item, str | bytes | bool | complex | np.bool_ | np.complexfloating | np.datetime64 | np.timedelta64):
        return None
    try:
        return float(item)
    except (TypeError, ValueError, OverflowError):
        return None


def _side(item: Any) -> bool | None:
    """Whether an object is a call; None for what is neither call nor put."""
    if isinstance(item, bytes):
        item = item.decode(errors="replace")
    if isinstance(item, str):
        return _SIDES.get(item.strip().lower())
    number = isinstance(item, bool | np.bool_ | int | float | np.number)
    return bool(item) if number and item in (0, 1) else None


def _place(name: str, values: np.ndarray, i: int) -> str:
    """An argument with the place and the text of one of its values."""
    at = f"[{', '.join(str(int(place)) for place in np.unravel_index(i, values.shape))}]" if values.ndim else ""
    item = values.ravel()[i]
    text = repr(str(item)) if isinstance(item, str) else str(item)
    return f"{name}{at} is {text if len(text) <= 60 else text[:57] + '...'}"


def refuse_other(name: str, value: Any, kind: type, remedy: str) -> None:
    """Raises where the argument of a function called `name` is not of a kind.

    Example:
        >>> refuse_other("covariance", "fit", dict, "give it what calibrate returns")
        Traceback (most recent call last):
        TypeError: covariance takes a dict, not 'fit': give it what calibrate returns
    """
    if not isinstance(value, kind):
        shown = repr(value) if isinstance(value, str) else f"a {type(value).__name__}"
        raise TypeError(f"{name} takes a {kind.__name__}, not {shown[:100]}: {remedy}")
