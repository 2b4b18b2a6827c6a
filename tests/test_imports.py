"""What an import of jaxcal costs: no more than is needed, and nothing to the process."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import jaxcal

HEAVY = ("jax", "numpy", "pandas", "pyarrow", "scipy", "optax", "matplotlib", "ray", "websockets")


def imported_by(program: str, *names: str) -> list[str]:
    """Which of these a new process has imported after this program."""
    said = f"{program}\nimport sys; print(*[name for name in {names!r} if name in sys.modules], sep=chr(10))"
    done = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_an_import_brings_in_nothing_heavy() -> None:
    assert imported_by("import jaxcal", *HEAVY) == []


def test_a_fit_leaves_out_what_it_does_not_need() -> None:
    program = "import jaxcal as jc; jc.calibrate, jc.Heston, jc.Surface, jc.read_quotes"
    assert imported_by(program, "jax", "scipy", "optax", "matplotlib", "rich", "ray", "websockets") == ["jax"]


@pytest.mark.parametrize(
    "words",
    [("--help",), ("--version",), ("calibrate", "--help"), ("bulk", "--help"), ("live", "deribit", "--help")],
    ids=" ".join,
)
def test_the_command_line_answers_without_the_library(words: tuple[str, ...]) -> None:
    program = f"""
from jaxcal.cli import app
import contextlib, io
with contextlib.redirect_stdout(io.StringIO()) as said:
    app({list(words)!r}, prog_name="jaxcal", standalone_mode=False)
assert "jaxcal" in said.getvalue()
"""
    assert imported_by(program, *HEAVY) == []


def test_the_collector_is_left_as_it_was() -> None:
    program = """
import gc, jaxcal
jaxcal.Outcome
print(gc.isenabled())
gc.disable()
jaxcal.Status
print(gc.isenabled())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]


def test_names_are_attributes_that_stay_and_others_are_none() -> None:
    assert jaxcal.calibrate is jaxcal.calibrate
    assert "calibrate" in vars(jaxcal)
    assert not hasattr(jaxcal, "calibrat")
    with pytest.raises(ImportError, match="calibrat"):
        exec("from jaxcal import calibrat")


def test_every_name_of_the_stub_is_there_once() -> None:
    tree = ast.parse((Path(jaxcal.__file__).parent / "__init__.pyi").read_text(encoding="utf-8"))
    names = [alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names]
    assert sorted(names) == dir(jaxcal) == sorted(set(names))
    assert all(hasattr(jaxcal, name) for name in names)
