"""check_model: whether a model is a probability law of ln(S_T / F), or a smile without arbitrage."""

import cmath
import dataclasses
import operator
from collections.abc import Iterator
from functools import partial, reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float
from numpy.typing import NDArray

from jaxcal.compilation.quick_jit import QuickJit
from jaxcal.models.base import AbstractFourierModel, AbstractModel, AbstractVolModel, broken_rules, faulty_parameters
from jaxcal.models.complex_math import Cartesian
from jaxcal.models.parameters import batch_size, labels, natural_vector, with_natural
from jaxcal.models.refusal import at_ends, faults_at_ends, member_of

_YEARS = (0.02, 0.27, 1.1, 5.3)  # none of which is likely to be a knot of a model
_POINTS, _FINE = 65, 1025  # of the real axis: a quarter, and a hundredth, of a standard deviation apart
_MOST_CHECKED, _FINER = 64, 129  # points at which phi seems to jump, and points of the finer check of each
# rays near contours, along which phi must be continuous: angle and starting point
_RAYS = {"axis": (0.0, 0.0), "level": (0.0, -0.5j), "above": (0.25, -0.5j), "below": (-0.25, -0.5j)}


def check_model(model: AbstractModel, *, forward: float = 100.0) -> tuple[str, ...]:
    """What keeps `model` from being a law of ln(S_T / F), or a smile, one sentence each; an empty tuple where nothing
    is wrong.

    Of a model by its characteristic function phi at several times and points: phi(0) = 1 (probabilities add up),
    phi(-i) = 1 (the forward is a martingale), phi(-conj z) = conj phi(z) (the law is real), |phi| <= 1 and matrices
    phi(u_i - u_j) without negative eigenvalues (probabilities are positive), phi continuous (no branch of a logarithm
    or root changes), a mean that is finite and not positive, results of the shape and dtype of z, derivatives in
    parameters, z and time that agree with finite differences, and a `basis` whose combinations are these derivatives.
    Of a smile: volatilities that are positive and finite, no butterfly with a negative price (Durrleman's condition),
    total variance that does not fall with time, and derivatives likewise. Of both: parameters that are finite and break
    no rule of the model's own, and bounds that are intervals.

    It costs some seconds of compiling, at 64 bits if they are on: at 32 the tolerances are wide. No numerical check
    proves a law; these find a compensator that is missing, a sign, a branch, a wrong derivative.

    Args:
        model: one model, with concrete parameters. Of a batch the members are checked in turn, and a sentence
            names the one that it is about.
        forward: at which a smile is checked, for models whose volatilities depend on its unit.

    Raises:
        TypeError: not a model, or a model inside `jit`.

    References:
        S. Bochner's theorem for the eigenvalues; V. Durrleman, "From implied to spot volatilities" (2004), and J.
        Gatheral, A. Jacquier, Quantitative Finance 14 (2014) 59-71, definition 2.1, for smiles.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> import jaxcal as jc
        >>> class Drifting(jc.AbstractFourierModel):
        ...     sigma: float
        ...     bounds = {"sigma": jc.Interval(0.01, 3.0, "log")}
        ...     def log_cf(self, z, t):
        ...         return -0.5 * jnp.asarray(self.sigma**2 * t).astype(z.dtype) * z * z
        >>> for sentence in jc.check_model(Drifting(0.2)):
        ...     print(sentence)
        log_cf(-1j, t) is 0.0004 at t = 0.02, not 0: ...
        >>> jc.check_model(jc.BlackScholes(0.2))
        ()
    """
    if not isinstance(model, AbstractFourierModel | AbstractVolModel):
        raise TypeError(f"check_model takes an instance of a model with log_cf or vol, not {model!r:.100}")
    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(model)):
        raise TypeError("check_model looks at numbers and cannot be inside jit, vmap or grad: call it outside")
    found = [*_of_bounds(model)]
    members = _members(model)
    for place, member in members:
        where = "" if len(members) == 1 else f"member {place}: "
        found += [where + sentence for sentence in (*faulty_parameters(member), *broken_rules(member))]
    if found:
        return tuple(found[:20])
    for place, member in members:
        where = "" if len(members) == 1 else f"member {place}: "
        sentences = _of_law(member) if isinstance(member, AbstractFourierModel) else _of_smile(member, forward)
        with np.errstate(all="ignore"):  # what is no law may overflow
            found += [where + sentence for sentence in sentences]
        if found:
            break
    return tuple(found)


def _members(model: Any) -> list[tuple[int, Any]]:
    size = batch_size(model)
    if size is None:
        return [(0, model)]
    return [(i, member_of(model, i)) for i in range(size)]


