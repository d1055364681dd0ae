"""Answers as JSON: chat completions and responses with a response format, through the SDK."""

import json
from enum import Enum
from typing import Literal

import openai
import pytest
from pydantic import BaseModel, create_model

from tunesmith.server.asking.formats import Format, written
from tunesmith.wire.schemas import Schema, faults

ASK = [{"role": "user", "content": "Where is it?"}]


@pytest.fixture
def server(shared):
    shared.pool.__init__()
    shared.pool.labels = type(shared.pool).labels
    return shared


@pytest.fixture(scope="module")
def model(shared):
    return shared.tuned().fine_tuned_model


@pytest.fixture
def ask(server, model):
    def ask(**asked):
        return server.client.chat.completions.create(**{"model": model, "messages": ASK, **asked})

    return ask


def json_schema(schema, **asked):
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, **asked}}


def one(name, **rule):
    return {
        "type": "object",
        "properties": {name: {"type": "string", **rule}},
        "required": [name],
        "additionalProperties": False,
    }


def test_the_label_becomes_the_value_of_the_only_property(ask):
    answer = ask(
        response_format=json_schema(one("topic"), strict=True), logprobs=True, top_logprobs=2
    )
    choice = answer.choices[0]
    assert choice.message.content == '{"topic":"größer"}'
    joined = b"".join(bytes(token.bytes) for token in choice.logprobs.content)
    assert joined.decode() == choice.message.content
    assert [json.loads(t.token)["topic"] for t in choice.logprobs.content[0].top_logprobs] == [
        "größer",
        "card lost",
    ]
    assert answer.usage.completion_tokens == 1
    assert ask(response_format={"type": "text"}).choices[0].message.content == "größer"


def test_a_label_outside_the_enum_cannot_be_the_answer(ask):
    form = json_schema(one("topic", enum=["refund", "card lost", "other"]))
    answer = ask(response_format=form, n=64, temperature=2, seed=1)
    topics = [json.loads(choice.message.content)["topic"] for choice in answer.choices]
    assert set(topics) == {"card lost", "refund"}
    best = ask(response_format=form, logprobs=True, top_logprobs=5).choices[0]
    assert best.message.content == '{"topic":"card lost"}'
    assert len(best.logprobs.content[0].top_logprobs) == 2


@pytest.mark.parametrize(
    "schema",
    [
        one("topic", enum=["none of them"]),
        {"type": "object", "properties": {"topic": {"type": "integer"}}},
        {"type": "object", "properties": {n: {"type": "string"} for n in "ab"}},
        {"type": "object", "properties": {"topic": {"$ref": "#/$defs/lost"}}},
        {"type": "object", "properties": {"topic": {"$ref": "#/properties/topic"}}},
        {"type": "object", "properties": {"topic": {"type": "string", "maxLength": 5}}},
    ],
)
def test_a_schema_that_no_label_fits_is_refused(ask, schema):
    with pytest.raises(openai.BadRequestError) as caught:
        ask(response_format=json_schema(schema), stream=True)
    assert caught.value.param == "response_format"
    assert "3 labels ('card lost', 'größer', 'refund')" in caught.value.body["message"]
    assert "none of them fits the schema 'answer'" in caught.value.body["message"]


def test_json_objects_need_labels_that_are_such(server, ask):
    with pytest.raises(openai.BadRequestError, match="none of them is a JSON object") as caught:
        ask(response_format={"type": "json_object"})
    assert "type 'json_schema'" in caught.value.body["message"]
    server.pool.labels = ('{"a": 1}', "größer", "[1]")
    answer = ask(response_format={"type": "json_object"}, logprobs=True, top_logprobs=3).choices[0]
    assert answer.message.content == '{"a": 1}'
    assert len(answer.logprobs.content[0].top_logprobs) == 1


def test_labels_that_are_json_objects_stay_as_they_are(server, ask):
    server.pool.labels = ('{"a": 1}', '{"a": "x"}', '{"b": 1}')
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    assert ask(response_format=json_schema(schema)).choices[0].message.content == '{"a": 1}'
    loose = {"type": "object"}
    assert ask(response_format=json_schema(loose)).choices[0].message.content == '{"a": "x"}'


@pytest.mark.parametrize(
    ("form", "param", "message"),
    [
        ({"type": "json_schema"}, "response_format.json_schema", "Missing required parameter"),
        (
            {"type": "json_schema", "json_schema": {"schema": {}}},
            "response_format.json_schema.name",
            "Missing required parameter",
        ),
        (json_schema({"type": "object"}, strict=True), "response_format", "additionalProperties"),
        (json_schema({"type": "array"}), "response_format", "got 'type: \"array\"'"),
        (json_schema({"type": "object", "required": [{}]}), "response_format", "list of names"),
        (
            json_schema(one("a", pattern="(a+)+$"), strict=True),
            "response_format",
            "In context=('properties', 'a'), 'pattern' is not permitted.",
        ),
    ],
)
def test_wrong_formats_are_refused_by_name(ask, form, param, message):
    with pytest.raises(openai.BadRequestError) as caught:
        ask(response_format=form)
    assert caught.value.param == param
    assert message in caught.value.body["message"]


