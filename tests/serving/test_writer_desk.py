"""The desk: parity with transformers, batching, stopping, limits, several models."""

import shutil
import warnings
from itertools import pairwise

import lowrank_adapters
import pytest
import tiny_causal
import torch
from causal_desk import GREEDY, HELLO, UNENDING, Asking

from tunesmith.errors import ConfigError, DataError, NotFound, ProviderError
from tunesmith.model.cards import CausalCard
from tunesmith.model.causal import load, load_network
from tunesmith.model.rendering import Renderer
from tunesmith.serving.causal import models, scheduler
from tunesmith.serving.writing import Began, Drawing, Ended, Piece, TooLong

CONVERSATIONS = [
    HELLO,
    [{"role": "user", "content": "Please refund the second charge. " * 6}],
    [{"role": "user", "content": "Bonjour!"}, {"role": "assistant", "content": "Good morning."},
     {"role": "user", "content": "What is the weather like in Lisbon tomorrow?"}],
]  # fmt: skip


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    made = tmp_path_factory.mktemp("models")
    return {name: tiny_causal.tiny(made / name, name) for name in tiny_causal.ARCHITECTURES}


@pytest.fixture(scope="module")
def asking():
    return Asking(max_loaded=3)


@pytest.fixture(scope="module")
def peers(folders):
    return {name: load_network(folder, precision="fp32") for name, folder in folders.items()}


@torch.inference_mode()
def generated(network, folder, messages, most):
    """What transformers writes, alone and greedily: (ids, log-probabilities)."""
    renderer = Renderer(folder, max_length=512)
    prompt = torch.tensor([renderer.prompt(messages)])
    out = network.generate(
        prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=most, do_sample=False,
        output_logits=True, return_dict_in_generate=True,
        eos_token_id=sorted(renderer.ends), pad_token_id=renderer.pad,
    )  # fmt: skip
    ids = out.sequences[0, prompt.shape[1] :].tolist()
    rows = zip(out.logits, ids, strict=True)
    return ids, [logits[0].log_softmax(-1)[token].item() for logits, token in rows]


@pytest.mark.parametrize("name", tiny_causal.ARCHITECTURES)
def test_greedy_answers_are_transformers_own_alone_and_amid_traffic(asking, folders, peers, name):
    expected = [generated(peers[name], folders[name], m, 40) for m in CONVERSATIONS]
    for messages, (ids, logprobs) in zip(CONVERSATIONS, expected, strict=True):
        answer = asking.answer(folders[name], messages=messages, most=40, drawing=GREEDY, top=2)
        assert answer.ids() == ids
        assert [t.logprob for t in answer.tokens()] == pytest.approx(logprobs, abs=1e-4)
    answers = []
    for i in range(9):
        asking.ask(folders[name], most=5 + 9 * i, n=1 + i % 3, drawing=Drawing(seed=i))
        answers.append(
            asking.ask(folders[name], messages=CONVERSATIONS[i % 3], most=40, drawing=GREEDY, top=0)
        )
        asking.run(passes=4)
    asking.run()
    for i, answer in enumerate(answers):
        ids, logprobs = expected[i % 3]
        assert answer.ids() == ids
        assert [t.logprob for t in answer.tokens()] == pytest.approx(logprobs, abs=1e-4)


def test_what_is_told_begins_with_the_prompt_and_ends_with_the_reason(asking, folders):
    answer = asking.answer(folders["qwen3"], most=9, drawing=GREEDY, top=3)
    kinds = [type(event) for event in answer.events]
    assert (kinds[0], kinds[-1], set(kinds[1:-1])) == (Began, Ended, {Piece})
    prompt = Renderer(folders["qwen3"], max_length=64).prompt(HELLO)
    assert (answer.began.prompt_tokens, answer.began.prompt_ids) == (len(prompt), prompt)
    assert (answer.ended().reason, answer.ended().completion_tokens) == ("length", 9)
    for token in answer.tokens():
        assert len(token.top) == 3
        assert token.top[0][0] == token.id
        assert token.top[0][3] == pytest.approx(token.logprob)
    assert b"".join(t.raw for t in answer.tokens()).decode(errors="replace") == answer.text()