def _of_bounds(model: AbstractModel) -> Iterator[str]:
    fields = {field.name for field in dataclasses.fields(model)}
    for name, interval in model.bounds.items():
        if name not in fields:
            yield f"bounds name {name!r}, which is no field of {type(model).__name__}: name its fields"
        elif not (np.isfinite(interval.upper - interval.lower) and interval.lower < interval.upper):
            yield f"bounds of {name} are ({interval.lower}, {interval.upper}): they must be finite with lower < upper"
        elif interval.scale == "log" and interval.lower <= 0:
            yield f"bounds of {name} begin at {interval.lower}: on a log scale they must be positive"


def _widen(model: Any) -> tuple[Any, np.dtype]:
    """The model in the widest dtype that is enabled, and that dtype."""
    dtype = np.dtype(np.float64 if jax.config.read("jax_enable_x64") else np.float32)
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), model), dtype


def _of_law(model: Any) -> Iterator[str]:
    model, dtype = _widen(model)
    if shapes := [*_of_shapes(model)]:
        yield from shapes
        return
    years = jnp.asarray(_YEARS, dtype)
    if ends := [*faults_at_ends(np.asarray(at_ends(model, years)), _YEARS)]:
        yield from ends
        return
    found = {name: np.asarray(x) for name, x in _looked_at(model, years).items()}
    yield from _of_probabilities(model, found)
    yield from _of_derivatives(model, found)
    if model.basis_size:
        yield from _of_basis(model, found)


def _of_shapes(model: Any) -> Iterator[str]:
    for real in (np.dtype(np.float32), np.dtype(jnp.result_type(float))):
        kind = np.result_type(real, np.complex64)
        same = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, real), model)  # noqa: B023
        for shape, years in (((3,), (3,)), ((2, 3), (2, 1))):
            z, t = jax.ShapeDtypeStruct(shape, kind), jax.ShapeDtypeStruct(years, real)
            found = jax.eval_shape(lambda m, z, t: m.log_cf(z, t), same, z, t)
            if found.shape != shape:
                yield f"log_cf of z {shape} and t {years} has shape {found.shape}: it must be that of z"
                return
            if found.dtype != kind:
                yield f"log_cf of {kind} is {found.dtype}: it must be that of z, so convert parameters and t to z.dtype"
                return
    if model.basis_size:
        real = np.dtype(jnp.result_type(float))
        z, t = jax.ShapeDtypeStruct((2, 3), np.result_type(real, np.complex64)), jax.ShapeDtypeStruct((2, 1), real)
        rows, factors = jax.eval_shape(lambda m, z, t: (m.basis(Cartesian.of(z), t).rows, m.mix(m, t)), model, z, t)
        if not len(rows) == len(factors) == model.basis_size:
            yield (
                f"basis gives {len(rows)} functions and mix {len(factors)} factors, basis_size says "
                f"{model.basis_size}: the three must agree"
            )
        elif not all(isinstance(row, Cartesian) for row in rows):
            yield "basis gives functions that are not Cartesian: make them of z by its own operators"
        elif shapes := [f.shape for f in factors if np.broadcast_shapes(f.shape, (2, 1)) != (2, 1)]:
            yield f"mix gives a factor of shape {shapes[0]} for t (2, 1): it must be a number, or of the shape of t"


