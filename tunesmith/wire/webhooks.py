"""What webhooks are sent."""

from __future__ import annotations

from typing import Literal

from tunesmith.wire.shapes import Shape

WEBHOOK_EVENTS = (
    "fine_tuning.job.succeeded", "fine_tuning.job.failed", "fine_tuning.job.cancelled",
    "batch.completed", "batch.failed", "batch.cancelled", "batch.expired",
    "eval.run.succeeded", "eval.run.failed", "eval.run.canceled",
)  # fmt: skip


class WebhookEvent(Shape):
    """What a webhook is sent; `data` holds the id of what it tells of."""

    id: str
    object: Literal["event"] = "event"
    created_at: int
    type: str
    data: dict[str, str]
