"""The command line: what it writes, what it says, and its exit codes."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from jaxcal.calibration.starts import starting_values as initial
from jaxcal.cli import app
from jaxcal.market import surface_choice
from jaxcal.models.registry import ModelName, model_names
from jaxcal.published import dax_quotes
from jaxcal.synthetic import synthetic_chain

FILES = ["parameters.json", "residuals.csv", "smiles.png"]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert "Traceback" not in result.output
    return result


def table(**columns: object) -> pd.DataFrame:
    """Four quotes of volatility around 20 %, one of them unusable, for each row of `columns` that varies."""
    quotes = {"expiry": [0.5, 0.5, 1.0, 1.0], "strike": [90.0, 110.0, 100.0, -1.0], "iv": [0.21, 0.2, 0.2, 0.2]}
    return pd.DataFrame({**quotes, "forward": 100.0, **columns})


@pytest.fixture
def quotes(tmp_path: Path) -> Path:
    path = tmp_path / "chain.csv"
    table().to_csv(path, index=False)
    return path


def test_calibrate_fits_and_writes_next_to_nothing(quotes: Path) -> None:
    result = run("calibrate", quotes, "--model", "black-scholes")
    assert result.exit_code == 0
    assert "3 of 4 quotes used; 1 strike not positive" in result.stdout
    assert re.search(r"│ sigma +│ 0\.203", result.stdout)
    folder = Path("chain-fit")
    assert sorted(path.name for path in folder.iterdir()) == FILES
    record = json.loads((folder / "parameters.json").read_text())
    assert record["model"] == "BlackScholes"
    assert record["converged"] is True
    assert record["source"] == str(quotes)
    assert record["quotes"] == {"used": 3, "left_out": {"strike not positive": 1}}
    assert pd.read_csv(folder / "residuals.csv")["row"].tolist() == [0, 1, 2]
    assert (folder / "smiles.png").read_bytes().startswith(b"\x89PNG")


def test_calibrate_writes_where_it_is_told(quotes: Path) -> None:
    assert run("calibrate", quotes, "--model", "black-scholes", "--out", "deep/down").exit_code == 0
    assert sorted(path.name for path in Path("deep/down").iterdir()) == FILES
    assert not Path("chain-fit").exists()


def test_a_fit_that_does_not_converge_is_written_and_exits_with_1(quotes: Path) -> None:
    result = run("calibrate", quotes, "--model", "heston")  # three quotes, five parameters
    assert result.exit_code == 1
    assert "fewer quotes than free parameters" in result.stdout
    assert json.loads(Path("chain-fit/parameters.json").read_text())["converged"] is False


def test_a_robust_loss_holds_against_a_bad_quote(tmp_path: Path) -> None:
    path, strikes = tmp_path / "chain.csv", [80.0, 90.0, 100.0, 110.0, 120.0]
    quotes = {"expiry": 0.5, "strike": strikes, "iv": [0.201, 0.199, 0.2, 0.9, 0.2], "forward": 100.0}
    pd.DataFrame(quotes).to_csv(path, index=False)
    fitted = {}
    for options in ([], ["--loss", "cauchy", "--loss-scale", "0.5"], ["--loss", "huber"]):
        # every quote is used: by itself none is bad
        result = run("calibrate", path, "--model", "black-scholes", "--profile", "plain", *options)
        assert result.exit_code == 0
        fitted[" ".join(options)] = json.loads(Path("chain-fit/parameters.json").read_text())["parameters"]
    plain, cauchy, huber = (float(found["sigma"]) for found in fitted.values())
    assert plain == pytest.approx(0.34, abs=1e-3)
    assert cauchy == pytest.approx(0.2, abs=1e-3)
    assert huber == pytest.approx(0.2, abs=0.01)


def test_losses_that_cannot_be_are_refused(quotes: Path) -> None:
    for options, said in (
        (["--loss-scale", "0.5"], "the linear loss has no scale"),
        (["--loss", "huber", "--loss-scale", "-1"], "--loss-scale"),
        (["--loss", "square"], "--loss"),
    ):
        result = run("calibrate", quotes, "--model", "black-scholes", *options)
        assert result.exit_code == 2
        assert said in " ".join(result.stderr.split())


@pytest.mark.parametrize("suffix", [".csv.gz", ".parquet"])
def test_calibrate_reads_compressed_tables(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"chain{suffix}"
    table().to_csv(path, index=False) if suffix == ".csv.gz" else table().to_parquet(path)
    assert run("calibrate", path, "--model", "black-scholes").exit_code == 0
    assert Path("chain-fit/parameters.json").exists()


BAD_FILES = {
    "missing": (None, "no such file"),
    "empty": ("", "is empty"),
    "header only": ("expiry,strike,iv\n", "no rows"),
    "other columns": ("date,close\n2026-01-05,100\n", "columns found: date, close"),
    "no usable quote": ("expiry,strike,iv,forward\n0.5,-1,0.2,100\n", "no quote can be used: .*strike not positive"),
    "percent": ("expiry,strike,iv,forward\n0.5,100,20,100\n0.5,101,21,100\n", "percent"),
    "no key": ("underlying,expiry,strike,iv,forward\n,0.5,100,0.2,100\nA,0.5,x,0.2,100\n", "no quote can be used"),
    "binary": ("\x00\x01\x02", "columns found|not a CSV|no rows"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_input_is_one_sentence_and_exits_with_2(case: str, tmp_path: Path) -> None:
    content, said = BAD_FILES[case]
    path = tmp_path / "bad.csv"
    if content is not None:
        path.write_text(content)
    result = run("calibrate", path, "--model", "black-scholes")
    assert result.exit_code == 2
    assert re.fullmatch(rf"jaxcal: .*bad\.csv.*(?:{said}).*\n", result.stderr, re.DOTALL)
    assert result.stderr.count("\n") == 1
    assert not Path("bad-fit").exists()


def test_a_damaged_parquet_file_exits_with_2(tmp_path: Path) -> None:
    path = tmp_path / "bad.parquet"
    path.write_bytes(b"PAR1 but not really")
    result = run("calibrate", path)
    assert result.exit_code == 2
    assert result.stderr.startswith("jaxcal: ")


def test_other_endings_and_venues_are_refused(tmp_path: Path, quotes: Path) -> None:
    (tmp_path / "chain.doc").write_text("")
    assert "only .csv" in run("calibrate", tmp_path / "chain.doc").stderr
    (tmp_path / "chain.xlsx").write_text("")
    assert "no Excel workbook" in run("calibrate", tmp_path / "chain.xlsx").stderr
    result = run("calibrate", quotes, "--venue", "moon")
    assert result.exit_code == 2
    assert "known layouts" in result.stderr


def test_a_folder_that_cannot_be_written_exits_with_2(quotes: Path) -> None:
    Path("taken").write_text("")
    result = run("calibrate", quotes, "--model", "black-scholes", "--out", "taken/fit")
    assert result.exit_code == 2
    assert "cannot be written" in result.stderr


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Surfaces of A at two times and of B at one; the second of A has other volatilities."""
    times = ["2026-01-05T10:00:00Z", "2026-01-06T10:00:00Z", "2026-01-05T10:00:00Z"]
    parts = [
        table(underlying=name, quote_time=time, iv=vol)
        for name, time, vol in zip("AAB", times, (0.2, 0.3, 0.4), strict=True)
    ]
    path = tmp_path / "many.csv"
    pd.concat(parts).to_csv(path, index=False)
    return path


