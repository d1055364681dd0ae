"""The verbs, and the run that strings them together.

Knows: the order, and what each verb takes from the earlier ones.
Does not know: a terminal, how a provider works.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from tunesmith import providers, settings
from tunesmith.config import RunConfig, to_toml
from tunesmith.pipeline import gate, offers, spending
from tunesmith.pipeline.base import choose
from tunesmith.pipeline.deploy import deploy
from tunesmith.pipeline.deploy import inputs as deploy_inputs
from tunesmith.pipeline.evaluate import baseline_answers, evaluate, kind_of
from tunesmith.pipeline.evaluate import inputs as evaluate_inputs
from tunesmith.pipeline.evaluating.fresh_rows import evaluate_on
from tunesmith.pipeline.evaluating.writing.evaluate import check as check_evaluation
from tunesmith.pipeline.iterate import check as check_iteration
from tunesmith.pipeline.iterate import iterate
from tunesmith.pipeline.prepare import prepare, prepare_for
from tunesmith.pipeline.results import (
    Deployed,
    Evaluated,
    EvaluatedText,
    Iterated,
    Prepared,
    Result,
    Searched,
    Trained,
    TrialResult,
    Uploaded,
)
from tunesmith.pipeline.rundir import CONFIG, FOLDERS, VERBS, RunDir
from tunesmith.pipeline.spending import Spending
from tunesmith.pipeline.train import check as check_training
from tunesmith.pipeline.train import inputs as train_inputs
from tunesmith.pipeline.train import is_begun, train
from tunesmith.pipeline.upload import inputs as upload_inputs
from tunesmith.pipeline.upload import upload
from tunesmith.pipeline.workshop import Report, Workshop, open_workshop

__all__ = [
    "FOLDERS",
    "VERBS",
    "Deployed",
    "Evaluated",
    "EvaluatedText",
    "Iterated",
    "Prepared",
    "Report",
    "Result",
    "RunDir",
    "Searched",
    "Spending",
    "Trained",
    "TrialResult",
    "Uploaded",
    "Workshop",
    "agree",
    "check",
    "deploy",
    "evaluate",
    "evaluate_on",
    "iterate",
    "keep_config",
    "open_workshop",
    "prepare",
    "prepare_for",
    "run",
    "so_far",
    "train",
    "upload",
]

SETTLED = {
    "text column": "prepare.text",
    "label column": "prepare.label",
    "label columns": "prepare.annotators",
    "balance": "prepare.balance",
    "base model": "train.base_model",
    "n_epochs": "train.n_epochs",
    "batch_size": "train.batch_size",
    "model kept": "train.method",
}
"""Decision → the setting that it settles."""


def run(config: RunConfig, shop: Workshop) -> Iterator[Result]:
    """The whole trip from table to evaluated model; each result as soon as it is there.

    What an earlier start has done is not done again; where all is done, the provider is not asked
    at all. Raises: TunesmithError, as the verbs do.
    """
    check(config)
    if not shop.run_dir.has("evaluate"):
        shop.provider.warm_up()  # a server's start takes seconds, in which prepare can work
    yield (prepared := prepare_for(config, shop.run_dir, shop.report))
    if len(done := list(so_far(config, shop))) == len(VERBS):
        yield from done[1:]
        return
    gate.check_task(config.evaluate, prepared)
    _offered(config, prepared, shop)
    choose(config, prepared, shop)  # refuses what cannot be learned before anything is sent
    agree(config, prepared, shop, num_done=len(done))
    with ThreadPoolExecutor(max_workers=1) as beside:  # starting to train leaves a core idle
        rivals = None
        if config.evaluate.baselines and prepared.task == "classify":
            rivals = beside.submit(baseline_answers, prepared, shop.run_dir)
        yield (uploaded := upload(prepared, shop))
        yield (trained := train(config, prepared, uploaded, shop))
        yield (deployed := deploy(config.deploy, trained, shop))
        ahead = rivals.result if rivals else None
        yield evaluate(config.evaluate, prepared, trained, deployed, shop, rivals=ahead)


def _offered(config: RunConfig, prepared: Prepared, shop: Workshop) -> None:
    """Refuse what the provider cannot do, and tell what it does in its own way."""
    can = shop.provider.can
    offers.check(config, can)
    offers.check_data(config, prepared, can)
    for event in offers.told(config, can):
        shop.report(event)


def agree(config: RunConfig, prepared: Prepared, shop: Workshop, *, num_done: int) -> None:
    """Get a yes for what is still to be spent, after that many verbs. Raises: ConfigError."""
    is_made = num_done > VERBS.index("train")
    if not is_made and (uploaded := shop.run_dir.latest("upload", Uploaded)):
        is_made = is_begun(config, prepared, uploaded, shop.run_dir)
    can = shop.provider.can
    cost = spending.estimate(config, prepared, shop.run_dir, can, training=not is_made)
    is_told = "prepare" not in shop.run_dir.reused and cost == prepared.estimate
    shop.spending.agree(cost, shop.report, is_told=is_told)


def check(config: RunConfig) -> None:
    """Refuse impossible settings before anything starts.

    Raises: ConfigError; NotOffered for what the provider, or a base model in a folder, cannot do.
    """
    known = settings.load()
    providers.check(config.provider, known)
    if can := providers.foreseen(config.provider, known):
        offers.check(config, can)
    check_training(config)
    check_evaluation(config.evaluate)
    check_iteration(config)
    for requirement in config.evaluate.require:
        gate.parse(requirement)


def so_far(config: RunConfig, shop: Workshop) -> Iterator[Result]:
    """The results that are there and fit `config`, in order, up to the first that does not.

    Nobody is asked: not the provider whether it still has the files and the model, nor the table
    whether it has changed.
    """
    kept = shop.run_dir
    if (prepared := kept.latest("prepare", Prepared)) is None:
        return
    yield prepared
    if (uploaded := kept.load("upload", Uploaded, upload_inputs(prepared, shop))) is None:
        return
    yield uploaded
    made_from = train_inputs(config, prepared, uploaded)
    if (trained := kept.load("train", Trained, made_from)) is None:
        return
    yield trained
    made_from = deploy_inputs(config.deploy, trained)
    if (deployed := kept.load("deploy", Deployed, made_from)) is None:
        return
    yield deployed
    made_from = evaluate_inputs(config.evaluate, prepared, deployed, kept)
    evaluated = kept.load("evaluate", kind_of(prepared), made_from)
    if evaluated is not None:
        yield evaluated


def keep_config(config: RunConfig, run_dir: RunDir, results: Iterable[Result] = ()) -> None:
    """Write RUN_DIR/config.toml: what was asked, and why Tunesmith chose what was left to it."""
    decisions = [d for result in results for d in getattr(result, "decisions", ())]
    reasons = {SETTLED[d.what]: f"{d.value}: {d.reason}" for d in decisions if d.what in SETTLED}
    text = to_toml(config, reasons)
    if others := [d for d in decisions if d.what not in SETTLED]:
        text += "\n# Also chosen by Tunesmith:\n"
        text += "".join(f"# {d.what}: {d.value} ({d.reason})\n" for d in others)
    run_dir.write(CONFIG, text)
