"""Initial guesses: parameters read off the surface, several for a model with several optima."""

from dataclasses import fields
from functools import lru_cache, partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxcal.calibration.objective.fit_data import Target
from jaxcal.calibration.starts.clocked_jump_starts import CLOCKED_JUMP_STARTS
from jaxcal.calibration.starts.heston_starts import HESTON_STARTS
from jaxcal.calibration.starts.jump_starts import JUMP_STARTS
from jaxcal.calibration.starts.levy_starts import LEVY_STARTS
from jaxcal.calibration.starts.smile_shape import SmileShape
from jaxcal.calibration.starts.smile_starts import SMILE_STARTS
from jaxcal.calibration.starts.start_rule import Kind, Rules, StartRule, Values
from jaxcal.compilation.quick_jit import QuickJit
from jaxcal.market.surface import Surface
from jaxcal.models.base import AbstractModel, Model
from jaxcal.models.interval import Interval
from jaxcal.models.parameters import with_fields

RULES: Rules = {**HESTON_STARTS, **JUMP_STARTS, **CLOCKED_JUMP_STARTS, **LEVY_STARTS, **SMILE_STARTS}
PIECEWISE = tuple(model for model, rule in RULES.items() if rule.piecewise)  # fitted to ever more expiries


def find_start_rule(model: Kind) -> StartRule:
    """The rule of a class; an empty one for a class without a rule, such as a user's own."""
    return RULES.get(model, StartRule())


def make_starts(model: type[Model], surface: Surface, simpler: AbstractModel | None = None) -> list[Model]:
    """Starting models for `surface`, within the bounds, the most promising first; `simpler` is the fit of
    `simpler_model(model)`, where there is one. A model without a rule of its own starts in the middle of its bounds.
    """
    rule = find_start_rule(model)
    if rule.piecewise:
        assert rule.simpler is not None
        several = [simpler, *make_starts(rule.simpler, surface)] if rule.also_from_starts else [simpler]
        return [model.of(start, _knots(surface, rule.num_knots)) for start in several]  # type: ignore[attr-defined]
    found: list[Any] = starting_models(model, surface, surface.vol.dtype, simpler)
    if rule.num_knots and not any(np.size(start.knots) for start in found):
        knots = np.asarray(_knots_of_clock(surface, rule.num_knots), surface.vol.dtype)
        found = [eqx.tree_at(lambda m: (m.pace, m.knots), start, (np.ones_like(knots), knots)) for start in found]
    if rule.by_quoted_expiry:
        quoted = np.flatnonzero(np.any(np.asarray(surface.weight) > 0, axis=-1))
        found = [jax.tree.map(lambda leaf: leaf[quoted] if leaf.ndim else leaf, start) for start in found]
    return found


def simpler_model(model: Kind) -> Kind | None:
    """The simpler model that a fit of `model` starts from, or None if it starts from the surface."""
    return find_start_rule(model).simpler


def starting_models(
    model: type[Model], surface: Surface | Target, dtype: Any, simpler: AbstractModel | None = None
) -> list[Model]:
    """The same, of a model whose parameters do not depend on which expiries are quoted; of many surfaces at once where
    the fields of `surface` and `simpler` have a leading axis. On the host, in double precision; or inside `jit`.
    """
    # a surface that cannot be fitted may give no numbers
    with np.errstate(all="ignore"), jax.numpy_rank_promotion("allow"):
        shape = SmileShape.of(surface)
        rule = find_start_rule(model)
        if rule.extend is not None and simpler is not None:
            candidates = rule.extend(shape, simpler)
        elif rule.read is not None:
            candidates = rule.read(shape)
        else:
            candidates = [{name: bound.middle for name, bound in model.bounds.items()}]
        batch = np.shape(surface.expiry) if model.per_expiry else shape.level.shape
        return [_within(model, values, batch, dtype, shape.xp) for values in candidates]


@partial(QuickJit, static_argnums=0, task="starting points")
def starting_models_on_device(model: type[Model], surfaces: Target, simpler: AbstractModel | None) -> list[Model]:
    """`starting_models` of many surfaces, where the fits run."""
    return starting_models(model, surfaces, surfaces.vol.dtype, simpler)


def _within(model: type[Model], values: Values, batch: tuple[int, ...], dtype: Any, xp: Any) -> Model:
    """A model of these values, moved inside its bounds; by the functions of `namespace_of`, for values may be numbers
    inside `jit` too.
    """
    arrays = {name: xp.asarray(value, dtype) for name, value in values.items()}
    arrays = {name: x if x.ndim else xp.broadcast_to(x, batch) for name, x in arrays.items()}
    apart = not any(interval.unit or interval.origin for interval in model.bounds.values())
    if apart:
        arrays |= {name: arrays[name].clip(*_inner(interval)) for name, interval in model.bounds.items()}
    structure, names = _structure(model, tuple(arrays))
    start = jax.tree.unflatten(structure, [arrays[name] for name in names])
    return start if apart else jax.tree.map(xp.asarray, _inside(start))


def _inner(interval: Interval) -> tuple[float, float]:
    """The ends of an interval for a start: on a logarithmic scale a little inside."""
    lower, upper = interval.lower, interval.upper
    return (1.01 * lower, 0.99 * upper) if interval.scale == "log" else (lower, upper)


@lru_cache
def _structure(model: type[AbstractModel], names: tuple[str, ...]) -> tuple[Any, tuple[str, ...]]:
    """The structure of models from unchecked numbers, and the order of their leaves."""
    made = jax.eval_shape(lambda x: model(**dict.fromkeys(names, x)), jax.ShapeDtypeStruct((1,), np.float32))
    return jax.tree.structure(made), tuple(field.name for field in fields(model) if field.name in names)


@partial(QuickJit, rare=True, task="starting points")
def _inside(start: Model) -> Model:
    """Move inside bounds that depend on other parameters, which are JAX functions; once a fit."""
    for name, interval in start.bounds.items():
        value = getattr(start, name)
        known = interval.known(start)  # the arbitrage bound of SVI is a search of its own
        inside = known.absolute(jnp.clip(known.relative(value, start), *_inner(interval)), start)
        start = with_fields(start, {name: jnp.asarray(inside, value.dtype)})
    return start


def _knots(surface: Surface, intervals: int) -> Float[np.ndarray, " n"]:
    """Expiries that divide the quoted ones into at most `intervals` groups of about the same size."""
    quoted = np.asarray(surface.expiry)[np.any(np.asarray(surface.weight) > 0, axis=-1)]
    groups = np.array_split(quoted, min(intervals, max(1, quoted.size)))
    return np.asarray([group[-1] for group in groups[:-1]])


def _knots_of_clock(surface: Surface, intervals: int) -> Float[np.ndarray, " n"]:
    """The same, but of many expiries groups have about the same sum of the roots of their numbers of quotes: the level
    of an expiry of many quotes counts most, and some have twenty times as many as others.
    """
    quotes = np.sum(np.asarray(surface.weight) > 0, axis=-1)
    quoted, root = np.asarray(surface.expiry)[quotes > 0], np.sqrt(quotes[quotes > 0])
    if quoted.size < 2 * intervals:
        return _knots(surface, intervals)
    knots, begin = [], 0
    for groups in range(intervals, 1, -1):  # that are left
        share = np.cumsum(root[begin:]) / np.sum(root[begin:])
        end = begin + int(np.argmin(np.abs(share - 1.0 / groups)))
        begin = min(end, quoted.size - groups) + 1  # an expiry or more stays for each of the others
        knots.append(quoted[begin - 1])
    return np.asarray(knots)
