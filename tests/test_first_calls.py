"""What a first call costs stays as it was measured: programs and fusions, which every machine counts alike."""

import pandas as pd
import pytest

from benchmarks.speed.first_calls import CALLS, PAGE, RESULTS, in_new_process, table_of

MEASURED = pd.read_csv(RESULTS).set_index("call")
# that a second chain compiles nothing is in tests/calibration/test_compilation.py too
QUICK = ("price, 20 options", "calibrate Heston")


def test_every_call_has_a_row_and_the_page_shows_it():
    assert list(MEASURED.index) == list(CALLS)
    assert table_of(MEASURED.reset_index()) in PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in CALLS]
)
def test_no_more_programs_and_fusions_than_were_measured(name):
    """If a change of yours is worth more of them, run `python -m benchmarks.speed.first_calls` and say why."""
    found = in_new_process(name)
    assert found["programs"] <= MEASURED.loc[name, "programs"]
    # another version of XLA fuses a little differently
    assert found["fusions"] <= 1.1 * MEASURED.loc[name, "fusions"]