@partial(QuickJit, task="check of the law")
def _looked_at(model: Any, t: Float[Array, " t"]) -> dict[str, Array]:
    """All numbers that the checks below need, with times as the first axis. The formula is in the program as few times
    as possible.
    """
    kind = np.result_type(t.dtype, np.complex64)
    size = jnp.sqrt(jnp.maximum(-8.0 * jnp.real(model.log_cf(jnp.full(t.shape, -0.5j, kind), t)), 0.0))
    size = jnp.where(jnp.isfinite(size) & (size > 0), size, 0.1)[:, None]
    years, h = t[:, None], float(jnp.finfo(t.dtype).eps) ** (1 / 3)
    u = jnp.arange(_POINTS, dtype=t.dtype)[None, :] / (4.0 * size)
    mirrored = u[:, 1:9].astype(kind) - 0.25j
    radius = jnp.linspace(0.0, 16.0, _FINE, dtype=t.dtype)[None, 1:] / size
    lower, upper = model.moment_bounds(t)
    share = jnp.broadcast_to(jnp.asarray([0.05, 0.5, 0.95], t.dtype), (t.size, 3))
    down, up = jnp.maximum(lower, -10.0)[:, None] * share, 1.0 + jnp.minimum(upper - 1.0, 10.0)[:, None] * share
    moments = jnp.concatenate([down, share, up], axis=-1)
    middle = (jnp.asarray([0.3, 1.0, 2.0], t.dtype)[None, :] / size).astype(kind) - 0.5j
    small, apart = 1e-2 / size, (h / size).astype(kind)
    places = {"real": u.astype(kind), "right": mirrored, "left": -jnp.conj(mirrored)}
    places |= {"at moments": -1j * moments.astype(kind), "small": small.astype(kind)}
    places |= {"middle": middle, "after": middle + apart, "before": middle - apart}
    places |= {name: radius.astype(kind) * cmath.exp(1j * turn) + begin for name, (turn, begin) in _RAYS.items()}
    ends = np.cumsum([z.shape[1] for z in places.values()]).tolist()
    z = jnp.concatenate(list(places.values()), axis=1)
    value, slope = jax.jvp(lambda z: model.log_cf(z, years), (z,), (jnp.ones_like(z),))
    values, slopes = (dict(zip(places, jnp.split(x, ends[:-1], axis=1), strict=True)) for x in (value, slope))

    found = {name: values[name] for name in ("real", "right", "left", *_RAYS)}
    found |= {"u": u, "radius": radius, "moments": moments, "lower": lower, "upper": upper}
    found |= {"at moments": jnp.real(values["at moments"]), "mean": (jnp.imag(values["small"]) / small)[:, 0]}
    for name, (turn, _) in _RAYS.items():
        step = radius[:, :1].astype(kind) * cmath.exp(1j * turn)
        along = 0.5 * step * (slopes[name][:, 1:] + slopes[name][:, :-1])
        found[f"{name} jump"] = jnp.diff(values[name], axis=-1) - along
    # derivatives against finite differences, where phi is neither 1 nor 0: in z, and in parameters and ln t together
    found["value"] = values["middle"]
    found["in z"] = slopes["middle"] / size.astype(kind)
    found["z apart"] = (values["after"] - values["before"]) / (2.0 * h)
    vector = natural_vector(model, tuple(model.bounds))
    sizes = jnp.concatenate([jnp.maximum(jnp.abs(vector), 1e-2), jnp.ones(1, t.dtype)])

    def moved(x: Array) -> Array:
        return with_natural(model, tuple(model.bounds), vector + x[:-1]).log_cf(middle, years * jnp.exp(x[-1]))

    directions = jnp.diag(sizes)
    still = jnp.zeros_like(sizes)
    found["derivatives"] = jax.lax.map(lambda d: jax.jvp(moved, (still,), (d,))[1], directions)
    if model.basis_size:
        found |= _by_basis(model, Cartesian.of(middle), years, directions[:-1, :-1])
    there = jax.lax.map(moved, jnp.concatenate([h * directions, -h * directions]))
    found["differences"] = (there[: sizes.size] - there[sizes.size :]) / (2.0 * h)
    return found


def _by_basis(model: Any, z: Cartesian, years: Array, directions: Array) -> dict[str, Array]:
    """ln phi of the basis, of that which kernels use, and its combinations along directions in the parameters."""
    names, vector = tuple(model.bounds), natural_vector(model, tuple(model.bounds))
    basis = model.basis(z, years)
    law, clock = model.still(years)

    def along(d: Array) -> Array:
        _, direction = jax.jvp(lambda x: with_natural(model, names, x), (vector,), (d,))
        pairs = zip(model.mix(direction, years), basis.rows, strict=True)
        return reduce(operator.add, (factor * row for factor, row in pairs)).to_complex()

    own, still = (jnp.stack([x.to_complex() for x in (b.log_cf, *b.rows)]) for b in (basis, law.basis(z, clock)))
    return {"basis": own, "still": still, "by basis": jax.lax.map(along, directions)}


