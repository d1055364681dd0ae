"""`tunesmith webhooks`: whom the server in this machine's data folder tells that jobs ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.cli.own_store import own_store
from tunesmith.errors import ProviderError

if TYPE_CHECKING:
    from tunesmith.store.rows import DeliveryRow

app = typer.Typer(
    help="Addresses that are told when jobs, batches and eval runs end.", no_args_is_help=True
)
Id = Annotated[str, typer.Argument(metavar="ID", help="Id of the webhook.")]


@app.command()
def add(
    url: Annotated[str, typer.Argument(help="Where to send events, http or https.")],
    events: Annotated[
        str, typer.Option(metavar="A,B", help="Types of events. Left out: all.")
    ] = "",
    project: Annotated[str, typer.Option(help="The project whose jobs it hears of.")] = "default",
) -> None:
    """Add a webhook. The secret that its events are signed with is shown once."""
    types = [event.strip() for event in events.split(",") if event.strip()]
    with own_store() as store:
        project_id = store.projects.named(project).id
        row = store.webhooks.create(url, events=types, project=project_id)
    print(f"{row.id}  {row.secret}")


@app.command("list")
def list_() -> None:
    """All webhooks, and what became of the last event of each."""
    with own_store() as store:
        projects = {row.id: row.name for row in store.projects.all()}
        for row in store.webhooks.all():
            state = _state(store.webhooks.newest(row.id))
            where, types = projects[row.project_id], ",".join(row.events) or "all"
            print(f"{row.id}  {where:<12} {types:<24} {row.url}  {state}".rstrip())


@app.command()
def remove(webhook: Id) -> None:
    """Remove a webhook, and what was still to be sent to it."""
    with own_store() as store:
        row = store.webhooks.delete(webhook)
    print(f"{row.url} is told nothing more.")


@app.command()
def test(webhook: Id) -> None:
    """Send a signed event now, about a job that does not exist, and show the answer's status."""
    from tunesmith.store.rows import DeliveryRow
    from tunesmith.wire import WEBHOOK_EVENTS
    from tunesmith.work.deliver import send

    with own_store() as store:
        row = store.webhooks.get(webhook)
    event = (row.events or WEBHOOK_EVENTS)[0]
    kind = event.rpartition(".")[0]
    about = {"batch": "batch_test", "eval.run": "evalrun_test"}.get(kind, "ftjob-test")
    taken, said = send(row, DeliveryRow(webhook_id=row.id, type=event, about=about))
    if not taken:
        raise ProviderError(
            f"{row.url} did not take the event: {said}.",
            fix="It must answer with a status from 200 to 299, within ten seconds.",
        )
    print(said)


def _state(event: DeliveryRow | None) -> str:
    if event is None:
        return ""
    error = f": {event.last_error}" if event.last_error else ""
    if event.ended_at is None:
        return f"{event.type} under way{error}"
    return f"{event.type} {'given up' if error else 'delivered'}{error}"
