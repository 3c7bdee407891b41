"""What every request passes before it is answered, and every answer before it is sent."""

import hashlib
import hmac
import ipaddress
import secrets
import traceback
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import Any

from fastapi.responses import JSONResponse, RedirectResponse, Response

from musclesense.messages import log
from musclesense.serve.settings import Settings

_Scope = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
_Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
_App = Callable[[_Scope, _Receive, _Send], Awaitable[None]]

COOKIE = "musclesense"
_OPEN = ("/sign-in", "/static/")
"""What may be seen without a token."""
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}


class Guard:
    """Wraps an application of ASGI: hosts, other sites, tokens, headers, and errors that nobody foresaw."""

    def __init__(self, app: _App, settings: Settings) -> None:
        self._app, self._settings = app, settings
        self._session = secrets.token_hex(32)

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def with_headers(message: MutableMapping[str, Any]) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                own = {name.lower() for name, _ in message["headers"]}
                new = [(name.lower().encode(), value.encode()) for name, value in _HEADERS.items()]
                message["headers"] = [*message["headers"], *(one for one in new if one[0] not in own)]
            await send(message)

        try:
            answer = self._refusal(scope)
            await (answer or self._app)(scope, receive, with_headers)
        except Exception as error:  # what it says may be of an upload: it is not written down
            at = traceback.extract_tb(error.__traceback__)[-1]
            log.error(f"a request failed: {type(error).__name__} in {Path(at.filename).name}, line {at.lineno}")
            if not begun:
                await Response(status_code=500)(scope, receive, with_headers)

    def _refusal(self, scope: _Scope) -> Response | None:
        """Answer what is not to be asked for."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        if not self._is_own_host(headers.get("host", "")):
            return JSONResponse({"detail": "This page has another address."}, 421)
        if scope["method"] not in ("GET", "HEAD") and not _is_same_site(headers):
            return JSONResponse({"detail": "Another site has sent this."}, 403)
        path = scope["path"]
        if self._settings.token is None or path.startswith(_OPEN) or self.is_known(headers):
            return None
        if path.startswith("/api") or scope["method"] != "GET":
            wanted = {"WWW-Authenticate": "Bearer"}
            return JSONResponse({"detail": "This needs the token (Authorization: Bearer ...)."}, 401, wanted)
        return RedirectResponse("/sign-in", 303)

    def _is_own_host(self, host: str) -> bool:
        """Tell whether a request is for this page: other names that lead here may be an attacker's (DNS rebinding)."""
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        name = name.strip("[]").lower()
        if name in (*self._settings.names, self._settings.host.lower()):
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return name == "localhost"
        return address.is_loopback or not self._settings.is_local

    def is_known(self, headers: Mapping[str, str]) -> bool:
        """Tell whether a visitor has shown the token."""
        kind, _, token = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            return self.is_token(token)
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return False
        return cookie is not None and hmac.compare_digest(cookie.value.encode(), self.session.encode())

    def is_token(self, given: str) -> bool:
        """Tell whether a text is the token, in a time that tells nothing of it."""
        told = (self._settings.token or "").encode()
        return hmac.compare_digest(
            hashlib.sha256(given.encode("utf-8", "replace")).digest(), hashlib.sha256(told).digest()
        )

    @property
    def session(self) -> str:
        """What a browser shows after the token was given once; another one for each server."""
        return self._session


def _is_same_site(headers: Mapping[str, str]) -> bool:
    """Tell whether a request that changes something comes from this page, or from a program that is no browser."""
    if (site := headers.get("sec-fetch-site")) is not None:
        return site in ("same-origin", "none")
    origin = headers.get("origin")
    return origin is None or origin.partition("://")[2] == headers.get("host")
