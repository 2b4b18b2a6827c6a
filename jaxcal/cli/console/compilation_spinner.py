"""CompilationSpinner: what is being compiled, on a terminal, as long as it is."""

import logging

from rich.console import Console
from rich.status import Status

from jaxcal.cli.console.terminal import console
from jaxcal.compilation.messages import LOGGER


class CompilationSpinner(logging.Handler):
    """A handler of the library's logger, for commands: nothing where no person looks."""

    def __init__(self, shown_on: Console, *, turns: bool = True) -> None:
        """On a console; `turns` where no other display turns there, else it is a line."""
        super().__init__()
        self._console, self._turns = shown_on, turns
        self._status: Status | None = None
        self._at_work: list[str] = []

    @property
    def text(self) -> str:
        """What is shown now."""
        return f"compiling {'; '.join(self._at_work)}, for the first time" if self._at_work else ""

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler`, which calls it one thread at a time."""
        begun, done = getattr(record, "compiling", None), getattr(record, "compiled", None)
        if not self._console.is_terminal:
            return
        if begun is not None:
            self._at_work.append(begun)
        elif done in self._at_work:
            self._at_work.remove(done)
        if not self._turns:
            if begun is not None:
                self._console.print(f"compiling {begun}, for the first time")
            return
        if not self.text and self._status is not None:
            self._status.stop()
            self._status = None
        elif self.text and self._status is None:
            self._status = Status(self.text, console=self._console)
            self._status.start()
        elif self._status is not None:
            self._status.update(self.text)


def show_compilations(*, turns: bool = True) -> None:
    """From now on this process shows on standard error what is being compiled.

    Example:
        >>> before = list(LOGGER.handlers), LOGGER.level
        >>> show_compilations()
        >>> [type(handler).__name__ for handler in LOGGER.handlers if handler not in before[0]]
        ['CompilationSpinner']
        >>> LOGGER.handlers[:], LOGGER.level = before
    """
    for handler in [h for h in LOGGER.handlers if isinstance(h, CompilationSpinner)]:
        LOGGER.removeHandler(handler)
    LOGGER.addHandler(CompilationSpinner(console(error=True), turns=turns))
    LOGGER.setLevel(logging.INFO)
