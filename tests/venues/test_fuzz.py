"""Mutated input of every reader of a venue, and of the live client: see `fuzz.py` and `fuzz_live.py`.

JAXCAL_FUZZ_CASES says how many cases the slow tests take.
"""

import os

import pytest

from tests.venues.deribit_stream.fuzz_live import run as run_live
from tests.venues.fuzz import run


def test_some_mutations():
    tally = run(600)
    assert sum(count for what, count in tally.items() if what.startswith("cases")) >= 600
    for what in ("deribit", "levels", "cboe"):
        assert tally[f"{what}: read"] > 60, "a fuzzer whose cases are all refused shows nothing"
        assert tally[f"{what}: a reason"] > 20


@pytest.mark.slow
def test_many_mutations():
    run(int(os.environ.get("JAXCAL_FUZZ_CASES", "20000")), seed=1)


def test_some_messages_to_the_live_client():
    tally = run_live(500)
    assert tally["stream: garbage"] > 200
    assert tally["stream: states found true"] >= 2
    assert tally["conversation: set up"] > 0


@pytest.mark.slow
def test_many_messages_to_the_live_client():
    run_live(int(os.environ.get("JAXCAL_FUZZ_CASES", "20000")), seed=1)
