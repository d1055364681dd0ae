"""iterate: train again with other settings until a target is met or a budget is spent; then deploy
and evaluate the best trial, once.

The rows that give the final score choose nothing: trials are compared on training rows that they
keep aside, and no trial's job is sent any other.
Knows: the order, and what trials share with the run they belong to.
Does not know: how settings are proposed, how a trial is run.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from tunesmith.config import RunConfig, to_toml
from tunesmith.data.chat.files import read_classification
from tunesmith.errors import ConfigError, StateError, storage_errors
from tunesmith.metrics import choosing, targets
from tunesmith.metrics.targets import Target, is_higher_better
from tunesmith.pipeline.base import choose
from tunesmith.pipeline.deploy import deploy
from tunesmith.pipeline.evaluate import evaluate
from tunesmith.pipeline.iterating.budget import Clock, Purse, limits
from tunesmith.pipeline.iterating.report import IterateReport, verdict, write_iterate_report
from tunesmith.pipeline.iterating.search import Search
from tunesmith.pipeline.iterating.selection import DEV, metrics_of, select_by
from tunesmith.pipeline.iterating.space import Dimension, first_trials, space
from tunesmith.pipeline.iterating.trials import Course, complete
from tunesmith.pipeline.prepare import prepare_for
from tunesmith.pipeline.results import (
    Deployed,
    Evaluated,
    EvaluatedText,
    Iterated,
    Prepared,
    Searched,
    Trained,
    Uploaded,
)
from tunesmith.pipeline.rundir import CONFIG, FOLDERS, RunDir, digest, file_digest
from tunesmith.pipeline.train import inputs as train_inputs
from tunesmith.pipeline.train import train
from tunesmith.pipeline.workshop import Workshop

REPORT, TABLE = "report.html", "trials.csv"
OWN = ("events.jsonl", "metrics.csv")
"""What train leaves beside its result."""

Step = Prepared | Uploaded | Searched | Deployed | Evaluated | EvaluatedText | Iterated


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What is made better, and how good it has to become."""

    metric: str
    target: Target | None


def check(config: RunConfig) -> None:
    """Refuse, before anything starts, what cannot be done. Raises: ConfigError."""
    limits(config.iterate)
    if config.iterate.until:
        targets.parse(config.iterate.until, {name for task in DEV for name in metrics_of(task)})


def goal_of(config: RunConfig, task: str) -> Goal:
    """The goal of an iteration on such a task.

    Raises: ConfigError for a metric that it does not have, or a target of another metric.
    """
    asked, known = config.iterate, metrics_of(task)
    target = targets.parse(asked.until, known) if asked.until else None
    if target and asked.metric and asked.metric != target.metric:
        raise ConfigError(
            f"The target is about {target.metric}, but --metric is {asked.metric}.",
            fix="Leave one of them out.",
        )
    return Goal(metric=target.metric if target else asked.metric or known[0], target=target)


def iterate(config: RunConfig, shop: Workshop, *, clock: Clock = time.monotonic) -> Iterator[Step]:
    """Prepared, Uploaded, Searched, then the chosen trial's Deployed and Evaluated, then Iterated;
    where nothing has changed since the last time, Prepared and Iterated.

    Interrupted (Ctrl-C), it cancels the jobs, and the next start begins those trials again. Killed,
    it leaves the jobs to the provider, and the next start goes on following them.
    Raises: TunesmithError, as the verbs do.
    """
    check(config)
    yield (prepared := prepare_for(config, shop.run_dir, shop.report))
    made_from = _inputs(config, prepared, shop)
    if earlier := shop.run_dir.load("iterate", Iterated, made_from):
        yield earlier
        return
    goal = goal_of(config, prepared.task)
    choose(config, prepared, shop)  # refuses what cannot be learned before anything is sent
    dimensions = space(
        config, prepared, _texts(prepared, shop.run_dir), options=shop.provider.can.options
    )
    selection = select_by(goal.metric, config.evaluate, prepared, shop, seed=config.train.seed)
    yield selection.uploaded
    shop.report(selection.decision.event())

    course = Course(config=config, selection=selection, shop=shop)
    searched, run_dir = _search(course, prepared, dimensions, goal, clock)
    yield searched

    settled, home, learned = _whole(course, searched, run_dir)
    trained = train(settled, learned, selection.uploaded, home)
    yield (deployed := deploy(settled.deploy, trained, home))
    yield (evaluated := evaluate(settled.evaluate, learned, trained, deployed, home))
    result = _iterated(searched, evaluated, run_dir, shop.run_dir)
    report = IterateReport(result=result, dimensions=dimensions, title=prepared.name)
    yield _reported(report, config, shop.run_dir, made_from)


