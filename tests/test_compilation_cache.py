"""The folder of compiled programs: filled by one process, used by the next, and done without where it cannot be."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from jaxcal.compilation_cache import enable_compilation_cache

PROGRAM = """
import jax, sys
from jaxcal.compilation_cache import enable_compilation_cache
jax.jit(lambda x: x - 1.0)(2.0)  # compiled before, when JAX has no folder
print(enable_compilation_cache(*sys.argv[1:]))
jax.jit(lambda x: x + 1.0)(2.0)
"""


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_", "XDG_"))}
    command = [sys.executable, "-c", PROGRAM, *arguments]
    return subprocess.run(command, env=kept | environment, capture_output=True, text=True, check=True)


def folder_of_jax() -> str | None:
    return jax.config.jax_compilation_cache_dir  # pyright: ignore[reportAttributeAccessIssue]


def test_the_smallest_program_is_kept_in_the_users_cache(tmp_path: Path) -> None:
    done = run(XDG_CACHE_HOME=str(tmp_path))
    folder = tmp_path / "jaxcal" / "xla"
    assert done.stdout.strip() == str(folder)
    assert [path.name for path in folder.glob("*-cache")]


def test_a_folder_of_the_callers_choice(tmp_path: Path) -> None:
    run(str(tmp_path / "mine"))
    assert list((tmp_path / "mine").glob("*-cache"))


def test_a_cache_that_is_on_already_is_left_alone(tmp_path: Path) -> None:
    done = run(JAX_COMPILATION_CACHE_DIR=str(tmp_path / "theirs"), XDG_CACHE_HOME=str(tmp_path / "ours"))
    assert done.stdout.strip() == str(tmp_path / "theirs")
    assert not (tmp_path / "ours").exists()


def test_a_folder_that_cannot_be_written_is_a_warning(tmp_path: Path) -> None:
    before = folder_of_jax()
    (tmp_path / "taken").write_text("")
    with pytest.warns(UserWarning, match="compiled programs are not kept"):
        assert enable_compilation_cache(tmp_path / "taken" / "xla") is None
    assert folder_of_jax() == before
