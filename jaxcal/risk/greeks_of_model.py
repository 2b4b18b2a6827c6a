"""greeks: derivatives of option prices under a model, to third order, by automatic differentiation."""

from functools import partial
from typing import Any, Literal, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array

from jaxcal._arguments import NumbersLike, SidesLike, named_only, numbers, sides
from jaxcal._types import float_dtype
from jaxcal.compilation.quick_jit import QuickJit
from jaxcal.compilation.side_by_side import map_some, side_by_side
from jaxcal.formulas.black import black_price, log_moneyness
from jaxcal.formulas.implied_vol import implied_vol
from jaxcal.market.padding import power_of_two
from jaxcal.models.base import AbstractFourierModel, AbstractModel, Model, in_domain
from jaxcal.models.parameters import as_batch, batch_size, natural_vector, with_natural
from jaxcal.models.refusal import refuse_unlawful
from jaxcal.pricing.expansion import expansion
from jaxcal.pricing.pricer import AbstractPricer
from jaxcal.pricing.saddle import Saddle
from jaxcal.pricing.vanilla import model_vol, price
from jaxcal.risk.greeks import Convention, Greeks, Options, Smile, agreed, greeks_from, vega_of_black, where_known

Settlement = Literal["quote", "coin"]

# Each is checked by half of its own nodes: where the rule converges geometrically, what the two differ by is far more
# than the error of the finer.
_LADDER = (Saddle(128), Saddle(512), Saddle(2048))
_FEW = 64  # quotes of a program that compiles quickly: of 512 it runs a fifth longer
_BATCH = 128, 8192  # quotes side by side, by platform, so that memory stays bounded


@named_only
def greeks(
    model: Model,
    strike: NumbersLike,
    expiry: NumbersLike,
    *,
    forward: NumbersLike,
    discount: NumbersLike = 1.0,
    is_call: SidesLike = True,
    pricer: AbstractPricer | None = None,
    order: int = 2,
    settlement: Settlement = "quote",
    smile: Smile = "model",
) -> Greeks[Model]:
    """Prices of European options and their derivatives in forward, time, rate and every parameter of `model`.

    Args:
        model: with scalar parameters; or with parameters of shape `[B]`, for a leading axis `B` of the result.
        strike, expiry, forward, discount, is_call: as in `price`: they broadcast, expiry in years.
        pricer: the Fourier method. By default `Saddle`, each derivative checked by half of its nodes.
        order: 1, 2 or 3: the highest derivatives.
        settlement: "quote" for V in the units of the forward; "coin" for an inverse option, which pays in the
            underlying: V is then the Black price over the forward, and every field a derivative of that. `discount` is
            that of the coin, 1 on the exchanges. `forward * delta` is the delta net of the premium.
        smile: what happens to the smile when forward and time move. "model": the parameters stay, and the smile moves
            as the model says; with a law of ln(S_T / F), SVI and SSVI it moves along with the forward. "moneyness": the
            volatility at each K / F stays when the forward moves, which differs from "model" for SABR. "strike": each
            option keeps its own volatility when forward and time move, so delta, gamma, theta are Black's at `vol`.

    Returns:
        `Greeks`. NaN where an input is not positive and finite, where the price is NaN, and where half of the nodes do
        not agree with all of them (a density that is not smooth has no speed to compute). Outside `jit` the grid is
        refined first. With a method other than `Saddle` its grid is used as it is, and only the price is checked.

    Raises:
        ValueError: an order, settlement or smile that is none of these; and as `price`.

    References:
        The names are those of E. G. Haug, The Complete Guide to Option Pricing Formulas (2nd ed., 2007), ch. 2.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> import jaxcal as jc
        >>> model = jc.BlackScholes(0.2)
        >>> found = jc.greeks(model, jnp.asarray([90.0, 110.0]), 0.5, forward=100.0)
        >>> [round(float(x), 6) for x in (found.delta[0], found.gamma[0], found.vega.sigma[0], found.theta[0] / 365)]
        [0.79267, 0.020226, 20.225756, -0.011083]
        >>> coin = jc.greeks(model, 90.0, 0.5, forward=100.0, order=1, settlement="coin")
        >>> round(float(100.0 * coin.delta), 6), round(float(found.delta[0] - coin.price), 6)
        (0.674946, 0.674946)
    """
    for name, value, known in (
        ("order", order, (1, 2, 3)),
        ("settlement", settlement, get_args(Settlement)),
        ("smile", smile, get_args(Smile)),
    ):
        if value not in known:
            raise ValueError(f"{name} is {value!r}: it must be one of {', '.join(map(str, known))}")
    quoted = numbers(strike=strike, expiry=expiry, forward=forward, discount=discount)
    refuse_unlawful(model, quoted[1])
    dtype = float_dtype(*jax.tree.leaves(model), *quoted)
    given = jnp.broadcast_arrays(*(jnp.asarray(x, dtype) for x in quoted), sides(is_call, *quoted))
    shape = given[0].shape
    strikes, years, forwards, discounts, calls = (x.ravel() for x in given)
    quotes = Options(strikes, years, forwards, discounts, calls)
    law = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), model)
    size = batch_size(law)
    if size is not None:
        law = as_batch(law, size)
    fourier = isinstance(law, AbstractFourierModel)
    ladder = _LADDER if pricer is None and fourier else (pricer,)
    expanded = fourier and isinstance(ladder[0], Saddle)
    if expanded and smile == "moneyness":  # the smile of a law of ln(S_T / F) moves along with the forward
        smile = "model"
    convention = Convention(order, settlement == "coin", smile)
    if any(isinstance(x, Tracer) for x in (*jax.tree.leaves(law), *quotes)):
        found = _compiled(law, quotes, ladder[0], convention, size is not None)
    else:
        found = _refined(law, quotes, ladder, convention, size is not None)
    return jax.tree.map(lambda leaf: leaf.reshape(*leaf.shape[:-1], *shape), found)


