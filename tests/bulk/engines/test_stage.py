"""Stages run anywhere: bytes in, bytes out, the dataset of one process; a part that fails takes no other along."""

import pickle
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from jaxcal.bulk.engines import ray_stages as stage
from jaxcal.bulk.engines.progress import Tally
from jaxcal.bulk.engines.ray_engine import _follow
from jaxcal.bulk.engines.ray_stages import Clean, End, Failure, Fit, Read, Write, Written, from_row, to_row
from jaxcal.bulk.input.input_files import Source, find_source
from jaxcal.bulk.input.input_problem import BulkError
from jaxcal.bulk.input.partition import PartitionKey
from jaxcal.bulk.input.partition_rows import PartitionRows, read_partitions
from jaxcal.bulk.output.dataset import Store
from jaxcal.bulk.settings import Settings
from jaxcal.bulk.summary import Summary
from jaxcal.models.diffusions.black_scholes import BlackScholes

Make = Callable[..., pd.DataFrame]
Job = Callable[..., Summary]
Contents = Callable[[Path], dict[str, object]]


class Stages:
    """An engine that hands every part from stage to stage as bytes, the last part first."""

    def __init__(self, version: str | None = None) -> None:
        self.version = stage.version("jaxcal") if version is None else version

    def run(self, source: Source, settings: Settings, store: Store, tally: Tally, stop: threading.Event) -> None:
        read = Read(source, settings, dict(store.done), self.version)
        steps = [Clean(settings), Fit(settings, store.scratch, self.version, None), Write(store.path, store.scratch)]

        def items() -> Iterator[Any]:
            for table in reversed(list(_sent(read)(to_row(End(0))))):
                for step in steps:
                    table = step(table)
                yield from_row(table)

        _follow(items(), store, tally, stop)


def _sent(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


@pytest.fixture
def source(tmp_path: Path, make_quotes: Make) -> Path:
    """Two files with 11 surfaces, one of them without a usable quote, and a file that cannot be read."""
    quotes = make_quotes(range(11))
    quotes.loc[quotes.index // 8 == 6, "iv"] = -1.0
    folder = tmp_path / "in"
    folder.mkdir()
    quotes[:44].to_parquet(folder / "0.parquet", index=False)
    (folder / "1.parquet").write_text("PAR1")
    quotes[44:].to_csv(folder / "2.csv", index=False)
    return folder


def test_stages_write_the_same_dataset(job: Job, source: Path, tmp_path: Path, contents: Contents) -> None:
    here = job(source, tmp_path / "here", quotes=True)
    there = job(source, engine=Stages(), quotes=True)
    assert contents(tmp_path / "out") == contents(tmp_path / "here")
    assert there == here
    (tmp_path / "out" / "part-000001.parquet").unlink()
    assert job(source, quotes=True).resumed == 2  # a job may go on with another engine
    (tmp_path / "out" / "part-000000.parquet").unlink()
    assert job(source, engine=Stages(), quotes=True).resumed == 2
    assert contents(tmp_path / "out") == contents(tmp_path / "here")


def test_a_part_that_fails_takes_no_other_with_it(
    job: Job, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = stage.fit_partition

    def failing(pack: Any, settings: Settings) -> Any:
        if pack.cut.number == 1:
            raise MemoryError("this is\ntoo much")
        return fit(pack, settings)

    monkeypatch.setattr(stage, "fit_partition", failing)
    with pytest.raises(
        BulkError, match=r"part 1 cannot be done: MemoryError: this is too much \(1 such parts in all\)"
    ):
        job(source, engine=Stages())
    monkeypatch.undo()
    assert job(source).resumed == 2


def test_a_part_that_costs_its_worker_is_given_up(job: Job, source: Path, tmp_path: Path) -> None:
    class Costly(Stages):
        def run(self, source: Source, settings: Settings, store: Store, *rest: Any) -> None:
            for i in range(stage.MOST_TRIES):
                (store.scratch / f"begun-2.{i}").touch()
                (store.scratch / f"begun-1{i}.0").touch()
            super().run(source, settings, store, *rest)

    with pytest.raises(BulkError, match="part 2 cannot be done: RuntimeError: 5 workers were lost over it"):
        job(source, engine=Costly())
    assert job(source, engine=Stages()).resumed == 2


def test_what_concerns_all_parts_ends_the_job(
    job: Job, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BulkError, match=r"has jaxcal .*, the job was started with 0\.0"):
        job(source, engine=Stages("0.0"))

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(stage, "write_part", full)
    with pytest.raises(BulkError, match="cannot be written to: No space left on device; 0 parts are kept"):
        job(source, engine=Stages())


def test_folders_that_a_machine_does_not_see_are_said(source: Path, tmp_path: Path) -> None:
    seen = find_source(source)
    settings = Settings(BlackScholes)
    elsewhere = Source(tmp_path / "nowhere", seen.files)
    (failure,) = map(from_row, Read(elsewhere, settings, {}, stage.version("jaxcal"))(to_row(End(0))))
    assert "nowhere is not there on machine" in str(failure.error)
    result = stage.FittedPartition(PartitionKey(3, 0, ""), pa.table({"converged": pa.array([], pa.bool_())}), None)
    failure = from_row(Write(tmp_path / "out", tmp_path / "out" / "_unfinished" / "x")(to_row(result)))
    assert failure.number is None
    assert "must lie on a file system that all machines share" in str(failure.error)
    assert not (tmp_path / "out").exists()


def test_a_process_that_outlives_its_run_writes_nothing(tmp_path: Path) -> None:
    record = {"settings": {"quotes": False}}
    table = pa.table({"converged": [True]})
    with Store.open(tmp_path / "out", record) as store:
        late = Write(store.path, store.scratch)
        assert isinstance(from_row(late(to_row(stage.FittedPartition(PartitionKey(0, 1, "a"), table, None)))), Written)
    with Store.open(tmp_path / "out", record, restart=True) as store:
        assert isinstance(from_row(late(to_row(stage.FittedPartition(PartitionKey(1, 1, "b"), table, None)))), Failure)
        store.write(2, "c", table, None)
        assert [path.name for path in store.path.glob("*.parquet")] == ["part-000002.parquet"]


def test_a_part_is_sent_without_the_rows_of_others(source: Path) -> None:
    def size(part_size: int) -> int:
        first = next(read_partitions(find_source(source), Settings(BlackScholes, part_size=part_size), {}))
        assert isinstance(first, PartitionRows)
        return len(pickle.dumps(first))

    assert size(1) < 0.7 * size(10)


@pytest.mark.parametrize(
    ("items", "said"),
    [
        ([Written(PartitionKey(0, 4, "a"), 4)], "the task that reads the input was lost again and again"),
        (
            [Written(PartitionKey(1, 4, "a"), 4), End(4)],
            r"3 parts \(0, 2, 3\) were lost .*processes that had them \(why\)",
        ),
        ([End(2), Failure(1, BulkError("no")), PartitionKey(0, 4, "a")], r"no \(1 such parts"),
    ],
)
def test_what_does_not_arrive_is_missed(items: list[Any], said: str, tmp_path: Path) -> None:
    with Store.open(tmp_path / "out", {}) as store:
        tally = Tally(1, lambda progress: None)
        with pytest.raises(BulkError, match=said):
            _follow(iter(items), store, tally, threading.Event(), [RuntimeError("where\nwhy")])
        assert not tally.finished
        assert store.done == {item.cut.number: "a" for item in items if isinstance(item, Written)}
