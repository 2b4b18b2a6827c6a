"""What every model is: named parameters with bounds, and either a law of X = ln(S_T / F) or a volatility smile."""

import dataclasses
from abc import abstractmethod
from collections.abc import Mapping
from functools import reduce
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Complex, Float

from jaxcal._shown import format_repr
from jaxcal._types import BoolLike, RealLike
from jaxcal.models.complex_math import Cartesian
from jaxcal.models.interval import Interval


class AbstractModel(eqx.Module):
    """A pricing model: a frozen pytree whose fields are its parameters.

    `bounds` names, for every parameter, the interval a calibration searches and whether it searches it on a
    logarithmic or a linear scale. A field without bounds is not a parameter: it stays as it is, and a
    model without any can be priced but not fitted. `vectors` names the
    fields that may be vectors `[n]` within one model, `held` the parameters that quotes hardly determine and that a
    calibration leaves as they are unless told otherwise. `per_expiry` says that the parameters are those of one expiry:
    a calibration fits every expiry by itself, and the fields of the fitted model have shape `[E]`. Bounds are not
    enforced on construction: a model may be priced anywhere its formula holds. Where that is, `violations` says.

    Raises:
        ValueError: on construction outside `jit`, with numbers that break a rule of `violations`, or with a parameter
            that is not finite. In a batch of models members may be NaN, and what is computed of them is NaN.

    Example:
        >>> import jaxcal as jc
        >>> issubclass(jc.Heston, AbstractModel), jc.Heston.bounds["rho"].upper
        (True, 0.999)
        >>> jc.Heston(v0=-0.04, kappa=1.0, theta=0.04, sigma=0.5, rho=-0.5)
        Traceback (most recent call last):
        ValueError: Heston(v0=-0.04, kappa=1.0, theta=0.04, sigma=0.5, rho=-0.5): v0 must not be negative
    """

    bounds: ClassVar[Mapping[str, Interval]] = MappingProxyType({})  # none: a law to price, not to fit
    vectors: ClassVar[frozenset[str]] = frozenset()  # fields that may be `[n]` within one model
    held: ClassVar[frozenset[str]] = frozenset()  # parameters that a fit moves only where `free` names them
    per_expiry: ClassVar[bool] = False  # the parameters are those of one expiry: each is fitted by itself

    def violations(self) -> Mapping[str, BoolLike]:
        """The rules of the model's domain, as sentences, each with whether (or where) the parameters break it.

        Comparisons of fields by operators, so that they hold for numbers, arrays and inside `jit`. NaN breaks none.
        """
        return {}

    def odd_parts(self) -> tuple[str, ...]:
        """Parts of one model of concrete numbers about which quotes say less than the numbers seem to, in words; none
        here. A fit's summary has them.
        """
        return ()

    def orders(self) -> tuple["PartOrder", ...]:
        """Fields whose entries are interchangeable parts, and the order in which a fit of the class gives them; none
        here.
        """
        return ()

    def __repr__(self) -> str:
        """The class and its numbers."""
        return format_repr(self)

    def __check_init__(self) -> None:
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        values = {name: value for name, value in fields.items() if isinstance(value, (float, int, np.ndarray, Array))}
        if len(values) < len(fields) or any(isinstance(value, Tracer) for value in values.values()):
            return
        # members of a batch may be unknown: their prices are
        single = all(np.ndim(value) <= (name in self.vectors) for name, value in values.items())
        for rule in (*faulty_parameters(self), *broken_rules(self)) if single else broken_rules(self):
            text = ", ".join(f"{name}={np.asarray(value).tolist()}" for name, value in values.items())
            text = text if len(text) < 300 else text[:297] + "..."
            raise ValueError(f"{type(self).__name__}({text}): {rule}")


# The class of model that a caller handed over, which comes back.
Model = TypeVar("Model", bound=AbstractModel)


def broken_rules(model: AbstractModel) -> tuple[str, ...]:
    """The rules of its own that a model of concrete numbers breaks."""
    with jax.ensure_compile_time_eval():  # numbers stay numbers where a model is made inside `jit`
        return tuple(rule for rule, broken in model.violations().items() if np.any(np.asarray(broken)))


