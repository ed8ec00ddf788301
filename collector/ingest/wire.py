"""Wire: a request and its events as they came. Any is what nobody has looked at yet: it may be anything."""

from typing import Any

import msgspec


class Said(msgspec.Struct, gc=False):
    """What an event or a request says of its visitor and of consent. Absent is None."""

    visitor: Any = None
    consent: Any = None
    opt_out: Any = None
    user_data: Any = None
    click_ids: Any = None


class Sent(Said, gc=False):
    """An event of the wire: the members that are looked at. Of visitor, user_data and opt_out only in a server's."""

    event: Any = None
    event_id: Any = None
    event_time: Any = None
    url: Any = None
    referrer: Any = None
    data: Any = None
    action_source: Any = None


class Request(Said, gc=False):
    """What a page, a server or an image asked for."""

    withdraw: Any = None
    tag: str = ""
    events: list[Any] = []  # each Sent, or what JSON made of something that is no object
    sent_at: float | None = None  # Unix milliseconds by the sender's clock
    lost: int = 0  # events that the tag had to drop
