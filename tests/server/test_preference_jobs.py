"""Jobs that tune causal models: dpo, and options that fit them or do not."""

import json

import openai
import pytest
from small_weights import model_folder

from tunesmith.catalog import shelf
from tunesmith.work import files

PAIR = {
    "input": {"messages": [{"role": "user", "content": "Say hello."}]},
    "preferred_output": [{"role": "assistant", "content": "Hello!"}],
    "non_preferred_output": [{"role": "assistant", "content": "No."}],
}


@pytest.fixture(scope="module")
def server(shared, tmp_path_factory):
    """The module's server, with a causal base model on its shelf."""
    folder = model_folder(tmp_path_factory.mktemp("bases") / "tiny-llama")
    shelf.register(folder, shared.settings.base_models_dir)
    return shared


@pytest.fixture(scope="module")
def pairs(server):
    content = "\n".join([json.dumps(PAIR)] * 12) + "\n"
    return server.client.files.create(file=("p.jsonl", content.encode()), purpose="fine-tune").id


def dpo(**hyperparameters):
    return {"type": "dpo", "dpo": {"hyperparameters": hyperparameters}}


def create(server, **asked):
    return server.client.fine_tuning.jobs.create(**{"model": "tiny-llama", **asked})


def test_a_dpo_job_has_its_method_and_hyperparameters(server, pairs):
    job = create(server, training_file=pairs, method=dpo(beta=0.2, n_epochs=2))
    own = {
        "n_epochs": 2,
        "batch_size": "auto",
        "learning_rate_multiplier": "auto",
        "beta": 0.2,
    }
    assert job.to_dict()["method"] == {"type": "dpo", "dpo": {"hyperparameters": own}}
    assert job.hyperparameters is None  # OpenAI sends them for supervised jobs only
    again = server.client.fine_tuning.jobs.retrieve(job.id)
    assert again.method.type == "dpo"
    server.client.fine_tuning.jobs.cancel(job.id)


def test_beta_is_chosen_where_nobody_does(server, pairs):
    for method in ({"type": "dpo"}, dpo(beta="auto")):
        job = create(server, training_file=pairs, method=method)
        assert job.method.dpo.hyperparameters.beta == "auto"
        server.client.fine_tuning.jobs.cancel(job.id)
    older = {"hyperparameters": {"n_epochs": 5}}
    job = create(server, training_file=pairs, method={"type": "dpo"}, **older)
    assert job.method.dpo.hyperparameters.n_epochs == 5
    server.client.fine_tuning.jobs.cancel(job.id)


def test_a_file_of_chats_is_no_file_of_pairs(server):
    job = create(server, training_file=server.upload(), method={"type": "dpo"})
    job = server.wait(job.id, "failed")
    assert (job.error.code, job.error.param) == ("invalid_file_format", "training_file")
    assert "input" in job.error.message


def test_a_file_of_pairs_is_no_file_of_chats(server, pairs):
    job = server.wait(create(server, training_file=pairs).id, "failed")
    assert (job.error.code, job.error.param) == ("invalid_file_format", "training_file")
    assert "messages" in job.error.message


@pytest.mark.parametrize("method", ["supervised", "dpo"])
def test_the_training_process_is_told_the_objective(server, pairs, method, tmp_path):
    file = pairs if method == "dpo" else server.upload()
    job = create(server, training_file=file, method={"type": method})
    server.client.fine_tuning.jobs.cancel(job.id)
    files.write_job(server.settings, server.store, server.store.jobs.get(job.id), tmp_path)
    written = json.loads((tmp_path / "job.json").read_text())
    assert (written["objective"], written["base_model"]) == (method, "tiny-llama")
    assert ("beta" in written["hyperparameters"]) == (method == "dpo")


