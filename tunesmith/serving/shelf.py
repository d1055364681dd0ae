"""Tuned classifiers in memory: loaded when first asked for, dropped least recently used first.

Does not know: who asks, nor what for.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tunesmith.model.classifier import Classifier


class Shelf:
    """At most `room` models at once, shared by threads."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._models: OrderedDict[str, Future[Classifier]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, name: str, folder: Path) -> Classifier:
        """The model of that name, whose files are in `folder`.

        While one thread loads it, others that ask for it wait; those that ask for another do not.
        Raises: NotFound when the files are gone.
        """
        from tunesmith.model import classifier

        with self._lock:
            known = self._models.get(name)
            model = known or Future()
            self._models[name] = model
            self._models.move_to_end(name)
            while len(self._models) > self._room:
                self._models.popitem(last=False)
        if known is None:
            try:
                model.set_result(classifier.load(folder))
            except Exception as error:  # noqa: BLE001  (those who wait for it are told too)
                self.forget(name)
                model.set_exception(error)
        return model.result()

    def names(self) -> list[str]:
        """Names of the models in memory, least recently used first."""
        return list(self._models)

    def forget(self, name: str) -> None:
        """Drop a model, whose files are going away."""
        with self._lock:
            self._models.pop(name, None)
