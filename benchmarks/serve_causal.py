"""Tokens per second that a causal model writes, ours against transformers' `generate`.

A 30M-parameter Llama with random weights; greedy answers of given lengths to prompts of given
lengths, since it is the work that is compared and not the words. Ours: the process that the server
has, asked by so many clients at once, each of which asks again as soon as it has its answer; what
goes between the processes is included. The peer, in this process: one request after the other, and
in batches of as many as there are clients, sorted by length (which a server, to which requests come
one by one, could not do), padded on the left, each as long as its longest answer.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import compare
from tunesmith.serving.writers import Writers
from tunesmith.serving.writing import Ask, Drawing, Ended

SIZES = {
    "vocab_size": 32_000, "hidden_size": 512, "intermediate_size": 1408, "num_hidden_layers": 8,
    "num_attention_heads": 8, "max_position_embeddings": 2048, "tie_word_embeddings": True,
    "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip
GROUPED = 2
"""Heads of keys and values, as today's small models have them."""


@dataclass(frozen=True)
class Request:
    """A prompt in tokens, and how many tokens its answer has."""

    prompt: list[int]
    most: int


def requests(number: int, *, seed: int, even: bool) -> list[Request]:
    """Prompts of 16 to 256 tokens and answers of 16 to 128; even: of 64 and 64."""
    draw = random.Random(seed)
    out = []
    for _ in range(number):
        length, most = (64, 64) if even else (draw.randint(16, 256), draw.randint(16, 128))
        out.append(Request([draw.randrange(3, SIZES["vocab_size"]) for _ in range(length)], most))
    return out


def save_model(folder: Path) -> Any:
    """Write the model with a tokenizer of as many words into `folder`; return it."""
    import transformers
    from tokenizers import Tokenizer, models

    words = {word: i for i, word in enumerate(["<pad>", "<s>", "</s>"])}
    words |= {f"w{i}": i for i in range(3, SIZES["vocab_size"])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    ).save_pretrained(folder)
    config = transformers.LlamaConfig(**SIZES, num_key_value_heads=GROUPED)
    model = transformers.LlamaForCausalLM(config).eval()
    model.save_pretrained(folder)
    return model


async def ask_all(writers: Writers, folder: Path, asked: list[Request], clients: int) -> float:
    """Tokens per second, with that many clients at once."""
    waiting = iter(asked)

    async def client() -> int:
        written = 0
        for request in waiting:
            ask = Ask(
                model="llama-30m", folder=folder, prompt=request.prompt, most=request.most,
                drawing=Drawing(temperature=0, bias={SIZES["eos_token_id"]: -100.0}),
            )  # fmt: skip
            async for event in writers.write(ask):
                if isinstance(event, Ended):
                    written += event.completion_tokens
        return written

    started = time.perf_counter()
    written = sum(await asyncio.gather(*(client() for _ in range(clients))))
    assert written == sum(request.most for request in asked)
    return written / (time.perf_counter() - started)


def generate(model: Any, asked: list[Request], size: int) -> float:
    """Tokens per second that were wanted, in batches of `size`."""
    import torch

    asked = sorted(asked, key=lambda request: (len(request.prompt), request.most))
    started = time.perf_counter()
    for at in range(0, len(asked), size):
        batch = asked[at : at + size]
        longest = max(len(request.prompt) for request in batch)
        ids = [[0] * (longest - len(r.prompt)) + r.prompt for r in batch]
        seen = [[0] * (longest - len(r.prompt)) + [1] * len(r.prompt) for r in batch]
        most = max(request.most for request in batch)
        with torch.inference_mode():
            model.generate(
                torch.tensor(ids), attention_mask=torch.tensor(seen), do_sample=False,
                max_new_tokens=most, min_new_tokens=most,
            )  # fmt: skip
    return sum(request.most for request in asked) / (time.perf_counter() - started)


def main() -> None:
    """Compare and report."""
    import torch
    from transformers.utils import logging

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--requests", type=int, default=2, help="of each client")
    parser.add_argument("--even", action="store_true", help="all of one length")
    asked = parser.parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(asked.threads)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = save_model(folder)
        writers = Writers(max_loaded=1, threads=asked.threads)
        for clients in asked.clients:
            work = requests(max(4, clients * asked.requests), seed=clients, even=asked.even)
            runs: dict[str, Callable[[], float]] = {
                f"ours, {clients} at once": lambda work=work, clients=clients: asyncio.run(
                    ask_all(writers, folder, work, clients)
                ),
                "generate, one by one": lambda work=work: generate(model, work[:4], 1),
            }
            if clients > 1:
                runs[f"generate, batches of {clients}"] = lambda work=work, clients=clients: (
                    generate(model, work, clients)
                )
            for run in runs.values():
                run()  # warm up
            kind = "even" if asked.even else "mixed"
            compare.report(
                f"serve_causal_{kind}_{clients}",
                "tokens/s",
                compare.in_turn(runs, rounds=asked.rounds),
                ours=f"ours, {clients} at once",
                more_is_better=True,
                notes={
                    "model": f"Llama, {model.num_parameters() / 1e6:.0f}M parameters, fp32",
                    "requests": f"{len(work)}, lengths {kind}, {asked.threads} threads",
                },
            )
        writers.close()


if __name__ == "__main__":
    main()