def test_a_model_ends_its_answer_with_any_of_its_end_tokens(asking, folders):
    renderer = Renderer(folders["qwen3"], max_length=64)
    for end in renderer.ends:
        drawing = Drawing(temperature=0, bias={end: 1000.0})
        answer = asking.answer(folders["qwen3"], drawing=drawing)
        assert (answer.ids(), answer.text()) == ([end], "")
        assert (answer.ended().reason, answer.ended().completion_tokens) == ("stop", 1)


def test_an_answer_stops_before_a_stop_and_tells_its_tokens(asking, folders):
    free = asking.answer(folders["llama"], most=40, drawing=GREEDY)
    stop = free.text()[10:14]
    cut = asking.answer(folders["llama"], most=40, drawing=GREEDY, stop=["never", stop])
    assert cut.text() == free.text()[: free.text().index(stop)]
    assert cut.ended().reason == "stop"
    assert cut.ids() == free.ids()[: len(cut.ids())]
    assert b"".join(t.raw for t in cut.tokens()).decode(errors="replace").find(stop) >= 0


def test_a_seed_gives_the_same_choices_whatever_else_is_written(asking, folders):
    options = {"most": 25, "n": 3, "drawing": Drawing(seed=11, temperature=0.9, top_p=0.95)}
    alone = asking.answer(folders["llama"], **options)
    for i in range(5):
        asking.ask(folders["llama"], messages=CONVERSATIONS[i % 3], most=30)
    beside = asking.answer(folders["llama"], **options)
    texts = [alone.text(k) for k in range(3)]
    assert texts == [beside.text(k) for k in range(3)]
    assert len(set(texts)) == 3
    assert asking.answer(folders["llama"], **{**options, "n": 1}).text() == texts[0]


def test_a_context_that_is_full_ends_the_answer(asking, folders):
    prompt = list(range(20, 120)) * 5
    answer = asking.answer(folders["llama"], prompt=prompt, drawing=Drawing(bias=UNENDING))
    assert answer.began.prompt_ids == prompt
    assert (answer.ended().reason, answer.ended().completion_tokens) == ("length", 12)


def test_nothing_is_written_where_nothing_is_wanted(asking, folders):
    answer = asking.answer(folders["llama"], most=0, n=2)
    assert [end.reason for end in answer.of(Ended)] == ["length", "length"]
    assert not answer.of(Piece)


def test_a_text_goes_to_the_model_as_it_is(asking, folders):
    tokenizer = Renderer(folders["llama"], max_length=64).tokenizer
    answer = asking.answer(folders["llama"], prompt="The order number is", most=4)
    assert answer.began.prompt_ids == tokenizer.encode("The order number is").ids
    assert answer.began.prompt_ids[0] == tokenizer.token_to_id("<|begin_of_text|>")


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"prompt": []}, ConfigError, "no tokens"),
        ({"prompt": [5, 600]}, ConfigError, "600 is not one of this model's 600"),
        ({"prompt": [-1]}, ConfigError, "-1"),
        ({"prompt": [9] * 512}, TooLong, "512 tokens, and the model reads 512"),
        ({"drawing": Drawing(bias={700: 1.0})}, ConfigError, "logit_bias"),
        ({"messages": [{**HELLO[0]}] * 2, "gemma": True}, DataError, "refuses"),
        ({"messages": [{"role": "nobody", "content": "a"}]}, DataError, "role"),
        ({"messages": [{}]}, DataError, "role"),
        ({"messages": "what?"}, ProviderError, "could not answer"),
    ],
)  # fmt: skip
def test_a_request_that_is_wrong_fails_alone(asking, folders, caplog, options, error, said):
    folder = folders["gemma" if options.pop("gemma", False) else "llama"]
    before = asking.ask(folder, most=8, drawing=GREEDY)
    wrong = asking.ask(folder, **options)
    after = asking.ask(folder, most=8, drawing=GREEDY)
    asking.run()
    assert isinstance(wrong.error, error)
    assert said in str(wrong.error)
    assert before.ids() == after.ids()


