"""StreamState: the state of a recalibrator between two surfaces."""

from os import PathLike
from typing import Any, Generic
from zipfile import BadZipFile

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxcal.models.base import Model
from jaxcal.models.parameters import with_fields
from jaxcal.streams.update import Update


class StreamState(eqx.Module, Generic[Model]):
    """What a `Recalibrator` carries from one surface to the next: arrays only, on the host.

    Attributes:
        model: at the mean.
        mean: `[p]` its free parameters on their search scales (logarithms of positive ones).
        covariance: `[p, p]` of them there, as of `time`.
        time: of the last used surface: years since 1970, actual/365.
        noise: standard deviation of a quote's residual, in its units: a running median.
        correlation: of the residuals of neighbouring strikes, 0 to 1; it reduces the effective number of quotes.
        pace: factor of the process noise at present, 1 or more.
        shape: `[2]` expiries and strikes that surfaces are padded to; it only grows.
        update: outcome of the last surface, an `Update` as a number.
        surprise: normalised innovation squared of the last surface; about p if it is as expected; NaN without one.
        candidate: `[p]` the parameters fitted to the last rejected surface; NaN if there is none.
        candidate_noise: the noise there.
        rejected: number of surfaces in a row that were rejected and agree with the candidate.
        rival: `[p]` another optimum that fitted the last surface better; NaN if there is none.
        confirmed: number of surfaces in a row on which it did.
        since: surfaces since the last check for other optima.
        unfitted: number of surfaces in a row without a converged fit.

    Example:
        >>> import jaxcal as jc
        >>> surface = jc.Surface.from_vols([0.5], [90.0, 100.0, 110.0], [[0.2, 0.21, 0.2]], forward=100.0)
        >>> state, fit = jc.Recalibrator(jc.BlackScholes).step(None, surface, 0.0)
        >>> print(state.verdict)
        Started: fitted to this surface alone.
    """

    model: Model
    mean: Float[Array | np.ndarray, " p"]
    covariance: Float[Array | np.ndarray, "p p"]
    time: Float[Array | np.ndarray, ""]
    noise: Float[Array | np.ndarray, ""]
    correlation: Float[Array | np.ndarray, ""]
    pace: Float[Array | np.ndarray, ""]
    shape: Int[Array | np.ndarray, " 2"]
    update: Int[Array | np.ndarray, ""]
    surprise: Float[Array | np.ndarray, ""]
    candidate: Float[Array | np.ndarray, " p"]
    candidate_noise: Float[Array | np.ndarray, ""]
    rejected: Int[Array | np.ndarray, ""]
    rival: Float[Array | np.ndarray, " p"]
    confirmed: Int[Array | np.ndarray, ""]
    since: Int[Array | np.ndarray, ""]
    unfitted: Int[Array | np.ndarray, ""]

    @property
    def verdict(self) -> str:
        """The outcome of the last surface: a sentence."""
        return Update(int(self.update)).sentence

    @property
    def used(self) -> bool:
        """Whether the last surface moved the state."""
        return Update(int(self.update)).used

    def save(self, path: str | PathLike[str]) -> None:
        """Write to an `.npz` file, from which `Recalibrator.load` reads it back to the last bit.

        Raises:
            OSError: the file cannot be written.
        """
        fields = {name: getattr(self, name) for name in _ARRAYS}
        parameters = {f"model.{name}": getattr(self.model, name) for name in self.model.bounds}
        arrays: dict[str, Any] = {name: np.asarray(value) for name, value in (fields | parameters).items()}
        with open(path, "wb") as file:  # noqa: PTH123  (numpy adds an ending to a name, not to a file)
            np.savez(file, kind=np.asarray(type(self.model).__name__), **arrays)


_ARRAYS = (
    "mean", "covariance", "time", "noise", "correlation", "pace", "shape", "update", "surprise", "candidate",
    "candidate_noise", "rejected", "rival", "confirmed", "since", "unfitted",
)  # fmt: skip


def load_state(path: str | PathLike[str], template: type[Model] | Model) -> StreamState[Model]:
    """A state that `StreamState.save` wrote; fields that are no parameters are those of `template`, an instance.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no state, or one of another model.
    """
    kind = template if isinstance(template, type) else type(template)
    try:
        with np.load(path) as data:
            found = {name: data[name] for name in data.files}
    except (EOFError, ValueError, BadZipFile) as error:
        raise ValueError(f"{path}: this is no saved state: {error}") from None
    missing = [name for name in ("kind", *_ARRAYS) if name not in found]
    if missing:
        raise ValueError(f"{path}: this is no saved state: it has no {missing[0]}")
    if (name := str(found["kind"])) != kind.__name__:
        raise ValueError(f"{path}: this is the state of a {name}, not of a {kind.__name__}")
    values = {name: jnp.asarray(found[f"model.{name}"]) for name in kind.bounds}
    model: Any = template(**values) if isinstance(template, type) else with_fields(template, values)
    return StreamState(model, **{name: found[name] for name in _ARRAYS})  # pyright: ignore[reportArgumentType]
