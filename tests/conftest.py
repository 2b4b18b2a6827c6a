"""Fixtures that every test may ask for."""

from pathlib import Path

import hypothesis
import pytest

# The same examples on every run and every machine; a compile inside an example must not count as a missed deadline.
hypothesis.settings.register_profile("jaxcal", derandomize=True, deadline=None, max_examples=50, print_blob=False)
hypothesis.settings.load_profile("jaxcal")


@pytest.fixture(scope="session")
def market_data() -> Path:
    """Folder of recorded quotes, beside the project; a test that asks for it is skipped where there is none."""
    folder = Path(__file__).resolve().parents[1] / ".." / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no recorded quotes beside the project (../shared/data)")
    return folder.resolve()
