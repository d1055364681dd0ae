"""Calls every method that the API offers through the `openai` package, old or new.

Usage: python every_call.py BASE_URL KEY PROJECT CONTRACT. PROJECT is another project's id.
Checks the keys and types of what comes back against the table in CONTRACT. Prints one line a call;
ends with an AssertionError at the first that is not as it should be.
"""

import base64
import hashlib
import io
import json
import sys
import time
from pathlib import Path

import openai

BASE_URL, KEY, PROJECT, CONTRACT = sys.argv[1:5]
TABLE = json.loads(Path(CONTRACT).read_text(encoding="utf-8"))
TYPES = {
    "string": lambda v: isinstance(v, str),
    "int": lambda v: isinstance(v, int) and not isinstance(v, bool),
    "number": lambda v: isinstance(v, int | float) and not isinstance(v, bool),
    "bool": lambda v: isinstance(v, bool),
    "object": lambda v: isinstance(v, dict),
    "list": lambda v: isinstance(v, list),
    "null": lambda v: v is None,
}
client = openai.OpenAI(base_url=BASE_URL, api_key=KEY, max_retries=0, timeout=60)
calls = 0


def check(kind, value):
    """Whether the object has the keys of its kind, no others, of the right types."""
    found = value if isinstance(value, dict) else value.to_dict()
    expected = {name.rstrip("?"): (name[-1] != "?", type_) for name, type_ in TABLE[kind].items()}
    missing = {name for name, (required, _) in expected.items() if required} - set(found)
    assert not missing, f"{kind}: no {missing}"
    assert not set(found) - set(expected), f"{kind}: also {set(found) - set(expected)}"
    for name, value in found.items():
        type_ = expected[name][1]
        right = (
            value == type_[1:]
            if type_[0] == "="
            else any(TYPES[one](value) for one in type_.split("|"))
        )
        assert right, f"{kind}.{name} is {value!r}, not {type_}"
    return found


def told(name):
    global calls
    calls += 1
    sys.stdout.write(name + "\n")
    sys.stdout.flush()


def page(kind, listed, ends):
    """A list's envelope and its elements."""
    body = json.loads(listed.content) if hasattr(listed, "content") else listed
    assert body["object"] == "list" and isinstance(body["data"], list), body
    keys = {"object", "data"} | ({"has_more"} if ends is not None else set())
    keys |= {"first_id", "last_id"} if ends else set()
    assert set(body) == keys, set(body)
    for element in body["data"]:
        check(kind, element)
    return body["data"]


def raw(resource, method, *args, **given):
    """The reply as it came."""
    return getattr(resource.with_raw_response, method)(*args, **given).http_response


def lines(rows=40):
    words = {"alpha": "the lamp is broken", "beta": "my invoice is wrong"}
    for i in range(rows):
        label = "alpha" if i % 2 else "beta"
        text = f"{words[label]} since day {i}"
        yield {
            "messages": [
                {"role": "user", "content": text},
                {"role": "assistant", "content": label},
            ]
        }


def jsonl(values):
    return "".join(json.dumps(value) + "\n" for value in values).encode()


def until(job_id, states, seconds=120):
    end = time.monotonic() + seconds
    while (job := client.fine_tuning.jobs.retrieve(job_id)).status not in states:
        assert time.monotonic() < end, job
        assert job.status not in ("failed", "cancelled"), job
        time.sleep(0.2)
    return job


def refused(status, kind, call, *args, code=None, param=None, **given):
    """A call that ends in an error of the SDK's own class, with OpenAI's envelope."""
    try:
        call(*args, **given)
    except kind as error:
        assert error.status_code == status, error.status_code
        check("error", error.body)
        assert (error.code, error.param) == (code, param), (error.code, error.param)
        assert error.request_id.startswith("req_"), error.request_id
        told(f"error {status} {code or param}")
        return
    raise AssertionError(f"not refused: {given}")


