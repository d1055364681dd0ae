import json

import pytest
import tiny_causal

from tunesmith.model.rendering import Renderer
from tunesmith.serving.causal.calls import Reader, form_of, lead_of
from tunesmith.serving.writing import Call

NAMES = ("get_weather", "add")
HEAD = """{{ bos_token }}{% if tools %}{{ '[TOOLS]' + (tools | tojson) + '[/TOOLS]' }}{% endif %}"""
LIST = (  # as Mistral writes calls: all in one list, each with an id
    HEAD
    + """{% for m in messages %}{% if m.role == 'user' %}{{ '[INST]' + m.content + '[/INST]' }}
{%- elif m.tool_calls %}{{ '<|python_tag|>[' }}{% for c in m.tool_calls %}
{{- '{"name": "' + c.function.name + '", "arguments": ' + (c.function.arguments | tojson) }}
{{- ', "id": "' + c.id + '"}' }}{% if not loop.last %}{{ ', ' }}{% endif %}{% endfor %}
{{- ']' + eos_token }}{% else %}{{ m.content + eos_token }}{% endif %}{% endfor %}"""
)
NAMED = (  # the name outside of JSON
    HEAD
    + """{% for m in messages %}{{ '<|start_header_id|>' + m.role + '<|end_header_id|>' }}
{%- for c in m.tool_calls or [] %}
{{- '<function=' + c.function.name + '>' + (c.function.arguments | tojson) + '</function>' }}
{%- endfor %}{{ (m.content or '') + '<|eot_id|>' }}{% endfor %}
{%- if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>' }}{% endif %}"""
)
NESTED = LIST.replace('{"name": "', '{"type": "function", "function": {"name": "').replace(
    """', "id": "' + c.id + '"}'""", "'}}'"
)
TEXTUAL = NESTED.replace(
    "(c.function.arguments | tojson)", "(c.function.arguments | tojson | tojson)"
)
TEMPLATES = {"list": LIST, "named": NAMED, "nested": NESTED, "textual": TEXTUAL}
FORMATS = ("llama", "qwen3", "list", "named", "nested")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    made = tmp_path_factory.mktemp("models")
    return {name: tiny_causal.tiny(made / name, name) for name in tiny_causal.ARCHITECTURES}


@pytest.fixture
def form(request, folders):
    return found(folders, request.param)


def found(folders, name):
    own = folders.get(name, folders["llama"])
    renderer = Renderer(own, max_length=512, template=TEMPLATES.get(name))
    return form_of(renderer, lead_of(renderer))


def written(form, *calls, lead=""):
    """Calls as the template writes them."""
    parts = [name + form.middle + arguments for name, arguments in calls]
    return form.before.removeprefix(lead) + (form.between or "").join(parts) + form.after


def read(form, text, *, only=False, size=1, hidden=()):
    """(text pieces, calls) where `text` comes in pieces of `size` characters."""
    reader = Reader(form, NAMES, only=only, hidden=hidden)
    pieces = []
    for start in range(0, len(text), size):
        pieces.append(reader.add(text[start : start + size]))
        if reader.is_done:
            break
    return [*pieces, reader.end()], reader.calls


WEATHER = ("get_weather", '{"city": "Oslo"}')
ADD = ("add", '{"a": {"b": [1, 2]}, "c": "}</tool"}')
LEAD = "<think>\n\n</think>\n\n"


def as_written(form, *calls):
    return written(form, *calls, lead=LEAD)


@pytest.mark.parametrize("form", FORMATS, indirect=True)
@pytest.mark.parametrize("size", [1, 4, 1000])
def test_what_a_template_writes_is_read(form, size):
    for call in (WEATHER, ADD):
        pieces, calls = read(form, as_written(form, call), size=size)
        assert ("".join(pieces), calls) == ("", [Call(*call)])


@pytest.mark.parametrize("form", FORMATS, indirect=True)
def test_a_call_that_is_not_one_of_the_functions_is_text(form):
    text = as_written(form, ("nobody", '{"city": "Oslo"}'))
    pieces, calls = read(form, text)
    assert ("".join(pieces), calls) == (text, [])


