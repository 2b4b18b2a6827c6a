"""Diagnostics: which parameters a fit determines, and which of them trade off."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Generic

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jaxcal.calibration.results.parameter_scale import is_share, own_size
from jaxcal.calibration.results.standard_errors import search_slopes
from jaxcal.models.base import Model
from jaxcal.models.parameters import labels

IDENTIFIED = 0.15  # the largest standard error, in the parameter's own size, of one that counts as identified
TOGETHER = 0.9  # the least correlation of errors, in size, of parameters that are only identified together
_NUDGE = 0.05  # of the parameter that moves most in a flat direction: 5 %
_NEARLY = 1.5  # times the least shift: as few parameters are named as come so near to it


@dataclasses.dataclass(frozen=True, eq=False)
class Diagnostics(Generic[Model]):
    """The result of `fit.diagnostics()`: how well the quotes, and a prior if any, determine each parameter.

    Errors are relative to the size of a parameter: its value if it is positive, 1 for a correlation, the absolute value
    otherwise. A parameter is *identified* if its standard error is at most 0.15 of that size (a 95 % interval then
    extends about a third to both sides), and if the same holds for every parameter whose estimate is correlated with
    its own beyond 0.9: of two that trade off, neither is identified. A parameter at a bound, or not determined by the
    quotes, is not identified. A model fitted per expiry has a row for each of them.

    Attributes:
        labels: of the fitted parameters.
        values, errors: `[q]` their values and standard errors, in their units.
        sizes: `[q]` their own sizes.
        identified: `[q]` whether each is.
        at_bounds: labels of those at their bounds.
        singular_values: `[p]` of the Jacobian of the residuals in parameters scaled by their sizes, largest first: the
            change of the residuals (root mean square over the quotes, after weights) for a unit move along each
            singular direction. `[E, p]` for a model fitted per expiry. NaN for parameters at bounds.
        condition: the largest over the smallest of them; of the worst expiry.
        flat: moves in units of the sizes, by label, the largest 0.05, along the direction that moves the fit least: of
            as few parameters as come within a factor of 1.5 of it, the others fixed.
        flat_shift: the change of the residuals by just these moves, root mean square.
        in_vols: whether residuals are volatilities.

    Example:
        >>> import equinox as eqx
        >>> import jaxcal as jc
        >>> truth = jc.Heston(v0=0.04, kappa=1.5, theta=0.06, sigma=0.7, rho=-0.65)
        >>> surface = jc.synthetic_surface(truth, expiry=[0.1, 0.5, 1.0, 2.0], moneyness=[-2.0, -1.0, 0.0, 1.0])
        >>> noise = 3e-3 * np.random.default_rng(1).standard_normal(surface.vol.shape)
        >>> fit = jc.calibrate(jc.Heston, eqx.tree_at(lambda s: s.vol, surface, surface.vol + noise))
        >>> fit.diagnostics().sentence.endswith("vol points.")
        True
    """

    labels: tuple[str, ...]
    values: NDArray[np.floating]
    errors: NDArray[np.floating]
    sizes: NDArray[np.floating]
    identified: NDArray[np.bool_]
    at_bounds: tuple[str, ...]
    singular_values: NDArray[np.floating]
    condition: float
    flat: Mapping[str, float]
    flat_shift: float
    in_vols: bool
    shares: frozenset[str] = frozenset()

    @property
    def relative_errors(self) -> NDArray[np.floating]:
        """`[q]` standard errors in own sizes; NaN where there is none."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.errors / self.sizes

    @property
    def sentence(self) -> str:
        """The flat direction in words."""
        if not self.flat:
            return "No direction of the parameters is determined."
        named = list(self.flat)
        moves = " with ".join(self._move(label, amount) for label, amount in self.flat.items())
        unit = f"{100.0 * self.flat_shift:.2g} vol points" if self.in_vols else f"{self.flat_shift:.2g} of its units"
        if len(named) == 1:
            return f"{named[0]} is the least determined: {moves} moves the fit by {unit}."
        together = f"{', '.join(named[:-1])} and {named[-1]}"
        return f"{together} trade off: {moves} moves the fit by {unit}."

    @property
    def line(self) -> str:
        """Which parameters are identified, and which are not."""
        known = [label for label, yes in zip(self.labels, self.identified, strict=True) if yes]
        rest = [label for label, yes in zip(self.labels, self.identified, strict=True) if not yes]
        if len(self.labels) > 12:
            return f"{len(known)} of {len(self.labels)} parameters"
        return "; not ".join([", ".join(known) or "none", *([", ".join(rest)] if rest else [])])

    def _move(self, label: str, amount: float) -> str:
        if label.partition("[")[0] in self.shares:
            return f"{label} {'higher' if amount > 0 else 'lower'} by {abs(amount):.2g}"
        return f"{100.0 * abs(amount):.2g} % {'more' if amount > 0 else 'less'} {label}"

    def to_frame(self) -> pd.DataFrame:
        """One row a fitted parameter: `parameter`, `value`, `standard_error`, `size`, `relative_error`, `identified`,
        `at_bound`, and `flat`, its move in the flat direction.
        """
        return pd.DataFrame(
            {
                "parameter": self.labels,
                "value": self.values,
                "standard_error": self.errors,
                "size": self.sizes,
                "relative_error": self.relative_errors,
                "identified": self.identified,
                "at_bound": [label in self.at_bounds for label in self.labels],
                "flat": [self.flat.get(label, 0.0) for label in self.labels],
            }
        )

    def __str__(self) -> str:
        """What a person reads."""
        unit, factor = (", vol points", 100.0) if self.in_vols else ("", 1.0)
        rows = [f"{'parameter':<22}{'value':>12}{'error/size':>12}   identified"]
        for label, value, error, yes in zip(
            self.labels, self.values, self.relative_errors, self.identified, strict=True
        ):
            note = "yes" if yes else "no, at its bound" if label in self.at_bounds else "no"
            shown = "-" if np.isnan(error) else f"{error:.2g}"
            rows.append(f"{label:<22}{value:>12.6g}{shown:>12}   {note}")
        if self.singular_values.ndim == 1:
            known = self.singular_values[np.isfinite(self.singular_values)]
            rows += ["", f"singular values{unit}: " + ", ".join(f"{factor * value:.2g}" for value in known)]
        return "\n".join([*rows, f"condition number: {self.condition:.3g}", self.sentence])


