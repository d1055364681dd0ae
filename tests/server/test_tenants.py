"""Two tenants of one server: neither learns that anything of the other's exists, by any route.

The routes are the application's own, so that one that is added without an example here fails.
"""

import json
import re
import time
from http.client import HTTPConnection
from urllib.parse import quote, unquote, urlsplit

import httpx
import pytest

from tunesmith.server.door.asgi import Door
from tunesmith.store.jobs import Change
from tunesmith.store.rows import JobRow, ModelRow
from tunesmith.wire import new_id

PLACE = r"\{(\w+)\}"
OWN = ("own_file", "own_model", "own_upload")
"""Things of the second tenant's."""
ASKED = [{"role": "user", "content": "refund"}]
LINE = b'{"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": {}}\n'

EVAL = {
    "data_source_config": {"type": "custom", "item_schema": {}},
    "testing_criteria": [
        {"type": "string_check", "name": "c", "operation": "eq", "input": "a", "reference": "a"}
    ],
}
JUDGED = {
    "data_source_config": {"type": "logs"},
    "testing_criteria": [
        {"type": "score_model", "name": "c", "model": "model", "input": ASKED},
    ],
}

# What a placeholder of a path stands for: how the first tenant makes one.
MAKERS = {
    "file_id": lambda world: world.server.upload(),
    "job_id": lambda world: world.server.tuned().id,
    "model": lambda world: world.server.tuned().fine_tuned_model,
    "checkpoint": lambda world: world["model"],
    "permission_id": lambda world: lent(world),
    "upload_id": lambda world: (
        world.client.uploads.create(
            filename="t.jsonl", purpose="fine-tune", bytes=2, mime_type="text/jsonl"
        ).id
    ),
    "part_id": lambda world: world.client.uploads.parts.create(world["upload_id"], data=b"{}").id,
    "input_file_id": lambda world: (
        world.client.files.create(file=("b.jsonl", LINE), purpose="batch").id
    ),
    "batch_id": lambda world: answered(world, world["input_file_id"]),
    "completion_id": lambda world: (
        world.client.chat.completions.create(model=world["model"], messages=ASKED, store=True).id
    ),
    "response_id": lambda world: (
        world.client.responses.create(model=world["model"], input="refund").id
    ),
    "eval_id": lambda world: world.client.evals.create(**EVAL).id,
    "run_id": lambda world: evaluated(world),
    "item_id": lambda world: (
        world.client.evals.runs.output_items.list(world["run_id"], eval_id=world["eval_id"])
        .data[0]
        .id
    ),
}


def answered(world, file_id, **headers):
    """Id of a batch that has come to its end."""
    asked = {"endpoint": "/v1/chat/completions", "completion_window": "24h"}
    batches = world.client.batches
    batch = batches.create(input_file_id=file_id, **asked, extra_headers=headers)
    deadline = time.monotonic() + 10
    while batch.status not in ("completed", "failed"):
        assert time.monotonic() < deadline, batch
        time.sleep(0.02)
        batch = batches.retrieve(batch.id, extra_headers=headers)
    return batch.id


def evaluated(world):
    """Id of a run of the eval that has come to its end."""
    runs, eval_id = world.client.evals.runs, world["eval_id"]
    source = {"type": "file_content", "content": [{"item": {}}]}
    run = runs.create(eval_id, data_source={"type": "jsonl", "source": source})
    deadline = time.monotonic() + 10
    while run.status != "completed":
        assert time.monotonic() < deadline, run
        time.sleep(0.02)
        run = runs.retrieve(run.id, eval_id=eval_id)
    return run.id


def lent(world):
    third = world.server.store.projects.create(new_id("")).id
    permissions = world.client.fine_tuning.checkpoints.permissions
    return permissions.create(world["checkpoint"], project_ids=[third]).data[0].id