def _whole(
    course: Course, searched: Searched, run_dir: RunDir
) -> tuple[RunConfig, Workshop, Prepared]:
    """The chosen trial as a run that goes on after its training."""
    settings = searched.trials[searched.chosen].settings
    settled, _ = course.settled(settings)
    home, learned = complete(course, settings, run_dir)
    run_dir.write(CONFIG, to_toml(settled))
    return settled, home, learned


def _reported(report: IterateReport, config: RunConfig, home: RunDir, made_from: str) -> Iterated:
    """The result with its verdict, kept with its page and table."""
    result = replace(report.result, verdict=tuple(verdict(report)))
    write_iterate_report(replace(report, result=result), home.path)
    home.save("iterate", result, made_from, to_toml(config.iterate))
    return result


def _inputs(config: RunConfig, prepared: Prepared, shop: Workshop) -> str:
    """Changes with a setting of any step after prepare, the examples, the provider."""
    files = [file_digest(shop.run_dir.path / name) for name in (prepared.train, prepared.scored)]
    steps = (config.iterate, config.train, config.deploy, config.evaluate)
    weights = (prepared.class_weights, prepared.cleaning)
    return digest(steps, files, weights, shop.provider.place)


def _texts(prepared: Prepared, run_dir: RunDir) -> list[str]:
    """Of the training rows, where they are to be classified."""
    if prepared.task != "classify":
        return []
    return read_classification(run_dir.path / prepared.train)[0]


def _search(
    course: Course, prepared: Prepared, dimensions: Sequence[Dimension], goal: Goal, clock: Clock
) -> tuple[Searched, RunDir]:
    """All trials, and the run directory of the chosen one."""
    config, selection = course.config, course.selection
    place = course.shop.run_dir.folder("iterate") / _name(course, dimensions, goal)
    first = RunDir(place / "trial-01")
    course = replace(course, kept_model=_adopt(course, prepared, first))
    search = Search(course, dimensions, place=place, metric=goal.metric, target=goal.target)
    purse = Purse(limits(config.iterate), search.spent, clock)
    ended = search.run(purse, first_trials(config, prepared, dimensions))
    best, spent = search.best, purse.spent
    if best is None:
        raise StateError(
            "The budget is spent, and no trial has come to its end.",
            fix="Give more with --budget, --trials or --max-cost; the search goes on from there.",
        )
    target = goal.target
    searched = Searched(
        metric=goal.metric,
        target=str(target) if target else None,
        reached=target.is_met(best.score or 0.0) if target else None,
        ended=ended,
        choosing=selection.decision,
        trials=tuple(search.trials),
        chosen=best.number,
        importances=search.importances(),
        seconds=spent.seconds,
        cost=spent.cost,
    )
    return searched, search.folder(best.number)


def _name(course: Course, dimensions: Sequence[Dimension], goal: Goal) -> str:
    """A folder's name for what makes trials comparable: data, base model, metric, settings."""
    made_from = digest(
        course.config.train,
        course.config.deploy.parity_examples,
        (course.selection.prepared.class_weights, course.selection.prepared.cleaning),
        (course.selection.uploaded.train_sha256, course.selection.uploaded.server),
        goal.metric,
        list(dimensions),
    )
    return f"search-{made_from[:8]}"


def _adopt(course: Course, prepared: Prepared, first: RunDir) -> str:
    """Take the run's own model as the first trial's, where it was trained likewise; its name.

    Its job was sent the held-out rows too, but to measure only: the model is the same.
    """
    home = course.shop.run_dir
    uploaded = home.latest("upload", Uploaded)
    if uploaded is None or course.selection.aside:
        return ""
    trained = home.load("train", Trained, train_inputs(course.config, prepared, uploaded))
    if trained is None or course.shop.provider.model(trained.model) is None:
        return ""
    if not first.has("train"):
        made_from = train_inputs(course.config, prepared, course.selection.uploaded)
        with storage_errors(first.path):
            for name in OWN:
                if (own := home.folder("train") / name).exists():
                    shutil.copyfile(own, first.folder("train") / name)
        first.save("train", trained, made_from, to_toml(course.config.train))
    return trained.model


def _iterated(
    searched: Searched, evaluated: Evaluated | EvaluatedText, run_dir: RunDir, home: RunDir
) -> Iterated:
    """What came of it all, without the words."""
    best, metric = searched.trials[searched.chosen], searched.metric
    final = dict(evaluated.metrics)
    drop = None
    if metric in final and best.score is not None:
        drop = (best.score - final[metric]) * (1 if is_higher_better(metric) else -1)
    num_done = sum(trial.state == "done" for trial in searched.trials)
    folder = FOLDERS["iterate"]
    return Iterated(
        model=evaluated.model,
        run_dir=str(run_dir.path.relative_to(home.path)),
        searched=searched,
        final=final,
        final_interval=evaluated.intervals.get(metric),
        drop=drop,
        optimism=None if best.error is None else choosing.optimism(num_done, best.error),
        verdict=(),
        report=f"{folder}/{REPORT}",
        table=f"{folder}/{TABLE}",
    )
