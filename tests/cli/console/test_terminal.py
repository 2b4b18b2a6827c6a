"""What reaches a terminal: printable lines, whole numbers at any width, and files whatever becomes of the output."""

import csv
import errno
import io
import json
import os
import re
import sys
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console
from rich.table import Table
from typer.testing import CliRunner

from jaxcal.cli import app
from jaxcal.cli.console.result_table import ResultTable
from jaxcal.cli.console.terminal import complain, console, prepare_streams, say, show
from jaxcal.market.tables.csv_file import read_back

HOSTILE = "A$^_{\x1b[31m\x9b2J\r\n\u202e[red][/] :smile: é漢" + "N" * 5000
INSPECTED = {"arbitrage.csv", "forwards.csv", "quotes.png", "verdicts.csv"}


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)


def chain(name: str = HOSTILE, days: int = 1) -> pd.DataFrame:
    quotes = {"expiry": 0.5, "strike": [90.0, 100.0, 110.0, -1.0], "iv": [0.21, 0.2, 0.2, 0.2], "forward": 100.0}
    times = pd.date_range("2026-03-02T16:00Z", periods=days)
    return pd.concat([pd.DataFrame({**quotes, "underlying": name, "quote_time": time}) for time in times])


COMMANDS = {
    "calibrate": (["calibrate", "a.csv", "--model", "black-scholes", "--out", "out"], "smiles.png"),
    "compare": (["compare", "a.csv", "--models", "black-scholes", "--out", "out"], "comparison.png"),
    "inspect": (["inspect", "a.csv", "--out", "out"], "quotes.png"),
    "replay": (["replay", "a.csv", "--model", "black-scholes", "--out", "out"], "path.png"),
    "bulk": (["bulk", "a.csv", "out", "--model", "black-scholes"], "_summary.json"),
}


def test_a_line_is_one_printable_line(capsys: pytest.CaptureFixture[str]) -> None:
    say(f"  {HOSTILE}")
    complain(f"jaxcal: {HOSTILE}: the end")
    shown = capsys.readouterr()
    assert shown.out.startswith("  A$^_{?[31m?2J  ?[red][/] :smile: é漢N")
    for text in (shown.out, shown.err):
        assert text.endswith("\n")
        assert text[:-1].isprintable()
    assert len(shown.err) <= 500
    assert shown.err.endswith("N: the end\n")  # what to do stands last


def test_markup_and_emoji_of_data_are_text(capsys: pytest.CaptureFixture[str]) -> None:
    show("[red]x[/red] [/] [link=http://a]b :smile:")
    table = Table("[/]", "b", title="[bold]title")
    table.add_row("[/nothing]", ":smile:")
    show(ResultTable(table))
    shown = capsys.readouterr().out
    for text in ("[red]x[/red] [/] [link=http://a]b :smile:", "[bold]title", "[/nothing]"):
        assert text in shown


