"""refuse_unlawful: the checks of every price and fit outside `jit`; the cheap part of `check_model`."""

import dataclasses
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float
from numpy.typing import NDArray

from jaxcal.models.base import AbstractFourierModel, AbstractModel, broken_rules, faulty_parameters
from jaxcal.models.parameters import batch_size, with_fields

_CIRCLE = 1e-3 * np.exp(2j * np.pi * np.arange(8) / 8)  # around a point at which a formula is 0 / 0
_REMEDY = "jc.check_model(model) says what else may be wrong"


def refuse_unlawful(model: Any, expiry: Any = (), *, numbers: bool = True) -> None:
    """What `price`, `model_vol`, `greeks` and fits check outside `jit`: that parameters are finite, and for a class
    that is not the library's own, log_cf(0) = log_cf(-i) = 0 at the first and last expiry.

    Of a batch, members whose parameters are not finite are left to become NaN, and the first of the others is checked.
    With `numbers` false a single model that is not finite passes too, such as that of a fit without numbers.

    Raises:
        TypeError: not a model, but a class or a fit, say.
        ValueError: what is wrong, and what to do.
    """
    if not isinstance(model, AbstractModel):
        raise TypeError(_no_model(model))
    leaves = jax.tree.leaves(model)
    if any(isinstance(leaf, Tracer) for leaf in leaves):
        return
    size = batch_size(model)
    if size is None and (faults := faulty_parameters(model)):
        if not numbers:
            return
        raise ValueError(
            f"{type(model).__name__}: {faults[0]}: give every parameter a finite number (a fit whose status is "
            '"Not fitted" has none)'
        )
    own = type(model).__module__.startswith("jaxcal.")
    if own or not isinstance(model, AbstractFourierModel):
        return
    if size is not None:
        known = np.ones(size, bool)
        for name in model.bounds:
            finite = np.isfinite(np.asarray(getattr(model, name)))
            known &= finite.reshape(size, -1).all(axis=1) if name in batched_fields(model) else finite.all()
        if not known.any():
            return
        model = member_of(model, int(np.argmax(known)))
    if broken_rules(model):
        return
    times = np.asarray([], float) if isinstance(expiry, Tracer) else np.asarray(expiry, float).ravel()
    times = times[np.isfinite(times) & (times > 0)]
    ends = (float(times.min()), float(times.max())) if times.size else (0.25, 1.0)
    wide = np.dtype(np.result_type(*(np.asarray(leaf).dtype for leaf in jax.tree.leaves(model)), np.float32))
    dtype = wide if jax.config.read("jax_enable_x64") and wide.itemsize > 4 else np.dtype(np.float32)
    flat, structure = jax.tree.flatten(model)
    key = tuple((np.shape(leaf), np.asarray(leaf, dtype).tobytes()) for leaf in flat)
    try:
        sentence = _first_fault(structure, key, ends, dtype)
    except TypeError:  # a static field that has no hash
        sentence = _first_fault.__wrapped__(structure, key, ends, dtype)
    if sentence:
        raise ValueError(f"{type(model).__name__} is no law: {sentence}; {_REMEDY}")


def _no_model(given: Any) -> str:
    """What was given in place of a model, and what to give."""
    if isinstance(given, type) and issubclass(given, AbstractModel):
        names = ", ".join(f"{field.name}=..." for field in dataclasses.fields(given))
        return f"the model is the class {given.__name__}, without parameters: write {given.__name__}({names})"
    inside = isinstance(getattr(given, "model", None), AbstractModel)
    remedy = "give its field model" if inside else "a model is an instance such as BlackScholes(0.2)"
    return f"{type(given).__name__} is no model: {remedy}"


@lru_cache(maxsize=256)
def _first_fault(structure: Any, leaves: tuple, years: tuple[float, float], dtype: np.dtype) -> str | None:
    """The first fault of a model, cached by its numbers: pricing it again costs a look-up."""
    arrays = [jnp.asarray(np.frombuffer(data, dtype).reshape(shape)) for shape, data in leaves]
    model = jax.tree.unflatten(structure, arrays)
    with jax.ensure_compile_time_eval():
        found = np.asarray(at_ends(model, jnp.asarray(years, dtype)))
    return next(faults_at_ends(found, years), None)


@eqx.filter_jit
def at_ends(model: AbstractFourierModel, t: Float[Array, " t"]) -> Array:
    """log_cf at 0 and -i, and its means over small circles around them: `[2, 2, t]`."""
    real = t.dtype
    kind = np.result_type(real, np.complex64)
    ends = jnp.asarray([0.0, -1j], kind)
    points = jnp.concatenate([ends[:, None], ends[:, None] + jnp.asarray(_CIRCLE, kind)[None, :]], axis=1)
    z = jnp.broadcast_to(points.reshape(-1, 1), (points.size, t.size))
    value = model.log_cf(z, jnp.broadcast_to(t[None, :], z.shape)).reshape(2, -1, t.size)
    return jnp.stack([value[:, 0], jnp.mean(value[:, 1:], axis=1)])


def faults_at_ends(found: NDArray, years: Any) -> Iterator[str]:
    """Sentences about `at_ends`; where a formula is 0 / 0 the mean over the circle counts."""
    exact, around = found
    exact = np.where(np.isnan(exact), around, exact)
    tolerance = np.sqrt(np.finfo(exact.real.dtype).eps)
    for point, values, meaning in zip(("0j", "-1j"), exact, ("probabilities add up to 1", _MARTINGALE), strict=True):
        for value, t in zip(values, years, strict=True):
            if np.isnan(value):
                yield f"log_cf({point}, t) is NaN at t = {t:g}: the formula must hold there, {meaning}"
                break
            if abs(value) > tolerance:
                number = value.real if abs(value.imag) < 1e-3 * abs(value.real) else value
                yield f"log_cf({point}, t) is {number:.4g} at t = {t:g}, not 0: {meaning}"
                break


_MARTINGALE = (
    "E[exp X] must be 1 for X = ln(S_T / F), so subtract 1j * z * log_cf(-1j, t), the compensator, from your formula"
)


def batched_fields(model: Any) -> list[str]:
    """Names of the fields that have the leading axis of a batch."""
    shapes = {field.name: np.shape(getattr(model, field.name)) for field in dataclasses.fields(model)}
    return [name for name, shape in shapes.items() if len(shape) > (name in model.vectors)]


def member_of(model: Any, i: int) -> Any:
    """The i-th model of a batch."""
    return with_fields(model, {name: getattr(model, name)[i] for name in batched_fields(model)})