# Bodies of requests to paths with placeholders, where they need one.
BODIES = {
    "POST /v1/uploads/{upload_id}/parts": {"files": {"data": ("upload", b"{}")}},
    "POST /v1/uploads/{upload_id}/complete": {"json": {"part_ids": ["part_id"]}},
    "POST /v1/fine_tuning/checkpoints/{checkpoint}/permissions": {
        "json": {"project_ids": ["proj_default"]}
    },
    "POST /v1/chat/completions/{completion_id}": {"json": {"metadata": {"a": "b"}}},
    "POST /v1/evals/{eval_id}": {"json": {"name": "x"}},
}
# Bodies that name things of the first tenant's, the status of the reply, and its `param`.
INSIDE = {
    "/v1/fine_tuning/jobs": [
        ({"model": "minilm-l6", "training_file": "file_id"}, 400, "training_file"),
        (
            {"model": "minilm-l6", "training_file": "own_file", "validation_file": "file_id"},
            400,
            "validation_file",
        ),
        ({"model": "model", "training_file": "own_file"}, 400, None),
    ],
    "/v1/uploads/{own_upload}/complete": [({"part_ids": ["part_id"]}, 400, "part_ids")],
    "/v1/batches": [
        (
            {
                "input_file_id": "input_file_id",
                "endpoint": "/v1/chat/completions",
                "completion_window": "24h",
            },
            400,
            "input_file_id",
        )
    ],
    "/v1/chat/completions": [({"model": "model", "messages": ASKED}, 404, "model")],
    "/v1/embeddings": [({"model": "model", "input": "x"}, 404, "model")],
    "/v1/completions": [({"model": "model", "prompt": "x"}, 404, "model")],
    "/v1/responses": [
        ({"model": "model", "input": "x"}, 404, "model"),
        (
            {"model": "own_model", "input": "x", "previous_response_id": "response_id"},
            400,
            "previous_response_id",
        ),
    ],
    "/v1/evals": [(JUDGED, 404, "model")],
}
NAMES_NOTHING = {
    "/v1/files",
    "/v1/uploads",
    "/v1/fine_tuning/alpha/graders/run",
    "/v1/fine_tuning/alpha/graders/validate",
}
"""POSTs whose bodies hold no id or name of anything that is kept."""


# --- the world ------------------------------------------------------------------------------------


class World:
    """The server, whose own key is the first tenant's, and a client of the second one's."""

    def __init__(self, server, other):
        self.server, self.client, self.other = server, server.client, other
        app = server._server.config.app
        self.schema = app.openapi()["paths"]
        door = next(layer for layer in app.user_middleware if layer.cls is Door)
        written = [(m.upper(), path) for path, ways in self.schema.items() for m in ways]
        self.routes = written + [("POST", path) for path in door.kwargs["direct"]]
        """Method and path of every route, placeholders in braces."""
        self.known = {}

    def __getitem__(self, name):
        """The first tenant's thing of that kind, made when it is first asked for."""
        if name not in self.known:
            self.known[name] = MAKERS[name](self)
        return self.known[name]

    def paths(self, method):
        """Those without placeholders."""
        return [path for m, path in self.routes if m == method and "{" not in path]

    def templates(self):
        """Method, path and body of every route with placeholders."""
        return [
            (method, path, BODIES.get(f"{method} {path}", {}))
            for method, path in self.routes
            if "{" in path
        ]

    def make_all(self):
        names = {name for _, path, _ in self.templates() for name in re.findall(PLACE, path)}
        assert names <= set(MAKERS), "there is no example for these"
        for name in names:
            assert self[name]

    def filled(self, value, fill):
        """`value` with `fill(name)` for every text that is the name of an id."""
        if isinstance(value, dict):
            return {k: self.filled(v, fill) for k, v in value.items()}
        if isinstance(value, list):
            return [self.filled(v, fill) for v in value]
        return fill(value) if isinstance(value, str) and value in (*MAKERS, *OWN) else value

    def ask(self, client, method, template, body, fill=None):
        fill = fill or self.__getitem__
        path = re.sub(PLACE, lambda match: quote(fill(match[1]), safe=""), template)
        return client.request(method, path, **self.filled(body, fill))

    def made_up(self, name):
        """Another id of the same look."""
        return self[name] if name in OWN else f"{self[name][:-6]}zzzzzz"

    def told(self, reply):
        """Status and text of a reply, without the ids that it was asked about."""
        text = reply.text
        for name, value in self.known.items():
            text = text.replace(value, name).replace(self.made_up(name), name)
        return reply.status_code, text


@pytest.fixture(scope="module")
def outside(tmp_path_factory):
    """The folder around the data folder, with what is nobody's business."""
    outside = tmp_path_factory.mktemp("outside")
    (outside / "secret.jsonl").write_text("{}")
    return outside


