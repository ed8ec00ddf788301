"""Decode: the depth of JSON is measured as a parser would measure it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.ingest import decode
from collector.ingest.answer import Rejected
from collector.settings import Settings

awkward = st.text(alphabet='[]{}"\\,: aü\n', max_size=12)
documents = st.recursive(
    st.one_of(st.none(), st.integers(), awkward),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(awkward, inner, max_size=3),
    max_leaves=20,
)


def depth(value: Any) -> int:
    """The oracle: how a reader would count."""
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


@given(documents, st.booleans())
def test_depth_is_counted_exactly_whatever_the_strings_hold(document: Any, ascii_only: bool) -> None:
    text = json.dumps(document, ensure_ascii=ascii_only).encode()
    levels = depth(document)
    assert not decode.deeper_than(levels, text)
    assert levels == 0 or decode.deeper_than(levels - 1, text)


@pytest.mark.timeout(5)
@pytest.mark.parametrize(
    "bomb", [b"[" * 10**6, b"[" * 500_000 + b"]" * 500_000, b'{"a":' * 200_000, b"[]" * 500_000]
)
def test_a_bomb_costs_no_more_than_its_length(bomb: bytes) -> None:
    with pytest.raises(Rejected) as rejected:
        decode.request(bomb, Settings())
    assert rejected.value.status == 400


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"7",
        b'"x"',
        b"[]",
        b"{}",
        b"\xff",
        b'{"events": [}',
        b'{"tag": "\\ud800", "events": []}',
        b"\xef\xbb\xbf{}",
    ],
)
def test_what_is_no_request_is_a_400(body: bytes) -> None:
    with pytest.raises(Rejected) as rejected:
        decode.request(body, Settings())
    assert rejected.value.status == 400
    assert rejected.value.message and rejected.value.hint
