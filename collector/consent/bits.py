"""Bits: what consent strings are made of, read strictly. What is not there is never read as a yes."""

import re
from base64 import urlsafe_b64decode
from collections.abc import Iterator

_alphabet = re.compile(r"[A-Za-z0-9_-]+").fullmatch


class Unreadable(ValueError):
    """A consent string that breaks its specification. Says nothing of what the visitor wants."""


class Bits:
    """The bits of one base64url segment, from the first to the last."""

    __slots__ = ("_at", "_bytes", "_size")

    def __init__(self, segment: str) -> None:
        """Raises Unreadable for anything outside of the alphabet, padding included, and for an empty segment."""
        if _alphabet(segment) is None:
            raise Unreadable("not base64url")
        self._bytes = urlsafe_b64decode(segment + "A" * (-len(segment) % 4))
        self._size = 6 * len(segment)  # so that the filling behind it cannot be taken
        self._at = 0

    def take(self, width: int) -> int:
        """The next bits as one integer, however many. Raises Unreadable when there are fewer."""
        end = self._at + width
        if end > self._size:
            raise Unreadable("truncated")
        # Only the bytes that hold them: shifting the whole string for every field would be quadratic.
        window = int.from_bytes(self._bytes[self._at >> 3 : (end + 7) >> 3])
        self._at = end
        return (window >> (-end & 7)) & ((1 << width) - 1)

    def spans(self, count: int) -> Iterator[tuple[int, int]]:
        """Range entries: a bit, a first id of 16 bits, and a last one if the bit is set. Raises Unreadable.

        The same as taking their fields, in half the time: a string may hold thousands.
        """
        bytes_, end, size = self._bytes, self._at, self._size
        for _ in range(count):
            end += 17
            first = int.from_bytes(bytes_[(end - 17) >> 3 : (end + 7) >> 3]) >> (-end & 7) & 0x1FFFF
            last = first
            if first > 0xFFFF:
                end += 16
                first &= 0xFFFF
                last = int.from_bytes(bytes_[(end - 16) >> 3 : (end + 7) >> 3]) >> (-end & 7) & 0xFFFF
            if end > size:
                raise Unreadable("truncated")
            yield first, last
        self._at = end

    def close(self) -> frozenset[int]:
        """The fillings that the end can be: to whole bytes (8) or to whole groups of four characters (24 bits).

        Raises Unreadable when ones are left: then the fields were not what they seemed.
        """
        used = self._at
        if self.take(self._size - used):
            raise Unreadable("more bits than fields")
        return frozenset(unit for unit in (8, 24) if self._size == _up(_up(used, unit), 6))


def _up(number: int, unit: int) -> int:
    return -(-number // unit) * unit
