"""Messages to token ids, and which of them the loss counts: one way for training and serving.

The law: what `prompt` gives for a history is exactly how `example` begins for the history and an
answer. So an answer is tokenized apart from what is read before and after it, be it trained or not.
Knows: the tokenizer and the chat template in a model's folder.
Does not know: weights, batches, whether an example keeps OpenAI's rules.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunesmith.data.chat.spans import NON_PREFERRED, PREFERRED
from tunesmith.errors import ConfigError, DataError
from tunesmith.events import Decision
from tunesmith.model.conversation import Conversation, read
from tunesmith.model.templates import END, START, Template, default

TOKENIZER, SETTINGS = "tokenizer.json", "tokenizer_config.json"
GENERATION = "generation_config.json"
TEMPLATE, TEMPLATES = "chat_template.jinja", "additional_chat_templates"
FILES = (
    TOKENIZER, SETTINGS, "special_tokens_map.json", "added_tokens.json", "vocab.json",
    "merges.txt", "tokenizer.model",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rendered:
    """A conversation in tokens.

    trained  `trained[i]`: predicting `ids[i]` from what stands before it counts in the loss.
             All False: there is nothing to learn from the row.
    cut      tokens beyond the limit; they are gone from the end.
    """

    ids: list[int]
    trained: list[bool]
    cut: int


@dataclass(frozen=True, slots=True)
class Pair:
    """The better and the worse answer to one prompt."""

    preferred: Rendered
    other: Rendered


class Renderer:
    """A model folder's tokenizer and chat template, with a limit in tokens for examples.

    template  jinja instead of the folder's own; a model without any gets `templates.default`.
    decision  which template it is, and why.
    ends      token ids at which an answer ends.
    pad       an id to fill rows with. It may be one of `ends`, where the tokenizer has none for
              the purpose: mask what is filled by its place, never by its id.

    Raises: ConfigError for a folder without a usable tokenizer or template.
    """

    def __init__(self, folder: Path, *, max_length: int, template: str | None = None) -> None:
        tokenizer = _load(folder)
        ends = _ends(folder, tokenizer)
        eos = _eos(tokenizer, ends)
        sources, self.decision = _sources(tokenizer, template, eos)
        self._folder = folder
        self._max_length = max_length
        self._is_own = template is None and tokenizer.chat_template is not None
        self._template = Template(tokenizer, sources["default"], ends=ends, eos=eos)
        self._with_tools = self._template
        if "tool_use" in sources:
            self._with_tools = Template(tokenizer, sources["tool_use"], ends=ends, eos=eos)
        self.ends = self._template.ends | self._with_tools.ends
        beyond = _beyond(folder, tokenizer)
        for used in (self._template, self._with_tools):
            _check_written(used.source + used.appended, beyond, tokenizer)
        pad = tokenizer.pad_token_id
        self.pad: int = min(self.ends) if pad is None or pad in beyond.values() else pad
        self._tokenizer = tokenizer.backend_tokenizer
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        both, each = self._encode("\nx"), [*self._encode("\n"), *self._encode("x")]
        self._begins_words = both != each

    def example(self, example: Mapping[str, Any]) -> Rendered:
        """One of OpenAI's chat examples: messages, tools or functions.

        Trained are the assistant's messages whose weight is not 0, each with the token that ends
        it. Templates have no place for `parallel_tool_calls`.
        Raises: DataError where the template cannot write it, or not so that the law holds.
        """
        messages = example["messages"]
        wanted = {i for i, message in enumerate(messages) if message.get("weight") != 0}
        return self._rendered(messages, _tools(example), wanted)

    def pair(self, example: Mapping[str, Any]) -> Pair:
        """One of OpenAI's preference examples, in either spelling; only the answers are trained.

        Raises: DataError, as `example`.
        """
        given = example["input"]["messages"]
        rows = []
        for names in (PREFERRED, NON_PREFERRED):
            answer = next(example[name] for name in names if name in example)
            wanted = range(len(given), len(given) + len(answer))
            rows.append(self._rendered([*given, *answer], _tools(example["input"]), wanted))
        return Pair(*rows)

    def prompt(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Any] | None = None
    ) -> list[int]:
        """What the model is given to write the next message; never cut.

        Raises: DataError when the template refuses the messages.
        """
        chat = self._read(messages, tools or ())
        text = chat.text(prompt=True)
        ids: list[int] = []
        for piece, _ in _pieces(text, chat.answers(text)):
            ids += self._ids(piece, chat.mark, follows=bool(ids))
        return ids

    def answer(self, messages: Sequence[Mapping[str, Any]], text: str) -> list[int]:
        """The tokens that follow those of `prompt` where `text` is the answer, its end included.

        Raises: DataError when the template refuses them, or writes no answer after its prompt.
        """
        said = [*messages, {"role": "assistant", "content": text}]
        written, mark = self._last(said, ())
        return self._ids(written, mark, follows=True)

    def written(self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Any] = ()) -> str:
        """The last message, an answer, as text: all that follows its prompt, up to its end.

        Raises: DataError, as `answer`.
        """
        written, mark = self._last(messages, tools)
        used = self._with_tools if tools else self._template
        end = used.stop.search(written)
        return written[: end.start() if end else None].replace(mark, "")

    @property
    def tokenizer(self) -> Any:
        """Of the tokenizers library; it neither cuts nor pads."""
        return self._tokenizer

    def save(self, folder: Path) -> None:
        """Write tokenizer, template and `ends` into `folder`, after the model's weights.

        Files are copied as they are, so that other programs read in them what they read in the
        base model's; `ends` go where these look for what ends an answer.
        """
        for name in FILES:
            if (self._folder / name).is_file():
                shutil.copyfile(self._folder / name, folder / name)
        if self._is_own and (self._folder / TEMPLATE).is_file():
            shutil.copyfile(self._folder / TEMPLATE, folder / TEMPLATE)
        if self._is_own and (self._folder / TEMPLATES).is_dir():
            shutil.copytree(self._folder / TEMPLATES, folder / TEMPLATES, dirs_exist_ok=True)
        if not self._is_own:
            settings = _read_json(folder / SETTINGS)
            if settings.pop("chat_template", None) is not None:
                _write_json(folder / SETTINGS, settings)
            (folder / TEMPLATE).write_text(self._template.source, encoding="utf-8")
        generation = _read_json(folder / GENERATION) or _read_json(self._folder / GENERATION)
        _write_json(folder / GENERATION, {**generation, "eos_token_id": sorted(self.ends)})

    def _read(self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Any]) -> Conversation:
        return read(self._with_tools if tools else self._template, messages, tools)

    def _last(self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Any]) -> tuple[str, str]:
        """The last message as text, marks included, and the mark."""
        chat = self._read(messages, tools)
        text = chat.text()
        last = chat.answers(text).get(len(messages) - 1)
        if last is None:
            raise DataError(
                "The model's chat template does not write an answer after its prompt.",
                fix="Give a template whose prompts are the beginnings of its conversations.",
            )
        return text[slice(*last)], chat.mark

    def _rendered(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Any],
        wanted: Collection[int],
    ) -> Rendered:
        """`wanted`: indices of the messages that are trained, where they are the assistant's."""
        chat = self._read(messages, tools)
        text = chat.text()
        answers = chat.answers(text)
        chat.check_heard(text)
        learnt = {i for i in wanted if messages[i]["role"] == "assistant"}
        for i in sorted(learnt):
            chat.check_answer(i, text[slice(*answers[i])] if i in answers else None, text)
        ids: list[int] = []
        trained: list[bool] = []
        for piece, index in _pieces(text, answers):
            new = self._ids(piece, chat.mark, follows=bool(ids))
            ids += new
            trained += [index in learnt] * len(new)
        trained[:1] = [False] * len(ids[:1])  # nothing stands before the first
        limit = self._max_length
        return Rendered(ids[:limit], trained[:limit], max(0, len(ids) - limit))

    def _ids(self, text: str, mark: str, *, follows: bool) -> list[int]:
        """`text` cut at the marks, in tokens; `follows`: something stands before it."""
        ids: list[int] = []
        for piece in filter(None, text.split(mark)):
            ids += self._encode(piece, follows=follows or bool(ids))
        return ids

    def _encode(self, text: str, *, follows: bool = False) -> list[int]:
        """Token ids of one piece.

        Some tokenizers take the start of what they are given for the start of a word. A piece that
        follows another is therefore encoded after a character, whose tokens are then removed.
        """
        if follows and self._begins_words:
            first = "x" if text[0].isspace() else "\n"
            head, both = self._encode(first), self._encode(first + text)
            if both[: len(head)] == head:
                return both[len(head) :]
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids


