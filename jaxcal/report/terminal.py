"""Terminal: plain lines, and the one sentence with which a command ends that cannot do its work."""

from typing import NoReturn

import typer


def say(text: str) -> None:
    """A line on standard output."""
    typer.echo(text)


def complain(text: str) -> None:
    """A line on standard error."""
    typer.echo(text, err=True)


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
