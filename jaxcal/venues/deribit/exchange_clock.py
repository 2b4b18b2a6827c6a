"""ExchangeClock: the exchange's time, from what it answers and what its messages say."""

from collections import deque
from statistics import median
from typing import Any

EARLIEST, LATEST = 1_262_304_000_000, 4_102_444_800_000  # ms since 1970: 2010 and 2100
_WITNESSES = 10  # number of messages from which their times count
_APART = 300_000.0  # ms between the clock and the messages that latency cannot explain


class ExchangeClock:
    """The time on the exchange; the clock of this machine is only its initial value.

    An answer of the exchange is accepted where it is a time in milliseconds between 2010 and 2100, and not five minutes
    away from what most of the last messages say. Where the messages contradict the clock, it should be asked for again;
    and where that answer is not accepted either, the messages set it. So neither a wrong answer nor a jump of the
    machine's clock, nor a machine that slept, changes the age of quotes.

    Args:
        at: local time in seconds, of a monotonic clock; so are all others.
        wall: seconds since 1970, as this machine has it.
    """

    def __init__(self, at: float, wall: float) -> None:
        self._ahead = 1e3 * (wall - at)  # ms by which the exchange's clock is ahead of the local one
        self._heard: deque[float] = deque(maxlen=64)  # the same, by each of the last messages

    def now(self, at: float) -> int:
        """The exchange's time, ms since 1970."""
        return int(1e3 * at + self._ahead)

    def answered(self, value: Any, asked: float, came: float) -> bool:
        """Take the answer of the exchange to the question for its time, if it is plausible.

        Returns:
            Whether it is.
        """
        if isinstance(value, bool) or not isinstance(value, int) or not EARLIEST <= value < LATEST:
            return False
        ahead = value - 1e3 * 0.5 * (asked + came)
        if self._contradicts(ahead):
            return False
        self._ahead = ahead
        return True

    def heard(self, time: int, at: float) -> None:
        """A message on a contract came that was made at this time (ms of the exchange)."""
        self._heard.append(time - 1e3 * at)

    @property
    def doubtful(self) -> bool:
        """Whether most of the last messages contradict it."""
        return self._contradicts(self._ahead)

    def follow_messages(self) -> None:
        """Set it to what most of the last messages say, where they contradict it."""
        if self.doubtful:
            self._ahead = median(self._heard)

    def _contradicts(self, ahead: float) -> bool:
        return len(self._heard) >= _WITNESSES and abs(median(self._heard) - ahead) > _APART
