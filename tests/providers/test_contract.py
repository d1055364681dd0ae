"""What every provider must do, the one in memory that other tests use included."""

import math
from collections.abc import Iterator

import pytest
from fake_provider import FakeProvider

from tunesmith import wire
from tunesmith.errors import NotFound, NotOffered, RequestError
from tunesmith.providers import Capabilities, Conversation, Provider, Reply, Writing
from tunesmith.providers.openai_wire import OpenAIWire


class ProviderContract:
    """Subclasses give `provider`."""

    @pytest.fixture(scope="class")
    @classmethod
    def job(cls, provider: Provider, chat_file) -> wire.Job:
        """A job that has succeeded."""
        sent = provider.upload(chat_file)
        request = wire.JobCreate(
            model="minilm-l6",
            training_file=sent.id,
            validation_file=sent.id,
            suffix="x",
            seed=1,
            method=wire.Method(supervised=wire.Supervised()),
            metadata={"tunesmith_run": "r1", "tunesmith_inputs": "i1"},
            tunesmith=wire.Options(method="head"),
        )
        job = provider.create_job(request)
        assert job.status not in wire.TERMINAL
        events = [e for e in provider.follow(job.id) if isinstance(e, wire.JobEvent)]
        assert events[0].message.startswith("Created fine-tuning job")
        assert len({event.id for event in events}) == len(events)
        metrics = [event.data for event in events if event.type == "metrics"]
        assert metrics and {"step", "total_steps", "train_loss", "dev_loss"} <= metrics[0].keys()
        assert [m["step"] for m in metrics] == sorted(m["step"] for m in metrics)
        return provider.job(job.id)

    def test_a_file_is_kept_as_it_was(self, provider, chat_file):
        sent = provider.upload(chat_file)
        assert sent.filename == chat_file.name and sent.bytes == chat_file.stat().st_size
        assert provider.file(sent.id) == sent
        assert provider.download(sent.id) == chat_file.read_bytes()

    def test_what_is_not_there_is_none_or_not_found(self, provider):
        assert provider.file("file-none") is None
        assert provider.model("ft:none") is None
        assert provider.find_job({"tunesmith_run": "none"}) is None
        for ask in (provider.job, provider.download, provider.delete_model):
            with pytest.raises(NotFound):
                ask("none-1")
        with pytest.raises(NotFound):
            list(provider.classify("ft:none", ["x"], concurrency=1))

    def test_a_job_for_a_file_that_is_not_there_is_refused(self, provider):
        request = wire.JobCreate(
            model="minilm-l6",
            training_file="file-none",
            method=wire.Method(supervised=wire.Supervised()),
        )
        with pytest.raises(RequestError, match="training_file"):
            provider.create_job(request)

    def test_a_succeeded_job_has_left_a_model_and_files(self, provider, job):
        assert job.status == "succeeded"
        assert job.trained_tokens and job.finished_at
        assert provider.model(job.fine_tuned_model)
        assert job.fine_tuned_model in {model.id for model in provider.models()}
        assert provider.download(job.result_files[0])
        assert provider.download(job.tunesmith["samples_file"]).count(b"\n") == 16
        facts = job.tunesmith["facts"]
        assert facts["labels"] == ["account", "shipping"] and facts["method"] == "head"
        assert provider.checkpoints(job.id)[-1].fine_tuned_model_checkpoint == job.fine_tuned_model

    def test_a_job_is_found_by_all_of_its_metadata(self, provider, job):
        both = {"tunesmith_run": "r1", "tunesmith_inputs": "i1"}
        assert provider.find_job(both).id == job.id
        assert provider.find_job({"tunesmith_run": "r1"}).id == job.id
        assert provider.find_job({**both, "tunesmith_inputs": "i2"}) is None
        assert job.id in [found.id for found in provider.jobs()]

    def test_a_finished_job_is_followed_from_its_first_event_again(self, provider, job):
        events = [e for e in provider.follow(job.id) if isinstance(e, wire.JobEvent)]
        assert events[0].message.startswith("Created fine-tuning job")

    def test_every_text_is_answered_once_with_the_labels_probabilities(
        self, provider, job, examples
    ):
        texts, labels = examples
        answers = dict(provider.classify(job.fine_tuned_model, texts, concurrency=8))
        assert sorted(answers) == list(range(len(texts)))
        assert [answers[i].label for i in range(len(texts))] == labels
        for answer in answers.values():
            assert answer.top[answer.label] == answer.logprob
            assert sum(map(math.exp, answer.top.values())) == pytest.approx(1, abs=1e-3)

    def test_many_texts_are_answered_as_each_alone(self, provider, job, examples):
        texts = [f"{text} {i}" for i, text in enumerate(examples[0] * 10)]
        answers = dict(provider.classify(job.fine_tuned_model, texts, concurrency=3))
        assert sorted(answers) == list(range(160))
        for i in (0, 77, 159):
            [(_, alone)] = provider.classify(job.fine_tuned_model, [texts[i]], concurrency=1)
            assert alone.label == answers[i].label
            assert alone.logprob == pytest.approx(answers[i].logprob, abs=0.02)
            assert alone.top == pytest.approx(dict(answers[i].top), abs=0.02)

    def test_nothing_to_ask_is_answered_by_nothing(self, provider, job):
        assert list(provider.classify(job.fine_tuned_model, [], concurrency=8)) == []

    def test_texts_have_vectors_and_what_is_no_encoder_has_none(self, provider, examples):
        texts = [*examples[0], examples[0][0]]
        vectors = dict(provider.embed("minilm-l6", texts, concurrency=2))
        assert sorted(vectors) == list(range(len(texts)))
        assert len({vector.shape for vector in vectors.values()}) == 1
        assert vectors[0].ndim == 1 and vectors[0].any()
        assert vectors[0].tolist() == pytest.approx(vectors[len(texts) - 1].tolist(), abs=1e-4)
        assert vectors[0].tolist() != pytest.approx(vectors[1].tolist(), abs=1e-2)
        with pytest.raises(NotOffered):
            list(provider.embed("ft:none", ["x"], concurrency=1))

    def test_several_answers_can_be_drawn_for_each_text(self, provider, job, examples):
        texts, labels = examples
        asked = [Conversation(messages=[{"role": "user", "content": text}]) for text in texts]
        drawn = Writing(temperature=1.0, n=5, seed=0, logprobs=True)
        answers: dict[int, list[Reply]] = {}
        for i, reply in provider.chat(job.fine_tuned_model, asked, concurrency=4, writing=drawn):
            answers.setdefault(i, []).append(reply)
        assert sorted(answers) == list(range(len(texts)))
        for replies in answers.values():
            assert len(replies) == 5
            assert {reply.text for reply in replies} <= set(labels)
            assert all(len(reply.logprobs) == 1 and reply.logprobs[0] < 0 for reply in replies)
            assert {reply.finish_reason for reply in replies} == {"stop"}
        again = list(provider.chat(job.fine_tuned_model, asked[:1], concurrency=1, writing=drawn))
        assert [reply.text for _, reply in again] == [reply.text for reply in answers[0]]

    def test_a_model_that_is_not_there_writes_nothing(self, provider):
        asked = [Conversation(messages=[{"role": "user", "content": "x"}])]
        with pytest.raises(NotFound):
            list(provider.chat("ft:none", asked, concurrency=1))


class TestInMemory(ProviderContract):
    @pytest.fixture(scope="class")
    @classmethod
    def provider(cls) -> Provider:
        return FakeProvider()


class TestEmbeddedServer(ProviderContract):
    @pytest.fixture(scope="class")
    @classmethod
    def provider(cls, embedded) -> Iterator[Provider]:
        provider = OpenAIWire(embedded, can=Capabilities())
        provider.warm_up()
        yield provider

    def test_a_cancelled_job_ends_at_once(self, provider, chat_file):
        sent = provider.upload(chat_file)
        request = wire.JobCreate(
            model="minilm-l6",
            training_file=sent.id,
            method=wire.Method(supervised=wire.Supervised()),
        )
        job = provider.create_job(request)
        assert provider.cancel(job.id).status == "cancelled"
        assert list(provider.follow(job.id))
        assert provider.job(job.id).fine_tuned_model is None

    def test_a_model_can_be_deleted(self, provider, job):
        provider.delete_model(job.fine_tuned_model)
        assert provider.model(job.fine_tuned_model) is None