@pytest.mark.parametrize(
    ("model", "options", "param", "message"),
    [
        ("minilm-l6", {"method": "lora"}, "method", "does not fit minilm-l6, an encoder"),
        ("minilm-l6", {"method": "qlora"}, "method", "give 'head', 'full' or 'auto'"),
        ("minilm-l6", {"task": "classify"}, "task", "is for causal base models"),
        ("minilm-l6", {"lora_rank": 4}, "lora_rank", "is for causal base models"),
        ("minilm-l6", {"packing": "packed"}, "packing", "is for causal base models"),
        ("tiny-llama", {"method": "head"}, "method", "give 'full', 'lora', 'qlora' or 'auto'"),
        ("tiny-llama", {"label_smoothing": 0.1}, "label_smoothing", "is for encoders"),
        ("tiny-llama", {"soft_labels": True}, "soft_labels", "tiny-llama is a causal model"),
        ("tiny-llama", {"class_weights": "balanced"}, "class_weights", "is for encoders"),
        ("tiny-llama", {"cleaning": ["spaces"]}, "cleaning", "give the task 'classify'"),
        ("tiny-llama", {"method": "full", "lora_rank": 4}, "lora_rank", "is for adapters"),
    ],
)
def test_options_that_do_not_fit_the_model_are_refused(server, model, options, param, message):
    with pytest.raises(openai.BadRequestError) as caught:
        create(server, model=model, training_file="x", extra_body={"tunesmith": options})
    assert caught.value.param == f"tunesmith.{param}"
    assert message in caught.value.body["message"]


def test_options_as_they_come_are_no_wish(server):
    defaults = {"lora_dropout": 0.0, "task": "chat", "packing": "auto", "class_weights": "none"}
    for model in ("minilm-l6", "tiny-llama"):
        asked = {"model": model, "training_file": server.upload()}
        job = create(server, **asked, extra_body={"tunesmith": defaults})
        server.client.fine_tuning.jobs.cancel(job.id)


def test_pairs_are_not_classified(server, pairs):
    with pytest.raises(openai.BadRequestError, match="compares written answers") as caught:
        create(
            server,
            training_file=pairs,
            method={"type": "dpo"},
            extra_body={"tunesmith": {"task": "classify"}},
        )
    assert caught.value.param == "tunesmith.task"


def test_a_tuned_model_is_tuned_on_as_what_it_is(server):
    model = server.causal()
    with pytest.raises(openai.BadRequestError, match="is for encoders"):
        create(
            server, model=model, training_file="x", extra_body={"tunesmith": {"soft_labels": True}}
        )
    encoder = server.tuned().fine_tuned_model
    with pytest.raises(openai.BadRequestError, match="needs a causal base model"):
        create(server, model=encoder, training_file="x", method={"type": "dpo"})


def test_a_base_model_that_is_not_here_says_how_to_fetch_it(server):
    with pytest.raises(openai.BadRequestError, match="tunesmith models pull qwen3-0.6b") as caught:
        create(server, model="qwen3-0.6b", training_file="x")
    assert caught.value.code == "model_not_available"
    for ask in (server.client.chat.completions.create, server.client.models.retrieve):
        given = {"messages": [{"role": "user", "content": "x"}]} if "chat" in str(ask) else {}
        with pytest.raises(openai.NotFoundError, match="tunesmith models pull qwen3-0.6b"):
            ask(model="qwen3-0.6b", **given)


def test_a_base_model_on_the_shelf_answers_by_its_name(server):
    listed = {model.id: model for model in server.client.models.list()}
    assert listed["tiny-llama"].tunesmith == {"kind": "causal", "answers": "text"}
    assert listed["minilm-l6"].tunesmith == {"kind": "encoder", "answers": None}
    assert "qwen3-0.6b" not in listed
    answer = server.client.chat.completions.create(
        model="tiny-llama", messages=[{"role": "user", "content": "x"}]
    )
    assert answer.choices[0].message.content == server.writers.text
    assert server.writers.asked[-1].folder.name == "tiny-llama"
    with pytest.raises(openai.PermissionDeniedError, match="base models stay"):
        server.client.models.delete("tiny-llama")


@pytest.mark.parametrize("name", ["~nobody-of-that-name/x", "x" * 5000, ""])
def test_names_that_cannot_be_folders_are_no_models(start, name):
    server = start(worker=False, allow_folders=True)
    body = {"model": name, "messages": [{"role": "user", "content": "x"}]}
    assert server.http.post("/chat/completions", json=body).status_code == 404
    with pytest.raises(openai.BadRequestError, match="not available for fine-tuning"):
        create(server, model=name, training_file="x")


def test_reinforcement_is_not_offered(server):
    with pytest.raises(openai.BadRequestError, match="not offered") as caught:
        create(server, training_file="x", method={"type": "reinforcement"})
    assert caught.value.param == "method.type"
