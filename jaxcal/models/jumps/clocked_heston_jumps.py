"""Several Heston factors and several kinds of normal jumps on one clock: levels, shapes and jumps, each by its part."""

import operator
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Complex, Float

from jaxcal._types import BoolLike, float_dtype
from jaxcal.models.analytic.buckets import (
    bucket_violations,
    check_buckets,
    clock_at,
    numbers,
    years_in_buckets,
    years_on_clock,
)
from jaxcal.models.analytic.critical_moments import CriticalMoments
from jaxcal.models.analytic.given_jumps import WithNormal
from jaxcal.models.base import AbstractFourierModel, JumpKinds, LogCFBasis, PartOrder
from jaxcal.models.complex_math import Cartesian, real
from jaxcal.models.diffusions.clocked_double_heston import ClockedDoubleHeston
from jaxcal.models.diffusions.double_heston import DoubleHeston, double_heston_factors
from jaxcal.models.diffusions.heston import (
    Heston,
    heston_basis,
    heston_log_cf,
    heston_mix,
    heston_moments,
    heston_slope_in_t,
    heston_terms,
    heston_violations,
)
from jaxcal.models.interval import Interval
from jaxcal.models.jumps.bates import Bates
from jaxcal.models.jumps.merton import (
    normal_jump_cone,
    normal_jump_kinds,
    normal_jump_mix,
    normal_jump_revival,
    normal_jump_rows,
    normal_jump_variance,
    normal_jumps,
)
from jaxcal.models.jumps.odd_parts import odd_jumps, odd_reversion

FACTOR = tuple(Heston.bounds)
JUMP = ("jump_intensity", "jump_mean", "jump_std")


