"""/v1/uploads, through the OpenAI SDK where it can say it, over plain HTTP where it cannot."""

import hashlib
import random
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import openai
import pytest
from test_serve import serving

from tunesmith.errors import StorageError
from tunesmith.server import uploads
from tunesmith.store import uploads as uploads_table
from tunesmith.work import files as work_files

CONTENT = b'{"messages": []}\n' * 1000
UPLOAD_KEYS = {
    "id", "object", "bytes", "created_at", "expires_at", "filename", "purpose", "status", "file",
}  # fmt: skip
ASKED = {
    "filename": "t.jsonl", "purpose": "fine-tune", "bytes": 6, "mime_type": "text/jsonl",
}  # fmt: skip


def create(server, **asked):
    return server.http.post("/uploads", json=ASKED | asked).json()


def add(server, upload, *contents):
    """The ids of new parts with these contents."""
    replies = [post_part(server, upload, content) for content in contents]
    assert {reply.status_code for reply in replies} == {200}
    return [reply.json()["id"] for reply in replies]


def post_part(server, upload, content):
    file = {"data": ("upload", content, "application/octet-stream")}
    return server.http.post(f"/uploads/{upload['id']}/parts", files=file)


def complete(server, upload, part_ids, **asked):
    asked = {"part_ids": part_ids, **asked}
    return server.http.post(f"/uploads/{upload['id']}/complete", json=asked)


def refused(reply, status=400):
    assert reply.status_code == status, reply.text
    error = reply.json()["error"]
    assert (error["type"], error["code"]) == ("invalid_request_error", None)
    return error


def blobs(server):
    return {path.name for path in (server.settings.data_dir / "blobs").iterdir()}


def of_another_project(server, role="member"):
    """A client with a key of another project."""
    project = server.store.projects.create(f"other-{role}")
    key, _ = server.store.keys.create(f"other-{role}", role=role, project=project.id)
    return httpx.Client(base_url=server.url, headers={"authorization": f"Bearer {key}"})


# --- the whole way --------------------------------------------------------------------------------


def test_the_sdk_uploads_a_file_in_chunks(server, tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_bytes(CONTENT)
    upload = server.client.uploads.upload_file_chunked(
        file=path,
        mime_type="text/jsonl",
        purpose="fine-tune",
        part_size=4096,
        md5=hashlib.md5(CONTENT).hexdigest().upper(),
    )
    assert set(upload.to_dict()) == UPLOAD_KEYS
    assert (upload.object, upload.status, upload.bytes) == ("upload", "completed", len(CONTENT))
    assert upload.expires_at == upload.created_at + 3600
    assert (upload.filename, upload.purpose) == ("t.jsonl", "fine-tune")
    assert upload.file == server.client.files.retrieve(upload.file.id)
    assert (upload.file.bytes, upload.file.status) == (len(CONTENT), "processed")
    assert server.client.files.content(upload.file.id).read() == CONTENT
    assert server.store.files.get(upload.file.id).sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert blobs(server) == {upload.file.id}
    job = server.client.fine_tuning.jobs.create(model="minilm-l6", training_file=upload.file.id)
    assert job.training_file == upload.file.id


def test_the_objects_on_the_way(shared):
    client = shared.client.uploads
    upload = client.create(**ASKED)
    assert upload.id.startswith("upload_")
    assert set(upload.to_dict()) == UPLOAD_KEYS
    assert (upload.status, upload.file) == ("pending", None)
    part = client.parts.create(upload.id, data=b"abcdef")
    assert part.id.startswith("part_")
    assert part.to_dict() == {
        "id": part.id,
        "object": "upload.part",
        "created_at": part.created_at,
        "upload_id": upload.id,
    }
    assert client.complete(upload.id, part_ids=[part.id]).file.filename == "t.jsonl"


def test_parts_come_together_and_are_put_in_the_order_asked_for(shared):
    pieces = [bytes([n]) * (n + 1) for n in range(20)]
    upload = create(shared, bytes=sum(map(len, pieces)))
    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(lambda piece: add(shared, upload, piece)[0], pieces))
    order = list(range(20))
    random.Random(7).shuffle(order)
    made = complete(shared, upload, [ids[n] for n in order]).json()
    expected = b"".join(pieces[n] for n in order)
    assert shared.client.files.content(made["file"]["id"]).read() == expected


