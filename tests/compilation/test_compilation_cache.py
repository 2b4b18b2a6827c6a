"""The folder of compiled programs: filled by one process, used by the next, and done without where it cannot be."""

import os
import subprocess
import sys
import zlib
from pathlib import Path

import jax
import pytest

from jaxcal.compilation.compilation_cache import enable_compilation_cache

PROGRAM = """
import jax, sys
from jaxcal.compilation.compilation_cache import enable_compilation_cache
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


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped"])
def test_a_damaged_entry_is_replaced_without_a_word(damage: str, tmp_path: Path) -> None:
    """Left by a process that was killed: JAX warns of it and leaves it as it is, each time."""
    run(str(tmp_path))
    entries = sorted(tmp_path.glob("*-cache"))
    assert entries
    for path in entries:
        content = path.read_bytes()
        flipped = content[:100] + bytes([content[100] ^ 4]) + content[101:]
        path.write_bytes({"cut": content[: len(content) // 2], "empty": b"", "flipped": flipped}[damage])
    done = run(str(tmp_path))
    assert done.stderr == ""
    assert sorted(tmp_path.glob("*-cache")) == entries
    for path in entries:
        zlib.decompress(path.read_bytes())


def test_two_processes_may_fill_one_cache(tmp_path: Path) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_", "XDG_"))}
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    started = [
        subprocess.Popen(command, env=kept, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)
    ]
    for process in started:
        _, said = process.communicate(timeout=300)
        assert (process.returncode, said) == (0, "")
    assert list(tmp_path.glob("*-cache"))
    assert run(str(tmp_path)).stderr == ""


def test_other_warnings_are_shown_as_before(tmp_path: Path) -> None:
    program = f"{PROGRAM}\nimport warnings; warnings.warn('mind the gap')"
    command = [sys.executable, "-c", program, str(tmp_path)]
    done = subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, check=True)
    assert "UserWarning: mind the gap" in done.stderr
