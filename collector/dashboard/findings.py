"""Findings: what health.py finds lacking, by its code: a title and the mend, for the catalogues."""

from collector.dashboard.languages import msg

FINDINGS = {
    "no_event": (
        msg("No event yet"),
        msg(
            "Paste the snippet before </head> of each page, publish, and open a page: this changes by itself."
        ),
    ),
    "origin": (
        msg("Events from a site that is not on the list"),
        msg("Add the site's origin to the tag, or take the snippet off pages that are not yours."),
    ),
    "consent": (
        msg("Nothing comes with consent"),
        msg("Call collect('setconsent', true), or Consent Mode's update, when the visitor agrees."),
    ),
    "no_consent_signal": (
        msg("Events without any consent signal"),
        msg(
            "Let the consent banner tell the tag: collect('consent', …), TCF or GPP; servers send «consent»."
        ),
    ),
    "no_pagevisit": (msg("No page visits"), msg("Call collect('page') on every page.")),
    "checkout_without_value": (
        msg("Checkouts without a value"),
        msg("Send value with the event's data: what was paid, as a number."),
    ),
    "checkout_without_currency": (
        msg("Checkouts without a currency"),
        msg("Send currency with the event's data: three letters, as EUR."),
    ),
    "checkout_without_order_id": (
        msg("Checkouts without an order id"),
        msg("Send order_id with the event's data: the shop's own."),
    ),
    "repeated_order_id": (
        msg("Orders that are counted more than once"),
        msg(
            "Send checkout once an order, not at each view of the thank-you page, and with the same event_id "
            "and visitor from page and server."
        ),
    ),
    "plain_email": (
        msg("E-mail addresses in plain text"),
        msg(
            "Take them out of event data and visitor ids; an address belongs in user_data.em, where it is hashed."
        ),
    ),
    "late_events": (
        msg("Events that come days late"),
        msg("Send sent_at with event_time, so that the clock of a device does no harm; the tag does."),
    ),
    "bad_time": (
        msg("Times that cannot be"),
        msg("Send event_time in Unix seconds, not milliseconds, from a clock that is right."),
    ),
    "too_old": (
        msg("Events that are too old"),
        msg("Send events within 7 days, and with sent_at; older ones belong into «collector import»."),
    ),
    "bad_visitor": (
        msg("Visitor ids that cannot be read"),
        msg("Leave the visitor to the tag: 32 lower-case hex digits."),
    ),
    "bad_event": (msg("Events without a name"), msg("Name each event, in at most 128 bytes.")),
    "bad_data": (
        msg("Event data that cannot be read"),
        msg("Send event data as an object of texts and numbers."),
    ),
    "consent_malformed": (
        msg("Consent that cannot be read"),
        msg("Look at what the consent banner hands to the tag: it cannot be read."),
    ),
}