def files():
    made = client.files.create(file=("train.jsonl", jsonl(lines())), purpose="fine-tune")
    assert check("file", made)["status"] == "processed"
    told("files.create")
    kept = client.files.create(
        file=("held.jsonl", io.BytesIO(jsonl(lines(12)))),
        purpose="fine-tune",
        expires_after={"anchor": "created_at", "seconds": 3600},
    )
    assert kept.expires_at - kept.created_at == 3600
    told("files.create expires_after")
    assert client.files.retrieve(made.id) == made
    told("files.retrieve")
    assert client.files.wait_for_processing(made.id).id == made.id
    told("files.wait_for_processing")
    assert client.files.content(made.id).read() == jsonl(lines())
    told("files.content")
    page("file", raw(client.files, "list", limit=1), ends=True)
    ids = [file.id for file in client.files.list(limit=1, purpose="fine-tune", order="asc")]
    assert ids[-2:] == [made.id, kept.id], ids
    told("files.list")
    refused(404, openai.NotFoundError, client.files.retrieve, "file-none", param="id")
    wrong = {"file": ("a.jsonl", b"{}"), "purpose": "nonsense"}
    refused(400, openai.BadRequestError, client.files.create, **wrong, param="purpose")
    return made.id, kept.id


def uploads():
    content = jsonl(lines(20))
    about = {"filename": "parts.jsonl", "purpose": "fine-tune", "mime_type": "text/jsonl"}
    upload = client.uploads.create(bytes=len(content), **about)
    assert check("upload", upload)["status"] == "pending"
    told("uploads.create")
    parts = [content[i : i + 700] for i in range(0, len(content), 700)]
    sent = [client.uploads.parts.create(upload.id, data=part) for part in reversed(parts)]
    check("part", sent[0])
    told("uploads.parts.create")
    done = client.uploads.complete(
        upload.id,
        part_ids=[part.id for part in reversed(sent)],
        md5=hashlib.md5(content).hexdigest(),
    )
    assert check("upload", done)["status"] == "completed"
    check("file", done.file)
    assert client.files.content(done.file.id).read() == content
    told("uploads.complete")
    second = client.uploads.create(bytes=5, **about)
    assert client.uploads.cancel(second.id).status == "cancelled"
    told("uploads.cancel")
    whole = client.uploads.upload_file_chunked(
        file=content, filename="c.jsonl", bytes=len(content), mime_type="text/jsonl",
        purpose="fine-tune", part_size=1000,
    )  # fmt: skip
    assert client.files.content(whole.file.id).read() == content
    told("uploads.upload_file_chunked")


def jobs(training, validation):
    asked = {"model": "minilm-l6", "training_file": training}
    job = client.fine_tuning.jobs.create(
        **asked,
        validation_file=validation,
        suffix="sdk",
        seed=7,
        metadata={"by": openai.__version__},
        method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 1}}},
    )
    new = check("job", job)
    assert (new["status"], new["error"], new["result_files"]) == ("validating_files", {}, [])
    assert new["hyperparameters"]["batch_size"] == "auto"
    assert new["method"]["supervised"]["hyperparameters"]["n_epochs"] == 1
    told("fine_tuning.jobs.create")
    events = page("event", raw(client.fine_tuning.jobs, "list_events", job.id), ends=False)
    assert len(events) >= 2
    long = client.fine_tuning.jobs.create(
        **asked,
        hyperparameters={"n_epochs": 50, "batch_size": 1},
        extra_body={"tunesmith": {"method": "full"}},
    )
    told("fine_tuning.jobs.create, hyperparameters at the top")
    done = check("job", until(job.id, {"succeeded"}))
    assert done["finished_at"] and done["trained_tokens"] and len(done["result_files"]) == 1
    assert all(isinstance(n, int | float) for n in done["hyperparameters"].values())
    told("fine_tuning.jobs.retrieve")
    result = client.files.content(done["result_files"][0]).read()
    assert base64.b64decode(result).startswith(b"step,train_loss,train_accuracy,valid_loss,")
    told("files.content of the result")
    listed = page("job", raw(client.fine_tuning.jobs, "list", limit=1), ends=False)
    assert listed[0]["id"] == long.id
    assert {long.id, job.id} <= {j.id for j in client.fine_tuning.jobs.list(limit=1)}
    told("fine_tuning.jobs.list")
    query = {"metadata[by]": openai.__version__}
    assert [j.id for j in client.fine_tuning.jobs.list(extra_query=query)] == [job.id]
    query = {"metadata": "null"}
    assert job.id not in [j.id for j in client.fine_tuning.jobs.list(extra_query=query)]
    told("fine_tuning.jobs.list by metadata")
    events = list(client.fine_tuning.jobs.list_events(job.id, limit=3))
    assert len({event.id for event in events}) == len(events) > 5
    assert events[0].message == "The job has successfully completed"
    assert events[-1].message == f"Created fine-tuning job: {job.id}"
    told("fine_tuning.jobs.list_events")
    kept = page("checkpoint", raw(client.fine_tuning.jobs.checkpoints, "list", job.id), ends=True)
    assert kept[0]["fine_tuned_model_checkpoint"] == done["fine_tuned_model"]
    told("fine_tuning.jobs.checkpoints.list")
    until(long.id, {"running"})
    assert check("job", client.fine_tuning.jobs.pause(long.id))["status"] == "paused"
    told("fine_tuning.jobs.pause")
    assert client.fine_tuning.jobs.resume(long.id).status == "queued"
    told("fine_tuning.jobs.resume")
    assert client.fine_tuning.jobs.cancel(long.id).status == "cancelled"
    told("fine_tuning.jobs.cancel")
    refused(400, openai.BadRequestError, client.fine_tuning.jobs.pause, job.id)
    unknown = {"code": "fine_tune_not_found", "param": "fine_tune_id"}
    refused(404, openai.NotFoundError, client.fine_tuning.jobs.retrieve, "ftjob-x", **unknown)
    create = client.fine_tuning.jobs.create
    gone = {**asked, "training_file": "file-none"}
    refused(400, openai.BadRequestError, create, **gone, param="training_file")
    other = {**asked, "model": "gpt-4o-mini"}
    refused(400, openai.BadRequestError, create, **other, code="model_not_available")
    return done["fine_tuned_model"]


