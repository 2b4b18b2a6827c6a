"""Prices and implied volatilities of European options under a model: the one entry."""

from functools import reduce
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from jaxcal._arguments import NumbersLike, SidesLike, named_only, numbers, sides
from jaxcal._types import float_dtype
from jaxcal.market.black import black_otm
from jaxcal.market.implied_vol import implied_vol
from jaxcal.models.base import AbstractFourierModel, AbstractModel, AbstractVolModel, in_domain
from jaxcal.models.law import refuse_unlawful
from jaxcal.models.parameters import as_batch, batch_size
from jaxcal.pricing.jump_sum import value_by_counts
from jaxcal.pricing.pricer import AbstractPricer
from jaxcal.pricing.saddle import Saddle

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
        Outside `jit` a grid that does not reach it is refined first, and jumps of nearly one size are summed by their
        numbers; inside, the size is the pricer's.

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
    strike, expiry, forward, discount = numbers(strike=strike, expiry=expiry, forward=forward, discount=discount)
    refuse_unlawful(model, expiry)
    is_call = sides(is_call)
    dtype = _dtype(model, strike, expiry, forward, discount)
    strike, expiry, forward, discount = (jnp.asarray(x, dtype) for x in (strike, expiry, forward, discount))
    shape = jnp.broadcast_shapes(*(jnp.shape(x) for x in (strike, expiry, forward, discount, is_call)))
    strike, expiry, forward, discount = (jnp.broadcast_to(x, shape) for x in (strike, expiry, forward, discount))
    value = _otm_value(model, strike, expiry, forward, pricer, relative=False)
    # parity from the out-of-the-money side
    is_call = jnp.broadcast_to(is_call, shape)
    gain = jnp.where(is_call == (strike >= forward), 0.0, jnp.where(is_call, forward - strike, strike - forward))
    lead = (None,) * (value.ndim - len(shape))
    discounted = discount[lead] * (value * forward[lead] + gain[lead])
    return jnp.where((discount > 0)[lead] & jnp.isfinite(discount)[lead], discounted, jnp.nan)


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

    Arguments as in `price`. NaN where the out-of-the-money value is not known to a millionth of itself, so that a far
    wing never shows noise.

    Example:
        >>> import jaxcal as jc
        >>> round(float(jc.model_vol(jc.BlackScholes(0.2), 300.0, 0.1, forward=100.0)), 9)
        0.2
    """
    strike, expiry, forward = numbers(strike=strike, expiry=expiry, forward=forward)
    refuse_unlawful(model, expiry)
    dtype = _dtype(model, strike, expiry, forward)
    strike, expiry, forward = (jnp.asarray(x, dtype) for x in (strike, expiry, forward))
    strike, expiry, forward = jnp.broadcast_arrays(strike, expiry, forward)
    if isinstance(model, AbstractVolModel):
        valid = _valid(strike, expiry, forward)
        strike, expiry, forward = (jnp.where(valid, x, 1.0) for x in (strike, expiry, forward))
        return jnp.where(valid, _smile_vol(model, strike, expiry, forward, pricer), jnp.nan)
    value = _otm_value(model, strike, expiry, forward, pricer, relative=True)
    lead = (None,) * (value.ndim - strike.ndim)
    is_call = jnp.broadcast_to((strike >= forward)[lead], value.shape)
    return implied_vol(value, (strike / forward)[lead], expiry[lead], forward=1.0, is_call=is_call)


def _dtype(model: AbstractModel, *inputs: Any) -> Any:
    return float_dtype(*jax.tree.leaves(model), *inputs)


def _otm_value(
    model: AbstractModel,
    strike: Array,
    expiry: Array,
    forward: Array,
    pricer: AbstractPricer | None,
    relative: bool,
) -> Array:
    """Undiscounted out-of-the-money value over forward; NaN where the error is not known to be small."""
    valid = _valid(strike, expiry, forward)
    strike, expiry, forward = (jnp.where(valid, x, 1.0) for x in (strike, expiry, forward))
    if isinstance(model, AbstractVolModel):
        vol = _smile_vol(model, strike, expiry, forward, pricer)
        lead = (None,) * (vol.ndim - strike.ndim)
        value = black_otm(vol, (strike / forward)[lead], expiry[lead], forward=1.0)
        return jnp.where(valid, value, jnp.nan)
    if not isinstance(model, AbstractFourierModel):
        raise TypeError(
            f"{type(model).__name__} has neither log_cf nor vol: subclass AbstractFourierModel or AbstractVolModel"
        )
    pricer = pricer or Saddle()
    law = jax.tree.map(lambda leaf: jnp.asarray(leaf, strike.dtype), model)
    log_strike = jnp.log1p((strike - forward) / forward)

    if (size := batch_size(law)) is not None:
        value = _batched(pricer, as_batch(law, size), expiry.ravel(), log_strike.ravel(), relative)
        return jnp.where(valid, value.reshape(size, *strike.shape), jnp.nan)
    if any(isinstance(x, Tracer) for x in (*jax.tree.leaves(law), expiry, log_strike)):
        value = _within(pricer.sized(), law, expiry.ravel(), log_strike.ravel(), relative)
    else:
        value = _refined(pricer, law, expiry.ravel(), log_strike.ravel(), relative)
    return jnp.where(valid, value.reshape(strike.shape), jnp.nan)


def _valid(strike: Array, expiry: Array, forward: Array) -> Array:
    inputs = (strike, expiry, forward)
    return reduce(jnp.logical_and, [(x > 0) & jnp.isfinite(x) for x in inputs])


def _smile_vol(
    model: AbstractVolModel, strike: Array, expiry: Array, forward: Array, pricer: AbstractPricer | None
) -> Array:
    """Volatilities of a smile model, with a leading axis where its parameters have one; NaN outside its domain."""
    if pricer is not None:
        raise ValueError(f"{type(model).__name__} gives volatilities in closed form: it takes no pricer")

    def one(model: AbstractVolModel) -> Array:
        return jnp.where(in_domain(model), model.vol(strike, expiry, forward), jnp.nan)

    model = jax.tree.map(lambda leaf: jnp.asarray(leaf, strike.dtype), model)
    return one(model) if (size := batch_size(model)) is None else jax.vmap(one)(as_batch(model, size))


def _within(
    pricer: AbstractPricer, model: AbstractFourierModel, expiry: Array, log_strike: Array, relative: bool
) -> Array:
    value, error = pricer.value(model, expiry, log_strike)
    small = (error <= (1e-6 * value if relative else pricer.tolerance(value.dtype))) & in_domain(model)
    return jnp.where(small, value, jnp.nan)


_compiled = eqx.filter_jit(_within)


@eqx.filter_jit
def _compiled_batch(
    pricer: AbstractPricer, models: AbstractFourierModel, expiry: Array, log_strike: Array, relative: bool
) -> Array:
    return jax.lax.map(lambda model: _within(pricer, model, expiry, log_strike, relative), models)


def _refined(
    pricer: AbstractPricer, model: AbstractFourierModel, expiry: Array, log_strike: Array, relative: bool
) -> Array:
    """Outside jit: in chunks padded to powers of two, on finer grids where a coarser one misses the tolerance."""
    k, t = np.asarray(log_strike), np.asarray(expiry)
    result = np.full(k.shape, np.nan, k.dtype)
    method: AbstractPricer | None = pricer.sized()
    automatic = method != pricer
    missing = np.arange(k.size)
    while method is not None and missing.size:
        size = max(8, _CHUNK // method.points)
        for part in np.split(missing, range(size, missing.size, size)):
            padded = np.resize(part, max(8, 1 << (part.size - 1).bit_length()))
            found = _compiled(method, model, jnp.asarray(t[padded]), jnp.asarray(k[padded]), relative)
            result[part] = np.asarray(found)[: part.size]
        missing = np.flatnonzero(np.isnan(result))
        method = method.finer() if automatic else None
    if missing.size and automatic and isinstance(pricer, Saddle):
        result = _summed(model, expiry, log_strike, result, relative)
    return jnp.asarray(result)


def _batched(
    pricer: AbstractPricer, models: AbstractFourierModel, expiry: Array, log_strike: Array, relative: bool
) -> Array:
    """A leading axis of models; outside jit, priced on finer grids where one of them misses the tolerance."""
    method = pricer.sized()
    value = _compiled_batch(method, models, expiry, log_strike, relative)
    while method != pricer and not isinstance(value, Tracer) and bool(jnp.any(jnp.isnan(value))):
        method = method.finer()
        if method is None:
            break
        value = jnp.where(jnp.isnan(value), _compiled_batch(method, models, expiry, log_strike, relative), value)
    if method is None and isinstance(pricer, Saddle):
        found = np.array(value)
        for i, row in enumerate(found):
            found[i] = _summed(jax.tree.map(lambda leaf: leaf[i], models), expiry, log_strike, row, relative)  # noqa: B023
        value = jnp.asarray(found)
    return value


def _summed(
    model: AbstractFourierModel, expiry: Array, log_strike: Array, value: np.ndarray, relative: bool
) -> np.ndarray:
    """Values, those that are NaN by sums over the numbers of jumps."""
    k, t = np.asarray(log_strike), np.asarray(expiry)
    missing = np.flatnonzero(np.isnan(value) & np.isfinite(k))
    if missing.size and bool(in_domain(model)):
        tolerance = 1e-6 if relative else Saddle().tolerance(k.dtype)
        value[missing] = value_by_counts(model, t[missing], k[missing], tolerance, relative=relative)
    return value
