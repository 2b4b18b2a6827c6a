"""Mutated tables and files of every kind: see `fuzz_tables.py`. JAXCAL_FUZZ_CASES says how many the slow test takes."""

import os

import pytest

from tests.market.tables.fuzz_tables import run


def test_some_mutations():
    tally = run(800)
    assert tally["cells: used"] > 200, "a fuzzer whose cases are all refused shows nothing"
    assert tally["cells: a reason"] > 200
    assert tally["files: QuoteError"] > 20
    assert tally["files: read"] > 10


@pytest.mark.slow
def test_many_mutations():
    run(int(os.environ.get("JAXCAL_FUZZ_CASES", "20000")), seed=1)
