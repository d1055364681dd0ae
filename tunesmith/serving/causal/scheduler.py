"""What is computed in the next pass: continuous batching of all texts of one network.

Each pass takes one token of every answer that is being written and parts of the prompts that wait,
so that a long prompt stalls nobody; a new request joins at the next pass, and one that has ended
leaves at once. Where the caches grow beyond their limit, the youngest answer gives its own up and
is read again when there is room.
Does not know: how answers are put together, who asked.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeAlias

from torch import Tensor

from tunesmith.errors import TunesmithError
from tunesmith.model.cached import Chunk
from tunesmith.serving.batch import Classification
from tunesmith.serving.causal.choice import Choice
from tunesmith.serving.causal.labels import Comparison, Tree
from tunesmith.serving.causal.models import Network
from tunesmith.serving.causal.sampling import Sampler, draw
from tunesmith.serving.writing import Began, Event

READ = {"cpu": 1024, "cuda": 8192}
"""Tokens of prompts in a pass."""
READ_BESIDE = {"cpu": 128, "cuda": 2048}
"""The same where answers are being written, which have to wait for it."""
MOST = {"cpu": 64, "cuda": 256}
"""Answers written at once, unless a single request wants more."""
SPARE = 32
"""Tokens that are left free for each answer to grow when a new one is let in."""

Told: TypeAlias = Event | Classification | Exception
Send: TypeAlias = Callable[[Told], None]


class Job:
    """A request whose prompt is to be read: answers to write after it, or labels to compare.

    send  takes what there is to tell.
    """

    def __init__(
        self,
        prompt: Sequence[int],
        send: Send,
        *,
        adapter: Any = None,
        choices: Sequence[Choice] = (),
        labels: tuple[tuple[str, ...], Comparison] | None = None,
    ) -> None:
        self.prompt = list(prompt)
        self.send = send
        self.adapter = adapter
        self.choices = choices
        self.labels = labels
        self.is_over = False
        """Whether all is told, or nobody waits for it any more."""
        self.is_begun = False


class _Text:
    """A text of a job that is being read, or written on."""

    def __init__(self, job: Job, ids: list[int], choices: Sequence[Choice]) -> None:
        self.job = job
        self.ids = ids
        """To be read; those of a choice grow with it."""
        self.choices = choices
        """That go on from its end."""
        self.cache: Any = None
        self.read = 0
        self.trees: deque[Tree] = deque()
        """Still to be read after its end."""

    @property
    def cost(self) -> int:
        """Tokens that it will have in caches when it has been read."""
        return len(self.ids) * max(1, len(self.choices))


Part: TypeAlias = tuple[_Text, Chunk, Tree | None]


class Scheduler:
    """Has a network read and write. most_tokens: in all caches together."""

    def __init__(self, network: Network, *, most_tokens: int) -> None:
        self._reads = network.reads
        self.context = min(network.context, most_tokens)
        """Tokens of a prompt and its answer."""
        self._most_tokens = most_tokens
        device = "cuda" if network.device.type == "cuda" else "cpu"
        self._budgets = READ[device], READ_BESIDE[device]
        self._most = MOST[device]
        self._waiting: deque[_Text] = deque()
        self._reading: list[_Text] = []
        self._writing: list[_Text] = []
        """One choice each, the youngest last."""

    @property
    def is_busy(self) -> bool:
        """Whether there is anything to compute."""
        return bool(self._waiting or self._reading or self._writing)

    def add(self, job: Job) -> None:
        """Let a job in; it takes part from the next pass on."""
        text = _Text(job, job.prompt, job.choices)
        if job.labels is not None:
            text.trees.extend(job.labels[1].trees)
        self._waiting.append(text)

    def step(self) -> None:
        """One pass: what came of it is sent to those who asked."""
        self._leave()
        self._make_room()
        self._let_in()
        parts = list(self._parts())
        if not parts:
            return
        self._take(parts, self._reads.forward([chunk for _, chunk, _ in parts]))

    def fail(self, error: Exception) -> None:
        """A pass went wrong: tell everybody who took part in it, and go on without them."""
        for text in [*self._reading, *self._writing]:
            self._give_up(text.job, error)
        self._leave()

    def _leave(self) -> None:
        """Drop what nobody waits for any more."""
        for texts in (self._waiting, self._reading, self._writing):
            for text in [t for t in texts if t.job.is_over]:
                texts.remove(text)
                self._close(text)

    def _close(self, text: _Text) -> None:
        if text.cache is not None:
            self._reads.close(text.cache)
            text.cache = None

    def _taken(self) -> int:
        return sum(len(t.ids) for t in self._writing) + sum(t.cost for t in self._reading)

    def _make_room(self) -> None:
        """Put the youngest answers off while the last tokens of all do not fit."""
        taken = self._taken()
        while taken > self._most_tokens and len(self._writing) > 1:
            text = self._writing.pop()
            self._close(text)
            text.read = 0
            self._waiting.appendleft(text)
            taken -= len(text.ids)

    def _let_in(self) -> None:
        """Take up what waits, in its order, as far as there is room."""
        busy = len(self._writing) + sum(max(1, len(t.choices)) for t in self._reading)
        taken = self._taken() + SPARE * busy
        while self._waiting:
            text = self._waiting[0]
            count = max(1, len(text.choices))
            fits = taken + text.cost + SPARE * count <= self._most_tokens
            if busy and not (fits and busy + count <= self._most):
                return
            self._reading.append(self._waiting.popleft())
            taken, busy = taken + text.cost + SPARE * count, busy + count

    def _parts(self) -> Iterator[Part]:
        """What the next pass computes."""
        for text in self._writing:
            ids = text.ids[-1:]
            yield text, Chunk(cache=text.cache, ids=ids, told=(0,), adapter=text.job.adapter), None
        left = self._budgets[bool(self._writing)]
        for text in self._reading:
            if left <= 0:
                return
            if text.cache is None:
                beyond = max((len(tree.ids) for tree in text.trees), default=0)
                text.cache = self._reads.open(len(text.ids) + beyond)
            tree = text.trees[0] if text.read == len(text.ids) else None
            chunk = self._tree(text, tree) if tree else self._piece(text, left)
            left -= len(chunk.ids)
            yield text, chunk, tree

    def _piece(self, text: _Text, most: int) -> Chunk:
        ids = text.ids[text.read : text.read + most]
        is_last = text.read + len(ids) == len(text.ids)
        told = (len(ids) - 1,) if is_last else ()
        return Chunk(cache=text.cache, ids=ids, told=told, adapter=text.job.adapter)

    def _tree(self, text: _Text, tree: Tree) -> Chunk:
        return Chunk(
            cache=text.cache,
            ids=tree.ids,
            told=range(len(tree.ids)),
            parents=tree.parents,
            adapter=text.job.adapter,
        )

    def _take(self, parts: Sequence[Part], logits: Tensor) -> None:
        """Have answers go on by the logits, shape (told, vocabulary), and labels compared."""
        rows: list[int] = []
        texts: list[_Text] = []
        at = 0
        for text, chunk, tree in parts:
            row, at = at, at + len(chunk.told)
            if text in self._writing:
                going_on = [text]
            elif tree is not None:
                self._compare(text, tree, logits[row:at])
                going_on = []
            else:
                text.read += len(chunk.ids)
                is_read = text.read == len(text.ids)
                going_on = self._begin(text, logits[row]) if is_read else []
            for one in going_on:
                if self._is_ready(one):
                    rows.append(row)
                    texts.append(one)
        if texts:
            wanted = logits if rows == list(range(len(logits))) else logits[rows]
            for text, drawn in zip(texts, draw(wanted, _samplers(texts)), strict=True):
                self._tell(text, partial(text.choices[0].take, drawn))

    def _begin(self, text: _Text, logits: Tensor) -> list[_Text]:
        """A text is read: the answers that go on from its end, or the comparison that begins."""
        job = text.job
        if job.labels is not None:
            job.labels[1].take_prompt(logits)
            self._compared(text)
            return []
        self._reading.remove(text)
        if not job.is_begun:
            job.is_begun = True
            job.send(Began(len(job.prompt), job.prompt))
        begun = [_Text(job, choice.ids, [choice]) for choice in text.choices]
        for one in begun[1:]:
            one.cache = self._reads.copy(text.cache)
        begun[0].cache, text.cache = text.cache, None
        self._writing += begun
        for one in begun:
            self._tell(one, one.choices[0].begin)
        return [one for one in begun if one.cache is not None]

    def _is_ready(self, text: _Text) -> bool:
        """Have it ruled out what may not come next."""
        try:
            text.choices[0].rule()
        except TunesmithError as error:
            self._give_up(text.job, error)
        return not text.job.is_over

    def _tell(self, text: _Text, go_on: Callable[[], Iterator[Event]]) -> None:
        """Send what comes of it when an answer goes on; drop the answer when it has ended."""
        if text.job.is_over:
            return
        try:
            for event in go_on():
                text.job.send(event)
        except TunesmithError as error:
            self._give_up(text.job, error)
        if text.choices[0].is_ended:
            self._writing.remove(text)
            self._close(text)
            text.job.is_over = all(choice.is_ended for choice in text.job.choices)

    def _compare(self, text: _Text, tree: Tree, logits: Tensor) -> None:
        assert text.job.labels is not None
        text.trees.popleft()
        text.job.labels[1].take(tree, logits)
        self._compared(text)

    def _compared(self, text: _Text) -> None:
        """Answer with the labels' probabilities when all have been read."""
        if not text.trees:
            assert text.job.labels is not None
            labels, comparison = text.job.labels
            found = Classification(labels, comparison.logprobs(), len(text.ids), 0)
            text.job.send(found)
            text.job.is_over = True
            self._reading.remove(text)
            self._close(text)

    def _give_up(self, job: Job, error: Exception) -> None:
        """Tell who asked what went wrong, once; its texts leave before the next pass."""
        if not job.is_over:
            job.is_over = True
            job.send(error)


def _samplers(texts: Sequence[_Text]) -> list[Sampler]:
    return [text.choices[0].sampler for text in texts]
