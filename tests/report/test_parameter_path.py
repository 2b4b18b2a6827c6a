"""The picture and the table of a replay."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from jaxcal.report.parameter_path import plot_path, write_path


def table(streams: tuple[str | None, ...] = ("BTC", "ETH"), count: int = 6) -> pd.DataFrame:
    times = pd.date_range("2026-03-02T16:00Z", periods=count, freq="6h").to_series()
    times.iloc[count // 2 :] += pd.Timedelta(days=14)
    parts = []
    for i, name in enumerate(streams):
        columns = {"rho": -0.3, "rho_low": -0.4, "rho_high": -0.2}
        for parameter in ("v0", "kappa"):
            columns |= {parameter: 1.0 + i, f"{parameter}_low": 0.5 + i, f"{parameter}_high": 2.0 + i}
        used = np.arange(count) != 2
        parts.append(
            pd.DataFrame(
                {"underlying": name, "quote_time": times.to_numpy(), "used": used, "rmse_vol": 0.01, **columns}
            )
        )
    found = pd.concat(parts, ignore_index=True)
    found["quote_time"] = pd.to_datetime(found["quote_time"], utc=True)
    return found


def test_every_parameter_has_a_panel_and_every_stream_a_line() -> None:
    figure = plot_path(table())
    assert [axes.get_ylabel() for axes in figure.axes] == ["rho", "v0", "kappa", "RMSE, vol points"]
    rho, v0 = figure.axes[:2]
    assert (rho.get_yscale(), v0.get_yscale()) == ("linear", "log")
    assert [line.get_label() for line in rho.get_lines()][::2] == ["BTC", "ETH"]
    line, cross = rho.get_lines()[:2]
    assert np.isnan(np.asarray(line.get_ydata(), float)).sum() == 1  # the gap of two weeks
    assert len(np.asarray(cross.get_xdata())) == 1


@pytest.mark.parametrize("count", [1, 2])
def test_short_streams_without_a_name_are_drawn(count: int) -> None:
    assert len(plot_path(table((None,), count), title="short").axes) == 4


def test_files_are_written(tmp_path: Path) -> None:
    paths = write_path(table(), tmp_path / "new", kind="parquet")
    assert sorted(path.name for path in paths.values()) == ["path.parquet", "path.png"]
    assert len(pd.read_parquet(paths["table"])) == 12
    assert paths["picture"].stat().st_size > 10_000
    again = pd.read_csv(write_path(table(), tmp_path / "new")["table"])
    assert list(again) == list(table())