class ClockedHestonJumps(AbstractFourierModel):
    """m independent `Heston` factors and j kinds of normal jumps of the log price, all in the time of one clock.

    The log price at t is the sum of its parts at clock(t). n `knots` make n + 1 intervals, the last without end: in the
    first the clock runs as time does, after each knot at the `pace` that belongs to it. Each part is a martingale and a
    change of clock keeps it one, so there is no arbitrage whatever the numbers.

    With m = 1 and j = 0 it is `Heston` on a clock, with 2 and 0 `ClockedDoubleHeston`, with 1 and 1 `Bates` on a clock.
    Which factor, or kind of jumps, comes first does not matter to a price; a fit of the class gives the slowest factor
    and the rarest jumps first.

    Args:
        v0: `[m]` variances today, per year of the clock; their sum is that of the returns, jumps not counted.
        kappa: `[m]` speeds of mean reversion, per year of the clock.
        theta: `[m]` long-run variances, per year of the clock.
        sigma: `[m]` volatilities of variance, per year of the clock.
        rho: `[m]` correlations of each variance with its own part of the returns, in (-1, 1).
        jump_intensity: `[j]` expected numbers of jumps a year of the clock; j may be 0.
        jump_mean: `[j]` means of a jump of the log price.
        jump_std: `[j]` standard deviations of a jump of the log price.
        pace: `[n]` years of the clock in a year after each knot, positive.
        knots: `[n]` times in years, positive and increasing, at which the pace changes. Not a parameter.

    Raises:
        ValueError: on construction with numbers outside the domain, as every model; without a factor; with fields of
            one kind of part that are not of one length.

    References:
        The sum of factors: P. Christoffersen, S. Heston, K. Jacobs, Management Science 55 (2009) 1914-1932; of factors
        and jumps: D. Duffie, J. Pan, K. Singleton, Econometrica 68 (2000) 1343-1376, section 4. That a change of time
        keeps a martingale one: P. Carr, L. Wu, Journal of Financial Economics 71 (2004) 113-141, section 2.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> import jaxcal as jc
        >>> still = jc.DoubleHeston(0.02, 6.0, 0.02, 0.6, -0.8, 0.02, 0.5, 0.03, 0.3, -0.4)
        >>> two = jc.ClockedHestonJumps.of(still, knots=[0.25], pace=[2.0])
        >>> round(float(jc.price(two, 100.0, 1.0, forward=100.0)), 9)
        10.274883674
        >>> import equinox as eqx
        >>> jumps = [jnp.asarray([x]) for x in (0.3, -0.25, 0.3)]
        >>> model = eqx.tree_at(lambda m: (m.jump_intensity, m.jump_mean, m.jump_std), two, jumps)
        >>> round(float(jc.price(model, 100.0, 1.0, forward=100.0)), 6)
        13.981565
    """

    v0: Float[Array, "..."] = eqx.field(converter=numbers)
    kappa: Float[Array, "..."] = eqx.field(converter=numbers)
    theta: Float[Array, "..."] = eqx.field(converter=numbers)
    sigma: Float[Array, "..."] = eqx.field(converter=numbers)
    rho: Float[Array, "..."] = eqx.field(converter=numbers)
    jump_intensity: Float[Array, "..."] = eqx.field(converter=numbers)
    jump_mean: Float[Array, "..."] = eqx.field(converter=numbers)
    jump_std: Float[Array, "..."] = eqx.field(converter=numbers)
    pace: Float[Array, "..."] = eqx.field(converter=numbers)
    knots: Float[Array, "..."] = eqx.field(converter=numbers)

    # wide: the clock makes up for variances that grow, and a fast factor may live for a day
    bounds: ClassVar[Mapping[str, Interval]] = {
        "v0": Interval(1e-6, 25.0, "log"),
        "kappa": Interval(0.01, 3000.0, "log"),
        "theta": Interval(1e-6, 25.0, "log"),
        "sigma": Interval(1e-3, 1000.0, "log"),
        "rho": Interval(-0.999, 0.999, "linear"),
        "jump_intensity": Interval(1e-4, 5000.0, "log"),
        "jump_mean": Interval(-1.0, 1.0, "linear"),
        "jump_std": Interval(1e-3, 1.0, "log"),
        "pace": Interval(1e-3, 1e3, "log"),
    }
    vectors: ClassVar[frozenset[str]] = frozenset({*FACTOR, *JUMP, "pace", "knots"})

    def __check_init__(self) -> None:
        given = (float, int, np.ndarray, Array)  # JAX puts other things into a tree on the way
        for names, what in ((FACTOR, "factor"), (JUMP, "kind of jumps"), (("pace", "knots"), "knot")):
            fields = {name: getattr(self, name) for name in names}
            if not all(isinstance(value, given) for value in fields.values()):
                return
            shapes = {name: np.shape(value) for name, value in fields.items()}
            text = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
            if len(set(shapes.values())) > 1 or not shapes[names[0]]:
                raise ValueError(
                    f"ClockedHestonJumps: {', '.join(names)} are vectors with one number for each {what}: their "
                    f"shapes must be the same, not {text}"
                )
        if not np.shape(self.v0)[-1]:
            raise ValueError("ClockedHestonJumps: there must be one factor or more: v0 is empty")
        if np.ndim(self.v0) == 1:
            check_buckets(self, ())

    @classmethod
    def of(
        cls,
        model: "Heston | DoubleHeston | ClockedDoubleHeston | Bates | ClockedHestonJumps",
        knots: Sequence[float] | ArrayLike | None = None,
        pace: Sequence[float] | ArrayLike | None = None,
        *,
        factors: int | None = None,
        jumps: int | None = None,
    ) -> "ClockedHestonJumps":
        """`model` as one of this class: the same law where nothing else is asked for.

        Args:
            model: which has parts that this class has.
            knots: of the clock; those of `model` by default. With others a clock that `model` has is carried over: it
                shows the same time at the new knots, but for the length of its year, since every clock runs like the
                calendar up to the first knot; parameters are counted by the new year.
            pace: after each of the `knots`; by default that of the clock of `model`, or of time.
            factors, jumps: how many; by default those of `model`. What is added is a start for a calibration and not
                nothing: factors ever faster, of a fifth of the variance that there is; jumps rare and large, then
                frequent and small.

        Raises:
            ValueError: another kind of model; a pace without knots; no knots for a clock that `model` has; fewer parts
                than `model` has.
            TypeError: a number of parts that is none.

        Example:
            >>> import jaxcal as jc
            >>> model = jc.ClockedHestonJumps.of(jc.Heston(0.04, 2.0, 0.05, 0.6, -0.7), [0.25, 1.0], factors=3, jumps=1)
            >>> model.kappa.shape, model.jump_intensity.shape, model.pace.tolist()
            ((3,), (1,), [1.0, 1.0])
        """
        if isinstance(model, type):
            raise TypeError(f"ClockedHestonJumps.of takes a model with its numbers, not the class {model.__name__}")
        parts, kinds = _parts_of(model)
        for name, wanted in (("factors", factors), ("jumps", jumps)):
            if wanted is not None and (isinstance(wanted, bool) or not isinstance(wanted, int | np.integer)):
                raise TypeError(f"ClockedHestonJumps.of: {name} is a number of parts, not {wanted!r}")
        if pace is not None and knots is None:
            raise ValueError("ClockedHestonJumps.of: there is a pace without knots: give the knots that it belongs to")
        for name, wanted, there in (("factors", factors, parts[0]), ("jumps", jumps, kinds[0])):
            if wanted is not None and wanted < len(there):
                raise ValueError(
                    f"ClockedHestonJumps.of: {name} is {wanted}, and {type(model).__name__} has {len(there)}: "
                    f"ask for {len(there)} or more, or start from a smaller model"
                )
        variance = jnp.sum(parts[0])
        level = jnp.sqrt(variance)
        parts = _with_more(parts, _MORE_FACTORS, factors, [variance, 1.0, variance, level, 1.0])
        kinds = _with_more(kinds, _MORE_JUMPS, jumps, [1.0, level, level])
        before = getattr(model, "knots", jnp.zeros(0)), getattr(model, "pace", jnp.zeros(0))
        if knots is None:
            return cls(*parts, *kinds, pace=before[1], knots=before[0])
        at = jnp.atleast_1d(numbers(knots))
        if not at.size and jnp.size(before[0]):
            raise ValueError(
                f"ClockedHestonJumps.of: knots is empty, and the model has a clock of {jnp.size(before[0])}: leave "
                "knots out to keep it, or name those to carry it over to"
            )
        if pace is not None:
            return cls(*parts, *kinds, pace=numbers(pace), knots=at)
        unit, pace = clock_at(*before, at)
        units = (unit, unit, unit, unit, 1.0), (unit, 1.0, 1.0)
        parts, kinds = ([x * a for x, a in zip(*each, strict=True)] for each in zip((parts, kinds), units, strict=True))
        return cls(*parts, *kinds, pace=pace, knots=at)

    def clock(self, t: ArrayLike) -> Float[Array, "..."]:
        """Years of the clock at times `t` in years from today, of any shape.

        Example:
            >>> import jaxcal as jc
            >>> model = jc.ClockedHestonJumps.of(jc.Heston(0.04, 2.0, 0.05, 0.6, -0.7), [0.25, 1.0], pace=[2.0, 0.5])
            >>> model.clock(jnp.asarray([0.1, 0.5, 3.0])).tolist()
            [0.1, 0.75, 2.75]
        """
        return self._clock(jnp.asarray(t, float_dtype(t, self.pace, self.knots)))

    def _clock(self, t: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        return years_on_clock(self.knots, self.pace, t)

    def log_cf(self, z: Complex[Array, "*shape"], t: Float[Array, "*#shape"]) -> Complex[Array, "*shape"]:
        (years,) = real(z, self._clock(t.astype(jnp.real(z).dtype)))
        moved = [heston_log_cf(*real(z, *factor), z, years) for factor in self._factors()]
        return reduce(operator.add, [*moved, *(jump.to_complex() for jump in self._jumped(Cartesian.of(z), years))])

    def _jumped(self, z: Cartesian, years: Array) -> list[Cartesian]:
        kinds = [real(z, *kind) for kind in self._kinds()]
        return [(intensity * years) * normal_jumps(mean, std, z) for intensity, mean, std in kinds]

    def _factors(self) -> list[tuple[Any, ...]]:
        return _entries(self, FACTOR)

    def _kinds(self) -> list[tuple[Any, ...]]:
        return _entries(self, JUMP)

    @property
    def basis_size(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Five functions of each factor, three of each kind of jumps, and the slope in the time of the clock."""
        return 5 * len(self._factors()) + 3 * len(self._kinds()) + 1

    def basis(self, z: Cartesian, t: Float[Array, "*#shape"]) -> LogCFBasis:
        (years,) = real(z, self._clock(t.astype(z.re.dtype)))
        log_cf, rows, slopes = [], [], []
        for factor in self._factors():
            v0, kappa, theta, sigma, rho = real(z, *factor)
            part = heston_basis((v0, kappa, theta, sigma, rho), z, years)
            log_cf.append(part.log_cf)
            rows += part.rows
            slopes.append(heston_slope_in_t(v0, kappa * theta, sigma, heston_terms(kappa, sigma, rho, z, years)))
        for kind in self._kinds():
            intensity, mean, std = real(z, *kind)
            jumps, of_jumps = normal_jump_rows(mean, std, z)
            log_cf.append((intensity * years) * jumps)
            rows += [years * row for row in of_jumps]
            slopes.append(intensity * jumps)
        return LogCFBasis(reduce(operator.add, log_cf), (*rows, reduce(operator.add, slopes)))

    def mix(self, direction: Any, t: Float[Array, "*shape"]) -> tuple[Any, ...]:
        found: list[Any] = []
        for factor, moves in zip(self._factors(), _entries(direction, FACTOR), strict=True):
            found += heston_mix(factor, moves)
        for (intensity, _, std), moves in zip(self._kinds(), _entries(direction, JUMP), strict=True):
            found += normal_jump_mix(intensity, std, moves)
        years = years_in_buckets(self.knots, t)[1:]
        pace = direction.pace.astype(t.dtype)[(..., *(None,) * t.ndim)]
        return *found, jnp.sum(pace * years, axis=0)

    def still(self, t: Float[Array, "*shape"]) -> tuple["ClockedHestonJumps", Float[Array, "*shape"]]:
        """Without knots, and each part's numbers by themselves: tuples in place of vectors."""
        apart = [
            *zip(*self._factors(), strict=True),
            *(zip(*self._kinds(), strict=True) if self._kinds() else ((),) * 3),
        ]
        nothing = jnp.zeros(0)
        return eqx.tree_at(_fields, self, [*apart, nothing, nothing]), self._clock(t)

    def moment_bounds(self, t: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
        years = self._clock(t)
        parts = [heston_moments(kappa, sigma, rho, years) for _, kappa, _, sigma, rho in self._factors()]
        for _, mean, std in self._kinds():
            parts.append(CriticalMoments.of_normal_jumps(jnp.asarray(mean), jnp.asarray(std), t))
        return reduce(CriticalMoments.within, parts)

    def decay_cone(self) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """Where every part decays."""
        turns = [jnp.arcsin(jnp.asarray(rho)) for *_, rho in self._factors()]
        cones = [(-jnp.pi / 2 - turn, jnp.pi / 2 - turn) for turn in turns]
        cones += [normal_jump_cone(jnp.asarray(mean), jnp.asarray(std)) for _, mean, std in self._kinds()]
        lower, upper = zip(*cones, strict=True)
        return reduce(jnp.maximum, lower), reduce(jnp.minimum, upper)

    def revival(self, z: Complex[Array, "*shape"], t: Float[Array, "*#shape"]) -> Float[Array, "*shape"] | None:
        if not self._kinds():
            return None
        (years,) = real(z, self._clock(t.astype(jnp.real(z).dtype)))
        kinds = [real(z, *kind) for kind in self._kinds()]
        found = [normal_jump_revival(intensity * years, mean, std, Cartesian.of(z)) for intensity, mean, std in kinds]
        return reduce(operator.add, found)

    def jump_kinds(self, t: Float[Array, "*shape"]) -> JumpKinds | None:
        if not self._kinds():
            return None
        years = self._clock(t)
        each = [
            normal_jump_kinds(jnp.asarray(intensity).astype(t.dtype) * years, mean, std)
            for intensity, mean, std in self._kinds()
        ]
        return JumpKinds(*(jnp.concatenate(part) for part in zip(*each, strict=True)))

    def given_jumps(self, count: Float[Array, "kinds q"]) -> AbstractFourierModel:
        nothing = jnp.zeros(0)
        diffusion = eqx.tree_at(lambda model: [getattr(model, name) for name in JUMP], self, [nothing] * 3)
        return WithNormal(diffusion, normal_jump_variance(count, self.jump_std))

    def odd_parts(self) -> tuple[str, ...]:
        year = "year of the clock" if np.size(self.knots) else "year"
        jumps = odd_jumps(self.jump_intensity, np.square(self.jump_mean) + np.square(self.jump_std), year)
        return jumps + odd_reversion(self.kappa, self.bounds["kappa"], year)

    def violations(self) -> Mapping[str, BoolLike]:
        rules = heston_violations(self.v0, self.kappa, self.theta, self.sigma, self.rho) | {
            "jump_intensity must not be negative": self.jump_intensity < 0,
            "jump_std must not be negative": self.jump_std < 0,
            "pace must be positive": self.pace <= 0,
        }
        return bucket_violations(rules, self.knots)

    def orders(self) -> tuple[PartOrder, ...]:
        """Factors from slow to fast, jumps from rare to frequent."""
        return PartOrder(FACTOR, self.kappa), PartOrder(JUMP, self.jump_intensity)


# Parts that `of` adds, as starts: a factor in units of the variance that there is (sigma in those of its root), and
# jumps whose size is in units of that root.
_MORE_FACTORS = (
    (0.3, 4.0, 0.3, 3.0, -0.3), (0.3, 40.0, 0.3, 6.0, 0.0), (0.2, 800.0, 0.3, 30.0, -0.3), (0.2, 200.0, 0.3, 10.0, 0.0)
)  # fmt: skip
_MORE_JUMPS = ((0.1, -1.0, 1.5), (20.0, 0.0, 0.05), (2.0, -0.1, 0.2), (400.0, 0.0, 0.03))


def _with_more(
    parts: list[Array], more: Sequence[tuple[float, ...]], size: int | None, units: list[Any]
) -> list[Array]:
    have = parts[0].shape[0]
    size = have if size is None else size
    if size > max(have, len(more)):
        raise ValueError(f"ClockedHestonJumps.of adds parts up to {len(more)} of a kind, not {size}")
    added = more[have:size]
    if not added:
        return parts
    columns = zip(parts, zip(*added, strict=True), units, strict=True)
    return [jnp.concatenate([part, jnp.asarray(column, part.dtype) * unit]) for part, column, unit in columns]


def _fields(model: ClockedHestonJumps) -> list[Any]:
    return [getattr(model, name) for name in (*FACTOR, *JUMP, "pace", "knots")]


def _entries(model: Any, names: Sequence[str]) -> list[tuple[Any, ...]]:
    """The numbers of each part, from vectors or from tuples of numbers."""
    fields = [getattr(model, name) for name in names]
    size = len(fields[0]) if isinstance(fields[0], tuple) else np.shape(fields[0])[0]
    return [tuple(field[i] for field in fields) for i in range(size)]


def _parts_of(model: Any) -> tuple[list[Array], list[Array]]:
    """The fields of the factors and of the jumps of a model."""
    if isinstance(model, ClockedHestonJumps):
        return [getattr(model, name) for name in FACTOR], [getattr(model, name) for name in JUMP]
    if isinstance(model, DoubleHeston | ClockedDoubleHeston):
        factors = double_heston_factors(model)
    elif isinstance(model, Heston | Bates):
        factors = [tuple(getattr(model, name) for name in FACTOR)]
    else:
        raise ValueError(
            f"ClockedHestonJumps.of: {type(model).__name__} has no parts that are factors and jumps: give a Heston, "
            "Bates, DoubleHeston, ClockedDoubleHeston or ClockedHestonJumps"
        )
    kinds = [tuple(getattr(model, name) for name in JUMP)] if isinstance(model, Bates) else []
    columns = [jnp.stack([jnp.asarray(x, float_dtype(x)) for x in column]) for column in zip(*factors, strict=True)]
    jumps = [jnp.asarray([kind[i] for kind in kinds], columns[0].dtype) for i in range(len(JUMP))]
    return columns, jumps
