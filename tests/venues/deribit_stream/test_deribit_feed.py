"""The client against a server with the exchange's protocol and faults: what it holds at the end is the truth."""

import asyncio
import random
import shutil
import ssl
import subprocess
import sys

import pytest

from jaxcal.venues.deribit_stream.feed import DeribitFeed, FeedError, FeedSettings
from jaxcal.venues.deribit_stream.market import DeribitMarket
from tests.venues.deribit_stream.replay_server import Faults, RecordedMarket, ReplayServer, SyntheticMarket

FAST = FeedSettings(silence=10.0, timeout=10.0, first_wait=0.01, longest_wait=0.05)


def feed_of(server, currency="BTC", settings=FAST, **options):
    market = DeribitMarket(patience=0.05)
    return DeribitFeed(currency, url=server.url, settings=settings, market=market, rng=random.Random(0), **options)


async def until(condition, seconds=40.0):
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


async def talk(server, feed, script):
    """Run the feed beside a script, and stop it."""
    task = asyncio.create_task(feed.run())
    try:
        await until(lambda: feed.ready.is_set() or task.done())
        if task.done():
            task.result()
        return await script()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def differences(feed, market):
    """Contracts of which the client does not hold the truth."""
    wrong = []
    for name, contract in feed.view().contracts.items():
        book, true, ticker = contract.book, market.books[name], market.tickers.get(name)
        same = book.in_order and (dict(book.bids), dict(book.asks), book.change_id) == (
            true.bids,
            true.asks,
            true.change_id,
        )
        last = (
            contract.ticker is None
            if ticker is None
            else contract.ticker and contract.ticker.time == ticker["timestamp"]
        )
        if not (same and last):
            wrong.append(name)
    return wrong


def test_a_quiet_stream_is_followed_exactly():
    async def main():
        async with ReplayServer(SyntheticMarket(), rate=2000) as server:
            feed = feed_of(server)

            async def script():
                await until(lambda: feed.market.counts["applied"] > 100)
                await server.settle()
                await until(lambda: not differences(feed, server.market))

            await talk(server, feed, script)
            counts = feed.market.counts
            assert feed.view().table().entries["fault"].eq("").sum() == 54
            assert len(feed.view().contracts) == 57
            assert sum(counts[name] for name in ("gap", "repeated", "waiting", "garbage", "late ticker")) == 0
            assert abs(feed.now() - server.market.now()) < 5000  # the exchange's clock, not this machine's
            assert feed.connections == 1

    asyncio.run(main())


@pytest.mark.parametrize("seed", [0, 1])
def test_after_all_faults_the_state_is_the_truth(seed):
    async def main():
        faults = Faults(lose=0.02, repeat=0.05, overtake=0.05, garbage=0.05, disconnect=0.002)
        async with ReplayServer(SyntheticMarket(seed=seed), rate=1000, faults=faults, seed=seed) as server:
            feed = feed_of(server)

            async def script():
                seen = ("repeated", "waiting", "garbage", "snapshots asked for again")
                await until(lambda: all(server.injected.values()) and all(feed.market.counts[name] for name in seen))
                await server.settle()
                await until(lambda: feed.ready.is_set() and not differences(feed, server.market))

            await talk(server, feed, script)
            assert feed.connections >= 2
            assert feed.last_error

    asyncio.run(main())


@pytest.mark.market_data
@pytest.mark.parametrize("coin", ["BTC", "ETH"])
def test_a_recorded_stream_is_followed(market_data, coin):
    path = market_data / "deribit/raw/websocket_ticker_book_2021-07-22.jsonl.gz"
    if not path.exists():
        pytest.skip(f"{path.name} is not in this set")

    async def main():
        faults = Faults(repeat=0.2, overtake=0.2, garbage=0.2)
        async with ReplayServer(RecordedMarket(path, coin), rate=500, faults=faults) as server:
            feed = feed_of(server, coin, FeedSettings(interval="raw"))

            async def script():
                await until(lambda: not server.market.rest)
                await server.settle()
                await until(lambda: not differences(feed, server.market))

            await talk(server, feed, script)
            assert len(feed.view().contracts) == {"BTC": 7, "ETH": 3}[coin]

    asyncio.run(main())


