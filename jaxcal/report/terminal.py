"""Terminal: plain lines, and the one sentence with which a command ends that cannot do its work."""

from pathlib import Path
from typing import NoReturn

import typer


def say(text: str) -> None:
    """A line on standard output."""
    typer.echo(text)


def complain(text: str) -> None:
    """A line on standard error."""
    typer.echo(text, err=True)


def default_folder(source: Path, what: str) -> Path:
    """The folder for what a command makes of a file or folder, in the working directory.

    Example:
        >>> print(default_folder(Path("quotes/chain.csv.gz"), "fit"))
        chain-fit
    """
    stem = source.name.removesuffix(".gz").rpartition(".")[0] or source.name
    return Path(f"{stem}-{what}")


def refuse(reason: str) -> NoReturn:
    """End with exit code 2 and one sentence on standard error.

    Example:
        >>> try:
        ...     refuse("there is no such file")
        ... except typer.Exit as end:
        ...     print(end.exit_code)
        2
    """
    sentence = " ".join(reason.split())  # messages of other libraries have several lines
    complain("jaxcal: " + "".join(letter if letter.isprintable() else "?" for letter in sentence))
    raise typer.Exit(2)