def _refined(law: AbstractModel, quotes: Options, ladder: Any, convention: Convention, many: bool) -> Greeks:
    """Outside jit: on finer grids where two of them do not agree."""
    numbers = np.asarray(quotes[:4])
    valid = np.all(np.isfinite(numbers) & (numbers > 0), axis=0)
    found, missing = None, np.arange(valid.size)
    for pricer in ladder:
        some, count = Options(*(x[missing] for x in quotes)), missing.size
        result = _compiled(law, _padded(some), pricer, convention, many)
        result = jax.tree.map(lambda leaf: leaf[..., :count], result)  # noqa: B023
        found = result if found is None else jax.tree.map(partial(_filled, missing), found, result)
        unknown = [np.isnan(np.asarray(leaf)).reshape(-1, valid.size) for leaf in _checked_fields(found, law)]
        missing = np.flatnonzero(valid & np.any(np.concatenate(unknown), axis=0))
        if not missing.size:
            break
    assert found is not None
    return _with_vols(found, law, quotes, convention, many) if len(ladder) > 1 else found


def _with_vols(found: Greeks, law: AbstractModel, quotes: Options, convention: Convention, many: bool) -> Greeks:
    """With the volatilities that take a finer grid than the derivatives do."""
    unknown = np.isnan(np.asarray(found.vol)) & ~np.isnan(np.asarray(found.price))
    places = np.flatnonzero(unknown.reshape(-1, unknown.shape[-1]).any(axis=0))
    if not places.size:
        return found
    some = Options(*(x[places] for x in quotes))
    vol = jnp.where(unknown[..., places], model_vol(law, some.strike, some.expiry, forward=some.forward), jnp.nan)
    vega = partial(vega_of_black, quotes=some, convention=convention)
    more = (vol, jax.vmap(vega)(vol) if many else vega(vol))
    both = tuple(_filled(places, old, new) for old, new in zip((found.vol, found.black_vega), more, strict=True))
    return eqx.tree_at(lambda g: (g.vol, g.black_vega), found, both)


def _filled(places: np.ndarray, old: Array, new: Array) -> Array:
    return old.at[..., places].set(jnp.where(jnp.isnan(old[..., places]), new, old[..., places]))


def _checked_fields(found: Greeks, law: AbstractModel) -> list[Array]:
    """Those that a finer grid may still find: not the volatility, not fields that are no parameters."""
    whole = [x for x in (found.price, found.delta, found.theta, found.gamma, found.speed, found.color) if x is not None]
    models = [x for x in (found.vega, found.vanna, found.volga, found.veta, found.zomma) if x is not None]
    return [*whole, *(getattr(x, name) for x in models for name in law.bounds)]


