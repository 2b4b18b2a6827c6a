"""save and load: a model, a fit or a spec to a file, and back, equal in every value."""

import hashlib
import json
import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import fields
from importlib.metadata import version
from os import PathLike
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import tomli_w
from jax import dtypes

from jaxcal._arguments import host_only
from jaxcal._text import printable, shortened
from jaxcal.calibration.calibration_spec import CalibrationSpec
from jaxcal.calibration.objective.loss import AbstractLoss
from jaxcal.calibration.objective.objective import Objective
from jaxcal.calibration.objective.prior import AbstractPrior
from jaxcal.calibration.objective.residuals import AbstractResidual
from jaxcal.calibration.record_values import shown
from jaxcal.calibration.results.fit import Fit
from jaxcal.calibration.spec_record import (
    class_name,
    from_exact,
    model_class,
    model_from_record,
    object_from_record,
    object_to_record,
    spec_from_record,
    spec_to_record,
    to_exact,
)
from jaxcal.market.surface import Surface
from jaxcal.models.base import AbstractModel
from jaxcal.models.registry import ModelName
from jaxcal.streams.random_walk import Predicted

FORMAT = 1  # of the files; a change that an older version would misread makes it larger

_ARRAYS = ("residuals", "model_vol", "information", "cost", "rmse_vol", "gradient", "num_steps", "outcome", "at_bound")
_PARTS: dict[str, Any] = {"residual": AbstractResidual, "prior": AbstractPrior, "loss": AbstractLoss}
_NOT_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}  # JSON has no such numbers


@host_only
def save(value: Any, path: str | PathLike[str]) -> Path:
    """Write a model, a `Fit` or a `CalibrationSpec` to a file that `load` reads.

    Args:
        value: what to write. A fit is written with its surface, and all that was asked for.
        path: of the file, which is replaced. A spec is written as TOML, where the name ends in `.toml`, to be read and
            changed by hand; everything else as JSON, with a digest of its contents.

    Returns:
        The path.

    Raises:
        ValueError: a part is a function of your own, as the unit of an interval may be; what is no spec is to be TOML.
        TypeError: the value is none of the three.
        OSError: the file cannot be written.

    Example:
        >>> import jaxcal as jc, tempfile
        >>> model = jc.Heston(v0=0.04, kappa=1.5, theta=0.06, sigma=0.7, rho=-0.65)
        >>> path = jc.save(model, tempfile.mkdtemp() + "/heston.json")
        >>> jc.load(path)
        Heston(v0=0.04, kappa=1.5, theta=0.06, sigma=0.7, rho=-0.65)
    """
    path = Path(path)
    if path.suffix.lower() == ".toml":
        if not isinstance(value, CalibrationSpec):
            raise ValueError(f"TOML is for a CalibrationSpec, not a {type(value).__name__}: write {path.stem}.json")
        _write(tomli_w.dumps({"format": FORMAT, **spec_to_record(value)}), path)
        return path
    record: dict[str, Any] = {"jaxcal": version("jaxcal"), "format": FORMAT}
    if isinstance(value, CalibrationSpec):
        record["spec"] = _finite(spec_to_record(value))
    elif isinstance(value, Fit):
        record |= {"model": type(value.model).__name__, **fit_record(value)}
        if "not_kept" in record:
            raise ValueError(record["not_kept"])
    elif isinstance(value, AbstractModel):
        name = class_name(type(value), ModelName)
        record |= {"model": name, "fields": _model_record(value)}
    else:
        raise TypeError(f"save takes a model, a Fit or a CalibrationSpec, not a {type(value).__name__}")
    write_json(record, path)
    return path


