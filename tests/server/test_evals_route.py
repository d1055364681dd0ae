"""/v1/evals through the OpenAI SDK: evals, their runs, and what comes of every item."""

import json
import re
import time
from concurrent.futures import Future
from types import SimpleNamespace

import openai
import pytest

from tunesmith.errors import ProviderError, StorageError
from tunesmith.metrics.graders.similarity import METRICS
from tunesmith.server.evals import runner as eval_runner
from tunesmith.server.evals import sources
from tunesmith.server.evals.criteria import Likeness
from tunesmith.store.eval_runs import EvalRuns
from tunesmith.wire import MOST_ITEMS

SCHEMA = {
    "type": "object",
    "properties": {"text": {"type": "string"}, "label": {"type": "string"}},
    "required": ["text"],
}
CUSTOM = {"type": "custom", "item_schema": SCHEMA, "include_sample_schema": True}
SAME = {
    "type": "string_check",
    "name": "Same label",
    "operation": "eq",
    "input": "{{ sample.output_text }}",
    "reference": "{{ item.label }}",
}
ASK = {
    "type": "template",
    "template": [
        {"role": "developer", "content": "Sort it."},
        {"role": "user", "content": {"type": "input_text", "text": "{{ item.text }}"}},
    ],
}
NO_TOKENS = dict.fromkeys(
    ("prompt_tokens", "completion_tokens", "total_tokens", "cached_tokens"), 0
)


@pytest.fixture(scope="module", autouse=True)
def quick_evals():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(eval_runner, "POLL_SECONDS", 0.02)
        patch.setattr(eval_runner, "WRITE_SECONDS", 0.05)
        patch.setattr(eval_runner, "PAUSE_SECONDS", 0.1)
        patch.setattr(eval_runner, "STOP_SECONDS", 0.2)
        patch.setattr(eval_runner, "RETRY_PAUSES", (0.01, 0.01))
        yield


@pytest.fixture
def idle(start):
    """A server on which nobody works."""
    return start(worker=False)


@pytest.fixture(scope="module")
def labels(shared):
    """A model that answers `größer`."""
    return shared.tuned().fine_tuned_model


@pytest.fixture(scope="module")
def writer(shared):
    """A model that writes what `shared.writers.text` says."""
    return shared.causal()


@pytest.fixture
def says(shared, monkeypatch):
    return lambda text: monkeypatch.setattr(shared.writers, "text", text)


def an_eval(server, *criteria, config=CUSTOM, **asked):
    return server.client.evals.create(
        data_source_config=config, testing_criteria=list(criteria or [SAME]), **asked
    )


def content(*entries):
    made = [entry if "item" in entry else {"item": entry} for entry in entries]
    return {"type": "file_content", "content": made}


def jsonl(*entries):
    return {"type": "jsonl", "source": content(*entries)}


def asking(model, *entries, **more):
    return {
        "type": "completions",
        "model": model,
        "source": content(*entries),
        "input_messages": ASK,
        **more,
    }


def a_run(server, about, data_source, **asked):
    return server.client.evals.runs.create(about.id, data_source=data_source, **asked)


