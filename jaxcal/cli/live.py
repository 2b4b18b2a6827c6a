"""The command `jaxcal live deribit`: its options, what it shows, and its exit codes."""

import contextlib
import os
import re
import signal
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from jaxcal.cli.console.terminal import complain, console, refuse, say
from jaxcal.cli.options.quote_options import with_cleaning
from jaxcal.cli.options.spec_choice import SpecOption, chosen_spec, model_option
from jaxcal.models.registry import ModelName

_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)(ms|s|m|h)", re.ASCII)
_SECONDS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_URL = "wss://www.deribit.com/ws/api/v2"


@with_cleaning
def deribit(
    currency: Annotated[
        str, typer.Option(metavar="COIN", help="BTC, ETH, ..., or BTC_USDC for linear options.")
    ] = "BTC",
    model: model_option(ModelName.SVCJ) = None,  # type: ignore[valid-type]
    every: Annotated[str, typer.Option(metavar="TIME", help="Time between fits: 500ms, 5s, 1m.")] = "5s",
    url: Annotated[
        str, typer.Option(metavar="URL", help="URL of the exchange, wss://; its certificate is verified.")
    ] = _URL,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder for recalibrations.jsonl and the parquet folder recalibrations; it is created if missing.",
            show_default="the coin with -live, in the working directory",
        ),
    ] = None,
    lasting: Annotated[
        str | None, typer.Option("--for", metavar="TIME", help="Stop after: 10m, 8h.", show_default="until interrupted")
    ] = None,
    memory: Annotated[float, typer.Option(metavar="DAYS", help="Days until the past is nearly forgotten.")] = 60.0,
    max_age: Annotated[
        str, typer.Option(metavar="TIME", help="Time without a message after which a quote is stale.")
    ] = "60s",
    spec: SpecOption = None,
    *,
    rules: Any,
) -> None:
    """Follow Deribit's public stream and recalibrate a model to all options of a coin.

    Needs no account and takes no credentials. Lost connections are restored. The past is the prior of every fit.
    Parameters and the health of the feed are shown and written.

    Exit codes: 0 stopped as asked; 1 no fit was used; 2 the options cannot be used, the server is not the exchange's,
    or the files cannot be written; 130 or 143 interrupted twice.
    """  # fmt: skip
    import asyncio

    from jaxcal.live.log import LiveLog
    from jaxcal.live.session import LiveSession
    from jaxcal.streams.recalibrator import STREAM_SOLVER, Recalibrator
    from jaxcal.venues.deribit_stream.feed import DeribitFeed, FeedError
    from jaxcal.venues.deribit_stream.market import DeribitMarket

    seconds = None if lasting is None else _duration("--for", lasting)
    asked = chosen_spec(spec, ModelName.SVCJ, model, None, None, rules)
    if asked.clock is not None:
        refuse("--spec: a live stream is in calendar time; take clock out of the file")
    name, rules = asked.template.__name__, asked.rules
    say(f"{name}, {currency}, profile {rules.suited_to('crypto')}")
    folder = Path(f"{currency}-live") if out is None else out
    used = 0
    try:
        feed = DeribitFeed(currency, url=url, market=DeribitMarket(max_age=_duration("--max-age", max_age)))
        recalibrator = Recalibrator(asked, memory=memory, solver=None if spec else STREAM_SOLVER)
        with LiveLog(folder) as log, _screen(f"{name}, {currency}") as screen:

            def show(step: Any) -> None:
                nonlocal used
                used += step.used
                screen.show(step)

            session = LiveSession(
                feed, recalibrator, every=_duration("--every", every), log=log.write, show=show, rules=rules
            )
            asyncio.run(_until_stopped(session, seconds))
    except (FeedError, ValueError) as error:
        refuse(str(error))
    except OSError as error:
        refuse(f"the files cannot be written to {folder}: {error}")
    say(f"{used} fits used; see {folder}")
    raise typer.Exit(0 if used else 1)


async def _until_stopped(session: Any, seconds: float | None) -> None:
    """Run the session until it ends, or until a signal stops it."""
    import asyncio

    task = asyncio.create_task(session.run(seconds=seconds))
    loop = asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM)

    def stop() -> None:
        task.cancel()
        for name in signals:
            loop.remove_signal_handler(name)
            signal.signal(name, _end_at_once)
        complain("jaxcal: stopping when the fit at work is done; once more stops at once")

    for name in signals:
        with contextlib.suppress(NotImplementedError, RuntimeError):  # Windows; a thread that is not the main one
            loop.add_signal_handler(name, stop)
    with contextlib.suppress(asyncio.CancelledError):
        await task


def _end_at_once(number: int, _: FrameType | None) -> None:
    """On the second interrupt: the current fit is lost, the lines of all earlier fits are written."""
    console().show_cursor()  # the panel has hidden it
    os._exit(128 + number)


class _screen:  # noqa: N801
    """A panel on a terminal; without one, a line for each recalibration."""

    def __init__(self, title: str) -> None:
        from rich.live import Live

        self._title, self._console = title, console()
        self._live = Live(console=self._console, auto_refresh=False) if self._console.is_terminal else None

    def __enter__(self) -> "_screen":
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, step: Any) -> None:
        """Show a recalibration."""
        from jaxcal.cli.console.live_panel import health_line, live_line, live_panel

        if self._live is not None:
            self._live.update(live_panel(step, title=self._title), refresh=True)
        else:
            say(f"{live_line(step)}; {health_line(step)}")


def _duration(option: str, text: str) -> float:
    """Seconds of a text such as 500ms, 5s, 10m or 8h."""
    match = _DURATION.fullmatch(text.strip())
    if match is None or not (seconds := float(match[1]) * _SECONDS[match[2]]) > 0.0:
        refuse(f"{option} {text!r} is no time such as 500ms, 5s, 10m or 8h")
    return seconds
