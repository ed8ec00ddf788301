"""Exchange: a request that came whole, and its answer in one piece, without ASGI's messages in between.

Those messages, and the look at each header of an answer that goes with them, are a quarter of a request's time.
"""

from typing import Protocol

EXTENSION = "collector.exchange"
"""Its name among the extensions of an ASGI scope."""


class Exchange(Protocol):
    """One request and its answer, as protocol.py offers them to the endpoints."""

    def whole(self) -> bytes | None:
        """The body, if all of it has come; None where the rest is still to be waited for."""
        ...

    def answer(self, status: int, headers: bytes, body: bytes) -> bool:
        """Write the whole response; False where it has to go by messages, and nothing was written.

        headers: lines as on the wire, content-length among them, no connection. Only of what has been checked: nothing
        looks for line ends in them.
        """
        ...
