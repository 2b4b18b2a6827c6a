"""Mutated input of every reader of a venue: see `fuzz.py`. JAXCAL_FUZZ_CASES says how many the slow test takes."""

import os

import pytest

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