def wait(server, run, until="completed"):
    """The run, once it is in that state or fulfils the condition."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        run = server.client.evals.runs.retrieve(run.id, eval_id=run.eval_id)
        if run.status == until or (callable(until) and until(run)):
            return run
        time.sleep(0.02)
    raise AssertionError(run)


def ran(server, about, data_source):
    """A run that is completed, and its items."""
    run = wait(server, a_run(server, about, data_source))
    return run, items(server, run)


def items(server, run, **asked):
    listed = server.client.evals.runs.output_items.list(run.id, eval_id=run.eval_id, **asked)
    return [item.to_dict() for item in listed]


def counts(run):
    found = run.result_counts
    return found.total, found.passed, found.failed, found.errored


def wait_for(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def texts(n, label="größer"):
    return [{"text": f"text {i}", "label": label} for i in range(n)]


class Gate:
    """A pool that answers the first texts and lets the others wait until it is opened."""

    def __init__(self, pool, *, first):
        self._pool, self._first = pool, first
        self._submit = pool.submit
        self.waiting = []
        pool.submit = self.submit

    def submit(self, model, folder, text):
        if len(self._pool.asked) < self._first:
            return self._submit(model, folder, text)
        self.waiting.append((model, folder, text, Future()))
        return self.waiting[-1][-1]

    def open(self):
        self._pool.submit = self._submit
        for *asked, future in self.waiting:
            if not future.cancelled():
                future.set_result(self._submit(*asked).result())


# --- evals ----------------------------------------------------------------------------------------


def test_a_new_eval_has_every_key_of_openais(idle):
    reply = idle.http.post(
        "/evals",
        json={
            "name": "sorting",
            "metadata": {"team": "a"},
            "data_source_config": CUSTOM,
            "testing_criteria": [SAME],
        },
    )
    assert reply.status_code == 201
    made = reply.json()
    assert set(made) == {
        "id", "object", "name", "created_at", "data_source_config", "testing_criteria", "metadata",
    }  # fmt: skip
    assert made["id"].startswith("eval_")
    assert (made["object"], made["name"], made["metadata"]) == ("eval", "sorting", {"team": "a"})
    config = made["data_source_config"]
    assert set(config) == {"type", "schema"}
    assert config["schema"]["properties"]["item"] == SCHEMA
    assert config["schema"]["required"] == ["item", "sample"]
    (criterion,) = made["testing_criteria"]
    assert criterion["id"].startswith("Same label-")
    assert criterion == {**SAME, "id": criterion["id"]}
    assert idle.client.evals.retrieve(made["id"]).to_dict() == made


@pytest.mark.parametrize("kind", ["logs", "stored_completions"])
def test_a_configuration_for_logs(shared, kind):
    made = an_eval(shared, config={"type": kind, "metadata": {"use": "sorting"}}).to_dict()
    config = made["data_source_config"]
    assert (config["type"], config["metadata"]) == (kind, {"use": "sorting"})
    assert config["schema"]["required"] == ["item", "sample"]


def test_evals_are_renamed_listed_and_deleted(idle):
    evals = idle.client.evals
    page = idle.http.get("/evals").json()
    assert page == {
        "object": "list", "data": [], "has_more": False, "first_id": None, "last_id": None
    }  # fmt: skip
    ids = [an_eval(idle, name=str(n)).id for n in range(5)]
    assert [one.id for one in evals.list(limit=2)] == ids
    assert [one.id for one in evals.list(limit=2, order="desc")] == ids[::-1]
    time.sleep(1.1)
    changed = evals.update(ids[1], name="new", metadata={"a": "b"})
    assert (changed.name, changed.metadata, changed.id) == ("new", {"a": "b"}, ids[1])
    assert evals.update(ids[1], name="newer").metadata == {"a": "b"}
    by_update = [ids[0], *ids[2:], ids[1]]
    assert [one.id for one in evals.list(limit=2, order_by="updated_at")] == by_update
    newest_first = evals.list(limit=2, order_by="updated_at", order="desc")
    assert [one.id for one in newest_first] == by_update[::-1]
    assert [one.id for one in evals.list(limit=2)] == ids
    run = a_run(idle, changed, jsonl({"text": "a", "label": "b"}))
    gone = evals.delete(ids[1])
    assert gone.to_dict() == {"object": "eval.deleted", "deleted": True, "eval_id": ids[1]}
    for call in (
        lambda: evals.retrieve(ids[1]),
        lambda: evals.update(ids[1], name="x"),
        lambda: evals.delete(ids[1]),
        lambda: evals.runs.list(ids[1]),
        lambda: a_run(idle, changed, jsonl({"text": "a"})),
    ):
        with pytest.raises(openai.NotFoundError, match=f"No eval found with id '{ids[1]}'"):
            call()
    assert idle.store.eval_runs.get(run.id) is None
    for params in ({"after": ids[1]}, {"limit": 101}, {"limit": 0}, {"order_by": "name"}):
        assert idle.http.get("/evals", params=params).status_code == 400
    params = {"after": ids[1], "order_by": "updated_at"}
    assert idle.http.get("/evals", params=params).status_code == 400


JUDGE = {"type": "label_model", "name": "j", "model": "m", "labels": ["a"], "passing_labels": ["a"]}
NEAR = {"type": "text_similarity", "name": "n", "evaluation_metric": "bleu", "input": "a"}
SCORE = {"type": "score_model", "name": "s", "model": "m"}
USER = [{"role": "user", "content": "{{ sample.output_text }}"}]


@pytest.mark.parametrize(
    ("changes", "param", "words"),
    [
        ({"testing_criteria": []}, "testing_criteria", "at least 1"),
        ({"testing_criteria": [{"name": "x"}]}, "testing_criteria[0].type", "Missing required"),
        ({"testing_criteria": [SAME, {**SAME, "operation": "is"}]}, "testing_criteria[1].operation",
         "'ilike'"),
        ({"testing_criteria": [{**SAME, "input": "{{ x.y }}"}]}, "testing_criteria[0]", "'x.y'"),
        ({"testing_criteria": [{"type": "python", "name": "p", "source": "x"}]},
         "testing_criteria[0].type", "no code that comes in a request is ever run"),
        ({"testing_criteria": [{"type": "multi", "name": "p"}]}, "testing_criteria[0].type",
         "Use string_check, text_similarity, label_model, score_model."),
        ({"testing_criteria": [{**NEAR, "reference": "b"}]}, "testing_criteria[0].pass_threshold",
         "Missing required"),
        ({"testing_criteria": [{**JUDGE, "input": USER, "passing_labels": ["b"]}]},
         "testing_criteria[0]", "all in 'labels'"),
        ({"testing_criteria": [{**SCORE, "input": USER, "range": [2, 1]}]}, "testing_criteria[0]",
         "lower number first"),
        ({"testing_criteria": [{**SCORE, "input": [{"role": "user", "content": [
            {"type": "input_image", "image_url": "x"}]}]}]}, "testing_criteria[0]", "input_image"),
        ({"data_source_config": {"type": "csv"}}, "data_source_config", "'custom', 'logs'"),
        ({"data_source_config": {"type": "custom"}}, "data_source_config.item_schema", "Missing"),
        ({"data_source_config": {"type": "custom", "item_schema": {"properties": 1}}},
         "data_source_config.item_schema", "'properties' is 1"),
        ({"metadata": {"k": "x" * 513}}, "metadata", "512"),
        ({"share": True}, "share", "Unrecognized request argument"),
    ],
)  # fmt: skip
def test_evals_that_cannot_be_are_refused_by_name(shared, changes, param, words):
    asked = {"data_source_config": CUSTOM, "testing_criteria": [SAME], **changes}
    reply = shared.http.post("/evals", json=asked)
    error = reply.json()["error"]
    assert reply.status_code == 400
    assert error["param"].startswith(param)
    assert words in error["message"]


def test_a_judge_must_be_there(shared, labels):
    with pytest.raises(openai.NotFoundError) as caught:
        an_eval(shared, {**JUDGE, "model": "gpt-4o", "input": USER})
    assert caught.value.code == "model_not_found"
    assert an_eval(shared, {**JUDGE, "model": labels, "input": USER})


def test_the_metrics_are_those_of_graders_and_one_more(shared):
    offered = Likeness.model_fields["evaluation_metric"].annotation.__args__
    assert set(offered) == {*METRICS, "cosine"}


# --- runs -----------------------------------------------------------------------------------------


def test_a_new_run_has_every_key_of_openais(idle):
    about = an_eval(idle)
    body = {"name": "first", "metadata": {"a": "b"}, "data_source": jsonl({"text": "a"})}
    reply = idle.http.post(f"/evals/{about.id}/runs", json=body)
    assert reply.status_code == 201
    run = reply.json()
    assert run["id"].startswith("evalrun_")
    url = run.pop("report_url")
    assert run == {
        "id": run["id"],
        "object": "eval.run",
        "eval_id": about.id,
        "name": "first",
        "model": "",
        "created_at": run["created_at"],
        "status": "queued",
        "result_counts": {"total": 0, "errored": 0, "failed": 0, "passed": 0},
        "per_model_usage": [],
        "per_testing_criteria_results": [
            {"testing_criteria": about.testing_criteria[0].id, "passed": 0, "failed": 0}
        ],
        "data_source": body["data_source"],
        "metadata": {"a": "b"},
        "error": None,
        "tunesmith": {"items": 0},
    }
    assert idle.http.get(url).json() == {**run, "report_url": url}


def test_a_model_is_asked_and_its_answers_tested(shared, labels):
    about = an_eval(shared)
    entries = [{"text": "one", "label": "größer"}, {"text": "two", "label": "refund"}]
    run, found = ran(shared, about, asking(labels, *entries))
    assert run.model == labels
    assert counts(run) == (2, 1, 1, 0)
    assert run.to_dict()["tunesmith"] == {"items": 2}
    name = about.testing_criteria[0].id
    (criterion,) = run.per_testing_criteria_results
    assert criterion.to_dict() == {"testing_criteria": name, "passed": 1, "failed": 1}
    (usage,) = run.to_dict()["per_model_usage"]
    assert usage == {
        "model_name": labels,
        "invocation_count": 2,
        "prompt_tokens": 10,
        "completion_tokens": 2,
        "total_tokens": 12,
        "cached_tokens": 0,
    }
    first, second = found
    assert first["id"].startswith("outputitem_")
    assert first == {
        "id": first["id"],
        "object": "eval.run.output_item",
        "run_id": run.id,
        "eval_id": about.id,
        "created_at": first["created_at"],
        "status": "pass",
        "datasource_item_id": 0,
        "datasource_item": entries[0],
        "results": [
            {
                "name": name,
                "type": "string-check-grader",
                "score": 1.0,
                "passed": True,
                "sample": None,
            }
        ],
        "sample": {
            "input": [
                {"role": "developer", "content": "Sort it."},
                {"role": "user", "content": "one"},
            ],
            "output": [{"role": "assistant", "content": "größer"}],
            "finish_reason": "stop",
            "model": labels,
            "usage": {**NO_TOKENS, "prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6},
            "error": None,
            "temperature": 1.0,
            "max_completion_tokens": 2048,
            "top_p": 1.0,
            "seed": 42,
        },
    }
    assert (second["status"], second["datasource_item_id"]) == ("fail", 1)
    assert (second["results"][0]["score"], second["results"][0]["passed"]) == (0.0, False)
    about_run = {"eval_id": about.id, "run_id": run.id}
    got = shared.client.evals.runs.output_items.retrieve(first["id"], **about_run)
    assert got.to_dict() == first


def test_sampling_parameters_reach_the_model(shared, writer, says):
    says('{"topic": "refund"}')
    schema = {"type": "object", "properties": {"topic": {"type": "string"}}}
    form = {"type": "json_schema", "json_schema": {"name": "t", "schema": schema}}
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    sampling = {"temperature": 0.5, "seed": 7, "max_completion_tokens": 9, "top_p": 0.5}
    deep = {**SAME, "input": "{{ sample.output_json.topic }}"}
    source = asking(
        writer,
        {"text": "a", "label": "refund"},
        sampling_params={**sampling, "response_format": form, "tools": [tool]},
    )
    run, (item,) = ran(shared, an_eval(shared, deep), source)
    assert item["status"] == "pass"
    assert {name: item["sample"][name] for name in sampling} == sampling
    asked = shared.writers.asked[-1]
    assert (asked.most, asked.drawing.seed, asked.drawing.temperature) == (9, 7, 0.5)
    assert asked.schema == schema
    assert asked.tools == [tool]
    assert run.data_source.to_dict() == source


def test_messages_come_from_the_item_where_it_has_them(shared, labels):
    entries = [
        {"text": "", "label": "größer", "talk": [{"role": "user", "content": "deep"}]},
        {"text": "", "label": "größer", "talk": "a text"},
        {"text": "", "label": "größer"},
    ]
    asked = {"type": "item_reference", "item_reference": "item.talk"}
    run, found = ran(shared, an_eval(shared), asking(labels, *entries, input_messages=asked))
    assert counts(run) == (3, 2, 0, 1)
    said = [[one["content"] for one in item["sample"]["input"]] for item in found]
    assert said == [["deep"], ["a text"], []]
    assert "no messages at 'item.talk'" in found[2]["sample"]["error"]["message"]


def test_responses_are_asked_too(shared, labels, writer, says):
    says("refund")
    source = asking(
        writer,
        {"text": "where", "label": "refund"},
        type="responses",
        sampling_params={"max_completion_tokens": 5, "temperature": 0, "text": {}},
    )
    run, (item,) = ran(shared, an_eval(shared), source)
    assert (item["status"], item["sample"]["finish_reason"]) == ("pass", "stop")
    assert item["sample"]["usage"]["prompt_tokens"] == 3
    assert shared.writers.asked[-1].most == 5
    assert run.per_model_usage[0].invocation_count == 1
    with pytest.raises(openai.NotFoundError):  # they are not stored
        shared.client.responses.retrieve(item["id"])


def test_samples_may_come_with_the_items(shared):
    chat = {"choices": [{"message": {"role": "assistant", "content": "b"}}], "model": "other"}
    odd = [{"choices": [1]}, {"choices": [{"message": 7}]}, {"output_text": None}, {"output": 1}]
    entries = [
        {"item": {"text": "x", "label": "a"}, "sample": {"output_text": "a"}},
        {"item": {"text": "x", "label": "b"}, "sample": chat},
        *({"item": {"text": "x", "label": ""}, "sample": sample} for sample in odd),
        {"item": {"text": "x", "label": "a"}},
    ]
    run, found = ran(shared, an_eval(shared), jsonl(*entries))
    assert [item["status"] for item in found[:2]] == ["pass", "pass"]
    assert found[1]["sample"]["model"] == "other"
    assert found[1]["sample"]["output"] == [{"role": "assistant", "content": "b"}]
    assert found[1]["sample"]["usage"] == NO_TOKENS
    assert {item["status"] for item in found[2:6]} <= {"pass", "fail"}
    assert found[6]["status"] == "error"
    assert "There is no sample" in found[6]["results"][0]["tunesmith"]["failures"][0]
    assert run.per_model_usage == []


def test_items_alone_can_be_compared(shared):
    check = {**SAME, "input": "{{ item.text }}", "operation": "ilike"}
    config = {"type": "custom", "item_schema": SCHEMA}
    about = an_eval(shared, check, config=config)
    assert about.to_dict()["data_source_config"]["schema"]["required"] == ["item"]
    run, found = ran(shared, about, jsonl({"text": "A Cat", "label": "cat"}))
    assert counts(run) == (1, 1, 0, 0)
    assert (found[0]["sample"]["output"], found[0]["sample"]["error"]) == ([], None)


def test_a_file_is_read_and_may_be_deleted_then(shared, labels):
    lines = [json.dumps({"item": item}) for item in texts(1200)]
    file = ("items.jsonl", ("\n".join([*lines, "", " "]) + "\n").encode())
    file_id = shared.client.files.create(file=file, purpose="evals").id
    source = {**asking(labels), "source": {"type": "file_id", "id": file_id}}
    run = wait(shared, a_run(shared, an_eval(shared), source), lambda run: run.status != "queued")
    shared.client.files.delete(file_id)
    run = wait(shared, run)
    assert counts(run) == (1200, 1200, 0, 0)
    found = items(shared, run, limit=100)
    assert [item["datasource_item_id"] for item in found] == list(range(1200))
    assert [item["sample"]["input"][1]["content"] for item in found][:2] == ["text 0", "text 1"]


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ('{"item": {}}\n{', "invalid_jsonl_line", 'Line 2 of file-.*{"item": {...}}'),
        ('{"text": "a"}', "invalid_jsonl_line", "Line 1"),
        ('{"item": [1]}', "invalid_jsonl_line", "Line 1"),
        ("\n \n", "empty_data_source", "no items"),
    ],
)
def test_a_bad_file_fails_the_run(shared, text, code, words):
    file = ("items.jsonl", text.encode())
    file_id = shared.client.files.create(file=file, purpose="evals").id
    source = {"type": "jsonl", "source": {"type": "file_id", "id": file_id}}
    run = wait(shared, a_run(shared, an_eval(shared), source), "failed")
    assert run.error.code == code
    assert re.search(words, run.error.message)
    assert (counts(run), items(shared, run)) == ((0, 0, 0, 0), [])


def test_a_run_has_so_many_items(shared, monkeypatch):
    monkeypatch.setattr(sources.wire, "MOST_ITEMS", 3)
    run = a_run(shared, an_eval(shared), jsonl(*texts(4)))
    run = wait(shared, run, "failed")
    assert (run.error.code, "more than 3 items" in run.error.message) == ("too_many_items", True)
    assert MOST_ITEMS == 50_000


def test_a_file_that_is_deleted_before_it_is_read(idle, start):
    file = ("items.jsonl", b'{"item": {"text": "a"}}')
    file_id = idle.client.files.create(file=file, purpose="evals").id
    source = {"type": "jsonl", "source": {"type": "file_id", "id": file_id}}
    run = a_run(idle, an_eval(idle), source)
    idle.client.files.delete(file_id)
    run = wait(start(), run, "failed")
    assert (run.error.code, file_id in run.error.message) == ("deleted_input_file", True)


def test_items_that_do_not_fit_or_are_refused_are_errors_and_the_others_go_on(shared, labels):
    entries = [{"text": 7}, {"label": "größer"}, {"text": " "}, {"text": "a"}, *texts(2)]
    alone = {"type": "template", "template": ASK["template"][1:]}
    source = asking(labels, *entries, input_messages=alone)
    run, found = ran(shared, an_eval(shared), source)
    assert counts(run) == (6, 2, 0, 4)
    assert [item["status"] for item in found] == ["error"] * 4 + ["pass"] * 2
    errors = [item["sample"]["error"] for item in found]
    assert [error and error["code"] for error in errors[:2]] == ["invalid_item"] * 2
    assert "item_schema" in errors[0]["message"]
    assert errors[2]["message"] == "There is no text to classify."
    assert found[2]["sample"]["output"] == found[2]["results"] == []
    assert "'item.label' is missing" in found[3]["results"][0]["tunesmith"]["failures"][0]
    by_state = {
        state: len(items(shared, run, extra_query={"status": state}))
        for state in ("pass", "fail", "error")
    }
    assert by_state == {"pass": 2, "fail": 0, "error": 4}
    assert run.per_testing_criteria_results[0].passed == 2
    assert run.per_testing_criteria_results[0].failed == 1  # the one that was answered


def test_an_answer_that_is_not_what_the_test_wants_has_failed_it(shared):
    deep = {**SAME, "input": "{{ sample.output_json.topic }}"}
    entries = [
        {"item": {"text": "", "label": "a"}, "sample": {"output_text": text}}
        for text in ("no JSON", '{"other": 1}', '{"topic": "a"}')
    ]
    run, found = ran(shared, an_eval(shared, deep), jsonl(*entries))
    assert [item["status"] for item in found] == ["fail", "fail", "pass"]
    assert "not JSON" in found[0]["results"][0]["tunesmith"]["failures"][0]


def test_a_failure_of_the_servers_is_tried_again(shared, labels, monkeypatch):
    failures, submit = iter([ProviderError("died"), ProviderError("died")]), shared.pool.submit

    def breaks(*asked):
        shared.pool.error = next(failures, None)
        return submit(*asked)

    monkeypatch.setattr(shared.pool, "submit", breaks)
    run, _ = ran(shared, an_eval(shared), asking(labels, *texts(1)))
    assert counts(run) == (1, 1, 0, 0)
    failures = iter([ProviderError("died")] * 3)
    run, (item,) = ran(shared, an_eval(shared), asking(labels, *texts(1)))
    assert (counts(run), item["sample"]["error"]["code"]) == ((1, 0, 0, 1), "server_error")
    shared.pool.error = None


# --- the other criteria ---------------------------------------------------------------------------


def test_texts_are_compared_by_likeness(shared):
    near = {
        "type": "text_similarity",
        "name": "near",
        "input": "{{ sample.output_text }}",
        "reference": "{{ item.label }}",
    }
    criteria = [
        {**near, "evaluation_metric": "fuzzy_match", "pass_threshold": 0.8},
        {**near, "evaluation_metric": "rouge_l", "pass_threshold": 0.99},
        {**near, "evaluation_metric": "cosine", "pass_threshold": 0.5},
    ]
    said = {"item": {"text": "", "label": "a big cat"}, "sample": {"output_text": "a big bat"}}
    about = an_eval(shared, *criteria)
    run, (item,) = ran(shared, about, jsonl(said))
    scores = [result["score"] for result in item["results"]]
    assert scores == pytest.approx([8 / 9, 2 / 3, 1.0], abs=1e-6)
    assert [result["passed"] for result in item["results"]] == [True, False, True]
    assert {result["type"] for result in item["results"]} == {"text-similarity-grader"}
    assert item["status"] == "fail"
    ids = [criterion.id for criterion in about.testing_criteria]
    assert len(set(ids)) == 3
    found = [(one.testing_criteria, one.passed) for one in run.per_testing_criteria_results]
    assert found == list(zip(ids, [1, 0, 1], strict=True))


def test_texts_that_are_too_long_are_errors(shared):
    near = {**NEAR, "input": "{{ item.text }}", "reference": "b", "pass_threshold": 0.5}
    run, (item,) = ran(shared, an_eval(shared, near), jsonl({"text": "a" * 30_001}))
    assert (item["status"], item["results"][0]["score"]) == ("error", 0)
    assert "30,001 characters" in item["results"][0]["tunesmith"]["failures"][0]


def test_a_model_labels_answers(shared, writer, says):
    judge = {
        **JUDGE,
        "model": writer,
        "labels": ["good", "bad"],
        "passing_labels": ["good"],
        "input": [
            {"role": "system", "content": "Judge."},
            {"role": "user", "content": "{{ item.label }}: {{ sample.output_text }}"},
        ],
    }
    said = {"item": {"text": "", "label": "L"}, "sample": {"output_text": "S"}}
    about = an_eval(shared, judge)
    statuses = {}
    for text in ('{"result": "good"}', '{"result": "bad"}', "good", '{"result": "so so"}'):
        says(text)
        run, (item,) = ran(shared, about, jsonl(said))
        statuses[text] = item["status"]
    assert list(statuses.values()) == ["pass", "fail", "error", "error"]
    (result,) = item["results"]
    assert result["type"] == "label-model-grader"
    assert result["sample"]["input"][1] == {"role": "user", "content": "L: S"}
    assert result["sample"]["model"] == writer
    assert "cannot be read" in result["tunesmith"]["failures"][0]
    asked = shared.writers.asked[-1]
    assert asked.schema["properties"]["result"]["enum"] == ["good", "bad"]
    assert asked.drawing.temperature == 0
    assert run.per_model_usage[0].run_model_name == writer
    assert run.per_model_usage[0].invocation_count == 1


def test_a_classifier_labels_answers_too(shared, labels):
    judge = {**JUDGE, "model": labels, "input": USER}
    said = {"item": {"text": ""}, "sample": {"output_text": "S"}}
    offered = {"labels": ["größer", "refund"], "passing_labels": ["größer"]}
    run, (item,) = ran(shared, an_eval(shared, {**judge, **offered}), jsonl(said))
    assert (item["status"], item["results"][0]["score"]) == ("pass", 1.0)
    offered = {"labels": ["yes", "no"], "passing_labels": ["yes"]}
    run, (item,) = ran(shared, an_eval(shared, {**judge, **offered}), jsonl(said))
    assert item["status"] == "error"
    assert "none of them fits" in item["results"][0]["tunesmith"]["failures"][0]


def test_a_model_scores_answers(shared, writer, says):
    score = {**SCORE, "model": writer, "input": USER, "range": [1, 5]}
    score["sampling_params"] = {"seed": 3, "max_completions_tokens": 11, "temperature": None}
    about = an_eval(shared, {**score, "pass_threshold": 4}, score)
    said = {"item": {"text": ""}, "sample": {"output_text": "S"}}
    found = {}
    for value in ("4", "3.5", "9", "-1", "true", '"4"'):
        says(f'{{"result": {value}}}')
        _, (item,) = ran(shared, about, jsonl(said))
        scores = {(result["score"], result["passed"]) for result in item["results"]}
        found[value] = (item["status"], sorted(scores))
    assert found == {
        "4": ("pass", [(4, True)]),
        "3.5": ("fail", [(3.5, False), (3.5, True)]),  # without a threshold: the middle
        "9": ("pass", [(5, True)]),
        "-1": ("fail", [(1, False)]),
        "true": ("error", [(0, False)]),
        '"4"': ("error", [(0, False)]),
    }
    asked = shared.writers.asked[-1]
    assert (asked.most, asked.drawing.seed, asked.drawing.temperature) == (11, 3, 0)
    sample = item["results"][0]["sample"]
    assert (sample["max_completion_tokens"], sample["seed"], sample["temperature"]) == (11, 3, 0)


# --- what is stored -------------------------------------------------------------------------------


def test_stored_completions_are_tested_and_asked_again(server):
    model = server.tuned().fine_tuned_model
    ask = {"model": model, "store": True}
    for n in range(3):
        server.client.chat.completions.create(
            **ask,
            messages=[{"role": "user", "content": f"text {n}"}],
            metadata={"use": "sorting", "version": "2" if n else "1"},
        )
    other = [{"role": "user", "content": "other"}]
    server.client.chat.completions.create(**ask, messages=other, metadata={"use": "else"})
    same = {**SAME, "reference": "größer"}
    about = an_eval(server, same, config={"type": "logs", "metadata": {"use": "sorting"}})
    stored = {"type": "stored_completions"}
    source = {"type": "completions", "source": stored}
    asked_before = len(server.pool.asked)
    run, found = ran(server, about, source)
    assert counts(run) == (3, 3, 0, 0)
    assert len(server.pool.asked) == asked_before
    inputs = [item["datasource_item"]["input"][0]["content"] for item in found]
    assert inputs == ["text 2", "text 1", "text 0"]
    assert found[0]["sample"]["input"] == [{"role": "user", "content": "text 2"}]
    assert found[0]["datasource_item"]["metadata"] == {"use": "sorting", "version": "2"}
    for wanted, total in (
        ({"metadata": {"version": "2"}}, 2),
        ({"limit": 1}, 1),
        ({"model": model, "created_after": 1}, 3),
    ):
        run, _ = ran(server, about, {**source, "source": {**stored, **wanted}})
        assert counts(run)[0] == total
    for wanted in ({"model": "other"}, {"created_before": 1}):
        run = a_run(server, about, {**source, "source": {**stored, **wanted}})
        assert wait(server, run, "failed").error.code == "empty_data_source"
    run, found = ran(server, about, {**source, "model": model})
    assert len(server.pool.asked) == asked_before + 3
    assert run.per_model_usage[0].invocation_count == 3
    assert found[2]["sample"]["input"] == [{"role": "user", "content": "text 0"}]
    again = {"type": "item_reference", "item_reference": "item.input"}
    run, _ = ran(server, about, {**source, "model": model, "input_messages": again})
    assert counts(run) == (3, 3, 0, 0)


def test_stored_responses_are_tested_and_asked_again(server):
    model = server.tuned().fine_tuned_model
    for n in range(2):
        server.client.responses.create(
            model=model, input=f"text {n}", instructions=f"Number {n}.", metadata={"n": str(n)}
        )
    about = an_eval(server, {**SAME, "reference": "größer"}, config={"type": "logs"})
    stored = {"type": "responses"}
    source = {"type": "responses", "source": stored}
    run, found = ran(server, about, source)
    assert counts(run) == (2, 2, 0, 0)
    assert [item["datasource_item"]["instructions"] for item in found] == ["Number 1.", "Number 0."]
    for wanted in ({"metadata": {"n": "1"}}, {"instructions_search": "ber 1"}):
        _, (item,) = ran(server, about, {**source, "source": {**stored, **wanted}})
        assert item["datasource_item"]["metadata"] == {"n": "1"}
    run = a_run(server, about, {**source, "source": {**stored, "temperature": 0.123}})
    assert wait(server, run, "failed").error.code == "empty_data_source"
    _, found = ran(server, about, {**source, "model": model})
    assert [item["status"] for item in found] == ["pass", "pass"]
    assert server.pool.asked[-1][2]


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "param", "words"),
    [
        ({"type": "csv"}, "data_source", "'jsonl', 'completions', 'responses'"),
        ({"type": "jsonl"}, "data_source.source", "Missing required"),
        (jsonl(), "data_source.source.content", "at least 1"),
        ({"type": "jsonl", "source": {"type": "file_id", "id": "file-x"}},
         "data_source.source.id", "invalid file id: file-x"),
        ({"type": "jsonl", "source": {"type": "stored_completions"}}, "data_source.source",
         "'file_content', 'file_id'"),
        ({"type": "completions", "source": content({}), "model": "m"},
         "data_source.input_messages", "Missing required"),
        ({"type": "completions", "source": content({}), "input_messages": ASK},
         "data_source.model", "Missing required"),
        (asking("m", {}, input_messages={"type": "template", "template": USER}),
         "data_source.input_messages.template[0].content", "not known before the model"),
        (asking("m", {}, input_messages={"type": "item_reference", "item_reference": "x"}),
         "data_source.input_messages.item_reference", "no variable"),
        (asking("m", {}, sampling_params={"temperature": 3}),
         "data_source.sampling_params.temperature", "less than or equal to 2"),
    ],
)  # fmt: skip
def test_runs_that_cannot_be_are_refused_by_name(shared, source, param, words):
    reply = shared.http.post(f"/evals/{an_eval(shared).id}/runs", json={"data_source": source})
    error = reply.json()["error"]
    assert reply.status_code == 400, error
    assert error["param"] == param
    assert words in error["message"]


def test_models_and_files_of_runs_must_be_there(shared, labels):
    about = an_eval(shared)
    with pytest.raises(openai.NotFoundError) as caught:
        a_run(shared, about, asking("gpt-4o", *texts(1)))
    assert caught.value.code == "model_not_found"
    source = {"type": "file_id", "id": shared.upload()}
    with pytest.raises(openai.BadRequestError, match="has the purpose 'fine-tune'"):
        a_run(shared, about, {"type": "jsonl", "source": source})


def test_explicit_nulls_mean_nothing_but_in_items(shared):
    about = an_eval(shared, {**SAME, "input": "{{ item.label }}", "reference": "null"})
    body = {"name": None, "metadata": None, "data_source": jsonl({"text": "a", "label": None})}
    reply = shared.http.post(f"/evals/{about.id}/runs", json=body)
    assert (reply.status_code, reply.json()["metadata"]) == (201, None)
    assert reply.json()["data_source"] == body["data_source"]
    config = {"type": "logs", "metadata": None}
    assert an_eval(shared, config=config, name=None).name == ""
    assert shared.http.post("/evals", content=b"{").status_code == 400


# --- listing, tenants, repeated requests ----------------------------------------------------------


def test_runs_and_items_are_listed_page_by_page(shared):
    about, runs = an_eval(shared), shared.client.evals.runs
    made = [a_run(shared, about, jsonl(*[{"text": "a"}] * 7)) for _ in range(3)]
    ids = [wait(shared, run).id for run in made]
    assert [run.id for run in runs.list(about.id, limit=2)] == ids
    assert [run.id for run in runs.list(about.id, limit=2, order="desc")] == ids[::-1]
    assert [run.id for run in runs.list(about.id, status="completed")] == ids
    assert runs.list(about.id, status="queued").data == []
    place = f"/evals/{about.id}/runs"
    page = shared.http.get(place, params={"limit": 2}).json()
    assert (page["first_id"], page["last_id"], page["has_more"]) == (ids[0], ids[1], True)
    wrong = ({"limit": 0}, {"limit": 101}, {"after": "x"}, {"status": "cancelled"}, {"order": "x"})
    assert [shared.http.get(place, params=p).status_code for p in wrong] == [400] * 5
    place += f"/{ids[0]}/output_items"
    assert len(items(shared, made[0], limit=3)) == 7
    page = shared.http.get(place, params={"limit": 3, "order": "desc"}).json()
    assert [item["datasource_item_id"] for item in page["data"]] == [6, 5, 4]
    assert (page["last_id"], page["has_more"]) == (page["data"][-1]["id"], True)
    assert [shared.http.get(place, params=p).status_code for p in wrong] == [400] * 5
    about_run = {"eval_id": about.id, "run_id": ids[0]}
    with pytest.raises(openai.NotFoundError, match="No output item found with id 'x'"):
        runs.output_items.retrieve("x", **about_run)
    other = an_eval(shared)
    for call in (runs.retrieve, runs.cancel, runs.delete):
        with pytest.raises(openai.NotFoundError, match="No eval run found with id"):
            call(ids[0], eval_id=other.id)
    with pytest.raises(openai.NotFoundError):
        runs.output_items.list(ids[0], eval_id=other.id)


def test_a_deleted_run_is_gone(shared):
    run, (item,) = ran(shared, an_eval(shared), jsonl({"text": "a"}))
    gone = shared.client.evals.runs.delete(run.id, eval_id=run.eval_id)
    assert gone.to_dict() == {"object": "eval.run.deleted", "deleted": True, "run_id": run.id}
    with pytest.raises(openai.NotFoundError):
        shared.client.evals.runs.delete(run.id, eval_id=run.eval_id)
    assert shared.store.eval_runs.item(run.id, item["id"]) is None


def test_another_project_sees_nothing_of_it(server):
    model = server.tuned().fine_tuned_model
    about = an_eval(server)
    run, (item,) = ran(server, about, asking(model, *texts(1)))
    project = server.store.projects.create("other")
    key, _ = server.store.keys.create("other", project=project.id)
    with openai.OpenAI(base_url=server.url, api_key=key, max_retries=0) as other:
        runs = other.evals.runs
        assert other.evals.list().data == []
        for call in (
            lambda: other.evals.retrieve(about.id),
            lambda: other.evals.update(about.id, name="x"),
            lambda: other.evals.delete(about.id),
            lambda: runs.list(about.id),
            lambda: runs.create(about.id, data_source=jsonl({"text": "a"})),
            lambda: runs.retrieve(run.id, eval_id=about.id),
            lambda: runs.cancel(run.id, eval_id=about.id),
            lambda: runs.delete(run.id, eval_id=about.id),
            lambda: runs.output_items.list(run.id, eval_id=about.id),
            lambda: runs.output_items.retrieve(item["id"], run_id=run.id, eval_id=about.id),
        ):
            with pytest.raises(openai.NotFoundError):
                call()
        mine = other.evals.create(data_source_config=CUSTOM, testing_criteria=[SAME])
        with pytest.raises(openai.NotFoundError) as caught:
            runs.create(mine.id, data_source=asking(model, *texts(1)))
        assert caught.value.code == "model_not_found"
        judge = {**JUDGE, "model": model, "input": USER}
        with pytest.raises(openai.NotFoundError):
            other.evals.create(data_source_config=CUSTOM, testing_criteria=[judge])
        server.client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": "x"}], store=True
        )
        stored = {"type": "completions", "source": {"type": "stored_completions"}}
        theirs = runs.create(mine.id, data_source=stored)
        wait_for(lambda: runs.retrieve(theirs.id, eval_id=mine.id).status == "failed")
    assert [one.id for one in server.client.evals.list()] == [about.id]


def test_a_reader_looks_only(shared):
    run, _ = ran(shared, an_eval(shared), jsonl({"text": "a"}))
    key, _ = shared.store.keys.create("reader", role="reader")
    with openai.OpenAI(base_url=shared.url, api_key=key, max_retries=0) as reader:
        assert reader.evals.runs.retrieve(run.id, eval_id=run.eval_id).id == run.id
        for call in (
            lambda: reader.evals.create(data_source_config=CUSTOM, testing_criteria=[SAME]),
            lambda: reader.evals.update(run.eval_id, name="x"),
            lambda: reader.evals.delete(run.eval_id),
            lambda: reader.evals.runs.create(run.eval_id, data_source=jsonl({"text": "a"})),
            lambda: reader.evals.runs.cancel(run.id, eval_id=run.eval_id),
        ):
            with pytest.raises(openai.PermissionDeniedError):
                call()


def test_a_retried_request_makes_one_eval_and_one_run(idle):
    def post(path, body, **headers):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return idle.http.post(path, json=body, headers=named).json()["id"]

    asked = {"data_source_config": CUSTOM, "testing_criteria": [SAME]}
    first = post("/evals", asked, x_stainless_retry_count="0")
    assert post("/evals", asked, x_stainless_retry_count="1") == first
    second = post("/evals", asked, x_stainless_retry_count="0")
    assert second != first
    body = {"data_source": jsonl({"text": "a"})}
    ids = [
        post(f"/evals/{eval_id}/runs", body, idempotency_key=key)
        for eval_id, key in ((first, "1"), (first, "1"), (first, "2"), (second, "1"))
    ]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 3


# --- ending early ---------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["", "/cancel"])
def test_a_canceled_run_keeps_what_it_has(server, path):
    model = server.tuned().fine_tuned_model
    hook = server.store.webhooks.create("https://example.com/hook")
    gate = Gate(server.pool, first=10)
    run = a_run(server, an_eval(server), asking(model, *texts(100)))
    wait(server, run, lambda run: run.result_counts.total == 10)
    place = f"/evals/{run.eval_id}/runs/{run.id}{path}"
    headers = {"content-type": "application/json", "content-length": "0"}
    reply = server.http.post(place, headers=headers)
    assert (reply.status_code, reply.json()["status"]) == (200, "canceled")
    assert server.http.post(place).json()["status"] == "canceled"
    gate.open()
    run, other = wait(server, run, "canceled"), an_eval(server)
    assert counts(run) == (10, 10, 0, 0)
    assert len(items(server, run)) == 10
    news = server.store.webhooks.newest(hook.id)
    assert (news.type, news.about) == ("eval.run.canceled", run.id)
    run, _ = ran(server, other, asking(model, *texts(3)))  # the runner has room again
    assert counts(run) == (3, 3, 0, 0)
    with pytest.raises(openai.BadRequestError, match="is completed and cannot become canceled"):
        server.client.evals.runs.cancel(run.id, eval_id=run.eval_id)
    assert server.store.webhooks.newest(hook.id).type == "eval.run.succeeded"


def test_a_run_canceled_or_deleted_before_it_begins_is_left_alone(idle, start):
    about = an_eval(idle)
    run, gone = (a_run(idle, about, jsonl({"text": "a"})) for _ in range(2))
    assert idle.client.evals.runs.cancel(run.id, eval_id=about.id).status == "canceled"
    idle.client.evals.runs.delete(gone.id, eval_id=about.id)
    server = start()
    ran(server, about, jsonl({"text": "a"}))
    assert counts(wait(server, run, "canceled")) == (0, 0, 0, 0)


def test_a_run_that_is_deleted_while_it_is_worked_on(server):
    model = server.tuned().fine_tuned_model
    gate = Gate(server.pool, first=10)
    about = an_eval(server)
    run = a_run(server, about, asking(model, *texts(100)))
    wait(server, run, lambda run: run.result_counts.total == 10)
    server.client.evals.delete(about.id)
    gate.open()
    run, _ = ran(server, an_eval(server), asking(model, *texts(3)))
    assert counts(run) == (3, 3, 0, 0)


# --- nothing is lost ------------------------------------------------------------------------------


def test_the_next_server_goes_on_where_one_has_stopped(start):
    first = start()
    model = first.tuned().fine_tuned_model
    Gate(first.pool, first=40)
    run = a_run(first, an_eval(first), asking(model, *texts(200)))
    wait(first, run, lambda run: run.result_counts.total == 40)
    first.close()
    first.close = lambda: None
    second = start()
    run = wait(second, run)
    assert counts(run) == (200, 200, 0, 0)
    assert run.per_model_usage[0].invocation_count == 200
    found = items(second, run, limit=100)
    assert [item["datasource_item_id"] for item in found] == list(range(200))
    asked = [[text for *_, text in server.pool.asked] for server in (first, second)]
    assert (len(asked[0]), len(asked[1])) == (40, 160)
    assert not set(asked[0]) & set(asked[1])


def test_a_run_that_was_being_laid_out_is_laid_out_anew(idle, start, monkeypatch):
    about = an_eval(idle, {**SAME, "input": "größer"})
    run = a_run(idle, about, jsonl(*texts(5)))
    runs = idle.store.eval_runs
    runs.lease("w", silent_before=0, is_gone=lambda _: False)
    row = runs.get(run.id)
    entry = SimpleNamespace(item={"text": "stale"}, given=None)
    runs.add_items(run.id, list(eval_runner._rows(row, iter([entry] * 3))), worker="w")
    runs.release(run.id, "w")
    server = start()
    run = wait(server, run)
    assert counts(run) == (5, 5, 0, 0)
    assert [item["datasource_item"]["text"] for item in items(server, run)][0] == "text 0"


def test_two_servers_share_the_runs(start):
    servers = [start(), start()]
    model = servers[0].tuned().fine_tuned_model
    about = an_eval(servers[0])
    runs = [a_run(servers[0], about, asking(model, *texts(50))) for _ in range(12)]
    for run in runs:
        assert counts(wait(servers[1], run)) == (50, 50, 0, 0)
    assert sum(len(server.pool.asked) for server in servers) == 12 * 50


def test_trouble_with_the_database_passes(server, monkeypatch):
    model = server.tuned().fine_tuned_model
    troubles, keep = [StorageError("The disk is full.")] * 3, EvalRuns.keep

    def full(runs, run_id, outcomes, *, worker):
        if outcomes and troubles:
            raise troubles.pop()
        return keep(runs, run_id, outcomes, worker=worker)

    monkeypatch.setattr(EvalRuns, "keep", full)
    run, found = ran(server, an_eval(server), asking(model, *texts(9)))
    assert (counts(run), len(found)) == ((9, 9, 0, 0), 9)


def test_an_error_of_ours_fails_the_run_and_keeps_what_there_is(server, monkeypatch):
    hook = server.store.webhooks.create("https://example.com/hook", events=["eval.run.failed"])
    outcome = eval_runner.outcome

    async def breaks(row, plan, ask):
        if row.datasource_item_id == 5:
            raise ValueError("a bug")
        return await outcome(row, plan, ask)

    monkeypatch.setattr(eval_runner, "outcome", breaks)
    run = a_run(server, an_eval(server), jsonl(*texts(9)))
    run = wait(server, run, "failed")
    assert run.error.code == "server_error"
    assert len(items(server, run)) == counts(run)[0] < 9
    assert server.store.webhooks.newest(hook.id).about == run.id
    run, _ = ran(server, an_eval(server), jsonl(*texts(3)))
    assert run.error is None
