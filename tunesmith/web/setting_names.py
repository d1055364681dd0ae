"""What settings are called on pages. Does not know: what they do, where they are shown."""

from __future__ import annotations

OWN = {
    "n_epochs": "Passes (epochs)",
    "learning_rate_multiplier": "Learning rate, times",
    "beta": "Beta (of pairs)",
    "lora_rank": "LoRA rank",
    "lora_alpha": "LoRA alpha",
    "lora_dropout": "LoRA dropout",
    "lora_targets": "LoRA targets",
    "num_votes": "Votes",
    "learn_dev": "Learn the dev rows too",
}
"""Settings whose names say little as they are."""


def title(name: str) -> str:
    """`max_length` → "Max length"."""
    words = name.replace("_", " ")
    return OWN.get(name) or words[:1].upper() + words[1:]
