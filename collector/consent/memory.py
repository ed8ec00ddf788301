"""Memory: what was read from the latest long texts, by their digests; the texts themselves are not kept."""

import hashlib
from collections.abc import Callable
from typing import Generic, TypeVar

from collector.consent.bits import Unreadable

T = TypeVar("T")


class Memory(Generic[T]):
    """A reader of ASCII texts that remembers its answers, refusals too. The reader must be pure: no clock."""

    def __init__(self, read: Callable[[str, int], T], size: int) -> None:
        self._read = read
        self._size = size
        self._answers: dict[tuple[bytes, int], T | Unreadable] = {}  # the oldest first

    def __call__(self, text: str, variant: int = 0) -> T:
        """Raises Unreadable when the reader does."""
        key = hashlib.sha256(text.encode("ascii")).digest(), variant
        answer = self._answers.pop(key, None)
        if answer is None:
            answer = self._ask(text, variant)
            while len(self._answers) >= self._size:
                self._answers.pop(next(iter(self._answers)), None)
        self._answers[key] = answer
        if isinstance(answer, Unreadable):
            raise Unreadable(*answer.args)
        return answer

    def _ask(self, text: str, variant: int) -> T | Unreadable:
        try:
            return self._read(text, variant)
        except Unreadable as refusal:
            return refusal.with_traceback(None)  # which would keep the text