@pytest.fixture(scope="module")
def world(outside, running):
    server = running(outside / "data", max_body_bytes=100_000)
    store = server.store
    project = store.projects.create("other").id
    key, _ = store.keys.create("other", role="admin", project=project)
    given = {"key_id": "k", "request_hash": "h", "model": "m", "base_model": "m", "seed": 1}
    job = JobRow(status="succeeded", training_file="f", project_id=project, **given)
    store.jobs.create(job, [], repeated=False)
    own = {"owned_by": "acme", "base_model": "minilm-l6", "project_id": project}
    model = ModelRow(id="ft:minilm-l6:acme::other", job_id=job.id, folder="none", **own)
    store.jobs.write(job.id, Change(models=[model]))
    headers = {"authorization": f"Bearer {key}"}
    base = server.url.removesuffix("/v1")
    with httpx.Client(base_url=base, headers=headers, timeout=10) as other:
        world = World(server, other)
        content = {"file": ("t.jsonl", b"{}"), "purpose": (None, "fine-tune")}
        world.known["own_file"] = other.post("/v1/files", files=content).json()["id"]
        world.known["own_model"] = model.id
        asked = {"filename": "x", "purpose": "evals", "bytes": 2, "mime_type": "text/plain"}
        world.known["own_upload"] = other.post("/v1/uploads", json=asked).json()["id"]
        yield world
    server.close()


# --- ids ------------------------------------------------------------------------------------------


def test_nothing_is_found_by_the_ids_of_others(world):
    world.make_all()
    wrong = {}
    for method, template, body in world.templates():
        reply = world.ask(world.other, method, template, body)
        unknown = world.ask(world.other, method, template, body, world.made_up)
        if reply.status_code != 404 or world.told(reply) != world.told(unknown):
            wrong[method, template] = reply.text, unknown.text
    assert wrong == {}


def test_what_was_tried_has_changed_nothing_and_the_owner_finds_it(world):
    world.make_all()
    first = httpx.Client(base_url=world.other.base_url, headers=world.server.http.headers)
    wrong = {}
    with first:
        # The longest paths first, and what deletes last: nothing is gone too early.
        for method, template, body in sorted(
            world.templates(), key=lambda route: (route[0] == "DELETE", -len(route[1]))
        ):
            world.ask(world.other, method, template, body)
            reply = world.ask(first, method, template, body)
            if reply.status_code not in (200, 400):  # 400: ended already
                wrong[method, template] = reply.text
    assert wrong == {}
    for name in MAKERS:
        world.known.pop(name, None)


def test_the_lists_of_others_are_not_shown(world):
    world.make_all()

    def ids(client, path):
        return {one["id"] for one in client.get(path).json()["data"]} - {"minilm-l6"}

    for path in world.paths("GET"):
        if path.startswith("/v1/"):
            theirs = ids(world.server.http, path.removeprefix("/v1"))
            assert theirs, path
            assert not theirs & ids(world.other, path), path
        else:
            text = world.other.get(path).text
            assert not [name for name in MAKERS if name in world.known and world[name] in text]


def test_the_ids_of_others_are_no_cursors(world):
    world.make_all()
    checked = 0
    for path in world.paths("GET"):
        named = {one["name"] for one in world.schema[path]["get"].get("parameters", [])}
        if "after" in named:
            for name in MAKERS.keys() & world.known.keys():
                reply = world.other.get(path, params={"after": world[name]})
                unknown = world.other.get(path, params={"after": world.made_up(name)})
                assert reply.status_code == 400, path
                assert world.told(reply) == world.told(unknown), path
                checked += 1
    assert checked > 10


def test_every_body_that_may_name_something_has_an_example(world):
    examples = {path for path in INSIDE if "{" not in path}
    assert set(world.paths("POST")) == examples | NAMES_NOTHING
    assert {f"{method} {path}" for method, path, _ in world.templates()} >= BODIES.keys()


@pytest.mark.parametrize(
    ("path", "body", "status", "param"),
    [(path, *case) for path, cases in INSIDE.items() for case in cases],
)
def test_nothing_is_found_by_ids_inside_bodies(world, path, body, status, param):
    reply = world.ask(world.other, "POST", path, {"json": body})
    unknown = world.ask(world.other, "POST", path, {"json": body}, world.made_up)
    assert (reply.status_code, reply.json()["error"]["param"]) == (status, param)
    assert world.told(reply) == world.told(unknown)


def test_a_batch_asks_no_model_of_others(world):
    def errors(model):
        body = {"model": model, "messages": ASKED}
        line = {"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": body}
        content = {"file": ("b.jsonl", json.dumps(line).encode()), "purpose": (None, "batch")}
        file_id = world.other.post("/v1/files", files=content).json()["id"]
        batch_id = answered(world, file_id, Authorization=world.other.headers["authorization"])
        batch = world.other.get(f"/v1/batches/{batch_id}").json()
        assert batch["request_counts"] == {"total": 1, "completed": 0, "failed": 1}
        told = world.other.get(f"/v1/files/{batch['error_file_id']}/content").json()
        return told["response"]["status_code"], told["response"]["body"]

    status, body = errors(world["model"])
    assert (status, body["error"]["code"]) == (404, "model_not_found")
    made_up = json.dumps(errors(world.made_up("model"))[1])
    assert made_up.replace(world.made_up("model"), world["model"]) == json.dumps(body)


