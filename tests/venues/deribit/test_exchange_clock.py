"""The exchange's clock: which answers are believed, and what its messages do to a clock that is wrong."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from jaxcal.venues.deribit.exchange_clock import ExchangeClock
from jaxcal.venues.deribit_stream.feed import DeribitFeed, FeedSettings
from jaxcal.venues.deribit_stream.market import DeribitMarket
from tests.venues.deribit_stream.replay_server import ReplayServer, SyntheticMarket

TIME = 1_772_452_800_000  # ms of the exchange at local time 100
WALL = TIME / 1e3
WRONG = [0, -1, 10**18, 10**400, float("nan"), 1.5e12, "1749938299000", True, None, [], {}, 1749938299]


@pytest.mark.parametrize("answer", WRONG)
def test_an_answer_that_is_no_time_changes_nothing(answer: Any) -> None:
    clock = ExchangeClock(100.0, WALL)
    assert not clock.answered(answer, 100.0, 100.1)
    assert clock.now(100.0) == TIME


def test_an_answer_is_of_the_middle_of_its_way() -> None:
    clock = ExchangeClock(100.0, WALL + 5e6)
    assert clock.answered(TIME, 99.0, 101.0)
    assert clock.now(100.0) == TIME
    assert clock.now(160.0) == TIME + 60_000


def test_messages_are_witnesses() -> None:
    clock = ExchangeClock(100.0, WALL)
    assert clock.answered(TIME + 10**10, 100.0, 100.0)  # in the future, but who knows
    for i in range(9):
        clock.heard(TIME + 1000 * i, 100.0 + i)
    assert not clock.doubtful  # of so few nothing follows
    clock.heard(TIME + 9000, 109.0)
    clock.heard(4 * 10**12, 109.0)  # one that is wrong itself
    assert clock.doubtful
    assert not clock.answered(TIME + 10**10, 110.0, 110.0)
    clock.follow_messages()
    assert clock.now(110.0) == TIME + 10_000
    assert clock.answered(TIME + 10_500, 110.0, 110.0)
    assert clock.now(110.0) == TIME + 10_500


def test_a_machine_that_slept_is_told_by_the_messages() -> None:
    clock = ExchangeClock(100.0, WALL)
    for i in range(64):
        clock.heard(TIME + 1000 * i, 100.0 + i)
    assert not clock.doubtful
    for i in range(64, 128):  # the local clock stood still for an hour
        clock.heard(TIME + 3_600_000 + 1000 * i, 100.0 + i)
    assert clock.doubtful
    assert clock.answered(TIME + 3_600_000 + 128_000, 228.0, 228.0)
    assert not clock.doubtful


class Answering(ReplayServer):
    """An exchange whose clock answers what it is told to."""

    wrong: str = "0"

    async def answer(self, socket: Any, request: dict[str, Any]) -> None:
        if request["method"] != "public/get_time":
            await super().answer(socket, request)
            return
        self.requests.append(request["method"])
        await self.send(socket, f'{{"jsonrpc": "2.0", "id": {request["id"]}, {self.wrong}}}')


async def follow(
    server: ReplayServer, feed: DeribitFeed, condition: Callable[[], bool], then: Callable[[], Awaitable[None]]
) -> None:
    task = asyncio.create_task(feed.run())
    try:
        async with asyncio.timeout(30.0):
            while not condition():
                await asyncio.sleep(0.01)
                assert not task.done(), task.exception()
            await then()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize(
    ("wrong", "wall"),
    [
        ('"result": 0', 9e9),
        (f'"result": 1{"0" * 400}', 0.0),
        ('"result": 4000000000000', 0.0),
        ('"error": {"code": 1}', 0.0),
    ],
)
def test_neither_a_wrong_clock_here_nor_there_makes_quotes_old(
    wrong: str, wall: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jaxcal.venues.deribit_stream.feed.time.time", lambda: wall)

    async def main() -> None:
        async with Answering(SyntheticMarket(), rate=500) as server:
            server.wrong = wrong
            market = DeribitMarket(patience=0.1)
            feed = DeribitFeed("BTC", url=server.url, market=market, settings=FeedSettings(silence=10.0, timeout=10.0))

            async def then() -> None:
                await asyncio.sleep(0.5)
                faults = feed.view().table().entries["fault"]
                assert not faults.str.contains("stale").any()
                assert market.counts["clock answers not believed"] >= 1
                assert feed.connections == 1

            def right() -> bool:
                return feed.ready.is_set() and abs(feed.now() - server.market.now()) < 5000

            await follow(server, feed, right, then)

    asyncio.run(main())


def test_what_is_awaited_moves_with_the_clock() -> None:
    source, market = SyntheticMarket(), DeribitMarket()
    market.follow(source.names)
    now = source.now()
    market.subscribed(source.names, now + 10**12)  # by a clock that is far ahead
    assert market.snapshots_needed(now + 6000) == []
    market.clock_moved(-(10**12))
    assert set(market.snapshots_needed(now + 6000)) == set(source.names)


def test_a_ticker_ahead_of_the_clock_does_not_silence_the_next() -> None:
    source, market = SyntheticMarket(), DeribitMarket()
    market.follow(source.names)
    name, now = source.names[0], source.now()
    for ahead in (200_000, 5):
        data = source.tickers[name] | {"timestamp": now + ahead}
        text = {"jsonrpc": "2.0", "method": "subscription", "params": {"channel": "x", "data": data}}
        assert market.receive(json.loads(json.dumps(text)), now) == [now + ahead]
    ticker = market.view(now).contracts[name].ticker
    assert ticker is not None
    assert ticker.time == now + 5