def load(path: str | PathLike[str], *, classes: Iterable[type[Any]] = ()) -> Any:
    r"""Read what `save`, `write_fit` or `jaxcal calibrate` wrote, equal in every value. Nothing in a file is run.

    Args:
        path: of a file; or of the folder that a fit was written to.
        classes: your own classes that the file may name: models, losses, residuals, priors, rules of weights.

    Returns:
        A `Fit` of a `parameters.json`, or what was given to `save`; a `CalibrationSpec` of a TOML file, which a person
        may have written: its keys are the arguments of `CalibrationSpec`, with `model` by name, `start` for the
        parameters of an instance, and `cleaning` for its rules. The model alone of a `parameters.json` that has no
        more: by an earlier version, or where a part of the question is a function that no file can hold.

    Raises:
        ValueError: the file is cut off, changed by hand, of a newer version, names a class that is not known, has a key
            that is not known, or is another kind of file. The sentence begins with the path, and says what to do.
        OSError: the file cannot be read.

    Example:
        >>> import jaxcal as jc, pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "robust.toml"
        >>> _ = path.write_text('model = "heston"\nloss = "huber"\n[bounds]\nkappa = [0.1, 10.0]\n')
        >>> jc.load(path)
        CalibrationSpec(Heston, bounds={'kappa': (0.1, 10.0)}, loss=Huber())
    """
    named = () if isinstance(classes, type) else tuple(classes)
    if isinstance(classes, type) or not all(isinstance(one, type) for one in named):
        raise TypeError("classes takes your classes in a sequence, such as (MyModel, MyLoss)")
    path = Path(path)
    if path.is_dir():
        path = path / "parameters.json"
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{path}: this is no text; load reads what save and write_fit write") from None
    try:
        return _from_toml(text, named) if path.suffix.lower() == ".toml" else _from_json(text, named)
    except RecursionError:
        said = "its lists and tables are nested too deep: this is no file of jaxcal"
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        said = str(error) if isinstance(error, ValueError) else f"it is no file of jaxcal, or a damaged one ({error!r})"
    raise ValueError(f"{path}: {shortened(printable(said), max(480 - len(str(path)), 200))}")


def fit_record(fit: Fit) -> dict[str, Any]:
    """`spec` and `fit`, which say all of a fit; of one whose question no file can hold None, and `not_kept` why."""
    template = type(fit.model)
    if fit.spec is None:  # unpickled, of an earlier version
        return {"spec": None, "fit": None, "not_kept": "the fit has no spec, as those of earlier versions: fit again"}
    try:
        spec = _finite(spec_to_record(fit.spec))
        used = {name: getattr(fit.objective, name) for name in _PARTS}
        whole = {
            "model": _model_record(fit.model),
            "surface": {entry.name: _exact(getattr(fit.surface, entry.name)) for entry in fields(Surface)},
            "arrays": {name: _exact(getattr(fit, name)) for name in _ARRAYS},
            "free": list(fit.free),
            "scales": to_exact(fit.objective.scales, template),
            "used": {n: object_to_record(part, n, template) for n, part in used.items() if part is not None},
        }
    except ValueError as error:
        return {"spec": None, "fit": None, "not_kept": str(error)}
    return {"spec": spec, "fit": _finite(whole)}


def write_json(record: Mapping[str, Any], path: Path) -> None:
    """With a digest of all that is in it; the arrays of a fit on one line."""
    _write(json_text(record), path)


def json_text(record: Mapping[str, Any]) -> str:
    """The text of that file."""
    record = {**record, "digest": _digest(record)}
    lines = []
    for name, value in record.items():
        text = json.dumps(value, indent=None if name == "fit" else 2, allow_nan=False, ensure_ascii=False)
        lines.append(f"  {json.dumps(name)}: " + text.replace("\n", "\n  "))
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    # what would steer a terminal, or is no letter at all (of a file's name), is written by its number, as JSON may
    return "".join(letter if letter.isprintable() or letter == "\n" else json.dumps(letter)[1:-1] for letter in text)


def _write(text: str, path: Path) -> None:
    """The file is whole before it gets its name, so that one that was there is replaced by all of it or stays."""
    if path.exists() and not path.is_file():  # a pipe
        path.write_text(text, encoding="utf-8")
        return
    unfinished = path.with_name(f".{path.name}")
    try:
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(path)
    except OSError as error:
        if error.filename is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error  # not the name that nobody asked for
    finally:
        unfinished.unlink(missing_ok=True)


def _digest(record: Mapping[str, Any]) -> str:
    text = json.dumps({name: value for name, value in record.items() if name != "digest"}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _from_toml(text: str, classes: tuple[type[Any], ...]) -> CalibrationSpec:
    try:
        record = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"this is not TOML: {error}") from None
    _refuse_newer(record)
    return spec_from_record({name: value for name, value in record.items() if name != "format"}, classes)


