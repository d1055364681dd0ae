"""How good a model of labels is: the verdict, what to do next, the scores beside those of others.

Does not know: single rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tunesmith.data.findings import counted
from tunesmith.web.controls import Tag, badge, details, facts, link, panel, table, tag, text
from tunesmith.web.drafts import in_words
from tunesmith.web.glossary import term
from tunesmith.web.results import words
from tunesmith.web.results.words import percent, span

Numbers = Mapping[str, Any]

TOP = 3
WORTH = {
    "yes": ("Yes, by these rows", "good"),
    "no": ("No, by these rows", "bad"),
    "undecided": ("Not decided with this many rows", "warn"),
}
SIDES = (
    ("Held-out rows", "metrics"),
    ("Natural shares", "natural"),
    ("All labels alike", "balanced"),
)


def verdict(sentences: Sequence[str]) -> None:
    """What came out: the first sentence large."""
    with tag("div", kind="verdict stack tight"):
        for number, sentence in enumerate(sentences):
            text(in_words(sentence), "" if number else "first")


def tiles(report: Numbers) -> None:
    """The few numbers to see first."""
    with tag("dl", kind="tiles"):
        for name in ("accuracy", "f1_macro", "precision_macro", "recall_macro"):
            title, meaning = words.metric(name)
            interval = report["intervals"].get(name)
            with tag("div"):
                tag("dt", title)
                tag("dd", percent(report["metrics"].get(name)))
                tag("dd", f"95 % sure: {span(interval)}" if interval else "", kind="small quiet")
                tag("dd", meaning, kind="small quiet")


def advice(found: Sequence[Numbers], *, has_suspects: bool) -> None:
    """What to change, what helps most first."""
    with panel("What to do next"):
        if not found:
            text("Nothing was found that would surely help. More rows always do.", "quiet")
            return
        _advised(found[:TOP], 1, has_suspects)
        if len(found) > TOP:
            with details(f"{len(found) - TOP:,} more"):
                _advised(found[TOP:], TOP + 1, has_suspects)


def _advised(found: Sequence[Numbers], start: int, has_suspects: bool) -> None:
    with tag("ol", kind="advice", start=start):
        for one in found:
            with tag("li"):
                if one["kind"] == "noise" and has_suspects:
                    tag("strong", "Correct the labels that are probably wrong, and train again.")
                else:
                    tag("strong", in_words(one["change"]))
                text(in_words(one["evidence"]))
                with tag("p", kind="quiet small"):
                    tag("span", "To be expected: ")
                    tag("span", one["expected"])
                if one["kind"] == "noise" and has_suspects:
                    link("To the suspect labels", "#suspects")


def worth(report: Numbers) -> None:
    """The scores beside those of what one could use instead."""
    rivals = sorted(report["baselines"], key=lambda r: -r["metrics"]["accuracy"])
    # Names of baselines read as in a sentence; those of runs stay as they are.
    rivals = [{**one, "title": words.first_up(one["title"])} for one in rivals]
    everyone = [*rivals, *report["against"]]
    with panel("Was tuning worth it?").set(id="worth"):
        if report.get("worth"):
            with tag("p"):
                badge(*WORTH[report["worth"]])
        rows = counted(report["num_examples"], "held-out row")
        text(
            f"The same {rows}, answered by the tuned model and by what one could use instead. The "
            "thin mark shows where the true value lies, with 95 % certainty.", "quiet",
        )  # fmt: skip
        with tag("div", kind="grid two"):
            for name in ("accuracy", "f1_macro"):
                with tag("div", kind="stack tight"):
                    tag("h3", words.metric(name)[0])
                    _bars(report, everyone, name)
        if everyone:
            _duels(report, everyone)
            with details("What these are"), tag("dl", kind="reasons"):
                for one in everyone:
                    with tag("div"):
                        tag("dt", one["title"])
                        tag("dd", one["description"])
        for sentence in report["left_out"]:
            text(in_words(sentence), "quiet small")


def _bars(report: Numbers, rivals: Sequence[Numbers], name: str) -> None:
    own = {"title": "This model", "metrics": report["metrics"], "intervals": report["intervals"]}
    with tag("ul", kind="rivals"):
        for one in sorted([own, *rivals], key=lambda r: (r is not own, -r["metrics"][name])):
            with tag("li"):
                with tag("div", kind="named"):
                    tag("span", one["title"], kind="strong" if one is own else "")
                    tag("span", percent(one["metrics"][name]), kind="number")
                interval = one["intervals"].get(name)
                meter(one["metrics"][name], interval, kind="own" if one is own else "")


def meter(share: float, interval: Sequence[float] | None = None, *, kind: str = "") -> Tag:
    """A bar for a share of 0 to 1 with its interval; the number stands beside it."""
    box = tag("div", kind=f"meter {kind}", aria_hidden="true")
    with box:
        tag("span", kind="part", style=f"width: {100 * share:.2f}%")
        if interval:
            low, high = (min(max(end, 0.0), 1.0) for end in interval)
            tag("i", style=f"left: {100 * low:.2f}%; width: {100 * (high - low):.2f}%")
    return box


def _duels(report: Numbers, rivals: Sequence[Numbers]) -> None:
    def ahead(one: Numbers) -> Any:
        def show() -> None:
            found = one["comparison"]
            tag("span", words.points(found["gain"]), kind="strong")
            tag("span", f" {words.ends(found['interval'])}", kind="quiet small nowrap")

        return show

    table(
        ("On the same rows", "Accuracy", "F1, macro", "This model is ahead by, points",
         "Right only here : only there", "As large by chance"),
        [
            ("This model", percent(report["metrics"]["accuracy"]),
             percent(report["metrics"]["f1_macro"]), "", "", ""),
            *(
                (one["title"], percent(one["metrics"]["accuracy"]),
                 percent(one["metrics"]["f1_macro"]), ahead(one),
                 f"{one['comparison']['only_ours']:,} : {one['comparison']['only_theirs']:,}",
                 words.chance(one["comparison"]["p_value"]))
                for one in rivals if one["comparison"]
            ),
        ],
        caption="The scores beside those of others on the same rows, with the paired difference",
        kind="numbers",
    )  # fmt: skip
    text(
        "As large by chance: how often two equally good models would differ so much on as many "
        "rows (McNemar’s test). Below 0.05 a difference counts as real.", "quiet small",
    )  # fmt: skip


def slices(report: Numbers) -> None:
    """The scores of parts of the rows."""
    if not report["slices"]:
        return
    moods = {"better": "good", "worse": "bad", "undecided": ""}
    said = {"better": "better than the rest", "worse": "worse than the rest",
            "undecided": "no difference beyond chance"}  # fmt: skip

    def told(one: Numbers) -> Any:
        return lambda: badge(said[one["verdict"]], moods[one["verdict"]])

    with panel("In parts").set(id="parts"):
        text(
            "Some parts look bad by chance alone. One is marked only where it differs from the "
            "rest by more than chance explains among all of them.", "quiet",
        )  # fmt: skip
        table(
            ("Part", "Rows", "Accuracy", "95 % sure", "The rest", "Against the rest"),
            [
                (one["name"], one["num_rows"], percent(one["accuracy"]), span(one["interval"]),
                 percent(one["rest_accuracy"]), told(one))
                for one in report["slices"]
            ],
            caption="Accuracy in parts of the rows",
            kind="numbers",
        )  # fmt: skip


def everything(report: Numbers) -> None:
    """All scores, and the facts of the run."""
    sides = [(title, report[key]) for title, key in SIDES if report.get(key)]
    with details("All scores"):
        table(
            ("Score", *(title for title, _ in sides), "95 % sure", "What it says"),
            [
                (title, *(words.score(name, some.get(name)) for _, some in sides),
                 words.scores(name, report["intervals"].get(name)), meaning)
                for name, (title, meaning) in words.LABEL_METRICS.items()
                if name in report["metrics"]
            ],
            caption="All scores, on the rows as they are and on other shares of labels",
            kind="numbers",
        )  # fmt: skip
    parity = report["parity"]
    facts(
        {
            "Training rows": report["num_train"],
            "Scored rows": report["num_examples"],
            "Labels": len(report["labels"]),
            "Base model": report["base_model"],
            "Method": lambda: _method(report["method"]),
            "Answers as trained": lambda: _parity(parity),
        }
    )


def _method(name: str) -> None:
    if name in ("head", "full", "lora"):
        term(name)
    else:
        tag("span", name)


def _parity(parity: Numbers) -> None:
    same = parity["compared"] - parity["label_disagreements"]
    term("parity", f"{same:,} of {parity['compared']:,}")
