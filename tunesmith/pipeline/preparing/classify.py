"""prepare, for texts to classify: cleaned, labelled, freed of gaps and duplicates, balanced, split.

Reads top to bottom as the rows go. Each step is a function of `data`; here is their order, what is
said about them, and what stops the run.
Does not know: files that are written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from tunesmith.config import PrepareConfig
from tunesmith.data import checks
from tunesmith.data.chat.files import FEWEST_EXAMPLES
from tunesmith.data.columns.roles import vote_labels
from tunesmith.data.findings import Finding, counted, enumerated
from tunesmith.data.journal import Journal
from tunesmith.data.labels.agreement import Agreement, agreement
from tunesmith.data.labels.ballots import read_ballots
from tunesmith.data.labels.spellings import (
    Spelling,
    decisions,
    near_spellings,
    own_label,
    parse_merges,
    placeholder_findings,
    spelling,
)
from tunesmith.data.labels.votes import dawid_skene, settle_ballots, soft
from tunesmith.data.likeness import duplicates
from tunesmith.data.likeness.near import join_groups
from tunesmith.data.reading.table import Table
from tunesmith.data.receipt import KEPT, of_source, settle, summary, undecided, verdict
from tunesmith.data.sides import balance, split
from tunesmith.data.texts.stored import Texts
from tunesmith.errors import ConfigError, DataError
from tunesmith.events import Decision
from tunesmith.pipeline.preparing import review_rows
from tunesmith.pipeline.preparing.facts import Duplicates, Votes
from tunesmith.pipeline.preparing.rows import Outcome, near_groups, placed, split_rows
from tunesmith.pipeline.preparing.texts import Work, read_rows, row_times, settle_columns

_SAID = ("row", "line", "key", "label")  # columns by which rows that say the same are found
_SETTLES = {
    "text column": "text",
    "label column": "label",
    "label columns": "annotators",
    "vote columns": "votes",
    "rater column": "rater",
    "group column": "group",
    "balance": "balance",
}


def prepare_classify(
    config: PrepareConfig,
    tables: dict[str, Table],
    texts: Texts,
    journal: Journal,
    *,
    weighs: bool = True,
) -> Outcome:
    """Each row as a text and a label, on one side of the split, or out, with the reason.

    weighs  whether the training that follows can weigh labels in the loss.

    `tables` is empty afterwards, and the texts are in `texts`.
    """
    merges = parse_merges(config.merge)
    work = settle_columns(config, tables, texts, journal)
    work.weighs = weighs
    journal.stage("cleaning")
    rows = read_rows(tables, work)
    journal.stage("labels")
    rows, spelled = _spell(rows, work, merges)
    rows, review = vote(rows, work, list(spelled.counts))
    if config.missing_label:
        rows, told = own_label(rows, config.missing_label)
        journal.decide(told)
    rows = drop_gaps(rows, work)
    natural = _label_counts(of_source(rows, "table", "label"))
    journal.stage("duplicates")
    rows = _drop_duplicates(rows, work)
    rows = _check_labels(rows, work)
    journal.stage("splitting")
    rows, mode = _balance(rows, work)
    if mode == "repeat" and work.soft is not None:
        raise ConfigError(
            "Rows cannot be repeated (--balance repeat) and stand there once for each vote "
            "(--vote-by soft) too.",
            fix="Balance with --balance weight.",
        )
    rows = _split(rows, work, repeat=mode == "repeat")
    rows = rows.with_columns(pl.col("fate").fill_null(KEPT))
    return Outcome(
        rows=rows,
        texts=work.texts,
        task="classify",
        title=Path(config.table).name.partition(".")[0],
        files=[path.name for path in work.files.values()],
        natural=natural,
        weighted=mode == "weight",
        soft=work.soft,
        cleaning=work.steps,
        mask=work.mask,
        spelled=spelled,
        review=review,
        duplicates=_duplicates(rows, work),
        votes=work.votes,
        sensitive=work.sensitive,
        settled={**work.settled, "balance": mode},
        settles=_SETTLES,
    )


# --- 1. labels -----------------------------------------------------------------------------------


def _spell(
    rows: pl.DataFrame, work: Work, merges: Mapping[str, str]
) -> tuple[pl.DataFrame, Spelling]:
    """Rows with one spelling for each label, null where a cell holds none."""
    cells, journal = work.cells, work.journal
    if work.columns.votes:
        named = pl.DataFrame({"vote": list(vote_labels(work.columns.votes).values())})
        return rows, spelling(named, merge=False)
    table = of_source(rows, "table", "line", *cells)
    spelled = spelling(table.select(cells), merge=work.config.merge_labels, merges=merges)
    journal.decide(decisions(spelled))
    journal.find(placeholder_findings(spelled, table))
    rows = rows.with_columns(spelled.apply(rows[cell]).alias(cell) for cell in cells)
    labels = of_source(rows, "table", "line", *cells).unpivot(
        cells, index="line", value_name="label"
    )
    first = labels.drop_nulls("label").group_by("label").agg(pl.col("line").min())
    journal.find(near_spellings(spelled.counts, dict(first.iter_rows())))
    return rows, spelled


def vote(
    rows: pl.DataFrame, work: Work, labels: Sequence[str]
) -> tuple[pl.DataFrame, pl.DataFrame | None]:
    """Rows with one `label` each, and those for people to review, where annotators tie."""
    cells, config, journal = work.cells, work.config, work.journal
    if work.columns.rater is None and len(work.columns.labels) == 1:
        rows = rows.rename({cells[0]: "label"})
        return (review_rows.decide(rows, work, labels) if config.review else rows), None
    rows = work.with_text(rows)
    ballots, step = read_ballots(undecided(rows), work.columns, cells)
    rows = journal.take(rows, step)
    agreed = agreement(ballots)
    journal.find([agreed.finding()] if agreed else [])
    shares = _dawid_skene(ballots, work) if config.vote_by == "dawid-skene" else None
    named = review_rows.named(rows, work)
    review = review_rows.decisions(named, work, labels)
    decided = review.decided if review else None
    rows = journal.take(rows, review.dropped) if review else rows
    ties = "share" if config.vote_by == "soft" else config.ties
    rows, step, tied = settle_ballots(rows, ballots, ties, shares=shares, decided=decided)
    if config.vote_by == "soft":
        work.soft = soft(ballots, decided)
        why = "as --vote-by asks; a training text stands there once for each vote"
        value = "soft: every label counts by its share of them"
        journal.decide([Decision(what="votes", value=value, reason=why)])
    work.votes = _votes(ballots, tied.height, agreed, config.vote_by)
    listed = review_rows.tied(tied, named, work) if tied.height else None
    return journal.take(rows.drop("text"), step), listed


def _votes(ballots: pl.DataFrame, ties: int, agreed: Agreement | None, method: str) -> Votes:
    items = ballots.group_by("item").agg(
        pl.col("count").sum().alias("votes"), pl.col("label").n_unique().alias("labels")
    )
    several = items.filter(pl.col("votes") > 1)
    alike = several.filter(pl.col("labels") == 1).height
    return Votes(
        method=method,
        num_rows=several.height,
        num_annotators=max(ballots["rater"].n_unique(), 1),
        agreed=alike / max(several.height, 1),
        ties=ties,
        kappa=agreed.fleiss_kappa if agreed else None,
        alpha=agreed.krippendorff_alpha if agreed else None,
    )


def _dawid_skene(ballots: pl.DataFrame, work: Work) -> pl.DataFrame:
    found = dawid_skene(ballots)
    value = f"Dawid and Skene's estimate, {counted(found.num_iterations, 'round')}"
    work.journal.decide([Decision(what="votes", value=value, reason="as --vote-by asks")])
    if not found.has_converged:
        what = "Dawid and Skene's estimate did not come to rest."
        fix = "The raters may disagree too much to be weighed; compare with --vote-by majority."
        work.journal.find([Finding("warning", None, what, fix)])
    return found.shares


def drop_gaps(rows: pl.DataFrame, work: Work) -> pl.DataFrame:
    """Without rows that lack the text or the label."""
    rows = work.journal.take(
        rows, checks.gaps(undecided(rows, "row", "source", "line", "size"), "text")
    )
    for source, path in work.files.items():
        if of_source(rows, source, "row").is_empty():
            raise DataError(
                f"No row has a text in the column {work.columns.text!r}.",
                fix="Fill it, or choose another column with --text.",
                path=path,
            )
    rows = work.journal.take(
        rows, checks.gaps(undecided(rows, "row", "source", "line", "label"), "label")
    )
    for source, path in work.files.items():
        if of_source(rows, source, "row").is_empty():
            raise DataError(
                f"No row with a text has a label that can be used in "
                f"{enumerated(map(repr, work.names))}.",
                fix="Fill it, or choose another column with --label.",
                path=path,
            )
    # A number in place of each label, from here on: a table has few labels and many rows.
    labels = pl.Enum(rows["label"].drop_nulls().unique().sort())
    return rows.with_columns(pl.col("label").cast(labels))


# --- 3. duplicates, and labels that cannot be used ----------------------------------------------


def _drop_duplicates(rows: pl.DataFrame, work: Work) -> pl.DataFrame:
    """Without texts said twice. Validation rows all stay; training rows give way to them."""
    config, journal = work.config, work.journal
    validation = of_source(rows, "validation", *_SAID)
    if validation.height:
        rows = journal.take(rows, duplicates.leaked(of_source(rows, "table", *_SAID), validation))
    there = [name for name in duplicates.DECIDE_ON_SIDES if name in rows.columns]
    rows = journal.take(rows, duplicates.same_text(of_source(rows, "table", *_SAID, *there)))
    if validation.is_empty() or not work.threshold:
        return rows
    step = duplicates.near_leaks(
        work.with_text(of_source(rows, "table", *_SAID)),
        work.with_text(validation),
        threshold=work.threshold,
        seed=config.seed,
    )
    work.near = work.leaks = step.verdicts.height
    return journal.take(rows, step)


def _check_labels(rows: pl.DataFrame, work: Work) -> pl.DataFrame:
    """Without labels on a single row, if the user says so. Raises where labels cannot be used."""
    checks.check_several(rows, work.table)
    if work.config.rare_labels == "drop":
        single = checks.single_rows(of_source(rows, "table", *_SAID), undecided(rows, *_SAID))
        rows = work.journal.take(rows, single)
        checks.check_several(rows, work.table)
    live = of_source(rows, "table", "line", "label")
    checks.check_twice(live, work.table)
    if validation := work.files.get("validation"):
        known = of_source(rows, "validation", "line", "label")
        checks.check_known(known, live, work.table, validation)
    return rows


def _duplicates(rows: pl.DataFrame, work: Work) -> Duplicates:
    fates = summary(rows)
    return Duplicates(
        exact=sum(fates.get(fate, 0) for fate in (duplicates.MERGED, duplicates.LEAKED)),
        conflicting=sum(fates.get(fate, 0) for fate in (duplicates.OUTVOTED, duplicates.TIED)),
        near=work.near,
        threshold=work.threshold or None,
        would_have_leaked=work.leaks,
    )


# --- 4. balance and split -----------------------------------------------------------------------


def _balance(rows: pl.DataFrame, work: Work) -> tuple[pl.DataFrame, balance.Mode]:
    """Rows cut to even numbers, if that is the way, and which way it is."""
    live, seed = of_source(rows, "table", "row", "key", "label"), work.config.seed
    counts = _label_counts(live)
    mode, decision = work.balanced(counts)
    work.journal.decide([decision])
    if mode == "smallest":
        chance = split.chances(live, seed)
        cut = live.filter(~balance.keep_even(live["label"], chance))
        rows = settle(rows, verdict(cut, balance.CUT))
    return rows, mode


def _split(rows: pl.DataFrame, work: Work, *, repeat: bool) -> pl.DataFrame:
    """Rows with `split` (train, validation, test; null for those that are out) and `copies`."""
    config = work.config
    there = [name for name in duplicates.DECIDE_ON_SIDES if name in rows.columns]
    live = undecided(rows, "source", *_SAID, *there)
    if validation := work.files.get("validation"):
        held = pl.when(pl.col("source") == "validation").then(pl.lit("validation"))
        sides = live.select(held.otherwise(pl.lit("train")).alias("split"))["split"]
        num = int((sides == "train").sum())
        value = f"{num:,} to learn from, {live.height - num:,} to check with"
        why = f"the validation file is {validation.name}"
        work.journal.decide([Decision(what="split", value=value, reason=why)])
    else:
        sides, work.leaks = split_rows(
            live,
            config.split,
            seed=config.seed,
            groups=_groups(live, work),
            time=row_times(live, work) if config.split_by == "time" else None,
            journal=work.journal,
        )
    num_train = int((sides == "train").sum())
    if num_train < FEWEST_EXAMPLES:
        raise _too_few(rows, num_train, work)
    train = live.filter(sides == "train")
    copies = pl.Series("copies", [1] * live.height, dtype=pl.Int64)
    if repeat:
        chance = split.chances(train, config.seed)
        times = balance.copies(train["label"], chance)
        copies = copies.scatter((sides == "train").arg_true(), times)
    rows = placed(rows, live["row"], sides, copies)
    if not repeat:
        return rows
    again = pl.when(pl.col("copies") > 1).then(pl.format("used {} times", "copies"))
    return rows.with_columns(again.otherwise("note").alias("note"))


def _groups(live: pl.DataFrame, work: Work) -> pl.Series:
    """What must stay on one side: near-duplicates, and rows of one value of the group column."""
    config = work.config
    near = pl.repeat(None, live.height, dtype=pl.UInt32, eager=True).alias("group")
    if work.threshold:
        texts = work.with_text(live)["text"]
        near, findings = near_groups(texts, work.threshold, config.seed)
        work.journal.find(findings)
        work.near = len(near) - near.null_count()
    if "group" not in live.columns:
        return near
    joined = join_groups(near, live["group"])
    alone = joined.is_unique()
    return joined.to_frame("g").select(pl.when(~alone).then("g").alias("group"))["group"]


def _too_few(rows: pl.DataFrame, num_train: int, work: Work) -> DataError:
    live, cut = of_source(rows, "table", "label"), rows.filter(pl.col("fate") == balance.CUT)
    number, fix = counted(live.height + cut.height, "row"), "Add rows with a text and a label."
    what = f"{number} can be used, which leaves {num_train}"
    if cut.height:
        size = min(_label_counts(live).values())
        what = f"{number} can be used, but cutting every label to {size} leaves {num_train}"
        fix += " Or keep them all with --balance weight."
    what += f" to learn from; at least {FEWEST_EXAMPLES} are needed."
    return DataError(what, fix=fix, path=work.table)


def _label_counts(rows: pl.DataFrame) -> dict[str, int]:
    """Label → rows, the labels in alphabetical order."""
    return dict(rows["label"].value_counts().sort("label").iter_rows())
