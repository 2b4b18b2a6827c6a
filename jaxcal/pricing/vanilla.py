"""Prices and implied volatilities of European options under a model: the one entry."""

from functools import partial, reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float

from jaxcal._arguments import NumbersLike, SidesLike, named_only, numbers, sides
from jaxcal._types import float_dtype
from jaxcal.compilation.quick_jit import QuickJit
from jaxcal.compilation.side_by_side import map_some, side_by_side
from jaxcal.formulas.black import black_otm, log_moneyness
from jaxcal.market.padding import power_of_two
from jaxcal.models.base import AbstractFourierModel, AbstractModel, AbstractVolModel, in_domain
from jaxcal.models.parameters import as_batch, batch_size
from jaxcal.models.refusal import refuse_unlawful
from jaxcal.pricing.jump_sum import value_by_counts
from jaxcal.pricing.pricer import AbstractPricer, by_logs
from jaxcal.pricing.saddle import Saddle

_TOGETHER = 65536  # quotes of several models side by side on an accelerator
_CHUNK = 1 << 20  # characteristic functions evaluated by one program outside jit, so that memory stays bounded


@named_only
def price(
    model: AbstractModel,
    strike: NumbersLike,
    expiry: NumbersLike,
    *,
    forward: NumbersLike,
    discount: NumbersLike = 1.0,
    is_call: SidesLike = True,
    pricer: AbstractPricer | None = None,
) -> Float[Array, "..."]:
    """Prices of European options under `model`.

    Args:
        model: with scalar parameters; or with parameters of shape `[B]`, for a leading axis `B` of the result.
        strike, expiry, forward, discount, is_call: numbers or arrays that broadcast; strike and forward in one unit,
            expiry in years, discount the value today of one unit paid at expiry.
        pricer: `Saddle()` by default, which is right to rounding and keeps the relative accuracy of far
            out-of-the-money prices; `Cos()` and `Laguerre()` are the others.

    Returns:
        Discounted prices in the units of the forward. NaN where an input is not positive and finite (NaN included), and
        where the grid cannot price to the pricer's tolerance (1e-10 of the forward by default): never a wrong number.
        Outside `jit` a grid that does not reach it is refined first, for derivatives too, and jumps of nearly one size
        are summed by their numbers (their derivatives are NaN); inside, the size is the pricer's. Derivatives are 0
        where the result is NaN, so that a masked quote does not spoil a gradient.

    Raises:
        TypeError: not a model, or an argument by its place that goes by name.
        ValueError: strikes, expiries or sides that are none; and outside `jit` a parameter that is not finite (members
            of a batch become NaN instead), or a class of your own whose `log_cf` is no law: see `check_model`.

    Example:
        >>> import jaxcal as jc
        >>> model = jc.Heston(v0=0.04, kappa=1.5, theta=0.06, sigma=0.7, rho=-0.65)
        >>> [round(float(p), 6) for p in jc.price(model, jnp.asarray([90.0, 110.0]), 0.5, forward=100.0)]
        [12.348419, 1.272328]
    """
    quoted = numbers(strike=strike, expiry=expiry, forward=forward, discount=discount)
    refuse_unlawful(model, quoted[1])
    is_call = sides(is_call, *quoted)
    quotes = _prepared(_dtype(model, *quoted), *quoted, is_call)
    return _discounted(quotes, _evaluate(model, quotes, pricer, as_vol=False))


