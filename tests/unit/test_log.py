"""What libraries complain of is logged without what senders wrote."""

import json
import logging

import pytest

from collector import log


def test_the_error_of_a_library_quotes_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("error")
    try:
        raise ValueError("anna@shop.example")
    except ValueError:
        logging.getLogger("asyncio").exception("Task failed\nfuture: ValueError('anna@shop.example')")
    text = capsys.readouterr().err
    line = json.loads(text)
    assert (line["part"], line["event"], line["error"]) == ("asyncio", "Task failed", "ValueError")
    assert "test_log.py" in line["frames"]
    assert "example')" not in text and "future" not in text
