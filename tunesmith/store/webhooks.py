"""Webhooks, and the events that are on their way to them.

An event is written in the transaction that makes it true, so none is lost and none is made up.
Does not know: how events are sent.
"""

from __future__ import annotations

import base64
import secrets
import time
from collections.abc import Sequence
from urllib.parse import urlsplit

from sqlalchemy import Connection, delete, select, update

from tunesmith.errors import ConfigError, NotFound, nearest, pick
from tunesmith.store.database import Database, readable
from tunesmith.store.paging import add, find
from tunesmith.store.rows import DEFAULT_PROJECT, DeliveryRow, WebhookRow, now
from tunesmith.store.tables import DELIVERIES, WEBHOOKS
from tunesmith.wire import WEBHOOK_EVENTS

HOLD_SECONDS = 60.0
"""For so long an event is the sender's who claimed it; sending takes less."""
KEEP_SECONDS = 30 * 24 * 3600
"""For so long it is remembered what became of an event."""


def announce(connection: Connection, project_id: str, event: str, about: str) -> None:
    """Tell the project's webhooks that the job, batch or eval run `about` has ended.

    To be called in the transaction that ends it. `event` is one of `wire.WEBHOOK_EVENTS`.
    """
    # Locked, so that PostgreSQL removes no webhook before the rows that point to it are there.
    mine = select(WEBHOOKS).where(WEBHOOKS.c.project_id == project_id).with_for_update(read=True)
    hooks = [WebhookRow(**row) for row in connection.execute(mine).mappings()]
    rows = [
        DeliveryRow(webhook_id=hook.id, type=event, about=about, due_at=time.time())
        for hook in hooks
        if not hook.events or event in hook.events
    ]
    add(connection, DELIVERIES, rows)


class Webhooks:
    """The tables of webhooks and deliveries, of all projects."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self, url: str, *, events: Sequence[str] = (), project: str = DEFAULT_PROJECT
    ) -> WebhookRow:
        """A new webhook, for these types of events or (none given) all.

        Raises: ConfigError for an address that cannot be one, or an unknown type.
        """
        check_url(url)
        for event in events:
            pick(dict.fromkeys(WEBHOOK_EVENTS), event, "event")
        secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
        row = WebhookRow(project_id=project, url=url, secret=secret, events=list(events))
        with self._database.write() as connection:
            add(connection, WEBHOOKS, [row])
        return row

    def get(self, webhook_id: str) -> WebhookRow:
        """The webhook. Raises: NotFound with the nearest id."""
        with self._database.read() as connection:
            row = find(connection, WEBHOOKS, WebhookRow, WEBHOOKS.c.id == webhook_id)
        if row is None:
            fix = nearest(webhook_id, [hook.id for hook in self.all()])
            raise NotFound(f"There is no webhook {webhook_id!r}.", fix=fix)
        return row

    def all(self) -> list[WebhookRow]:
        """Every webhook, oldest first."""
        with self._database.read() as connection:
            rows = connection.execute(select(WEBHOOKS).order_by(WEBHOOKS.c.seq)).mappings()
            return [WebhookRow(**row) for row in rows]

    def delete(self, webhook_id: str) -> WebhookRow:
        """Forget the webhook and what was to be sent to it; its row as it was.

        Raises: NotFound with the nearest id.
        """
        row = self.get(webhook_id)
        with self._database.write() as connection:
            mine = WEBHOOKS.c.id == webhook_id
            connection.execute(select(WEBHOOKS.c.id).where(mine).with_for_update())
            connection.execute(delete(DELIVERIES).where(DELIVERIES.c.webhook_id == webhook_id))
            connection.execute(delete(WEBHOOKS).where(mine))
        return row

    def newest(self, webhook_id: str) -> DeliveryRow | None:
        """The last event for the webhook, if there was one of late."""
        with self._database.read() as connection:
            mine = DELIVERIES.c.webhook_id == webhook_id
            return find(connection, DELIVERIES, DeliveryRow, mine)

    # --- done by senders -------------------------------------------------------------------------

    def claim(self, limit: int) -> list[tuple[WebhookRow, DeliveryRow]]:
        """At most `limit` events that are due, and where to send them.

        They are the caller's for `HOLD_SECONDS`; if nothing is heard of one by then, it is due
        again. Each counts as attempted.
        """
        due = (DELIVERIES.c.ended_at.is_(None), DELIVERIES.c.due_at <= time.time())
        query = select(DELIVERIES).where(*due).order_by(DELIVERIES.c.due_at).limit(limit)
        with self._database.read() as connection:
            if connection.execute(query.limit(1)).first() is None:
                return []
        with self._database.write() as connection:
            old = DELIVERIES.c.ended_at < now() - KEEP_SECONDS
            connection.execute(delete(DELIVERIES).where(old))  # may wait, so while we hold nothing
            mine = connection.execute(query.with_for_update(skip_locked=True)).mappings()
            rows = [DeliveryRow(**row) for row in mine]
            held = update(DELIVERIES).where(DELIVERIES.c.id.in_([row.id for row in rows]))
            connection.execute(
                held.values(due_at=time.time() + HOLD_SECONDS, attempts=DELIVERIES.c.attempts + 1)
            )
            hooks = WEBHOOKS.c.id.in_({row.webhook_id for row in rows})
            found = connection.execute(select(WEBHOOKS).where(hooks)).mappings()
            by_id = {row["id"]: WebhookRow(**row) for row in found}
        return [(by_id[row.webhook_id], row) for row in rows]

    def end(self, delivery_id: str, *, error: str | None = None) -> None:
        """It is delivered; given an error, it is given up."""
        self._set(delivery_id, ended_at=now(), last_error=error and readable(error))

    def put_off(self, delivery_id: str, *, seconds: float, error: str) -> None:
        """It was not taken: try again in so many seconds."""
        self._set(delivery_id, due_at=time.time() + seconds, last_error=readable(error))

    def _set(self, delivery_id: str, **values: object) -> None:
        with self._database.write() as connection:
            mine = update(DELIVERIES).where(DELIVERIES.c.id == delivery_id)
            connection.execute(mine.values(**values))


def check_url(url: str) -> None:
    """Raises: ConfigError unless the URL is one of http or https that can be asked."""
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").encode("idna")
        fits = parts.scheme in ("http", "https") and host and parts.port != 0
    except ValueError:  # brackets that do not close, a port that is no number, a label too long
        fits = False
    if not fits or not url.isascii() or not url.isprintable() or " " in url:
        raise ConfigError(
            f"{url!r} is no address for a webhook.",
            fix="Give one such as https://example.com/hook, with http or https.",
        )
    if parts.username is not None:
        raise ConfigError(
            "The address of a webhook holds no user name or password.",
            fix="Check the signature of what arrives instead, with the secret that is shown.",
        )
