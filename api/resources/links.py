"""Links: made with a key, opened and used without one."""

from __future__ import annotations

import hashlib
import hmac
from urllib.parse import urlsplit

from api.pages import ask_form, ask_page
from api.pages.page import MEDIA_TYPE, Page, policy, visible
from api.routes import Call, Reply, Route, Routes, Shown, tell
from api.schemas.fields import AnyQuery
from api.schemas.links import LinkView, MakeLink
from shared.domain.errors import AskClosed, InvalidField, NotFound, RateLimited, Refused, Unavailable
from shared.domain.ids import AskId
from shared.domain.tenant import Scope
from shared.operations import links
from shared.operations.links import Minted, NewLink, Visit

PREFIX = "/a/"
"""What begins so is followed by a secret, and is logged without it."""

routes = Routes("links", "Answer an ask without a key: a page behind an address that nobody can guess.")

_PAGES = {
    200: Shown(None, "The ask with its form, or what became of it.", "text/html"),
    404: Shown(None, "No such link.", "text/html"),
    429: Shown(None, "Opened too often.", "text/html"),
    503: Shown(None, "The database is away.", "text/html"),
}


@routes.add(
    Route(
        "POST",
        "/v1/asks/<ask_id>/links",
        replies={201: Shown(LinkView, "The link. Its address is shown only here.")},
        scope=Scope.WRITE,
        body=MakeLink,
        problems={409: "`ask_closed`: there is nothing left to answer"},
    )
)
def create_link(call: Call) -> Reply:
    """Make a link with which a person answers the ask on a page, once, without a key.

    It is of no use once the ask is closed, by whomever. `answered_by` will be its name, `answered_via` `link`.
    """

    def made(minted: Minted) -> Reply:
        link = minted.link
        told = {
            "ask_id": link.ask,
            "url": f"{call.edge.public_url}{PREFIX}{minted.secret}",
            "name": link.name,
            "expires_at": link.expires_at,
        }
        return tell(LinkView, told, 201)

    wish = NewLink(call.body.get("name"), call.body.get("expires_s"))
    ask = call.id("ask_id", "ask", AskId)
    return made(links.mint(call.context, call.caller, ask, wish, once=call.once(made)))


@routes.add(Route("GET", "/a/<token>", replies=_PAGES, scope=None, query=AnyQuery, is_page=True))
def open_link(call: Call) -> Reply:
    """The page behind a link. Opening it changes nothing."""
    try:
        visit = _visit(call)
    except NotFound:
        return _show(ask_page.NOT_FOUND, 404)
    except RateLimited:
        return _show(ask_page.TOO_MANY, 429, {"Retry-After": "60"})
    except Unavailable:
        return _show(ask_page.AWAY, 503, {"Retry-After": "2"})
    return _show(ask_page.ask_page(visit, call.path["token"]) if visit.is_open else ask_page.outcome_page(visit))


@routes.add(
    Route(
        "POST",
        "/a/<token>",
        replies={
            303: Shown(None, "Taken; back to the page, which says so.", "text/html"),
            403: Shown(None, "The form came from another page.", "text/html"),
            409: Shown(None, "Too late: what became of the ask.", "text/html"),
            422: Shown(None, "The form once more, with what is missing.", "text/html"),
            **{status: shown for status, shown in _PAGES.items() if status != 200},
        },
        scope=None,
        query=AnyQuery,
        is_page=True,
    )
)
def use_link(call: Call) -> Reply:
    """Answer the ask: the page's own form, as `application/x-www-form-urlencoded`."""
    secret = call.path["token"]
    if not _is_from_the_page(call, secret):
        return _show(ask_page.FOREIGN, 403)
    try:
        return _answer(call, secret)
    except NotFound:
        return _show(ask_page.NOT_FOUND, 404)
    except RateLimited:
        return _show(ask_page.TOO_MANY, 429, {"Retry-After": "60"})
    except Unavailable:
        return _show(ask_page.AWAY, 503, {"Retry-After": "2"})


def _answer(call: Call, secret: str) -> Reply:
    visit = _visit(call)
    said = ask_form.read(call.form)
    if not visit.is_open:
        return _too_late(call, secret)
    try:
        taken = links.answer(call.context, secret, ask_form.answer_of(visit.ask, said))
    except AskClosed:
        return _too_late(call, secret)
    except InvalidField as problem:
        words = f"“{problem.facts['field']}” {problem.facts['problem']}."
        return _show(ask_page.ask_page(visit, secret, said, visible(words)), 422)
    except Refused as problem:
        return _show(ask_page.ask_page(visit, secret, said, problem.message), 422)
    if not taken:
        return _too_late(call, secret)
    # Back to the page by GET: going back or reloading sends nothing twice.
    return _show(ask_page.outcome_page(links.visit(call.context, secret)), 303, {"Location": secret})


def _too_late(call: Call, secret: str) -> Reply:
    return _show(ask_page.outcome_page(links.visit(call.context, secret), was_late=True), 409)


def _visit(call: Call) -> Visit:
    secret = call.path["token"]
    try:
        visit = links.visit(call.context, secret)
    except NotFound:
        call.edge.link_limiter.take(f"address:{call.address}")
        raise
    # Never the secret itself: the name of the count is stored.
    call.edge.link_limiter.take(f"link:{hashlib.sha256(secret.encode()).hexdigest()[:32]}")
    return visit


def _is_from_the_page(call: Call, secret: str) -> bool:
    """Whether a form was sent by our own page: it names the secret again, and no other site sent it.

    A page without a referrer has the origin `null`, so what tells is `Sec-Fetch-Site`, which every browser sends
    since 2023.
    """
    given = call.form.get("token", ("",))[0]
    if not hmac.compare_digest(given.encode(), secret.encode()):
        return False
    site, origin = call.headers.get("sec-fetch-site"), call.headers.get("origin", "null")
    if site is not None:
        return site == "same-origin"
    return origin == "null" or urlsplit(origin).netloc == call.headers.get("host")


def _show(page: Page, status: int = 200, headers: dict[str, str] | None = None) -> Reply:
    own = {"Content-Security-Policy": policy(), "X-Robots-Tag": "noindex, nofollow", **(headers or {})}
    return Reply(status, page.html(), MEDIA_TYPE, own)
