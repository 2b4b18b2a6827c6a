"""Mutated messages and answers to the live client: each is counted, none ends it, and none changes a book for good.

    python -m tests.venues.deribit_stream.fuzz_live --cases 100000

A case is one message: of a subscription, changed in its text or in its fields, repeated, out of order or lost; an
answer that nobody asked for; bytes that are no text; or a conversation in which one answer is another one. After every
400 messages the exchange sends what the client asks for, and what the client then holds must be the truth.
"""

import argparse
import asyncio
import contextlib
import json
import random
from collections import Counter
from typing import Any

import jaxcal as jc
from jaxcal.venues.deribit_stream.feed import DeribitFeed, FeedError, FeedSettings
from jaxcal.venues.deribit_stream.json_rpc import Broken, JsonRpc
from jaxcal.venues.deribit_stream.market import DeribitMarket
from tests.venues.deribit_stream.replay_server import GARBAGE, SyntheticMarket, message
from tests.venues.mutations import mutated_text

BATCH = 400
HUGE = "1" + "0" * 400
ODD = (
    "null", "true", "false", '""', '"1"', "-1", "0", "-0.0", "1e300", "1e999", "1e-400", "NaN", "Infinity", "-Infinity",
    HUGE, "-" + HUGE, "9" * 5000, "1e15", "9223372036854775807", "9223372036854775808", "[]", "{}", "[[]]", '{"a": {}}',
    "[" * 900 + "]" * 900, '{"message":' * 300 + "1" + "}" * 300, "[" * 10_000 + "]" * 10_000, f'"{"x" * 100_000}"',
    r'"\ud800"', r'"\u001b[31m"', '"[/red]"', "1.5", '["new", 1, 1]', '[["new", 1e400, -1]]', f'[["new", {HUGE}, 1]]',
    '[["delete", null, 0]]', '[[["new"], 1, 1]]', '"snapshot"', '"change"', '"BTC-27MAR26-90000-C"', '"BTC-PERPETUAL"',
)  # fmt: skip
BYTES = (b"\xff\xfe", b"\x80" * 100, b"", b"\x00", b'{"id": \xff}', b"\xef\xbb\xbf{}", b"\xed\xa0\x80")
CLOCKS = (
    "0",
    "-1",
    "1000000000000000000",
    "NaN",
    '"1749938299000"',
    "true",
    "null",
    HUGE,
    "1.5e12",
    "[]",
    "2000000000",
)


class Socket:
    """What the client reads: messages in their order, then the end."""

    def __init__(self, texts: list[str | bytes]) -> None:
        self.texts = texts

    async def send(self, text: str) -> None:
        json.loads(text)

    async def __aiter__(self):
        for text in self.texts:
            yield text


class Exchange:
    """A connection on which every question is answered, one of them with something else."""

    def __init__(self, source: SyntheticMarket, rng: random.Random) -> None:
        self.source, self.rng, self.wrong, self.asked = source, rng, rng.randrange(6), 0
        self.queue: asyncio.Queue[str | bytes] = asyncio.Queue()

    async def send(self, text: str) -> None:
        request = json.loads(text)
        result: Any = "ok"
        if request["method"] == "public/get_time":
            result = self.source.now()
        elif request["method"] == "public/get_instruments":
            result = self.source.instruments(request["params"]["kind"])
        answer = json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result})
        if self.asked == self.wrong:
            self.queue.put_nowait(wrong_answer(answer, request["id"], self.rng))
        else:
            self.queue.put_nowait(answer)
        self.asked += 1

    async def __aiter__(self):
        while True:
            yield await self.queue.get()


