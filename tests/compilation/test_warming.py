"""Programs compiled ahead: what a later process then finds, and what is said of a wrong word."""

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import jaxcal as jc
from jaxcal import warming
from jaxcal.cli import app
from jaxcal.cli import warm_up as cli_warm_up

FIT = """
import json
import jax
jax.config.update("jax_enable_x64", True)
import jaxcal as jc
from jaxcal.compilation.messages import num_programs
jc.enable_compilation_cache()
for strikes in ([90.0, 100.0, 110.0], [90.0, 95.0, 100.0, 110.0]):
    surface = jc.Surface.from_vols([0.5], strikes, [[0.2] * len(strikes)], forward=100.0)
    fit = jc.calibrate(jc.BlackScholes, surface)
    again = jc.calibrate(jc.BlackScholes(0.3), surface)
    wide = jc.calibrate(jc.BlackScholes, surface, bounds={"sigma": (0.1, 0.9)})
vols = [each.model.sigma.item() for each in (fit, again, wide)]
print(json.dumps([vols, *num_programs()]))
"""


def process(folder: Path, *command: str) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("JAX", "XDG_"))}
    environment = kept | {"XDG_CACHE_HOME": str(folder)}
    done = subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout


def test_after_it_a_fresh_process_fits_without_compiling_anything(tmp_path: Path) -> None:
    said = process(tmp_path, "-m", "jaxcal", "warm-up", "--models", "black-scholes", "--shapes", "1x5")
    assert "BlackScholes" in said
    assert str(tmp_path / "jaxcal" / "xla") in said.replace("\n", "")
    vols, compiled, read = json.loads(process(tmp_path, "-c", FIT))
    assert vols == pytest.approx([0.2, 0.2, 0.2], abs=1e-9)
    assert compiled == 0
    assert read > 0


def test_the_table_tells_what_was_compiled_and_then_that_it_is_there() -> None:
    tasks: Any = ["calibrate", "price"]
    first = jc.warm_up(["sabr", jc.BlackScholes], [(2, 7), (2, 5)], tasks=tasks)
    assert list(first.columns) == ["model", "task", "shape", "compiled", "from_cache", "seconds", "kept"]
    assert first[["model", "task", "shape"]].to_numpy().tolist() == [
        ["SABR", "calibrate", "2 x 8"],
        ["SABR", "price", "20"],
        ["BlackScholes", "calibrate", "2 x 8"],
        ["BlackScholes", "price", "20"],
    ]
    assert (first["compiled"] + first["from_cache"]).iloc[0] > 0
    assert (first["seconds"] > 0).all()
    again = jc.warm_up(["sabr", jc.BlackScholes], [(2, 7)], tasks=tasks)
    assert again[["compiled", "from_cache"]].to_numpy().sum() == 0


def test_with_a_model_come_the_simpler_ones_that_its_fit_starts_from() -> None:
    assert warming._templates("bates") == [jc.Heston, jc.Bates]
    assert warming._templates([jc.SVCJ, "heston"]) == [jc.Heston, jc.Bates, jc.SVCJ]


@pytest.mark.parametrize(
    "name", ["heston", "bates", "svcj", "piecewise-heston", "clocked-double-heston", "ssvi", "sabr"]
)
def test_every_kind_of_model_has_a_start_without_a_fit(name: str) -> None:
    (template,) = warming._templates(name)[-1:]
    assert isinstance(warming._start(template, warming._surface(4, 8)), template)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"models": "hesten"}, "there is no model 'hesten'; there are black-scholes"),
        ({"models": []}, "models are classes"),
        ({"models": jc.Heston, "shapes": [(0, 8)]}, "is no shape"),
        ({"models": jc.Heston, "shapes": [(8, 10**9)]}, "is no shape"),
        ({"models": jc.Heston, "shapes": []}, "no shape is named"),
        ({"models": jc.Heston, "tasks": ["fit" * 999] * 9}, "there is no task 'fitfit"),
        ({"models": jc.Heston, "tasks": "fit"}, "there is no task 'fit'; there are calibrate, "),
        ({"models": jc.Heston, "tasks": []}, "no task is named"),
    ],
)
def test_a_wrong_word_is_a_sentence(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said) as raised:
        jc.warm_up(**given)
    assert len(str(raised.value)) < 500


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--models", "hesten"], "jaxcal: there is no model 'hesten'; there are"),
        (["--shapes", "8by16"], "jaxcal: --shapes: '8by16' is no shape such as 8x16"),
        (["--shapes", "0x16"], "jaxcal: (0, 16) is no shape"),
        (["--shapes", ","], "jaxcal: no shape is named"),
        (["--tasks", "fit"], "jaxcal: there is no task 'fit'"),
        (["--tasks", ","], "jaxcal: no task is named"),
    ],
)
def test_a_wrong_option_ends_with_a_sentence(options: list[str], said: str) -> None:
    result = CliRunner().invoke(app, ["warm-up", *options])
    assert result.exit_code == 2
    assert result.stderr.startswith(said)
    assert result.stderr.count("\n") == 1


def test_what_is_no_model_and_no_shape_is_a_sentence() -> None:
    for models in ([int], [jc.Heston, 3], jc.Heston(0.04, 1.5, 0.04, 0.5, -0.5)):
        with pytest.raises(ValueError, match="models are classes"):
            warming._templates(models)
    for shape in ((8, 1e3), 8, "8x16", (8, 16, 3), (True, "8")):
        with pytest.raises(ValueError, match="is no shape"):
            warming._checked([shape])
    with pytest.raises(ValueError, match="8 is no shape"):
        warming._checked(8)
    with pytest.raises(ValueError, match="there is no task '8'"):
        warming._tasks(8)


def test_the_command_has_the_shapes_of_the_function() -> None:
    default = inspect.signature(cli_warm_up.warm_up).parameters["shapes"].default
    assert [cli_warm_up._shape(word) for word in default.split(",")] == list(warming.SHAPES)
