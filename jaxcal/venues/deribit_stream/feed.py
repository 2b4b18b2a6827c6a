"""DeribitFeed: a client of Deribit's public stream: subscriptions, snapshots, heartbeats, reconnection."""

import asyncio
import contextlib
import random
import re
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from jaxcal._text import brief
from jaxcal.venues.deribit.exchange_clock import ExchangeClock
from jaxcal.venues.deribit.instrument import DeribitInstrument
from jaxcal.venues.deribit_stream.json_rpc import Broken, JsonRpc, Refused
from jaxcal.venues.deribit_stream.market import DeribitMarket, MarketView
from jaxcal.venues.json_file import parsed

DERIBIT_URL = "wss://www.deribit.com/ws/api/v2"
_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
_CHANNELS_A_REQUEST = 400
_LARGEST_MESSAGE = 4 * 1024 * 1024
_ROUND = 0.2  # seconds between checks for what is overdue


class FeedError(Exception):
    """Why a feed cannot continue, or a connection broke; a sentence.

    Example:
        >>> DeribitFeed("BTC", url="ws://example.com")
        Traceback (most recent call last):
        jaxcal.venues.deribit_stream.feed.FeedError: ws://example.com: only wss:// is taken, ...
    """


@dataclass(frozen=True)
class FeedSettings:
    """Settings of a feed, in seconds.

    Attributes:
        interval: how often the exchange groups changes: `"100ms"`, or `"agg2"`; `"raw"` needs an account.
        heartbeat: how often the exchange sends a test request; at least 10.
        silence: without any message for so long the connection counts as lost.
        timeout: for an answer.
        refresh: how often to ask for the list of contracts: new ones are listed every day.
        first_wait, longest_wait: bounds of the wait before the first and the later attempts to reconnect.
    """

    interval: str = "100ms"
    heartbeat: int = 10
    silence: float = 30.0
    timeout: float = 15.0
    refresh: float = 600.0
    first_wait: float = 0.5
    longest_wait: float = 30.0