@pytest.mark.parametrize("form", ["qwen3", "list", "named", "nested"], indirect=True)
def test_several_calls_are_read(form):
    pieces, calls = read(form, as_written(form, WEATHER, ADD, WEATHER))
    assert ("".join(pieces), calls) == ("", [Call(*WEATHER), Call(*ADD), Call(*WEATHER)])
    _, calls = read(form, as_written(form, WEATHER, ADD), only=True)
    assert calls == [Call(*WEATHER)]


def test_a_template_that_takes_one_call_is_known_by_that(folders):
    assert found(folders, "llama").between is None
    assert found(folders, "qwen3").between == '}\n</tool_call>\n<tool_call>\n{"name": "'


def test_arguments_written_as_a_string_are_no_format_that_is_known(folders):
    assert found(folders, "textual") is None


@pytest.mark.parametrize("form", ["qwen3", "list", "named"], indirect=True)
def test_text_around_a_call_is_text(form):
    pieces, calls = read(form, "Let me see.\n\n" + as_written(form, WEATHER) + "\n")
    assert ("".join(pieces), calls) == ("Let me see.", [Call(*WEATHER)])
    assert "".join(pieces[:11]) == "Let me see."
    pieces, calls = read(form, as_written(form, WEATHER) + " Done.")
    assert ("".join(pieces), calls) == (" Done.", [Call(*WEATHER)])


def test_white_space_and_the_order_of_keys_do_not_matter(folders):
    form = found(folders, "qwen3")
    text = '<tool_call>{ "arguments" :{"city":"Oslo"} ,\n"name": "get_weather" }   </tool_call>'
    assert read(form, text)[1] == [Call(*WEATHER)]
    form = found(folders, "llama")
    text = ' {"name" :"get_weather",\n  "parameters": {"city":"Oslo"} }'
    assert read(form, text)[1] == [Call(*WEATHER)]


def test_a_call_whose_end_is_missing_counts_and_one_without_arguments_does_not(folders):
    form = found(folders, "qwen3")
    text = as_written(form, WEATHER)
    assert read(form, text.removesuffix("\n</tool_call>"))[1] == [Call(*WEATHER)]
    for broken in (text[:-16], text.replace('{"city": "Oslo"}', '"Oslo"'), "<tool_call> hello"):
        pieces, calls = read(form, broken)
        assert ("".join(pieces), calls) == (broken, [])


def test_json_that_is_no_call_is_told_as_it_comes(folders):
    form = found(folders, "llama")
    pieces, calls = read(form, '{"name": "Oslo", "in": "Norway"} is a city')
    assert (calls, "".join(pieces)) == ([], '{"name": "Oslo", "in": "Norway"} is a city')
    assert len("".join(pieces[:12])) > 8
    text = "So: " + as_written(form, WEATHER)
    assert "".join(read(form, text)[0]) == text


def test_special_tokens_of_the_format_are_never_text(folders):
    form = found(folders, "list")
    assert "".join(read(form, "<|python_tag|> hm", hidden=["<|python_tag|>"])[0]) == " hm"
    assert read(form, as_written(form, WEATHER), hidden=["<|python_tag|>"])[1] == [Call(*WEATHER)]


def test_what_stands_before_answers_is_known(folders):
    leads = {name: lead_of(Renderer(folder, max_length=64)) for name, folder in folders.items()}
    assert leads == {"llama": "", "qwen3": LEAD, "gemma": ""}


def test_a_template_without_calls_has_no_format(folders):
    assert found(folders, "gemma") is None


@pytest.mark.parametrize("form", ["llama", "qwen3", "list", "named"], indirect=True)
def test_arguments_are_told_as_json(form):
    text = as_written(form, ("add", '{"text":   "日本", "n": 1.50}'))
    (call,) = read(form, text)[1]
    assert json.loads(call.arguments) == {"text": "日本", "n": 1.5}
    assert "日本" in call.arguments