def _pieces(text: str, answers: Mapping[int, tuple[int, int]]) -> Iterator[tuple[str, int | None]]:
    """`text` cut before and after every answer; with an answer the index of its message."""
    at = 0
    for index, (start, end) in answers.items():
        yield text[at:start], None
        yield text[start:end], index
        at = end
    yield text[at:], None


def _tools(example: Mapping[str, Any]) -> list[Any]:
    functions = example.get("functions") or ()
    return [
        *(example.get("tools") or ()),
        *({"type": "function", "function": function} for function in functions),
    ]


# --- a model's folder ---------------------------------------------------------------------------


def _load(folder: Path) -> Any:
    if not (folder / TOKENIZER).is_file():
        raise ConfigError(
            f"There is no {TOKENIZER} in {folder}.",
            fix="Save the tokenizer in that form, or take a model that has it.",
        )
    # Here and not above: the import takes seconds.
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        why = next(iter(str(error).splitlines()), type(error).__name__).rstrip(" .")
        raise ConfigError(
            f"The tokenizer in {folder} cannot be read: {why}.",
            fix="Check that its files are whole and from one model; code in a folder is never run.",
        ) from error


def _ends(folder: Path, tokenizer: Any) -> frozenset[int]:
    found = [_read_json(folder / name).get("eos_token_id") for name in (GENERATION, "config.json")]
    found.append(tokenizer.eos_token_id)
    flat = [i for ids in found for i in (ids if isinstance(ids, list) else [ids])]
    return frozenset(i for i in flat if isinstance(i, int))


