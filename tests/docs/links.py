"""`make links`: asks every site that the documentation points to, and ends with 1 if one has nothing there."""

import sys

import httpx

from tests.docs.pages import outside

WELCOME = {401, 403, 405, 429}  # somebody is there, who does not like programs


def main() -> None:
    missing = 0
    with httpx.Client(timeout=20, follow_redirects=True, headers={"user-agent": "Mozilla/5.0"}) as client:
        for link, pages in sorted(outside().items()):
            try:
                status = client.get(link).status_code
                told, well = str(status), status < 400 or status in WELCOME
            except httpx.HTTPError as error:
                told, well = type(error).__name__, False
            missing += not well
            sys.stdout.write(
                f"{'ok  ' if well else 'GONE'}  {told:>5}  {link}  ({', '.join(sorted(set(pages)))})\n"
            )
    sys.exit(min(missing, 1))


if __name__ == "__main__":
    main()
