"""Settings of JAX under which every test and every documented example runs, and the closing line about market data."""

import os
from pathlib import Path

import jax
import pytest

# jaxcal must not be imported here: the run-time checks of shapes are hooked in after this file is read.
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")

# Compiled programs are kept between runs: most of the suite's time is compilation.
jax.config.update("jax_compilation_cache_dir", str(Path(__file__).parent / ".cache" / "jax"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
# Executables are not: their key knows nothing of what a test puts in the place of a function.
os.environ["JAXCAL_KEPT_PROGRAMS"] = "0"

_MOST_MAPPINGS = 30_000  # of memory; a process may have 65,530, and every compiled program takes some
_MOST_PAGES = 3_000_000_000 // 4096  # of memory in use: programs are most of it, and several workers share a machine


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
