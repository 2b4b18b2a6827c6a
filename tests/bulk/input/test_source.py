"""Which files are read, and in which order."""

import time
from pathlib import Path

import pytest

from jaxcal.bulk.input.input_files import find_source
from jaxcal.bulk.input.input_problem import BulkError


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")


def test_files_are_in_the_order_of_their_names_at_any_depth(tmp_path: Path) -> None:
    touch(tmp_path, "b.csv", "a/z.parquet", "a/c/y.CSV", "c.csv.gz", "a.csv", "d.json")
    assert [file.name for file in find_source(tmp_path).files] == [
        "a/c/y.CSV",
        "a/z.parquet",
        "a.csv",
        "b.csv",
        "c.csv.gz",
        "d.json",
    ]


def test_what_is_hidden_or_of_another_kind_is_not_read(tmp_path: Path) -> None:
    touch(tmp_path, "a.csv", "_SUCCESS", ".a.csv.crc", "_old/b.csv", ".git/c.csv", "README.md", "notes.toml")
    source = find_source(tmp_path)
    assert [file.name for file in source.files] == ["a.csv"]
    assert source.ignored == 2


def test_folders_of_a_partitioned_dataset_give_columns(tmp_path: Path) -> None:
    touch(tmp_path, "underlying=BRK%2FB/day=__HIVE_DEFAULT_PARTITION__/a.parquet")
    assert find_source(tmp_path).files[0].columns == (("underlying", "BRK/B"), ("day", None))


def test_the_fingerprint_changes_with_any_file(tmp_path: Path) -> None:
    touch(tmp_path, "a.csv", "b.csv")
    before = find_source(tmp_path).fingerprint
    assert find_source(tmp_path).fingerprint == before
    touch(tmp_path, "c.csv")
    with_another = find_source(tmp_path).fingerprint
    (tmp_path / "a.csv").write_text("other")
    assert len({before, with_another, find_source(tmp_path).fingerprint}) == 3


def test_nothing_to_read_is_a_sentence(tmp_path: Path) -> None:
    touch(tmp_path, "a.xls")
    for path, said in ((tmp_path / "no", "no such"), (tmp_path, "no file"), (tmp_path / "a.xls", "only files")):
        with pytest.raises(BulkError, match=said):
            find_source(path)


@pytest.mark.parametrize("count", [2_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_many_small_files_are_listed_quickly(tmp_path: Path, count: int) -> None:
    for i in range(count):
        (tmp_path / f"{i:06d}.csv").touch()
    start = time.perf_counter()
    source = find_source(tmp_path)
    _ = source.fingerprint
    assert len(source.files) == count
    assert time.perf_counter() - start < 1.0 + 1e-4 * count  # 20 us a file on two busy cores
