"""Wire: a request and its events as they came. Any is what nobody has looked at yet: it may be anything."""

from typing import Any

import msgspec


class Sent(msgspec.Struct, gc=False):
    """An event of the wire: the members that are looked at. Absent is None."""

    event: Any = None
    event_id: Any = None
    event_time: Any = None
    url: Any = None
    referrer: Any = None
    data: Any = None
    action_source: Any = None
    consent: Any = None
    click_ids: Any = None
    # Of servers and imports alone:
    visitor: Any = None
    user_data: Any = None
    opt_out: Any = None


class Said(msgspec.Struct, gc=False):
    """What a request says of its visitor and of consent."""

    visitor: Any = None
    consent: Any = None
    opt_out: Any = None
    withdraw: Any = None
    user_data: Any = None
    click_ids: Any = None


class Request(Said, gc=False):
    """What a page, a server or an image asked for."""

    tag: str = ""
    events: list[Any] = []  # each Sent, or what JSON made of something that is no object
    sent_at: float | None = None  # Unix milliseconds by the sender's clock
    lost: int = 0  # events that the tag had to drop
