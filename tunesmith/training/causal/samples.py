"""The trainer's own answers to held-out prompts, with which the parity gate compares others.

They are found by other means than those that serve: transformers' own generation, one prompt at a
time; and for labels, by reading the prompt with each of them.
Does not know: how a model is served, files.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from tunesmith.data.chat.files import prompt_text
from tunesmith.model.causal import Causal
from tunesmith.training.causal import causal_loss
from tunesmith.training.causal.causal_loss import Head
from tunesmith.training.causal.packs import BATCH_TOKENS, Batch, packs
from tunesmith.training.causal.rows import Rows, rendered

MOST = 64
"""Tokens of an answer."""
SECONDS, FEWEST = 60.0, 5
"""Time for all answers, after which only the fewest are still made."""


def written(model: Causal, rows: Rows) -> Iterator[dict[str, Any]]:
    """Greedy answers to what the last answers of examples answer.

    Each with its token ids, their log-probabilities, and the gaps to the second most probable.
    """
    started = time.monotonic()
    with model.answering() as network:
        for count, example in enumerate(rows.examples):
            if count >= FEWEST and time.monotonic() - started > SECONDS:
                return
            given, messages = _asked(example)
            ids = model.renderer.prompt(messages, given.get("tools"))
            if len(ids) + 1 >= model.card.max_length:
                continue
            most = min(MOST, model.card.max_length - len(ids))
            made, logprobs, gaps = _greedy(model, network, ids, most)
            tools = {"tools": given["tools"]} if given.get("tools") else {}
            text = model.renderer.tokenizer.decode(made, skip_special_tokens=True)
            yield {
                "messages": messages,
                **tools,
                "text": text,
                "ids": made,
                "logprobs": logprobs,
                "gaps": gaps,
                "most": most,
            }


def _asked(example: Mapping[str, Any]) -> tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]:
    """(what holds the tools, messages up to the last answer)."""
    if "input" in example:
        return example["input"], list(example["input"]["messages"])
    messages = list(example["messages"])
    while messages[-1]["role"] == "assistant":
        messages.pop()
    return example, [{k: v for k, v in one.items() if k != "weight"} for one in messages]


@torch.no_grad()
def _greedy(
    model: Causal, network: Any, ids: Sequence[int], most: int
) -> tuple[list[int], list[float], list[float]]:
    given = torch.tensor([ids], device=model.device)
    with model.multiplying():
        found = network.generate(
            given,
            attention_mask=torch.ones_like(given),
            max_new_tokens=most,
            do_sample=False,
            num_beams=1,
            temperature=None,
            top_p=None,
            top_k=None,
            repetition_penalty=None,
            eos_token_id=sorted(model.renderer.ends),
            pad_token_id=model.renderer.pad,
            output_logits=True,
            return_dict_in_generate=True,
        )
    made: list[int] = found.sequences[0, len(ids) :].tolist()
    shares = torch.stack(found.logits)[:, 0].float().log_softmax(-1)
    best = shares.topk(2).values
    own = shares.gather(1, torch.tensor(made, device=shares.device)[:, None])[:, 0]
    return made, own.tolist(), (best[:, 0] - best[:, 1]).tolist()


def chosen(model: Causal, head: Head, rows: Rows) -> Iterator[dict[str, Any]]:
    """The most probable label of each example, and its log-probability among all of them."""
    labels = model.card.labels
    for example in rows.examples:
        messages = example["messages"][:-1]
        texts = [
            rendered(model, {**example, "messages": [*messages, _answer(label)]})
            for label in labels
        ]
        best = _log_probs(model, head, texts).log_softmax(0).max(0)
        yield {
            "text": prompt_text(messages),
            "label": labels[int(best.indices)],
            "logprob": best.values.item(),
        }


def _answer(label: str) -> dict[str, str]:
    return {"role": "assistant", "content": label}


@torch.no_grad()
def _log_probs(model: Causal, head: Head, texts: Sequence[Any]) -> Tensor:
    """Of the answers, (texts,), each read alone with its prompt."""
    out = torch.empty(len(texts))
    model.network.eval()
    for batch in packs([len(text.ids) for text in texts], range(len(texts)), BATCH_TOKENS):
        some = [texts[i] for i in batch]
        made = (Batch.padded(some) if model.unpacked else Batch.packed(some)).to(model.device)
        with model.multiplying():
            out[batch] = causal_loss.answers(model.network, made, head).float().cpu()
    return out
