"""The Ray engine: the same dataset as the local one, also when processes are killed on the way."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

from jaxcal.bulk.engines.ray_engine import RayEngine
from jaxcal.bulk.engines.ray_stages import MOST_TRIES
from jaxcal.bulk.input.input_problem import BulkError
from jaxcal.bulk.summary import Summary
from jaxcal.cli import app

Make = Callable[..., pd.DataFrame]
Job = Callable[..., Summary]
Contents = Callable[[Path], dict[str, object]]
ROOT = Path(__file__).resolve().parents[3]
OPTIONS = ["--model", "black-scholes", "--part-size", "4", "--residuals"]
SURFACES = 160
needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the extra jaxcal[ray]")


def test_without_ray_there_is_a_sentence(tmp_path: Path, make_quotes: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    make_quotes([0]).to_csv(tmp_path / "in.csv", index=False)
    arguments = ["bulk", str(tmp_path / "in.csv"), str(tmp_path / "out"), *OPTIONS, "--engine", "ray"]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 2
    assert result.stderr == "jaxcal: the Ray engine needs Ray: pip install 'ray[data]>=2.51'\n"


def test_the_local_engine_does_not_import_ray() -> None:
    code = "import sys, jaxcal.cli, jaxcal.bulk.job, jaxcal.bulk.engines.ray_engine; sys.exit('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--workers", "2"], "--workers is for Ray: give --engine ray too"),
        (["--num-gpus", "1"], "--num-gpus is for Ray: give --engine ray too"),
        (["--address", "auto"], "--address is for Ray: give --engine ray too"),
        (["--engine", "ray", "--num-gpus", "1.5"], "num_gpus 1.5 must be a share of one GPU or a number of them"),
    ],
)
def test_options_are_checked(options: list[str], said: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["bulk", str(tmp_path), str(tmp_path / "out"), *options], catch_exceptions=False)
    assert result.exit_code == 2
    assert result.stderr == f"jaxcal: {said}\n"


def test_workers_must_be_positive() -> None:
    with pytest.raises(ValueError, match="workers 0 must be positive"):
        RayEngine(workers=0)


SMALL, LARGE, GPUS = {"CPU": 2.0}, {"CPU": 64.0}, {"CPU": 16.0, "GPU": 8.0}


@pytest.mark.parametrize(
    ("nodes", "engine", "found"),
    [
        ([SMALL], RayEngine(), (1, {"num_cpus": 1.0})),
        ([SMALL], RayEngine(workers=3), (3, {"num_cpus": 0.3333})),
        ([LARGE, LARGE], RayEngine(), (2, {"num_cpus": 32.0})),
        ([LARGE, SMALL, {}], RayEngine(), (2, {"num_cpus": 1.0})),
        ([GPUS], RayEngine(), (8, {"num_cpus": 1.0, "num_gpus": 1.0})),
        ([GPUS, GPUS], RayEngine(num_gpus=0.5), (32, {"num_cpus": 0.5, "num_gpus": 0.5})),
        ([GPUS], RayEngine(num_gpus=0), (1, {"num_cpus": 8.0})),
        ([SMALL], RayEngine(num_gpus=1), "1 worker with 1 GPUs each need more than the 0 of the Ray cluster"),
        ([GPUS], RayEngine(workers=9), "9 workers with 1 GPUs each need more than the 8 of the Ray cluster"),
        ([{}], RayEngine(), "no cores"),
    ],
)
def test_the_pool_leaves_room_for_tasks(nodes: list[dict[str, float]], engine: RayEngine, found: Any) -> None:
    dead = {"Alive": False, "Resources": LARGE}
    ray = SimpleNamespace(nodes=lambda: [dead, *({"Alive": True, "Resources": node} for node in nodes)])
    if isinstance(found, str):
        with pytest.raises(BulkError, match=found):
            engine._pool(ray)
    else:
        assert engine._pool(ray) == found


@pytest.fixture
def source(tmp_path: Path, make_quotes: Make) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    for first in range(0, SURFACES, 40):
        make_quotes(range(first, first + 40)).to_parquet(folder / f"{first:03d}.parquet", index=False)
    (folder / "bad.csv").write_text("date,close\n2026-01-05,100\n")
    return folder


def start(source: Path, out: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "jaxcal", "bulk", str(source), str(out), *OPTIONS, *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "RAY_ADDRESS": "local", "RAY_AUTH_MODE": "disabled"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def start_on_ray(source: Path, out: Path, *options: str) -> subprocess.Popen[str]:
    return start(source, out, "--engine", "ray", *options)


def finish(process: subprocess.Popen[str], code: int) -> tuple[str, str]:
    try:
        stdout, stderr = process.communicate(timeout=300)
    finally:
        process.kill()
    assert process.returncode == code, stderr
    assert "Traceback" not in stderr
    return stdout, stderr


def workers(of: int, title: str) -> list[int]:
    """Processes that a process started, or those that they started, with these words in their titles."""
    parents: dict[int, int] = {}
    titles: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                titles[int(entry.name)] = (entry / "cmdline").read_text().replace("\0", " ")
            except OSError:
                continue  # it has ended
    found: set[int] = set()
    new = {of}
    while new := {pid for pid, parent in parents.items() if parent in new}:
        found |= new
    return [pid for pid in sorted(found) if title in titles.get(pid, "")]


def parts(out: Path) -> int:
    return len(list(out.glob("part-*.parquet")))


def wait(process: subprocess.Popen[str], until: Callable[[], Any]) -> Any:
    """What `until` returns once that is true, and at the end of the process at the latest."""
    while not (found := until()) and process.poll() is None:
        time.sleep(0.005)
    return found


@needs_ray
@pytest.mark.slow
def test_a_killed_worker_is_survived(source: Path, tmp_path: Path, contents: Contents) -> None:
    finish(start(source, tmp_path / "local"), 3)
    out = tmp_path / "ray"
    process = start_on_ray(source, out)
    assert wait(process, lambda: parts(out) >= 3)
    (killed,) = workers(process.pid, "MapWorker(MapBatches(Fit))")
    assert parts(out) < SURFACES // 4
    os.kill(killed, signal.SIGKILL)
    stdout, stderr = finish(process, 3)
    assert "160 surfaces: 160 converged" in stdout
    assert "the layout of the file is not known" in stderr
    assert contents(out) == contents(tmp_path / "local")


@needs_ray
@pytest.mark.slow
def test_a_killed_reader_is_survived(source: Path, tmp_path: Path, contents: Contents) -> None:
    finish(start(source, tmp_path / "local"), 3)
    process = start_on_ray(source, tmp_path / "ray", "--workers", "2")
    killed = wait(process, lambda: workers(process.pid, "Read.__call__"))
    assert killed
    os.kill(killed[0], signal.SIGKILL)
    finish(process, 3)
    assert contents(tmp_path / "ray") == contents(tmp_path / "local")


@needs_ray
@pytest.mark.slow
def test_a_part_that_costs_its_worker_each_time_is_given_up(source: Path, tmp_path: Path, contents: Contents) -> None:
    finish(start(source, tmp_path / "local"), 3)
    out = tmp_path / "ray"
    process = start_on_ray(source, out)
    for kills in range(MOST_TRIES):
        assert wait(process, lambda kills=kills: len(list(out.glob("_unfinished/*/begun-*"))) > kills)
        for worker in workers(process.pid, "MapWorker(MapBatches(Fit))"):
            os.kill(worker, signal.SIGKILL)
    _, stderr = finish(process, 2)
    assert "5 workers were lost over it, perhaps for want of memory (1 such parts in all)" in stderr
    assert parts(out) == SURFACES // 4 - 1
    finish(start(source, out), 3)
    assert contents(out) == contents(tmp_path / "local")


@needs_ray
@pytest.mark.slow
def test_a_job_that_was_killed_on_ray_goes_on_at_once_without_it(
    source: Path, tmp_path: Path, contents: Contents
) -> None:
    finish(start(source, tmp_path / "local"), 3)
    out = tmp_path / "ray"
    process = start_on_ray(source, out)
    assert wait(process, lambda: parts(out) >= 3)
    left = {pid: started(pid) for pid in workers(process.pid, "")}
    assert left
    process.kill()
    process.communicate()
    assert parts(out) < SURFACES // 4
    try:
        stdout, _ = finish(start(source, out), 3)
        assert "parts had been written before" in stdout
        assert contents(out) == contents(tmp_path / "local")
    finally:
        time.sleep(1.0)
        for pid, when in left.items():
            if when is not None and started(pid) == when:  # not another process by now
                os.kill(pid, signal.SIGKILL)


def started(pid: int) -> str | None:
    """When a process began; None if it has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return None