def _of_probabilities(model: Any, found: dict[str, NDArray]) -> Iterator[str]:
    eps = float(np.finfo(found["u"].dtype).eps)
    little, coarse = np.sqrt(eps), 10.0 * eps ** (1 / 3)

    def first(wrong: NDArray) -> tuple[int, int] | None:
        places = np.argwhere(wrong)
        return (int(places[0][0]), int(places[0][1])) if len(places) else None

    if at := first(np.isnan(found["real"])):
        yield f"log_cf({found['u'][at]:.4g}, t) is NaN at t = {_YEARS[at[0]]:g}"
        return
    if at := first(np.real(found["real"]) > little):
        size = np.exp(min(found["real"][at].real, 700.0))
        yield f"|phi({found['u'][at]:.4g})| is {size:.4g} at t = {_YEARS[at[0]]:g}: no law has more than 1 there"
    gap = np.abs(np.exp(found["right"]) - np.conj(np.exp(found["left"])))
    if at := first(~(gap <= little)):
        yield f"phi(-conj z) is not conj phi(z) at t = {_YEARS[at[0]]:g}: the law is not that of a real number"
    for i, t in enumerate(_YEARS):
        phi = np.exp(found["real"][i, ::2][:16])
        lag = np.arange(len(phi))[:, None] - np.arange(len(phi))[None, :]
        if not np.isfinite(phi).all():
            break
        least = np.linalg.eigvalsh(np.where(lag >= 0, phi[np.abs(lag)], np.conj(phi[np.abs(lag)]))).min()
        if not least > -10 * little:
            yield f"phi at t = {t:g} belongs to negative probabilities (an eigenvalue of phi(u_i - u_j) is {least:.2g})"
            break
    for name in _RAYS:
        jumps = np.argwhere(_jumps(found[name], found[f"{name} jump"]) > 0.3)[:_MOST_CHECKED]
        if len(jumps) and len(jumps := jumps[_persist(model, name, found["radius"], jumps)]):
            at = (int(jumps[0][0]), int(jumps[0][1]))
            yield (
                f"phi jumps near |z| = {found['radius'][at]:.4g} at t = {_YEARS[at[0]]:g}: a logarithm or a root "
                "changes its branch; write it so that its argument stays near 1, or positive"
            )
            break
    wrong = ~np.isfinite(found["mean"]) | (found["mean"] > coarse)
    if wrong.any():
        i = int(np.argmax(wrong))
        yield f"E[X] is {found['mean'][i]:.4g} at t = {_YEARS[i]:g}: as E[exp X] = 1 it must be finite and not above 0"
    if ((found["lower"] > 0) | (found["upper"] < 1)).any():
        yield "moment_bounds must contain (0, 1): every martingale has these moments"
    inside = (found["moments"] >= 0) & (found["moments"] <= 1)
    bad = np.isnan(found["at moments"]) | np.where(inside, found["at moments"] > little, found["at moments"] < -little)
    if at := first(bad):
        q, value = found["moments"][at], found["at moments"][at]
        rule = "not above 0 for q in (0, 1)" if inside[at] else "finite and not below 0 within moment_bounds"
        yield f"ln E[exp(q X)] is {value:.4g} at q = {q:.4g}, t = {_YEARS[at[0]]:g}: it must be {rule}"


def _jumps(log_phi: NDArray, jump: NDArray) -> NDArray:
    """Relative changes of phi from point to point that its slope does not explain, where phi is neither 0 nor huge."""
    here = np.isfinite(log_phi) & (np.abs(np.real(log_phi)) < 14.0)
    apart = np.where(here[:, 1:] & here[:, :-1], jump, 0.0)
    return np.abs(np.expm1(np.clip(np.real(apart), -30.0, 30.0) + 1j * np.imag(apart)))


def _persist(model: Any, name: str, radius: NDArray, places: NDArray) -> NDArray[np.bool_]:
    """Which of the jumps persist on a finer grid: rare jumps of the price change phi far faster than its standard
    deviation suggests.
    """
    turn, begin = _RAYS[name]
    padded = np.resize(places, (_MOST_CHECKED, 2))
    share = np.linspace(0.0, 1.0, _FINER)
    low, high = (radius[padded[:, 0], padded[:, 1] + i][:, None] for i in (0, 1))
    z = ((low + (high - low) * share) * cmath.exp(1j * turn) + begin).astype(np.result_type(radius, np.complex64))
    years = np.asarray(_YEARS, radius.dtype)[padded[:, 0]][:, None]
    value, slope = (np.asarray(x) for x in _followed(model, jnp.asarray(z), jnp.asarray(years)))
    jump = np.diff(value, axis=-1) - 0.5 * np.diff(z, axis=-1) * (slope[:, 1:] + slope[:, :-1])
    return np.any(_jumps(value, jump)[: len(places)] > 0.3, axis=-1)


@partial(QuickJit, task="check of the law")
def _followed(model: Any, z: Array, t: Array) -> tuple[Array, Array]:
    return jax.jvp(lambda z: model.log_cf(z, t), (z,), (jnp.ones_like(z),))


def _of_derivatives(model: Any, found: dict[str, NDArray]) -> Iterator[str]:
    tolerance = 100.0 * float(np.finfo(found["u"].dtype).eps) ** (1 / 3)
    names = (*labels(model, tuple(model.bounds)), "t")
    pairs = [("z", found["in z"], found["z apart"])]
    pairs += list(zip(names, found["derivatives"], found["differences"], strict=True))
    for name, derivative, apart in pairs:
        known = np.isfinite(apart)
        size = np.maximum(np.abs(apart), np.abs(found["value"])) + tolerance
        wrong = known & ~(np.abs(derivative - apart) <= tolerance * size)
        if wrong.any():
            yield (
                f"the derivative of log_cf in {name} is {derivative[wrong][0]:.5g} (per unit of its size), differences "
                f"say {apart[wrong][0]:.5g}: a rule of custom_jvp is wrong, or a branch of jnp.where is singular"
            )