@pytest.mark.parametrize(
    ("options", "rows", "vol"),
    [
        (["--underlying", "B"], [8, 9, 10], 0.4),
        (["--underlying", "A", "--time", "2026-01-06T10:00:00Z"], [4, 5, 6], 0.3),
        (["--time", "2026-01-06"], [4, 5, 6], 0.3),
        (["--underlying", "A", "--time", "2026-01-05 10"], [0, 1, 2], 0.2),
    ],
)
def test_one_surface_of_several_is_chosen(many: Path, options: list[str], rows: list[int], vol: float) -> None:
    result = run("calibrate", many, "--model", "black-scholes", *options)
    assert result.exit_code == 0
    assert "3 of 4 quotes used" in result.stdout
    record = json.loads(Path("many-fit/parameters.json").read_text())
    assert record["parameters"]["sigma"] == pytest.approx(vol)
    assert record["underlying"] == ("B" if vol == 0.4 else "A")
    assert pd.read_csv("many-fit/residuals.csv")["row"].tolist() == rows


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "3 surfaces .*: A 2026-01-05T10:00:00Z, A 2026-01-06T10:00:00Z, B 2026-01-05T10:00:00Z"),
        (["--underlying", "A"], "2 surfaces .*: A 2026-01-05T10:00:00Z, A 2026-01-06T10:00:00Z$"),
        (["--underlying", "C"], "no surface .*only A 2026-01-05T10:00:00Z, A .*, B"),
        (["--time", "yesterday"], "no surface"),
    ],
)
def test_several_surfaces_are_listed(many: Path, options: list[str], said: str) -> None:
    result = run("calibrate", many, *options)
    assert result.exit_code == 2
    assert re.search(said, result.stderr.strip())