def wrong_answer(answer: str, number: int, rng: random.Random) -> str | bytes:
    kind = rng.randrange(5)
    if kind == 0:
        return f'{{"jsonrpc": "2.0", "id": {number}, "error": {rng.choice(ODD)}}}'
    if kind == 1:
        return f'{{"jsonrpc": "2.0", "id": {number}, "result": {rng.choice(ODD + CLOCKS)}}}'
    if kind == 2:
        listed = f'[{rng.choice(ODD)}, {{"instrument_name": {rng.choice(ODD)}}}]'
        return f'{{"jsonrpc": "2.0", "id": {number}, "result": {listed}}}'
    return mutated_text(answer, rng) if kind == 3 else odd_field(answer, rng)


def odd_field(text: str, rng: random.Random) -> str:
    """A message with one of its values, however deep, another one; left out; or under another name."""
    value = json.loads(text)
    places: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        for key in list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ():
            places.append((node, key))
            walk(node[key])

    walk(value)
    node, key = rng.choice(places)
    kind = rng.randrange(8)
    if kind == 0:
        del node[key]
        return json.dumps(value)
    if kind == 1 and isinstance(node, dict):
        node[f"{key}x"] = node.pop(key)
        return json.dumps(value)
    node[key] = "\x00here\x00"
    return json.dumps(value).replace(json.dumps("\x00here\x00"), rng.choice(ODD), 1)


def mutated(text: str, rng: random.Random) -> str | bytes:
    kind = rng.randrange(10)
    if kind < 5:
        return odd_field(text, rng)
    if kind < 8:
        return mutated_text(text, rng)
    if kind == 8:
        number = rng.choice(("0", "1", "true", "1.0", '"1"', "-1", HUGE, "null", "[]"))
        return f'{{"jsonrpc": "2.0", "id": {number}, "{rng.choice(("result", "error"))}": {rng.choice(ODD)}}}'
    return rng.choice(BYTES + GARBAGE)


def differences(feed: DeribitFeed, source: SyntheticMarket) -> list[str]:
    return [
        name
        for name, contract in feed.view().contracts.items()
        if not contract.book.in_order
        or (dict(contract.book.bids), dict(contract.book.asks)) != (source.books[name].bids, source.books[name].asks)
        or contract.ticker is None
        or contract.ticker.time != source.tickers[name]["timestamp"]
    ]


async def check_stream(cases: int, rng: random.Random, tally: Counter[str]) -> None:
    """Messages of subscriptions, of which a third is mutated."""
    source = SyntheticMarket(seed=rng.randrange(1000), strikes=4, expiries=("27MAR26", "26JUN26"))
    feed = DeribitFeed("BTC", clock=lambda: source.now() / 1e3, market=DeribitMarket(patience=0.05, max_age=1e6))
    rpc = JsonRpc(Socket([]), timeout=1.0)  # pyright: ignore[reportArgumentType]
    assert feed._exchange.answered(source.now(), feed._clock(), feed._clock())
    feed.market.follow(source.names)

    async def read(texts: list[str | bytes]) -> None:
        before = sum(feed.market.counts.values())
        with contextlib.suppress(Broken):  # at the end of the messages, as when a server closes the connection
            await feed._read(Socket(texts), rpc)  # pyright: ignore[reportArgumentType]
        found = sum(feed.market.counts.values()) - before
        assert found >= len(texts) - sum(b"heartbeat" in (t if isinstance(t, bytes) else t.encode()) for t in texts)

    def asked_for() -> list[str | bytes]:
        needed = feed.market.snapshots_needed(feed.now())
        return [message("book", source.books[name].snapshot(name)) for name in needed]

    await read([message("book", source.books[name].snapshot(name)) for name in source.names])
    done = 0
    while done < cases:
        texts: list[str | bytes] = []
        end = min(done + BATCH, cases)
        while done < end:
            if len(texts) > 40:
                await read(texts)
                source.base += 100  # ms
                texts = asked_for()
            for kind, _, data in source.step():
                text = message(kind, data)
                if rng.random() < 1 / 3:
                    texts.append(mutated(text, rng))
                    done += 1
                elif rng.random() > 0.02:
                    texts += [text] * rng.choice((1, 1, 1, 2))
            if rng.random() < 0.05 and len(texts) > 4:
                texts[-4:] = rng.sample(texts[-4:], 4)
        await read(texts)
        assert feed.market.counts["messages not understood"] == 0, feed.last_error
        view = feed.view()
        try:
            quotes = view.table().quotes
            report = jc.inspect_quotes(quotes[quotes["instrument_name"].notna()].reset_index(drop=True))
            tally["stream: quotes used"] += int(report.table["verdict"].eq("used").sum())
        except jc.QuoteError:
            tally["stream: no surface"] += 1
        await read([message(kind, data) for name in source.names for kind, _, data in source.move(name)])
        # a level that a well-formed message said stays until the next snapshot
        tally["stream: books that a well-formed message changed"] += len(differences(feed, source))
        feed.market.disconnected()
        feed.market.subscribed(source.names, feed.now())
        wrong: list[str] = []
        for _ in range(8):  # what it asks for, and one more message on every contract
            source.base += 6000
            await read(asked_for())
            await read([message(kind, data) for name in source.names for kind, _, data in source.move(name)])
            if not (wrong := differences(feed, source)):
                break
        assert not wrong, f"{wrong[0]}: {feed.view().contracts[wrong[0]]} is not {source.books[wrong[0]]}"
        tally["stream: states found true"] += 1
    for name, count in feed.market.counts.items():
        tally[f"stream: {name}"] += count
    assert set(feed.market.counts) <= {
        "ticker", "late ticker", "snapshot", "applied", "repeated", "waiting", "gap", "not followed", "garbage",
        "other",
        "ahead of the clock", "snapshots asked for again", "answers that nobody waits for", "messages not understood",
    }  # fmt: skip