def test_files_that_are_gone_are_named(asking, tmp_path):
    for folder in (tmp_path / "nowhere", tmp_path):
        assert isinstance(asking.answer(folder).error, NotFound)


def test_a_request_that_is_stopped_leaves_at_once(folders):
    asking = Asking()
    long = asking.ask(folders["llama"], prompt=[9] * 100)
    other = asking.ask(folders["llama"], most=30, drawing=GREEDY)
    asking.run(passes=5)
    told = len(long.events)
    assert told > 3
    asking.desk.stop(1)
    asking.run()
    assert len(long.events) == told
    assert other.ended().completion_tokens == 30
    caches = next(iter(asking.desk._library._networks.values())).reads._caches
    assert not any(block.owners for block in caches._shared.values())


def test_a_request_that_is_stopped_before_it_begins_is_never_begun(folders):
    asking = Asking()
    never = asking.ask(folders["llama"])
    asking.desk.stop(1)
    asking.desk.stop(99)
    asking.run()
    assert not never.events


def test_long_prompts_do_not_stall_those_who_write(folders, monkeypatch):
    monkeypatch.setitem(scheduler.READ_BESIDE, "cpu", 32)
    asking = Asking()
    letter = Drawing(temperature=0, bias={70: 1000.0})  # every token is told at once
    writing = asking.ask(folders["llama"], most=60, drawing=letter)
    asking.run(passes=2)
    long = asking.ask(folders["llama"], prompt=[9] * 400, most=2, drawing=GREEDY)
    short = asking.ask(folders["llama"], prompt=[9, 8], most=2, drawing=GREEDY)
    written = [len(writing.ids())]
    while not long.of(Began):
        asking.run(passes=1)
        written.append(len(writing.ids()))
    assert len(written) == 1 + 13  # 400 tokens, 32 a pass
    assert all(later > earlier for earlier, later in pairwise(written))
    asking.run()
    assert short.ended().completion_tokens == 2


@pytest.mark.parametrize("tokens", [128, 200])
def test_caches_that_are_full_put_the_youngest_off(folders, monkeypatch, tokens):
    monkeypatch.setattr(scheduler, "SPARE", 0)
    free, tight = Asking(), Asking(cache_tokens=tokens)
    options = {"most": 50, "n": 2, "drawing": Drawing(seed=3, bias=UNENDING)}
    answers = []
    for asking in (free, tight):
        answers.append([asking.ask(folders["llama"], **options) for _ in range(4)])
    most = 0
    while tight.desk.is_busy:
        tight.run(passes=1)
        for _, running in tight.desk._schedulers.values():
            kept = [text.cache.length for text in running._writing]
            most = max(most, sum(kept) + sum(text.read for text in running._reading))
    free.run()
    assert tokens - 20 < most <= tokens
    for one, other in zip(*answers, strict=True):
        assert [one.ids(k) for k in range(2)] == [other.ids(k) for k in range(2)]
        assert len(other.of(Began)) == 1


def test_a_prompt_that_fits_no_cache_is_refused_with_what_does(folders):
    answer = Asking(cache_tokens=100).answer(folders["llama"], prompt=[9] * 200)
    assert "the model reads 100" in str(answer.error)


def test_the_least_recently_used_model_makes_room_but_never_one_in_use(folders):
    asking = Asking(max_loaded=1)
    first = asking.ask(folders["llama"], most=20, drawing=GREEDY)
    second = asking.ask(folders["qwen3"], most=5, drawing=GREEDY)
    third = asking.ask(folders["llama"], most=5, drawing=GREEDY)
    asking.run(passes=10)
    assert first.events
    assert not second.events
    asking.run()
    assert third.ids() == first.ids()[:5]
    assert second.ended().completion_tokens == 5
    loaded = [source.folder for source in asking.desk._library._networks]
    assert loaded == [folders["llama"]]


