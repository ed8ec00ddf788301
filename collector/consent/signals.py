"""Signals: what a request or an event says about consent, raw as it came."""

from collections.abc import Mapping
from typing import Literal

import msgspec

WORDS = ("ad_storage", "ad_user_data", "ad_personalization")

Flag = Literal["yes", "no", "absent", "malformed"]


class Signals(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Everything that speaks about consent. Values are `object`: nothing here has been believed yet."""

    consent: object = None  # the wire's consent object
    sec_gpc: str = ""  # the header's value, likewise dnt
    dnt: str = ""
    opt_out: object = None  # the server API's
    opt_out_type: object = None  # of the event data, where the Pinterest tag puts it
    withdraw: object = None
    attested: str = ""  # the reason that a server key or an import was created with

    @property
    def words(self) -> Mapping[str, object]:
        """The consent object's members; empty when it is absent or no object."""
        return self.consent if isinstance(self.consent, dict) else {}

    @property
    def gpc(self) -> Flag:
        """Global Privacy Control, by header or by the page's script."""
        return "yes" if self.sec_gpc == "1" else flag(self.words.get("gpc"))


def flag(value: object) -> Flag:
    """One reading of yes and no for every flag: JSON's, OpenRTB's 1 and 0, and all of them as text.

    Never used for a grant: what the visitor agreed to has to be said in exact words.
    """
    if value is None or value == "":
        return "absent"
    if value in ("true", "1") or (isinstance(value, int) and value == 1):
        return "yes"
    if value in ("false", "0") or (isinstance(value, int) and value == 0):
        return "no"
    return "malformed"


def word(text: str) -> dict[str, object]:
    """The consent object of the single word that pixels and CSV files carry: granted, denied, or neither."""
    return dict.fromkeys(WORDS, text)