def faulty_parameters(model: AbstractModel) -> tuple[str, ...]:
    """The parameters of one model of concrete numbers that are not finite, as sentences."""
    found = []
    for name in model.bounds:
        value = np.asarray(getattr(model, name, 0.0))
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            place = "" if not value.ndim else f"[{int(np.argmin(np.isfinite(value)))}]"
            found.append(f"{name}{place} is {value.ravel()[np.argmin(np.isfinite(value))]}")
    return tuple(found)


def in_domain(model: AbstractModel) -> Bool[Array, "*batch"]:
    """Whether a model breaks no rule of its own; an array of the shape of its parameters."""
    rules = [jnp.asarray(broken) for broken in model.violations().values()]
    return ~reduce(jnp.logical_or, rules, jnp.asarray(False))


class PartOrder(NamedTuple):
    """Parts of a model that may change places: entry i of every one of these fields belongs to part i.

    Attributes:
        names: of the fields.
        key: `[m]` by which the parts are ordered, the smallest first.
    """

    names: tuple[str, ...]
    key: Float[Array, " m"]


class JumpKinds(NamedTuple):
    """Kinds of jumps of the log price, each coming as a Poisson process independently of all else.

    Attributes:
        expected: expected numbers of jumps of each kind by a time.
        log_growth: ln E[exp J] of one jump J of each kind.
    """

    expected: Float[Array, "kinds *shape"]
    log_growth: Float[Array, " kinds"]


class LogCFBasis(NamedTuple):
    """ln phi, and functions of which its derivatives in the parameters are combinations.

    Attributes:
        log_cf: ln phi at `z` and `t`.
        rows: the functions, of the same shape.
    """

    log_cf: Cartesian
    rows: tuple[Cartesian, ...]