def diagnostics_of(fit: Any, in_vols: bool) -> Diagnostics:
    """Of a `Fit`, whose `diagnostics` this is."""
    slices = fit.by_expiry
    errors = fit.standard_errors
    information, at_bound = np.asarray(fit.information, np.float64), np.asarray(fit.at_bound)
    weight, model = np.asarray(fit.surface.weight, np.float64), fit.model
    if not slices:
        information, at_bound, weight = information[None], at_bound[None], weight[None]
        model = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], model)
    count = len(information)

    def rows(of: Any) -> NDArray:
        """`[s, p]` of values by name."""
        return np.concatenate([np.reshape(np.asarray(of(name), np.float64), (count, -1)) for name in fit.free], axis=1)

    sizes = rows(lambda name: own_size(fit.model, name))
    slopes = np.asarray(search_slopes(fit.free, fit.objective.scales, model), np.float64)
    total = weight.reshape(count, -1).sum(axis=1)
    singular, grams = _singular(information, slopes, sizes, ~at_bound, total)
    names = np.asarray(labels(fit.model, fit.free)).reshape(sizes.shape[::-1]).T if slices else None
    names = np.asarray(labels(fit.model, fit.free))[None] if names is None else names
    worst, condition = 0, np.nan
    with np.errstate(invalid="ignore", divide="ignore"):
        least = np.nanmin(np.where(np.isfinite(singular), singular, np.inf), axis=1)
        conditions = np.where(np.isfinite(least), singular[:, 0] / least, np.nan)
    flat, shift = {}, np.nan
    if not np.isnan(conditions).all():  # infinite where a direction moves nothing at all
        worst = int(np.nanargmax(conditions))
        condition = float(conditions[worst])
        moves, shift = _flattest(grams[worst], float(least[worst]))
        flat = {str(names[worst, j]): move for j, move in moves.items()}
    order = np.arange(sizes.size).reshape(sizes.shape).T.ravel() if slices else np.arange(sizes.size)

    def flatten(x: NDArray) -> NDArray:
        return x.ravel()[order]

    error = rows(lambda name: getattr(errors, name))
    with np.errstate(invalid="ignore", divide="ignore"):
        known = flatten(identified_of(error / sizes, information))
    every = tuple(labels(fit.model, fit.free))
    quoted = np.any(weight.reshape(count, -1) > 0, axis=1)
    pinned = flatten(at_bound & quoted[:, None])
    return Diagnostics(
        labels=every, values=flatten(rows(lambda name: getattr(fit.model, name))), errors=flatten(error),
        sizes=flatten(sizes), identified=known,
        at_bounds=tuple(label for label, at in zip(every, pinned, strict=True) if at),
        singular_values=singular if slices else singular[0], condition=condition, flat=flat, flat_shift=shift,
        in_vols=in_vols, shares=frozenset(n for n in fit.free if is_share(fit.model.bounds[n])),
    )  # fmt: skip


