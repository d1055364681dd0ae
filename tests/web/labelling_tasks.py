"""Labelling tasks put into a store."""

from tunesmith.store.labelling_rows import LabellingRow, LabellingTaskRow

LABELS = ["billing", "delivery", "technical"]


def a_task(site, project, *, texts=8, labels=LABELS, **fields):
    """A task that has begun; rows are handed out in the table's order."""
    store = site.store.of(project)
    texts = [f"Ticket number {n}" for n in range(1, texts + 1)] if isinstance(texts, int) else texts
    given = {"key_id": "k", "name": "Tickets", "labels": labels, "text_column": "text", **fields}
    task = store.labelling.create(LabellingTaskRow(**given))
    store.labelling.change(task.id, to="importing")
    made = [
        LabellingRow(task_id=task.id, number=n, text=text, rank=1 + n / 1e7)
        for n, text in enumerate(texts, 1)
    ]
    store.labelling.add_rows(task.id, made)
    return store.labelling.change(task.id, to="ready")
