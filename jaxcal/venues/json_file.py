r"""json_values: the values of a JSON file, read in chunks, with bounds on their size and number."""

import codecs
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxcal.market.tables.table_file import QuoteError

ENDINGS = (".json", ".json.gz", ".jsonl", ".jsonl.gz")
LARGEST_DOCUMENT = 32 * 1024 * 1024  # bytes of one document, decompressed: 60 times a list of all options of one coin
MOST_VALUES = 4_000_000  # in one document: an empty object takes two characters there, and a hundred bytes of memory
LARGEST_LINE = 4 * 1024 * 1024  # bytes of one line of JSON lines
LARGEST_FILE = 1024 * 1024 * 1024  # bytes of JSON lines, decompressed
_PIECE = 1024 * 1024
_GZIP = 31  # zlib's code for its largest window, in the gzip format
_SHOWN = 80
_OF_QUOTES = re.compile(rb'"(instrument_name|strike)"', re.IGNORECASE)


def json_values(path: Path) -> Iterator[Any | ValueError]:
    r"""The JSON values of a file: one of `.json`, one a line of `.jsonl`; either may be compressed (`.gz`).

    The file is read in chunks of a megabyte, so a small one that decompresses to gigabytes is stopped at the bounds
    above. Nothing in it is executed: it can hold numbers, strings, arrays and objects only.

    Args:
        path: of the file.

    Returns:
        The values in order. A line that is no JSON (a truncated recording) is a `ValueError` with a sentence, in
        its place; the lines before and after it are read.

    Raises:
        QuoteError: a document that is no JSON, or more than the bounds allow.
        OSError: the file cannot be opened.

    Example:
        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "messages.jsonl"
        >>> _ = path.write_text('{"a": 1}\n{"a":\n')
        >>> list(json_values(path))
        [{'a': 1}, ValueError('line 2 is no JSON: Expecting value at its character 6')]
    """
    if is_lines(path):
        yield from _lines(path)
        return
    whole = bytearray()
    for piece in _pieces(path):
        whole += piece
        if len(whole) > LARGEST_DOCUMENT:
            raise QuoteError(f"{shown(path)}: more than {LARGEST_DOCUMENT >> 20} MiB of JSON: this is no answer of one")
    if sum(whole.count(sign) for sign in (b",", b"[", b"{")) > MOST_VALUES:
        raise QuoteError(f"{shown(path)}: more than {MOST_VALUES:,} values of JSON: split the recording by time")
    try:
        value = parsed(bytes(whole), resaved=_OF_QUOTES.search(whole) is not None)
    except ValueError as error:
        raise QuoteError(f"{shown(path)} is no JSON: {error}") from None
    yield value


def is_lines(path: Path) -> bool:
    """Whether every line of a file is a JSON value, by its ending."""
    return path.name.lower().endswith((".jsonl", ".jsonl.gz"))


def parsed(text: bytes | str, *, resaved: bool = False) -> Any:
    """A JSON text as Python values.

    Args:
        text: of one value.
        resaved: read NaN, which other programs write for a missing value, as null.

    Raises:
        ValueError: it is none: a sentence with the place; duplicate keys, numbers that are not finite and arrays
            nested thousands deep are refused too.

    Example:
        >>> parsed('{"a": [1, null]}')
        {'a': [1, None]}
    """
    try:
        decoder = _LENIENT if resaved else _DECODER
        return decoder.decode(text.decode(_encoding(text)) if isinstance(text, bytes) else text)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"byte {error.start + 1} is not {'UTF-16' if 'utf-16' in error.encoding else 'UTF-8'}"
        ) from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{error.msg} at its character {error.pos + 1}") from None
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def shown(path: Path) -> str:
    r"""The name of a file for a sentence: one line, printable, not too long.

    Example:
        >>> import pathlib
        >>> print(shown(pathlib.Path("a\nb.json")))
        a?b.json
    """
    name = "".join(letter if letter.isprintable() else "?" for letter in path.name)
    return name if len(name) <= _SHOWN else f"{name[:_SHOWN]}..."


def _constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _constant_or_none(name: str) -> None:
    return None if name == "NaN" else _constant(name)


def _encoding(text: bytes) -> str:
    marked = len(text) > 2 and text.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return "utf-16" if marked else "utf-8-sig"


def _table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        raise ValueError("a name is given twice in one table")  # the second would silently win
    return table


_DECODER = json.JSONDecoder(parse_constant=_constant, object_pairs_hook=_table)
_LENIENT = json.JSONDecoder(parse_constant=_constant_or_none, object_pairs_hook=_table)


def _pieces(path: Path) -> Iterator[bytes]:
    """The file's bytes, decompressed, at most a megabyte at a time; those before a damaged place are yielded first."""
    compressed = path.name.lower().endswith(".gz")
    with path.open("rb") as file:
        member = zlib.decompressobj(_GZIP)
        begun = False
        while piece := file.read(_PIECE):
            if not compressed:
                yield piece
                continue
            try:
                while piece:
                    if member.eof:
                        member, begun = zlib.decompressobj(_GZIP), False
                    begun = True
                    if decompressed := member.decompress(piece, _PIECE):
                        yield decompressed
                    piece = member.unconsumed_tail or member.unused_data
            except zlib.error as error:
                raise QuoteError(f"{shown(path)} is damaged: {error}") from None
        if compressed and not (begun and member.eof):
            raise QuoteError(f"{shown(path)} is damaged: it ends in the middle")


def _lines(path: Path) -> Iterator[Any | ValueError]:
    rest, size, number, damage = bytearray(), 0, 0, None
    pieces = _pieces(path)
    while True:
        try:
            piece = next(pieces, b"")
        except QuoteError as error:  # what was decompressed before the damage counts
            piece, damage = b"", ValueError(f"the file ends here: {error}")
        size += len(piece)
        rest += piece
        if size > LARGEST_FILE:
            raise QuoteError(f"{shown(path)}: more than {LARGEST_FILE >> 20} MiB of JSON lines: split it by time")
        *lines, tail = rest.split(b"\n")
        if not piece and tail:
            lines.append(tail)
        for line in lines:
            number += 1
            if line.strip():
                yield _value(bytes(line), number)
        if not piece:
            if damage is not None:
                yield damage
            return
        if len(tail) > LARGEST_LINE:
            raise QuoteError(f"{shown(path)}: line {number + 1} is longer than {LARGEST_LINE >> 20} MiB")
        rest = bytearray(tail)


def _value(line: bytes, number: int) -> Any | ValueError:
    try:
        return parsed(line)
    except ValueError as error:
        return ValueError(f"line {number} is no JSON: {error}")
