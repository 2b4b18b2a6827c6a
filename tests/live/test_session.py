"""A live market through a recalibrator: cadence, parameters, what is written, what is shown."""

import asyncio
import io
import json
import threading
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console
from typer.testing import CliRunner

import jaxcal as jc
from jaxcal.cli import app
from jaxcal.cli.console.live_panel import live_panel
from jaxcal.live.log import LiveLog
from jaxcal.live.recalibration import Health, Recalibration
from jaxcal.live.session import LiveSession
from jaxcal.venues.deribit_stream.feed import DeribitFeed, FeedError, FeedSettings
from jaxcal.venues.deribit_stream.market import DeribitMarket
from tests.venues.deribit_stream.replay_server import Faults, ReplayServer, SyntheticMarket

FAST = FeedSettings(silence=10.0, timeout=10.0, first_wait=0.01, longest_wait=0.05)


@pytest.mark.slow
def test_a_session_follows_the_market(tmp_path):
    steps: list[Recalibration] = []

    async def main():
        faults = Faults(lose=0.01, repeat=0.02, overtake=0.02, garbage=0.02, disconnect=0.0005)
        async with ReplayServer(SyntheticMarket(), rate=400, faults=faults) as server:
            feed = DeribitFeed("BTC", url=server.url, settings=FAST, market=DeribitMarket(patience=0.1))
            with LiveLog(tmp_path) as log:
                session = LiveSession(
                    feed, jc.Recalibrator(jc.BlackScholes), every=0.5, log=log.write, show=steps.append
                )
                await session.run(seconds=2.5)
                assert session.missed <= 2

    asyncio.run(main())
    assert [step.number for step in steps] == list(range(len(steps)))
    assert [step.warming for step in steps] == [True] + [False] * (len(steps) - 1)
    assert 4 <= len(steps) <= 7  # the first compiles; then one every 0.5 s
    for step in steps:
        assert step.used
        assert step.quotes >= 18  # of 27: contracts move one by one, and cleaning leaves out some that lag their smile
        assert 0.58 < step.parameters["sigma"] < 0.72
        assert 0.4 < step.parameters["sigma_low"] < step.parameters["sigma"] < step.parameters["sigma_high"] < 0.9
    gaps = pd.Series([step.time for step in steps[1:]]).diff().dt.total_seconds().dropna()
    assert gaps.between(0.3, 1.2).all()
    lines = [json.loads(line) for line in (tmp_path / "recalibrations.jsonl").read_text().splitlines()]
    table = pd.read_parquet(tmp_path / "recalibrations")
    assert len(lines) == len(table) == len(steps)
    assert lines[-1]["sigma"] == table["sigma"].iloc[-1] == steps[-1].parameters["sigma"]
    assert lines[-1]["messages"] > 300
    assert table["time"].dt.tz is not None


def test_a_market_without_quotes_is_skipped_with_a_reason():
    steps: list[Recalibration] = []

    async def main():
        async with ReplayServer(SyntheticMarket()) as server:
            market = DeribitMarket(max_age=0.01)  # nothing moves, so all is stale
            feed = DeribitFeed("BTC", url=server.url, settings=FAST, market=market)
            await LiveSession(feed, jc.Recalibrator(jc.BlackScholes), every=0.1, show=steps.append).run(seconds=0.25)

    asyncio.run(main())
    assert {step.update for step in steps} == {"SKIPPED"}
    assert steps[0].sentence.startswith("Not used: ")
    assert steps[0].contracts_left_out == 54
    assert not steps[0].parameters


def test_looks_that_are_due_while_one_is_made_are_left_out_and_reading_goes_on(monkeypatch):
    steps: list[Recalibration] = []

    def slow(self, view):
        time.sleep(0.05 if len(steps) < 3 else 0.25)
        return Recalibration(-1, pd.Timestamp(view.time, unit="ms", tz="UTC"), "UPDATED", "")

    monkeypatch.setattr(LiveSession, "_fitted", slow)

    async def main():
        async with ReplayServer(SyntheticMarket(), rate=500) as server:
            feed = DeribitFeed("BTC", url=server.url, settings=FAST)
            session = LiveSession(feed, jc.Recalibrator(jc.BlackScholes), every=0.2, show=steps.append)
            await session.run(seconds=1.9)
            return session.missed

    missed = asyncio.run(main())
    assert [step.late for step in steps] == [False] * 3 + [True] * (len(steps) - 3)
    assert missed == len(steps) - 3  # each of them takes two turns
    assert missed >= 2
    messages = [step.health.messages for step in steps]
    assert min(b - a for a, b in pairwise(messages[3:])) > 100  # 0.4 s of 500 a second


def test_a_feed_that_cannot_go_on_ends_the_session():
    async def main():
        async with ReplayServer(SyntheticMarket()) as server:
            session = LiveSession(DeribitFeed("ETH", url=server.url), jc.Recalibrator(jc.BlackScholes), every=1.0)
            with pytest.raises(FeedError, match="lists no options"):
                await session.run()

    asyncio.run(main())


def test_parts_of_a_log_go_on_where_an_earlier_session_ended(tmp_path):
    step = Recalibration(0, pd.Timestamp("2026-03-02T12:00Z"), "UPDATED", "", parameters={"sigma": 0.6})
    for rows in (1001, 1):
        with LiveLog(tmp_path) as log:
            for _ in range(rows):
                log.write(step)
    parts = sorted(path.name for path in tmp_path.glob("recalibrations/*"))
    assert parts == [f"part-00000{i}.parquet" for i in range(4)]
    assert len(pd.read_parquet(tmp_path / "recalibrations")) == 1002
    assert len((tmp_path / "recalibrations.jsonl").read_text().splitlines()) == 1002
    with pytest.raises(OSError, match=r"recalibrations\.jsonl"):
        LiveLog(tmp_path / "recalibrations.jsonl")


