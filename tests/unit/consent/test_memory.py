"""Memory: the latest texts are read once, and no more than so many are remembered."""

import pytest

from collector.consent.bits import Unreadable
from collector.consent.memory import Memory


def test_a_text_is_read_once_for_each_variant() -> None:
    read: list[tuple[str, int]] = []

    def length(text: str, variant: int) -> int:
        read.append((text, variant))
        return len(text)

    memory = Memory(length, 10)
    assert [memory("abc"), memory("abc"), memory("abc", 1), memory("abc")] == [3, 3, 3, 3]
    assert read == [("abc", 0), ("abc", 1)]


def test_a_refusal_is_remembered_too() -> None:
    read: list[str] = []

    def refuse(text: str, _: int) -> int:
        read.append(text)
        raise Unreadable("bad")

    memory = Memory(refuse, 10)
    for _ in range(3):
        with pytest.raises(Unreadable, match="bad"):
            memory("x")
    assert read == ["x"]


def test_the_longest_unasked_is_forgotten_first() -> None:
    read: list[str] = []

    def note(text: str, _: int) -> str:
        read.append(text)
        return text

    memory = Memory(note, 2)
    for text in ("a", "b", "a", "c", "a", "b"):
        memory(text)
    assert read == ["a", "b", "c", "b"]
