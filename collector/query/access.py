"""Access: who asks, by a Bearer key, and what that key's role and tags allow."""

from starlette.requests import Request

from collector import tags
from collector.clock import Clock
from collector.connections import Redis
from collector.tags import ApiKey, Role


class Denied(Exception):
    """The request is answered with this status, code, message and hint."""

    def __init__(self, status: int, code: str, message: str, hint: str) -> None:
        super().__init__(code)
        self.status, self.code, self.message, self.hint = status, code, message, hint


def caller(client: Redis, request: Request, roles: tuple[Role, ...], clock: Clock) -> ApiKey:
    """The key that asks. Raises Denied: 401 without a usable key, 403 for a key of another role."""
    scheme, _, presented = request.headers.get("authorization", "").partition(" ")
    key = (
        tags.lookup(client, presented.strip(), clock=clock)
        if scheme.lower() == "bearer" and presented
        else None
    )
    if key is None:
        raise Denied(
            401, "no_key", "No usable API key came with the request.", "Send Authorization: Bearer <key>."
        )
    if key.role not in roles:
        raise Denied(
            403,
            "wrong_role",
            f"A {key.role} key may not do this.",
            f"Use a key of role {' or '.join(roles)}.",
        )
    return key


def check_tag(client: Redis, key: ApiKey, tag: str) -> None:
    """Raises Denied 404 for a tag that is not there or that the key does not cover: it learns no difference."""
    if not key.covers(tag) or tags.get(client, tag) is None:
        raise Denied(404, "unknown_tag", "There is no such tag for this key.", "GET /v1/tags lists the tags.")