def test_a_model_that_is_forgotten_is_read_again(folders, tmp_path):
    asking = Asking()
    folder = tmp_path / "model"
    shutil.copytree(folders["llama"], folder)
    before = asking.answer(folder, most=5, drawing=GREEDY)
    shutil.rmtree(folder)
    assert asking.answer(folder, most=5, drawing=GREEDY).ids() == before.ids()
    asking.desk.forget("model")
    asking.desk.forget("never held")
    assert isinstance(asking.answer(folder).error, NotFound)


def test_adapters_share_the_weights_of_their_base_model(folders, tmp_path):
    base = folders["qwen3"]
    made = {}
    for seed, name in enumerate(("one", "two")):
        folder = made[name] = tmp_path / name
        lowrank_adapters.save_adapter(base, folder, seed, r=4, use_dora=seed == 1)
        Renderer(base, max_length=512).save(folder)
        CausalCard(base_model="tiny", base_folder=str(base), method="lora", max_length=512).save(
            folder
        )
    bare = tmp_path / "bare"  # as PEFT alone writes it
    lowrank_adapters.save_adapter(base, bare, 2, r=2)
    made["bare"] = bare
    asking = Asking(max_loaded=1)
    answers = {
        name: [asking.ask(folder, most=20, drawing=GREEDY) for _ in range(2)]
        for name, folder in {**made, "base": base}.items()
    }
    asking.run()
    assert len(asking.desk._library._networks) == 1
    for name, folder in made.items():
        network = lowrank_adapters.with_adapter(base, folder)
        ids, _ = generated(network, base, HELLO, 20)
        assert [answer.ids() for answer in answers[name]] == [ids, ids]
    ids, _ = generated(load_network(base, precision="fp32"), base, HELLO, 20)
    assert answers["base"][0].ids() == ids
    assert len({tuple(pair[0].ids()) for pair in answers.values()}) == 4


def test_the_adapters_used_least_recently_are_forgotten(folders, tmp_path, monkeypatch):
    monkeypatch.setattr(models, "ADAPTERS", 2)
    asking = Asking(max_loaded=1)
    made = [tmp_path / name for name in ("one", "two", "three")]
    for seed, folder in enumerate(made):
        lowrank_adapters.save_adapter(folders["llama"], folder, seed, r=2)
    for folder in (made[0], made[1], made[0], made[2]):
        asking.answer(folder, most=1)
    assert [name for name, _ in asking.desk._library._models] == ["one", "three"]
    assert asking.answer(made[1], most=3).ended().completion_tokens == 3


