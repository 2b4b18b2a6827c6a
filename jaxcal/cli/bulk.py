"""The command `jaxcal bulk`: its options, what it says, and its exit codes."""

from collections import Counter
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from jaxcal.cli.console.terminal import INTERRUPTED, complain, console, refuse, say, stopped_by_signals
from jaxcal.cli.options.loss_names import LossOption, ScaleOption
from jaxcal.cli.options.quote_options import RateOption, VenueOfFilesOption, with_cleaning
from jaxcal.cli.options.spec_choice import SpecOption, chosen_spec, model_option
from jaxcal.models.registry import ModelName

_MOST_SAID = 10  # problems that are said; all of them are in a file


class EngineName(StrEnum):
    """Where a job runs."""

    LOCAL = "local"
    RAY = "ray"


class PrecisionName(StrEnum):
    """Arithmetic of the fits."""

    FLOAT64 = "float64"
    FLOAT32 = "float32"
    MIXED = "mixed"


@with_cleaning
def bulk(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="IN",
            help="Quotes: a .parquet, .csv, .tsv, .xlsx or .json file, or a folder of them, of any depth.",
        ),
    ],
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="Folder for the result, a parquet dataset; it is created if missing.")
    ],
    model: model_option(ModelName.HESTON) = None,  # type: ignore[valid-type]
    residuals: Annotated[
        bool, typer.Option("--residuals", help="Write every quote with its residual, to OUT/_quotes.")
    ] = False,
    venue: VenueOfFilesOption = None,
    rate: RateOption = None,
    loss: LossOption = None,
    loss_scale: ScaleOption = None,
    spec: SpecOption = None,
    free: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="Parameters to fit, with commas.", show_default="all but those held"),
    ] = None,
    precision: Annotated[
        PrecisionName, typer.Option(help="Arithmetic of the fits; mixed iterates in 32 bits and ends in 64.")
    ] = PrecisionName.FLOAT64,
    part_size: Annotated[
        int, typer.Option(metavar="N", min=1, help="Surfaces in a part, fitted as one batch and written as one file.")
    ] = 1024,
    engine: Annotated[
        EngineName,
        typer.Option(help="Where the job runs: in this process, or on a Ray cluster (needs the extra jaxcal[ray])."),
    ] = EngineName.LOCAL,
    workers: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="With Ray: processes that fit.",
            show_default="one for every GPU; without GPUs one for every machine",
        ),
    ] = None,
    num_gpus: Annotated[
        float | None,
        typer.Option(
            metavar="N", min=0.0, help="With Ray: GPUs for each worker.", show_default="1 if the cluster has any"
        ),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="With Ray: the cluster, as ray.init takes it.",
            show_default="RAY_ADDRESS, or else a cluster on this machine",
        ),
    ] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Delete what a job has written to OUT, and start anew.")
    ] = False,
    *,
    rules: Any,
) -> None:
    """Fit a model to every surface of a file or folder of quotes; write a parquet dataset.

    A surface is the set of quotes of one underlying at one time. Each has a row in the result, fitted or with the
    reason why not. A job that was stopped or killed resumes when the same command is given again.

    Exit codes: 0 all fits converged; 1 some did not, or had no usable quotes (their rows say why); 2 the job could not
    start or continue; 3 part of the input could not be read and was left out (OUT/_problems.csv lists it); 130
    interrupted.
    """
    from jaxcal.bulk.engines.local_engine import LocalEngine
    from jaxcal.bulk.engines.ray_engine import RayEngine
    from jaxcal.bulk.input.input_problem import BulkError
    from jaxcal.bulk.job import run_job
    from jaxcal.bulk.settings import Settings
    from jaxcal.cli.console.bulk_progress import BulkProgress

    if engine is EngineName.LOCAL:
        for name, value in (("--workers", workers), ("--num-gpus", num_gpus), ("--address", address)):
            if value is not None:
                refuse(f"{name} is for Ray: give --engine ray too")
    names = None if free is None else tuple(name.strip() for name in free.split(",") if name.strip())
    with stopped_by_signals("the part at work is written") as stop:
        try:
            asked = chosen_spec(spec, ModelName.HESTON, model, loss, loss_scale, rules, free=names)
            settings = Settings(
                model=asked, precision=precision.value, venue=venue, part_size=part_size, quotes=residuals, rate=rate
            )
            chosen = RayEngine(workers, num_gpus, address) if engine is EngineName.RAY else LocalEngine()
            with BulkProgress(console(error=True)) as observe:
                summary = run_job(source, out, settings, engine=chosen, restart=restart, observe=observe, stop=stop)
        except (BulkError, ValueError) as error:
            refuse(str(error))
    raise typer.Exit(_tell(summary, out))


def _tell(summary: Any, out: Path) -> int:
    """Say how the job ended; the exit code."""
    from jaxcal.market.cleaning.quote_report import profile_words

    if summary.profiles:
        say(f"Cleaned by the profile {profile_words(Counter(summary.profiles).elements())}.")
    say(str(summary))
    if summary.resumed:
        say(f"{summary.resumed:,} parts had been written before.")
    if summary.damaged:
        complain(f"{summary.damaged:,} parts of an earlier run were damaged, and made again.")
    if summary.left_out:
        counted = "; ".join(f"{count:,} {name}" for name, count in summary.left_out.items())
        say(f"{summary.quotes:,} quotes used; left out: {counted}")
    for problem in summary.problems[:_MOST_SAID]:
        complain(str(problem))
    if summary.interrupted:
        complain("Interrupted. What is done is kept: the same command resumes the job.")
        return INTERRUPTED
    if (more := len(summary.problems) - _MOST_SAID) > 0:
        complain(f"and {more:,} more: see {out / '_problems.csv'}")
    say(f'Written to {out}; in Python: pandas.read_parquet("{out}")')
    if not summary.complete:
        return 3
    return 0 if summary.converged == summary.surfaces else 1
