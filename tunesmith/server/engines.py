"""What computes the answers of models: a pool of processes for encoders, one for causal models.

Does not know: who asks, which models there are.
"""

from __future__ import annotations

from dataclasses import dataclass

from tunesmith.serving.pool import EnginePool
from tunesmith.serving.writers import Writers


@dataclass(frozen=True, kw_only=True)
class Engines:
    """Both kinds."""

    encoders: EnginePool
    writers: Writers

    def forget(self, model: str) -> None:
        """Have a model dropped whose files are going away."""
        self.encoders.forget(model)
        self.writers.forget(model)

    def close(self) -> None:
        """Refuse new requests, fail those in hand, end the processes."""
        self.encoders.close()
        self.writers.close()