# --- names that would like to be paths ------------------------------------------------------------

HOSTILE = [
    "..", ".", "../..", "../../secret.jsonl", "..%2F..%2Fsecret.jsonl", "%2e%2e/x.jsonl",
    "%2e%2e%2f%2e%2e%2fsecret.jsonl", "%252e%252e%252fsecret.jsonl", "..%5C..%5Csecret.jsonl",
    "%2Fetc%2Fpasswd", "//etc/passwd", "%00", "..%00", "file-x%00.jsonl", "%FF%FE", "%0d%0ax:%20y",
    "%F0%9F%98%80", "*", "%25", "'%20OR%20'1'='1", "x" * 5000, "%2e%2e%2f" * 1000,
]  # fmt: skip


def kept(outside):
    """All around the data folder, and inside it the contents of files and the models."""
    places = outside, outside / "data" / "blobs", outside / "data" / "models"
    return {path for place in places for path in place.iterdir()}


@pytest.fixture
def untouched(world, outside):
    """What is there stays, and nothing comes."""
    world.make_all()
    before = kept(outside)
    yield
    assert kept(outside) == before


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: name[:30])
def test_ids_in_paths_reach_nothing_else(world, untouched, name):
    split = urlsplit(world.server.url)
    connection = HTTPConnection(split.hostname, split.port, timeout=10)
    headers = {"authorization": world.server.http.headers["authorization"]}
    wrong = {}
    for method, template, body in world.templates():
        content = json.dumps(body.get("json", {})).encode() if body else None
        connection.request(method, re.sub(PLACE, name, template), content, headers)
        reply = connection.getresponse()
        error = json.loads(reply.read())["error"]
        if reply.status not in (400, 404) or error["type"] != "invalid_request_error":
            wrong[method, template] = reply.status, error
    connection.close()
    assert wrong == {}


@pytest.mark.parametrize("name", [unquote(name) for name in HOSTILE], ids=lambda name: name[:30])
def test_names_in_bodies_reach_nothing_else(world, untouched, name):
    post = world.server.http.post
    job = {"model": "minilm-l6", "training_file": world["file_id"]}
    refused = [
        post("/fine_tuning/jobs", json={**job, "training_file": name}),
        post("/fine_tuning/jobs", json={**job, "validation_file": name}),
        post("/fine_tuning/jobs", json={**job, "model": name}),
        post("/chat/completions", json={"model": name, "messages": ASKED}),
        post("/embeddings", json={"model": name, "input": "x"}),
        post("/responses", json={"model": name, "input": "x"}),
        post("/completions", json={"model": name, "prompt": "x"}),
        post(f"/uploads/{world['upload_id']}/complete", json={"part_ids": [name]}),
    ]
    for reply in refused:
        assert reply.status_code in (400, 404), reply.text
        assert reply.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("name", [unquote(name) for name in HOSTILE], ids=lambda name: name[:30])
def test_names_of_files_are_names_only(world, outside, name):
    world.make_all()
    before, new = kept(outside), set()
    for written in (name, f"{name}.jsonl", f"C:\\{name}\\x.jsonl"):
        content = {"file": (written, b"{}"), "purpose": (None, "evals")}
        file = world.server.http.post("/files", files=content)
        asked = {"filename": written, "purpose": "evals", "bytes": 2, "mime_type": "text/plain"}
        upload = world.server.http.post("/uploads", json=asked)
        for reply in (file, upload):
            assert reply.status_code in (200, 400), reply.text
            filename = reply.json().get("filename", "as it was")
            assert not set(filename) & set("/\\\0\r\n")
            assert 1 <= len(filename) <= 255
        if file.status_code == 200:
            made = file.json()["id"]
            assert world.server.http.get(f"/files/{made}/content").content == b"{}"
            new.add(outside / "data" / "blobs" / made)
    assert kept(outside) == before | new


def test_text_that_is_no_text_is_refused(world):
    for path, body in (("/fine_tuning/jobs", b'{"model": "\\ud800"}'), ("/files", b"\xff")):
        reply = world.server.http.post(path, content=body)
        assert (reply.status_code, "error" in reply.json()) == (400, True)


def test_a_suffix_is_no_path(world, outside):
    job = world.server.tuned(suffix="../../\n/x")
    assert re.fullmatch(r"ft:minilm-l6:acme:[a-z0-9_-]+:\w+", job.fine_tuned_model)
    row = world.server.store.models.get(job.fine_tuned_model)
    assert (world.server.settings.models_dir / row.folder).resolve().parent == (
        outside / "data" / "models"
    ).resolve()
