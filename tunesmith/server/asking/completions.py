"""POST /v1/completions: the older endpoint, whose prompts are plain texts.

Does not know: how the answer is computed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic_core import to_json

from tunesmith import wire
from tunesmith.server.asking import answers
from tunesmith.server.asking.answers import Choice, Sampling
from tunesmith.server.asking.askable import Models
from tunesmith.server.asking.objects import DONE, LOWEST, sent, text_head, text_usage
from tunesmith.server.asking.written import requests
from tunesmith.server.asking.written.completions import TextDraft
from tunesmith.server.asking.written.live import Live, together
from tunesmith.server.bodies import parsed
from tunesmith.server.errors import ApiError
from tunesmith.server.models import Found
from tunesmith.serving.batch import Classification


def router(models: Models) -> APIRouter:
    """The routes."""
    routes = APIRouter()

    @routes.post("/completions")
    async def create_completion(request: Request) -> Response:
        asked = parsed(wire.CompletionRequest, await request.body())
        model = await models.find(asked.model, request.scope["caller"].project)
        _check(asked)
        if model.way == "write":
            return _written(models, model, asked)
        return await _chosen(models, model, asked)

    return routes


def _check(asked: wire.CompletionRequest) -> None:
    """Raises: ApiError 400 for what no model can do."""
    answers.check_stream_options(asked)
    if asked.suffix:
        what = "This model inserts nothing before a text that follows; leave 'suffix' out."
        raise ApiError(400, what, param="suffix")
    if asked.best_of is not None and asked.best_of < (asked.n or 1):
        raise ApiError(400, "'best_of' must be at least as large as 'n'.", param="best_of")


# --- models that write ----------------------------------------------------------------------------


def _written(models: Models, model: Found, asked: wire.CompletionRequest) -> Response:
    prompts = _given(asked)
    if asked.stream and (asked.best_of or 1) > (asked.n or 1):
        what = "'best_of' cannot be larger than 'n' where 'stream' is true: all answers are needed."
        raise ApiError(400, what, param="best_of")
    if asked.echo and not all(isinstance(prompt, str) for prompt in prompts):
        raise ApiError(400, "'echo' needs the prompt as text.", param="echo")
    asks = [requests.of_completion(model, asked, prompt) for prompt in prompts]
    events = together([models.write(ask, "prompt") for ask in asks])
    return Live(asked.model, TextDraft(asked, prompts), events, stream=bool(asked.stream))


def _given(asked: wire.CompletionRequest) -> list[str | list[int]]:
    """The prompts, each a text or token ids."""
    prompt = asked.prompt
    if isinstance(prompt, str):
        return [prompt]
    ids = [one for one in prompt if isinstance(one, int)]
    return [ids] if ids else [one for one in prompt if not isinstance(one, int)]


# --- models with labels ---------------------------------------------------------------------------


async def _chosen(models: Models, model: Found, asked: wire.CompletionRequest) -> Response:
    prompts, sampling = _prompts(asked), _sampling(asked)
    answered = await models.choose_each(model, prompts, "prompt")
    choices = [
        {**choice, "index": index}
        for index, choice in enumerate(_choices(asked, sampling, prompts, answered))
    ]
    usage = text_usage(sum(one.prompt_tokens for one in answered), sampling.n * len(prompts))
    head = {**text_head(asked.model), **_cut(answered)}
    headers = answers.headers(asked.model, answered)
    if asked.stream:
        body = b"".join(_stream(asked, head, choices, usage))
        return answers.reply(body, "text/event-stream", headers)
    body = to_json({**head, "choices": choices, "usage": usage})
    return answers.reply(body, "application/json", headers)


def _cut(answered: Sequence[Classification]) -> dict[str, Any]:
    """What the reply says under our own name: the tokens that were cut off, if any were; of which
    prompts, where there are several."""
    told = answers.extra(answered)
    if told and len(answered) > 1:
        lost = {str(i): one.cut_tokens for i, one in enumerate(answered) if one.cut_tokens}
        told["tunesmith"]["cut_prompts"] = lost
    return told


def _prompts(asked: wire.CompletionRequest) -> list[str]:
    """The prompts. Raises: ApiError 400 for those that are not text."""
    prompts = [asked.prompt] if isinstance(asked.prompt, str) else asked.prompt
    texts = [prompt for prompt in prompts if isinstance(prompt, str)]
    if len(texts) < len(prompts):
        raise ApiError(
            400,
            "This model labels texts and takes no token ids. Give the prompt as text.",
            param="prompt",
        )
    return texts


def _sampling(asked: wire.CompletionRequest) -> Sampling:
    """How to choose: `best_of` answers, of which the `n` most probable ones are sent.

    Raises: ApiError 400.
    """
    sampling = answers.sampling(asked)
    return replace(sampling, n=asked.best_of or sampling.n)


def _choices(
    asked: wire.CompletionRequest,
    sampling: Sampling,
    prompts: Sequence[str],
    answered: Sequence[Classification],
) -> Iterator[dict[str, Any]]:
    """The choices of all prompts, in their order."""
    for prompt, answer in zip(prompts, answered, strict=True):
        made, best = answers.choices(answer, sampling, top=asked.logprobs or 0)
        if asked.best_of:
            made = sorted(made, key=lambda one: one.logprob, reverse=True)[: asked.n or 1]
        for one in made:
            yield {
                "text": prompt + one.text if asked.echo else one.text,
                "logprobs": None if asked.logprobs is None else _logprobs(asked, prompt, one, best),
                "finish_reason": "stop",
            }


def _logprobs(
    asked: wire.CompletionRequest, prompt: str, choice: Choice, best: Sequence[Choice]
) -> dict[str, Any]:
    """OpenAI's parallel arrays. A token's offset is that in the prompt with the answer behind it,
    and a prompt that is echoed is one token of unknown probability."""
    tops = {one.text: max(one.logprob, LOWEST) for one in [*best, choice]}
    rows: list[tuple[str, float | None, dict[str, float] | None, int]] = []
    if asked.echo:
        rows.append((prompt, None, None, 0))
    if choice.text:
        rows.append((choice.text, tops[choice.text], tops if asked.logprobs else None, len(prompt)))
    return {
        "tokens": [row[0] for row in rows],
        "token_logprobs": [row[1] for row in rows],
        "top_logprobs": [row[2] for row in rows] if asked.logprobs else None,
        "text_offset": [row[3] for row in rows],
    }


def _stream(
    asked: wire.CompletionRequest,
    head: dict[str, Any],
    choices: Sequence[dict[str, Any]],
    usage: dict[str, Any],
) -> Iterator[bytes]:
    """Server-sent events: the text and the end of each choice; usage where asked for."""
    include = asked.stream_options is not None and asked.stream_options.include_usage
    no_usage: dict[str, Any] = {"usage": None} if include else {}
    for choice in choices:
        end = {**choice, "text": "", "logprobs": None}
        for said in ({**choice, "finish_reason": None}, end):
            yield sent({**head, "choices": [said], **no_usage})
    if include:
        yield sent({**head, "choices": [], "usage": usage})
    yield DONE
