"""Uploads: the files in which ad platforms take the members of an audience, in one table."""

from typing import NamedTuple

from collector.query.engine import Identity


class Upload(NamedTuple):
    """A CSV of one column. header: what the platform calls it; "" where it wants the values alone."""

    name: str
    platform: str
    kind: Identity
    header: str


# The headers are those of the platforms' help pages on customer lists, November 2026. All take SHA-256 in hex.
TABLE = (
    Upload("visitors", "", "visitor", "visitor"),
    Upload("pinterest-emails", "Pinterest", "em_sha256", ""),
    Upload("pinterest-maids", "Pinterest", "maid", ""),
    Upload("meta-emails", "Meta", "em_sha256", "email"),
    Upload("meta-maids", "Meta", "maid", "madid"),
    Upload("google-emails", "Google Ads", "em_sha256", "Email"),
    Upload("google-maids", "Google Ads", "maid", "Mobile Device ID"),
    Upload("tiktok-emails", "TikTok", "em_sha256", "Email_SHA256"),
    Upload("tiktok-maids", "TikTok", "maid", "MAID"),
    Upload("click-ids", "", "epik", "epik"),
)


def find(name: str) -> Upload | None:
    return next((upload for upload in TABLE if upload.name == name), None)
