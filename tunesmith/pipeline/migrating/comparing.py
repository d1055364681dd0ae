"""The model of a recipe's run against the old one, on the same validation rows.

The old one's answers are those that were kept, so it need not answer any more. Rows whose prompts
the old model was trained on count for neither.
Does not know: how answers were collected, or what is printed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from tunesmith.data.chat.files import read_classification
from tunesmith.errors import NotFound, RequestError, StateError
from tunesmith.metrics import generation, intervals
from tunesmith.metrics.classification import score
from tunesmith.metrics.generation import Call, Pair
from tunesmith.metrics.intervals import Interval, bootstrap
from tunesmith.metrics.significance import Comparison, compare_answers, compare_scores
from tunesmith.pipeline.evaluating.run_facts import scored_lines
from tunesmith.pipeline.migrating.answers import answers_place, read_answers, read_questions
from tunesmith.pipeline.migrating.manifest import Asset, Manifest, safe_id, write_json
from tunesmith.pipeline.results import Evaluated, EvaluatedText, Prepared
from tunesmith.pipeline.rundir import RunDir

Answer = tuple[str, tuple[Call, ...]]
"""A text, and the functions that are called."""
Answers = Mapping[int, Answer]

COMPARISONS = "comparisons"
OF_LABELS = ("accuracy", "f1_macro", "precision_macro", "recall_macro")


@dataclass(frozen=True, kw_only=True)
class Side:
    """One model's scores."""

    model: str
    metrics: dict[str, float]
    intervals: dict[str, Interval]


@dataclass(frozen=True, kw_only=True)
class OldAndNew:
    """The new model ("ours" in `comparison`) against the old one.

    main           the metric that the comparison is of.
    num_taught     rows left out because the old model was trained on their prompts.
    num_unanswered rows left out because no answer of the old model was kept.
    """

    job: str
    main: str
    num_rows: int
    num_taught: int
    num_unanswered: int
    new: Side
    old: Side
    comparison: Comparison
    verdict: str


@dataclass(frozen=True, kw_only=True)
class _Row:
    """The right answer to a row, and the two models' answers."""

    gold: Answer
    new: Answer
    old: Answer


def compare_with_old(folder: Path, job_id: str, run: Path) -> OldAndNew:
    """The run's model against the one that the job made; also kept in the folder.

    Raises: NotFound where the job, the run or the answers are not there; StateError for a run of
    something else; StorageError.
    """
    manifest = Manifest.load(folder)
    job = _job(manifest, job_id)
    old_model = str(job.about.get("fine_tuned_model"))
    kept = read_answers(answers_place(manifest, job_id))
    collecting = f"tunesmith migrate openai {folder} --answers"
    if not kept:
        raise NotFound(
            f"No answers of {old_model} were kept.",
            fix=f"Collect them while it still answers: {collecting}",
        )
    new_model, answers, is_labels = _new_answers(manifest, job, RunDir(run))
    rows, num_taught, num_unanswered = _rows(manifest, job, answers, kept)
    if not rows:
        raise StateError(
            f"No row is left to compare on: {num_taught:,} were trained on, {num_unanswered:,} "
            "have no answer of the old model.",
            fix=f"Collect answers: {collecting}",
        )
    main, new, old, comparison = (_labelled if is_labels else _texts)(rows, new_model, old_model)
    found = OldAndNew(
        job=job_id,
        main=main,
        num_rows=len(rows),
        num_taught=num_taught,
        num_unanswered=num_unanswered,
        new=new,
        old=old,
        comparison=comparison,
        verdict=_verdict(comparison, main),
    )
    write_json(manifest.folder / COMPARISONS / f"{safe_id(job_id)}.json", asdict(found))
    return found


def _new_answers(manifest: Manifest, job: Asset, run: RunDir) -> tuple[str, Answers, bool]:
    """The run's model, its answers by line of the validation file, and whether they are labels."""
    prepared = run.latest("prepare", Prepared)
    labels = run.latest("evaluate", Evaluated)
    written = run.latest("evaluate", EvaluatedText)
    if prepared is None or not (labels or written):
        raise NotFound(
            f"There is no evaluated run in {run.path}.",
            fix="Run the recipe to its end, or name its run.",
        )
    _check_same_rows(manifest, job, prepared, run)
    if prepared.task == "classify":
        assert labels
        return labels.model, _of_labels(run, prepared, labels), True
    assert written
    return written.model, _written(run, written), False


def _rows(
    manifest: Manifest, job: Asset, answers: Answers, kept: Mapping[int, Mapping[str, Any]]
) -> tuple[list[_Row], int, int]:
    """The rows that count, how many were trained on, and how many have no old answer."""
    taught = _taught_prompts(manifest, job)
    rows, num_taught, num_unanswered = [], 0, 0
    for question in read_questions(_file(manifest, job, "validation_file")):
        new, old = answers.get(question.line), kept.get(question.line)
        if new is None:
            continue
        if _prompt(question.row.messages) in taught:
            num_taught += 1
        elif old is None:
            num_unanswered += 1
        else:
            given = str(old.get("answer") or ""), _calls(old.get("calls") or ())
            gold = question.row.gold, question.row.gold_calls
            rows.append(_Row(gold=gold, new=new, old=given))
    return rows, num_taught, num_unanswered