def identified_of(relative: NDArray, information: NDArray) -> NDArray[np.bool_]:
    """`[..., p]` by the rule of `Diagnostics`, from errors in own sizes (NaN where there is none)."""
    known = np.isfinite(relative)
    small = known & (np.where(known, relative, np.inf) <= IDENTIFIED)
    pair = known[..., :, None] & known[..., None, :] & np.isfinite(information)
    eye = np.eye(relative.shape[-1])
    inside = np.where(pair, information, eye)
    root = np.sqrt(np.maximum(np.einsum("...ii->...i", inside), np.finfo(float).tiny))
    inverse = np.linalg.pinv(inside / (root[..., :, None] * root[..., None, :]), hermitian=True)
    size = np.sqrt(np.maximum(np.einsum("...ii->...i", inverse), np.finfo(float).tiny))
    correlation = np.abs(inverse) / (size[..., :, None] * size[..., None, :])
    loose = known & ~small
    return np.asarray(small & ~np.any((correlation > TOGETHER) & pair & loose[..., None, :], axis=-1))


def _singular(
    information: NDArray, slopes: NDArray, sizes: NDArray, inside: NDArray, total: NDArray
) -> tuple[NDArray, NDArray]:
    """`[s, p]` singular values of the Jacobian J in own sizes, largest first, and `[s, p, p]` J'J over the quotes'
    weight; NaN at bounds.
    """
    values, grams = np.full(sizes.shape, np.nan), np.full(information.shape, np.nan)
    for i, rows in enumerate(inside):
        slope, scale = slopes[i][np.ix_(rows, rows)], sizes[i][rows]
        if not rows.any() or not (np.isfinite(slope).all() and np.isfinite(information[i]).all() and total[i] > 0):
            continue
        unit = np.linalg.lstsq(slope, np.diag(scale), rcond=None)[0]  # moves of the search vector, by own size
        gram = unit.T @ information[i][np.ix_(rows, rows)] @ unit / total[i]
        if np.isfinite(gram).all():
            grams[i][np.ix_(rows, rows)] = gram
            values[i, : len(gram)] = np.sqrt(np.maximum(np.linalg.eigvalsh(gram)[::-1], 0.0))
    return values, grams


def _flattest(gram: NDArray, least: float) -> tuple[dict[int, float], float]:
    """Moves of as few parameters as nearly reach the flattest direction, by place and largest first, and by how much
    they move the residuals while the others stay.
    """
    inside = np.flatnonzero(np.isfinite(np.diagonal(gram)))
    direction = np.linalg.eigh(gram[np.ix_(inside, inside)])[1][:, 0]
    order = inside[np.argsort(-np.abs(direction), kind="stable")]
    for size in range(1, len(order) + 1):
        some = order[:size]
        squares, vectors = np.linalg.eigh(gram[np.ix_(some, some)])
        shift = float(np.sqrt(max(squares[0], 0.0)))
        if shift <= _NEARLY * least or size == len(order):
            break
    move = vectors[:, 0]  # type: ignore[possibly-undefined]
    largest = np.argsort(-np.abs(move), kind="stable")
    scale = _NUDGE / move[largest[0]]
    found = {int(some[j]): float(scale * move[j]) for j in largest}  # type: ignore[possibly-undefined]
    return found, abs(scale) * shift  # type: ignore[possibly-undefined]