async def check_conversation(rng: random.Random, tally: Counter[str]) -> None:
    """The beginning of a connection in which one answer is another one: it is set up, or a documented end."""
    source = SyntheticMarket(strikes=2, expiries=("27MAR26",))
    feed = DeribitFeed("BTC", settings=FeedSettings(timeout=0.02))
    socket = Exchange(source, rng)
    rpc = JsonRpc(socket, timeout=feed.settings.timeout)  # pyright: ignore[reportArgumentType]
    talk = asyncio.create_task(feed._converse(socket, rpc))  # pyright: ignore[reportArgumentType]
    ready = asyncio.create_task(feed.ready.wait())
    await asyncio.wait([talk, ready], return_when=asyncio.FIRST_COMPLETED, timeout=5.0)
    if talk.done():
        error = talk.exception()
        assert isinstance(error, Broken | FeedError), repr(error)
        assert str(error).isprintable()
        assert len(str(error)) < 500
        if isinstance(error, FeedError):  # an answer that is a list, of contracts of another coin or of none
            assert "lists no options" in str(error)
        tally[f"conversation: {type(error).__name__}"] += 1
    else:
        assert feed.ready.is_set(), "neither set up nor ended"
        assert abs(feed.now() - source.now()) < 10_000 or feed.market.counts["clock answers not believed"]
        tally["conversation: set up"] += 1
    assert feed.market.counts["messages not understood"] == 0, feed.last_error
    for task in (talk, ready):
        task.cancel()
    await asyncio.gather(talk, ready, return_exceptions=True)


def run(cases: int, seed: int = 0) -> Counter[str]:
    """This many cases; an AssertionError, or an error of ours, where one is not survived."""
    rng, tally = random.Random(seed), Counter[str]()

    async def every() -> None:
        talks = max(1, cases // 50)
        for _ in range(talks):
            await check_conversation(rng, tally)
        left = cases - talks
        while left > 0:  # a new market now and then
            size = min(left, 10 * BATCH)
            await check_stream(size, rng, tally)
            left -= size

    asyncio.run(every())
    tally["cases"] = cases
    return tally


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for what, count in sorted(run(options.cases, options.seed).items()):
        print(f"{what}: {count:,}")


if __name__ == "__main__":
    main()
