"""What is to be fitted, by the options of a command: a model and a loss, or a spec in a file."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer

from jaxcal.cli.console.terminal import refuse
from jaxcal.cli.options.loss_names import LossName
from jaxcal.models.registry import ModelName

SpecOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Calibration spec: a .toml file, or the parameters.json of a fit. It says the model, the loss, bounds, "
        "priors and cleaning, which other options then do not.",
    ),
]


def model_option(default: ModelName) -> Any:
    """The option `--model`."""
    return Annotated[ModelName | None, typer.Option(help="Model to fit.", show_default=default.value)]


def chosen_spec(
    path: Path | None, default: ModelName, model: ModelName | None, loss: LossName | None, points: float | None,
    rules: Any, **others: Any,
) -> Any:  # fmt: skip
    """The spec of a file, or of the options; it always has rules of cleaning. Ends with 2 where it cannot be.

    Args:
        path: of the file, if any.
        default: the model without `model` and without a file.
        model, loss, points, others: as given; None where not. What a file says no option may.
        rules: of the options for the cleaning; those that are given come before the file's.
    """
    from jaxcal.calibration.calibration_spec import CalibrationSpec
    from jaxcal.market.cleaning.cleaning_rules import SuitedRules

    if path is None:
        try:
            counts = (loss or LossName.LINEAR).loss(points)
        except ValueError as error:
            refuse(f"--loss-scale: {error}")
        return CalibrationSpec((model or default).model, loss=counts, rules=rules, **others)
    given = {"--model": model, "--loss": loss, "--loss-scale": points}
    given |= {f"--{name.replace('_', '-')}": value for name, value in others.items()}
    for option, value in given.items():
        if value is not None:
            refuse(f"{option} and --spec: the file says that; give one of the two")
    spec = _read(path)
    if spec.rules is None or not isinstance(rules, SuitedRules):
        return spec.own(rules=rules)
    return spec.own(rules=dataclasses.replace(spec.rules, **rules.thresholds()))


def _read(path: Path) -> Any:
    from jaxcal.calibration.calibration_spec import CalibrationSpec
    from jaxcal.calibration.results.fit import Fit
    from jaxcal.report.saved import load

    try:
        found = load(path)
        if isinstance(found, Fit):
            found = found.spec
        return found if isinstance(found, CalibrationSpec) else CalibrationSpec(found)
    except OSError as error:
        refuse(f"--spec: {path} cannot be read: {error.strerror or error}")
    except ValueError as error:
        refuse(f"--spec: {error}")