def _padded(quotes: Options) -> Options:
    """To a power of two, then to multiples of a batch: few programs."""
    count, batch = quotes.strike.size, side_by_side(*_BATCH)
    size = power_of_two(count, 8) if 0 < count <= batch else -(-count // batch) * batch
    return Options(*(jnp.concatenate([x, jnp.broadcast_to(x[-1:], size - count)]) for x in quotes))


def _program(
    law: AbstractModel, quotes: Options, pricer: AbstractPricer | None, convention: Convention, many: bool
) -> Greeks:
    """Of one model or of many: on a processor one after the other."""
    one = partial(_of_model, quotes=quotes, pricer=pricer, convention=convention)
    return map_some(one, law, side_by_side(1, _BATCH[1] // max(quotes.strike.size, 1))) if many else one(law)


def _are_few(law: AbstractModel, quotes: Options, *settings: Any) -> bool:
    return quotes.strike.size <= _FEW


_compiled = QuickJit(_program, static_argnums=(3, 4), small=_are_few, task="greeks")


def _of_model(law: AbstractModel, quotes: Options, pricer: AbstractPricer | None, convention: Convention) -> Greeks:
    count, batch = quotes.strike.size, side_by_side(*_BATCH)

    def part(some: Options) -> Greeks:
        # NaN and nonsense must not reach the derivatives of others: they are put back at the end
        numbers = jnp.stack(some[:4])
        valid = jnp.all((numbers > 0) & jnp.isfinite(numbers), axis=0)
        safe = Options(*(jnp.where(valid, x, jnp.ones_like(x)) for x in some))
        if isinstance(law, AbstractFourierModel) and isinstance(pricer, Saddle):
            return where_known(valid, _expanded(law, safe, pricer, convention))
        return where_known(valid, _priced(law, safe, pricer, convention))

    if count <= batch:
        return part(quotes)
    whole = _padded(quotes)
    pieces = Options(*(x.reshape(-1, batch) for x in whole))
    found = jax.lax.map(part, pieces)
    return jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, -2).reshape(*leaf.shape[1:-1], -1)[..., :count], found)


def _expanded(law: AbstractFourierModel, quotes: Options, pricer: Saddle, convention: Convention) -> Greeks:
    """From an expansion of the model's values around the quotes: the rest is calculus of a polynomial."""
    strike, expiry, forward, discount, is_call = quotes
    log_strike = -log_moneyness(forward, strike)
    nodes = pricer.sized().num_nodes or 128
    local = expansion(law, tuple(law.bounds), log_strike, expiry, nodes, convention.order)
    above = strike >= forward
    known = (local.error <= pricer.tolerance(strike.dtype)) & in_domain(law)
    vol = jnp.where(in_domain(law), local.logs.vol(log_strike, expiry), jnp.nan)

    def found_by(rule: Array) -> Greeks:
        def value(shift: Array, moves: Array) -> Array:
            f, later = forward + shift, moves[-1]
            d = discount * jnp.exp(jnp.log(discount) / expiry * later)
            if convention.smile == "strike":  # the volatility moves with the parameters only
                value = local.near(rule, jnp.zeros_like(strike), moves.at[-1].set(0.0))
                kept = implied_vol(value, strike / forward, expiry, forward=1.0, is_call=above)
                worth = black_price(kept, strike, expiry + later, forward=f, discount=d, is_call=is_call)
            else:
                # ln(1 + x) of the move alone: nothing of the strike is lost
                out = f * local.near(rule, -jnp.log1p(shift / forward), moves)
                other_side = jnp.where(is_call, f - strike, strike - f)
                worth = d * jnp.where(is_call == above, out, out + other_side)
            return jnp.where(known, worth, jnp.nan) / convention.unit(f)

        return greeks_from(value, vol, law, quotes, convention)

    # both rules in one: the calculus is compiled once
    both = jax.vmap(found_by)(jnp.arange(2))
    found, other = (jax.tree.map(lambda leaf: leaf[i], both) for i in range(2))  # noqa: B023
    return agreed(found, other, law, quotes, convention)


def _priced(law: AbstractModel, quotes: Options, pricer: AbstractPricer | None, convention: Convention) -> Greeks:
    """From the prices of a smile model, or of a method other than `Saddle`."""
    strike, expiry, forward, discount, is_call = quotes
    names = tuple(law.bounds)
    parameters = natural_vector(law, names)

    def value(shift: Array, moves: Array) -> Array:
        moved, f, later = with_natural(law, names, parameters + moves[:-1]), forward + shift, moves[-1]
        t, d = expiry + later, discount * jnp.exp(jnp.log(discount) / expiry * later)
        if convention.smile == "strike":
            kept = model_vol(moved, strike, expiry, forward=forward, pricer=pricer)
            worth = black_price(kept, strike, t, forward=f, discount=d, is_call=is_call)
        elif convention.smile == "moneyness":
            grown = f / forward
            options = {"forward": forward, "discount": d, "is_call": is_call, "pricer": pricer}
            worth = grown * price(moved, strike / grown, t, **options)
        else:
            worth = price(moved, strike, t, forward=f, discount=d, is_call=is_call, pricer=pricer)
        return worth / convention.unit(f)

    vol = model_vol(law, strike, expiry, forward=forward, pricer=pricer)
    return greeks_from(value, vol, law, quotes, convention)
