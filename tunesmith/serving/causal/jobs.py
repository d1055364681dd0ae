"""A request made what the scheduler computes: a prompt in tokens, and how answers are written.

Knows: the model's template, tokens and format of calls. Does not know: when it is computed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from tunesmith.errors import ConfigError, NotOffered
from tunesmith.serving.causal.calls import Form, Reader
from tunesmith.serving.causal.choice import Choice, Manner
from tunesmith.serving.causal.constraint import Constraint, json_rule
from tunesmith.serving.causal.labels import Comparison
from tunesmith.serving.causal.models import Model
from tunesmith.serving.causal.sampling import Sampler
from tunesmith.serving.causal.scheduler import Job, Send
from tunesmith.serving.causal.text import Growing
from tunesmith.serving.writing import Ask, Choose, TooLong

Request: TypeAlias = Ask | Choose


def job_of(request: Request, model: Model, context: int, send: Send) -> Job:
    """The job of a request. context: tokens of a prompt and its answer.

    Raises: DataError when the template refuses the messages; ConfigError for a prompt without
    tokens, with unknown ones or too many, and for tokens or functions that there are not;
    NotOffered for schemas and calls that cannot be had.
    """
    if isinstance(request, Choose):
        return _choosing(request, model, context, send)
    prompt = _prompt(request, model)
    param = "prompt" if request.messages is None else "messages"
    _check_prompt(prompt, model, context, param=param)
    _check_bias(request, model)
    room = context - len(prompt)
    most = room if request.most is None else min(room, request.most)
    return Job(
        prompt, send, adapter=model.adapter, choices=list(_choices(request, model, prompt, most))
    )


def _choosing(request: Choose, model: Model, context: int, send: Send) -> Job:
    card, labels = model.card, request.labels
    if not labels and card is not None:
        labels = card.labels
    if not labels:
        raise NotOffered(f"The model {request.model} was not tuned to choose among labels.")
    messages = card.cleaned(request.messages) if card else request.messages
    prompt = model.renderer.prompt(messages)
    answers = model.answers(messages, labels)
    _check_prompt(prompt, model, context, param="messages", answer=max(map(len, answers)))
    return Job(prompt, send, adapter=model.adapter, labels=(labels, Comparison(answers)))


def _prompt(ask: Ask, model: Model) -> list[int]:
    if ask.messages is not None:
        return model.renderer.prompt(ask.messages, list(ask.tools) or None)
    if isinstance(ask.prompt, str):
        return list(model.renderer.tokenizer.encode(ask.prompt).ids)
    return list(ask.prompt or ())


def _check_prompt(
    prompt: Sequence[int], model: Model, context: int, *, param: str, answer: int = 1
) -> None:
    """answer: tokens that it has at least."""
    size = model.network.size
    if not prompt:
        raise ConfigError("The prompt has no tokens.", fix="Write something.", param=param)
    if len(prompt) + answer > context:
        raise TooLong(
            f"The prompt has {len(prompt):,} tokens, and the model reads {context:,} with its "
            "answer.",
            fix="Shorten it.",
            param=param,
            prompt_tokens=len(prompt),
            context=context,
        )
    if odd := [token for token in prompt if not 0 <= token < size]:
        raise ConfigError(
            f"Token id {odd[0]} is not one of this model's {size:,}.",
            fix="Send a text, or the ids that the model's own tokenizer makes of it.",
            param=param,
        )


def _check_bias(ask: Ask, model: Model) -> None:
    size = model.network.size
    if odd := [token for token in ask.drawing.bias if not 0 <= token < size]:
        raise ConfigError(
            f"logit_bias names token id {odd[0]}, and this model has {size:,}.",
            fix=f"Use ids from 0 to {size - 1}.",
            param="logit_bias",
        )


def _choices(ask: Ask, model: Model, prompt: list[int], most: int) -> Iterator[Choice]:
    tools = ask.tools if ask.call != "none" else ()
    must = bool(tools) and ask.call != "auto"
    form = model.form if tools else None
    if must and form is None:
        raise NotOffered("This model's chat template does not write calls of functions.")
    wanted = _wanted(ask, tools)
    constraint = _constraint(ask, model, form, wanted)
    only = not ask.parallel or isinstance(ask.call, Mapping)
    hidden = _special(form, model) if form else {}
    for index in range(ask.n):
        reader = Reader(form, _names(wanted), only=only, hidden=hidden.values()) if form else None
        manner = Manner(
            alphabet=model.alphabet,
            ends=model.renderer.ends,
            most=most,
            sampler=Sampler(ask.drawing, number=index, top=ask.top),
            text=Growing(ask.stop, lead=model.lead if ask.messages is not None else ""),
            constraint=constraint.copy() if constraint else None,
            reader=reader,
            shown=hidden,
        )
        yield Choice(index, prompt, manner)


def _wanted(ask: Ask, tools: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The tools that may be called."""
    if not isinstance(ask.call, Mapping):
        return list(tools)
    name = ask.call["name"]
    found = [tool for tool in tools if tool["function"]["name"] == name]
    if not found:
        raise ConfigError(
            f"There is no function named {name!r} among the tools.", param="tool_choice"
        )
    return found


def _names(tools: Sequence[Mapping[str, Any]]) -> list[str]:
    return [tool["function"]["name"] for tool in tools]


def _constraint(
    ask: Ask, model: Model, form: Form | None, tools: Sequence[Mapping[str, Any]]
) -> Constraint | None:
    """What the answers are held to: calls where there must be some, else the schema if any."""
    must = bool(tools) and ask.call != "auto"
    if not must and ask.schema is False:
        return None
    literal = model.grammars.literal
    ways, rules = [], []
    if form is not None:
        only = not ask.parallel or isinstance(ask.call, Mapping)
        ways.append("calls")
        rules.append(form.grammar(tools, literal, only=only))
    if not must:
        ways.append("said")
        lead = f"{literal(model.lead)} " if model.lead and ask.messages is not None else ""
        rules.append(f"said: {lead}value\nvalue: {json_rule(ask.schema)}")
    grammar = "\n".join([f"start: {' | '.join(ways)}", *rules])
    return model.grammars.constraint(grammar, about="the functions" if must else "the schema")


def _special(form: Form, model: Model) -> Mapping[int, str]:
    """Special tokens that belong to the format of calls, by id."""
    written = form.opening + form.begin + form.middle + form.after + form.closing
    special = model.alphabet.special.items()
    return {token: content for token, content in special if content in written}