@named_only
def model_vol(
    model: AbstractModel,
    strike: NumbersLike,
    expiry: NumbersLike,
    *,
    forward: NumbersLike,
    pricer: AbstractPricer | None = None,
) -> Float[Array, "..."]:
    """Black implied volatilities of a model, decimal per square root of year.

    Arguments as in `price`. The value is inverted by its logarithm, so a volatility is right where the price
    underflows, and its room to the upper bound keeps its own accuracy, so it is right where the price is nearly the
    forward. NaN where a relative error of 1e-9 (in float32: 1e-3) cannot be ruled out, and where an input is not
    positive and finite. Derivatives are 0 where the result is NaN, so that a masked quote does not spoil a gradient.

    Example:
        >>> import jaxcal as jc
        >>> round(float(jc.model_vol(jc.BlackScholes(0.2), 300.0, 0.1, forward=100.0)), 9)
        0.2
    """
    quoted = numbers(strike=strike, expiry=expiry, forward=forward)
    refuse_unlawful(model, quoted[1])
    quotes = _prepared(_dtype(model, *quoted), *quoted, 1.0, True)
    return _known(quotes, _evaluate(model, quotes, pricer, as_vol=True))


class _Quotes(NamedTuple):
    """Of one shape. Where `valid` is false a number was not positive and finite: all four are 1 there, since nothing
    that is not a number may enter the arithmetic, where it would spoil the derivatives of the others.
    """

    valid: Bool[Array, "*quotes"]
    strike: Float[Array, "*quotes"]
    expiry: Float[Array, "*quotes"]
    forward: Float[Array, "*quotes"]
    discount: Float[Array, "*quotes"]
    is_call: Bool[Array, "*quotes"]
    log_strike: Float[Array, " q"]
    years: Float[Array, " q"]


@partial(jax.jit, static_argnums=0)
def _prepared(dtype: Any, *given: Any) -> _Quotes:
    """What comes before the model in one program: operation by operation each would be one."""
    arrays = [*(jnp.asarray(x, dtype) for x in given[:-1]), jnp.asarray(given[-1])]
    shape = jnp.broadcast_shapes(*map(jnp.shape, arrays))
    *numbers, is_call = (jnp.broadcast_to(x, shape) for x in arrays)
    valid = reduce(jnp.logical_and, [(x > 0) & jnp.isfinite(x) for x in numbers])
    strike, expiry, forward, discount = (jnp.where(valid, x, 1.0) for x in numbers)
    log_strike = -log_moneyness(forward, strike)
    return _Quotes(valid, strike, expiry, forward, discount, is_call, log_strike.ravel(), expiry.ravel())


@jax.jit
def _discounted(quotes: _Quotes, value: Float[Array, "..."]) -> Float[Array, "..."]:
    """Prices from out-of-the-money values over forward: the other side by parity."""
    _, strike, _, forward, discount, is_call, *_ = quotes
    known = ~jnp.isnan(value)
    value = jnp.where(known, value, 0.0)
    gain = jnp.where(is_call == (strike >= forward), 0.0, jnp.where(is_call, forward - strike, strike - forward))
    lead = (None,) * (value.ndim - strike.ndim)
    bound = jnp.where(is_call, forward, strike)[lead]
    discounted = discount[lead] * jnp.minimum(value * forward[lead] + gain[lead], bound)
    return _known(quotes, jnp.where(known, discounted, jnp.nan))


@jax.jit
def _known(quotes: _Quotes, found: Float[Array, "..."]) -> Float[Array, "..."]:
    """NaN where the quotes are not valid."""
    return jnp.where(quotes.valid[(None,) * (found.ndim - quotes.valid.ndim)], found, jnp.nan)


def _dtype(model: AbstractModel, *inputs: Any) -> Any:
    return float_dtype(*jax.tree.leaves(model), *inputs)


