"""Keys and values of texts that go on: what attention need not compute again.

Caches of texts of about one length stand together in a `Block`, so that their next tokens attend in
one call; a text that outgrows its block moves to one of twice the room. A prompt that is being read
has a block of its own.
Does not know: attention, models, what a text is.
"""

from __future__ import annotations

from torch import Tensor

SMALLEST = 64
"""Tokens of room in the smallest shared block."""
GROWTH = 1.5
"""Times the slots that a full block gets."""
SPARSE = 4
"""Slots for each used one, from which a block gives half of them or more back."""


class Cache:
    """The place of one text: `length` tokens in a slot of a block."""

    __slots__ = ("block", "length", "slot")

    def __init__(self, block: Block) -> None:
        self.block = block
        self.slot = block.add(self)
        self.length = 0


class Block:
    """Slots with `room` tokens each, the used ones first.

    Of each layer, keys and values have the shape (slots, heads, room, width).
    """

    def __init__(self, room: int) -> None:
        self.room = room
        self.owners: list[Cache] = []
        self._slots = 0
        self.keys: list[Tensor] = []
        self.values: list[Tensor] = []

    @property
    def bytes_per_token(self) -> int:
        """Of all layers, once they have been used."""
        states = [*self.keys, *self.values]
        return sum(s.shape[1] * s.shape[3] * s.element_size() for s in states)

    def add(self, cache: Cache) -> int:
        """The slot that `cache` gets; its content is undefined."""
        self.owners.append(cache)
        if len(self.owners) > self._slots:
            self._resize(max(len(self.owners), int(self._slots * GROWTH)), len(self.owners) - 1)
        return len(self.owners) - 1

    def remove(self, cache: Cache) -> None:
        """Give its slot up; the last one moves there, so that no hole is left."""
        last = self.owners.pop()
        if last is not cache:
            self._copy(self, last.slot, cache.slot, last.length)
            last.slot = cache.slot
            self.owners[last.slot] = last
        if not self.owners:
            self._slots, self.keys, self.values = 0, [], []
        elif len(self.owners) * SPARSE <= self._slots:
            self._resize(2 * len(self.owners), len(self.owners))

    def take(self, source: Cache, slot: int) -> None:
        """Copy what another block has of `source` into a slot."""
        for layer in range(len(self.keys), len(source.block.keys)):
            self._allocate(layer, source.block.keys[layer], source.block.values[layer])
        self._copy(source.block, source.slot, slot, source.length)

    def layer(self, number: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """A layer's keys and values; at first, room is made for such as the given ones.

        key, value: (any, heads, any, width).
        """
        if number >= len(self.keys):
            self._allocate(number, key, value)
        return self.keys[number], self.values[number]

    def _resize(self, slots: int, used: int) -> None:
        self._slots = slots
        self.keys = [_resized(states, slots, used) for states in self.keys]
        self.values = [_resized(states, slots, used) for states in self.values]

    def _allocate(self, layer: int, key: Tensor, value: Tensor) -> None:
        assert layer == len(self.keys), "layers come in order"
        for place, like in ((self.keys, key), (self.values, value)):
            _, heads, _, width = like.shape
            # Zeros, since what attention masks must still be a number.
            place.append(like.new_zeros(self._slots, heads, self.room, width))

    def _copy(self, source: Block, slot: int, to: int, length: int) -> None:
        if not length:
            return  # nothing has been read yet, so there may be no layers either
        for theirs, ours in ((source.keys, self.keys), (source.values, self.values)):
            for there, here in zip(theirs, ours, strict=True):
                here[to, :, :length] = there[slot, :, :length]


def _resized(states: Tensor, slots: int, used: int) -> Tensor:
    out = states.new_zeros(slots, *states.shape[1:])
    out[:used] = states[:used]
    return out


class Caches:
    """All caches of a model."""

    def __init__(self) -> None:
        self._shared: dict[int, Block] = {}
        """By room."""

    def open(self, tokens: int) -> Cache:
        """An empty cache in a block of its own, for a text of so many tokens to be read."""
        return Cache(Block(tokens))

    def copy(self, cache: Cache) -> Cache:
        """The same in a shared block, with room for one more token."""
        out = Cache(self._block(cache.length + 1))
        out.block.take(cache, out.slot)
        out.length = cache.length
        return out

    def close(self, cache: Cache) -> None:
        """Give up the room of a text that does not go on."""
        cache.block.remove(cache)

    def share(self, cache: Cache) -> None:
        """Put `cache` into a shared block, with room for one more token."""
        if cache.length < cache.block.room and self._shared.get(cache.block.room) is cache.block:
            return
        moved = self.copy(cache)
        cache.block.remove(cache)
        cache.block, cache.slot = moved.block, moved.slot
        cache.block.owners[cache.slot] = cache

    def make_room(self, cache: Cache, tokens: int) -> None:
        """Give a cache of its own block room for so many more tokens."""
        if cache.length + tokens > cache.block.room:
            larger = Block(_rounded(cache.length + tokens))
            slot = larger.add(cache)
            larger.take(cache, slot)
            cache.block.remove(cache)
            cache.block, cache.slot = larger, slot

    def is_shared(self, cache: Cache) -> bool:
        """Whether its block may hold others."""
        return self._shared.get(cache.block.room) is cache.block

    def _block(self, tokens: int) -> Block:
        room = _rounded(tokens)
        return self._shared.setdefault(room, Block(room))


def _rounded(tokens: int) -> int:
    return max(SMALLEST, 1 << (tokens - 1).bit_length())