def models(model):
    page("model", raw(client.models, "list"), ends=None)
    names = [found.id for found in client.models.list()]
    assert {model, "minilm-l6"} <= set(names)
    told("models.list")
    check("model", client.models.retrieve(model))
    told("models.retrieve")
    about = {"code": "model_not_found", "param": "model"}
    refused(404, openai.NotFoundError, client.models.retrieve, "ft:no:such::model", **about)


def permissions(model):
    permitted = client.fine_tuning.checkpoints.permissions
    made = permitted.create(fine_tuned_model_checkpoint=model, project_ids=[PROJECT])
    check("permission", made.data[0])
    told("fine_tuning.checkpoints.permissions.create")
    found = permitted.retrieve(fine_tuned_model_checkpoint=model)
    assert [one.project_id for one in found.data] == [PROJECT]
    told("fine_tuning.checkpoints.permissions.retrieve")
    if hasattr(permitted, "list"):
        assert [one.project_id for one in permitted.list(model)] == [PROJECT]
        told("fine_tuning.checkpoints.permissions.list")
    ended = permitted.delete(made.data[0].id, fine_tuned_model_checkpoint=model)
    assert check("deleted", ended)["object"] == "checkpoint.permission"
    told("fine_tuning.checkpoints.permissions.delete")


def chat(model):
    ask = {"model": model, "messages": [{"role": "user", "content": "the lamp is broken"}]}
    complete = client.chat.completions
    answer = complete.create(**ask, n=2, seed=1, logprobs=True, top_logprobs=2, temperature=0)
    body = check("completion", answer)
    check("usage", body["usage"])
    assert [check("choice", choice)["index"] for choice in body["choices"]] == [0, 1]
    check("message", body["choices"][0]["message"])
    tokens = [check("token", t) for t in body["choices"][0]["logprobs"]["content"]]
    rejoined = bytes(b for token in tokens for b in token["bytes"]).decode()
    assert rejoined == answer.choices[0].message.content == "alpha"
    assert len(tokens[0]["top_logprobs"]) == 2
    told("chat.completions.create")
    chunks = list(complete.create(**ask, stream=True, stream_options={"include_usage": True}))
    for chunk in chunks:
        check("chunk", chunk)
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == "alpha" and chunks[-1].usage.total_tokens and chunks[-1].choices == []
    assert chunks[-2].choices[0].finish_reason == "stop"
    told("chat.completions.create, stream")
    schema = {
        "type": "object",
        "properties": {"topic": {"type": "string", "enum": ["alpha", "beta"]}},
        "required": ["topic"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "t", "strict": True, "schema": schema}}
    answer = complete.create(**ask, response_format=form)
    assert json.loads(answer.choices[0].message.content) == {"topic": "alpha"}
    told("chat.completions.create, json_schema")
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    assert complete.create(**ask, tools=[tool]).choices[0].message.content == "alpha"
    told("chat.completions.create, tools")
    assert complete.create(**ask, stop=["p"]).choices[0].message.content == "al"
    told("chat.completions.create, stop")
    with complete.stream(**ask) as stream:
        stream.until_done()
        assert stream.get_final_completion().choices[0].message.content == "alpha"
    told("chat.completions.stream")
    about = {"code": "model_not_found", "param": "model"}
    lost = {**ask, "model": "ft:none"}
    refused(404, openai.NotFoundError, complete.create, **lost, **about)
    wrong = {**ask, "top_logprobs": 2}
    refused(400, openai.BadRequestError, complete.create, **wrong, param="top_logprobs")

    stored = complete.create(**ask, store=True, metadata={"a": "b"})
    assert check("completion", complete.retrieve(stored.id))["id"] == stored.id
    told("chat.completions.retrieve")
    assert [one.id for one in complete.list(model=model, limit=1)] == [stored.id]
    told("chat.completions.list")
    assert complete.update(stored.id, metadata={"c": "d"}).metadata == {"c": "d"}
    told("chat.completions.update")
    assert [m.content for m in complete.messages.list(stored.id)] == ["the lamp is broken"]
    told("chat.completions.messages.list")
    gone = complete.delete(stored.id)
    assert check("deleted", gone)["object"] == "chat.completion.deleted"
    told("chat.completions.delete")


