"""A stand-in for the exchange: the same protocol over a real websocket, with recorded or synthetic markets, and faults.

It keeps the true books by itself, with nothing of the library, so that what a client made of them can be compared.
"""

import asyncio
import contextlib
import gzip
import json
import math
import random
import time
from dataclasses import dataclass, field

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

GARBAGE = (
    "no JSON at all", "{", "[]", "null", "17", '"text"', '{"jsonrpc": "2.0"}', '{"method": "subscription"}',
    "\x00\x01",
    '{"method": "subscription", "params": {"channel": 3, "data": [1, {"instrument_name": 4}, null]}}',
    '{"method": "subscription", "params": {"data": {"instrument_name": "BTC-NEVER", "type": "change"}}}',
    '{"id": 999999, "result": "nobody asked"}', '{"id": "x", "error": {}}', "NaN", '{"a": 1, "a": 2}',
    "[" * 5000,
)  # fmt: skip


def normal(x):
    return 0.5 * math.erfc(-x / math.sqrt(2.0))


def coin_price(forward, strike, years, vol, sign):
    deviation = vol * math.sqrt(years)
    d1 = math.log(forward / strike) / deviation + 0.5 * deviation
    return sign * (normal(sign * d1) - strike / forward * normal(sign * (d1 - deviation)))


@dataclass
class Book:
    """The truth about one order book, kept in the plainest way."""

    bids: dict = field(default_factory=dict)
    asks: dict = field(default_factory=dict)
    change_id: int = 0
    time: int = 0

    def apply(self, data):
        if data["type"] == "snapshot":
            self.bids, self.asks = {}, {}
        for side, levels in ((self.bids, data["bids"]), (self.asks, data["asks"])):
            for action, price, amount in levels:
                side.pop(price, None)
                if action != "delete":
                    side[price] = amount
        self.change_id, self.time = data["change_id"], data["timestamp"]

    def snapshot(self, name):
        levels = {
            "bids": [["new", p, a] for p, a in sorted(self.bids.items(), reverse=True)],
            "asks": [["new", p, a] for p, a in sorted(self.asks.items())],
        }
        return {
            "type": "snapshot",
            "instrument_name": name,
            "change_id": self.change_id,
            "timestamp": self.time,
        } | levels


class SyntheticMarket:
    """A chain whose forward walks: every step moves one contract's quotes, in its book and its ticker."""

    def __init__(
        self, *, seed=0, coin="BTC", expiries=("27MAR26", "24APR26", "26JUN26"), strikes=9, start="2026-03-02T12:00Z"
    ):
        import pandas as pd

        self.rng, self.coin = random.Random(seed), coin
        self.began, self.base = time.monotonic(), int(pd.Timestamp(start).timestamp() * 1000)
        self.spot, self.change_id = 90_000.0, 1_000_000
        self.books, self.tickers, self.terms, self.futures = {}, {}, {}, {}
        for expiry in expiries:
            at = int(pd.Timestamp(pd.to_datetime(expiry, format="%d%b%y")).tz_localize("UTC").timestamp()) + 8 * 3600
            self.futures[f"{coin}-{expiry}"] = at
            width = 0.6 * math.sqrt((at - self.base / 1000) / (365 * 86400))
            grid = {round(90_000 * math.exp(width * (4.0 * i / (strikes - 1) - 2.0)), -3) for i in range(strikes)}
            for strike in sorted(grid):
                for sign, side in ((1.0, "C"), (-1.0, "P")):
                    self.terms[f"{coin}-{expiry}-{strike:.0f}-{side}"] = (at, strike, sign, f"{coin}-{expiry}")
        for name in [*self.terms, *self.futures]:
            self.books[name] = Book(change_id=self.change_id)
            self.move(name)

    def now(self):
        return self.base + int(1000 * (time.monotonic() - self.began))

    @property
    def names(self):
        return list(self.books)

    def instruments(self, kind):
        return [{"instrument_name": name, "kind": kind} for name in (self.terms if kind == "option" else self.futures)]

    def step(self):
        """The events of one step: which kind of channel, which contract, the data."""
        self.spot *= math.exp(1e-5 * self.rng.gauss(0.0, 1.0))
        return self.move(self.rng.choice(self.names))

    def move(self, name):
        now = max(self.now(), self.books[name].time + 1)
        at = self.futures.get(name) or self.terms[name][0]
        years = (at - now / 1000) / (365 * 86400)
        forward = self.spot * math.exp(0.04 * years)
        ticker = {"instrument_name": name, "timestamp": now, "index_price": round(self.spot, 2), "state": "open"}
        if name in self.futures:
            bid, ask, mark, tick = forward - 10.0, forward + 10.0, forward, 2.5
        else:
            _, strike, sign, index = self.terms[name]
            moneyness = math.log(strike / forward) / math.sqrt(years)
            vol = 0.6 - 0.08 * moneyness + 0.06 * moneyness**2 + 0.002 * self.rng.gauss(0.0, 1.0)
            mark, tick = coin_price(forward, strike, years, vol, sign), 0.0001
            half = max(0.01 * mark, 0.0002)
            bid, ask = mark - half, mark + half
            ticker |= {"mark_iv": round(100 * vol, 2), "underlying_price": round(forward, 4), "underlying_index": index}
        bid, ask = round(math.floor(bid / tick) * tick, 4), round(math.ceil(ask / tick) * tick, 4)
        data = self.change(name, bid if bid > 0.0 else None, ask, tick, now)
        book = self.books[name]
        best = {"best_bid_price": max(book.bids, default=None), "best_ask_price": min(book.asks, default=None)}
        sizes = {
            "best_bid_amount": book.bids.get(best["best_bid_price"], 0.0),
            "best_ask_amount": book.asks.get(best["best_ask_price"], 0.0),
        }
        self.tickers[name] = ticker | {"mark_price": round(mark, 6)} | best | sizes
        return [("book", name, data), ("ticker", name, self.tickers[name])]

    def change(self, name, bid, ask, tick, now):
        """The increment that takes the book to this bid and ask, three levels deep."""
        book = self.books[name]
        wanted = {"bids": {}, "asks": {}}
        for depth in range(3):
            if bid is not None and bid - depth * tick > 0:
                wanted["bids"][round(bid - depth * tick, 4)] = self.rng.randrange(1, 50) / 10
            wanted["asks"][round(ask + depth * tick, 4)] = self.rng.randrange(1, 50) / 10
        levels = {"bids": [], "asks": []}
        for side, old in (("bids", book.bids), ("asks", book.asks)):
            new = wanted[side]
            levels[side] = [["delete", p, 0.0] for p in old if p not in new]
            levels[side] += [["change" if p in old else "new", p, a] for p, a in new.items() if old.get(p) != a]
        self.change_id += self.rng.randrange(1, 9)
        data = {"type": "change", "instrument_name": name, "timestamp": now, "prev_change_id": book.change_id}
        data |= {"change_id": self.change_id} | levels
        book.apply(data)
        return data


