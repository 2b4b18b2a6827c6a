"""JsonRpc: requests and responses over a websocket that carries notifications too."""

import asyncio
import json
from typing import Any

from jaxcal._text import brief

_MOST_TOLD = 64  # requests without an answer that are remembered


class Broken(Exception):  # noqa: N818
    """Why a connection must end; the feed makes another one. A sentence."""


class Refused(Broken):
    """The exchange answered with an error, or with a malformed response; a sentence."""


class JsonRpc:
    """Requests of JSON-RPC 2.0 over one connection; its reader passes the responses on.

    Args:
        socket: an open connection.
        timeout: seconds for an answer.

    Example:
        >>> class Echo:
        ...     async def send(self, text):
        ...         rpc.answered({"id": json.loads(text)["id"], "result": "here"})
        >>> rpc = JsonRpc(Echo(), timeout=1.0)
        >>> asyncio.run(rpc.ask("public/test", {}))
        'here'
    """

    def __init__(self, socket: Any, *, timeout: float) -> None:
        self._socket, self._timeout, self._last_id = socket, timeout, 0
        self._pending: dict[int, asyncio.Future[Any]] = {}
        self._told: set[int] = set()  # requests whose answer does not matter

    async def tell(self, method: str, params: dict[str, Any]) -> int:
        """Send a request whose answer does not matter; its number."""
        number = self._next()
        self._told = {told for told in self._told if told > number - _MOST_TOLD} | {number}
        await self._send(number, method, params)
        return number

    async def ask(self, method: str, params: dict[str, Any]) -> Any:
        """Send a request and wait for its result.

        Raises:
            Refused: the answer is an error.
            Broken: none comes in time.
        """
        number = self._next()
        self._pending[number] = answer = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(self._timeout):
                await self._send(number, method, params)
                return await answer
        except TimeoutError:
            raise Broken(f"no answer to {method} within {self._timeout:g} s") from None
        finally:
            self._pending.pop(number, None)

    def answered(self, message: dict[str, Any]) -> bool:
        """Pass an answer on; whether anybody waits for it, or has asked for it with `tell`."""
        number = message.get("id")
        if isinstance(number, bool) or not isinstance(number, int) or not 0 < number <= self._last_id:
            return False
        if number in self._told:
            self._told.discard(number)
            return True
        waiting = self._pending.get(number)
        if waiting is None or waiting.done():
            return False
        if "result" in message:
            waiting.set_result(message["result"])
        else:
            waiting.set_exception(Refused(f"the exchange answered with an error: {brief(message.get('error'), 200)}"))
        return True

    def _next(self) -> int:
        self._last_id += 1
        return self._last_id

    async def _send(self, number: int, method: str, params: dict[str, Any]) -> None:
        await self._socket.send(json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}))
