"""Opening, migrating, waiting and failing: what both databases do."""

import subprocess
import sys
import threading
from contextlib import ExitStack, closing, contextmanager

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from tunesmith.errors import ConfigError, DatabaseError, MissingExtra, RequestError, StorageError
from tunesmith.settings import Settings
from tunesmith.store import database as module
from tunesmith.store.database import NEWEST, Database
from tunesmith.store.paging import Cursor, add
from tunesmith.store.rows import CompletionRow, FileRow, JobRow
from tunesmith.store.store import open_database, open_store
from tunesmith.store.tables import FILES, METADATA


def a_file(**fields):
    return FileRow(filename="a.jsonl", purpose="fine-tune", bytes=3, sha256="00", **fields)


# --- opening --------------------------------------------------------------------------------------


def test_migrations_make_the_tables_that_the_code_uses(store):
    with store._database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, METADATA) == []


def test_jobs_of_an_older_database_are_supervised(settings, store):
    given = {"model": "m", "base_model": "m", "training_file": "f", "seed": 1}
    row = JobRow(key_id="k", request_hash="h", method="dpo", **given)
    store.jobs.create(row, [], repeated=False)
    with store._database.write() as connection:
        connection.execute(text("ALTER TABLE jobs DROP COLUMN method"))
        connection.execute(text("ALTER TABLE models DROP COLUMN title"))
        labelling = [f"labelling_{part}" for part in ("answers", "handouts", "rows", "tasks")]
        newer = ("sessions", "runs", "eval_items", "eval_runs", "evals")
        for table in (*labelling, *newer):
            connection.execute(text(f"DROP TABLE {table}"))
        connection.execute(text("UPDATE alembic_version SET version_num = 'v0002_projects'"))
    newer = open_store(settings)
    assert newer.jobs.get(row.id).method == "supervised"
    newer.close()


def test_processes_that_start_together_share_the_database(tmp_path, new_url):
    program = (
        "import sys; from pathlib import Path; from tunesmith.settings import Settings;"
        "from tunesmith.store.store import open_store;"
        "s = open_store(Settings(data_dir=Path(sys.argv[1]), database_url=sys.argv[2]));"
        "s.keys.create('k'); s.close()"
    )
    settings = Settings(data_dir=tmp_path, database_url=new_url(template="template0"))
    command = [sys.executable, "-W", "error", "-c", program, str(tmp_path), settings.database_url]
    started = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(3)]
    for process in started:
        assert process.communicate()[1] == b""
        assert process.returncode == 0
    store = open_store(settings)
    assert len(store.keys.all()) == 3
    store.close()


def test_opening_again_keeps_what_is_there(settings, store):
    store.files.add(a_file(id="file-1"))
    again = open_store(settings)
    assert again.files.get("file-1") is not None
    again.close()


def test_a_newer_database_is_refused(settings, store):
    with store._database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'v9999_future'"))
    with pytest.raises(ConfigError, match="newer version of Tunesmith"):
        open_store(settings)
    assert NEWEST < "v9999_future"


# --- transactions ---------------------------------------------------------------------------------


def test_all_of_a_change_is_kept_or_nothing(store):
    with pytest.raises(RuntimeError), store._database.write() as connection:
        connection.execute(text("INSERT INTO alembic_version VALUES ('x')"))
        raise RuntimeError
    with store._database.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM alembic_version")).scalar() == 1


def test_what_is_read_stands_still(store):
    store.files.add(a_file())
    with store._database.read() as connection:
        ask = lambda: connection.execute(text("SELECT count(*) FROM files")).scalar()  # noqa: E731
        assert ask() == 1
        store.files.add(a_file())
        assert ask() == 1
    assert len(store.files.page(Cursor(limit=9)).data) == 2


@contextmanager
def another_writer(settings):
    """Another program that adds a file and does not come to an end."""
    with closing(open_database(settings)) as other, other.write() as connection:
        add(connection, FILES, [a_file()])
        yield


def test_a_writer_waits_for_another_one(store, settings):
    with another_writer(settings):
        thread = threading.Thread(target=store.files.add, args=(a_file(id="file-2"),))
        thread.start()
        thread.join(0.2)
        assert thread.is_alive()
        assert store.files.page(Cursor(limit=9)).data == []
    thread.join(5)
    assert [row.id for row in store.files.page(Cursor(limit=1)).data] == ["file-2"]


def test_a_database_that_stays_locked_is_told_in_a_sentence(settings, monkeypatch):
    monkeypatch.setattr(module, "BUSY_SECONDS", 1)
    store = open_store(settings)
    with (
        another_writer(settings),
        pytest.raises(DatabaseError, match=r"in use by another program for 1 sec.*Try again"),
    ):
        store.files.add(a_file())
    store.close()