def _evaluate(
    model: AbstractModel, quotes: _Quotes, pricer: AbstractPricer | None, as_vol: bool
) -> Float[Array, "..."]:
    """Undiscounted out-of-the-money values over forward, or volatilities; NaN where the error is not known to be
    small.
    """
    if isinstance(model, AbstractVolModel):
        vol = _smile_vol(model, quotes, pricer)
        ratio = (quotes.strike / quotes.forward)[(None,) * (vol.ndim - quotes.strike.ndim)]
        return vol if as_vol else black_otm(vol, ratio, quotes.expiry, forward=1.0)
    if not isinstance(model, AbstractFourierModel):
        raise TypeError(
            f"{type(model).__name__} has neither log_cf nor vol: subclass AbstractFourierModel or AbstractVolModel"
        )
    pricer = pricer or Saddle()
    law = jax.tree.map(lambda leaf: jnp.asarray(leaf, quotes.strike.dtype), model)
    shape = quotes.strike.shape
    if (size := batch_size(law)) is None:
        return _refined(pricer, as_vol, False, law, quotes.years, quotes.log_strike).reshape(shape)
    found = _refined(pricer, as_vol, True, as_batch(law, size), quotes.years, quotes.log_strike)
    return found.reshape(size, *shape)


def _smile_vol(model: AbstractVolModel, quotes: _Quotes, pricer: AbstractPricer | None) -> Float[Array, "..."]:
    """Volatilities of a smile model, with a leading axis where its parameters have one; NaN outside its domain."""
    if pricer is not None:
        raise ValueError(f"{type(model).__name__} gives volatilities in closed form: it takes no pricer")

    def one(model: AbstractVolModel) -> Array:
        return jnp.where(in_domain(model), model.vol(quotes.strike, quotes.expiry, quotes.forward), jnp.nan)

    model = jax.tree.map(lambda leaf: jnp.asarray(leaf, quotes.strike.dtype), model)
    return one(model) if (size := batch_size(model)) is None else jax.vmap(one)(as_batch(model, size))


def _one(pricer: AbstractPricer, as_vol: bool, model: AbstractFourierModel, expiry: Array, log_strike: Array) -> Array:
    if not as_vol:
        value, error = pricer.value(model, expiry, log_strike)
        return jnp.where((error <= pricer.tolerance(value.dtype)) & in_domain(model), value, jnp.nan)
    vol = pricer.log_value(model, expiry, log_strike).vol(log_strike, expiry)
    return jnp.where(in_domain(model), vol, jnp.nan)


