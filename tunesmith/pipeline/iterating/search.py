"""The search for good settings: which trial comes next, when one is stopped, when it is over.

Optuna proposes the settings (TPE: Bergstra et al. 2011, "Algorithms for Hyper-Parameter
Optimization") and says which curves fall behind the median. Its study is a file: a search that was
killed goes on with its running trials, and repeats none.
Knows: trials, their scores, what they may spend. Does not know: what a setting does, who trains.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunesmith.errors import MissingExtra, TunesmithError, storage_errors
from tunesmith.events import Event
from tunesmith.metrics.targets import Target, is_higher_better
from tunesmith.pipeline.iterating.budget import Purse, Spent, cost
from tunesmith.pipeline.iterating.space import Dimension, Value
from tunesmith.pipeline.iterating.trials import Course, Ended, Trial
from tunesmith.pipeline.results import TrialResult
from tunesmith.pipeline.rundir import RunDir

if TYPE_CHECKING:
    import optuna

STUDY = "study.journal"
POLL = 0.5
"""Seconds between two looks at the clock while trials train."""
STARTUP_TRIALS = 5
"""Finished trials before TPE draws from more than chance."""
PRUNE_AFTER_TRIALS, PRUNE_AFTER_LOOKS = 3, 3
"""Before that, curves say little: more epochs begin with larger steps, and so lower."""
FEWEST_TO_WEIGH = 4
"""Finished trials before settings are said to matter more or less."""
MOST_FAILURES = 3
"""Trials that may fail in a row."""
MOST_REPEATS = 20
"""Proposals in a row that have been tried before; then there is little left to try."""


def open_study(place: Path, *, metric: str, seed: int) -> optuna.Study:
    """The study in that folder, a new one if there is none. Raises: MissingExtra, StorageError."""
    try:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend
    except ImportError as missing:
        raise MissingExtra(
            "The library that searches for settings, Optuna, is not installed.",
            fix="Run: pip install 'tunesmith[iterate]'",
        ) from missing

    optuna.logging.set_verbosity(optuna.logging.ERROR)  # whatever matters is told by events
    with storage_errors(place):
        place.mkdir(parents=True, exist_ok=True)
        _mend(place / STUDY)
        storage = JournalStorage(JournalFileBackend(str(place / STUDY)))
    study = optuna.create_study(
        storage=storage,
        study_name="iterate",
        direction="maximize" if is_higher_better(metric) else "minimize",
        load_if_exists=True,
        pruner=optuna.pruners.MedianPruner(
            n_startup_trials=PRUNE_AFTER_TRIALS, n_warmup_steps=PRUNE_AFTER_LOOKS
        ),
    )
    study.sampler = optuna.samplers.TPESampler(
        seed=seed + len(study.trials), n_startup_trials=STARTUP_TRIALS
    )
    return study


def _mend(journal: Path) -> None:
    """Remove what a killed process may have left: Optuna's lock, which nobody else can hold while
    the run directory is locked, and a torn line."""
    journal.with_name(f"{journal.name}.lock").unlink(missing_ok=True)
    if journal.exists() and (content := journal.read_bytes()) and not content.endswith(b"\n"):
        journal.write_bytes(content[: content.rfind(b"\n") + 1])


class Search:
    """Runs trials until a target is met or a limit reached."""

    def __init__(
        self,
        course: Course,
        dimensions: Sequence[Dimension],
        *,
        place: Path,
        metric: str,
        target: Target | None,
    ) -> None:
        self._course = course
        self._dimensions = dimensions
        self._place = place
        self._metric = metric
        self._target = target
        self._asked = course.config.iterate
        self._study = open_study(place, metric=metric, seed=course.config.train.seed)
        self._purse: Purse
        self._running: dict[Future[Ended], tuple[Trial, optuna.Trial]] = {}
        self._over = ""
        self._repeats = self._failures = 0

    @property
    def spent(self) -> Spent:
        """By earlier starts, and so far."""
        return Spent(**self._study.user_attrs.get("spent", {}))

    # --- what came out --------------------------------------------------------------------------

    @property
    def trials(self) -> list[TrialResult]:
        """All trials so far, in their order; proposals that were tried before are none."""
        return [found for trial in self._study.trials if (found := self._result(trial))]

    @property
    def best(self) -> TrialResult | None:
        """The trial with the best score; of equals the earliest."""
        done = [t for t in self.trials if t.state == "done" and t.score is not None]
        if not done:
            return None
        sign = 1 if is_higher_better(self._metric) else -1
        return max(done, key=lambda t: (sign * (t.score or 0.0), -t.number))

    def importances(self) -> dict[str, float]:
        """Setting → its share of the differences in score (fANOVA; Hutter et al. 2014).

        Empty where too few trials say anything.
        """
        import optuna

        done = [t for t in self.trials if t.state == "done"]
        if len({t.score for t in done}) < 2 or len(done) < FEWEST_TO_WEIGH:
            return {}
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
        with suppress(RuntimeError, ValueError):  # e.g. a setting that never varied
            found = optuna.importance.get_param_importances(self._study, evaluator=evaluator)
            return dict(found)
        return {}

    def folder(self, number: int) -> RunDir:
        """Where a trial works."""
        return RunDir(self._place / f"trial-{number + 1:02}")

    # --- the search -----------------------------------------------------------------------------

    def run(self, purse: Purse, first: Sequence[Mapping[str, Value]]) -> str:
        """Search, and say why it is over.

        first  settings of the first trials, whole; the first of all is the one that must be.
        Raises: JobFailed and others where the first trial fails; KeyboardInterrupt, once the jobs
        are cancelled.
        """
        self._purse = purse
        if not self._study.trials:
            for settings in first:
                self._study.enqueue_trial(dict(settings), skip_if_exists=True)
        with ThreadPoolExecutor(max_workers=self._asked.parallel) as pool, self._cancelling():
            resumed = self._left_running()
            while True:
                while len(self._running) < self._asked.parallel:
                    trial = next(resumed, None) or self._next()
                    if trial is None:
                        break
                    self._begin(trial, pool)
                if not self._running:
                    return self._over
                self._wait()

    @contextmanager
    def _cancelling(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            for trial, _ in self._running.values():
                trial.stop("stopped", "interrupted")
            raise

    def _left_running(self) -> Iterator[optuna.Trial]:
        """Trials that an earlier start has left in the middle."""
        import optuna

        for trial in self._study.get_trials(states=[optuna.trial.TrialState.RUNNING]):
            yield optuna.Trial(self._study, trial._trial_id)

    def _next(self) -> optuna.Trial | None:
        """The next trial; None where nothing more may begin."""
        while not self._is_over():
            trial = self._study.ask()
            settings = self._settings(trial)
            if all(other.settings != settings for other in self.trials):
                self._repeats = 0
                return trial
            self._study.tell(trial, state=_failed())
            self._repeats += 1
        return None

    def _is_over(self) -> bool:
        self._over = self._over or self._reason()
        return bool(self._over)

    def _reason(self) -> str:
        """Why no further trial begins, or nothing."""
        best, trials, purse = self.best, self.trials, self._purse
        if best and self._target and self._target.is_met(best.score or 0.0):
            return "target"
        if purse.limits.trials is not None and len(trials) >= purse.limits.trials:
            return "trials"
        if self._failures >= MOST_FAILURES:
            return "failures"
        if self._repeats >= MOST_REPEATS:
            return "exhausted"
        done = [t for t in trials if t.state == "done"]
        if not done:  # without a first trial there would be no model at all
            return "" if not trials else purse.lacks()
        least = min(done, key=lambda t: t.seconds)
        return purse.lacks(seconds=least.seconds, cost=min(t.cost for t in done))

    def _settings(self, trial: optuna.Trial) -> dict[str, Value]:
        """What is not as usual in the trial."""
        drawn = {one.name: one.suggest(trial) for one in self._dimensions}
        return {
            one.name: drawn[one.name] for one in self._dimensions if drawn[one.name] != one.usual
        }

    def _begin(self, asked: optuna.Trial, pool: ThreadPoolExecutor) -> None:
        settings, number = self._settings(asked), len(self.trials)
        if "number" in asked.user_attrs:  # begun by an earlier start
            number = asked.user_attrs["number"]
        asked.set_user_attr("settings", settings)
        asked.set_user_attr("number", number)
        trial = Trial(
            number=number,
            settings=settings,
            run_dir=self.folder(number),
            course=self._course,
            falls_behind=self._judge(asked, number),
            is_too_long=self._forecast(number),
        )
        self._tell(TrialResult(number=number, state="running", settings=settings))
        self._running[pool.submit(trial.run)] = (trial, asked)

    def _wait(self) -> None:
        ended, _ = wait(self._running, timeout=POLL, return_when=FIRST_COMPLETED)
        for future in ended:
            _, asked = self._running.pop(future)
            self._settle(asked, future.result())
        if why := self._purse.lacks():
            for trial, _ in self._running.values():
                if not self._must_finish(trial.number):
                    trial.stop("stopped", f"the {'time' if why == 'time' else 'money'} was spent")

    def _must_finish(self, number: int) -> bool:
        """Without a first trial there would be no model at all."""
        trials = self.trials
        if any(trial.state == "done" for trial in trials):
            return False
        running = (trial.number for trial in trials if trial.state == "running")
        return number == min(running, default=number)

    def _judge(self, asked: optuna.Trial, number: int) -> Callable[[int, float], bool]:
        sign = 1 if is_higher_better(self._metric) else -1
        told = set(self._study.trials[asked.number].intermediate_values)

        def falls_behind(look: int, score: float) -> bool:
            if look not in told:
                told.add(look)
                asked.report(sign * score, look)
            if not self._asked.prune or self._must_finish(number):
                return False
            return asked.should_prune()

        return falls_behind

    def _forecast(self, number: int) -> Callable[[float, int], str]:
        def is_too_long(seconds: float, tokens: int) -> str:
            likely = seconds * self._haste()
            lacks = self._purse.lacks(seconds=likely, cost=cost(self._asked, likely, tokens))
            if not lacks:
                return ""
            if self._must_finish(number):
                what = "The first trial, with the usual settings, will take more than the budget; "
                what += "it goes on to its end, since without it there would be no model."
                self._course.shop.report(Event(kind="warning", message=what))
                return ""
            self._over = self._over or lacks
            return f"would take more {lacks} than is left"

        return is_too_long

    def _haste(self) -> float:
        """What trials took of what was foretold, on average: many stop early."""
        facts = [
            trial.user_attrs["estimate"]
            for trial in self._study.trials
            if "estimate" in trial.user_attrs
        ]
        foretold = sum(one["seconds"] for one in facts)
        return sum(one["actual_seconds"] for one in facts) / foretold if foretold else 1.0

    def _settle(self, asked: optuna.Trial, ended: Ended) -> None:
        """Enter how a trial went."""
        import optuna

        if ended.why == "interrupted":
            return
        before = self.best
        self._note(asked, ended)
        states = optuna.trial.TrialState
        if ended.measured:
            self._study.tell(asked, ended.measured.value)
        else:
            self._study.tell(asked, state=states.PRUNED if ended.state == "pruned" else _failed())
        self._failures = self._failures + 1 if ended.state == "failed" else 0
        result = self._result(self._study.trials[asked.number])
        assert result
        self._tell(result)
        if ended.state == "failed" and self.best is None:
            assert ended.error
            raise ended.error
        self._tidy(before, result)

    def _note(self, asked: optuna.Trial, ended: Ended) -> None:
        trained, measured = ended.trained, ended.measured
        amount = cost(self._asked, ended.seconds, trained.trained_tokens if trained else 0)
        self._purse.pay(amount)
        facts: dict[str, Any] = {
            "state": ended.state,
            "seconds": ended.seconds,
            "cost": amount,
            "why": ended.why,
        }
        if trained:
            facts |= {"job": trained.job, "model": trained.model, "method": trained.method}
            if estimate := trained.facts.get("estimate"):
                names = ("seconds", "actual_seconds")
                facts["estimate"] = {name: estimate[name] for name in names}
        if measured:
            facts |= {"error": measured.error, "num_rows": measured.num_rows}
        for name, value in facts.items():
            asked.set_user_attr(name, value)
        self._study.set_user_attr("spent", asdict(self._purse.spent))

    def _tidy(self, before: TrialResult | None, now: TrialResult) -> None:
        """Have the server forget the model of the one of the two that is not the best."""
        best = self.best
        for trial in (before, now):
            if trial and best and trial.model and trial.number != best.number:
                self._forget(trial)

    def _forget(self, trial: TrialResult) -> None:
        if not self._asked.keep_models and trial.model != self._course.kept_model:
            with suppress(TunesmithError):
                self._course.shop.provider.delete_model(trial.model)

    def _result(self, trial: optuna.trial.FrozenTrial) -> TrialResult | None:
        facts = trial.user_attrs
        if "number" not in facts:
            return None
        looks = sorted(trial.intermediate_values.items())
        return TrialResult(
            number=facts["number"],
            state=facts.get("state", "running"),
            settings=facts["settings"],
            params=dict(trial.params),
            score=trial.value if facts.get("state") == "done" else None,
            error=facts.get("error"),
            num_rows=facts.get("num_rows"),
            looks=tuple(abs(score) for _, score in looks),
            seconds=facts.get("seconds", 0.0),
            cost=facts.get("cost", 0.0),
            job=facts.get("job", ""),
            model=facts.get("model", ""),
            method=facts.get("method", ""),
            why=facts.get("why", ""),
        )

    def _tell(self, result: TrialResult) -> None:
        best = self.best
        row = asdict(result) | {"best": best == result, "metric": self._metric}
        message = f"Trial {result.number + 1}: {result.state}"
        self._course.shop.report(Event(kind="metric", message=message, data={"trial": row}))


def _failed() -> optuna.trial.TrialState:
    import optuna

    return optuna.trial.TrialState.FAIL
