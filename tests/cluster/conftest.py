"""What every cluster test may ask for."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol, TypeVar

import pytest

from collector.embedded import Server
from tests.cluster.ring import Ring

R = TypeVar("R", bound=Ring)


class Rings(Protocol):
    def __call__(self, kind: type[R], **settings: object) -> R: ...


@pytest.fixture
def rings(tmp_path: Path, server_binary: Server) -> Iterator[Rings]:
    """rings(kind, **settings): running servers of that kind. Gone with the test."""
    with ExitStack() as stack:

        def ring(kind: type[R], **settings: object) -> R:
            made = kind(tmp_path / "ring", server_binary, **settings)
            stack.enter_context(made)
            return made

        yield ring