class Served:
    """A replay server in a thread with a loop of its own."""

    def __init__(self):
        self.started, self.url = threading.Event(), ""
        self.thread = threading.Thread(target=lambda: asyncio.run(self.serve()))

    async def serve(self):
        self.loop, self.stop = asyncio.get_running_loop(), asyncio.Event()
        async with ReplayServer(SyntheticMarket(), rate=300) as server:
            self.url = server.url
            self.started.set()
            await self.stop.wait()

    def __enter__(self):
        self.thread.start()
        assert self.started.wait(5.0)
        return self

    def __exit__(self, *_):
        self.loop.call_soon_threadsafe(self.stop.set)
        self.thread.join(5.0)


def run(*arguments):
    return CliRunner().invoke(app, ["live", "deribit", *map(str, arguments)], catch_exceptions=False)


@pytest.mark.slow
def test_the_command_shows_and_writes(tmp_path):
    with Served() as served:
        result = run(
            "--model",
            "black-scholes",
            "--url",
            served.url,
            "--every",
            "300ms",
            "--for",
            "1s",
            "--out",
            tmp_path / "live",
        )
    assert result.exit_code == 0, result.output
    assert "STARTED: " in result.stdout
    assert "connected; 57 contracts" in result.stdout
    assert "UPDATED: " in result.stdout
    assert len(pd.read_parquet(tmp_path / "live/recalibrations")) >= 3


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--every", "5"], "--every '5' is no time such as 500ms, 5s, 10m or 8h"),
        (["--for", "0s"], "--for '0s' is no time"),
        (["--url", "ws://www.deribit.com/ws"], "only wss:// is taken"),
        (["--currency", "b/t"], "currency 'b/t' is none such as BTC"),
        (["--model", "svi"], "flat models"),
        (["--memory", "-1"], "memory is -1.0"),
        (["--out", "file"], "the files cannot be written to file"),
    ],
)
def test_what_cannot_be_used_is_a_sentence(tmp_path, monkeypatch, options, sentence):
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    result = run(*options)
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("width", [40, 80])
def test_the_panel_shows_whole_numbers_and_the_doubts(width):
    counts = {"ticker": 7, "clock answers not believed": 2, "answers that nobody waits for": 1, "garbage": 3}
    values = {name + end: 1234.5678 for name in ("jump_intensity", "sigma") for end in ("", "_low", "_high")}
    step = Recalibration(
        0, pd.Timestamp("2026-03-02T12:00Z"), "UPDATED", "Updated.", parameters=values, health=Health(counts=counts)
    )
    file = io.StringIO()
    Console(file=file, width=width).print(live_panel(step, title="BTC"))
    shown = " ".join(file.getvalue().split())
    assert shown.count("1234.5678") == 6
    assert "2 clock answers not believed; 1 answers that nobody waits for" in shown
    assert step.health.messages == 10
    row = step.row()
    assert row["clock_answers_not_believed"] == 2
    assert row["ahead_of_the_clock"] == 0


def test_a_look_that_fails_is_skipped_with_the_reason(monkeypatch):
    steps: list[Recalibration] = []

    def failing(*_, **__):
        raise OverflowError("int too large to convert to float")

    monkeypatch.setattr("jaxcal.live.session.inspect_quotes", failing)

    async def main():
        async with ReplayServer(SyntheticMarket(strikes=3)) as server:
            feed = DeribitFeed("BTC", url=server.url, settings=FAST)
            await LiveSession(feed, jc.Recalibrator(jc.BlackScholes), every=0.1, show=steps.append).run(seconds=0.25)

    asyncio.run(main())
    assert len(steps) >= 2
    assert {step.update for step in steps} == {"SKIPPED"}
    assert steps[0].sentence == "Not used: int too large to convert to float"


def test_a_clock_that_is_put_back_stops_no_stream():
    steps: list[Recalibration] = []

    async def main():
        async with ReplayServer(SyntheticMarket(strikes=5), rate=50) as server:
            feed = DeribitFeed("BTC", url=server.url, settings=FAST)
            session = LiveSession(feed, jc.Recalibrator(jc.BlackScholes), every=0.2)
            task = asyncio.create_task(feed.run())
            await feed.ready.wait()
            await asyncio.sleep(0.3)
            view = feed.view()
            for by in (0, 1000, -60_000, -59_000):
                moved = replace(view, time=view.time + by, max_age=1e6)
                steps.append(await asyncio.to_thread(session._step, moved, session._health(), 0.0))
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())
    assert [step.used for step in steps] == [True] * 4
    assert "OUT_OF_ORDER" not in {step.update for step in steps}


def test_a_line_that_was_cut_spoils_no_other(tmp_path):
    step = Recalibration(0, pd.Timestamp("2026-03-02T12:00Z"), "UPDATED", "", parameters={"sigma": 0.6})
    (tmp_path / "recalibrations.jsonl").write_text('{"number": 0}\n{"number": 1, "upd')
    for _ in range(2):
        with LiveLog(tmp_path) as log:
            log.write(step)
    lines = (tmp_path / "recalibrations.jsonl").read_text().splitlines()
    assert [json.loads(line)["number"] for line in (lines[0], *lines[2:])] == [0, 0, 0]
    assert lines[1] == '{"number": 1, "upd'
