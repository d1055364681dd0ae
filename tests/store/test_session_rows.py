"""Sessions: they live as long as their keys, and no longer than they are used."""

from dataclasses import replace

import pytest
from sqlalchemy import select, update

from tunesmith.store import sessions as module
from tunesmith.store.rows import now
from tunesmith.store.tables import SESSIONS


@pytest.fixture
def key(store):
    return store.keys.create("ada", role="reader")[1]


def age(store, **fields):
    with store._database.write() as connection:
        connection.execute(update(SESSIONS).values(**fields))


def test_a_session_is_found_by_what_its_browser_sends_and_kept_as_a_hash(store, key):
    token = store.sessions.create(key.id)
    session, found = store.sessions.find(token)
    assert found.id == session.key_id == key.id and found.role == "reader"
    assert store.sessions.find(token + "x") is None
    with store._database.read() as connection:
        assert token not in str(connection.execute(select(SESSIONS)).all())


@pytest.mark.parametrize("ended", ["logged out", "revoked", "expired", "idle", "old"])
def test_a_session_ends(store, key, ended):
    token = store.sessions.create(key.id)
    session, _ = store.sessions.find(token)
    assert store.sessions.alive({session.id, "sess_other"}) == {session.id}
    if ended == "logged out":
        store.sessions.end(token)
    elif ended == "revoked":
        store.keys.revoke(key.id)
    elif ended == "expired":
        token = store.sessions.create(store.keys.create("k", expires_at=now() - 1)[1].id)
        store.sessions.end(store.sessions.create(key.id))
        age(store, used_at=0)
    elif ended == "idle":
        age(store, used_at=now() - module.IDLE_SECONDS)
    else:
        age(store, created_at=now() - module.LONGEST_SECONDS)
    assert store.sessions.find(token) is None
    assert store.sessions.alive({session.id}) == set()


def test_a_session_in_use_stays(store, key):
    token = store.sessions.create(key.id)
    age(store, used_at=now() - module.IDLE_SECONDS + 5)
    session, _ = store.sessions.find(token)
    store.sessions.use(session.id)
    used, _ = store.sessions.find(token)
    assert used.used_at >= now() - 2 and used == replace(session, used_at=used.used_at)


def test_a_new_session_removes_those_that_are_over(store, key):
    store.sessions.create(key.id)
    age(store, used_at=0)
    store.sessions.create(key.id)
    with store._database.read() as connection:
        assert len(connection.execute(select(SESSIONS)).all()) == 1