def test_a_long_list_of_surfaces_is_cut(tmp_path: Path) -> None:
    names = [f"N{i:02}" for i in range(surface_choice._MOST_LISTED + 3)]
    pd.concat([table(underlying=name) for name in names]).to_csv(tmp_path / "many.csv")
    result = run("calibrate", tmp_path / "many.csv")
    assert result.exit_code == 2
    assert result.stderr.rstrip().endswith(f"N{surface_choice._MOST_LISTED - 1}, and 3 more")


def test_help_names_every_command_and_explains_every_option() -> None:
    assert "demo" in run("--help").stdout
    for command in ("calibrate", "compare", "demo"):
        shown = run(command, "--help").stdout
        parameters = next(c for c in app.registered_commands if c.callback and c.callback.__name__ == command)
        assert parameters.callback is not None
        for name, annotation in parameters.callback.__annotations__.items():
            if name != "return":
                assert annotation.__metadata__[0].help
                assert f"--{name.replace('_', '-')}" in shown or name.upper() in shown
        assert "Exit codes" in shown


def test_version_and_unknown_options() -> None:
    assert re.fullmatch(r"jaxcal \d+\.\d+\.\d+\n", run("--version").stdout)
    assert run("calibrate", "chain.csv", "--speed", "11").exit_code == 2


