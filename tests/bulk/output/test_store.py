"""The folder of the result: nothing foreign is removed, no damage is read as values, other input is refused."""

import hashlib
import os
import random
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import jaxcal as jc
from jaxcal.bulk.engines.local_engine import LocalEngine
from jaxcal.bulk.input.input_problem import BulkError
from jaxcal.bulk.output.dataset import Store
from jaxcal.bulk.output.partition_files import read_dataset
from jaxcal.bulk.summary import Summary
from jaxcal.live.log import LiveLog
from jaxcal.live.recalibration import Recalibration
from jaxcal.report.parameter_path import write_path

Make = Callable[..., pd.DataFrame]
Job = Callable[..., Summary]
Contents = Callable[[Path], dict[str, object]]
RECORD = {"settings": {"quotes": True}}


@pytest.fixture
def source(tmp_path: Path, make_quotes: Make) -> Path:
    path = tmp_path / "in" / "quotes.csv"
    path.parent.mkdir()
    make_quotes(range(10)).to_csv(path, index=False)
    return path.parent


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "_lock"
    }


def live_session(folder: Path) -> None:
    step = Recalibration(0, pd.Timestamp("2026-03-02T12:00Z"), "UPDATED", "", parameters={"sigma": 0.6})
    with LiveLog(folder) as log:
        log.write(step)


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("what", ["live", "part", "quotes", "checksums", "summary", "unfinished"])
def test_a_folder_without_a_job_is_left_alone(what: str, restart: bool, job: Job, source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    live_session(tmp_path)
    if what == "live":
        out = tmp_path / "recalibrations"
    else:
        name = {
            "part": "part-000007.parquet",
            "quotes": "_quotes/part-000000.parquet",
            "checksums": "_checksums/part-000000.sha256",
            "summary": "_summary.json",
            "unfinished": "_unfinished/thesis.tex",
        }[what]
        (out / name).parent.mkdir(parents=True)
        (out / name).write_text("years of work")
    before = files(out)
    with pytest.raises(BulkError, match="and no job: name a new or an empty folder"):
        job(source, out, restart=restart)
    assert files(out) == before
    assert not (out / "_lock").exists()


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("name", ["part-000009.parquet", "_quotes/part-000000.parquet"])
def test_parts_that_the_job_did_not_write_are_left_alone(
    name: str, restart: bool, job: Job, source: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    job(source)
    (out / name).parent.mkdir(exist_ok=True)
    (out / name).write_text("years of work")
    before = files(out)
    with pytest.raises(BulkError, match=f"holds {name}, which the job in it did not write: move it away"):
        job(source, restart=restart)
    assert files(out) == before


def test_notes_beside_a_result_stay(job: Job, source: Path, tmp_path: Path) -> None:
    job(source, quotes=True)
    notes = tmp_path / "out" / "_quotes" / "notes.md"
    notes.write_text("read me")
    assert job(source, quotes=True).resumed == 3
    assert job(source, restart=True).surfaces == 10
    assert notes.read_text() == "read me"
    assert not list((tmp_path / "out" / "_quotes").glob("*.parquet"))


def flipped(content: bytes, bit: int) -> bytes:
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def part_tables() -> tuple[pa.Table, pa.Table]:
    rng = np.random.default_rng(0)
    vols = rng.uniform(0.1, 0.9, 50)
    times = pd.date_range("2026-03-02", periods=50, tz="UTC").as_unit("us")
    surfaces = pa.table({"underlying": [f"U{i}" for i in range(50)], "quote_time": times, "sigma": vols})
    return surfaces, pa.table({"strike": rng.uniform(80.0, 120.0, 300), "is_call": rng.random(300) < 0.5})


@pytest.mark.parametrize("quotes", [False, True])
def test_no_flipped_bit_is_read_as_another_value(quotes: bool, tmp_path: Path) -> None:
    """Of the dictionary and data pages, their headers, and the footer, which checksums of pages leave out."""
    out, tables = tmp_path / "out", part_tables()
    with Store.open(out, RECORD) as store:
        store.write(0, "digest", *tables)
    path = out / ("_quotes/part-000000.parquet" if quotes else "part-000000.parquet")
    content = path.read_bytes()
    for bit in random.Random(0).sample(range(8 * len(content)), 500):
        path.write_bytes(flipped(content, bit))
        with pytest.raises(BulkError, match=r"part-000000\.parquet is not as it was written: give the command"):
            read_dataset(out, quotes=quotes)
    with Store.open(out, RECORD) as store:  # as the last bit left it
        assert (store.done, store.damaged) == ({}, [0])
        store.write(0, "digest", *tables)
        assert read_dataset(out).equals(tables[0].replace_schema_metadata({b"jaxcal.part": b"digest"}))
        assert read_dataset(out, quotes=True).num_rows == 300
    sums = out / "_checksums" / "part-000000.sha256"
    text = sums.read_bytes()
    for bit in random.Random(1).sample(range(8 * len(text)), 40):
        sums.write_bytes(flipped(text, bit))
        with Store.open(out, RECORD) as store:
            assert store.damaged == [0]
            store.write(0, "digest", *tables)
        assert sums.read_bytes() == text


def test_every_parquet_file_has_checksums_of_its_pages(tmp_path: Path) -> None:
    """So other readers can find what is wrong with values: no flipped bit outside of the footer gives other ones."""
    with Store.open(tmp_path / "out", RECORD) as store:
        store.write(0, "digest", *part_tables())
    live_session(tmp_path)
    times = pd.date_range("2026-03-02", periods=200, freq="h", tz="UTC")
    path = {"underlying": "X", "quote_time": times, "used": True, "rmse_vol": np.linspace(0.01, 0.02, 200)}
    sigma = {name: np.random.default_rng(0).random(200) for name in ("sigma", "sigma_low", "sigma_high")}
    write_path(pd.DataFrame({**path, **sigma}), tmp_path, kind="parquet")
    for name in (
        "out/part-000000.parquet", "out/_quotes/part-000000.parquet", "path.parquet",
        "recalibrations/part-000000.parquet",
    ):  # fmt: skip
        path = tmp_path / name
        content = path.read_bytes()
        before = repr(pd.read_parquet(path).to_dict("records"))
        body = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
        found = 0
        for bit in random.Random(2).sample(range(32, 8 * body), 150):
            path.write_bytes(flipped(content, bit))
            try:
                read = pd.read_parquet(path, page_checksum_verification=True)
            except (OSError, ValueError, NotImplementedError):
                found += 1
                continue
            assert repr(read.to_dict("records")) == before, (name, bit)
        assert found > 75


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="needs sha256sum")
def test_checksums_are_those_of_sha256sum(job: Job, source: Path, tmp_path: Path) -> None:
    job(source, quotes=True)
    command = "sha256sum --check --strict --quiet _checksums/*"
    assert subprocess.run(command, shell=True, cwd=tmp_path / "out", check=False).returncode == 0
    part = tmp_path / "out" / "part-000001.parquet"
    part.write_bytes(flipped(part.read_bytes(), 2000))
    ended = subprocess.run(command, shell=True, cwd=tmp_path / "out", check=False, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (1, "part-000001.parquet: FAILED\n")


def test_a_result_is_read_with_its_checksums(job: Job, source: Path, tmp_path: Path) -> None:
    job(source, quotes=True)
    out = tmp_path / "out"
    pd.testing.assert_frame_equal(read_dataset(out).to_pandas(), pd.read_parquet(out))
    pd.testing.assert_frame_equal(read_dataset(out, quotes=True).to_pandas(), pd.read_parquet(out / "_quotes"))
    (out / "part-000002.parquet").unlink()
    with pytest.raises(BulkError, match=r"_summary.json tells of 10 surfaces, and there are 8: give the command"):
        read_dataset(out)
    with pytest.raises(BulkError, match="there is no part of a result in it"):
        read_dataset(tmp_path)


@pytest.mark.parametrize("quotes", [False, True])
@pytest.mark.parametrize("part", [0, 2])
def test_a_damaged_part_is_made_again(
    part: int, quotes: bool, job: Job, source: Path, tmp_path: Path, contents: Contents
) -> None:
    job(source, quotes=True)
    out = tmp_path / "out"
    before = contents(out)
    path = out / ("_quotes" if quotes else "") / f"part-{part:06d}.parquet"
    content = path.read_bytes()
    path.write_bytes(flipped(content, 8 * content.index(b"PAR1", 4) - 100))  # in the footer
    again = job(source, quotes=True)
    assert (again.resumed, again.damaged) == (2, 1)
    assert contents(out) == before


def test_a_part_that_is_damaged_while_the_job_is_at_work_is_said(job: Job, source: Path, tmp_path: Path) -> None:
    class Worn(LocalEngine):
        def run(self, source: Any, settings: Any, store: Store, *rest: Any) -> None:
            super().run(source, settings, store, *rest)
            part = store.path / "part-000001.parquet"
            part.write_bytes(flipped(part.read_bytes(), 500))

    with pytest.raises(BulkError, match=r"part-000001.parquet is not as it was written: the same command makes it"):
        job(source, engine=Worn())
    assert job(source).damaged == 1


def test_a_run_that_ended_between_checksums_and_part_goes_on(
    job: Job, source: Path, tmp_path: Path, contents: Contents
) -> None:
    job(source, quotes=True)
    before = contents(tmp_path / "out")
    (tmp_path / "out" / "part-000001.parquet").unlink()
    (tmp_path / "out" / "_summary.json").unlink()
    again = job(source, quotes=True)
    assert (again.resumed, again.damaged) == (2, 0)
    assert contents(tmp_path / "out") == before


def test_a_folder_of_the_first_format_is_refused_or_replaced(job: Job, source: Path, tmp_path: Path) -> None:
    """It had no checksums, and took input for the same by its size and time of change."""
    job(source, quotes=True)
    out = tmp_path / "out"
    shutil.rmtree(out / "_checksums")
    record = out / "_job.json"
    record.write_text(record.read_text().replace('  "format": 2,\n', ""))
    before = files(out)
    with pytest.raises(BulkError, match="another version of jaxcal began: give --restart to begin it again, or name"):
        job(source, quotes=True)
    assert files(out) == before
    assert job(source, restart=True).surfaces == 10
    assert sorted(files(out)) == [
        *(f"_checksums/part-00000{i}.sha256" for i in range(3)), "_job.json", "_problems.csv", "_summary.json",
        *(f"part-00000{i}.parquet" for i in range(3)),
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["", "[]", "{", '{"format": 2}', '{"format": 2, "version": 1, "settings": []}', "\0"])
def test_a_damaged_record_is_a_sentence(text: str, job: Job, source: Path, tmp_path: Path) -> None:
    job(source)
    (tmp_path / "out" / "_job.json").write_text(text)
    with pytest.raises(BulkError, match=r"give --restart|--restart to replace it"):
        job(source)
    assert job(source, restart=True).surfaces == 10


def test_input_with_its_size_and_time_kept_is_another_input(job: Job, source: Path, tmp_path: Path) -> None:
    job(source)
    path = source / "quotes.csv"
    text, status = path.read_text(), path.stat()
    path.write_text(text.replace("forward", "forwarD", 1).replace("100.0", "100.1"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (status.st_size, status.st_mtime_ns)
    with pytest.raises(BulkError, match=r"fingerprint was [0-9a-f]{16}, is [0-9a-f]{16}"):
        job(source)
    path.write_text(text)  # as it was, at another time
    assert job(source).resumed == 3


def test_the_fingerprint_is_that_of_names_and_contents(source: Path) -> None:
    from jaxcal.bulk.input.input_files import find_source

    content = hashlib.sha256((source / "quotes.csv").read_bytes()).hexdigest()
    expected = hashlib.sha256(f"quotes.csv\0{content}\n".encode()).hexdigest()[:16]
    assert find_source(source).fingerprint == expected
    stopped = threading.Event()
    stopped.set()
    assert find_source(source).digest(stopped) == ""


def test_a_job_that_is_stopped_before_it_begins_writes_nothing(job: Job, source: Path, tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    assert job(source, stop=stop).interrupted
    assert not (tmp_path / "out").exists()


def test_input_that_changes_under_the_job_is_said(job: Job, source: Path, make_quotes: Make) -> None:
    def observe(_: Any) -> None:
        make_quotes(range(3)).to_csv(source / "quotes.csv", index=False)

    summary = job(source, observe=observe)
    assert [str(problem) for problem in summary.problems] == [
        "quotes.csv: it was changed while the job was at work, which may have read either: begin again with --restart"
    ]
    assert not summary.complete


def test_quotes_that_are_damaged_are_not_read_as_others(tmp_path: Path) -> None:
    """Input in parquet that has checksums of its pages."""
    path = tmp_path / "quotes.parquet"
    vols = np.random.default_rng(0).uniform(0.1, 0.5, 500)
    table = pa.table({"expiry": [0.5] * 500, "strike": 50.0 + np.arange(500.0), "iv": vols, "forward": [100.0] * 500})
    pq.write_table(table, path, write_page_checksum=True, use_dictionary=False, compression="none")
    content = path.read_bytes()
    place = content.index(vols.tobytes()[:64])
    for bit in range(8 * place + 48, 8 * (place + 4000), 997):
        path.write_bytes(flipped(content, bit))
        with pytest.raises(jc.QuoteError, match="CRC"):
            jc.read_quotes(path)