def completions(model):
    prompts = ["the lamp is broken", "my invoice is wrong"]
    answer = client.completions.create(model=model, prompt=prompts, logprobs=2, max_tokens=1)
    body = check("text_completion", answer)
    assert [check("text_choice", c)["text"].strip() for c in body["choices"]] == ["alpha", "beta"]
    check("text_logprobs", body["choices"][0]["logprobs"])
    told("completions.create")
    chunks = list(client.completions.create(model=model, prompt=prompts[0], stream=True))
    assert "".join(c.choices[0].text for c in chunks if c.choices).strip() == "alpha"
    told("completions.create, stream")


def embeddings(model):
    for name in ("minilm-l6", model):
        for given in ({}, {"encoding_format": "float"}, {"dimensions": 16}):
            found = client.embeddings.create(model=name, input=["a lamp", "an oven"], **given)
            body = check("embeddings", found)
            assert [one["index"] for one in body["data"]] == [0, 1]
            vector = found.data[0].embedding
            assert len(vector) == given.get("dimensions", 384)
            assert abs(sum(x * x for x in vector) - 1) < 1e-4
    told("embeddings.create")


def responses(model):
    answer = client.responses.create(
        model=model, input="the lamp is broken", instructions="Sort it.", metadata={"k": "v"}
    )
    body = check("response", answer)
    assert (answer.output_text, body["status"]) == ("alpha", "completed")
    check("output_message", body["output"][0])
    check("output_text", body["output"][0]["content"][0])
    told("responses.create")
    assert client.responses.retrieve(answer.id).output_text == "alpha"
    told("responses.retrieve")
    items = list(client.responses.input_items.list(answer.id))
    assert items[0].content[0].text == "the lamp is broken"
    told("responses.input_items.list")
    more = client.responses.create(model=model, input="and", previous_response_id=answer.id)
    assert more.previous_response_id == answer.id
    told("responses.create, previous_response_id")
    kinds = [e.type for e in client.responses.create(model=model, input="a lamp", stream=True)]
    assert kinds[0] == "response.created" and kinds[-1] == "response.completed"
    assert "response.output_text.delta" in kinds
    told("responses.create, stream")
    refused(400, openai.BadRequestError, client.responses.cancel, answer.id)
    client.responses.delete(answer.id)
    told("responses.delete")
    try:
        client.responses.retrieve(answer.id)
    except openai.NotFoundError:
        told("responses.cancel")


