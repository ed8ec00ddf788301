"""The snippet says what the operator's settings say."""

import re

import pytest
from msgspec import structs

from collector.cli.snippet import snippet
from collector.consent import Regime
from collector.tags import Tag

TAG = Tag(id="2612345678901", name="Shop", origins=("https://shop.example",), regime="opt_in", created_at=0)


@pytest.mark.parametrize("pinned", [False, True])
def test_pages_without_javascript_ask_for_the_pixel_where_nobody_has_to_agree_first(pinned: bool) -> None:
    def text(regime: Regime) -> str:
        return snippet("https://c.example", structs.replace(TAG, regime=regime), pinned=pinned)

    assert "pixel.gif" in text("opt_out")
    assert "pixel.gif" not in text("opt_in")


@pytest.mark.parametrize("pinned", [False, True])
def test_the_tag_reads_tcf_for_the_vendor_for_whom_the_edge_reads_it(pinned: bool) -> None:
    def load(vendor: int) -> str:
        found = re.search(
            r"collect\(\"load\".*\);", snippet("https://c.example", TAG, vendor=vendor, pinned=pinned)
        )
        assert found
        return found.group()

    assert load(0) == 'collect("load","2612345678901",{regime:"opt_in"});'
    assert load(755) == 'collect("load","2612345678901",{regime:"opt_in",vendor:755});'
