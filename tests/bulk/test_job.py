"""Jobs: every surface has a row, the same as fitted by itself; nothing is lost when a job ends early."""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import jaxcal as jc
from jaxcal.bulk.engines.progress import Progress
from jaxcal.bulk.input import partition_rows as part_rows
from jaxcal.bulk.input.input_problem import BulkError
from jaxcal.bulk.output.dataset import Store
from jaxcal.bulk.output.output_schema import quote_schema, surface_schema
from jaxcal.bulk.summary import Summary

Make = Callable[..., pd.DataFrame]
Job = Callable[..., Summary]
Contents = Callable[[Path], dict[str, object]]


@pytest.fixture
def source(tmp_path: Path, make_quotes: Make) -> Path:
    """Two files with 11 surfaces, one of them without a usable quote."""
    quotes = make_quotes(range(11))
    quotes.loc[quotes["iv"].index // 8 == 6, "iv"] = -1.0
    folder = tmp_path / "in"
    folder.mkdir()
    quotes[:44].to_parquet(folder / "0.parquet", index=False)
    quotes[44:].to_csv(folder / "1.csv", index=False)
    return folder


def test_every_surface_has_a_row_with_its_fit(job: Job, source: Path, tmp_path: Path, make_quotes: Make) -> None:
    summary = job(source)
    rows = pd.read_parquet(tmp_path / "out")
    assert len(rows) == summary.surfaces == 11
    assert summary.outcomes == {"CONVERGED": 10, "NO_QUOTES": 1}
    # one by one: a table whose times are minutes apart is read as updates of one market
    surfaces = {key: s for place in range(11) for key, s in jc.surfaces_from_quotes(make_quotes([place])).items()}
    for values in rows.drop(index=6).itertuples():
        row: Any = values
        fit = jc.calibrate(jc.BlackScholes, surfaces[(row.underlying, row.quote_time)])
        assert row.sigma == pytest.approx(float(fit.model.sigma), rel=1e-9)
        assert row.sigma_error == pytest.approx(float(fit.standard_errors.sigma), rel=1e-6)
        assert row.rmse_vol == pytest.approx(float(fit.rmse_vol), rel=1e-9)
        assert row.cost == pytest.approx(float(fit.cost), rel=1e-9)
        assert row.status == str(fit.status)
        assert (row.num_quotes, row.num_left_out, row.num_steps) == (7, 1, int(fit.num_steps))
        assert dict(row.left_out) == {"strike not positive": 1}
    bad = rows.loc[6]
    assert (bad["outcome"], bad["converged"], bad["num_quotes"]) == ("NO_QUOTES", False, 0)
    assert str(bad["status"]) == "Not fitted: no quote can be used: 7 no implied volatility; 1 strike not positive."
    assert np.isnan(bad["sigma"])
    assert rows["sources"].map(list).tolist()[4:7] == [["0.parquet"], ["0.parquet", "1.csv"], ["1.csv"]]
    assert set(rows["version"]) == {jc.__version__}
    assert rows["settings"].nunique() == 1


def test_quotes_are_written_on_request(job: Job, source: Path, tmp_path: Path, make_quotes: Make) -> None:
    job(source, quotes=True)
    out = tmp_path / "out"
    assert len(pd.read_parquet(out)) == 11  # the folder itself is the dataset of surfaces
    found = pd.read_parquet(out / "_quotes")
    assert len(found) == 70
    assert found.columns.tolist() == quote_schema().names
    assert found["source"].value_counts().to_dict() == {"0.parquet": 39, "1.csv": 31}
    table = make_quotes(range(11))
    place = found["row"] + np.where(found["source"] == "1.csv", 44, 0)
    np.testing.assert_array_equal(found["market_vol"], table["iv"].to_numpy()[place])
    np.testing.assert_array_equal(found["underlying"], table["underlying"].to_numpy()[place])
    np.testing.assert_allclose(found["residual"], found["model_vol"] - found["market_vol"], atol=1e-12)


def test_parts_have_one_schema_however_their_fits_end(job: Job, source: Path, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    job(source, part_size=1)
    schemas = [pq.read_schema(path).remove_metadata() for path in sorted((tmp_path / "out").glob("*.parquet"))]
    assert len(schemas) == 11
    assert all(schema.equals(surface_schema(jc.BlackScholes)) for schema in schemas)


@pytest.mark.parametrize("lost", [[0], [2], [0, 1, 2], [1]])
def test_missing_and_damaged_parts_are_made_again(
    lost: list[int], job: Job, source: Path, tmp_path: Path, contents: Contents
) -> None:
    job(source, quotes=True)
    before = contents(tmp_path / "out")
    for number in lost:
        path = tmp_path / "out" / f"part-{number:06d}.parquet"
        if number == 1:
            path.write_bytes(path.read_bytes()[:-50])
        else:
            path.unlink()
    (tmp_path / "out" / "_unfinished").mkdir()
    (tmp_path / "out" / "_unfinished" / "part-000000.parquet.0").write_text("half")
    again = job(source, quotes=True)
    assert contents(tmp_path / "out") == before
    assert (again.resumed, again.damaged) == (3 - len(lost), lost.count(1))


def test_a_job_that_is_stopped_goes_on(job: Job, source: Path, tmp_path: Path, contents: Contents) -> None:
    job(source, tmp_path / "whole")
    stop, seen = threading.Event(), []

    def observe(progress: Progress) -> None:
        seen.append(progress.parts)
        stop.set()

    summary = job(source, stop=stop, observe=observe)
    assert summary.interrupted
    assert not summary.complete
    assert summary.surfaces in (4, 8)
    assert not (tmp_path / "out" / "_summary.json").exists()
    assert not job(source).interrupted
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_progress_counts_what_is_done(job: Job, source: Path) -> None:
    seen: list[tuple[int, int, int, int]] = []
    shares: list[float] = []

    def observe(p: Progress) -> None:
        seen.append((p.parts, p.surfaces, p.failed, p.resumed))
        shares.append(p.share)

    job(source, observe=observe)
    assert seen == [(1, 4, 0, 0), (2, 8, 1, 0), (3, 11, 1, 0)]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    seen.clear()
    job(source, observe=observe)
    assert seen == [(1, 4, 0, 1), (2, 8, 0, 2), (3, 11, 0, 3)]


def test_other_settings_or_another_input_are_refused(
    job: Job, source: Path, tmp_path: Path, contents: Contents
) -> None:
    job(source)
    before = contents(tmp_path / "out")
    for change, said in (
        ({"part_size": 5}, "part_size was 4, is 5"),
        ({"quotes": True}, "quotes was False, is True"),
        ({"model": jc.Heston}, "model was BlackScholes, is Heston"),
        ({"model": jc.BlackScholes(0.3)}, "start was None"),
    ):
        with pytest.raises(BulkError, match=said):
            job(source, **change)
    (source / "2.csv").write_text("expiry,strike,iv\n")
    with pytest.raises(BulkError, match="files was 2, is 3"):
        job(source)
    assert contents(tmp_path / "out") == before
    assert job(source, part_size=5, restart=True).surfaces == 11
    assert len(list((tmp_path / "out").glob("*.parquet"))) == 3
    assert json.loads((tmp_path / "out" / "_job.json").read_text())["settings"]["part_size"] == 5


def test_input_that_reads_otherwise_than_before_is_refused(
    job: Job, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that could not be read the first time, on a disk that comes and goes, shifts all parts behind it."""
    read = part_rows.read_windows

    def without_the_first(*arguments: Any):
        for window in read(*arguments):
            window.blocks[:1] = []
            yield window

    monkeypatch.setattr(part_rows, "read_windows", without_the_first)
    job(source)
    monkeypatch.undo()
    with pytest.raises(BulkError, match="made from other rows"):
        job(source)


def test_two_jobs_in_one_folder_are_refused(job: Job, source: Path, tmp_path: Path) -> None:
    with Store.open(tmp_path / "out", {"settings": {"quotes": False}}), pytest.raises(BulkError, match="another job"):
        job(source)


def test_the_folder_of_the_result_must_be_its_own(job: Job, source: Path, tmp_path: Path) -> None:
    for out in (source, source / "out", tmp_path):
        with pytest.raises(BulkError, match="must lie apart"):
            job(source, out)
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "thesis.tex").write_text("years of work")
    for restart in (False, True):
        with pytest.raises(BulkError, match=r"holds other things \(thesis.tex\)"):
            job(source, taken, restart=restart)
    assert [path.name for path in taken.iterdir() if path.name != "_lock"] == ["thesis.tex"]


def test_a_batch_that_fails_as_a_whole_is_fitted_one_by_one(
    job: Job, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jaxcal.bulk.output import fitted_partition as result

    whole = result.calibrate_many

    def failing(model: Any, surfaces: dict, **options: Any):
        if len(surfaces) > 1 or 2 in surfaces:
            raise RuntimeError("the device is out\nof memory")
        return whole(model, surfaces, **options)

    monkeypatch.setattr(result, "calibrate_many", failing)
    summary = job(source, quotes=True)
    assert summary.outcomes == {"CONVERGED": 8, "ERROR": 2, "NO_QUOTES": 1}
    rows = pd.read_parquet(tmp_path / "out")
    assert set(rows.loc[rows["outcome"] == "ERROR", "status"]) == {
        "Not fitted: RuntimeError: the device is out of memory"
    }


def test_double_precision_must_be_on(job: Job, source: Path) -> None:
    import jax

    jax.config.update("jax_enable_x64", False)
    try:
        with pytest.raises(BulkError, match="jax_enable_x64"):
            job(source)
    finally:
        jax.config.update("jax_enable_x64", True)
