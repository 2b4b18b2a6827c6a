"""The state of a stream without a network: order books under every kind of disorder, tickers, staleness."""

import random

import pytest

from jaxcal.venues.deribit_stream.book import BookChange, BookVerdict, DeribitBook
from jaxcal.venues.deribit_stream.market import DeribitMarket
from tests.venues.deribit_stream.replay_server import SyntheticMarket

OPTION, OTHER = "BTC-27MAR26-90000-C", "BTC-27MAR26-90000-P"


def change(number, previous, *, time=None, bids=(), asks=()):
    return BookChange(False, number, previous, time or number, tuple(bids), tuple(asks))


def start(number=10, time=10):
    return BookChange(True, number, None, time, (("new", 1.0, 5.0),), (("new", 2.0, 5.0),))


def run(*changes):
    book, verdicts = DeribitBook(), []
    for entry in changes:
        book, verdict = book.take(entry)
        verdicts.append(verdict.name)
    return book, verdicts


def test_levels_are_added_changed_and_deleted():
    book, _ = run(start(), change(11, 10, bids=[("new", 1.5, 1.0), ("delete", 1.0, 0.0)], asks=[("change", 2.0, 7.0)]))
    assert dict(book.bids) == {1.5: 1.0}
    assert (book.best_bid, book.best_ask) == ((1.5, 1.0), (2.0, 7.0))


def test_repetitions_change_nothing():
    once, _ = run(start(), change(12, 10, bids=[("new", 1.1, 1.0)]))
    twice, verdicts = run(start(), start(), *2 * [change(12, 10, bids=[("new", 1.1, 1.0)])], start())
    assert twice == once
    assert verdicts == ["SNAPSHOT", "SNAPSHOT", "APPLIED", "REPEATED", "REPEATED"]


def test_any_order_within_the_room_ends_the_same():
    changes = [change(10 + 2 * i + 2, 10 + 2 * i, bids=[("new", 1.0 + 0.01 * i, 1.0 + i)]) for i in range(12)]
    expected, _ = run(start(), *changes)
    rng = random.Random(0)
    for _ in range(50):
        mixed = rng.sample(changes, len(changes))
        book, verdicts = run(start(), *mixed)
        assert book == expected
        assert "GAP" not in verdicts
    early, _ = run(*reversed(changes), start())  # even the snapshot may come last
    assert early == expected


def test_a_gap_gives_the_book_up_until_a_snapshot():
    book, verdicts = run(start(), change(13, 12))
    assert verdicts[-1] == "WAITING"
    assert not book.in_order
    lost = book.given_up(trust=True)
    assert lost.floor == 13
    late, verdict = lost.take(start(10))  # the old snapshot once more: it lacks what was lost
    assert (late.in_order, verdict) == (False, BookVerdict.REPEATED)
    found, verdict = lost.take(start(20))
    assert (found.in_order, found.change_id, verdict) == (True, 20, BookVerdict.SNAPSHOT)


def test_what_waits_is_bounded():
    book, verdicts = run(start(), *[change(100 + 2 * i, 99 + 2 * i) for i in range(100)])
    assert "GAP" in verdicts
    assert len(book.waiting) <= 32


def test_numbers_that_contradict_the_clock_are_not_believed():
    book, verdicts = run(start(number=10**9, time=5), change(12, 11, time=6))
    assert verdicts[-1] == "GAP"  # the snapshot's number was wrong, and would have silenced the book for good
    assert not book.in_order
    _, verdicts = run(start(10), change(14, 10), change(12, 9, time=20))
    assert verdicts[-1] == "GAP"
    _, verdicts = run(start(10), change(12, 9))
    assert verdicts[-1] == "GAP"


DATA = {"type": "change", "change_id": 8, "prev_change_id": 7, "timestamp": 9, "bids": [["new", 1.0, 2.0]], "asks": []}


@pytest.mark.parametrize(
    "wrong",
    [
        {"change_id": "8"}, {"change_id": -1}, {"change_id": True}, {"prev_change_id": None}, {"prev_change_id": 8},
        {"timestamp": 1.5}, {"bids": None}, {"bids": [["new", 1.0]]}, {"asks": [["make", 1.0, 1.0]]}, {"bids": [7]},
        {"asks": [["new", "1", 1.0]]}, {"asks": [["new", -1.0, 1.0]]}, {"asks": [["new", float("inf"), 1.0]]},
        {"bids": [["new", 1.0, 1.0]] * 20_000}, {"bids": [[["new"], 1.0, 1.0]]},
    ],
)  # fmt: skip
def test_bad_messages_of_a_book_have_a_sentence(wrong):
    assert BookChange.of(DATA).change_id == 8
    with pytest.raises(ValueError, match=" is "):
        BookChange.of(DATA | wrong)