class DeribitFeed:
    """A client of the exchange's public stream, for all options and futures of one coin.

    `run` connects, asks for the list of contracts, subscribes to order books and tickers of all of them, and keeps
    `market` up to date until it is cancelled. A lost connection is made again, with exponential backoff. Nothing but
    public methods is called: no account is needed, and no credentials are taken. The server's certificate is verified.

    Args:
        currency: `"BTC"`, `"ETH"`, or `"BTC_USDC"` for linear options.
        url: of the exchange; `wss://`, or `ws://` of this machine.
        settings: times.
        market: where to keep the state.
        clock: local seconds, monotonic.
        rng: of the jitter.
        tls: for a certificate authority of one's own; verification is always on.

    Attributes:
        connections: how many were made.
        last_error: why the last one ended, empty if none has.
        ready: set once contracts are subscribed to.
        market: its `counts` also has `"clock answers not believed"`, `"answers that nobody waits for"`, and
            `"messages not understood"`: what ended in an error of ours, whose sentence is then `last_error`.

    Raises:
        FeedError: a currency or URL that is not taken.

    Example:
        >>> from jaxcal.venues.deribit_stream.feed import DeribitFeed
        >>> DeribitFeed("BTC", url="wss://www.deribit.com/ws/api/v2").connections
        0
    """

    def __init__(
        self,
        currency: str,
        *,
        url: str = DERIBIT_URL,
        settings: FeedSettings = FeedSettings(),
        market: DeribitMarket | None = None,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        parts = urlsplit(url)
        if parts.username is not None or parts.password is not None:
            raise FeedError("the URL holds a user name: credentials are neither needed nor taken")
        if parts.scheme != "wss" and not (parts.scheme == "ws" and parts.hostname in _LOCAL):
            raise FeedError(f"{url}: only wss:// is taken, for the server must be known to be the exchange's")
        coin, _, money = currency.partition("_")
        try:
            DeribitInstrument.of(f"{currency}-PERPETUAL")
        except ValueError:
            raise FeedError(f"currency {currency!r} is none such as BTC, ETH or BTC_USDC") from None
        tls = tls or ssl.create_default_context()
        if tls.verify_mode != ssl.CERT_REQUIRED or not tls.check_hostname:
            raise FeedError("the verification of certificates must not be switched off")
        self.currency, self.url, self.settings = currency, url, settings
        self.market = market or DeribitMarket()
        self.connections, self.last_error, self.ready = 0, "", asyncio.Event()
        self._asked = money or coin
        self._secure = tls if parts.scheme == "wss" else None
        self._clock, self._rng = clock, rng or random.Random()
        self._exchange = ExchangeClock(clock(), time.time())
        self._heard = clock()

    def now(self) -> int:
        """The exchange's time, ms since 1970: see `ExchangeClock`."""
        return self._exchange.now(self._clock())

    def view(self) -> MarketView:
        """The market as it stands."""
        return self.market.view(self.now())

    async def run(self) -> None:
        """Keep the market up to date, until cancelled.

        Raises:
            FeedError: the client library is missing, the server's certificate is not good, or it has no such coin.
        """
        try:
            from websockets.exceptions import InvalidURI, WebSocketException
        except ImportError:
            raise FeedError("the live feed needs websockets: pip install 'websockets>=15.0'") from None
        waits = backoff(self.settings.first_wait, self.settings.longest_wait, self._rng)
        while True:
            self.ready.clear()
            try:
                async with self._connect() as socket:
                    await self._converse(socket, JsonRpc(socket, timeout=self.settings.timeout))
            except (ssl.SSLCertVerificationError, InvalidURI) as error:
                raise FeedError(f"{self.url}: {_sentence(error)}") from None
            except (OSError, WebSocketException, Broken) as error:
                self.last_error = _sentence(error)
            finally:
                self.market.disconnected()
            if self.ready.is_set():  # it has worked: the backoff starts again
                waits = backoff(self.settings.first_wait, self.settings.longest_wait, self._rng)
            await asyncio.sleep(next(waits))

    def _connect(self) -> contextlib.AbstractAsyncContextManager[Any]:
        from websockets.asyncio.client import connect

        proxy = None if self._secure is None else True  # none to this machine; else that of the environment
        timeout = self.settings.timeout
        return connect(
            self.url, ssl=self._secure, proxy=proxy, max_size=_LARGEST_MESSAGE, open_timeout=timeout, close_timeout=2
        )

    async def _converse(self, socket: Any, rpc: JsonRpc) -> None:
        """One connection: read in one task, send requests in the other, until either ends."""
        self.connections += 1
        self._heard = self._clock()
        tasks = [asyncio.create_task(self._read(socket, rpc)), asyncio.create_task(self._manage(rpc))]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _read(self, socket: Any, rpc: JsonRpc) -> None:
        async for text in socket:
            self._heard = self._clock()
            try:
                message = parsed(text)
            except ValueError:
                self.market.counts["garbage"] += 1
                continue
            try:
                wanted = self._take(message, rpc)
            except Exception as error:  # whatever comes in, the session continues, and counts it
                self.market.counts["messages not understood"] += 1
                self.last_error = _sentence(error)
                continue
            if wanted:
                await rpc.tell("public/test", {})
        raise Broken("the exchange closed the connection")

    def _take(self, message: Any, rpc: JsonRpc) -> bool:
        """Take in a message; whether it is a test request of the heartbeat."""
        if not isinstance(message, dict):
            self.market.counts["garbage"] += 1
        elif message.get("method") == "heartbeat":
            parameters = message.get("params")
            return isinstance(parameters, dict) and parameters.get("type") == "test_request"
        elif "method" in message:
            for time_of_quote in self.market.receive(message, self.now()):
                self._exchange.heard(time_of_quote, self._heard)
        elif not rpc.answered(message):
            self.market.counts["answers that nobody waits for"] += 1
        return False

    async def _manage(self, rpc: JsonRpc) -> None:
        """Set the connection up, then look after it."""
        await self._set_clock(rpc)
        with contextlib.suppress(Refused):  # a lost connection shows without it too
            await rpc.ask("public/set_heartbeat", {"interval": self.settings.heartbeat})
        listed = self._clock()
        await self._follow(rpc, await self._contracts(rpc))
        self.ready.set()
        while True:
            await asyncio.sleep(_ROUND)
            if self._clock() - self._heard > self.settings.silence:
                raise Broken(f"no message for {self.settings.silence:g} s")
            if self._exchange.doubtful:
                await self._set_clock(rpc)
            if needed := self.market.snapshots_needed(self.now()):
                channels = [self._book(name) for name in needed]
                await self._each(rpc, "public/unsubscribe", channels)
                await self._each(rpc, "public/subscribe", channels)
            if self._clock() - listed > self.settings.refresh:
                listed = self._clock()
                await self._set_clock(rpc)
                await self._follow(rpc, await self._contracts(rpc), more=True)

    async def _set_clock(self, rpc: JsonRpc) -> None:
        """Ask the exchange for its time; where its answer is implausible, count it and follow the messages."""
        asked, before = self._clock(), self.now()
        answer = None
        with contextlib.suppress(Refused):
            answer = await rpc.ask("public/get_time", {})
        waited = 1e3 * (self._clock() - asked)
        if not self._exchange.answered(answer, asked, self._clock()):
            self.market.counts["clock answers not believed"] += 1
            self._exchange.follow_messages()
        self.market.clock_moved(int(self.now() - before - waited))

    async def _contracts(self, rpc: JsonRpc) -> list[str]:
        """Names of the options and futures of the coin."""
        found: list[str] = []
        unread = 0
        for kind in ("option", "future"):
            answer = await rpc.ask("public/get_instruments", {"currency": self._asked, "kind": kind, "expired": False})
            if not isinstance(answer, list):
                raise Broken(f"the list of contracts is no list: {brief(answer)}")
            for entry in answer:
                try:
                    contract = DeribitInstrument.of(entry["instrument_name"])
                except (TypeError, KeyError, ValueError):
                    unread += not _is_other(entry)
                    continue
                if contract.underlying == self.currency:
                    found.append(contract.name)
        self.market.counts["garbage"] += unread
        if not found:
            sentence = f"{self.url} lists no options and futures of {self.currency}"
            raise FeedError(sentence) if self.connections == 1 and not unread else Broken(sentence)
        return list(dict.fromkeys(found))

    async def _follow(self, rpc: JsonRpc, names: list[str], *, more: bool = False) -> None:
        """Subscribe to these contracts; `more`: beside those followed already, of which some may have ended."""
        known = self.market.names if more else frozenset()
        gone = sorted(known - set(names))
        fresh = [name for name in names if name not in known]
        self.market.follow(names)
        self.market.subscribed(fresh, self.now())
        for method, chosen in (("public/subscribe", fresh), ("public/unsubscribe", gone)):
            await self._each(rpc, method, [c for name in chosen for c in (self._book(name), self._ticker(name))])

    def _book(self, name: str) -> str:
        return f"book.{name}.{self.settings.interval}"

    def _ticker(self, name: str) -> str:
        return f"ticker.{name}.{self.settings.interval}"

    async def _each(self, rpc: JsonRpc, method: str, channels: list[str]) -> None:
        for start in range(0, len(channels), _CHANNELS_A_REQUEST):
            await rpc.ask(method, {"channels": channels[start : start + _CHANNELS_A_REQUEST]})


def _is_other(entry: Any) -> bool:
    """Whether it is the terms of a contract that we do not follow, such as a combination of options."""
    name = entry.get("instrument_name") if isinstance(entry, dict) else None
    return isinstance(name, str) and re.fullmatch(r"[A-Z0-9_]+(-[A-Za-z0-9_]+)+", name, re.ASCII) is not None


def _sentence(error: Exception) -> str:
    return brief(" ".join(str(error).split()) or type(error).__name__, 300)


def backoff(first: float, most: float, rng: random.Random) -> Iterator[float]:
    """Seconds before each try: drawn between 0 and a bound that doubles from `first` to `most` ("full jitter").

    Clients that lost the same server do not all come back at the same moments.

    Source: M. Brooker, "Exponential backoff and jitter", AWS Architecture Blog (2015).

    Example:
        >>> waits = backoff(0.5, 8.0, random.Random(0))
        >>> [round(next(waits), 2) for _ in range(6)]
        [0.42, 0.76, 0.84, 1.04, 4.09, 3.24]
    """
    bound = first
    while True:
        yield rng.uniform(0.0, bound)
        bound = min(2.0 * bound, most)
