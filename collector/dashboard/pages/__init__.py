"""Pages: one module each; this one lists them, in the order of the menu."""

from collector.dashboard.page import Page
from collector.dashboard.pages import (
    account,
    audience,
    audiences,
    builder,
    keys,
    operations,
    people,
    preferences,
    privacy,
    sign_in,
    tags,
)

ALL: tuple[Page, ...] = (
    *audiences.PAGES,
    *builder.PAGES,
    *audience.PAGES,
    *tags.PAGES,
    *privacy.PAGES,
    *operations.PAGES,
    *keys.PAGES,
    *people.PAGES,
    *account.PAGES,
    *sign_in.PAGES,
    *preferences.PAGES,
)
