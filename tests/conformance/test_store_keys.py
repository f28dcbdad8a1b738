"""Secrets, tenants and API keys."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa

from shared.domain.errors import InvalidField, NotFound
from shared.domain.ids import KeyId, TenantId
from shared.domain.tenant import Scope
from shared.store import keys, tables, tenants
from shared.store.sealing import SealBroken, Sealer
from tests.fixtures.store_rows import ACME, OTHER, SEALER, T0, after, at_once

OTHER_SEALER = Sealer("another secret key of more than thirty-two characters")


def make(c, *, tenant=ACME, expires_at=None, at=T0, name="laptop"):
    return keys.create(
        c, tenant=tenant, name=name, scopes=[Scope.READ, Scope.WRITE], expires_at=expires_at, sealer=SEALER, at=at
    )


def test_what_was_sealed_is_opened_with_the_same_secret_only():
    token = SEALER.seal("whsec_grüße\x00")

    assert SEALER.open(token) == "whsec_grüße\x00"
    assert "whsec" not in token
    assert SEALER.seal("same") != SEALER.seal("same")
    with pytest.raises(SealBroken):
        OTHER_SEALER.open(token)
    with pytest.raises(SealBroken):
        SEALER.open("")


def test_derived_keys_differ_by_label_and_by_secret():
    assert SEALER.derive("links") == SEALER.derive("links")
    assert len({SEALER.derive("links"), SEALER.derive("internal-http"), OTHER_SEALER.derive("links")}) == 3


def test_a_short_secret_key_is_refused_and_never_shown():
    with pytest.raises(ValueError, match="at least 32") as refusal:
        Sealer("hunter2")

    assert "hunter2" not in str(refusal.value)
    assert "secret key" not in repr(SEALER)


def test_a_made_key_names_its_caller(db):
    with db.write() as c:
        key, secret = make(c)
    with db.read() as c:
        caller = keys.find(c, secret, SEALER)

    assert (caller.tenant, caller.key, caller.name) == (ACME, key.id, "laptop")
    assert caller.may(Scope.WRITE)
    assert not caller.may(Scope.ADMIN)


def test_a_secret_has_the_documented_form_and_is_not_in_the_database(db):
    with db.write() as c:
        _, secret = make(c)
        row = c.execute(sa.select(tables.keys)).one()

    assert secret.startswith("crl_")
    assert len(secret) == 4 + 32 + 6
    assert secret[4:].isalnum()
    assert secret[4:36] not in "".join(map(str, row))


def test_no_other_text_names_a_caller(db):
    with db.write() as c:
        _, secret = make(c)
        typo = secret[:10] + ("a" if secret[10] != "a" else "b") + secret[11:]

        assert keys.find(c, typo, SEALER) is None
        assert keys.find(c, secret + "\n", SEALER) is None
        assert keys.find(c, "", SEALER) is None
        assert keys.find(c, "crl_" + "ü" * 38, SEALER) is None
        assert keys.find(c, secret, OTHER_SEALER) is None


def test_a_key_ends_when_it_expires_or_is_revoked(db):
    with db.write() as c:
        _, short = make(c, expires_at=after(60))
        key, revoked = make(c)

        assert keys.find(c, short, SEALER, at=after(59))
        assert keys.find(c, short, SEALER, at=after(60)) is None
        assert keys.find(c, revoked, SEALER)
        assert keys.revoke(c, ACME, key.id, after(5))
        assert keys.revoke(c, ACME, key.id, after(9))
        assert keys.find(c, revoked, SEALER) is None
        assert keys.get(c, ACME, key.id).revoked_at == after(5)


def test_a_tenant_neither_sees_nor_revokes_the_keys_of_another(db):
    with db.write() as c:
        key, secret = make(c)

        assert keys.get(c, OTHER, key.id) is None
        assert keys.page(c, OTHER) == ([], None)
        assert not keys.revoke(c, OTHER, key.id, T0)
        assert keys.find(c, secret, SEALER)


def test_use_is_noted_at_most_once_a_minute(db):
    with db.write() as c:
        key, _ = make(c)

        assert keys.touch(c, key.id, after(1))
        assert not keys.touch(c, key.id, after(60))
        assert keys.touch(c, key.id, after(61))
        assert keys.get(c, ACME, key.id).last_used_at == after(61)
        assert not keys.touch(c, KeyId("key_none"), T0)


def test_pages_show_each_key_once_newest_first_even_of_one_moment(db):
    with db.write() as c:
        made = [make(c, at=T0 + timedelta(microseconds=n // 3))[0].id for n in range(10)]
    seen, cursor = [], None
    with db.read() as c:
        while True:
            page, cursor = keys.page(c, ACME, cursor=cursor, limit=3)
            assert len(page) <= 3
            seen += page
            if cursor is None:
                break

    assert sorted(key.id for key in seen) == sorted(made)
    assert [key.created_at for key in seen] == sorted((key.created_at for key in seen), reverse=True)


def test_a_page_that_is_just_full_has_no_next_one(db):
    with db.write() as c:
        make(c)
        make(c)

        assert keys.page(c, ACME, limit=2)[1] is None
        assert keys.page(c, ACME, limit=1)[1] is not None


@pytest.mark.parametrize("cursor", ["", "x", "%%%", "ü", "\ud800", "MjAyNi0wMS0zMSBrZXlfMQ", "A" * 3000])
def test_a_cursor_that_is_none_of_ours_is_refused(db, cursor):
    with db.read() as c, pytest.raises(InvalidField) as refusal:
        keys.page(c, ACME, cursor=cursor)

    assert refusal.value.facts["field"] == "cursor"


def test_the_default_tenant_is_made_once_by_however_many(db):
    made = at_once(db, 8, lambda c: tenants.ensure_default(c, SEALER, T0))

    assert made == [tenants.DEFAULT] * 8
    with db.read() as c:
        assert tenants.get(c, tenants.DEFAULT).name == "default"
        assert [tenant.id for tenant in tenants.list_all(c)] == ["ten_acme", "ten_default", "ten_other"]


def test_each_tenant_has_a_callback_secret_of_its_own_that_stays(db):
    with db.write() as c:
        first = tenants.callback_secret(c, ACME, SEALER)
        assert not tenants.create(c, ACME, "again", SEALER, T0)
        assert tenants.create(c, TenantId("ten_new"), "new", SEALER, T0)

        assert first.startswith("whsec_")
        assert tenants.callback_secret(c, ACME, SEALER) == first
        assert tenants.callback_secret(c, OTHER, SEALER) != first
        assert tenants.get(c, ACME).name == "ten_acme"
        with pytest.raises(NotFound):
            tenants.callback_secret(c, TenantId("ten_none"), SEALER)
