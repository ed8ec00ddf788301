"""Consent: signals → decision. Pure, without Redis or HTTP; the only maker of what a stream accepts."""

from collector.consent.decision import ConsentedEvent, Decision, Regime, decide
from collector.consent.signals import Signals, word

__all__ = ["ConsentedEvent", "Decision", "Regime", "Signals", "decide", "word"]
