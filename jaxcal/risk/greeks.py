"""Greeks: prices and their derivatives, from a price as a function of its inputs."""

# pyright: reportReturnType=false
import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, Generic, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxcal._shown import format_repr
from jaxcal.formulas.black import black_vega
from jaxcal.models.base import AbstractModel, Model
from jaxcal.models.parameters import by_field, natural_vector, shaped, with_fields
from jaxcal.pricing.pricer import total_vol_of

Smile = Literal["model", "moneyness", "strike"]

_AGREED = 1e-7  # of a Greek times the natural moves of what it is taken in, over that of the forward; or 500 roundings


class Greeks(eqx.Module, Generic[Model]):
    """Prices of options and their derivatives, each of the shape of the quotes (with a leading axis for many models).

    Fields by parameter are models of the class priced, whose leaves have the shape of the quotes: `vega.v0` of Heston
    is the derivative in v0. A parameter that is a vector has its own axis before those of the quotes; a field that is
    no parameter is NaN. Fields beyond the `order` asked for are None. V is the price in the unit of its settlement, F
    the forward, T the time to expiry, x any parameter.

    Attributes:
        price: V.
        vol: the model's Black implied volatility, decimal; NaN where it is not known, as in `model_vol`.
        black_vega: dV / d`vol` by Black's formula, per unit of volatility.
        delta: dV/dF.
        vega: dV/dx by parameter.
        theta: -dV/dT per year, at constant forward and interest rate. Divide by 365 for a day.
        rho: dV/dr = -T V, r the continuously compounded rate of the discount factor, at constant forward.
        gamma: d2V/dF2.
        vanna: d2V/dF dx by parameter.
        volga: d2V/dx2 by parameter.
        charm: -d2V/dF dT per year.
        veta: -d2V/dx dT by parameter, per year.
        speed: d3V/dF3.
        zomma: d3V/dF2 dx by parameter.
        color: -d3V/dF2 dT per year.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> import jaxcal as jc
        >>> found = jc.greeks(jc.BlackScholes(0.2), 100.0, 1.0, forward=100.0, order=1)
        >>> isinstance(found, jc.Greeks), found.gamma is None
        (True, True)
    """

    price: Float[Array, "..."]
    vol: Float[Array, "..."]
    black_vega: Float[Array, "..."]
    delta: Float[Array, "..."]
    vega: Model
    theta: Float[Array, "..."]
    rho: Float[Array, "..."]
    gamma: Float[Array, "..."] | None = None
    vanna: Model | None = None
    volga: Model | None = None
    charm: Float[Array, "..."] | None = None
    veta: Model | None = None
    speed: Float[Array, "..."] | None = None
    zomma: Model | None = None
    color: Float[Array, "..."] | None = None

    def __repr__(self) -> str:
        """The derivatives there are, with their numbers."""
        return format_repr(self)


class Options(NamedTuple):
    """European options side by side, in the units of `price`."""

    strike: Float[Array, " q"]
    expiry: Float[Array, " q"]
    forward: Float[Array, " q"]
    discount: Float[Array, " q"]
    is_call: Bool[Array, " q"]


class Convention(NamedTuple):
    """The arguments of `greeks`. All are static: a traced flag would keep both branches in the program, and the second
    derivatives of Black's formula, which few calls need, are half of it.
    """

    order: int
    coin: bool
    smile: Smile

    def unit(self, forward: Array) -> Array:
        """What a price in the unit of the forward is divided by."""
        return forward if self.coin else jnp.ones_like(forward)