def test_parts_that_are_not_named_do_not_count(server):
    upload = create(server)
    first, _, last = add(server, upload, b"abc", b"abc, sent again", b"def")
    file_id = complete(server, upload, [first, last]).json()["file"]["id"]
    assert server.client.files.content(file_id).read() == b"abcdef"
    assert blobs(server) == {file_id}


def test_completing_again_gives_the_same_upload(server):
    upload = create(server)
    ids = add(server, upload, b"abc", b"def")
    made = complete(server, upload, ids)
    assert complete(server, upload, ids).json() == made.json()
    assert len(server.client.files.list().data) == 1
    assert refused(post_part(server, upload, b"more"))["message"].startswith(
        f"Upload {upload['id']} is completed"
    )
    cancelled = server.http.post(f"/uploads/{upload['id']}/cancel")
    assert "is completed" in refused(cancelled)["message"]


def test_completing_many_times_at_once_makes_one_file(server):
    content = b"x" * 90_000
    upload = create(server, bytes=len(content))
    ids = add(server, upload, content[:50_000], content[50_000:])
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: complete(server, upload, ids), range(8)))
    assert {reply.status_code for reply in replies} == {200}
    (file_id,) = {reply.json()["file"]["id"] for reply in replies}
    assert [file.id for file in server.client.files.list()] == [file_id]
    assert blobs(server) == {file_id}


def test_a_name_with_quotation_marks_can_be_downloaded(shared):
    upload = create(shared, filename='/x/"a".jsonl')
    assert upload["filename"] == '"a".jsonl'
    file_id = complete(shared, upload, add(shared, upload, b"abcdef")).json()["file"]["id"]
    header = shared.http.get(f"/files/{file_id}/content").headers["content-disposition"]
    assert header == "attachment; filename=\"_a_.jsonl\"; filename*=UTF-8''%22a%22.jsonl"


def test_the_file_may_expire(shared):
    after = {"anchor": "created_at", "seconds": 3600}
    for asked, seconds in (
        ({"expires_after": after}, 3600),
        ({"purpose": "batch"}, 30 * 24 * 3600),
        ({"purpose": "batch", "expires_after": after}, 3600),
        ({"expires_after": None}, None),
    ):
        upload = create(shared, **asked)
        file = complete(shared, upload, add(shared, upload, b"abcdef")).json()["file"]
        expected = None if seconds is None else file["created_at"] + seconds
        assert file["expires_at"] == expected


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "param", "words"),
    [
        ({"purpose": "no-such"}, "purpose", "'no-such' is not one of ['assistants'"),
        ({"purpose": "batch_output"}, "purpose", "- 'purpose'"),
        ({"filename": "t.csv"}, "file", "Invalid file format for Fine-Tuning API. Must be .jsonl"),
        ({"bytes": 0}, "bytes", "greater than or equal to 1"),
        ({"bytes": 100_001}, "bytes", "larger than 100,000 bytes, the most this server takes"),
        ({"mime_type": None}, "mime_type", "Missing required parameter: 'mime_type'."),
        ({"parts": 3}, "parts", "Unrecognized request argument supplied: parts"),
        (
            {"expires_after": {"anchor": "created_at", "seconds": 5}},
            "expires_after.seconds",
            "greater than or equal to 3600",
        ),
        (
            {"expires_after": {"anchor": "last_used_at", "seconds": 3600}},
            "expires_after.anchor",
            "'created_at'",
        ),
    ],
)
def test_uploads_that_cannot_be(shared, asked, param, words):
    error = refused(shared.http.post("/uploads", json=ASKED | asked))
    assert error["param"] == param
    assert words in error["message"]


