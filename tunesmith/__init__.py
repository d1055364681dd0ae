"""Tunesmith: from a table of text to a fine-tuned, evaluated and deployed language model."""

from tunesmith.config import (
    DeployConfig,
    EvaluateConfig,
    IterateConfig,
    PrepareConfig,
    ProviderConfig,
    RunConfig,
    TrainConfig,
)
from tunesmith.errors import TunesmithError

__version__ = "0.1.0"
__all__ = [
    "DeployConfig",
    "EvaluateConfig",
    "IterateConfig",
    "PrepareConfig",
    "ProviderConfig",
    "RunConfig",
    "TrainConfig",
    "TunesmithError",
    "__version__",
]
