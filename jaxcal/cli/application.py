"""The commands: `jaxcal demo`, `surface`, `calibrate`, `compare`, `inspect`, `replay`, `bulk`, `warm-up`, `live`."""

import functools
import warnings
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from jaxcal.cli.bulk import bulk
from jaxcal.cli.calibrate import calibrate
from jaxcal.cli.compare import compare
from jaxcal.cli.console.terminal import complain, prepare_streams
from jaxcal.cli.demo import demo
from jaxcal.cli.inspect import inspect
from jaxcal.cli.live import deribit
from jaxcal.cli.replay import replay
from jaxcal.cli.surface import surface
from jaxcal.cli.warm_up import warm_up


class _Commands(TyperGroup):
    def main(self, *args: Any, **options: Any) -> Any:
        """Run a command, its help and its errors about options included."""
        prepare_streams()
        return super().main(*args, **options)


app = typer.Typer(
    cls=_Commands,
    name="jaxcal",
    help="Calibrate option pricing models to market quotes.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> bool:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"jaxcal {version('jaxcal')}")
        raise typer.Exit
    return wanted


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    pass


def _prepared(command: Callable[..., None], *, turns: bool = True) -> Callable[..., None]:
    @functools.wraps(command)
    def run(**options: Any) -> None:
        _prepare_jax(turns=turns)
        command(**options)

    return run


def _prepare_jax(*, turns: bool = True) -> None:
    """Switch on double precision, the compilation cache, and messages while a program compiles."""
    import jax

    from jaxcal.cli.console.compilation_spinner import show_compilations
    from jaxcal.compilation.compilation_cache import enable_compilation_cache

    show_compilations(turns=turns)
    jax.config.update("jax_enable_x64", True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        enable_compilation_cache()
    for warning in caught:
        complain(f"jaxcal: {warning.message}")


app.command()(_prepared(demo))
app.command()(_prepared(surface))
app.command()(_prepared(calibrate))
app.command()(_prepared(compare))
app.command()(_prepared(inspect))
app.command()(_prepared(replay))
app.command()(_prepared(bulk, turns=False))  # this and the next have a display of their own
app.command("warm-up")(_prepared(warm_up))
live = typer.Typer(help="Follow an exchange's stream and recalibrate a model to it.", no_args_is_help=True)
live.command()(_prepared(deribit, turns=False))
app.add_typer(live, name="live")