def _from_json(text: str, classes: tuple[type[Any], ...]) -> Any:
    try:
        record = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"this is not JSON, or cut off: {error}") from None
    if not isinstance(record, dict) or "jaxcal" not in record:
        raise ValueError("this is no file of jaxcal: load reads parameters.json, and what save writes")
    _refuse_newer(record)
    if "models" in record:
        raise ValueError("this is a comparison, and holds several models: load reads parameters.json of one fit")
    if not {"format", "digest", "fit"}.isdisjoint(record) and record.get("digest") != _digest(record):
        raise ValueError(
            "this was changed after it was written, so it is no longer what was fitted: write it again; or read its "
            "parameters yourself, and give them to the class of the model"
        )
    record = _finite(record, back=True)
    if record.get("fit") is not None:
        return _fit(record, classes)
    if "model" not in record:
        return spec_from_record(record["spec"], classes, checked=False)
    template = model_class(record["model"], classes)
    if "fields" in record:
        return _model(template, record["fields"])
    values = record["parameters"]
    if isinstance(values, dict):
        values = {name: math.nan if value is None else value for name, value in values.items()}
    return model_from_record(template, values)


def _refuse_newer(record: Mapping[str, Any]) -> None:
    written = record.get("format", 0)
    if isinstance(written, bool) or not isinstance(written, int) or written < 0:
        raise ValueError(f"its format is {shown(written)}: it must be a number up to {FORMAT}")
    if written > FORMAT:
        written = shown(written)
        by = f" by jaxcal {record['jaxcal']}" if isinstance(record.get("jaxcal"), str) else ""
        raise ValueError(f"this was written{by} in format {written}, and this version reads {FORMAT}: upgrade jaxcal")


def _fit(record: Mapping[str, Any], classes: tuple[type[Any], ...]) -> Fit:
    template, whole = model_class(record["model"], classes), record["fit"]
    known = (*classes, Predicted)
    used = {name: object_from_record(part, name, _PARTS[name], template, known) for name, part in whole["used"].items()}
    spec = spec_from_record(record["spec"], classes, checked=False)
    arrays = {name: _array(value, template) for name, value in whole["arrays"].items()}
    surface = Surface(**{name: _array(value, template) for name, value in whole["surface"].items()})
    objective = Objective(scales=from_exact(whole["scales"], template), **used)
    model = _model(template, whole["model"])
    return Fit(model=model, surface=surface, free=tuple(whole["free"]), objective=objective, spec=spec, **arrays)


def _model_record(model: AbstractModel) -> dict[str, Any]:
    exact = {entry.name: to_exact(getattr(model, entry.name), type(model)) for entry in fields(model)}
    return _finite(exact)


def _model(template: type[Any], values: Mapping[str, Any]) -> Any:
    names = [entry.name for entry in fields(template)]
    if set(values) != set(names):
        raise ValueError(f"{template.__name__} takes {', '.join(names)}, and the file has {', '.join(values)}")
    model = object.__new__(template)  # a fit without numbers has NaN, which no one gives to a class
    for name, value in values.items():
        object.__setattr__(model, name, _array(value, template) if isinstance(value, Mapping) else value)
    return model


def _exact(value: Any) -> Any:
    return to_exact(np.asarray(value), AbstractModel)


def _array(record: Any, template: type[Any]) -> Any:
    """On the device, unless its numbers are wider than JAX is set to hold."""
    values = from_exact(record, template)
    return jnp.asarray(values) if dtypes.canonicalize_dtype(values.dtype) == values.dtype else values


def _finite(value: Any, *, back: bool = False) -> Any:
    """Numbers that are not finite by their names, as JSON can hold them; or back."""
    if isinstance(value, dict):
        return {name: _finite(one, back=back) for name, one in value.items()}
    if isinstance(value, list):
        return [_finite(one, back=back) for one in value]
    if back:
        return _NOT_FINITE.get(value, value) if isinstance(value, str) else value
    return value if not isinstance(value, float) or math.isfinite(value) else str(value)
