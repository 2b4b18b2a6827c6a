"""Executables on disk: found again by another process, and by nothing that would compile to another program."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.compilation_cache.compilation_cache import reset_cache

import jaxcal as jc
from jaxcal.compilation import kept_programs as _kept_programs
from jaxcal.compilation.quick_jit import QuickJit
from jaxcal.pricing import vanilla
from jaxcal.pricing.saddle import Saddle

FIT = """
import json, sys
import jax
jax.config.update("jax_enable_x64", True)
lowered = []
jax.monitoring.register_event_duration_secs_listener(
    lambda event, seconds, **more: lowered.append(more.get("fun_name")) if event.endswith("mlir_module_duration") else 0
)
import jaxcal as jc
jc.enable_compilation_cache(sys.argv[1])
surface = jc.Surface.from_vols([0.5], [90.0, 100.0, 110.0], [[0.21, 0.2, 0.2]], forward=100.0)
fit = jc.calibrate(jc.BlackScholes, surface)
print(json.dumps([fit.model.sigma.item().hex(), fit.rmse_vol.item().hex(), str(fit.status), lowered]))
"""


SOLVED = """
import sys
import jax, numpy as np
jax.config.update("jax_enable_x64", True)
import jaxcal as jc
from jaxcal.compilation.quick_jit import QuickJit
from jaxcal.solvers.cholesky import solve_spd
jc.enable_compilation_cache(sys.argv[1])
print(QuickJit(solve_spd)(4.0 * np.eye(11), np.ones(11)).tolist())
"""


def run(script: str, folder: Path) -> subprocess.CompletedProcess:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("JAX", "XDG_"))}
    command = [sys.executable, "-W", "error", "-c", script, str(folder)]
    return subprocess.run(command, env=kept, capture_output=True, text=True, check=True)


def fitted(folder: Path) -> list[Any]:
    done = run(FIT, folder)
    return [*json.loads(done.stdout), done.stderr]


def test_another_process_fits_without_a_trace_and_to_the_same_bits(tmp_path: Path) -> None:
    first, second = fitted(tmp_path), fitted(tmp_path)
    assert any("solve" in name for name in first[-2])
    assert not any("solve" in name for name in second[-2])
    assert first[:-2] == second[:-2]
    assert second[-1] == ""
    assert abs(float.fromhex(first[0]) - 0.61 / 3) < 1e-9  # a mean
    for path in tmp_path.glob("jaxcal-solve-*"):
        content = path.read_bytes()
        path.write_bytes(content[:-40] + bytes([content[-40] ^ 1]) + content[-39:])
    third = fitted(tmp_path)
    assert any("solve" in name for name in third[-2])
    assert first[:-2] == third[:-2]


def test_another_process_calls_functions_of_lapack(tmp_path: Path) -> None:
    """Which JAX looks up when it lowers a call: a process that only reads has lowered none."""
    assert run(SOLVED, tmp_path).stdout == run(SOLVED, tmp_path).stdout == f"{[0.25] * 11}\n"
    assert len([*tmp_path.glob("jaxcal-solve_spd-*")]) == 1


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("JAXCAL_KEPT_PROGRAMS", "1")
    monkeypatch.setattr(_kept_programs, "_BEGUN", float("inf"))  # whoever edits the library while tests run
    _kept_programs._sources.cache_clear()
    # what JAX reads from its own cache is not written again
    jax.config.update("jax_enable_compilation_cache", False)
    reset_cache()
    yield tmp_path
    jax.config.update("jax_enable_compilation_cache", True)
    reset_cache()
    _kept_programs._Store.folder = None
    _kept_programs._sources.cache_clear()


QUOTES = (jnp.asarray([0.5, 0.5]), jnp.asarray([0.0, 0.1]))


def program() -> Any:
    """As in a fresh process."""
    return QuickJit(vanilla._program, static_argnums=(1, 2))


def value(model: Any, made: Any = None) -> np.ndarray:
    return np.asarray((made or program())(Saddle(), False, False, model, *QUOTES))


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("jaxcal-*"))


def test_what_is_read_is_what_was_compiled(folder: Path) -> None:
    expected = value(jc.BlackScholes(0.2))
    _kept_programs.keep_programs(folder)
    assert np.array_equal(value(jc.BlackScholes(0.2)), expected)
    (path,) = files(folder)
    written = path.stat().st_mtime_ns
    made = program()
    before = made.num_programs()
    assert np.array_equal(value(jc.BlackScholes(0.2), made), expected)
    # another number is no other program
    assert not np.array_equal(value(jc.BlackScholes(0.3), made), expected)
    assert made.num_programs() == before + 1
    assert files(folder) == [path]
    assert path.stat().st_mtime_ns == written


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped", "foreign", "another program", "folder"])
def test_a_file_that_is_not_whole_is_replaced(damage: str, folder: Path) -> None:
    _kept_programs.keep_programs(folder)
    expected = value(jc.BlackScholes(0.2))
    (path,) = files(folder)
    content = path.read_bytes()
    mark = len(_kept_programs._MARK)
    if damage == "folder":
        path.unlink()
        path.mkdir()
    else:
        path.write_bytes(
            {
                "cut": content[: len(content) // 2],
                "empty": b"",
                "flipped": content[:-50] + bytes([content[-50] ^ 4]) + content[-49:],
                "foreign": b"PK\x03\x04" + content,
                "another program": content[:mark] + content[mark + 1 :],
            }[damage]
        )
    assert np.array_equal(value(jc.BlackScholes(0.2)), expected)
    if damage != "folder":
        assert _kept_programs._read(path, jax.tree.leaves((Saddle(), jc.BlackScholes(0.2), *QUOTES))) is not None


class Own(jc.AbstractFourierModel):
    """Black-Scholes of a user."""

    sigma: Any
    bounds: ClassVar = {"sigma": jc.Interval(0.01, 2.0, "log")}

    def log_cf(self, z: Any, t: Any) -> Any:
        return jnp.asarray(-0.5 * self.sigma**2 * t, z.dtype) * z * (z + 1j)


def test_what_is_not_of_the_library_is_not_kept(folder: Path) -> None:
    _kept_programs.keep_programs(folder)
    expected = value(jc.BlackScholes(0.2))
    (path,) = files(folder)
    assert np.allclose(value(Own(0.2)), expected, rtol=1e-12)
    before = (Own.__module__, "Own")
    Own.__module__, Own.__qualname__ = "jaxcal.models.diffusions.black_scholes", "BlackScholes"
    try:
        assert np.allclose(value(Own(0.2)), expected, rtol=1e-12)
    finally:
        Own.__module__, Own.__qualname__ = before
    assert files(folder) == [path]
    assert float(QuickJit(lambda x: 2 * x)(3.0)) == 6.0
    assert files(folder) == [path]


def test_a_class_that_was_patched_is_not_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _kept_programs.keep_programs(folder)
    expected = value(jc.BlackScholes(0.2))
    (path,) = files(folder)
    with monkeypatch.context() as patch:
        patch.setattr(jc.BlackScholes, "log_cf", lambda self, z, t: 4.0 * Own(self.sigma).log_cf(z, t))
        jax.clear_caches()
        assert np.allclose(value(jc.BlackScholes(0.2)), value(Own(0.4)), rtol=1e-9)
    assert files(folder) == [path]
    before = key(jc.BlackScholes(0.2))
    monkeypatch.setattr(jc.BlackScholes, "bounds", {"sigma": jc.Interval(0.1, 1.0, "linear")})
    assert key(jc.BlackScholes(0.2)) != before
    jax.clear_caches()
    assert np.array_equal(value(jc.BlackScholes(0.2)), expected)


def test_clear_caches_forgets_what_was_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _kept_programs.keep_programs(folder)
    made = program()
    expected = value(jc.BlackScholes(0.4), made)
    with monkeypatch.context() as patch:
        patch.setattr(jc.BlackScholes, "log_cf", lambda self, z, t: 4.0 * Own(self.sigma).log_cf(z, t))
        jax.clear_caches()
        assert np.allclose(value(jc.BlackScholes(0.2), made), expected, rtol=1e-9)
    jax.clear_caches()
    assert np.array_equal(value(jc.BlackScholes(0.4), made), expected)


def test_debug_nans_looks_into_a_program_that_is_kept(folder: Path) -> None:
    _kept_programs.keep_programs(folder)
    made, quotes = program(), (jnp.asarray([0.5, jnp.nan]), QUOTES[1])
    assert np.isnan(made(Saddle(), False, False, jc.BlackScholes(0.2), *quotes)[1])
    with jax.debug_nans(True), pytest.raises(FloatingPointError, match="invalid value"):
        made(Saddle(), False, False, jc.BlackScholes(0.2), *quotes)


def test_bounds_by_functions_that_are_not_of_the_library_have_no_key(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = jc.SVI(*[0.1] * 5)
    assert key(model) == key(model)
    monkeypatch.setattr(jc.SVI, "bounds", {**jc.SVI.bounds, "a": jc.Interval(0.0, 1.0, unit=lambda model: 2.0)})
    with pytest.raises(_kept_programs._NotKeptError):
        key(model)


def test_a_folder_that_cannot_be_written_to_changes_nothing(folder: Path) -> None:
    expected = value(jc.BlackScholes(0.2))
    (folder / "taken").write_text("")
    _kept_programs.keep_programs(folder / "taken")
    assert np.array_equal(value(jc.BlackScholes(0.2)), expected)


def test_switched_off_by_the_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAXCAL_KEPT_PROGRAMS", "0")
    _kept_programs.keep_programs(folder)
    assert not _kept_programs.are_kept()


def test_a_library_that_was_edited_after_its_import_keeps_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_kept_programs, "_BEGUN", 0.0)
    _kept_programs.keep_programs(folder)
    value(jc.BlackScholes(0.2))
    assert files(folder) == []


def test_a_file_that_an_installer_dated_back_counts_as_edited(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_kept_programs, "_LIBRARY", folder)
    monkeypatch.setattr(_kept_programs, "_BEGUN", time.time() - 1000.0)
    (folder / "a.py").write_text("one = 1")
    os.utime(folder / "a.py", (0.0, 0.0))
    with pytest.raises(_kept_programs._NotKeptError):
        _kept_programs._sources()


def test_every_source_of_the_library_counts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def digest() -> str:
        _kept_programs._sources.cache_clear()
        return _kept_programs._sources()

    monkeypatch.setattr(_kept_programs, "_LIBRARY", folder)
    (folder / "models").mkdir()
    (folder / "a.py").write_text("one = 1")
    (folder / "models" / "b.py").write_text("two = 2")
    seen = [digest()]
    (folder / "models" / "b.py").write_text("two = 3")
    seen.append(digest())
    (folder / "models" / "b.py").rename(folder / "models" / "c.py")
    seen.append(digest())
    (folder / "models" / "c.py").unlink()
    seen.append(digest())
    assert len(set(seen)) == 4


def key(*args: Any, static: tuple[int, ...] = (), variant: str = "") -> str:
    return _kept_programs._key(vanilla._program, args, static, variant)


def test_equal_questions_have_equal_keys_and_others_others(folder: Path) -> None:
    x = np.ones((2, 3))
    assert key(x, jc.BlackScholes(0.2)) == key(jnp.asarray(x), jc.BlackScholes(0.7))
    different = [
        key(x), key(x[0]), key(x.astype(np.float32)), key(x.astype(int)), key(1.0), key(1), key(True), key(None),
        key((x,)), key([x]), key({"a": x}), key({"b": x}), key(jnp.asarray(1.0) * 1), key(x, x),
        key(1.0, static=(0,)), key(2.0, static=(0,)),
        key("a", static=(0,)), key(("a", "b"), static=(0,)), key(("a, b",), static=(0,)), key(jc.BlackScholes(0.2)),
        key(jc.BlackScholes(jnp.asarray(x))), key(jc.Heston(1.0, 1.0, 1.0, 1.0, 0.0)),
        key(jc.Sinh(36)), key(jc.Sinh(64)),
        key(jc.Saddle(36)), key(jc.Heston, static=(0,)), key(jc.Outcome.STALLED, static=(0,)),
        key(jc.Outcome.INVALID, static=(0,)), key(x, variant="rare"),
    ]  # fmt: skip
    with jax.default_matmul_precision("float32"):
        different.append(key(x))
    assert len(set(different)) == len(different)


@pytest.mark.parametrize("value", [abs, np.sin, object(), Own(0.2), eqx.nn.Identity(), {1, 2}, np.ones(2)])
def test_settings_that_cannot_be_described_have_no_key(value: Any, folder: Path) -> None:
    with pytest.raises(_kept_programs._NotKeptError):
        key(value, static=(0,))
