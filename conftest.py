"""Settings of JAX under which every test and every documented example runs, and the closing line about market data."""

import csv
import gc
import os
from pathlib import Path

# Nearly all of the suite's time is compilation, which takes less without optimisation, though what is compiled runs
# slower. XLA_FLAGS of the environment come first, an empty one too: see `make test-slow`. Without fusion emitters
# it would take half of that, but then a gradient of `american_price` is wrong (test_derivatives_with_two_boundaries).
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

import jax
import pytest

# Traces make objects by the hundred thousand, nearly all of which stay: looking through them often frees little.
gc.set_threshold(200_000, 20, 100)

# jaxcal must not be imported here: the run-time checks of shapes are hooked in after this file is read.
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")

# Compiled programs are kept between runs, and the workers of a run share them: small ones too, which are the most.
_CACHE = os.environ.get("JAXCAL_TEST_CACHE") or Path(__file__).parent / ".cache" / "jax"
jax.config.update("jax_compilation_cache_dir", str(_CACHE))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
# Executables are not: their key knows nothing of what a test puts in the place of a function.
os.environ["JAXCAL_KEPT_PROGRAMS"] = "0"

_MOST_MAPPINGS = 30_000  # of memory; a process may have 65,530, and every compiled program takes some
_MOST_PAGES = 3_000_000_000 // 4096  # of memory in use: programs are most of it, and several workers share a machine

_PROFILE = Path(__file__).parent / "benchmarks" / "results" / "suite_profile.csv"  # what each file costs


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--cheapest",
        type=float,
        metavar="SECONDS",
        help="run only the cheapest files, which take this many CPU seconds by benchmarks/results/suite_profile.csv",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The heaviest files first, so that no worker is left with one at the end; new files before all others."""
    cost: dict[str, float] = {}
    if _PROFILE.exists():
        with _PROFILE.open(newline="") as file:
            for row in csv.DictReader(file):
                cost[row["file"]] = float(row["xla"]) + float(row["trace"]) + float(row["rest"])

    def file_of(item: pytest.Item) -> str:
        return item.nodeid.partition("::")[0]

    items.sort(key=lambda item: -cost.get(file_of(item), float("inf")))
    limit = config.getoption("--cheapest")
    if limit is None:
        return
    left_out, spent = set(), 0.0
    for name in sorted({file_of(item) for item in items}, key=lambda name: (cost.get(name, 0.0), name)):
        spent += cost.get(name, 0.0)
        if spent > limit:
            left_out.add(name)
    config.hook.pytest_deselected(items=[item for item in items if file_of(item) in left_out])
    items[:] = [item for item in items if file_of(item) not in left_out]


def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    process = Path("/proc/self")
    if nextitem is None or nextitem.path == item.path or not process.exists():
        return
    with (process / "maps").open("rb") as lines:
        mappings = sum(1 for _ in lines)
    if mappings > _MOST_MAPPINGS or int((process / "statm").read_text().split()[1]) > _MOST_PAGES:
        jax.clear_caches()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    def count(*outcomes: str) -> int:
        reports = [report for outcome in outcomes for report in terminalreporter.stats.get(outcome, [])]
        return len({report.nodeid for report in reports if "market_data" in getattr(report, "keywords", {})})

    terminalreporter.write_line(
        f"market data tests: {count('passed', 'failed', 'error')} ran, {count('skipped')} skipped"
    )