def greeks_from(
    value: Callable[[Array, Array], Array], vol: Array, law: AbstractModel, quotes: Options, convention: Convention
) -> Greeks:
    """All derivatives of `value` with respect to the forwards, the parameters and, last, time: in forward mode, since
    each is one direction for all quotes.
    """
    order, names = convention.order, tuple(law.bounds)
    count = natural_vector(law, names).size
    zero, still = jnp.zeros((), vol.dtype), jnp.zeros(count + 1, vol.dtype)
    basis = jnp.eye(still.size, dtype=still.dtype)

    def along_forward(moves: Array, times: int) -> tuple[Array, ...]:
        """The value and its first derivatives in the forward."""

        def raised(fn: Callable[[Array], tuple[Array, ...]]) -> Callable[[Array], tuple[Array, ...]]:
            def up(shift: Array) -> tuple[Array, ...]:
                values, slopes = jax.jvp(fn, (shift,), (jnp.ones_like(shift),))
                return (*values, slopes[-1])

            return up

        fn: Callable[[Array], tuple[Array, ...]] = lambda shift: (value(shift, moves),)  # noqa: E731
        for _ in range(times):
            fn = raised(fn)
        return fn(zero)

    def slope(fn: Callable[[Array], Any], direction: Array) -> Callable[[Array], Any]:
        return lambda moves: jax.jvp(fn, (moves,), (direction,))[1]

    def by_parameter(rows: Array) -> AbstractModel:
        """A model from rows, one a parameter."""
        return shaped(law, names, by_field(law, names, rows), others=jnp.full_like(vol, jnp.nan))

    first = jax.vmap(lambda v: slope(partial(along_forward, times=order - 1), v)(still))(basis)
    along = along_forward(still, order)
    found = Greeks(
        price=along[0],
        vol=vol,
        black_vega=vega_of_black(vol, quotes, convention),
        delta=along[1],
        vega=by_parameter(first[0][:-1]),
        theta=-first[0][-1],
        rho=-quotes.expiry * along[0],
    )
    more: dict[str, Any] = {}
    if order >= 2:
        # twice along each parameter, and once along it and once along time
        ends = jnp.stack([basis[:-1], jnp.broadcast_to(basis[-1:], (count, still.size))])
        both = jax.vmap(lambda v, w: slope(slope(partial(value, zero), v), w)(still))
        twice, timed = (both(basis[:-1], end) for end in ends)
        more |= {"gamma": along[2], "vanna": by_parameter(first[1][:-1]), "charm": -first[1][-1]}
        more |= {"volga": by_parameter(twice), "veta": by_parameter(-timed)}
    if order == 3:
        more |= {"speed": along[3], "zomma": by_parameter(first[2][:-1]), "color": -first[2][-1]}
    found = dataclasses.replace(found, **more)
    # the derivative of a price that is NaN would be 0
    return where_known(~jnp.isnan(along[0]), found)


def where_known(known: Bool[Array, " q"], found: Greeks) -> Greeks:
    """NaN in every field of options that are not known."""

    def one(leaf: Array) -> Array:
        return jnp.where(known.reshape((1,) * (leaf.ndim - 1) + (-1,)), leaf, jnp.nan)

    return jax.tree.map(one, found)


def vega_of_black(vol: Array, quotes: Options, convention: Convention) -> Array:
    """Black's vega at `vol`, per unit of volatility; NaN where that is not known."""
    alive = ~jnp.isnan(vol)
    vega = black_vega(
        jnp.where(alive, vol, 1.0), quotes.strike, quotes.expiry, forward=quotes.forward, discount=quotes.discount
    )
    return jnp.where(alive, vega / convention.unit(quotes.forward), jnp.nan)


def agreed(found: Greeks, other: Greeks, law: Any, quotes: Options, convention: Convention) -> Greeks:
    """NaN where two grids differ, in terms of what a move of one standard deviation of the forward, of a parameter by
    its own size, or of the time to expiry makes of the price.
    """
    deviation = jnp.clip(total_vol_of(law, quotes.expiry), 1e-3, 1.0)
    move = quotes.forward * deviation
    agreement = max(_AGREED, 500.0 * float(jnp.finfo(move.dtype).eps))
    unit = agreement * move * quotes.discount / convention.unit(quotes.forward)

    def known(a: Array, b: Array, moves: Array) -> Array:
        return jnp.where(jnp.abs(a - b) * moves <= unit.reshape((1,) * (a.ndim - 1) + (-1,)), a, jnp.nan)

    def by_parameter(a: Any, b: Any, moves: Array, power: int = 1) -> Any:
        def one(name: str) -> Array:
            size = jnp.maximum(jnp.abs(getattr(law, name)), 0.1)
            size = size.reshape(*size.shape, 1) ** power
            return known(getattr(a, name), getattr(b, name), moves.reshape((1,) * (size.ndim - 1) + (-1,)) * size)

        return with_fields(a, {name: one(name) for name in law.bounds})

    by_forward = {"delta": 1, "gamma": 2, "speed": 3}
    by_time = {"theta": 0, "charm": 1, "color": 2}
    by_both = {"vega": 0, "vanna": 1, "zomma": 2}
    changes: dict[str, Any] = {}
    for name in (*by_forward, *by_time, *by_both, "volga", "veta"):
        a, b = getattr(found, name), getattr(other, name)
        if a is None:
            continue
        if name in by_forward:
            changes[name] = known(a, b, move ** by_forward[name])
        elif name in by_time:
            changes[name] = known(a, b, move ** by_time[name] * quotes.expiry)
        elif name in by_both:
            changes[name] = by_parameter(a, b, move ** by_both[name])
        else:
            twice = name == "volga"
            changes[name] = by_parameter(a, b, jnp.ones_like(move) if twice else quotes.expiry, 2 if twice else 1)
    return with_fields(found, changes)
