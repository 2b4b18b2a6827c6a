"""The command `jaxcal warm-up`: its options, what it says, and its exit codes."""

from typing import Annotated

import typer

from jaxcal.cli.console.terminal import refuse, say, show
from jaxcal.models.registry import ModelName, model_names


def warm_up(
    models: Annotated[
        str, typer.Option(metavar="NAMES", help="Models, with commas: " + ", ".join(ModelName) + ".")
    ] = "heston",
    shapes: Annotated[
        str,
        typer.Option(
            metavar="SHAPES",
            help="Shapes of the chains to fit, expiries x strikes, with commas.",
        ),
    ] = "8x16,12x64,16x64",
    tasks: Annotated[
        str, typer.Option(metavar="TASKS", help="With commas: calibrate, calibrate_many, price, greeks.")
    ] = "calibrate",
) -> None:
    """Compile programs ahead and keep them on disk, so that later processes on the same kind of processor start faster.

    For container images and nightly jobs. It fits synthetic quotes of these shapes. A model includes the simpler ones
    that its fit starts from.

    Exit codes: 0 the programs are kept, 2 a model, shape or task is unknown, or the folder cannot be written to.
    """
    import jax
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from jaxcal.cli.console.result_table import ResultTable
    from jaxcal.warming import warm_up as compile_ahead

    try:
        names: list[str] = [name.value for name in model_names(models)]
        sizes = [_shape(word) for word in shapes.split(",") if word.strip()]
        wanted = [word.strip().lower().replace("-", "_") for word in tasks.split(",") if word.strip()]
    except ValueError as error:
        refuse(str(error))
    folder: str | None = jax.config.jax_compilation_cache_dir  # pyright: ignore[reportAttributeAccessIssue]
    if not folder:
        refuse("there is no folder to keep programs in")
    try:
        found = compile_ahead(names, sizes, tasks=wanted)
    except ValueError as error:
        refuse(str(error))
    table = Table("model", "task", "shape", "compiled", "from disk", "seconds", box=SIMPLE_HEAD)
    for column in table.columns[3:]:
        column.justify = "right"
    for row in found.to_dict("records"):
        numbers = str(row["compiled"]), str(row["from_cache"]), f"{row['seconds']:.1f}"
        table.add_row(row["model"], row["task"], row["shape"], *numbers)
    show(ResultTable(table))
    say(f"{found['compiled'].sum()} programs compiled, {found['from_cache'].sum()} read from disk; kept in {folder}")


def _shape(word: str) -> tuple[int, int]:
    """Of a text such as "8x16"."""
    parts = word.strip().lower().split("x")
    if len(parts) != 2 or not all(part.strip().isdecimal() and len(part) < 8 for part in parts):
        raise ValueError(f"--shapes: {word.strip()[:40]!r} is no shape such as 8x16, expiries by strikes")
    return int(parts[0]), int(parts[1])
