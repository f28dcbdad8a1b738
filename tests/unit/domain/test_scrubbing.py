"""Secrets are masked, everything else stays, and no text takes long."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain.errors import InvalidField
from shared.domain.scrubbing import MAX_DEPTH, scrub, scrub_text

# Put together here, so that nobody who searches this repository for secrets finds one.
DIGITS = "0123456789abcdef" * 4
SECRETS = {
    "jwt": f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.{DIGITS[:43]}",
    "anthropic": f"sk-ant-api03-{DIGITS}",
    "openai": f"sk-proj-{DIGITS[:48]}",
    "stripe": f"sk_live_{DIGITS[:24]}",
    "corral": f"crh_{DIGITS[:38]}",
    "github": f"ghp_{DIGITS[:36]}",
    "github fine-grained": f"github_pat_11{DIGITS[:40]}",
    "gitlab": f"glpat-{DIGITS[:20]}",
    "aws": "AKIA" + "IOSFODNN7EXAMPLE",
    "google": f"AIza{DIGITS[:35]}",
    "slack": f"xoxb-{DIGITS[:12]}-{DIGITS[:24]}",
    "npm": f"npm_{DIGITS[:36]}",
    "sendgrid": f"SG.{DIGITS[:22]}.{DIGITS[:43]}",
}
PEM = f"-----BEGIN RSA PRIVATE KEY-----\n{DIGITS}\n{DIGITS}\n-----END RSA PRIVATE KEY-----"
HARMLESS = [
    "def token(self) -> str: return self._token",
    "token = get_token()",
    "password = getpass.getpass()",
    "password: str | None = None",
    "max_tokens=4096, temperature=0.5",
    "PRIMARY_KEY = 'id'",
    "the bearer authentication scheme",
    "basic understanding of sk-learn pipelines",
    "task-force-one-two-three-four-five",
    "https://example.org:8080/a/b?c=d@e",
    "git@github.com:owner/repo.git",
    "export API_KEY=$OTHER_KEY",
    'password: "${DB_PASSWORD}"',
    "5f2b6c1e9d6f4e21b0a4a4d4c8f0b1a2c3d4e5f6",
    "e21345a5-5318-49e3-8aec-ead304737f78 toolu_30e25cc255ad8b7f93c1",
    "-----BEGIN PUBLIC KEY-----\nabc\n-----END PUBLIC KEY-----",
    "",
]


@pytest.mark.parametrize("secret", SECRETS.values(), ids=list(SECRETS))
@pytest.mark.parametrize("around", ["{}", "before {} after", 'x="{}",', "a\n{}\nb", "({})", "curl -H 'X: {}'", "€{}€"])
def test_a_token_is_masked_wherever_it_stands(secret, around):
    text, families = scrub_text(around.format(secret))

    assert secret not in text
    assert families
    assert text.startswith(around.partition("{}")[0])
    assert text.endswith(around.partition("{}")[2])


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_no_secret_stays(text):
    assert scrub_text(text) == (text, frozenset())


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("DATABASE_PASSWORD=hunter2 make", "DATABASE_PASSWORD=[masked:named] make"),
        ("API_KEY=abcdef\n", "API_KEY=[masked:named]\n"),
        ('{"password": "hunter two"}', '{"password": "[masked:named]"}'),
        ('"{\\"client_secret\\": \\"abcd\\"}"', '"{\\"client_secret\\": \\"[masked:named]\\"}"'),
        ("aws_secret_access_key = wJalrXUtnFEMI", "aws_secret_access_key = wJalrXUtnFEMI"),
        ("aws_secret_access_key = wJalrXUtnFEMI7MDENG", "aws_secret_access_key = [masked:named]"),
        ("--token=abc123def456", "--token=[masked:named]"),
        ("postgresql://corral:hunter2@db.example/x", "postgresql://corral:[masked:url_password]@db.example/x"),
        ("redis://:hunter2@cache:6379/0", "redis://:[masked:url_password]@cache:6379/0"),
        ("Authorization: Bearer abc.def-123456", "Authorization: Bearer [masked:authorization]"),
        ("Authorization: Basic dXNlcjpwdw==", "Authorization: Basic [masked:authorization]"),
        (f"key:\n{PEM}\nend", "key:\n[masked:private_key]\nend"),
        (f"{PEM[:80]}", "[masked:private_key]"),
    ],
)
def test_the_secret_goes_and_what_is_around_it_stays(text, masked):
    assert scrub_text(text)[0] == masked


def test_values_are_masked_at_any_depth_and_by_their_names():
    found = scrub({"env": [{"GITHUB_TOKEN": "gibberish"}, SECRETS["aws"], 7, None, True], "n": 1.5, "token": 12})

    assert found.value == {
        "env": [{"GITHUB_TOKEN": "[masked:named]"}, "[masked:aws]", 7, None, True],
        "n": 1.5,
        "token": 12,
    }
    assert found.families == {"named", "aws"}


def test_a_value_nested_too_deep_is_refused():
    value = "x"
    for _ in range(MAX_DEPTH + 1):
        value = [value]

    with pytest.raises(InvalidField):
        scrub(value)


@settings(max_examples=50)
@given(st.text())
def test_masking_twice_changes_nothing_more(text):
    once = scrub_text(text)[0]

    assert scrub_text(once)[0] == once


@settings(max_examples=50)
@given(st.lists(st.one_of(st.sampled_from([*SECRETS.values(), PEM]), st.text(max_size=20)), max_size=8))
def test_no_secret_between_other_words_survives(parts):
    text = scrub_text(" \n".join(parts))[0]

    assert [secret for secret in [*SECRETS.values(), PEM] if secret in parts and secret in text] == []


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


@settings(max_examples=50)
@given(VALUES)
def test_the_structure_of_a_value_stays(value):
    def shape(of):
        match of:
            case dict():
                return {name: shape(item) for name, item in of.items()}
            case list():
                return [shape(item) for item in of]
            case _:
                return type(of)

    assert shape(scrub(value).value) == shape(value)


HOSTILE = {
    "plain": "the quick brown fox ",
    "jwt heads": "eyJ",
    "jwt parts": "eyJaaaaaaaaa.",
    "jwt bodies": "eyJaaaaaaaaa.bbbbbbbbb ",
    "keys begun": "-----BEGIN PRIVATE KEY-----",
    "keys half begun": "-----BEGIN RSA ",
    "dashes": "sk-" * 5,
    "addresses": "://a:b",
    "one address": ":",
    "quotes": 'password="',
    "escapes": 'password=\\"\\',
    "names": "passwordpassword",
    "signs": "token = ",
    "spaces": "token    ",
    "bearers": "Bearer ",
    "github": "ghp_",
    "dots": "SG.aaaaaaaaaaaaaaaaaaaa.",
}


@pytest.mark.parametrize("piece", HOSTILE.values(), ids=list(HOSTILE))
def test_time_grows_with_the_text_and_no_faster(piece):
    def seconds(size):
        text = (piece * (size // len(piece) + 1))[:size]
        best = float("inf")
        for _ in range(2):
            began = time.process_time()
            scrub_text(text)
            best = min(best, time.process_time() - began)
        return best

    # Four times the text: sixteen times the time where it is quadratic, four where it is not.
    small, large = seconds(10_000), seconds(40_000)

    assert large < 0.01 + 9 * small


def test_a_large_result_is_masked_in_its_midst():
    text = json.dumps({"out": "word " * 200_000 + SECRETS["github"] + " word" * 200_000})

    assert SECRETS["github"] not in scrub_text(text)[0]