def message(data):
    return {"jsonrpc": "2.0", "method": "subscription", "params": {"channel": "x", "data": data}}


@pytest.fixture
def followed():
    source, market = SyntheticMarket(), DeribitMarket()
    market.follow(source.names)
    now = source.now()
    for name in source.names:
        market.receive(message(source.books[name].snapshot(name)), now)
        market.receive(message(source.tickers[name]), now)
    return source, market, now + 1000


def test_a_view_has_the_best_prices_of_the_books(followed):
    source, market, now = followed
    [(_, _, book), _] = source.move(OPTION)
    market.receive(message(book), now)
    view = market.view(now)
    entries = view.table().entries.set_index("instrument_name")
    assert entries.loc[OPTION, "bid"] == max(source.books[OPTION].bids)
    assert entries.loc[OPTION, "ask_size"] == source.books[OPTION].asks[min(source.books[OPTION].asks)]
    assert entries["kind"].value_counts().to_dict() == {"option": 54, "future": 3}
    assert entries["quote_time"].nunique() == 1
    market.receive(message(source.move(OTHER)[0][2]), now)
    assert view.contracts[OTHER].book != market.view(now).contracts[OTHER].book  # a view does not change


def test_a_book_that_is_not_in_order_gives_way_to_the_ticker(followed):
    source, market, now = followed
    source.move(OPTION)  # lost
    (_, _, book), (_, _, ticker) = source.move(OPTION)
    market.receive(message(book), now)
    market.receive(message(ticker | {"best_bid_price": 0.0123}), now)
    entries = market.view(now).table().entries.set_index("instrument_name")
    assert entries.loc[OPTION, "bid"] == 0.0123
    assert market.snapshots_needed(now) == []
    assert market.snapshots_needed(now + 1100) == [OPTION]
    assert market.snapshots_needed(now + 1200) == []  # asked for
    assert market.snapshots_needed(now + 7000) == [OPTION]  # not answered
    market.receive(message(source.books[OPTION].snapshot(OPTION)), now + 7100)
    assert market.snapshots_needed(now + 99_000) == []
    entries = market.view(now).table().entries.set_index("instrument_name")
    assert entries.loc[OPTION, "bid"] == ticker["best_bid_price"]


def test_quotes_become_stale_one_by_one(followed):
    source, market, now = followed
    later = now + 65_000
    market.receive(message(source.tickers[OPTION] | {"timestamp": later - 10}), later)
    faults = market.view(later).table().entries.set_index("instrument_name")["fault"]
    assert faults[OPTION] == ""
    assert faults[OTHER].startswith("stale: its last message is 6")


def test_clocks_and_strangers(followed):
    source, market, now = followed
    ticker = source.tickers[OPTION]
    for data in (
        ticker | {"timestamp": ticker["timestamp"] - 5},
        ticker | {"timestamp": now + 3_600_000},
        ticker | {"instrument_name": "BTC-27MAR26-1000-C"},
        ticker | {"instrument_name": "BTC-27MAR26-1000-X"},
        ticker | {"mark_price": "0.1"},
        {"type": "change", "change_id": 3, "instrument_name": OPTION, "timestamp": now},
    ):
        market.receive(message(data), now)
    assert market.view(now).contracts[OPTION].ticker.time == ticker["timestamp"]
    counts = {name: market.counts[name] for name in ("late ticker", "ahead of the clock", "not followed", "garbage")}
    assert counts == {"late ticker": 1, "ahead of the clock": 1, "not followed": 1, "garbage": 3}


def test_after_a_lost_connection_only_a_snapshot_counts(followed):
    source, market, now = followed
    market.disconnected()
    [(_, _, book), _] = source.move(OPTION)
    market.receive(message(book), now)
    assert not market.view(now).contracts[OPTION].book.in_order
    market.receive(message(source.books[OPTION].snapshot(OPTION)), now)
    assert market.view(now).contracts[OPTION].book.in_order
    market.follow([OPTION])
    assert market.names == {OPTION}