def test_connections_that_are_all_in_use_are_told_in_a_sentence(settings, monkeypatch):
    monkeypatch.setattr(module, "BUSY_SECONDS", 1)
    database = open_database(settings)
    with (
        closing(database),
        ExitStack() as held,
        pytest.raises(DatabaseError, match=r"Every connection .* in use for 1 seconds"),
    ):
        for _ in range(100):
            held.enter_context(database.read())


# --- what can be kept -----------------------------------------------------------------------------


def test_whatever_json_can_say_comes_back(store):
    body = {
        "z": [None, True, 1.0, 1e22, -0.0, 2**70, 5e-324],
        "a": "NUL \0, half \ud800, \u2603, \U0001f600, \\u0000, \u2028",
        "": {"deep": [[[{}]]]},
    }
    row = CompletionRow(id="chatcmpl-1", created=1, model="m", messages=[body], body=body)
    store.completions.add(row)
    found = store.completions.get("chatcmpl-1")
    assert repr(found.body) == repr(body)  # the order of keys, and what is an int, too
    assert found.messages == [body]


def test_no_object_is_null_and_not_the_text_null(store):
    row = CompletionRow(id="chatcmpl-1", created=1, model="m", messages=[], body={})
    store.completions.add(row)
    nulls = text("SELECT count(*) FROM completions WHERE metadata IS NULL")
    for metadata in (None, {"a": "b"}, None):
        assert store.completions.describe("chatcmpl-1", metadata).metadata == metadata
        with store._database.read() as connection:
            assert connection.execute(nulls).scalar() == (metadata is None)
        found = store.completions.page(Cursor(limit=9), model=None, metadata={"a": "b"}).data
        assert len(found) == (metadata is not None)
    assert store.completions.describe("chatcmpl-2", None) is None


@pytest.mark.parametrize("name", ["a\0b", "\0", "half \ud800", "\udfff"])
def test_texts_that_cannot_be_kept_are_a_mistake_of_the_request(store, name):
    calls = (
        lambda: store.files.add(a_file(id=name)),
        lambda: store.files.get(name),
        lambda: store.files.page(Cursor(limit=1, after=name)),
        lambda: store.files.delete(name),
        lambda: store.completions.page(Cursor(limit=1), model=None, metadata={"a": name}),
    )
    for call in calls:
        with pytest.raises(RequestError, match="cannot keep.*Leave out NUL") as caught:
            call()
        assert not isinstance(caught.value, StorageError)
    assert store.files.page(Cursor(limit=9)).data == []


def test_numbers_have_64_bits(store):
    for number in (2**63 - 1, -(2**63)):
        row = store.files.add(FileRow(filename="a", purpose="b", bytes=number, sha256=""))
        assert store.files.get(row.id).bytes == number
    for number in (2**63, -(2**63) - 1, 10**40):
        with pytest.raises(RequestError, match="beyond 64 bits"):
            store.files.add(FileRow(filename="a", purpose="b", bytes=number, sha256=""))


def test_ids_and_names_differ_by_case_and_order_is_that_of_coming(store):
    ids = ["file-b", "file-B", "file-a", "file-Ä"]
    for file_id in ids:
        store.files.add(a_file(id=file_id))
    assert [row.id for row in store.files.page(Cursor(limit=9, newest_first=False)).data] == ids
    assert store.files.get("FILE-A") is None
    assert store.files.delete("file-B")
    assert store.files.get("file-b") is not None


# --- addresses ------------------------------------------------------------------------------------


def test_a_server_that_does_not_answer_is_told_without_its_password():
    pytest.importorskip("psycopg")
    url = "postgresql://me:secret@127.0.0.1:1/name?password=secret&connect_timeout=3"
    with pytest.raises(DatabaseError, match="does not answer as it should") as caught:
        Database(url).migrate()
    assert "refused" in str(caught.value)
    assert "postgresql://me:***@127.0.0.1:1/name" in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["not a url", "mysql://u@h/n", "oracle://u@h/n", "postgresql://u@h:port/n", "postgres://u@h/n"],
)
def test_an_unusable_url_is_told(url):
    with pytest.raises(ConfigError, match=r"TUNESMITH_DATABASE_URL.*postgresql\+psycopg://"):
        Database(url)


@pytest.mark.parametrize("url", ["postgresql://u@h/n", "postgresql+psycopg://u@h/n"])
def test_a_driver_that_is_not_installed_is_told(url, monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingExtra, match=r"pip install 'tunesmith\[postgres\]'"):
        Database(url)