def test_the_parts_must_be_those_that_were_announced(server):
    upload, other = create(server), create(server)
    first, last = add(server, upload, b"abc", b"def")
    (foreign,) = add(server, other, b"def")
    for ids, words in (
        ([first], "The parts have 3 bytes, but the upload was to have 6."),
        ([first, first], "'part_ids' names a part more than once."),
        ([first, foreign], f"No such part of upload {upload['id']}: {foreign}"),
        ([first, "part_x"], f"No such part of upload {upload['id']}: part_x"),
        ([], "at least 1 item"),
    ):
        error = refused(complete(server, upload, ids))
        assert error["param"] == "part_ids"
        assert words in error["message"]
    error = refused(complete(server, upload, [last, first], md5=hashlib.md5(b"abcdef").hexdigest()))
    assert error["param"] == "md5"
    assert hashlib.md5(b"defabc").hexdigest() in error["message"]
    assert server.client.files.list().data == []
    assert blobs(server) == {first, last, foreign}
    right = complete(server, upload, [first, last], md5=hashlib.md5(b"abcdef").hexdigest())
    assert right.json()["status"] == "completed"


def test_a_part_is_a_file_in_the_field_data(shared):
    upload = create(shared)
    path = f"/uploads/{upload['id']}/parts"
    for sent in ({"files": {"file": b"abc"}}, {"data": {"data": "abc"}}, {"json": {"data": "abc"}}):
        error = refused(shared.http.post(path, **sent))
        assert (error["message"], error["param"]) == ("'data' is a required property", "data")


@pytest.mark.parametrize("too_much", [1, 3_000_000])
def test_a_part_that_is_too_large_is_refused_with_the_reason(server, monkeypatch, too_much):
    monkeypatch.setattr(uploads, "PART_BYTES", 1000)
    upload = create(server, bytes=1000)
    error = refused(post_part(server, upload, b"x" * (1000 + too_much)), 413)
    assert "A part has at most 1,000 bytes" in error["message"]
    assert blobs(server) == set()
    assert complete(server, upload, add(server, upload, b"x" * 1000)).status_code == 200


def test_an_unknown_upload_is_not_found(shared):
    for call in (
        lambda: shared.client.uploads.parts.create("upload_x", data=b"abc"),
        lambda: shared.client.uploads.complete("upload_x", part_ids=["part_x"]),
        lambda: shared.client.uploads.cancel("upload_x"),
    ):
        with pytest.raises(openai.NotFoundError) as caught:
            call()
        assert caught.value.body == {
            "message": "No such Upload object: upload_x",
            "type": "invalid_request_error",
            "param": "id",
            "code": None,
        }


def test_another_project_finds_nothing_of_it(server):
    upload = create(server)
    ids = add(server, upload, b"abcdef")
    with of_another_project(server) as other:
        path = f"/uploads/{upload['id']}"
        refused(other.post(f"{path}/parts", files={"data": b"abc"}), 404)
        refused(other.post(f"{path}/complete", json={"part_ids": ids}), 404)
        refused(other.post(f"{path}/cancel"), 404)
        own = other.post("/uploads", json=ASKED).json()
        stolen = other.post(f"/uploads/{own['id']}/complete", json={"part_ids": ids})
        assert refused(stolen)["param"] == "part_ids"
    assert blobs(server) == set(ids)
    file_id = complete(server, upload, ids).json()["file"]["id"]
    assert server.store.files.get(file_id).project_id == "proj_default"


def test_a_reader_uploads_nothing(shared):
    with of_another_project(shared, role="reader") as reader:
        for path in ("/uploads", "/uploads/upload_x/parts", "/uploads/upload_x/cancel"):
            refused(reader.post(path), 403)


# --- ends other than a file -----------------------------------------------------------------------


def test_a_cancelled_upload_takes_nothing_more(server):
    upload = server.client.uploads.create(**ASKED)
    part = server.client.uploads.parts.create(upload.id, data=b"abcdef")
    cancelled = server.client.uploads.cancel(upload.id)
    assert (cancelled.status, cancelled.file) == ("cancelled", None)
    assert server.client.uploads.cancel(upload.id) == cancelled
    with pytest.raises(openai.BadRequestError, match="is cancelled"):
        server.client.uploads.parts.create(upload.id, data=b"abc")
    with pytest.raises(openai.BadRequestError, match="is cancelled"):
        server.client.uploads.complete(upload.id, part_ids=[part.id])
    assert blobs(server) == set()


