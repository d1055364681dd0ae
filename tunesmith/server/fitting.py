"""Whether what a job asks for fits the model that it tunes: a sentence for what does not.

Options that are left as they come are no wish, since clients send them all.
Does not know: what the options do.
"""

from __future__ import annotations

from collections.abc import Iterable

from tunesmith import wire
from tunesmith.server.errors import ApiError

AS_THEY_COME = wire.Options()
ADAPTERS = ("lora", "qlora")
OF_ADAPTERS = (
    "lora_rank", "lora_alpha", "lora_dropout", "lora_targets", "use_dora", "use_rslora",
)  # fmt: skip
OF_CAUSAL = (*OF_ADAPTERS, "task", "neftune_alpha", "packing", "gradient_checkpointing")
OF_ENCODERS = ("label_smoothing", "learn_dev", "soft_labels", "class_weights")
OF_TEXTS_TO_CLASSIFY = ("cleaning", "mask")


def check(name: str, kind: str, method: str, options: wire.Options) -> None:
    """Check a job's method (supervised or dpo) and options for the base model `name`.

    kind  encoder or causal.
    Raises: ApiError 400.
    """
    if kind == "encoder":
        _check_encoder(name, method, options)
    else:
        _check_causal(name, method, options)
    if options.method not in ("auto", *ADAPTERS):
        why = "is for adapters (the methods 'lora' and 'qlora'); leave it out."
        _refuse(OF_ADAPTERS, options, why)


def _check_encoder(name: str, method: str, options: wire.Options) -> None:
    if method == "dpo":
        raise ApiError(
            400,
            f"The method 'dpo' needs a causal base model, which writes answers; {name} is an "
            "encoder. Encoders are tuned by 'supervised'.",
            param="method.type",
        )
    if options.method in ADAPTERS:
        _refuse_method(name, options, "an encoder", "'head', 'full' or 'auto'")
    _refuse(OF_CAUSAL, options, f"is for causal base models, and {name} is an encoder.")


def _check_causal(name: str, method: str, options: wire.Options) -> None:
    if options.method == "head":
        _refuse_method(name, options, "a causal model", "'full', 'lora', 'qlora' or 'auto'")
    _refuse(OF_ENCODERS, options, f"is for encoders, and {name} is a causal model.")
    if options.task == "chat":
        why = "is for texts to classify; leave it out, or give the task 'classify'."
        _refuse(OF_TEXTS_TO_CLASSIFY, options, why)
    elif method == "dpo":
        what = "The method 'dpo' compares written answers; give the task 'chat', or 'supervised'."
        raise ApiError(400, what, param="tunesmith.task")


def _refuse(names: Iterable[str], options: wire.Options, why: str) -> None:
    for name in names:
        if (getattr(options, name) or None) != (getattr(AS_THEY_COME, name) or None):
            raise ApiError(400, f"The option '{name}' {why}", param=f"tunesmith.{name}")


def _refuse_method(name: str, options: wire.Options, what: str, offered: str) -> None:
    message = f"The method '{options.method}' does not fit {name}, {what}; give {offered}."
    raise ApiError(400, message, param="tunesmith.method")
