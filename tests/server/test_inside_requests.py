"""Requests from inside: any method, streams, and what a caller may not do."""

import asyncio
from contextlib import aclosing

import pytest

from tunesmith.server import inside
from tunesmith.server.door.auth import Auth, Caller
from tunesmith.server.inside import Asked, answer, stream

READER = Caller(id="key_r", role="reader", project="proj_default")
MEMBER = Caller(id="key_m", role="member", project="proj_default")


@pytest.fixture
def app(shared):
    return shared._server.config.loaded_app


def ask(app, caller, **asked):
    return asyncio.run(answer(app, caller, Asked(**asked)))


def test_methods_and_queries_reach_the_routes(app, shared):
    file_id = shared.upload()
    listed = ask(app, MEMBER, path="/v1/files", method="GET", query={"limit": "1"})
    assert listed["status_code"] == 200 and [f["id"] for f in listed["body"]["data"]] == [file_id]
    gone = ask(app, MEMBER, path=f"/v1/files/{file_id}", method="DELETE")
    assert gone["body"]["deleted"] is True
    assert ask(app, MEMBER, path="/v1/files/file-ä b", method="GET")["status_code"] == 404


def test_a_reader_is_refused_as_over_http(app):
    refused = ask(app, READER, path="/v1/fine_tuning/jobs", body=b"{}")
    assert refused["status_code"] == 403
    assert "may look and ask models only" in refused["body"]["error"]["message"]


async def streaming(scope, receive, send):
    await receive()
    start = {"type": "http.response.start", "status": 200, "headers": []}
    await send(start)
    for number in range(3):
        piece = {"type": "http.response.body", "body": b"%d" % number, "more_body": True}
        await send(piece)
    if scope["path"] == "/endless":
        await receive()  # until who asked hangs up
    await send({"type": "http.response.body", "body": b""})


def test_a_stream_comes_in_pieces():
    async def read():
        return [piece async for piece in stream(streaming, MEMBER, Asked(path="/"))]

    start, *pieces = asyncio.run(read())
    assert start["status"] == 200 and pieces == [b"0", b"1", b"2"]


def test_hanging_up_ends_what_is_streamed():
    async def read():
        async with aclosing(stream(streaming, MEMBER, Asked(path="/endless"))) as pieces:
            async for piece in pieces:
                if piece == b"2":
                    break
        return len(asyncio.all_tasks())

    assert asyncio.run(read()) == 1


def test_an_error_in_a_stream_reaches_who_asked():
    async def broken(scope, receive, send):
        raise ValueError("no")

    async def read():
        return [piece async for piece in stream(broken, MEMBER, Asked(path="/"))]

    with pytest.raises(ValueError, match="no"):
        asyncio.run(read())


def test_a_lent_key_is_valid_until_it_is_taken_back(shared):
    auth = Auth(shared.store.keys)
    key = auth.lend(READER)
    assert asyncio.run(auth.caller(f"Bearer {key}")) == READER
    auth.take_back(key)
    with pytest.raises(Exception, match="Incorrect API key"):
        asyncio.run(auth.caller(f"Bearer {key}"))
    assert inside.WAITING > 1