def _eos(tokenizer: Any, ends: frozenset[int]) -> str:
    added = tokenizer.added_tokens_decoder
    return tokenizer.eos_token or next((added[i].content for i in sorted(ends) if i in added), "")


def _beyond(folder: Path, tokenizer: Any) -> dict[str, int]:
    """Special tokens for which the model in `folder`, if one is there, has no place.

    (`catalog.inspect` refuses others: any text could hold them.)
    """
    size = _read_json(folder / "config.json").get("vocab_size") or len(tokenizer)
    added = tokenizer.added_tokens_decoder.items()
    return {token.content: i for i, token in added if token.special and i >= size}


def _check_written(source: str, beyond: Mapping[str, int], tokenizer: Any) -> None:
    """Raises: ConfigError for a template that writes tokens the model has no place for."""
    roles = {"bos_token": tokenizer.bos_token, "eos_token": tokenizer.eos_token}
    for token, i in beyond.items():
        written = [token, *(role for role, its in roles.items() if its == token)]
        if any(name in source for name in written):
            raise ConfigError(
                f"The chat template writes {token}, which is token {i:,}, and the model has fewer "
                "tokens (vocab_size in config.json).",
                fix="Take tokenizer, template and weights from one model.",
            )


def _sources(tokenizer: Any, given: str | None, eos: str) -> tuple[dict[str, str], Decision]:
    """The templates by name, default among them, and the choice."""
    own = tokenizer.chat_template
    if given is not None:
        return {"default": given}, _decision("yours", "it was given")
    if own is not None:
        sources = own if isinstance(own, dict) else {"default": own}
        if "default" not in sources:
            raise ConfigError(
                "The model has chat templates, but none of them is the default.",
                fix="Give a template.",
            )
        return sources, _decision("the model's own", "it is in the model's folder")
    begins = tokenizer("x").input_ids[:1] == [tokenizer.bos_token_id]
    known = tokenizer.get_vocab()
    source = default(eos, begin=tokenizer.bos_token if begins else "", known=known)
    which = "with its tokens" if {START, END} <= known.keys() else f"turns end with {eos}"
    return {"default": source}, _decision(f"like ChatML, {which}", "the model has none")


def _decision(value: str, reason: str) -> Decision:
    return Decision(what="chat template", value=value, reason=reason)


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(
            f"{path} is not valid JSON: {error}.", fix="Take the file from the model again."
        ) from error
    return content


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False), encoding="utf-8")
