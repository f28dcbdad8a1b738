"""Links: whoever holds one answers one ask, once, without a key; opening it changes nothing."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import httpx
import pytest
import sqlalchemy as sa

from shared.domain import clock
from shared.domain.ask import AskKind
from shared.domain.session import Mode
from shared.domain.tenant import Scope
from shared.store.tables import ask_links, idempotency
from tests.fixtures.api import api_running


@pytest.fixture
def api(sqlite_url, valkey_url):
    """On SQLite: the pages know nothing of the database."""
    with api_running(sqlite_url, valkey_url) as running:
        yield running


@pytest.fixture
def each_api(database_url, valkey_url):
    """On each database, for what is written and raced for."""
    with api_running(database_url, valkey_url) as running:
        yield running


@pytest.fixture
def person(api):
    """A browser: no key."""
    with httpx.Client(base_url=api.url) as browser:
        yield browser


def waiting(api, kind=AskKind.PERMISSION, **wishes):
    session = api.create("hi", **wishes)["id"]
    return session, api.host(session).ask(kind).id


def link_to(api, ask, **wishes):
    made = api.http.post(f"/v1/asks/{ask}/links", json=wishes)
    assert made.status_code == 201, made.text
    return made.json(), httpx.URL(made.json()["url"]).path


def press(person, path, **fields):
    token = path.rpartition("/")[2]
    headers = {"sec-fetch-site": fields.pop("site", "same-origin")}
    return person.post(path, data={"token": token, **fields}, headers=headers)


def state(api, ask):
    return api.http.get(f"/v1/asks/{ask}").json()


def test_a_person_allows_with_a_link_and_is_told_as_its_name(each_api):
    api = each_api
    session, ask = waiting(api)
    made, path = link_to(api, ask, name="Ada on call")

    with httpx.Client(base_url=api.url) as person:
        page = person.get(path)
        pressed = press(person, path, do="allow")
        after = person.get(path)

    assert made["url"].startswith("http")
    assert (page.status_code, "ls" in page.text, "Allow" in page.text) == (200, True, True)
    assert (pressed.status_code, pressed.headers["location"]) == (303, path.rpartition("/")[2])
    assert state(api, ask)["answer"] == {"decision": "allow"}
    assert (state(api, ask)["answered_by"], state(api, ask)["answered_via"]) == ("Ada on call", "link")
    assert api.inputs(session) == ["prompt", "answer"]
    (event,) = api.http.get(f"/v1/sessions/{session}/events", params={"types": "ask_resolved"}).json()["data"]
    assert event["data"]["answered_via"] == "link"
    assert (after.status_code, "<form" in after.text, "Ada on call" in after.text) == (200, False, True)


def test_opening_a_link_changes_nothing_and_carries_the_headers_of_a_secret(api, person):
    _, ask = waiting(api)
    _, path = link_to(api, ask)

    answers = [person.request(method, path) for method in ("GET", "HEAD", "GET")]
    answers.append(person.get(path, params={"utm_source": "mail"}))

    assert {answer.status_code for answer in answers} == {200}
    assert state(api, ask)["status"] == "open"
    headers = answers[0].headers
    assert headers["cache-control"] == "no-store"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-robots-tag"] == "noindex, nofollow"
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "form-action 'self'" in policy
    assert "script" not in policy
    assert not re.search(r"<script|src=|href=|\son\w+=", answers[0].text)


def test_an_answer_from_another_page_is_refused(api, person):
    _, ask = waiting(api)
    _, path = link_to(api, ask)
    token = path.rpartition("/")[2]
    sites = [{"sec-fetch-site": site} for site in ("cross-site", "same-site", "none")]
    tries = [*((site, token) for site in [*sites, {"origin": "https://elsewhere.example"}])]
    tries += [({"sec-fetch-site": "same-origin"}, other) for other in ("another", "")]

    answers = [person.post(path, data={"token": given, "do": "allow"}, headers=headers) for headers, given in tries]

    assert [answer.status_code for answer in answers] == [403] * 6
    assert state(api, ask)["status"] == "open"


def test_an_older_browser_is_told_by_its_origin(api, person):
    for origin in ("null", api.url):
        _, ask = waiting(api)
        _, path = link_to(api, ask)
        fields = {"token": path.rpartition("/")[2], "do": "deny", "message": "no\r\nnever"}

        assert person.post(path, data=fields, headers={"origin": origin}).status_code == 303
        assert state(api, ask)["answer"] == {"decision": "deny", "message": "no\nnever"}


def test_a_question_is_answered_option_by_option(api, person):
    session = api.create("hi")["id"]
    questions = [
        {"question": "Colour?", "options": [{"label": "Red"}, {"label": "Blue", "description": "cold"}]},
        {"question": "Sizes?", "options": [{"label": "S"}, {"label": "M"}], "multi_select": True},
        {"question": "Name?", "options": []},
    ]
    ask = api.host(session).ask(AskKind.QUESTION, data={"questions": questions}).id
    _, path = link_to(api, ask)

    missing = press(person, path, do="answer", q0="1", q1=["0", "1"])
    still = state(api, ask)["status"]
    whole = press(person, path, do="answer", q0="1", q1=["0", "1"], q1t="XL", q2t="Max")

    assert (missing.status_code, still) == (422, "open")
    assert "“Name?” needs an answer." in missing.text
    assert missing.text.count(" checked") == 3
    assert whole.status_code == 303
    assert state(api, ask)["answer"] == {"answers": {"Colour?": "Blue", "Sizes?": ["S", "M", "XL"], "Name?": "Max"}}


def test_a_plan_is_approved_with_a_mode_or_sent_back(api, person):
    approved, rejected, declined = (
        waiting(api, AskKind.PLAN)[1],
        waiting(api, AskKind.PLAN)[1],
        waiting(api, AskKind.QUESTION)[1],
    )
    paths = [link_to(api, ask)[1] for ask in (approved, rejected, declined)]

    page = person.get(paths[0])
    # The operator has not allowed this mode, so it is neither offered nor taken.
    refused = press(person, paths[0], do="approve", next_mode="bypass")
    answers = [
        press(person, paths[0], do="approve", next_mode="accept_edits"),
        press(person, paths[1], do="reject", message="smaller"),
        press(person, paths[2], do="decline"),
    ]

    assert "accept_edits" in page.text
    assert "bypass" not in page.text
    assert refused.status_code == 422
    assert {answer.status_code for answer in answers} == {303}
    assert state(api, approved)["answer"] == {"verdict": "approve", "next_mode": "accept_edits"}
    assert state(api, rejected)["answer"] == {"verdict": "reject", "feedback": "smaller"}
    assert state(api, declined)["answer"] == {"answers": None}


def test_a_link_that_comes_late_shows_who_was_first_and_changes_nothing(api, person):
    _, ask = waiting(api)
    _, path = link_to(api, ask)
    other = link_to(api, ask, name="Second")[1]
    api.http.post(f"/v1/asks/{ask}/answer", json={"decision": "deny"})

    pages = [person.get(path), press(person, path, do="allow"), person.get(other)]

    assert [page.status_code for page in pages] == [200, 409, 200]
    assert all("test" in page.text and "Denied" in page.text and "<form" not in page.text for page in pages)
    assert state(api, ask)["answer"] == {"decision": "deny"}
    assert api.http.post(f"/v1/asks/{ask}/links", json={}).json()["code"] == "ask_closed"


def test_of_twenty_people_and_callers_at_once_one_is_taken(each_api):
    api = each_api
    session, ask = waiting(api)
    paths = [link_to(api, ask, name=f"person {number}")[1] for number in range(10)]

    def answer(number: int) -> int:
        with httpx.Client(base_url=api.url) as browser:
            if number < 10:
                return int(press(browser, paths[number], do="allow").status_code)
        return int(api.http.post(f"/v1/asks/{ask}/answer", json={"decision": "deny"}).status_code)

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(answer, range(20)))

    assert len([status for status in statuses if status in {200, 303}]) == 1
    assert statuses.count(409) == 19
    assert api.inputs(session) == ["prompt", "answer"]


def test_a_link_lasts_as_long_as_it_was_made_for_and_never_longer_than_its_ask(api, person):
    _, ask = waiting(api)
    made, path = link_to(api, ask, expires_s=60)
    day, _ = link_to(api, ask)
    with api.edge.context.db.write() as c:
        c.execute(ask_links.update().values(expires_at=clock.now() - timedelta(seconds=1)))

    pages = [person.get(path), press(person, path, do="allow")]

    left_s = (clock.from_text(made["expires_at"]) - clock.now()).total_seconds()
    assert 50 < left_s <= 60
    assert 86000 < (clock.from_text(day["expires_at"]) - clock.now()).total_seconds() <= 86400
    assert [page.status_code for page in pages] == [200, 409]
    assert all("This link has expired" in page.text for page in pages)
    assert state(api, ask)["status"] == "open"


def test_what_is_no_link_is_a_page_that_says_so_and_asks_the_database_nothing(api, person):
    _, ask = waiting(api)
    _, path = link_to(api, ask)
    forged = path[:-1] + ("A" if path[-1] != "A" else "B")

    pages = [person.get("/a/x"), person.get(forged), press(person, forged, do="allow"), person.get("/a/%00%F0")]

    assert {page.status_code for page in pages} == {404}
    assert all(page.headers["content-type"].startswith("text/html") for page in pages)
    assert "This link leads nowhere" in pages[0].text
    assert state(api, ask)["status"] == "open"


def test_the_secret_of_a_link_is_kept_nowhere_and_not_logged(api, person, capfd):
    _, ask = waiting(api)
    key = {"Idempotency-Key": "once"}
    first = api.http.post(f"/v1/asks/{ask}/links", json={}, headers=key).json()["url"]
    again = api.http.post(f"/v1/asks/{ask}/links", json={}, headers=key).json()["url"]
    secret = first.rpartition("/")[2]
    press(person, f"/a/{secret}", do="allow")
    person.get("/a/not-a-link")

    with api.edge.context.db.read() as c:
        kept = [*c.execute(sa.select(ask_links)).all(), *c.execute(sa.select(idempotency)).all()]
    shown = "".join(capfd.readouterr())

    assert (first, len(secret) >= 43) == (again, True)
    assert len(kept) == 2
    assert secret not in repr(kept)
    assert secret not in shown
    assert "not-a-link" not in shown


def test_only_whoever_may_answer_may_make_a_link(api):
    _, ask = waiting(api)

    reader, stranger = api.client(Scope.READ), api.client(Scope.WRITE, tenant="ten_other")

    assert reader.post(f"/v1/asks/{ask}/links", json={}).status_code == 403
    assert stranger.post(f"/v1/asks/{ask}/links", json={}).status_code == 404
    assert api.http.post(f"/v1/asks/{ask}/links", json={"expires_s": 0}).status_code == 422
    assert api.http.post(f"/v1/asks/{ask}/links", json={"name": "a\nb"}).status_code == 422


def test_visits_are_counted_by_link_and_by_address(sqlite_url, valkey_url):
    with api_running(
        sqlite_url, valkey_url, CORRAL_LINK_RATE_LIMIT="3", CORRAL_PUBLIC_URL="https://agents.example/c/"
    ) as api:
        _, ask = waiting(api)
        made, _ = link_to(api, ask)
        path = f"/a/{made['url'].rpartition('/')[2]}"
        with httpx.Client(base_url=api.url) as browser:
            known = [browser.get(path).status_code for _ in range(4)]
            guessed = [browser.get("/a/guess").status_code for _ in range(4)]
            pressed = press(browser, path, do="allow").status_code

    assert made["url"].startswith("https://agents.example/c/a/")
    assert (known, guessed, pressed) == ([200, 200, 200, 429], [404, 404, 404, 429], 429)


def test_a_plan_does_not_go_on_in_a_mode_the_operator_forbids(api):
    _, ask = waiting(api, AskKind.PLAN, mode=Mode.PLAN.value)

    answer = api.http.post(f"/v1/asks/{ask}/answer", json={"verdict": "approve", "next_mode": "bypass"})

    assert (answer.status_code, answer.json()["code"]) == (422, "unsupported")
