"""Counting what XLA makes for a GPU; and, where the compiler for one is installed, what it makes of our programs."""

import struct
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.instruments import gpu_target
from benchmarks.instruments.hlo import Module, size_of
from benchmarks.instruments.machine_code import count, sections
from benchmarks.instruments.roofline import PEAKS
from benchmarks.speed.gpu_compile import DEVICES, Model, merged

ROOT = Path(__file__).resolve().parents[1]
TEXT = """
%rows (p0: f64[100,8], p1: s32[4]) -> f64[4,8] {
  %p0 = f64[100,8]{1,0} parameter(0)
  %p1 = s32[4]{0} parameter(1)
  ROOT %taken = f64[4,8]{1,0} gather(%p0, %p1), offset_dims={1}
}
%put (p0: f64[100,8], p1: f64[4,8], p2: s32[4]) -> f64[100,8] {
  %p0 = f64[100,8]{1,0} parameter(0)
  %p1 = f64[4,8]{1,0} parameter(1)
  %p2 = s32[4]{0} parameter(2)
  ROOT %whole = f64[100,8]{1,0} scatter(%p0, %p2, %p1), to_apply=%add
}
%body (s: (s32[], f64[100,8], s32[4])) -> (s32[], f64[100,8], s32[4]) {
  %s = (s32[], f64[100,8]{1,0}, s32[4]{0}) parameter(0)
  %x = f64[100,8]{1,0} get-tuple-element(%s), index=1
  %i = s32[4]{0} get-tuple-element(%s), index=2
  %some = f64[4,8]{1,0} fusion(%x, %i), kind=kLoop, calls=%rows
  %new = f64[100,8]{1,0} fusion(%x, %some, %i), kind=kInput, calls=%put
  ROOT %t = (s32[], f64[100,8]{1,0}, s32[4]{0}) tuple(%n, %new, %i)
}
ENTRY %main (a: f64[100,8]) -> f64[100,8] {
  %a = f64[100,8]{1,0} parameter(0)
  %b = f64[100,8]{1,0} multiply(%a, %a)
  %w = (s32[], f64[100,8]{1,0}, s32[4]{0}) while(%t0), body=%body, backend_config={"known_trip_count":{"n":"32"}}
  ROOT %r = f64[100,8]{1,0} get-tuple-element(%w), index=1
}
"""


def test_bytes_of_kernels_and_turns_of_loops():
    """Of a gather the rows that it takes, of a scatter in place what it writes."""
    module = Module(TEXT)
    (loop,) = module.loops()
    assert (loop.inside, loop.body, loop.turns) == ("main", "body", 32)
    row = 4 * 8 * 8
    assert [(k.name, k.read, k.written) for k in loop.kernels] == [("some", row + 16, row), ("new", row + 16, row)]
    assert [(k.name, k.read, k.written) for k in module.kernels("main")] == [("b", 6400, 6400)]
    assert module.step() == loop
    assert size_of("(f64[2,3]{1,0}, pred[4]{0}, s32[])") == 56


def test_instructions_in_machine_code():
    words = [0x229, 0x22B, 0x947, 0x228]  # DADD, DFMA, BRA, DMUL, with a bit above the nine that name them
    code = b"".join(struct.pack("<QQ", word, 7) for word in words)
    assert count(code) == (3, 4)
    names = b"\0.text.kernel\0.names\0"
    header = bytearray(64)
    table = 64 + len(code) + len(names)
    struct.pack_into("<Q", header, 0x28, table)
    struct.pack_into("<HHH", header, 0x3A, 64, 2, 1)
    rows = [(1, 64, len(code)), (14, 64 + len(code), len(names))]
    entries = b"".join(struct.pack("<IIQQQQIIQQ", name, 0, 0, 0, at, size, 0, 0, 0, 0) for name, at, size in rows)
    assert list(sections(bytes(header) + code + names + entries)) == [("kernel", code)]


def test_the_model_counts_launches_bytes_and_arithmetic():
    (loop,) = Module(TEXT).loops()
    model = Model(PEAKS["H200"])
    assert model.moving(loop) == pytest.approx(2 * 1.5e-6 + 50e-6)  # bytes that take less than a launch
    slow = Model(PEAKS["RTX 4090"])
    assert slow.fits(loop, loop, 4096, 1024) < model.fits(loop, loop, 4096, 1024)
    assert set(DEVICES) == set(gpu_target.TARGETS) == set(gpu_target.ARCHITECTURES)


@pytest.mark.skipif(bool(gpu_target.missing()), reason=gpu_target.missing() or "installed")
def test_programs_compiled_for_an_h200(tmp_path):
    """Ceilings with a tenth of margin; no loop over the batch; volatilities by one kernel."""
    names = "fits Heston", "evaluation Heston", "evaluation SVCJ", "implied_vol", "greeks", "price", "american_price"
    out = tmp_path / "rows.csv"
    command = [sys.executable, "-m", "benchmarks.speed.gpu_compile", "--out", out, "--programs", *names]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    rows = pd.read_csv(out).set_index("program").to_dict("index")
    assert all(row["grow with the batch"] == 0 for row in rows.values())
    step, one, vols = rows["fits Heston"], rows["evaluation Heston"], rows["implied_vol"]
    assert step["kernels"] <= 34
    assert step["kB read"] + step["kB written"] <= 200
    assert step["refill kB a fit"] <= 1250
    assert one["kernels"] <= 15
    assert one["kB read"] + one["kB written"] <= 150
    assert one["spilled bytes"] < 128
    assert rows["evaluation SVCJ"]["spilled bytes"] < 128
    assert (vols["kernels"], vols["spilled bytes"]) == (1, 0)


def test_rows_of_another_target_stay(tmp_path):
    path = tmp_path / "rows.csv"
    rows = pd.DataFrame({"program": ["fits"] * 2, "target": ["a100", "h200"], "size": [8, 8], "kernels": [3, 4]})
    merged(path, rows).to_csv(path, index=False)
    after = merged(path, rows[:1].assign(kernels=5))
    assert after[["target", "kernels"]].to_numpy().tolist() == [["h200", 4], ["a100", 5]]
