"""A live session under load: messages with faults at a set rate, for minutes, calibrated at a set cadence.

    python -m benchmarks.speed.live                         # 1,000 messages/s for 10 minutes, SVCJ every 5 s
    python -m benchmarks.speed.live --minutes 0.5 --model Bates

A server with the exchange's protocol runs in a process of its own, on the same cores, with some 530 synthetic
contracts. It loses, repeats, delays and breaks messages, and cuts connections. At the end what the client holds is
compared with the server's own books.

Writes `benchmarks/results/live.md`. Memory is the resident set of the client, from its first look after compiling to
its last; its slope is that of a line through all looks.
"""

import argparse
import asyncio
import multiprocessing
import resource
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.instruments.machine import description
from tests.venues.deribit_stream.replay_server import Faults, ReplayServer, SyntheticMarket

RESULTS = Path(__file__).parents[1] / "results" / "live.md"
EXPIRIES = ("3MAR26", "4MAR26", "6MAR26", "13MAR26", "20MAR26", "27MAR26", "24APR26", "29MAY26", "26JUN26", "25SEP26")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--rate", type=float, default=1000.0, help="messages a second that the server makes")
    parser.add_argument("--every", type=float, default=5.0, help="seconds from one look to the next")
    parser.add_argument("--model", default="SVCJ")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--strikes", type=int, default=30)
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    server = context.Process(target=_serve, args=(theirs, options.rate, options.seed, options.strikes), daemon=True)
    server.start()
    try:
        report = asyncio.run(_follow(ours, options))
    finally:
        server.terminate()
        server.join()
    print(report)
    RESULTS.write_text(report, encoding="utf-8")


def _serve(pipe: Connection, rate: float, seed: int, strikes: int) -> None:
    async def run() -> None:
        market = SyntheticMarket(seed=seed, expiries=EXPIRIES, strikes=strikes)
        faults = Faults(lose=0.002, repeat=0.005, overtake=0.005, garbage=0.005, disconnect=0.00002)
        async with ReplayServer(market, rate=rate, faults=faults, seed=seed) as server:
            pipe.send(server.url)
            while not pipe.poll():
                await asyncio.sleep(0.05)
            pipe.recv()
            await server.settle()
            pipe.send((market.books, market.tickers, server.injected, server.sent))
            while True:
                await asyncio.sleep(1.0)

    asyncio.run(run())


async def _follow(pipe: Connection, options: argparse.Namespace) -> str:
    import jax

    jax.config.update("jax_enable_x64", True)
    import jaxcal as jc
    from jaxcal.cli.console.live_panel import health_line, live_line
    from jaxcal.live.session import LiveSession
    from jaxcal.venues.deribit_stream.feed import DeribitFeed

    jc.enable_compilation_cache()
    feed = DeribitFeed("BTC", url=await asyncio.to_thread(pipe.recv))
    looks: list[tuple[Any, float, float]] = []

    def show(step: Any) -> None:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        looks.append((step, _resident(), usage.ru_utime + usage.ru_stime))
        print(f"{live_line(step)[:90]}; {health_line(step)}; {_resident():.0f} MB", flush=True)

    session = LiveSession(feed, jc.Recalibrator(getattr(jc, options.model)), every=options.every, show=show)
    feeding = asyncio.create_task(feed.run())
    await session.look(seconds=60.0 * options.minutes)  # the feed goes on when the looks end
    pipe.send("settle")
    books, tickers, injected, sent = await asyncio.to_thread(pipe.recv)
    deadline = time.monotonic() + 60.0
    while (wrong := _wrong(feed, books, tickers)) and time.monotonic() < deadline:
        await asyncio.sleep(0.2)
    feeding.cancel()
    await asyncio.gather(feeding, return_exceptions=True)
    return _report(options, looks, session.missed, wrong, len(books), injected, sent)


def _wrong(feed: Any, books: dict[str, Any], tickers: dict[str, Any]) -> int:
    """How many contracts the client does not hold as the server does."""
    held, wrong = feed.view().contracts, 0
    for name, true in books.items():
        contract = held.get(name)
        book = contract and contract.book
        same = book and book.in_order and (dict(book.bids), dict(book.asks)) == (true.bids, true.asks)
        wrong += not (same and contract.ticker and contract.ticker.time == tickers[name]["timestamp"])
    return wrong


def _resident() -> float:
    """Resident megabytes of this process."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 1e6


def _report(
    options: argparse.Namespace,
    looks: list[Any],
    missed: int,
    wrong: int,
    contracts: int,
    injected: dict[str, int],
    sent: int,
) -> str:
    warm = [look for look in looks if not look[0].warming]
    seconds = np.array([step.seconds for step, _, _ in warm])
    memory, cpu = np.array([m for _, m, _ in warm]), np.array([c for _, _, c in warm])
    minutes = np.arange(len(warm)) * options.every / 60.0
    slope = np.polyfit(minutes, memory, 1)[0] if len(warm) > 2 else float("nan")
    steps = [step for step, _, _ in warm]
    messages = warm[-1][0].health.messages - warm[0][0].health.messages
    span = (steps[-1].time - steps[0].time).total_seconds()
    rows = {
        "contracts": f"{contracts}",
        "messages a second taken in": f"{messages / span:.0f}",
        "messages sent in all": f"{sent:,}",
        "faults": ", ".join(f"{count:,} {name}" for name, count in injected.items()),
        "connections made": f"{steps[-1].health.connections}",
        "books asked for again": f"{steps[-1].health.counts['snapshots asked for again']:,}",
        "contracts that differ from the server's at the end": f"{wrong}",
        "looks, and used ones": f"{len(warm)}, {sum(step.used for step in steps)}",
        "quotes in a surface, median": f"{np.median([step.quotes for step in steps]):.0f}",
        "seconds from look to result: median, 99 %, largest": "{:.2f}, {:.2f}, {:.2f}".format(
            *np.quantile(seconds, [0.5, 0.99, 1.0])
        ),
        "looks late, looks missed": f"{sum(step.late for step in steps)}, {missed}",
        "memory, MB: first look, last look, slope a minute": f"{memory[0]:.0f}, {memory[-1]:.0f}, {slope:+.2f}",
        "CPU of the client, share of a core": f"{(cpu[-1] - cpu[0]) / span:.2f}",
    }
    table = "\n".join(f"| {name} | {value} |" for name, value in (rows | description()).items())
    return f"""# A live session under load

Made by `python -m benchmarks.speed.live`, whose first lines say what is measured.

| {options.model}, every {options.every:g} s, {options.minutes:g} minutes | |
| --- | --- |
{table}
"""


if __name__ == "__main__":
    main()