@pytest.mark.parametrize("width", [10, 20, 30, 40, 60, 80])
def test_numbers_are_whole_at_any_width(width: int) -> None:
    table = Table("name", "value", "error", "why", title="Title")
    numbers = [("alpha", "123456.789012", "-1.25e-15"), ("jump_intensity_of_two", "0.000001", "0.0123456")]
    for row in numbers:
        table.add_row(*row, "the quotes do not determine it, so it is as it was")
    file = io.StringIO()
    Console(file=file, width=width).print(ResultTable(table))
    shown = file.getvalue()
    assert "…" not in shown
    assert max(map(len, shown.splitlines())) <= width
    if width >= 40:
        for row in numbers:
            assert all(re.search(rf"(?<!\S){re.escape(cell)}(?!\S)", shown) for cell in row)
    else:  # folded where it must be, but all of it there
        assert all(cell in shown.replace("\n", "") for row in numbers for cell in row)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_terminal_of_40_columns(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    chain("A").to_csv("a.csv", index=False)
    result = CliRunner().invoke(app, COMMANDS[command][0], catch_exceptions=False)
    assert result.exit_code in (0, 3)
    assert "…" not in result.output
    if command == "compare":
        assert re.search(r"^RMSE: \d\.\d{3}$", result.stdout, re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_hostile_data_do_not_reach_the_terminal(command: str) -> None:
    chain().to_csv("a.csv", index=False)
    result = CliRunner().invoke(app, COMMANDS[command][0], catch_exceptions=False)
    assert result.exit_code in (0, 3)
    for line in result.output.splitlines():
        assert line.isprintable()
        assert "N" * 300 not in line


def outcome(arguments: list[str], stream: io.TextIOWrapper, monkeypatch: pytest.MonkeyPatch, name: str) -> int:
    monkeypatch.setattr(sys, name, stream)
    with pytest.raises(SystemExit) as end:
        app(arguments)
    monkeypatch.undo()
    return int(str(end.value.code))


@pytest.mark.parametrize("name", ["stdout", "stderr"])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_reader_that_has_gone_costs_no_file(
    command: str, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    chain("A").to_csv("a.csv", index=False)
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w", encoding="utf-8") as stream:  # noqa: PTH123
        code = outcome(COMMANDS[command][0], stream, monkeypatch, name)
    assert code in (0, 3)
    assert (tmp_path / "out" / COMMANDS[command][1]).exists()


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
@pytest.mark.parametrize("command", COMMANDS)
def test_an_encoding_that_lacks_letters(
    command: str, encoding: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    chain().to_csv("a.csv", index=False)
    (tmp_path / "a.csv").rename("漢é.csv")
    arguments = [word.replace("a.csv", "漢é.csv") for word in COMMANDS[command][0]]
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding)
    assert outcome(arguments, stream, monkeypatch, "stdout") in (0, 3)
    stream.flush()
    shown = raw.getvalue().decode(encoding)
    assert shown
    assert all(line.isprintable() for line in shown.splitlines())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_behind_a_redirection_is_said_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with open("/dev/full", "w", encoding="utf-8") as stream:  # noqa: PTH123
        monkeypatch.setattr(sys, "stdout", stream)
        say("first")
        say("second")
        show("third")
        monkeypatch.undo()
    sentence = f"jaxcal: standard output cannot be written to ({os.strerror(errno.ENOSPC)}); the work goes on\n"
    assert capsys.readouterr().err == sentence


def test_without_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    prepare_streams()
    say("nobody hears it")
    complain("nor this")
    show("nor that")
    assert not console(error=True).is_terminal


@pytest.mark.parametrize("command", COMMANDS)
def test_no_cell_that_a_command_writes_begins_a_formula(command: str) -> None:
    chain("=cmd|' /C calc'!A0").assign(**{"=note": "@SUM(A1)"}).to_csv("a.csv", index=False)
    Path("=b.csv").write_text("expiry,strike\n=1,2,3,4\n")
    arguments = COMMANDS[command][0]
    if command == "bulk":  # with a file that cannot be read, whose name begins a formula
        Path("in").mkdir()
        for name in ("a.csv", "=b.csv"):
            Path(name).rename(f"in/{name}")
        arguments = ["bulk", "in", "out", "--model", "black-scholes"]
    assert CliRunner().invoke(app, arguments, catch_exceptions=False).exit_code in (0, 3)
    written = list(Path("out").rglob("*.csv"))
    assert written
    for path in written:
        with path.open(newline="", encoding="utf-8") as file:
            for cell in (cell for row in csv.reader(file) for cell in row):
                assert not re.match(r"\s*[=+@\t\r]|-(?![\d.])", cell)
    names = {"inspect": "verdicts.csv", "replay": "path.csv"}
    if command in names:
        assert set(read_back(pd.read_csv(f"out/{names[command]}"))["underlying"]) == {"=cmd|' /C calc'!A0"}


def test_a_record_of_a_file_with_an_odd_name() -> None:
    name = os.fsdecode(b"a\xff\xc2\x9b2J.csv")  # bytes that are no UTF-8, and the beginning of an escape sequence
    chain("A\x1b").to_csv(name, index=False)
    for command in ("calibrate", "compare"):
        arguments = [word if word != "a.csv" else name for word in COMMANDS[command][0]]
        result = CliRunner().invoke(app, arguments, catch_exceptions=False)
        assert result.exit_code == 0, result.output
    for path in Path("out").glob("*.json"):
        text = path.read_text(encoding="utf-8")
        assert all(line.isprintable() for line in text.splitlines())
        record = json.loads(text)
        assert record["source"] == name
        assert record["underlying"] == "A\x1b"
