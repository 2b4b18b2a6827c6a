"""Shown: nouns that hold arrays as a person reads them, with their numbers."""

import dataclasses
import html
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jax.core import Tracer

_PLACES = 6  # significant digits of a number
_MOST = 8  # numbers of an array that are all shown


def format_repr(noun: Any) -> str:
    """`Name(field=numbers, ...)` of a dataclass of arrays; fields that are None are left out.

    Example:
        >>> import jaxcal as jc
        >>> jc.Heston(v0=jax.numpy.asarray(0.04), kappa=1.5, theta=0.06, sigma=0.7, rho=-0.65)
        Heston(v0=0.04, kappa=1.5, theta=0.06, sigma=0.7, rho=-0.65)
    """
    fields = {field.name: getattr(noun, field.name, None) for field in dataclasses.fields(noun)}
    text = ", ".join(f"{name}={_numbers(value)}" for name, value in fields.items() if value is not None)
    return f"{type(noun).__name__}({text})"


def format_html(text: str) -> str:
    """Text as a notebook shows it."""
    return f"<pre>{html.escape(text)}</pre>"


def _numbers(value: Any) -> str:
    if not isinstance(value, jax.Array | np.ndarray | np.generic):
        return repr(value)
    if isinstance(value, Tracer):
        return eqx.tree_pformat(value)  # it has no numbers
    values = np.asarray(value)
    if not values.ndim:
        return f"{values.item():.{_PLACES}g}" if values.dtype.kind == "f" else str(values.item())
    if values.size > _MOST and values.ndim > 1:
        return f"[{' x '.join(map(str, values.shape))}]"
    text = np.array2string(values, precision=_PLACES, separator=", ", threshold=_MOST, edgeitems=3)
    return " ".join(text.split())
