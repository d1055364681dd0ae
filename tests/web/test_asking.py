"""What the playground asks, the code it shows, and labels beyond what one reply tells."""

import asyncio
import json
import math
import shutil
import subprocess

import pytest

from tunesmith.errors import ConfigError
from tunesmith.web.asking import labels, snippets
from tunesmith.web.asking.request import How, body, number_of, schema_of

HOSTILE = 'it\'s "so" \\ $HOME `x` \u2028 😀\n\t</script>'
SAID = [{"role": "user", "content": HOSTILE}]
SCHEMA = {"type": "object", "properties": {"ok": {"type": "boolean", "default": True}}}


def test_a_model_with_labels_is_asked_the_text_alone():
    asked = body("m", "labels", [{"role": "assistant", "content": "x"}, *SAID], How(system="be"))
    assert asked == {"model": "m", "messages": SAID, "logprobs": True, "top_logprobs": 20}


def test_a_model_that_writes_is_told_how():
    asked = body("m", "text", SAID, How(system="Be brief.", seed=3, schema=SCHEMA, temperature=0))
    assert asked["messages"] == [{"role": "system", "content": "Be brief."}, *SAID]
    assert (asked["temperature"], asked["seed"], asked["stream"]) == (0, 3, True)
    assert asked["response_format"]["json_schema"] == {"name": "answer", "schema": SCHEMA}
    plain = body("m", "text", SAID, How(max_tokens=None))
    assert set(plain) == {"model", "messages", "temperature", "stream"}


@pytest.mark.parametrize("answers", ["labels", "text"])
def test_the_code_in_python_makes_the_same_request(answers):
    asked = body("m", answers, SAID, How(seed=1, schema=SCHEMA))
    code = snippets.snippets("http://host:1/v1", asked)["Python"]
    assert "OPENAI_API_KEY" in code
    start = code.index("create(")
    end = code.index("\n)\n", start)
    given = eval("dict" + code[start + len("create") : end + 2])
    assert given == asked
    compile(code, "code", "exec")


@pytest.mark.parametrize("answers", ["labels", "text"])
def test_the_code_for_curl_sends_the_same_request(answers, tmp_path):
    asked = body("m", answers, SAID, How(seed=1, schema=SCHEMA))
    code = snippets.snippets("http://host:1/v1", asked)["curl"]
    fake = tmp_path / "curl"
    fake.write_text('#!/bin/sh\nfor last; do :; done\nprintf %s "$last"\n')
    fake.chmod(0o755)
    path = f"{tmp_path}:/usr/bin:/bin"
    done = subprocess.run(["sh", "-c", code], capture_output=True, check=True, env={"PATH": path})
    assert json.loads(done.stdout) == asked


@pytest.mark.skipif(not shutil.which("node"), reason="there is no Node")
def test_the_code_for_node_makes_the_same_request(tmp_path):
    asked = body("m", "text", SAID, How(seed=1, schema=SCHEMA))
    code = snippets.snippets("http://host:1/v1", asked)["Node"]
    start = code.index("create(") + len("create(")
    told = code[start : code.index("\n});", start) + 2]
    (tmp_path / "t.mjs").write_text(f"console.log(JSON.stringify({told}))")
    done = subprocess.run(["node", tmp_path / "t.mjs"], capture_output=True, check=True)
    assert json.loads(done.stdout) == asked


class Answering:
    """An API whose model has many labels and tells of twenty."""

    def __init__(self, number):
        self.labels = [f'label "{n}"' for n in range(number)]
        total = number * (number + 1) / 2
        self.shares = {label: (n + 1) / total for n, label in enumerate(self.labels)}
        self.asked = 0

    async def post(self, path, asked):
        self.asked += 1
        format_ = asked.get("response_format")
        only = self.labels
        if format_:
            schema = format_["json_schema"]["schema"]
            only = schema["properties"]["label"]["enum"]
        best = sorted(only, key=lambda label: -self.shares[label])[: asked["top_logprobs"]]
        told = [
            {"token": json.dumps({"label": label}) if format_ else label,
             "logprob": math.log(self.shares[label])}
            for label in best
        ]  # fmt: skip
        content = {"content": [{"top_logprobs": told}]}
        return {"choices": [{"logprobs": content}], "tunesmith": {"cut_tokens": 3}}


@pytest.mark.parametrize(("number", "requests"), [(3, 1), (20, 1), (21, 2), (150, 8)])
def test_all_labels_are_told_whatever_their_number(number, requests):
    api = Answering(number)
    found = asyncio.run(labels.judge(api, body("m", "labels", SAID, How()), api.labels))
    assert dict(found.labels) == pytest.approx(api.shares)
    shares = [share for _, share in found.labels]
    assert shares == sorted(shares, reverse=True) and sum(shares) == pytest.approx(1)
    assert (api.asked, found.cut_tokens) == (requests, 3)


def test_labels_that_are_not_known_are_those_that_are_told():
    api = Answering(30)
    found = asyncio.run(labels.judge(api, body("m", "labels", SAID, How()), ()))
    assert len(found.labels) == 20 and api.asked == 1


def test_settings_are_read_and_refused_in_sentences():
    assert schema_of(" ") is None and schema_of(json.dumps(SCHEMA)) == SCHEMA
    assert schema_of(json.dumps({"name": "x", "schema": SCHEMA})) == SCHEMA
    with pytest.raises(ConfigError, match="not JSON"):
        schema_of("{")
    with pytest.raises(ConfigError, match="is an object"):
        schema_of("[]")
    assert number_of("", least=0, most=2, whole=False) is None
    assert number_of("0.5", least=0, most=2, whole=False) == 0.5
    with pytest.raises(ConfigError, match="from 0 to 2"):
        number_of("3", least=0, most=2, whole=False)
    with pytest.raises(ConfigError, match="no whole number"):
        number_of("1.5", least=0, most=2, whole=True)