class RecordedMarket:
    """The messages of a recording, one after the other."""

    def __init__(self, path, coin):
        with gzip.open(path, "rt") as file:
            messages = [json.loads(line)["message"] for line in file]
        data = [m["params"]["data"] for m in messages if m.get("method") == "subscription"]
        self.events = [d for d in data if d["instrument_name"].startswith(coin)]
        self.books, self.tickers = {}, {}
        rest = []
        for event in self.events:  # the first message on each contract is what a subscription begins with
            name, kept = event["instrument_name"], self.books if "change_id" in event else self.tickers
            if name in kept:
                rest.append(event)
            elif "change_id" in event:
                self.books[name] = Book()
                self.books[name].apply(event)
            else:
                self.tickers[name] = event
        self.rest, self.time = rest, max(e["timestamp"] for e in self.events)

    def now(self):
        return self.time

    @property
    def names(self):
        return list(self.books)

    def instruments(self, kind):
        return [{"instrument_name": name} for name in self.books] if kind == "option" else []

    def step(self):
        if not self.rest:
            return []
        event = self.rest.pop(0)
        name = event["instrument_name"]
        if "change_id" not in event:
            self.tickers[name] = event
            return [("ticker", name, event)]
        self.books[name].apply(event)
        return [("book", name, event)]


@dataclass
class Faults:
    """Probabilities of each fault, for one message."""

    lose: float = 0.0  # a change of a book; the exchange never loses a ticker for good
    repeat: float = 0.0
    overtake: float = 0.0
    garbage: float = 0.0
    disconnect: float = 0.0

    @classmethod
    def all(cls):
        return cls(lose=0.01, repeat=0.02, overtake=0.02, garbage=0.01, disconnect=0.0005)


