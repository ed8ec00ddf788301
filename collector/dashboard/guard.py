"""Guard: the headers of every answer, the cookies, and the token without which no form is taken."""

import hashlib
import hmac
import secrets
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

PATH = "/dashboard"
# Scripts: ours, by nonce, and markup made by scripts only through htmx's policy, which takes elements with the nonce.
POLICY = (
    "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types htmx"
)


def protect(response: Response, nonce: str) -> Response:
    headers = response.headers
    headers["content-security-policy"] = POLICY.format(nonce=nonce)
    headers["x-content-type-options"] = "nosniff"
    headers["x-frame-options"] = "DENY"
    headers["referrer-policy"] = "same-origin"
    headers["cross-origin-opener-policy"] = "same-origin"
    headers["permissions-policy"] = "camera=(), microphone=(), geolocation=(), browsing-topics=()"
    headers.setdefault("cache-control", "no-store")
    return response


def cookie_name(name: str, secure: bool) -> str:
    """With https the browser itself sees to it that no neighbour domain has set it."""
    return f"__Host-collector_{name}" if secure else f"collector_{name}"


def set_cookie(
    response: Response, name: str, value: str, *, secure: bool, seconds: int | None = None
) -> None:
    response.set_cookie(
        cookie_name(name, secure),
        value,
        max_age=seconds,
        path="/",
        secure=secure,
        httponly=True,
        samesite="lax",
    )


def drop_cookie(response: Response, name: str, *, secure: bool) -> None:
    response.delete_cookie(cookie_name(name, secure), path="/", secure=secure, httponly=True, samesite="lax")


def form_token(secret: str) -> str:
    """A token for the forms of whoever holds the cookie `secret`: another each time, since pages are packed."""
    salt = secrets.token_hex(16)
    return f"{salt}.{_sign(secret, salt)}"


def genuine(request: Request, secret: str, token: str) -> bool:
    """Whether a form comes from our own page, in the browser that was given it."""
    site = request.headers.get("sec-fetch-site", "same-origin")
    origin = request.headers.get("origin", "")
    if site != "same-origin" or (origin and urlsplit(origin).netloc != request.headers.get("host", "")):
        return False
    salt, _, signed = token.partition(".")
    return bool(secret) and hmac.compare_digest(signed.encode(), _sign(secret, salt).encode())


def _sign(secret: str, salt: str) -> str:
    return hmac.new(secret.encode(), salt.encode(), hashlib.sha256).hexdigest()
