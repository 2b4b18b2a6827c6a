"""JsonRpc: questions and answers over a websocket, beside which messages nobody asked for come in."""

import asyncio
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection


class Broken(Exception):  # noqa: N818
    """Why a connection must end; the feed makes another one. A sentence."""


class JsonRpc:
    """Requests of JSON-RPC 2.0 over one connection; somebody else reads it and passes the answers on.

    Args:
        socket: an open connection.
        timeout: seconds for an answer.

    Example:
        >>> import asyncio
        >>> class Echo:
        ...     async def send(self, text):
        ...         rpc.answered({"id": json.loads(text)["id"], "result": "here"})
        >>> rpc = JsonRpc(Echo(), timeout=1.0)
        >>> asyncio.run(rpc.ask("public/test", {}))
        'here'
    """

    def __init__(self, socket: "ClientConnection", *, timeout: float) -> None:
        """See the class."""
        self._socket, self._timeout, self._last_id = socket, timeout, 0
        self._pending: dict[int, asyncio.Future[Any]] = {}

    async def tell(self, method: str, params: dict[str, Any]) -> int:
        """Send a request whose answer does not matter; its number."""
        self._last_id += 1
        number = self._last_id
        await self._socket.send(json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}))
        return number

    async def ask(self, method: str, params: dict[str, Any]) -> Any:
        """Send a request and wait for its result.

        Raises:
            Broken: the answer is an error, or none comes in time.
        """
        number = self._last_id + 1  # that of `tell`: nothing runs in between
        self._pending[number] = answer = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(self._timeout):
                await self.tell(method, params)
                return await answer
        except TimeoutError:
            raise Broken(f"no answer to {method} within {self._timeout:g} s") from None
        finally:
            self._pending.pop(number, None)

    def answered(self, message: dict[str, Any]) -> None:
        """Pass an answer on; one that nobody waits for is nothing to do."""
        number = message.get("id")
        waiting = self._pending.get(number) if isinstance(number, int) else None
        if waiting is None or waiting.done():
            return
        if "result" in message:
            waiting.set_result(message["result"])
        else:
            waiting.set_exception(Broken(f"the exchange answered with an error: {str(message.get('error'))[:200]}"))
