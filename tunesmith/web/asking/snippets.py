"""A request as code: curl, and OpenAI's SDKs for Python and Node.

The key is never in it: programs find it in the environment, as OPENAI_API_KEY.
Does not know: what is asked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

PYTHON = """from openai import OpenAI

client = OpenAI(base_url={url})  # the key is read from OPENAI_API_KEY
reply = client.chat.completions.create(
{arguments}
)
{then}
"""
NODE = """import OpenAI from "openai";

const client = new OpenAI({{ baseURL: {url} }}); // the key is read from OPENAI_API_KEY
const reply = await client.chat.completions.create({body});
{then}
"""
PYTHON_TEXT = """for chunk in reply:
    for choice in chunk.choices:
        print(choice.delta.content or "", end="", flush=True)"""
PYTHON_LABEL = """print(reply.choices[0].message.content)
for label in reply.choices[0].logprobs.content[0].top_logprobs:
    print(f"{2.718281828459045 ** label.logprob:7.1%}  {label.token}")"""
NODE_TEXT = """for await (const chunk of reply) {
  process.stdout.write(chunk.choices[0]?.delta?.content ?? "");
}"""
NODE_LABEL = """console.log(reply.choices[0].message.content);
for (const label of reply.choices[0].logprobs.content[0].top_logprobs) {
  console.log(`${(100 * Math.exp(label.logprob)).toFixed(1)} %  ${label.token}`);
}"""


def snippets(base_url: str, body: Mapping[str, Any]) -> dict[str, str]:
    """Name of the language → the code that makes this request. `base_url` ends in /v1."""
    streams = bool(body.get("stream"))
    return {
        "curl": _curl(base_url, body, streams=streams),
        "Python": PYTHON.format(
            url=json.dumps(base_url, ensure_ascii=False),
            arguments="\n".join(f"    {k}={_python(v, 1)}," for k, v in body.items()),
            then=PYTHON_TEXT if streams else PYTHON_LABEL,
        ),
        "Node": NODE.format(
            url=json.dumps(base_url),
            body=_javascript(body),
            then=NODE_TEXT if streams else NODE_LABEL,
        ),
    }


def _curl(base_url: str, body: Mapping[str, Any], *, streams: bool) -> str:
    text = json.dumps(body, indent=2, ensure_ascii=False).replace("'", "'\\''")
    return (
        f"curl {'--no-buffer ' * streams}'{base_url}/chat/completions' \\\n"
        '  -H "Authorization: Bearer $OPENAI_API_KEY" \\\n'
        "  -H 'Content-Type: application/json' \\\n"
        f"  -d '{text}'\n"
    )


def _python(value: Any, depth: int) -> str:
    """The value as Python writes it, over several lines where it holds others."""
    inner, outer = "    " * (depth + 1), "    " * depth
    if isinstance(value, Mapping) and value:
        parts = [f"{inner}{_python(k, 0)}: {_python(v, depth + 1)},\n" for k, v in value.items()]
        return "{\n" + "".join(parts) + outer + "}"
    if isinstance(value, list) and value:
        return "[\n" + "".join(f"{inner}{_python(v, depth + 1)},\n" for v in value) + outer + "]"
    if isinstance(value, str):
        return _quoted(value)
    return repr(value)


def _quoted(text: str) -> str:
    """A string literal; JSON's escapes are Python's, too, but for halves of surrogate pairs."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\x7f")


def _javascript(body: Mapping[str, Any]) -> str:
    """JSON is JavaScript; names of arguments need no quotes there."""
    lines = []
    for name, value in body.items():
        text = json.dumps(value, indent=2, ensure_ascii=False).replace("\n", "\n  ")
        lines.append(f"  {name}: {text},\n")
    return "{\n" + "".join(lines) + "}"