def _program(
    pricer: AbstractPricer, as_vol: bool, many: bool, model: AbstractFourierModel, expiry: Array, log_strike: Array
) -> Array:
    """Of one model or of many: on a processor one after the other."""
    if not many:
        return _one(pricer, as_vol, model, expiry, log_strike)
    together = side_by_side(1, _TOGETHER // max(expiry.size, 1))
    return map_some(lambda model: _one(pricer, as_vol, model, expiry, log_strike), model, together)


# for tracers too: `vmap` and `grad` outside jit would run it operation by operation, each a program
_compiled = QuickJit(_program, static_argnums=(1, 2), task="prices")


@partial(jax.custom_jvp, nondiff_argnums=(0, 1, 2))
def _refined(
    pricer: AbstractPricer, as_vol: bool, many: bool, model: AbstractFourierModel, expiry: Array, log_strike: Array
) -> Array:
    """Outside jit on finer grids where a coarser one misses the tolerance; inside, on the pricer's own."""
    if _traced(model, expiry, log_strike):
        return _compiled(pricer.sized(), as_vol, many, model, expiry, log_strike)
    return jnp.asarray(_on_finer_grids(pricer, as_vol, many, model, expiry, log_strike)[0])


@_refined.defjvp
def _refined_jvp(
    pricer: AbstractPricer, as_vol: bool, many: bool, primals: tuple[Any, Array, Array], tangents: tuple[Any, ...]
) -> tuple[Array, Array]:
    """On the grids that the values need: outside jit, derivatives too are refined."""
    if _traced(*primals):
        return jax.jvp(partial(_compiled, pricer.sized(), as_vol, many), primals, tangents)
    model, expiry, log_strike = primals
    value, used, summed = _on_finer_grids(pricer, as_vol, many, model, expiry, log_strike)
    slopes = [jnp.zeros_like(jnp.asarray(value))[..., :0]]
    for method, places in used:
        quotes = model, expiry[places], log_strike[places]
        moves = tangents[0], tangents[1][places], tangents[2][places]
        slopes.append(jax.jvp(partial(_compiled, method, as_vol, many), quotes, moves)[1])
    order = np.argsort(np.concatenate([places for _, places in used] or [np.arange(0)]))
    slope = jnp.concatenate(slopes, axis=-1)[..., order]
    # a sum over jumps is of the host, and known without its derivatives: a product, so that reverse mode says so too
    unknown = jnp.where(summed, jnp.nan, 1.0).astype(slope.dtype)
    return jnp.asarray(value), jnp.where(jnp.isnan(value), 0.0, slope * unknown)


def _traced(*inputs: Any) -> bool:
    return any(isinstance(x, Tracer) for x in jax.tree.leaves(inputs))


def _on_finer_grids(
    pricer: AbstractPricer, as_vol: bool, many: bool, model: AbstractFourierModel, expiry: Array, log_strike: Array
) -> tuple[np.ndarray, list[tuple[AbstractPricer, np.ndarray]], np.ndarray]:
    """Values; which quotes were evaluated last by which method, in chunks padded to powers of two; and where none of
    them served, but a sum over numbers of jumps.
    """
    k, t = np.asarray(log_strike), np.asarray(expiry)
    members = (len(jax.tree.leaves(model)[0]),) if many else ()
    result = np.full((*members, k.size), np.nan, k.dtype)
    method: AbstractPricer | None = pricer.sized()
    automatic = method != pricer
    missing, used = np.arange(k.size), []
    while method is not None and missing.size:
        used = [(m, np.setdiff1d(places, missing, assume_unique=True)) for m, places in used] + [(method, missing)]
        size = max(8, _CHUNK // method.points)
        for part in np.split(missing, range(size, missing.size, size)):
            padded = np.resize(part, power_of_two(part.size, 8))
            found = _compiled(method, as_vol, many, model, jnp.asarray(t[padded]), jnp.asarray(k[padded]))
            result[..., part] = np.asarray(found)[..., : part.size]
        method = method.finer() if automatic else None
        missing = np.flatnonzero(np.any(np.isnan(result).reshape(-1, k.size), axis=0))
        if missing.size and method is not None:  # what is outside its domain is NaN on every grid
            missing = np.flatnonzero(np.any(np.isnan(result[_alive(model, many)].reshape(-1, k.size)), axis=0))
    before = np.isnan(result)
    if missing.size and automatic and isinstance(pricer, Saddle):
        for i, row in enumerate(result.reshape(-1, k.size)):
            member = jax.tree.map(lambda leaf: leaf[i], model) if many else model  # noqa: B023
            places = missing[np.isnan(row[missing]) & np.isfinite(k[missing])]
            if places.size and _alive(member, False):
                row[places] = _summed(member, t[places], k[places], as_vol)
    return result, [(m, places) for m, places in used if places.size], before & ~np.isnan(result)


def _summed(model: AbstractFourierModel, expiry: np.ndarray, log_strike: np.ndarray, as_vol: bool) -> np.ndarray:
    """Values or volatilities by sums over the numbers of jumps."""
    if not as_vol:
        return value_by_counts(model, expiry, log_strike, Saddle().tolerance(log_strike.dtype), relative=False)
    tolerance = max(5e-10, 1e3 * float(np.finfo(log_strike.dtype).eps))
    value = jnp.asarray(value_by_counts(model, expiry, log_strike, tolerance, relative=True))
    found = by_logs(value, tolerance * value, jnp.asarray(log_strike))
    return np.asarray(found.vol(jnp.asarray(log_strike), jnp.asarray(expiry)))


def _alive(model: AbstractFourierModel, many: bool) -> np.ndarray:
    """Whether a model, or each of many, is finite and in its domain."""

    def one(model: AbstractFourierModel) -> Array:
        finite = [jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(model)]
        return reduce(jnp.logical_and, finite, in_domain(model))

    return np.asarray(jax.vmap(one)(model) if many else one(model))