def test_a_silent_server_is_left_and_heartbeats_are_answered():
    async def main():
        async with ReplayServer(SyntheticMarket(), heartbeats=True) as server:
            patient = FeedSettings(silence=2.0, timeout=10.0, first_wait=0.01, longest_wait=0.05)
            feed = feed_of(server, settings=patient)

            async def script():
                # nothing but test requests, each of which must be answered
                await until(lambda: server.requests.count("public/test") >= 5)
                assert feed.connections == 1
                server.silent = True
                await until(lambda: feed.last_error != "")
                server.silent = False
                await until(lambda: feed.connections >= 2 and feed.ready.is_set())

            await talk(server, feed, script)

    asyncio.run(main())


def test_an_unanswered_request_ends_the_connection():
    async def main():
        async with ReplayServer(SyntheticMarket()) as server:
            server.mute = {"public/subscribe"}
            feed = feed_of(server, settings=FeedSettings(timeout=0.5, first_wait=0.01, longest_wait=0.05))
            task = asyncio.create_task(feed.run())
            await until(lambda: feed.connections >= 2)
            assert feed.last_error == "no answer to public/subscribe within 0.5 s"
            server.mute = set()
            await until(feed.ready.is_set)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())


def test_a_server_that_is_away_is_tried_again():
    async def main():
        async with ReplayServer(SyntheticMarket()) as server:
            feed = feed_of(server)
        task = asyncio.create_task(feed.run())
        await until(lambda: feed.last_error != "")
        assert not task.done()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())


def test_a_coin_without_contracts_is_refused():
    async def main():
        async with ReplayServer(SyntheticMarket()) as server:
            with pytest.raises(FeedError, match="lists no options and futures of BTC_USDC"):
                await feed_of(server, "BTC_USDC").run()

    asyncio.run(main())


def test_new_contracts_are_found():
    async def main():
        async with ReplayServer(SyntheticMarket(), rate=500) as server:
            every = list(server.market.terms.items())
            server.market.terms = dict(every[:10])
            feed = feed_of(server, settings=FeedSettings(refresh=0.3, timeout=20.0))

            async def script():
                assert len(feed.market.names) == 13
                server.market.terms = dict(every[5:])
                await until(lambda: feed.market.names == {name for name, _ in every[5:]} | set(server.market.futures))
                server.market.terms = dict(every)
                await server.settle()
                await until(lambda: not differences(feed, server.market))

            await talk(server, feed, script)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("currency", "url", "says"),
    [
        ("BTC", "ws://www.deribit.com/ws/api/v2", "only wss:// is taken"),
        ("BTC", "http://localhost/", "only wss:// is taken"),
        ("BTC", "wss://me:secret@www.deribit.com/ws/api/v2", "credentials are neither needed nor taken"),
        ("btc!", "wss://www.deribit.com/ws/api/v2", "is none such as BTC, ETH or BTC_USDC"),
    ],
)
def test_addresses_and_coins_that_are_refused(currency, url, says):
    with pytest.raises(FeedError, match=says) as caught:
        DeribitFeed(currency, url=url)
    assert "secret" not in str(caught.value)


def test_a_missing_client_library_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "websockets.exceptions", None)
    with pytest.raises(FeedError, match=r"pip install 'websockets>=15.0'"):
        asyncio.run(DeribitFeed("BTC").run())


def test_verification_cannot_be_switched_off():
    with pytest.raises(FeedError, match="must not be switched off"):
        DeribitFeed("BTC", tls=ssl._create_unverified_context())


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl program to make a certificate")
def test_a_certificate_is_verified(tmp_path):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    make = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    subprocess.run([*make.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    async def main():
        async with ReplayServer(SyntheticMarket(), ssl=context) as server:
            with pytest.raises(FeedError, match="self-signed certificate"):
                await feed_of(server).run()
            known = ssl.create_default_context(cafile=str(certificate))
            feed = feed_of(server, tls=known)
            await talk(server, feed, lambda: asyncio.sleep(0.0))
            assert feed.connections == 1

    asyncio.run(main())