def _job(manifest: Manifest, job_id: str) -> Asset:
    job = manifest["jobs"].get(job_id)
    if job is None:
        raise NotFound(
            f"There is no job {job_id} in {manifest.folder}.",
            fix="Its manifest.json lists the jobs; fetch them with: tunesmith migrate openai",
        )
    return job


def _file(manifest: Manifest, job: Asset, what: str) -> Path:
    """Where the job's file lies. Raises: NotFound."""
    asset = manifest["files"].get(str(job.about.get(what) or ""))
    if asset is None or asset.state != "downloaded":
        named = what.replace("_", " ")
        raise NotFound(f"The {named} of {job.id} is not here.", fix="See the manifest for why.")
    return manifest.place(asset)


def _check_same_rows(manifest: Manifest, job: Asset, prepared: Prepared, run: RunDir) -> None:
    """Refuse a run whose held-out rows are not the job's."""
    ours = _file(manifest, job, "validation_file").name
    known = {ours, f"{safe_id(job.id)}.validation.jsonl"}
    if prepared.test or prepared.files.get("validation") not in known:
        raise StateError(
            f"The run in {run.path} was not made by the recipe of {job.id}: other rows are scored.",
            fix=f"Run the recipe: tunesmith run --config {manifest.folder}/recipes/"
            f"{safe_id(job.id)}.toml",
        )


def _of_labels(run_dir: RunDir, prepared: Prepared, found: Evaluated) -> Answers:
    texts, _ = read_classification(run_dir.path / prepared.scored)
    table = pl.read_parquet(run_dir.path / found.predictions).select("text", "predicted")
    answers = dict(table.iter_rows())
    lines = scored_lines(prepared, run_dir)
    return {n: (answers[t], ()) for n, t in zip(lines, texts, strict=True) if t in answers}


def _written(run_dir: RunDir, found: EvaluatedText) -> Answers:
    table = pl.read_parquet(run_dir.path / found.predictions).select("line", "answer", "calls")
    return {line: (said, _calls(json.loads(c or "[]"))) for line, said, c in table.iter_rows()}


def _calls(told: Sequence[Mapping[str, Any]]) -> tuple[Call, ...]:
    return tuple(Call(name=one["name"], arguments=one["arguments"]) for one in told)


def _prompt(messages: Sequence[Mapping[str, Any]]) -> str:
    return json.dumps(list(messages), sort_keys=True, ensure_ascii=False)


def _taught_prompts(manifest: Manifest, job: Asset) -> set[str]:
    """Prompts that the old model was trained on; none where its training file is gone."""
    try:
        path = _file(manifest, job, "training_file")
    except RequestError:
        return set()
    return {_prompt(question.row.messages) for question in read_questions(path)}


def _labelled(rows: Sequence[_Row], new: str, old: str) -> tuple[str, Side, Side, Comparison]:
    gold, ours, theirs = (
        [getattr(row, who)[0].strip() for row in rows] for who in ("gold", "new", "old")
    )
    labels = sorted(set(gold))

    def side(model: str, answers: Sequence[str]) -> Side:
        found = score(gold, answers, labels=labels)
        spans = bootstrap(found)
        return Side(
            model=model,
            metrics={name: found.metrics[name] for name in OF_LABELS},
            intervals={name: spans[name] for name in OF_LABELS},
        )

    return "accuracy", side(new, ours), side(old, theirs), compare_answers(gold, ours, theirs)


def _texts(rows: Sequence[_Row], new: str, old: str) -> tuple[str, Side, Side, Comparison]:
    ours = _scores([row.gold for row in rows], [row.new for row in rows])
    theirs = _scores([row.gold for row in rows], [row.old for row in rows])
    all_of = [name for name in generation.METRICS if all(name in row for row in ours)]
    main = next(name for name in ("tool_call_match", "json_match", "token_f1", "exact_match")
                if name in all_of)  # fmt: skip

    def side(model: str, scores: Sequence[Mapping[str, float]]) -> Side:
        values = {name: [row[name] for row in scores] for name in all_of}
        return Side(
            model=model,
            metrics={name: sum(v) / len(v) for name, v in values.items()},
            intervals={name: intervals.mean(v) for name, v in values.items()},
        )

    comparison = compare_scores([row[main] for row in ours], [row[main] for row in theirs])
    return main, side(new, ours), side(old, theirs), comparison


def _scores(gold: Sequence[Answer], answers: Sequence[Answer]) -> list[dict[str, float]]:
    pairs = [
        Pair(gold=right[0], gold_calls=right[1], answer=given[0], answer_calls=given[1])
        for right, given in zip(gold, answers, strict=True)
    ]
    return generation.compare(pairs).rows


def _verdict(found: Comparison, main: str) -> str:
    """What came out, in a sentence."""
    what = main.replace("_", " ")
    ends = [f"{100 * end:+.1f}".replace("-", "−") for end in found.interval]
    sure = f"95 % sure: {ends[0]} to {ends[1]} points"
    gain = f"{100 * found.gain:+.1f} points".replace("-", "−")
    rows = f"{found.num_rows:,} rows"
    if found.verdict == "undecided":
        return f"Which of the two is better is not decided by these {rows} ({what} {gain}; {sure})."
    return f"The new model is {found.verdict} than the old one ({what} {gain}; {sure}; {rows})."
