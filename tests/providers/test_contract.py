"""What every provider must do, the one in memory that other tests use included."""

import math
from collections.abc import Iterator

import pytest
from fake_provider import FakeProvider
from wire_servers import AzureForm, Kept, Troubled

from tunesmith import wire
from tunesmith.config import ProviderConfig
from tunesmith.errors import NotFound, NotOffered, RequestError
from tunesmith.providers import Capabilities, Conversation, Provider, Reply, Writing, connect
from tunesmith.providers.openai_wire import OpenAIWire
from tunesmith.settings import Settings


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

    def test_a_content_with_a_name_of_its_own_is_sent_once(self, provider, chat_file):
        first = provider.upload(chat_file, name="train-0123456789ab.jsonl")
        assert first.filename == "train-0123456789ab.jsonl"
        assert provider.upload(chat_file, name="train-0123456789ab.jsonl") == first
        assert provider.upload(chat_file, name="train-ba9876543210.jsonl").id != first.id

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
        with pytest.raises(NotOffered):
            list(provider.embed("ft:none", ["x"], concurrency=1))
        if not provider.can.embeddings:
            return
        texts = [*examples[0], examples[0][0]]
        vectors = dict(provider.embed("minilm-l6", texts, concurrency=2))
        assert sorted(vectors) == list(range(len(texts)))
        assert len({vector.shape for vector in vectors.values()}) == 1
        assert vectors[0].ndim == 1 and vectors[0].any()
        assert vectors[0].tolist() == pytest.approx(vectors[len(texts) - 1].tolist(), abs=1e-4)
        assert vectors[0].tolist() != pytest.approx(vectors[1].tolist(), abs=1e-2)

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
        provider = OpenAIWire(Kept(embedded), can=Capabilities())
        provider.warm_up()
        yield provider
        provider.close()

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


class Elsewhere(ProviderContract):
    """A separate Tunesmith server, over HTTP, with a row's capabilities and its form."""

    row = "tunesmith"

    @pytest.fixture(scope="class")
    @classmethod
    def address(cls, own_server) -> Iterator[str]:
        yield own_server.base_url

    @pytest.fixture(scope="class")
    @classmethod
    def provider(cls, own_server, address, tmp_path_factory) -> Iterator[Provider]:
        settings = Settings(data_dir=tmp_path_factory.mktemp("client"), api_key=own_server.key)
        config = ProviderConfig(name=cls.row, base_url=address, key_env="CONTRACT_KEY")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("CONTRACT_KEY", own_server.key)
            with connect(config, settings) as provider:
                yield provider


class TestSeparateServer(Elsewhere):
    def test_a_server_like_ours_is_recognised(self, own_server, provider, tmp_path):
        settings = Settings(data_dir=tmp_path, api_key=own_server.key)
        with connect(ProviderConfig(base_url=own_server.base_url), settings) as found:
            assert found.can.options and found.can.catalog
        with connect(ProviderConfig(name="openai", base_url=own_server.base_url), settings) as said:
            assert not said.can.options


class TestThroughOpenAIsRow(Elsewhere):
    row = "openai"


class TestInAzuresForm(Elsewhere):
    row = "azure"

    @pytest.fixture(scope="class")
    @classmethod
    def front(cls, own_server) -> Iterator[AzureForm]:
        front = AzureForm(own_server.port)
        yield front
        front.close()

    @pytest.fixture(scope="class")
    @classmethod
    def address(cls, front) -> Iterator[str]:
        yield front.address

    def test_every_request_had_azures_form(self, provider, front):
        provider.models()
        assert front.wrong == []


class TestThroughTrouble(Elsewhere):
    """Every 7th request is answered 429 or 500, cut in mid-body, or its reply is lost."""

    row = "openai"

    @pytest.fixture(scope="class")
    @classmethod
    def front(cls, own_server) -> Iterator[Troubled]:
        front = Troubled(own_server.port)
        yield front
        front.close()

    @pytest.fixture(scope="class")
    @classmethod
    def address(cls, front) -> Iterator[str]:
        yield front.base_url

    def test_there_was_trouble(self, provider, front):
        for _ in range(4 * 7):
            provider.models()
        assert set(front.faults) >= {"429", "500", "cut", "lost"}
