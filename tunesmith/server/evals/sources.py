"""Where the items of a run come from: its request, a file, or what the server has stored.

Does not know: what becomes of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from tunesmith import wire
from tunesmith.errors import NotFound, TunesmithError
from tunesmith.server.bodies import without_nulls
from tunesmith.server.evals.answers import of_response
from tunesmith.store.blobs import Blobs
from tunesmith.store.rows import CompletionRow, EvalRow, EvalRunRow, ResponseRow
from tunesmith.store.store import Store

Source = wire.JsonlSource | wire.CompletionsSource | wire.ResponsesSource
_SOURCE: TypeAdapter[Source] = TypeAdapter(wire.RunSource)


class Entry(NamedTuple):
    """An item, and the answer to it that the source has, as `sample` has it."""

    item: dict[str, Any]
    given: dict[str, Any] | None = None


class SourceFailed(TunesmithError):
    """There are no items to be had: `code` names the reason for programs."""

    def __init__(self, code: str, what: str, *, fix: str = "") -> None:
        super().__init__(what, fix=fix)
        self.code = code


def source_of(run: EvalRunRow) -> Source:
    """The run's data source."""
    return _SOURCE.validate_python(without_nulls(run.data_source))


def entries(run: EvalRunRow, about: EvalRow, store: Store, blobs: Blobs) -> Iterator[Entry]:
    """The items, in the order of the source; `store` is the project's.

    Raises: SourceFailed when there are none, too many, or one that is none; StorageError.
    """
    count = 0
    for entry in _entries(run, about, store, blobs):
        count += 1
        if count > wire.MOST_ITEMS:
            what = f"The data source has more than {wire.MOST_ITEMS:,} items."
            raise SourceFailed("too_many_items", what, fix="Make several runs of it.")
        yield entry
    if not count:
        raise SourceFailed("empty_data_source", "The data source has no items.")


def _entries(run: EvalRunRow, about: EvalRow, store: Store, blobs: Blobs) -> Iterator[Entry]:
    source = source_of(run).source
    if isinstance(source, wire.FileContent):
        for entry in run.data_source["source"]["content"]:
            yield Entry(entry["item"], entry.get("sample"))
    elif isinstance(source, wire.FileId):
        yield from _lines(source.id, blobs)
    elif isinstance(source, wire.StoredCompletions):
        wanted = {**(about.data_source_config.get("metadata") or {}), **(source.metadata or {})}
        rows = store.logged.completions(
            model=source.model,
            metadata=wanted,
            since=source.created_after,
            until=source.created_before,
        )
        for count, row in enumerate(rows):
            if count == source.limit:
                break
            yield _completion(row)
    else:
        wanted = {**(about.data_source_config.get("metadata") or {}), **(source.metadata or {})}
        stored = store.logged.responses(since=source.created_after, until=source.created_before)
        yield from (_response(row) for row in stored if _fits(row.body, source, wanted))


def _lines(file_id: str, blobs: Blobs) -> Iterator[Entry]:
    try:
        file = blobs.open(file_id)
    except NotFound:
        told = f"The file {file_id} was deleted before it could be read."
        raise SourceFailed("deleted_input_file", told) from None
    with file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                data = from_json(line, allow_inf_nan=False)
                wire.EvalEntry.model_validate(data)
            except (ValueError, ValidationError):
                raise SourceFailed(
                    "invalid_jsonl_line",
                    f"Line {number:,} of {file_id} is no item of an eval.",
                    fix='Write each line as {"item": {...}}, with "sample": {...} beside it where '
                    "the answer is known.",
                ) from None
            yield Entry(data["item"], data.get("sample"))


def _completion(row: CompletionRow) -> Entry:
    item = {"id": row.id, "model": row.model, "input": row.messages}
    given = {"model": row.model, "choices": row.body["choices"]}
    return Entry({**item, "metadata": row.metadata or {}}, given)


def _response(row: ResponseRow) -> Entry:
    body = row.body
    item = {"id": row.id, "model": body["model"], "input": row.items}
    item |= {"instructions": body.get("instructions"), "metadata": body.get("metadata") or {}}
    answer = of_response(body)
    given = {"model": body["model"], "output_text": answer.text, "output_tools": answer.tools}
    return Entry(item, given)


def _fits(body: Mapping[str, Any], wanted: wire.StoredResponses, metadata: Any) -> bool:
    """Whether the response is one that the source asks for."""
    same = all(
        asked is None or body.get(name) == asked
        for name in ("model", "temperature", "top_p")
        if (asked := getattr(wanted, name)) is not None
    )
    found = body.get("metadata") or {}
    instructions = str(body.get("instructions") or "")
    return (
        same
        and all(found.get(key) == value for key, value in metadata.items())
        and (wanted.instructions_search or "") in instructions
    )
