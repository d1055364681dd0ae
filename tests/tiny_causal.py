"""Whole model folders of real causal architectures, with random weights, made in a second.

Each has a tokenizer with its family's special tokens and a chat template in its family's format,
with the habits that make those hard: Llama trims and takes one tool call a turn, Qwen3 drops the
reasoning of earlier turns, Gemma has no system turn and no tools and insists on alternating turns.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ARCHITECTURES = ("llama", "qwen3", "gemma")
VOCABULARY = 600
WORDS = r" ?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
"""What is never merged over; line breaks are, with each other and what stands before them."""

SENTENCES = """\
The parcel is late again and nobody answers the phone.
Please refund the second charge, it was my mistake to pay twice.
How do I reset the password of the machine in the kitchen?
You can reset it by holding the button for five seconds.
I am sorry to hear that. Could you tell me the order number?
The order number is 48213, from the seventh of March.
Thank you! Your refund of 19.90 euro is on its way.
What is the weather like in Lisbon tomorrow?
It will be sunny, with a light wind from the north and 23 degrees.
Translate this into French: good morning, my friends.
Bonjour mes amis, comment allez-vous aujourd'hui?
Write a short poem about the sea and the old lighthouse.
The light goes round, the sea goes on, and both are there when we are gone.
Which of these words is a noun: run, table, quickly?
The answer is table; run is a verb and quickly is an adverb.
You are a helpful assistant who answers in one sentence.
{"city": "Lisbon", "unit": "celsius", "days": 3}
{"name": "get_weather", "arguments": {"city": "Paris"}}
def add(a, b): return a + b
for i in range(10): print(i, i * i)
Classify the ticket as billing, delivery or technical.
The coffee machine leaks water and the screen shows an error.
My invoice was charged twice; I want the money back.
The courier left the box at the wrong door and drove away.
Straße, naïve, señor, Zürich, 東京, привет, 😀 and so on.
system user assistant tool model think answer question function
"""

QWEN3 = """\
{%- set state = namespace(last=-1) %}
{%- for message in messages %}
    {%- if message.role == 'user' %}{% set state.last = loop.index0 %}{% endif %}
{%- endfor %}
{%- set begins = messages and messages[0].role == 'system' %}
{%- if tools %}
    {{- '<|im_start|>system\\n' + (messages[0].content + '\\n\\n' if begins else '') }}
    {{- 'These functions can be called:\\n<tools>' }}
    {%- for tool in tools %}{{ '\\n' + tool | tojson }}{% endfor %}
    {{- '\\n</tools>\\nA call is JSON between <tool_call></tool_call>.<|im_end|>\\n' }}
{%- elif begins %}
    {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {%- set content = message.content if message.content is string else '' %}
    {%- if message.role == 'user' or (message.role == 'system' and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>\\n' }}
    {%- elif message.role == 'assistant' %}
        {%- set thought = '' %}
        {%- if message.reasoning_content is string %}
            {%- set thought = message.reasoning_content %}
        {%- elif '</think>' in content %}
            {%- set thought = content.split('</think>')[0].split('<think>')[-1].strip('\\n') %}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {{- '<|im_start|>assistant\\n' }}
        {%- if loop.index0 > state.last and (loop.last or thought) %}
            {{- '<think>\\n' + thought.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
        {%- else %}
            {{- content }}
        {%- endif %}
        {%- for call in message.tool_calls or [] %}
            {%- if content or not loop.first %}{{ '\\n' }}{% endif %}
            {{- '<tool_call>\\n{"name": "' + call.function.name + '", "arguments": ' }}
            {%- if call.function.arguments is string %}{{ call.function.arguments }}
            {%- else %}{{ call.function.arguments | tojson }}{% endif %}
            {{- '}\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == 'tool' %}
        {%- if loop.first or messages[loop.index0 - 1].role != 'tool' %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\\n<tool_response>\\n' + content + '\\n</tool_response>' }}
        {%- if loop.last or messages[loop.index0 + 1].role != 'tool' %}
            {{- '<|im_end|>\\n' }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}"""

LLAMA = """\
{{- bos_token }}
{%- set begins = messages and messages[0].role == 'system' %}
{{- '<|start_header_id|>system<|end_header_id|>\\n\\n' }}
{%- if tools %}
    {{- 'Environment: ipython\\nCall one of these functions with JSON:\\n\\n' }}
    {%- for tool in tools %}{{ tool | tojson(indent=4) + '\\n\\n' }}{% endfor %}
{%- endif %}
{{- (messages[0].content | trim if begins else '') + '<|eot_id|>' }}
{%- for message in (messages[1:] if begins else messages) %}
    {%- if message.tool_calls %}
        {%- if message.tool_calls | length != 1 %}
            {{- raise_exception('This model only supports single tool-calls at once!') }}
        {%- endif %}
        {%- set call = message.tool_calls[0].function %}
        {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n{"name": "' + call.name + '", ' }}
        {{- '"parameters": ' + call.arguments | tojson + '}<|eot_id|>' }}
    {%- elif message.role == 'tool' %}
        {{- '<|start_header_id|>ipython<|end_header_id|>\\n\\n' }}
        {{- (message.content | tojson) + '<|eot_id|>' }}
    {%- else %}
        {{- '<|start_header_id|>' + message.role + '<|end_header_id|>\\n\\n' }}
        {{- (message.content | trim) + '<|eot_id|>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}"""

GEMMA = """\
{{- bos_token }}
{%- set begins = messages and messages[0].role == 'system' %}
{%- set said = messages[1:] if begins else messages %}
{%- for message in said %}
    {%- if (message.role == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('Turns must alternate between user and assistant, user first.') }}
    {%- endif %}
    {{- '<start_of_turn>' + ('model' if message.role == 'assistant' else message.role) + '\\n' }}
    {%- if loop.first and begins %}{{ messages[0].content + '\\n\\n' }}{% endif %}
    {%- if message.content is string %}{{ message.content | trim }}
    {%- else %}{% for part in message.content %}{{ part.text | trim }}{% endfor %}
    {%- endif %}
    {{- '<end_of_turn>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"""

TEMPLATES = {"llama": LLAMA, "qwen3": QWEN3, "gemma": GEMMA}

SPECIAL = {
    "llama": (
        "<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>",
        "<|eot_id|>", "<|eom_id|>", "<|python_tag|>", "<|finetune_right_pad_id|>",
    ),
    "qwen3": ("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
    "gemma": ("<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"),
}  # fmt: skip
MARKS = {
    "llama": (),
    "qwen3": (
        "<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>"
    ),
    "gemma": (),
}  # fmt: skip
"""Tokens of their own that are not special: decoding shows them."""
ROLES = {
    "llama": {
        "bos_token": "<|begin_of_text|>",
        "eos_token": "<|eot_id|>",
        "pad_token": "<|finetune_right_pad_id|>",
    },
    "qwen3": {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"},
    "gemma": {
        "bos_token": "<bos>",
        "eos_token": "<eos>",
        "pad_token": "<pad>",
        "unk_token": "<unk>",
    },
}
ENDS = {
    "llama": ("<|end_of_text|>", "<|eot_id|>", "<|eom_id|>"),
    "qwen3": ("<|im_end|>", "<|endoftext|>"),
    "gemma": ("<eos>", "<end_of_turn>"),
}


def tiny(
    folder: Path,
    architecture: str,
    *,
    template: bool = True,
    seed: int = 0,
    texts: Sequence[str] = (),
    width: int = 64,
) -> Path:
    """Write a model of `architecture` into `folder`: two layers of width 64, about 600 tokens.

    template: with a chat template, as a chat model has; without one, as a base model.
    texts: what the tokenizer is trained on besides, for as many tokens more as a larger model has.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer(architecture, texts, VOCABULARY * width // 64)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings: dict[str, Any] = {
        **ROLES[architecture],
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "model_max_length": 512,
    }
    if template:
        settings["chat_template"] = TEMPLATES[architecture]
    _write(folder / "tokenizer_config.json", settings)
    ids = {f"{role}_id": tokenizer.token_to_id(word) for role, word in ROLES[architecture].items()}
    ids.pop("unk_token_id", None)
    ends = [tokenizer.token_to_id(word) for word in ENDS[architecture]]
    _save_model(folder, architecture, ids, seed, width)
    _write(folder / "generation_config.json", {**ids, "eos_token_id": ends, "do_sample": True})
    return folder


def _tokenizer(architecture: str, texts: Sequence[str], vocabulary: int) -> Any:
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
    from tokenizers.processors import TemplateProcessing
    from tokenizers.trainers import BpeTrainer

    special, marks = SPECIAL[architecture], MARKS[architecture]
    tokenizer = Tokenizer(models.BPE())
    words = pre_tokenizers.Split(Regex(WORDS), behavior="isolated")
    bytes_ = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([words, bytes_])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=vocabulary - len(marks),
        special_tokens=list(special),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    spaced = SENTENCES.replace("\n", "\n\n").replace(". ", ".\n  ")  # for tokens of white space
    tokenizer.train_from_iterator([SENTENCES, spaced, *texts], trainer)
    tokenizer.add_tokens([AddedToken(mark, special=False, normalized=False) for mark in marks])
    if bos := ROLES[architecture].get("bos_token"):
        tokenizer.post_processor = TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, tokenizer.token_to_id(bos))]
        )
    return tokenizer


def _save_model(
    folder: Path, architecture: str, ids: dict[str, int], seed: int, width: int
) -> None:
    import torch
    from transformers.utils import logging

    logging.disable_progress_bar()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        _model(architecture, ids, width).save_pretrained(folder)


def _model(architecture: str, ids: dict[str, int], width: int) -> Any:
    import transformers

    sizes: dict[str, Any] = {
        "vocab_size": VOCABULARY * width // 64,
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": width // 4,
        "max_position_embeddings": 512,
        **ids,
    }
    if architecture == "llama":
        return transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes))
    if architecture == "qwen3":
        config = transformers.Qwen3Config(**sizes, tie_word_embeddings=True)
        return transformers.Qwen3ForCausalLM(config)
    sizes |= {
        "query_pre_attn_scalar": width // 4,
        "sliding_window": 16,
        "layer_types": ["sliding_attention", "full_attention"],
    }
    return transformers.Gemma3ForCausalLM(transformers.Gemma3TextConfig(**sizes))


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False), encoding="utf-8")