def test_an_adapter_on_4_bits_answers_as_it_was_tuned(folders, tmp_path):
    pytest.importorskip("bitsandbytes")
    base = folders["llama"]
    lowrank_adapters.save_adapter(base, tmp_path, r=4, use_dora=True)
    Renderer(base, max_length=512).save(tmp_path)
    card = CausalCard(base_model="t", base_folder=str(base), method="qlora", max_length=512)
    card.save(tmp_path)
    answer = Asking().answer(tmp_path, most=8, top=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of PEFT, about transformers
        tuned = load(tmp_path)
    prompt = Renderer(base, max_length=512).prompt(HELLO)
    ids = torch.tensor([[*prompt, *answer.ids()]])
    with torch.inference_mode():
        logprobs = tuned.network(input_ids=ids, use_cache=False).logits[0].log_softmax(-1)
    rows = logprobs[len(prompt) - 1 : -1].gather(1, ids[0, len(prompt) :, None])[:, 0]
    assert [t.logprob for t in answer.tokens()] == pytest.approx(rows.tolist(), abs=1e-4)


def test_an_adapter_whose_base_model_is_gone_says_so(folders, tmp_path):
    lowrank_adapters.save_adapter(folders["llama"], tmp_path / "one", r=2)
    CausalCard(base_model="tiny-7b", base_folder="/nowhere", method="lora", max_length=9).save(
        tmp_path / "one"
    )
    answer = Asking().answer(tmp_path / "one")
    assert isinstance(answer.error, NotFound)
    assert "tiny-7b" in str(answer.error)


def test_a_pass_that_fails_fails_those_in_it_and_no_others(folders, monkeypatch, caplog):
    asking = Asking()
    one, other = (asking.ask(folders["llama"], most=9) for _ in range(2))
    asking.run(passes=3)
    reads = next(iter(asking.desk._library._networks.values())).reads
    with monkeypatch.context() as broken:
        broken.setattr(reads, "forward", lambda chunks: torch.zeros(10)[20])
        asking.run(passes=1)
    for answer in (one, other):
        assert isinstance(answer.error, ProviderError)
    again = asking.answer(folders["llama"], most=9)
    assert again.ended().completion_tokens == len(again.ids())


def test_numbers_that_are_none_are_told(folders, tmp_path):
    network = load_network(folders["llama"], precision="fp32")
    with torch.no_grad():
        network.lm_head.weight[3:50] = torch.nan
    shutil.copytree(folders["llama"], tmp_path / "broken")
    network.save_pretrained(tmp_path / "broken")
    answer = Asking().answer(tmp_path / "broken", most=9)
    assert isinstance(answer.error, ProviderError)
    assert "weights" in answer.error.what


def test_a_model_whose_attention_has_no_plug_is_served_all_the_same(folders, tmp_path):
    import transformers

    folder = tmp_path / "lfm2"
    shutil.copytree(folders["llama"], folder)
    torch.manual_seed(0)
    config = transformers.Lfm2Config(
        vocab_size=600, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, layer_types=["conv", "full_attention"],
        max_position_embeddings=512, bos_token_id=0, eos_token_id=4, pad_token_id=7,
    )  # fmt: skip
    transformers.Lfm2ForCausalLM(config).save_pretrained(folder)
    shutil.copy(folders["llama"] / "generation_config.json", folder)
    asking = Asking()
    answers = [
        asking.ask(folder, messages=m, most=12, n=2, drawing=GREEDY, top=0) for m in CONVERSATIONS
    ]
    asking.run()
    network = load_network(folder, precision="fp32")
    for answer, messages in zip(answers, CONVERSATIONS, strict=True):
        ids, logprobs = generated(network, folder, messages, 12)
        assert answer.ids(0) == answer.ids(1) == ids
        assert [t.logprob for t in answer.tokens(1)] == pytest.approx(logprobs, abs=1e-4)


def test_a_model_trained_in_bf16_answers_in_what_is_fast_here(folders, tmp_path, monkeypatch):
    folder = tmp_path / "rounded"
    shutil.copytree(folders["llama"], folder)
    CausalCard(
        base_model="tiny", base_folder="", method="full", max_length=512, precision="bf16"
    ).save(folder)
    prompt = Renderer(folder, max_length=512).prompt(HELLO)
    network = load_network(folder, precision="fp32")
    for here, limit in (("fp32", 1e-4), ("bf16", 3e-2)):
        monkeypatch.setattr("tunesmith.serving.causal.models.faster", lambda here=here: (here, ""))
        answer = Asking().answer(folder, most=8, drawing=GREEDY, top=0)
        ids = torch.tensor([[*prompt, *answer.ids()]])
        with torch.inference_mode():
            logprobs = network(input_ids=ids).logits[0].log_softmax(-1)
        rows = logprobs[len(prompt) - 1 : -1].gather(1, ids[0, len(prompt) :, None])[:, 0]
        gap = max(abs(a - t.logprob) for a, t in zip(rows.tolist(), answer.tokens(), strict=True))
        assert gap < limit
        assert here == "fp32" or gap > 1e-5
