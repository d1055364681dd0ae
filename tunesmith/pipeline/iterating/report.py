"""What an iteration came to: sentences, a table, a page with plots.

Knows: the trials and the final score. Does not know: how either came about.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path

import jinja2
from markupsafe import Markup

from tunesmith.metrics.targets import UNBOUNDED, is_higher_better, parse
from tunesmith.pipeline.evaluating.labels.report import duration
from tunesmith.pipeline.iterating import iterate_charts
from tunesmith.pipeline.iterating.iterate_charts import Axis, Dot, Line
from tunesmith.pipeline.iterating.space import Dimension, Value
from tunesmith.pipeline.pages import page
from tunesmith.pipeline.pages.charts import percent
from tunesmith.pipeline.results import Iterated, TrialResult
from tunesmith.pipeline.rundir import write_atomic

ENDED = {
    "target": "because the target was met",
    "time": "because the time was spent",
    "money": "because the money was spent",
    "trials": "after as many trials as were asked for",
    "exhausted": "because almost every combination had been tried",
    "failures": "because several trials in a row failed",
}


@dataclass(frozen=True, kw_only=True)
class IterateReport:
    """All that the page shows."""

    result: Iterated
    dimensions: Sequence[Dimension]
    title: str

    @property
    def best(self) -> TrialResult:
        """The chosen trial."""
        return self.result.searched.trials[self.result.searched.chosen]

    @property
    def done(self) -> list[TrialResult]:
        """The trials with a score."""
        return [t for t in self.result.searched.trials if t.score is not None]

    def shown(self, score: float) -> str:
        """A value of the metric, for people."""
        return f"{score:.3f}" if self.result.searched.metric in UNBOUNDED else percent(score)


def verdict(data: IterateReport) -> list[str]:
    """What was reached, how, and how much of it is luck, in sentences."""
    searched, best, result = data.result.searched, data.best, data.result
    metric, score = searched.metric, data.shown(best.score or 0.0)
    out = []
    if metric in result.final:
        found = "On the held-out rows, which chose nothing, "
        found += f"{metric} is {data.shown(result.final[metric])}"
        if result.final_interval:
            low, high = result.final_interval
            found += f" (95\u202f%\u00a0sure: between {data.shown(low)} and {data.shown(high)})"
        out.append(f"{found}.")
    took = f"{len(searched.trials):,} {'trial' if len(searched.trials) == 1 else 'trials'}"
    kept = "the usual settings" if not best.settings else _words(data.dimensions, best)
    out.append(
        f"Trial {best.number + 1} of {took} was chosen: {kept}; "
        f"on the rows that choose it reached {score}."
    )
    if searched.target:
        out.append(_met(data, searched.target))
    out += _gain(data)
    out += _luck(data)
    spent = duration(searched.seconds)
    price = f" and cost {searched.cost:,.2f}" if searched.cost else ""
    out.append(f"The search took {spent}{price}. It ended {ENDED[searched.ended]}.")
    return out


def _met(data: IterateReport, target: str) -> str:
    """Whether the target is met, and where."""
    metric, chosen = data.result.searched.metric, bool(data.result.searched.reached)
    if metric not in data.result.final:
        return f"On the rows that choose, the target {target} is {'' if chosen else 'not '}met."
    held_out = parse(target, (metric,)).is_met(data.result.final[metric])
    choose, final = "on the rows that choose", "on the held-out rows"
    if chosen and held_out:
        return f"The target {target} is met, {choose} and {final}."
    if not (chosen or held_out):
        return f"The target {target} is not met, neither {choose} nor {final}."
    where, not_there = (choose, final) if chosen else (final, choose)
    return f"The target {target} is met {where}, but not {not_there}."


def _gain(data: IterateReport) -> Iterator[str]:
    """What the search has brought over the first trial."""
    first, best = data.result.searched.trials[0], data.best
    if first.score is None or best.score is None or first is best:
        return
    sign = 1 if is_higher_better(data.result.searched.metric) else -1
    gain = _difference(data, sign * (best.score - first.score))
    yield f"There the usual settings reached {data.shown(first.score)}; the search added {gain}."


def _luck(data: IterateReport) -> Iterator[str]:
    """How much the choice flatters."""
    result = data.result
    expected = ""
    if result.optimism is not None and len(data.done) > 1:
        most = _difference(data, result.optimism)
        expected = f"The best of {len(data.done):,} scores looks better than it is, on average by "
        expected += f"up to {most} here"
    if result.drop is None:
        if expected:
            yield f"{expected}."
        return
    side = "lower" if is_higher_better(result.searched.metric) else "higher"
    if result.drop < 0:
        side = "higher" if side == "lower" else "lower"
    found = f"{_difference(data, abs(result.drop))} {side} than on the rows that chose the trial"
    if _difference(data, abs(result.drop)) == _difference(data, 0.0):
        found = "the same as on the rows that chose the trial"
    if expected:
        yield f"{expected}; the held-out score is {found}."
    else:
        yield f"The held-out score is {found}."


def _difference(data: IterateReport, amount: float) -> str:
    if data.result.searched.metric in UNBOUNDED:
        return f"{amount:.3f}"
    return f"{100 * amount:.1f} points".replace("-", "−")


def _words(dimensions: Sequence[Dimension], trial: TrialResult) -> str:
    known = {one.name: one for one in dimensions}
    return ", ".join(
        f"{name} {known[name].shown(value) if name in known else value}"
        for name, value in trial.settings.items()
    )


def write_iterate_report(data: IterateReport, home: Path) -> None:
    """Write the page and the table into the run directory. Raises: StorageError."""
    write_atomic(home / data.result.table, _table(data).encode())
    searched = data.result.searched
    target = parse(searched.target, (searched.metric,)).value if searched.target else None
    today = date.today()
    html = _page().render(
        data=data,
        searched=searched,
        sentences=data.result.verdict,
        date=f"{today.day} {today:%B %Y}",
        history=iterate_charts.history(_dots(data), target=target, shown=data.shown),
        parallel=_parallel(data),
        importances=sorted(searched.importances.items(), key=lambda item: -item[1]),
        words=lambda trial: _words(data.dimensions, trial) or "the usual settings",
    )
    page.write(home / data.result.report, html)


def _table(data: IterateReport) -> str:
    """All trials as CSV."""
    names = [one.name for one in data.dimensions]
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(
        ["trial", "state", data.result.searched.metric, "standard_error", "seconds", "cost"]
        + ["method_kept", "job", "why", *names]
    )
    for trial in data.result.searched.trials:
        params = ["auto" if trial.params.get(n) is None else trial.params[n] for n in names]
        rows.writerow(
            [trial.number + 1, trial.state, trial.score, trial.error, round(trial.seconds, 1)]
            + [trial.cost, trial.method, trial.job, trial.why, *params]
        )
    return out.getvalue()


def _dots(data: IterateReport) -> list[Dot]:
    better = max if is_higher_better(data.result.searched.metric) else min
    dots: list[Dot] = []
    for trial in data.done:
        assert trial.score is not None
        best = better([trial.score, *(dot.score for dot in dots)])
        words = f"Trial {trial.number + 1}: {data.shown(trial.score)}"
        dots.append(
            Dot(
                number=trial.number + 1,
                score=trial.score,
                best=best,
                css="kept" if trial is data.best else "",
                words=f"{words} ({_words(data.dimensions, trial) or 'the usual settings'})",
            )
        )
    return dots


def _parallel(data: IterateReport) -> Markup | None:
    """None where there are no two trials to compare."""
    trials = sorted(data.done, key=lambda t: (t is data.best, _rank(data, t)))
    varied = [d for d in data.dimensions if len({t.params.get(d.name) for t in trials}) > 1]
    if len(trials) < 2 or not varied:
        return None
    scores = [t.score or 0.0 for t in trials]
    low, high = min(scores), max(scores)
    ends = [(0.0, data.shown(low)), (1.0, data.shown(high))] if high > low else []
    axes = [_axis(one, [t.params.get(one.name) for t in trials]) for one in varied]
    axes.append(Axis(name=data.result.searched.metric, ticks=ends))
    lines = [
        Line(
            places=[
                *(_place(one, trial.params.get(one.name)) for one in varied),
                (score - low) / (high - low) if high > low else 0.5,
            ],
            css="kept" if trial is data.best else _shade(place, len(trials)),
            words=f"Trial {trial.number + 1}: {data.shown(score)}",
        )
        for place, (trial, score) in enumerate(zip(trials, scores, strict=True))
    ]
    return iterate_charts.parallel(axes, lines)


def _rank(data: IterateReport, trial: TrialResult) -> float:
    sign = 1 if is_higher_better(data.result.searched.metric) else -1
    return sign * (trial.score or 0.0)


def _shade(place: int, number: int) -> str:
    """The better half stands out."""
    return "good" if 2 * place >= number else "poor"


def _axis(one: Dimension, values: Sequence[Value]) -> Axis:
    if one.choices:
        return Axis(name=one.name, ticks=[(_place(one, c), _brief(one, c)) for c in one.choices])
    ends = (one.low, one.high)
    return Axis(name=one.name, ticks=[(_place(one, end), one.shown(end)) for end in ends])


def _place(one: Dimension, value: Value) -> float:
    """Where a value lies on its axis, from 0 to 1."""
    if one.choices:
        return one.choices.index(value) / max(1, len(one.choices) - 1)
    assert isinstance(value, int | float)
    low, high = math.log(one.low), math.log(one.high)
    return min(1.0, max(0.0, (math.log(value) - low) / (high - low)))


def _brief(one: Dimension, value: Value) -> str:
    """A value on an axis: of cleaning steps the one that was added."""
    words = one.shown(value)
    if one.name != "cleaning":
        return words
    added = set(words.split(",")) - set(str(one.usual).split(","))
    return "+" + ", ".join(sorted(added)) if added else "as prepared"


@cache
def _page() -> jinja2.Template:
    words: dict[str, Callable[..., str]] = {"duration": duration}
    return page.template("iterate_report.html.jinja", words)
