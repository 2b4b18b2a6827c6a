"""Optimised HLO as XLA prints it: kernels, the bytes they read and write, and loops with what a turn of each costs."""

import re
from collections import defaultdict
from dataclasses import dataclass

_BYTES = {
    "f64": 8,
    "s64": 8,
    "u64": 8,
    "c64": 8,
    "c128": 16,
    "f32": 4,
    "s32": 4,
    "u32": 4,
    "f16": 2,
    "bf16": 2,
    "s16": 2,
}
_BYTES |= {"u16": 2, "s8": 1, "u8": 1, "pred": 1}
_ARRAY = re.compile(rf"\b({'|'.join(_BYTES)})\[([\d,]*)\]")
_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\) -> .*\{")
_INSTRUCTION = re.compile(r"\s*(?:ROOT )?%?([\w.\-]+) = (\(.*?\)|\S+) ([a-z][a-z0-9\-]*)\((.*)$")
# what launches nothing: no array is made, or its parts are named otherwise
_FREE = {
    "parameter", "constant", "tuple", "get-tuple-element", "bitcast", "while", "conditional", "call", "after-all",
    "partition-id", "replica-id", "opt-barrier",
}  # fmt: skip


@dataclass(frozen=True)
class Instruction:
    """One line of a computation: its name, the type of its result, its operands and what stands after them."""

    name: str
    type: str
    op: str
    operands: tuple[str, ...]
    arguments: str
    attributes: str

    def called(self, role: str) -> str | None:
        """The computation that it names as `role`, such as "body" of a while."""
        found = re.search(rf"\b{role}=%?([\w.\-]+)", self.attributes)
        return found[1] if found else None


@dataclass(frozen=True)
class Kernel:
    """A launch: bytes that it reads and writes."""

    name: str
    op: str
    read: int
    written: int


@dataclass(frozen=True)
class Loop:
    """A `while`: the computation it stands in, its body, its number of turns where XLA knows it, and the kernels of one
    turn, those of loops inside it apart.
    """

    inside: str
    body: str
    turns: int | None
    kernels: tuple[Kernel, ...]

    @property
    def read(self) -> int:
        """Bytes in a turn."""
        return sum(kernel.read for kernel in self.kernels)

    @property
    def written(self) -> int:
        """Bytes in a turn."""
        return sum(kernel.written for kernel in self.kernels)


class Module:
    """A module: its computations, each with its instructions by name.

    >>> text = '''
    ... ENTRY %main (x: f64[8]) -> f64[8] {
    ...   %x = f64[8]{0} parameter(0)
    ...   ROOT %twice = f64[8]{0} add(%x, %x)
    ... }'''
    >>> Module(text).kernels("main")
    (Kernel(name='twice', op='add', read=64, written=64),)
    """

    def __init__(self, text: str) -> None:
        """From the text of a compiled program."""
        self.computations: dict[str, dict[str, Instruction]] = {}
        self.entry = ""
        here: dict[str, Instruction] = {}
        for line in text.splitlines():
            if found := _COMPUTATION.match(line):
                here = self.computations.setdefault(found[2], {})
                self.entry = found[2] if found[1] else self.entry
            elif found := _INSTRUCTION.match(line):
                arguments, attributes = _split(found[4])
                operands = tuple(re.findall(r"%([\w.\-]+)", arguments))
                here[found[1]] = Instruction(found[1], found[2], found[3], operands, arguments, attributes)

    def kernels(self, computation: str) -> tuple[Kernel, ...]:
        """What a computation launches, without the loops in it."""
        found = []
        for one in self.computations[computation].values():
            if one.op == "call" and (inner := one.called("to_apply")):
                found += self.kernels(inner)
            elif one.op not in _FREE and not one.op.endswith("-done"):
                found.append(Kernel(one.name, one.op, self._read(one, computation), self._written(one)))
        return tuple(found)

    def loops(self) -> tuple[Loop, ...]:
        """Every loop, in the order of the text."""
        found = []
        for inside, instructions in self.computations.items():
            for one in instructions.values():
                if one.op == "while" and (body := one.called("body")):
                    turns = re.search(r'known_trip_count":\{"n":"(\d+)"', one.attributes)
                    found.append(Loop(inside, body, int(turns[1]) if turns else None, self.kernels(body)))
        return tuple(found)

    def step(self) -> Loop | None:
        """Of the loops that stand in no other the one whose turn moves most: of fits, a step."""
        outer = (loop for loop in self.loops() if loop.inside == self.entry)
        return max(outer, key=lambda loop: loop.read + loop.written, default=None)

    def _read(self, one: Instruction, computation: str) -> int:
        here = self.computations[computation]
        inner = self.computations.get(one.called("calls") or "")
        if inner is None:  # an operand that is there twice is read once
            return sum({name: size_of(here[name].type) for name in one.operands if name in here}.values())
        users, places = defaultdict(list), {}
        for line in inner.values():
            if line.op == "parameter":
                places[int(line.arguments)] = line.name
            for operand in line.operands:
                users[operand].append(line)
        sizes = (size_of(here[name].type) if name in here else 0 for name in one.operands)
        return sum(_taken(places.get(i, ""), size, users) for i, size in enumerate(sizes))

    def _written(self, one: Instruction) -> int:
        """Of a scatter or an update in place what is new."""
        whole, inner = size_of(one.type), self.computations.get(one.called("calls") or "")
        if inner is None:
            return whole
        new = 0
        for line in inner.values():
            if line.op == "scatter":
                updates = line.operands[(len(line.operands) - 1) // 2 + 1 :]
                new += sum(size_of(inner[name].type) for name in updates)
            if line.op == "dynamic-update-slice":
                new += size_of(inner[line.operands[1]].type)
        return min(whole, new) if new else whole


def size_of(type_: str) -> int:
    """Bytes of an array, or of a tuple of them.

    >>> size_of("(f64[2,3]{1,0}, pred[4]{0}, s32[])")
    56
    """
    total = 0
    for dtype, axes in _ARRAY.findall(type_):
        size = _BYTES[dtype]
        for length in filter(None, axes.split(",")):
            size *= int(length)
        total += size
    return total


def _split(text: str) -> tuple[str, str]:
    """What stands before and after the bracket that ends the operands."""
    depth = 1
    for i, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if not depth:
            return text[:i], text[i + 1 :]
    return text, ""


def _taken(name: str, size: int, users: dict[str, list[Instruction]]) -> int:
    """Bytes of an operand of a fusion that are read: less than all where only slices or rows of it are."""
    total = 0
    for user in users.get(name, []):
        first = user.operands[0] == name
        if user.op in ("bitcast", "reshape"):
            total += _taken(user.name, size, users)
        elif first and user.op in ("slice", "gather", "dynamic-slice"):
            total += size_of(user.type)
        elif not (first and user.op in ("scatter", "dynamic-update-slice")):
            return size
    return min(total, size) if users.get(name) else size
