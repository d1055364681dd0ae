"""A process that computes answers: `python -m tunesmith.serving.engine FD ...`.

It reads batches from a connection and writes their answers, one batch at a time, and ends when the
connection does. Models are loaded when first asked for and dropped least recently used first.
Does not know: who asks, nor what a label means.
"""

from __future__ import annotations

import argparse
import os
from collections import OrderedDict
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from tunesmith.model import classifier
from tunesmith.model.classifier import Classifier
from tunesmith.model.precision import faster
from tunesmith.serving.batch import Batch, Classification


class Engine:
    """At most `max_loaded` models in memory; `max_batch_tokens` tokens in one forward pass."""

    def __init__(self, *, max_loaded: int, max_batch_tokens: int) -> None:
        self._room = max_loaded
        self._budget = max_batch_tokens
        self.models: OrderedDict[str, Classifier] = OrderedDict()
        """Least recently used first."""

    def answer(self, batch: Batch) -> list[Classification]:
        """The answers, in the order of the texts. Raises: NotFound when the model's files are."""
        for name in batch.gone:
            self.models.pop(name, None)
        model = self._model(batch.model, batch.folder)
        encoded = model.tokens(batch.texts)
        answers: dict[int, Classification] = {}
        for part, logits in model.batches(model, encoded, budget=self._budget):
            for i, row in zip(part, torch.log_softmax(logits, dim=1).tolist(), strict=True):
                tokens = encoded[i]
                answers[i] = Classification(model.card.labels, row, len(tokens.ids), tokens.cut)
        return [answers[i] for i in range(len(encoded))]

    def _model(self, name: str, folder: Path) -> Classifier:
        if name not in self.models:
            while len(self.models) >= self._room:
                self.models.popitem(last=False)
            self.models[name] = model = classifier.load(folder)
            if model.card.precision == "bf16" and faster()[0] == "fp32":
                model.multiply_in("fp32")  # trained on a machine that has what this one lacks
        self.models.move_to_end(name)
        return self.models[name]


def main() -> None:
    """Answer until the other end of the connection closes."""
    parser = argparse.ArgumentParser(prog="python -m tunesmith.serving.engine", description=__doc__)
    parser.add_argument("fd", type=int)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--max-loaded", type=int, required=True)
    parser.add_argument("--max-batch-tokens", type=int, required=True)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    engine = Engine(max_loaded=asked.max_loaded, max_batch_tokens=asked.max_batch_tokens)
    with Connection(asked.fd) as line:
        line.send("ready")
        while True:
            try:
                batch = line.recv()
            except EOFError:
                break
            try:
                answer: object = engine.answer(batch)
            except Exception as error:  # noqa: BLE001  (whatever is wrong goes to those who asked)
                answer = error
            line.send(answer)
    os._exit(0)  # Python would take a second more to unload torch


if __name__ == "__main__":
    main()
