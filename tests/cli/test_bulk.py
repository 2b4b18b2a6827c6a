"""`jaxcal bulk`: what it says, its exit codes, and that nothing is lost when it is killed."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from jaxcal.cli import app

Make = Callable[..., pd.DataFrame]
Contents = Callable[[Path], dict[str, object]]
OPTIONS = ["--model", "black-scholes", "--part-size", "4", "--residuals"]


def run(*arguments: Any) -> Result:
    result = CliRunner().invoke(app, ["bulk", *map(str, arguments)], catch_exceptions=False)
    assert "Traceback" not in result.output
    return result


@pytest.fixture
def source(tmp_path: Path, make_quotes: Make) -> Path:
    path = tmp_path / "in" / "quotes.csv"
    path.parent.mkdir()
    make_quotes(range(10)).to_csv(path, index=False)
    return path.parent


def test_a_clean_job_exits_with_0_and_says_where_the_result_is(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = run(source, out, *OPTIONS)
    assert result.exit_code == 0
    assert "10 surfaces: 10 converged" in result.stdout
    assert "70 quotes used; left out: 10 strike not positive" in result.stdout
    assert re.search(r"^40 %: 4 surfaces, \d+ a second, 0 failed, 0:00:\d\d left$", result.stderr, re.MULTILINE)
    assert f'pandas.read_parquet("{out}")' in result.stdout
    assert len(pd.read_parquet(out)) == 10
    again = run(source, out, *OPTIONS)
    assert again.exit_code == 0
    assert "3 parts had been written before" in again.stdout


def test_fits_that_fail_exit_with_1(source: Path, tmp_path: Path) -> None:
    quotes = pd.read_csv(source / "quotes.csv")
    quotes.assign(strike=-1.0, underlying="V").to_csv(source / "worse.csv", index=False)
    result = run(source, tmp_path / "out", *OPTIONS)
    assert result.exit_code == 1
    assert "12 surfaces: 10 converged, 2 no quotes" in result.stdout


def test_what_cannot_be_read_exits_with_3(source: Path, tmp_path: Path) -> None:
    for i in range(12):
        (source / f"bad{i:02d}.parquet").write_text("PAR1")
    result = run(source, tmp_path / "out", *OPTIONS)
    assert result.exit_code == 3
    assert result.stderr.count("the file cannot be read") == 10
    assert "and 2 more: see" in result.stderr
    assert len(pd.read_csv(tmp_path / "out" / "_problems.csv")) == 12


def test_what_cannot_start_exits_with_2_and_a_sentence(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(source, out, *OPTIONS).exit_code == 0
    for arguments, said in (
        ((tmp_path / "nowhere", out), "no such file or folder"),
        ((source, source / "out"), "must lie apart"),
        ((source, out, *OPTIONS, "--part-size", 5), "part_size was 4, is 5"),
        ((source, tmp_path / "a", "--free", "nothing", *OPTIONS), "free must name parameters"),
        ((source, tmp_path / "b", "--min-expiry", -1, *OPTIONS), "min-expiry -1.0 must not be negative"),
        ((source, "/proc/out", *OPTIONS), "cannot be written to"),
    ):
        result = run(*arguments)
        assert result.exit_code == 2, arguments
        assert re.fullmatch(rf"jaxcal: .*{said}.*\n", result.stderr), result.stderr
    assert run(source, out, *OPTIONS, "--part-size", 5, "--restart").exit_code == 0


def start(source: Path, out: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "jaxcal", "bulk", str(source), str(out), *OPTIONS]
    programs = jax.config.jax_compilation_cache_dir  # pyright: ignore[reportAttributeAccessIssue]
    environment = os.environ | {
        "JAX_COMPILATION_CACHE_DIR": str(programs), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }  # fmt: skip
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def wait_for_parts(process: subprocess.Popen[str], out: Path, count: int) -> None:
    while process.poll() is None and len(list(out.glob("part-*.parquet"))) < count:
        time.sleep(0.002)


@pytest.mark.parametrize("kills", [1, pytest.param(20, marks=pytest.mark.slow)])
def test_a_job_killed_at_any_moment_ends_with_the_same_dataset(
    kills: int, tmp_path: Path, make_quotes: Make, contents: Contents
) -> None:
    source = tmp_path / "quotes.parquet"
    make_quotes(range(40 * kills)).to_parquet(source, index=False, row_group_size=100)
    whole, out = tmp_path / "whole", tmp_path / "out"
    assert run(source, whole, *OPTIONS).exit_code == 0
    rng = random.Random(0)
    for kill in range(kills):
        process = start(source, out)
        wait_for_parts(process, out, 10 * kill + rng.randrange(10))
        time.sleep(rng.random() * 0.05)
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    process = start(source, out)
    stdout, stderr = process.communicate(timeout=300)
    assert process.returncode == 0, stderr
    assert "parts had been written before" in stdout
    assert contents(out) == contents(whole)


@pytest.mark.parametrize("count", [300, pytest.param(100_000, marks=pytest.mark.slow)])
def test_a_folder_of_many_small_files_is_done(count: int, tmp_path: Path, make_quotes: Make) -> None:
    """One file in a hundred has no rows, and one is of another kind."""
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    texts = [make_quotes([place]).drop(columns="quote_time").to_csv(index=False) for place in range(100)]
    texts[0] = texts[0].splitlines()[0] + "\n"
    texts[1] = "date,close\n2026-01-05,100\n"
    for i in range(count):
        (source / f"{i:06d}.csv").write_text(texts[i % 100])
    result = run(source, out, "--model", "black-scholes", "--part-size", min(count, 4096))
    assert result.exit_code == 3
    fine = count - count // 50
    assert f"{fine:,} surfaces: {fine:,} converged" in result.stdout
    problems = pd.read_csv(out / "_problems.csv")["what"].value_counts()
    assert problems.to_dict() == {"empty": count // 100, "file": count // 100}


def test_an_interrupt_ends_with_the_part_at_work_and_130(tmp_path: Path, make_quotes: Make) -> None:
    source, out = tmp_path / "quotes.parquet", tmp_path / "out"
    make_quotes(range(400)).to_parquet(source, index=False)
    process = start(source, out)
    wait_for_parts(process, out, 1)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=300)
    assert process.returncode == 130, stderr
    assert "the same command resumes the job" in stderr
    found = re.search(r"^([\d,]+) surfaces", stdout, re.MULTILINE)
    assert found is not None, stdout
    done = int(found[1])
    assert 4 <= done < 400
    assert len(pd.read_parquet(out)) == done
