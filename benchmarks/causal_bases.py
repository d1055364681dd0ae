"""Causal models with random weights and real architectures, and the rows they are tuned on.

Does not know: what is measured.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import compare

GSM8K = compare.ROOT.parent / "shared" / "data" / "gsm8k"
"""Grade-school mathematics (Cobbe et al. 2021), where it lies beside the checkout."""
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
WORDS = r" ?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+|\s+"
"""What the tokenizer never merges over."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A model's size, in transformers' words."""

    family: str
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    tie_word_embeddings: bool = True

    @property
    def in_layers(self) -> int:
        """Weights of the layers' matrices."""
        width = self.hidden_size
        shared = width * self.num_key_value_heads // self.num_attention_heads
        attention = 2 * width * width + 2 * width * shared
        return self.num_hidden_layers * (attention + 3 * width * self.intermediate_size)

    @property
    def in_head(self) -> int:
        """Weights of the output layer."""
        return self.vocab_size * self.hidden_size


SHAPES = {
    "30M": Shape(
        family="Llama", vocab_size=32_000, hidden_size=384, intermediate_size=1024,
        num_hidden_layers=10, num_attention_heads=6, num_key_value_heads=6,
    ),
    "0.5B": Shape(
        family="Qwen2", vocab_size=151_936, hidden_size=896, intermediate_size=4864,
        num_hidden_layers=24, num_attention_heads=14, num_key_value_heads=2,
    ),
    "1.5B": Shape(
        family="Qwen2", vocab_size=151_936, hidden_size=1536, intermediate_size=8960,
        num_hidden_layers=28, num_attention_heads=12, num_key_value_heads=2,
    ),
    "8B": Shape(
        family="Llama", vocab_size=128_256, hidden_size=4096, intermediate_size=14_336,
        num_hidden_layers=32, num_attention_heads=32, num_key_value_heads=8,
        tie_word_embeddings=False,
    ),
}  # fmt: skip
"""A Llama for processors; the shapes of Qwen2.5 and Llama 3 for GPUs."""


def chat(row: dict[str, str]) -> dict[str, Any]:
    """A row of GSM8K as OpenAI's chat example."""
    said = (("user", row["question"]), ("assistant", row["answer"]))
    return {"messages": [{"role": role, "content": content} for role, content in said]}


def read(path: Path) -> list[Any]:
    """The lines of a JSONL file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def write_base(folder: Path, shape: Shape, texts: Iterable[str]) -> None:
    """A whole model folder; the tokenizer is trained on `texts`, up to 32,000 words."""
    import torch
    import transformers

    _write_tokenizer(folder, texts)
    sizes = {name: value for name, value in vars(shape).items() if name != "family"}
    config = getattr(transformers, f"{shape.family}Config")(
        **sizes, max_position_embeddings=2048, pad_token_id=0, bos_token_id=None, eos_token_id=2
    )
    torch.manual_seed(0)
    kind = torch.float32 if shape is SHAPES["30M"] else torch.bfloat16
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=kind)
    model.save_pretrained(folder)


def _write_tokenizer(folder: Path, texts: Iterable[str]) -> None:
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=32_000,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(texts, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=made, eos_token="<|im_end|>", pad_token="<|endoftext|>"
    )
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