def batches(model):
    body = {"model": model, "messages": [{"role": "user", "content": "the lamp is broken"}]}
    line = {"method": "POST", "url": "/v1/chat/completions"}
    asked = [{"custom_id": f"r{i}", **line, "body": body} for i in range(5)]
    asked.append({"custom_id": "bad", **line, "body": {**body, "model": "ft:none"}})
    file = client.files.create(file=("in.jsonl", jsonl(asked)), purpose="batch")
    given = {"endpoint": "/v1/chat/completions", "completion_window": "24h"}
    batch = client.batches.create(input_file_id=file.id, metadata={"m": "n"}, **given)
    assert check("batch", batch)["status"] == "validating"
    told("batches.create")
    end = time.monotonic() + 60
    while (batch := client.batches.retrieve(batch.id)).status != "completed":
        assert time.monotonic() < end and batch.status != "failed", batch
        time.sleep(0.1)
    check("batch", batch)
    counts = batch.request_counts
    assert (counts.total, counts.completed, counts.failed) == (6, 5, 1)
    told("batches.retrieve")
    answers = client.files.content(batch.output_file_id).text.splitlines()
    for answer in map(json.loads, answers):
        check("batch_line", answer)
        check("completion", answer["response"]["body"])
    (error,) = client.files.content(batch.error_file_id).text.splitlines()
    assert check("batch_line", json.loads(error))["custom_id"] == "bad"
    told("files.content of a batch")
    page("batch", raw(client.batches, "list", limit=1), ends=True)
    assert batch.id in [one.id for one in client.batches.list(limit=1)]
    told("batches.list")
    second = client.batches.create(input_file_id=file.id, **given)
    try:
        assert client.batches.cancel(second.id).status in ("cancelling", "cancelled")
    except openai.BadRequestError:
        assert client.batches.retrieve(second.id).status == "completed"  # it was faster
    told("batches.cancel")


def graders():
    grader = {
        "type": "string_check", "name": "same", "operation": "eq",
        "input": "{{ sample.output_text }}", "reference": "{{ item.answer }}",
    }  # fmt: skip
    alpha = client.fine_tuning.alpha.graders
    assert alpha.validate(grader=grader).grader.type == "string_check"
    told("fine_tuning.alpha.graders.validate")
    run = alpha.run(grader=grader, model_sample="yes", item={"answer": "yes"})
    assert check("grade", run)["reward"] == 1
    likeness = {
        "type": "text_similarity", "name": "near", "evaluation_metric": "fuzzy_match",
        "input": "{{ sample.output_text }}", "reference": "yes!",
    }  # fmt: skip
    both = {"type": "multi", "name": "both", "graders": {"a": grader, "b": likeness}}
    both["calculate_output"] = "(a + b) / 2"
    run = alpha.run(grader=both, model_sample="yes", item={"answer": "yes"})
    assert 0.5 < check("grade", run)["reward"] < 1
    told("fine_tuning.alpha.graders.run")


def evals(model):
    same = {
        "type": "string_check", "name": "same", "operation": "eq",
        "input": "{{ sample.output_text }}", "reference": "{{ item.label }}",
    }  # fmt: skip
    near = {
        "type": "text_similarity", "name": "near", "evaluation_metric": "fuzzy_match",
        "input": "{{ sample.output_text }}", "reference": "{{ item.label }}", "pass_threshold": 0.5,
    }  # fmt: skip
    judge = {
        "type": "label_model", "name": "judge", "model": model, "labels": ["alpha", "beta"],
        "passing_labels": ["alpha", "beta"],
        "input": [{"role": "user", "content": "{{ item.text }}"}],
    }  # fmt: skip
    schema = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
    config = {"type": "custom", "item_schema": schema, "include_sample_schema": True}
    tested = client.evals.create(
        name="sdk", data_source_config=config, testing_criteria=[same, near, judge],
        metadata={"a": "b"},
    )  # fmt: skip
    found = check("eval", tested)
    assert [one["type"] for one in found["testing_criteria"]] == [
        "string_check", "text_similarity", "label_model",
    ]  # fmt: skip
    told("evals.create")
    assert client.evals.retrieve(tested.id).to_dict() == found
    told("evals.retrieve")
    assert client.evals.update(tested.id, name="new").name == "new"
    told("evals.update")
    page("eval", raw(client.evals, "list", limit=1), ends=True)
    assert tested.id in [one.id for one in client.evals.list(limit=1, order="desc")]
    told("evals.list")
    run = eval_runs(tested, model)
    ended = client.evals.runs.delete(run.id, eval_id=tested.id)
    assert check("eval_run_deleted", ended)["run_id"] == run.id
    told("evals.runs.delete")
    assert check("eval_deleted", client.evals.delete(tested.id))["eval_id"] == tested.id
    told("evals.delete")
    refused(404, openai.NotFoundError, client.evals.retrieve, tested.id, param="eval_id")


