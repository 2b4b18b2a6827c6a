"""Kernels as machine code of NVIDIA's GPUs: registers, spills and double-precision instructions."""

import re
import struct
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

_DOUBLE = {0x28, 0x29, 0x2A, 0x2B, 0x3F}  # DMUL, DADD, DSETP, DFMA, DMMA: the low nine bits of an instruction
_ABOUT = re.compile(
    r"Compiling entry function '(\w+)'.*?(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads\s*"
    r"\n.*?Used (\d+) registers",
    re.DOTALL,
)


@dataclass(frozen=True)
class Kernel:
    """A kernel.

    Attributes:
        name: as XLA names it.
        registers: of a thread.
        spilled: bytes that a thread stores for want of registers.
        double: instructions in double precision, all paths of the code.
        instructions: all of them.
    """

    name: str
    registers: int
    spilled: int
    double: int
    instructions: int


def assembled(assembler: Path, architecture: str, ptx: Iterable[str]) -> tuple[Kernel, ...]:
    """The kernels of these files of assembly; a file that the assembler refuses is a RuntimeError."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        source, binary = Path(folder, "kernel.ptx"), Path(folder, "kernel.cubin")
        for text in ptx:
            source.write_text(text, encoding="utf-8")
            command = [assembler, "-v", f"-arch={architecture}", source, "-o", binary]
            ran = subprocess.run(command, capture_output=True, text=True, check=False)
            if ran.returncode:
                raise RuntimeError(f"the assembler refuses a kernel: {ran.stderr[:500]}")
            counts = {name: count(code) for name, code in sections(binary.read_bytes())}
            for name, _, stores, loads, registers in _ABOUT.findall(ran.stderr):
                double, instructions = counts.get(name, (0, 0))
                found.append(Kernel(name, int(registers), max(int(stores), int(loads)), double, instructions))
    return tuple(found)


def sections(binary: bytes) -> Iterator[tuple[str, bytes]]:
    """Name and code of every function of an ELF file of 64 bits."""
    (table,) = struct.unpack_from("<Q", binary, 0x28)
    size, number, names = struct.unpack_from("<HHH", binary, 0x3A)
    rows = [struct.unpack_from("<IIQQQQIIQQ", binary, table + i * size) for i in range(number)]
    for row in rows:
        start = rows[names][4] + row[0]
        name = binary[start : binary.index(b"\0", start)].decode()
        if name.startswith(".text."):
            yield name.removeprefix(".text."), binary[row[4] : row[4] + row[5]]


def count(code: bytes) -> tuple[int, int]:
    """Instructions in double precision, and all; of 16 bytes each."""
    words = [struct.unpack_from("<Q", code, i)[0] & 0x1FF for i in range(0, len(code) - 15, 16)]
    return sum(word in _DOUBLE for word in words), len(words)