def _of_basis(model: Any, found: dict[str, NDArray]) -> Iterator[str]:
    little = float(np.sqrt(np.finfo(found["u"].dtype).eps))

    def differs(expected: NDArray, given: NDArray) -> NDArray[np.bool_]:
        """Where what is known is not given, or not as it is."""
        return np.isfinite(expected) & ~(np.abs(given - expected) <= little * (1.0 + np.abs(expected)))

    if differs(found["value"], found["basis"][0]).any():
        yield "the log_cf of basis(z, t) is not log_cf(z, t): a fit would be one of another law"
    if differs(found["basis"], found["still"]).any():
        yield "the model and the time of still(t) have another basis than the model at t"
    derivatives = found["derivatives"][:-1]  # the last is that in time
    for name, derivative, combined in zip(
        labels(model, tuple(model.bounds)), derivatives, found["by basis"], strict=True
    ):
        wrong = differs(derivative, combined)
        if wrong.any():
            yield (
                f"basis and mix make the derivative of log_cf in {name} {combined[wrong][0]:.5g} (per unit of its "
                f"size), it is {derivative[wrong][0]:.5g}: fits would take wrong steps"
            )


def _of_smile(model: Any, forward: float) -> Iterator[str]:
    model, dtype = _widen(model)
    years = jnp.asarray(_YEARS, dtype)
    found = {name: np.asarray(x) for name, x in _smile(model, years, jnp.asarray(forward, dtype)).items()}
    k, vol = found["k"], found["vol"]
    bad = ~(np.isfinite(vol) & (vol > 0))
    if bad.any():
        i, j = np.argwhere(bad)[0]
        at = f"K / F = {np.exp(k[i, j]):.4g}, t = {_YEARS[i]:g}"
        yield f"vol is {vol[i, j]:.4g} at {at}: it must be positive and finite"
        return
    low = found["durrleman"] < -1e-6 if dtype.itemsize > 4 else found["durrleman"] < -1e-2
    if low.any():
        i, j = np.argwhere(low)[0]
        yield (
            f"a butterfly has a negative price at K / F = {np.exp(k[i, j]):.4g}, t = {_YEARS[i]:g} (Durrleman's "
            f"function is {found['durrleman'][i, j]:.4g}): narrow the wings or the curvature"
        )
    if not model.per_expiry and (falls := np.diff(found["variance"], axis=0) < -1e-8).any():
        i, j = np.argwhere(falls)[0]
        yield (
            f"total variance at K / F = {np.exp(k[-1, j]):.4g} falls from t = {_YEARS[i]:g} to {_YEARS[i + 1]:g}: a "
            "calendar spread has a negative price"
        )


@partial(QuickJit, task="check of the law")
def _smile(model: Any, t: Float[Array, " t"], forward: Array) -> dict[str, Array]:
    level = jax.vmap(lambda t: model.vol(forward, t, forward))(t) * jnp.sqrt(t)
    level = jnp.where(jnp.isfinite(level) & (level > 0), level, 0.2)
    spots = jnp.linspace(-3.0, 3.0, 25, dtype=t.dtype)

    def variance(k: Array, t: Array) -> Array:
        return model.vol(forward * jnp.exp(k), t, forward) ** 2 * t

    def durrleman(k: Array, t: Array) -> Array:
        def slope(k: Array) -> Array:
            return jax.jvp(lambda k: variance(k, t), (k,), (jnp.ones_like(k),))[1]

        w, first = variance(k, t), slope(k)
        second = jax.jvp(slope, (k,), (jnp.ones_like(k),))[1]
        return (1.0 - k * first / (2.0 * w)) ** 2 - 0.25 * first**2 * (1.0 / w + 0.25) + 0.5 * second

    def over(fn: Any, k: Array) -> Array:
        return jax.vmap(lambda k, t: jax.vmap(lambda k: fn(k, t))(k))(k, t)

    k = level[:, None] * spots[None, :]
    same = jnp.broadcast_to(k[-1:], k.shape)
    vol = over(lambda k, t: model.vol(forward * jnp.exp(k), t, forward), k)
    return {"k": k, "vol": vol, "durrleman": over(durrleman, k), "variance": over(variance, same)}