def test_an_upload_expires_after_an_hour(server, monkeypatch):
    upload = create(server)
    ids = add(server, upload, b"abcdef")
    monkeypatch.setattr(uploads_table, "now", lambda: upload["expires_at"] - 1)
    ids += add(server, upload, b"abc")
    monkeypatch.setattr(uploads_table, "now", lambda: upload["expires_at"])
    cancelled = server.http.post(f"/uploads/{upload['id']}/cancel")
    for reply in (post_part(server, upload, b"abc"), complete(server, upload, ids[:1]), cancelled):
        assert f"Upload {upload['id']} is expired" in refused(reply)["message"]
    assert blobs(server) == set(ids)
    work_files.sweep(server.settings, server.store, server.blobs)
    assert blobs(server) == set()


@pytest.mark.parametrize("breaks", ["content", "rows"])
def test_a_completion_that_breaks_off_can_be_done_again(server, monkeypatch, breaks):
    upload = create(server)
    ids = add(server, upload, b"abc", b"def")

    def broken(*_):
        error = OSError if breaks == "content" else StorageError
        raise error("the disk is gone")

    with monkeypatch.context() as patch:
        patch.setattr(
            *{"content": (server.blobs._files, "mv"), "rows": (uploads_table.Uploads, "complete")}[
                breaks
            ],
            broken,
        )
        assert complete(server, upload, ids).status_code == 500
    assert server.client.files.list().data == []
    assert blobs(server) == set(ids)
    file_id = complete(server, upload, ids).json()["file"]["id"]
    assert server.client.files.content(file_id).read() == b"abcdef"


def test_a_completed_upload_is_no_failure_if_its_parts_cannot_be_removed(server, monkeypatch):
    upload = create(server)
    ids = add(server, upload, b"abcdef")

    def broken(_):
        raise StorageError("the disk is gone")

    with monkeypatch.context() as patch:
        patch.setattr(server.blobs, "delete", broken)
        made = complete(server, upload, ids)
    assert made.status_code == 200
    assert complete(server, upload, ids).json() == made.json()
    work_files.sweep(server.settings, server.store, server.blobs)
    assert blobs(server) == {made.json()["file"]["id"]}


def test_a_client_that_goes_away_leaves_nothing(server, caplog):
    upload = create(server)
    url = httpx.URL(server.url)
    caplog.set_level("INFO")
    with socket.create_connection((url.host, url.port)) as wire:
        wire.sendall(
            f"POST /v1/uploads/{upload['id']}/parts HTTP/1.1\r\nhost: x\r\n"
            f"authorization: {server.http.headers['authorization']}\r\ncontent-length: 5000\r\n"
            "content-type: multipart/form-data; boundary=b\r\n\r\n--b\r\ncontent-disposition: "
            'form-data; name="data"; filename="upload"\r\n\r\nabc'.encode()
        )
        time.sleep(0.2)  # until the server reads
    deadline = time.monotonic() + 60
    while not any(upload["id"] in record.getMessage() for record in caplog.records):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert all(record.exc_info is None for record in caplog.records)
    assert blobs(server) == set()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_large_upload_takes_little_memory(tmp_path):
    def peak():
        status = Path(f"/proc/{server.process.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024

    size = 32 * 1024 * 1024
    with serving(tmp_path, "--with-parent") as server, server.client() as client:
        client.files.create(file=("t.jsonl", CONTENT), purpose="fine-tune")
        before = peak()
        given = {"filename": "t.jsonl", "mime_type": "text/jsonl", "purpose": "fine-tune"}
        upload = client.uploads.upload_file_chunked(
            file=bytes(size), bytes=size, part_size=size // 2, **given
        )
        assert client.files.content(upload.file.id).read() == bytes(size)
        assert peak() - before < size / 2
