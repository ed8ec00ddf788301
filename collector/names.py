"""Names: what tags, audiences and keys may be called. One line, which no terminal obeys and which reads as it is."""

import re

from collector.settings import BadSetup

# Controls (an escape sequence in `audience list` is run by the terminal of ops), line ends, and what turns the
# direction of text, so that one name passes for another (CVE-2021-42574).
HIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def check(name: str, what: str) -> str:
    """The name without the blanks around it. Raises BadSetup: `what` says whose name it is, as «The tag's name»."""
    if HIDDEN.search(name):
        raise BadSetup(
            f"{what} holds a character that is not shown. Mend: write it as one line of plain text."
        )
    return name.strip()
