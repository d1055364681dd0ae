"""Fine-tuning jobs with their events and checkpoints, and who may use a checkpoint."""

from __future__ import annotations

import secrets
import string
from typing import Annotated, Any, Literal

from pydantic import Field

from tunesmith.wire.shapes import BASE62, Metadata, Request, Shape

JobStatus = Literal[
    "validating_files", "queued", "running", "paused", "succeeded", "failed", "cancelled"
]


TERMINAL: frozenset[str] = frozenset({"succeeded", "failed", "cancelled"})


Auto = Literal["auto"]


class Hyperparameters(Request):
    """OpenAI's own, for supervised jobs."""

    n_epochs: Auto | Annotated[int, Field(ge=1, le=50)] = "auto"
    batch_size: Auto | Annotated[int, Field(ge=1, le=256)] = "auto"
    learning_rate_multiplier: Auto | Annotated[float, Field(gt=0)] = "auto"


class Options(Request):
    """Ours: the `tunesmith` object of a job. Absent means: the one-click recipe decides."""

    method: Literal["auto", "head", "full", "lora", "qlora"] = "auto"
    """head and full: of encoders; full, lora and qlora (4-bit weights): of causal models."""
    task: Literal["chat", "classify"] = "chat"
    """Of causal models. classify: the answers of the training file are the only ones; one of them
    is chosen by its probability, none is made up."""
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.01
    dropout: Annotated[float, Field(ge=0, lt=1)] | None = None
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    warmup_ratio: Annotated[float, Field(ge=0, le=1)] = 0.06
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    max_length: Annotated[int, Field(ge=8)] | None = None
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Of products of matrices; auto: whichever is faster on the machine that trains."""
    early_stopping_patience: Annotated[int, Field(ge=0)] = 3
    """0: training never stops early, and a causal model learns from all rows, none kept aside."""
    learn_dev: bool = True
    """Of encoders: in the last epoch the dev slice is learned from too, unless its loss rises."""
    validation_interval: Annotated[int, Field(ge=1)] | None = None
    class_weights: Literal["balanced", "none"] = "none"
    """balanced: the loss of each class weighs alike, whatever its number of examples."""
    parity_examples: Annotated[int, Field(ge=1, le=1000)] = 50
    """Held-out prompts whose answers the trainer notes for the parity gate."""
    lora_rank: Annotated[int, Field(ge=1, le=1024)] | None = None
    lora_alpha: Annotated[float, Field(gt=0)] | None = None
    """Absent: twice the rank."""
    lora_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    lora_targets: tuple[str, ...] = ()
    """Names of layers that get an adapter; none: all linear ones but the output layer."""
    use_dora: bool = False
    use_rslora: bool = False
    neftune_alpha: Annotated[float, Field(ge=0)] = 0.0
    """Noise on the embeddings while training (Jain et al. 2023)."""
    packing: Literal["auto", "packed", "padded"] = "auto"
    gradient_checkpointing: bool | None = None
    """Compute activations twice instead of keeping them. Absent: where memory would not do."""
    soft_labels: bool = False
    """Lines of one text are votes on it: one example, each label by its share of them."""
    cleaning: tuple[str, ...] | None = None
    """Steps by which texts are cleaned, when training and when answering; absent: the usual."""
    mask: tuple[str, ...] = ()
    """Sensitive data that is replaced in texts, likewise."""


class PreferenceHyperparameters(Hyperparameters):
    """OpenAI's own, for dpo jobs."""

    beta: Auto | Annotated[float, Field(gt=0, le=2)] = "auto"


class Supervised(Request):
    hyperparameters: Hyperparameters = Field(default_factory=Hyperparameters)


class Dpo(Request):
    hyperparameters: PreferenceHyperparameters = Field(default_factory=PreferenceHyperparameters)


class Method(Request):
    type: Literal["supervised", "dpo", "reinforcement"] = "supervised"
    supervised: Supervised | None = None
    dpo: Dpo | None = None
    reinforcement: dict[str, Any] | None = None


class JobCreate(Request):
    """POST /fine_tuning/jobs."""

    model: str
    training_file: str
    validation_file: str | None = None
    suffix: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    method: Method | None = None
    hyperparameters: Hyperparameters | None = None
    integrations: Annotated[list[dict[str, Any]], Field(max_length=5)] | None = None
    metadata: Metadata | None = None
    tunesmith: Options | None = None


class JobError(Shape):
    code: str
    message: str
    param: str | None = None


class Job(Shape):
    """A fine-tuning job. `error` is `{}` while there is none, as OpenAI sends it."""

    object: Literal["fine_tuning.job"] = "fine_tuning.job"
    id: str
    model: str
    created_at: int
    finished_at: int | None = None
    fine_tuned_model: str | None = None
    organization_id: str
    result_files: list[str] = []
    status: JobStatus
    validation_file: str | None = None
    training_file: str
    hyperparameters: dict[str, Any] | None
    """Of supervised jobs only, as OpenAI sends it; `method` has those of all."""
    trained_tokens: int | None = None
    error: dict[str, Any] = {}
    user_provided_suffix: str | None = None
    seed: int
    estimated_finish: int | None = None
    integrations: list[dict[str, Any]] = []
    metadata: dict[str, str] | None = None
    usage_metrics: None = None
    shared_with_openai: bool = False
    eval_id: str | None = None
    method: dict[str, Any]
    tunesmith: dict[str, Any] = {}
    """options: as asked; samples_file: answers noted for the parity gate; facts: what was found
    out (decisions, labels, cut texts)."""


class JobEvent(Shape):
    object: Literal["fine_tuning.job.event"] = "fine_tuning.job.event"
    id: str
    created_at: int
    level: Literal["info", "warn", "error"] = "info"
    message: str
    data: dict[str, Any] = {}
    type: Literal["message", "metrics"] = "message"


class Checkpoint(Shape):
    object: Literal["fine_tuning.job.checkpoint"] = "fine_tuning.job.checkpoint"
    id: str
    created_at: int
    fine_tuned_model_checkpoint: str
    fine_tuning_job_id: str
    step_number: int
    metrics: dict[str, Any]


class PermissionsCreate(Request):
    """POST /fine_tuning/checkpoints/{name}/permissions."""

    project_ids: Annotated[list[str], Field(min_length=1)]


class Permission(Shape):
    object: Literal["checkpoint.permission"] = "checkpoint.permission"
    id: str
    created_at: int
    project_id: str


def tuned_model_name(
    base: str, organization: str, suffix: str | None, step: int | None = None
) -> str:
    """`ft:base:org:suffix:id`, with the tail `:ckpt-step-N` for an earlier checkpoint.

    The suffix is folded to lower-case letters, digits, hyphen and underscore.
    """
    allowed = string.ascii_lowercase + string.digits + "-_"
    folded = "".join(c if c in allowed else "-" for c in (suffix or "").lower())
    own = "".join(secrets.choice(BASE62) for _ in range(8))
    tail = f":ckpt-step-{step}" if step is not None else ""
    return f"ft:{base}:{organization}:{folded}:{own}{tail}"