class Topic(Enum):
    LOST = "card lost"
    REFUND = "refund"


class ByEnum(BaseModel):
    topic: Topic


class ByLiteral(BaseModel):
    topic: Literal["größer", "card lost"]


class Perhaps(BaseModel):
    topic: str | None


class Stars(BaseModel):
    stars: int


@pytest.mark.parametrize(
    ("kind", "labels", "value"),
    [
        (ByEnum, None, Topic.LOST),
        (ByLiteral, None, "größer"),
        (Perhaps, None, "größer"),
        (Stars, ("1", "5", "no idea"), 5),
    ],
)
def test_the_sdk_parses_answers_into_models(server, model, kind, labels, value):
    server.pool.labels = labels or server.pool.labels
    answer = server.client.chat.completions.parse(model=model, messages=ASK, response_format=kind)
    parsed = answer.choices[0].message.parsed
    assert getattr(parsed, next(iter(kind.model_fields))) == value
    response = server.client.responses.parse(model=model, input="Where?", text_format=kind)
    assert response.output_parsed == parsed
    with server.client.chat.completions.stream(
        model=model, messages=ASK, response_format=kind
    ) as stream:
        assert stream.get_final_completion().choices[0].message.parsed == parsed


def test_schemas_of_pydantic_are_strict_and_describe_its_values():
    from openai.lib._pydantic import to_strict_json_schema

    class Inner(BaseModel):
        kind: Literal["a"] | None
        many: list[int]

    class Outer(BaseModel):
        inner: Inner
        flag: bool
        ratio: float

    schema = to_strict_json_schema(Outer)
    assert list(faults(schema, strict=True)) == []
    right = {"inner": {"kind": "a", "many": [1]}, "flag": True, "ratio": 0.5}
    assert Schema(schema).fits(right)
    for wrong in (
        {**right, "flag": 1},
        {**right, "ratio": True},
        {**right, "more": 1},
        {"inner": right["inner"], "flag": True},
        {**right, "inner": {"kind": "b", "many": [1]}},
        {**right, "inner": {"kind": None, "many": ["1"]}},
        {**right, "inner": None},
    ):
        assert not Schema(schema).fits(wrong), wrong


@pytest.mark.parametrize(
    ("rule", "right", "wrong"),
    [
        ({"const": 1}, 1, True),
        ({"enum": [None, "a"]}, None, 0),
        ({"type": ["string", "null"]}, None, 1),
        ({"minimum": 2, "maximum": 3}, 2.5, 3.1),
        ({"minLength": 2, "maxLength": 3}, "ab", "a"),
        ({"minItems": 1, "maxItems": 1}, [1], []),
        ({"allOf": [{"minimum": 2}, {"maximum": 3}]}, 2, 4),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "", 1),
        ({"additionalProperties": {"type": "string"}}, {"k": "v"}, {"k": 1}),
        ({"items": False}, [], [1]),
        ({"format": "date", "pattern": "^x"}, "anything", None),
    ],
)
def test_what_keywords_mean(rule, right, wrong):
    schema = Schema({"type": "object", "properties": {"x": rule}})
    assert schema.fits({"x": right})
    if wrong is not None:
        assert not schema.fits({"x": wrong})


def test_schemas_that_go_round_or_double_end_soon():
    round_ = {"type": "object", "properties": {"x": {"$ref": "#/$defs/a"}}}
    round_["$defs"] = {"a": {"$ref": "#/$defs/a"}}
    assert not Schema(round_).fits({"x": 1})
    doubling = {f"d{i}": {"allOf": [{"$ref": f"#/$defs/d{i + 1}"}] * 2} for i in range(35)}
    doubling["d35"] = {"type": "string"}
    schema = {"type": "object", "properties": {"x": {"$ref": "#/$defs/d0"}}, "$defs": doubling}
    assert not Schema(schema).fits({"x": "text"})


def test_a_format_is_worked_out_once():
    labels = tuple(f"label {i}" for i in range(2000))
    form = Format("response_format", "n", json.dumps(one("topic")).encode())
    assert written(form, labels) is written(form, labels)
    assert written(form, labels)[7] == '{"topic":"label 7"}'


def test_models_made_at_run_time_are_parsed_too(server, model):
    kind = create_model("Made", label=(str, ...))
    answer = server.client.chat.completions.parse(model=model, messages=ASK, response_format=kind)
    assert answer.choices[0].message.parsed.label == "größer"
