import json

import jsonschema_rs
import pytest
import tiny_causal
import torch
from causal_desk import GREEDY, WEATHER, Asking

from tunesmith.errors import ConfigError, NotOffered
from tunesmith.serving.writing import Drawing

SCHEMA = {
    "type": "object",
    "properties": {
        "topic": {"enum": ["billing", "delivery"]},
        "order": {"type": ["string", "null"], "pattern": "^[A-Z][0-9]{4}$"},
        "parts": {"type": "array", "items": {"$ref": "#/$defs/part"}, "minItems": 1, "maxItems": 2},
    },
    "required": ["topic", "order", "parts"],
    "additionalProperties": False,
    "$defs": {
        "part": {
            "type": "object",
            "properties": {"n": {"type": "integer", "minimum": 0, "maximum": 99}},
            "required": ["n"],
            "additionalProperties": False,
        }
    },
}
CITY = WEATHER["function"]["parameters"]
OTHER = {"type": "function", "function": {"name": "add"}}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    made = tmp_path_factory.mktemp("models")
    return {name: tiny_causal.tiny(made / name, name) for name in tiny_causal.ARCHITECTURES}


@pytest.fixture(scope="module")
def asking():
    return Asking(max_loaded=3)


@pytest.mark.parametrize("name", tiny_causal.ARCHITECTURES)
def test_an_answer_fits_its_schema_and_ends_with_it(asking, folders, name):
    answers = [
        asking.ask(folders[name], schema=SCHEMA, most=400, drawing=Drawing(seed=seed))
        for seed in range(4)
    ]
    free = asking.ask(folders[name], most=20, drawing=GREEDY)
    asking.run()
    for answer in answers:
        value = json.loads(answer.text())
        assert jsonschema_rs.is_valid(SCHEMA, value)
        assert answer.ended().reason == "stop"
        assert answer.ended().completion_tokens == len(answer.tokens())
    assert free.text() == asking.answer(folders[name], most=20, drawing=GREEDY).text()


def test_any_object_will_do_where_there_is_no_schema(asking, folders):
    answers = [
        asking.ask(folders["llama"], schema=True, most=150, drawing=Drawing(seed=seed))
        for seed in range(5)
    ]
    asking.run()
    ended = [answer for answer in answers if answer.ended().reason == "stop"]
    assert ended
    assert all(isinstance(json.loads(answer.text()), dict) for answer in ended)


def test_an_answer_that_is_cut_says_so(asking, folders):
    answer = asking.answer(folders["llama"], schema=SCHEMA, most=5, drawing=Drawing(seed=1))
    assert (answer.ended().reason, answer.ended().completion_tokens) == ("length", 5)


def test_a_number_may_end_or_go_on(asking, folders):
    answer = asking.answer(
        folders["llama"], schema={"type": "integer"}, most=400, drawing=Drawing(seed=3)
    )
    assert answer.ended().reason == "stop"
    assert isinstance(json.loads(answer.text()), int)


def test_log_probabilities_are_those_before_anything_was_ruled_out(asking, folders):
    answer = asking.answer(
        folders["llama"], schema=SCHEMA, most=400, top=0, drawing=Drawing(seed=1)
    )
    assert max(token.logprob for token in answer.tokens()) < -1  # the random model's own


def test_a_schema_that_cannot_be_held_to_is_refused_with_the_reason(asking, folders):
    answer = asking.ask(folders["llama"], schema={"type": "object", "not": {"required": ["a"]}})
    beside = asking.ask(folders["llama"], most=3)
    asking.run()
    assert isinstance(answer.error, NotOffered)
    assert "not" in answer.error.what
    assert beside.ended().reason == "length"


@pytest.mark.parametrize(("name", "others"), [("llama", []), ("qwen3", [OTHER])])
def test_a_call_that_must_be_made_is_made(asking, folders, name, others):
    answers = [
        asking.ask(
            folders[name], tools=[*others, WEATHER], call={"name": "get_weather"},
            most=300, drawing=Drawing(seed=seed),
        )
        for seed in range(4)
    ]  # fmt: skip
    asking.run()
    for answer in answers:
        (call,) = answer.ended().calls
        assert call.name == "get_weather"
        assert jsonschema_rs.is_valid(CITY, json.loads(call.arguments))
        assert (answer.ended().reason, answer.text()) == ("tool_calls", "")


@pytest.mark.parametrize("parallel", [True, False])
def test_one_of_the_functions_is_called_where_any_will_do(asking, folders, parallel):
    answers = [
        asking.ask(
            folders["qwen3"], tools=[OTHER, WEATHER], call="required", parallel=parallel,
            most=400, drawing=Drawing(seed=seed),
        )
        for seed in range(6)
    ]  # fmt: skip
    asking.run()
    ended = [answer.ended() for answer in answers if answer.ended().reason == "tool_calls"]
    assert {call.name for end in ended for call in end.calls} <= {"add", "get_weather"}
    numbers = {len(end.calls) for end in ended}
    assert (numbers == {1}) if not parallel else (min(numbers) >= 1)


def test_a_schema_holds_beside_functions_that_may_be_called(asking, folders):
    answers = [
        asking.ask(
            folders["qwen3"], tools=[WEATHER], schema=SCHEMA, most=400, drawing=Drawing(seed=seed)
        )
        for seed in range(6)
    ]
    asking.run()
    for answer in answers:
        if answer.ended().calls:
            assert jsonschema_rs.is_valid(CITY, json.loads(answer.ended().calls[0].arguments))
        else:
            assert jsonschema_rs.is_valid(SCHEMA, json.loads(answer.text()))


def test_calls_that_cannot_be_made_are_refused(asking, folders, tmp_path):
    answer = asking.answer(folders["llama"], tools=[WEATHER], call={"name": "fly"})
    assert isinstance(answer.error, ConfigError)
    silent = tiny_causal.tiny(tmp_path / "silent", "llama")
    settings = json.loads((silent / "tokenizer_config.json").read_text())
    settings["chat_template"] = "{{ tools | tojson }}" + "".join(
        "{% for m in messages %}{{ m.role + ': ' + m.content + '<|eot_id|>' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
    )
    (silent / "tokenizer_config.json").write_text(json.dumps(settings))
    answer = asking.answer(silent, tools=[WEATHER], call="required")
    assert isinstance(answer.error, NotOffered)
    assert asking.answer(silent, tools=[WEATHER], most=3).ended().reason == "length"


def test_masks_are_as_wide_as_the_logits(asking, folders):
    asking.answer(folders["qwen3"], most=1)
    (model,) = (
        m for m in asking.desk._library._models.values() if "qwen3" in str(m.renderer._folder)
    )
    constraint = model.grammars.constraint('start: "a"', about="a letter")
    assert constraint.mask().shape == torch.Size([600])