class ReplayServer:
    """The exchange, at `url` while it runs: `async with ReplayServer(market) as server`."""

    def __init__(self, market, *, rate=None, faults=None, seed=0, ssl=None, heartbeats=False):
        self.market, self.rate, self.faults, self.rng = market, rate, faults or Faults(), random.Random(seed)
        self.ssl, self.heartbeats, self.silent, self.mute = ssl, heartbeats, False, set()
        self.clients, self.requests, self.sent, self.injected = {}, [], 0, dict.fromkeys(Faults.__annotations__, 0)

    async def __aenter__(self):
        self.server = await serve(self.handle, "localhost", 0, ssl=self.ssl, max_size=2**20)
        port = self.server.sockets[0].getsockname()[1]
        self.url = f"{'ws' if self.ssl is None else 'wss'}://localhost:{port}/ws/api/v2"
        self.pump_task = asyncio.create_task(self.pump()) if self.rate else None
        return self

    async def __aexit__(self, *_):
        if self.pump_task:
            self.pump_task.cancel()
            await asyncio.gather(self.pump_task, return_exceptions=True)
        self.server.close()
        await self.server.wait_closed()

    async def handle(self, socket):
        self.clients[socket] = {"channels": {}, "held": None, "unanswered": 0}
        beat = asyncio.create_task(self.beat(socket)) if self.heartbeats else None
        with contextlib.suppress(ConnectionClosed):
            async for text in socket:
                if not self.silent:
                    await self.answer(socket, json.loads(text))
        if beat:
            beat.cancel()
        self.clients.pop(socket, None)

    async def beat(self, socket):
        """As after `public/set_heartbeat`: who does not answer a test request is disconnected."""
        while True:
            await asyncio.sleep(0.1)
            self.clients[socket]["unanswered"] += 1
            if self.clients[socket]["unanswered"] > 10:
                await socket.close()
                return
            message = {"jsonrpc": "2.0", "method": "heartbeat", "params": {"type": "test_request"}}
            await self.send(socket, json.dumps(message))

    async def answer(self, socket, request):
        method, params = request["method"], request["params"]
        self.requests.append(method)
        client, begin, result = self.clients[socket], [], "ok"
        if method in self.mute:
            return
        if method == "public/get_time":
            result = self.market.now()
        elif method == "public/test":
            client["unanswered"], result = 0, {"version": "1.2.26"}
        elif method == "public/get_instruments":
            result = self.market.instruments(params["kind"])
        elif method == "public/subscribe":
            result = params["channels"]
            for channel in result:
                kind, name, _ = channel.split(".")
                if name not in self.market.books:
                    continue
                client["channels"][kind, name] = channel
                data = self.market.books[name].snapshot(name) if kind == "book" else self.market.tickers.get(name)
                begin.append((channel, data))
        elif method == "public/unsubscribe":
            for channel in params["channels"]:
                client["channels"].pop(tuple(channel.split(".")[:2]), None)
            result = params["channels"]
        answer = {"jsonrpc": "2.0", "id": request["id"], "result": result, "usIn": 1, "usOut": 2, "testnet": False}
        await self.send(socket, json.dumps(answer))
        for channel, data in begin:
            if data is not None:
                await self.send(socket, message(channel, data))

    async def send(self, socket, text):
        with contextlib.suppress(ConnectionClosed):
            await socket.send(text)
            self.sent += 1

    async def pump(self):
        """Steps of the market at the wanted rate of messages."""
        began, due = time.monotonic(), 0
        while self.rate:
            for _ in range(100):  # then others have their turn, however far behind this is
                if not self.rate or due >= (time.monotonic() - began) * self.rate:
                    break
                events = await self.step()
                if not events:
                    return
                due += events
            await asyncio.sleep(0.005)

    async def step(self):
        events = self.market.step()
        for kind, name, data in events:
            for socket in list(self.clients):
                await self.deliver(socket, kind, name, data)
        return len(events)

    async def deliver(self, socket, kind, name, data):
        """One message to one client, through the faults."""
        client = self.clients.get(socket)
        if client is None or self.silent or (kind, name) not in client["channels"]:
            return
        text = message(client["channels"][kind, name], data)
        if self.hit("garbage"):
            await self.send(socket, self.rng.choice(GARBAGE))
        if kind == "book" and self.hit("lose"):
            return
        if self.hit("disconnect"):
            await socket.close(1011) if self.rng.random() < 0.5 else socket.transport.abort()
            return
        if client["held"] is None and self.hit("overtake"):
            client["held"] = text
            return
        await self.send(socket, text)
        if self.hit("repeat"):
            await self.send(socket, text)
        if client["held"] is not None and self.rng.random() < 0.5:
            held, client["held"] = client["held"], None
            await self.send(socket, held)

    def hit(self, fault):
        found = self.rng.random() < getattr(self.faults, fault)
        self.injected[fault] += found
        return found

    async def settle(self):
        """No more faults; what was held is sent, and every contract moves once more: the last loss shows by that."""
        self.faults, self.rate = Faults(), None
        for socket, client in list(self.clients.items()):
            if client["held"] is not None:
                held, client["held"] = client["held"], None
                await self.send(socket, held)
        if isinstance(self.market, SyntheticMarket):
            for name in self.market.names:
                for kind, _, data in self.market.move(name):
                    for socket in list(self.clients):
                        await self.deliver(socket, kind, name, data)


def message(channel, data):
    return json.dumps({"jsonrpc": "2.0", "method": "subscription", "params": {"channel": channel, "data": data}})