def test_demo_of_small_chains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole demonstration on two expiries of each chain, a size that other tests compile too."""

    def two_expiries(quotes: pd.DataFrame, step: int) -> pd.DataFrame:
        chosen = quotes["expiry"].unique()[4:6]
        return quotes[quotes["expiry"].isin(chosen)].iloc[::step].reset_index(drop=True)

    dax, btc = two_expiries(dax_quotes(), 4), two_expiries(synthetic_chain(), 9)
    monkeypatch.setattr("jaxcal.published.dax_quotes", lambda: dax)
    monkeypatch.setattr("jaxcal.synthetic.synthetic_chain", lambda: btc)
    result = run("demo")
    assert result.exit_code == (0 if result.stdout.count("Converged") == 2 else 1)
    assert f"{len(dax)} of {len(dax)} quotes used" in result.stdout
    for name in ("dax", "btc"):
        assert sorted(path.name for path in Path("jaxcal-demo", name).iterdir()) == sorted([*FILES, "quotes.csv"])
        assert str(Path("jaxcal-demo", name, "smiles.png")) in result.stdout
    pd.testing.assert_series_equal(pd.read_csv("jaxcal-demo/dax/quotes.csv")["iv"], dax["iv"])


@pytest.mark.slow
def test_demo_fits_both_chains(tmp_path: Path) -> None:
    result = run("demo", "--out", tmp_path / "shown")
    assert result.exit_code == 0
    assert "104 of 104 quotes used" in result.stdout
    assert result.stdout.count("Converged") == 2
    for name in ("dax", "btc"):
        folder = tmp_path / "shown" / name
        assert sorted(path.name for path in folder.iterdir()) == sorted([*FILES, "quotes.csv"])
        assert str(folder / "smiles.png") in result.stdout
    record = json.loads((tmp_path / "shown" / "btc" / "parameters.json").read_text())
    for name, value in {"v0": 0.22, "kappa": 6.0, "theta": 0.36, "sigma": 2.6, "rho": -0.3}.items():
        assert abs(record["parameters"][name] - value) < 5.0 * record["standard_errors"][name]


def test_a_process_of_its_own(quotes: Path) -> None:
    """64 bit is switched on by the command itself, and nothing appears on standard error."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_", "XDG_"))}
    command = [sys.executable, "-W", "error", "-m", "jaxcal", "calibrate", quotes, "--model", "black-scholes"]
    programs = jax.config.jax_compilation_cache_dir  # pyright: ignore[reportAttributeAccessIssue]
    environment = kept | {"JAX_COMPILATION_CACHE_DIR": str(programs)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    record = json.loads(Path("chain-fit/parameters.json").read_text())
    assert record["parameters"]["sigma"] == pytest.approx(0.61 / 3, abs=1e-9)  # a mean, in double precision


def test_an_unwritable_cache_is_one_sentence(quotes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def without_cache() -> None:
        import warnings

        warnings.warn("compiled programs are not kept: no room", stacklevel=2)

    monkeypatch.setattr("jaxcal.compilation.compilation_cache.enable_compilation_cache", without_cache)
    result = run("calibrate", quotes, "--model", "black-scholes")
    assert result.exit_code == 0
    assert result.stderr == "jaxcal: compiled programs are not kept: no room\n"


COMPARISON = ["comparison.csv", "comparison.json", "comparison.png"]


def test_compare_writes_a_table_a_record_and_a_picture(quotes: Path) -> None:
    result = run("compare", quotes, "--models", "black-scholes")
    assert result.exit_code == 0
    assert "3 of 4 quotes used" in result.stdout
    assert re.search(r"^BlackScholes +1 +0\.\d{3} ", result.stdout, re.MULTILINE)
    folder = Path("chain-comparison")
    assert sorted(path.name for path in folder.iterdir()) == COMPARISON
    assert pd.read_csv(folder / "comparison.csv")["model"].tolist() == ["BlackScholes"]
    record = json.loads((folder / "comparison.json").read_text())
    assert record["source"] == str(quotes)
    assert record["quotes"] == {"used": 3, "left_out": {"strike not positive": 1}}
    assert all(str(folder / name) in result.stdout for name in COMPARISON)


def test_compare_says_which_models_did_not_converge(quotes: Path) -> None:
    result = run("compare", quotes, "--models", "Heston, black-scholes", "--out", "both")
    assert result.exit_code == 1
    assert "Heston: Not fitted: there are fewer quotes than free parameters" in result.stdout
    frame = pd.read_csv("both/comparison.csv")
    assert frame["model"].tolist() == ["Heston", "BlackScholes"]
    assert frame["converged"].tolist() == [False, True]


def test_compare_chooses_one_surface_of_several(many: Path) -> None:
    assert run("compare", many, "--models", "black-scholes").exit_code == 2
    result = run("compare", many, "--models", "black-scholes", "--underlying", "B")
    assert result.exit_code == 0
    record = json.loads(Path("many-comparison/comparison.json").read_text())
    assert record["underlying"] == "B"
    assert record["models"][0]["parameters"]["sigma"] == pytest.approx(0.4)


@pytest.mark.parametrize("names", ["heston,hesston", "", " , "])
def test_unknown_models_are_refused(quotes: Path, names: str) -> None:
    result = run("compare", quotes, "--models", names)
    assert result.exit_code == 2
    assert re.fullmatch(r"jaxcal: --models: (there is no model 'hesston'|no model is named); .*svcj.*\n", result.stderr)
    assert run("calibrate", quotes, "--model", "hesston").exit_code == 2


def test_compare_refuses_what_cannot_be_written_or_read(quotes: Path) -> None:
    Path("taken").write_text("")
    result = run("compare", quotes, "--models", "black-scholes", "--out", "taken/there")
    assert result.exit_code == 2
    assert "cannot be written" in result.stderr
    assert run("compare", "missing.csv").exit_code == 2


@pytest.mark.parametrize("name", ModelName)
def test_every_model_of_the_command_line_has_a_starting_rule(name: ModelName) -> None:
    template = name.model
    assert name.value.replace("-", "") == template.__name__.lower()
    assert initial.RULES[template].read or initial.RULES[template].simpler


def test_every_model_with_a_starting_rule_has_a_name() -> None:
    named = {name.model for name in ModelName}
    assert set(initial.RULES) == named
    assert model_names("heston") == [ModelName.HESTON]