class AbstractFourierModel(AbstractModel):
    """A model known by its characteristic function. Subclass it, give `log_cf`, and it prices and calibrates.

    X = ln(S_T / F) must be a martingale in the sense E[exp X] = 1, so that `log_cf(-1j, t) = 0`.

    The other methods are answered here for a model that says no more, each as its docstring has it: `moment_bounds`,
    `decay_cone`, `drift`, `revival`, `jump_kinds` together with `given_jumps`, and `basis` together with `mix`,
    `basis_size` and `still`. They and `violations` are what a model may define besides; nothing else is overridden, and
    no model is derived from a finished one.

    Example:
        >>> class MyBlack(AbstractFourierModel):
        ...     sigma: Float[Array, ""] | float
        ...     bounds = {"sigma": Interval(0.01, 3.0, "log")}
        ...     def log_cf(self, z, t):
        ...         return -0.5 * (self.sigma**2 * t).astype(z.dtype) * (z * z + 1j * z)
        >>> import jaxcal as jc
        >>> round(float(jc.model_vol(MyBlack(0.2), 110.0, 1.0, forward=100.0)), 9)
        0.2
    """

    basis_size: ClassVar[int] = 0  # how many functions `basis` gives

    @abstractmethod
    def log_cf(self, z: Complex[Array, "*shape"], t: Float[Array, "*#shape"]) -> Complex[Array, "*shape"]:
        """ln E[exp(i z X)] for complex `z` and time `t` in years; `t` broadcasts against `z`."""

    def moment_bounds(self, t: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
        """The open interval of real q for which E[exp(q X)] is finite at time `t` (years).

        Every martingale has (0, 1), the answer given here. A model that knows more says so by defining this method;
        far out-of-the-money prices then keep their relative accuracy, and COS can bound its range.
        """
        return jnp.zeros_like(t), jnp.ones_like(t)

    def decay_cone(self) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """The angles (lower, upper), in radians, between which |phi(r exp(i w))| decays as r grows.

        A tilted contour must stay inside. The answer given here, +-0.4, holds for every model whose log-return has a
        Gaussian part; a model that knows a wider or a narrower cone defines this method.
        """
        return jnp.asarray(-0.4), jnp.asarray(0.4)

    def revival(self, z: Complex[Array, "*shape"], t: Float[Array, "*#shape"]) -> Float[Array, "*shape"] | None:
        """By how many nats ln|phi| may at most rise above its value at `z` before it falls for good, as z runs outward.

        None, the answer given here, says that |phi| just falls, or rises slowly enough for a grid to see it. Jumps of
        nearly one size make it die and revive with a period of 2 pi / size.
        """
        return None

    def jump_kinds(self, t: Float[Array, "*shape"]) -> JumpKinds | None:
        """The jumps that may be counted, by time `t`; None, the answer given here, where there are none.

        Jumps of nearly one size let phi revive for ever, and no grid resolves it; given their numbers it just falls. So
        a model with jumps defines this method together with `given_jumps`, and `price` sums over the numbers of jumps
        where grids do not do.
        """
        return None

    def given_jumps(self, count: Float[Array, "kinds q"]) -> "AbstractFourierModel":
        """The law given the numbers of jumps of each kind, one set a row of z, moved so that E[exp X] = 1 in it."""
        raise NotImplementedError(f"{type(self).__name__} counts no jumps")

    def basis(self, z: Cartesian, t: Float[Array, "*#shape"]) -> LogCFBasis:
        """ln phi and `basis_size` functions b_k of z and t: along any direction in the parameters, the derivative of
        ln phi is the sum of c_k b_k, with the c_k of `mix`.

        A fit then integrates phi and each phi b_k, and applies the chain rule to what is left: a number for each quote.
        Without a basis, which is the answer here, it integrates the derivative along each of its parameters.
        """
        raise NotImplementedError(f"{type(self).__name__} has no basis")

    def mix(self, direction: Any, t: Float[Array, "*shape"]) -> tuple[Any, ...]:
        """The c_k of `basis` along a direction, whose fields are the changes of those of the model: numbers, or of the
        shape of `t`.
        """
        raise NotImplementedError(f"{type(self).__name__} has no basis")

    def still(self, t: Float[Array, "*shape"]) -> tuple["AbstractFourierModel", Float[Array, "*shape"]]:
        """A model without vectors, and its time at which `basis` is that of this model at `t`: what runs as one kernel.

        Itself at `t`, the answer given here, for models of numbers; one with a clock of its own gives the model that
        is on it, and the time of the clock.
        """
        return self, t

    def drift(self, t: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """The ln(S_T / F) at which the density has its kink or peak, and contours change the side they tilt to.

        Zero, the answer given here, serves every model with a Gaussian part. A pure jump process of finite variation
        moves by its drift alone in most short times: phi(z) behaves there as exp(i z drift), and only strikes on
        one side of that point may use a contour tilted up.
        """
        return jnp.zeros_like(t)


class AbstractVolModel(AbstractModel):
    """A smile model: Black volatilities in closed form, no characteristic function. Subclass it and give `vol`.

    Example:
        >>> class Flat(AbstractVolModel):
        ...     sigma: Float[Array, ""] | float
        ...     bounds = {"sigma": Interval(0.01, 3.0, "log")}
        ...     def vol(self, strike, expiry, forward):
        ...         return self.sigma + 0.0 * strike
        >>> import jaxcal as jc
        >>> round(float(jc.price(Flat(0.2), 100.0, 1.0, forward=100.0)), 6)
        7.965567
    """

    @abstractmethod
    def vol(self, strike: RealLike, expiry: RealLike, forward: RealLike) -> Float[Array, "..."]:
        """Black volatilities, decimal; arguments broadcast, strike and forward in one unit, expiry in years."""

    def slices(self, expiry: Float[Array, "*shape"]) -> Any:
        """The smiles at these expiries: an object whose arrays have the shape of `expiry`, with a `vol` of its own.

        A model of a whole surface whose smiles know few numbers each defines this method: a fit then takes derivatives
        along those numbers, and applies the chain rule to them once an expiry. None, the answer given here, says that
        there are no such numbers.
        """
        return None