def eval_runs(tested, model):
    items = [
        {"text": "the lamp is broken", "label": "alpha"},
        {"text": "my invoice is wrong", "label": "alpha"},
    ]
    file = ("items.jsonl", jsonl({"item": item} for item in items))
    say = {"type": "template", "template": [{"role": "user", "content": "{{ item.text }}"}]}
    source = {
        "type": "completions", "model": model, "input_messages": say,
        "source": {
            "type": "file_id", "id": client.files.create(file=file, purpose="evals").id,
        },
    }  # fmt: skip
    runs = client.evals.runs
    run = runs.create(tested.id, name="first", data_source=source, metadata={"c": "d"})
    assert check("eval_run", run)["status"] == "queued"
    told("evals.runs.create")
    end = time.monotonic() + 60
    while (run := runs.retrieve(run.id, eval_id=tested.id)).status != "completed":
        assert time.monotonic() < end and run.status != "failed", run
        time.sleep(0.1)
    body = check("eval_run", run)
    assert check("eval_counts", body["result_counts"])["passed"] == 1, body
    (usage,) = body["per_model_usage"]
    assert check("eval_usage", usage)["invocation_count"] == 4
    for one in body["per_testing_criteria_results"]:
        check("eval_criterion", one)
    told("evals.runs.retrieve")
    page("eval_run", raw(runs, "list", tested.id, limit=1), ends=True)
    assert [one.id for one in runs.list(tested.id, status="completed")] == [run.id]
    told("evals.runs.list")
    outputs = runs.output_items
    listed = page("eval_item", raw(outputs, "list", run.id, eval_id=tested.id), ends=True)
    for item in listed:
        check("eval_sample", item["sample"])
        for one in item["results"]:
            check("eval_result", one)
    assert [item["status"] for item in listed] == ["pass", "fail"]
    assert listed[0]["sample"]["output"] == [{"role": "assistant", "content": "alpha"}]
    failed = outputs.list(run.id, eval_id=tested.id, status="fail", limit=1)
    assert [item.datasource_item for item in failed] == [items[1]]
    told("evals.runs.output_items.list")
    item = outputs.retrieve(listed[0]["id"], eval_id=tested.id, run_id=run.id)
    assert check("eval_item", item)["datasource_item"] == items[0]
    told("evals.runs.output_items.retrieve")
    second = runs.create(tested.id, data_source=source)
    try:
        assert runs.cancel(second.id, eval_id=tested.id).status == "canceled"
    except openai.BadRequestError:
        assert runs.retrieve(second.id, eval_id=tested.id).status == "completed"  # it was faster
    told("evals.runs.cancel")
    return run


def door():
    stranger = openai.OpenAI(base_url=BASE_URL, api_key="sk-wrong", max_retries=0)
    refused(401, openai.AuthenticationError, stranger.models.list, code="invalid_api_key")
    assert client.models.retrieve("minilm-l6")._request_id.startswith("req_")


def main():
    door()
    training, validation = files()
    uploads()
    model = jobs(training, validation)
    models(model)
    permissions(model)
    chat(model)
    completions(model)
    embeddings(model)
    responses(model)
    batches(model)
    graders()
    evals(model)
    assert check("deleted", client.models.delete(model))["object"] == "model"
    told("models.delete")
    for file_id in (training, validation):
        assert check("deleted", client.files.delete(file_id))["object"] == "file"
    told("files.delete")
    sys.stdout.write(f"{calls} calls, openai {openai.__version__}\n")


main()
