"""`tunesmith run`, and each verb on its own.

Knows: which directory and which config a command means, and what is told when.
Does not know: how a verb works.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from tunesmith.cli.options import Given, asked, of_run_dir, takes_config
from tunesmith.cli.paying import NOTHING, Paying
from tunesmith.cli.places import run_folder
from tunesmith.config import RunConfig
from tunesmith.errors import ConfigError, StateError

RESUME = "tunesmith run --run-dir"
"""What goes on with a run that was stopped, up to its folder."""

Table = Annotated[
    Path | None,
    typer.Argument(help="CSV, TSV, JSONL or Parquet. Without it, --run-dir goes on as it was."),
]
Place = Annotated[
    Path | None, typer.Option(help="Folder of the run. Empty: runs/<table>-<n>, a new one.")
]
Existing = Annotated[Path, typer.Argument(help="Folder of the run.")]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", help="TOML file with settings; options come on top.")
]
Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="A.B=C", help="Any setting. Repeatable.")
]
Seed = Annotated[int | None, typer.Option(help="Seed of the split and of training.")]
BaseModel = Annotated[
    str | None,
    typer.Option(help="Whose tokens are counted and whose prices hold. Empty: the usual one."),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]
Yes = Annotated[
    bool,
    typer.Option("--yes", help="Do not ask: whether a run may get another table, or cost money."),
]
MaxCost = Annotated[
    float | None,
    typer.Option(metavar="AMOUNT", help="Refuse what is estimated to cost more at the provider."),
]
Ask = Annotated[
    list[str] | None,
    typer.Option(metavar="TEXT", help="Ask the model this at the end. Repeatable."),
]
Keep = Annotated[
    bool, typer.Option("--keep-serving", help="Leave the server on until Ctrl-C, once done.")
]


@takes_config("prepare", "train", "deploy", "evaluate", "provider")
def run(
    given: Given,
    table: Table = None,
    run_dir: Place = None,
    config: ConfigFile = None,
    set_: Set = None,
    seed: Seed = None,
    ask: Ask = None,
    keep_serving: Keep = False,
    as_json: Json = False,
    yes: Yes = False,
    max_cost: MaxCost = None,
) -> None:
    """From a table to a deployed and evaluated model: all five verbs.

    Started again on the same folder it goes on where it stopped, and does nothing where nothing
    has changed.
    """
    from tunesmith import pipeline

    settled = _settle(given, table, run_dir, config, set_, seed)
    paying = Paying(yes=yes, max_cost=max_cost)
    with at_work(settled, run_dir, as_json=as_json, yes=yes, paying=paying) as (shop, terminal):
        results = []
        steps = pipeline.run(settled, shop)
        for verb in pipeline.VERBS:
            terminal.begin(verb)
            results.append(next(steps))
            terminal.result(results[-1], reused=verb in shop.run_dir.reused)
        evaluated = results[-1]
        assert isinstance(evaluated, pipeline.Evaluated | pipeline.EvaluatedText)
        if shop.run_dir.reused >= set(pipeline.VERBS):
            terminal.plain("Nothing has changed since the last start, so nothing was done again.")
        pipeline.keep_config(settled, shop.run_dir, results)
        at = None if shop.provider.place == "embedded" else shop.provider.endpoint().base_url
        terminal.summary(evaluated, shop.run_dir, base_url=at)
        asking = _ask if isinstance(evaluated, pipeline.Evaluated) else _ask_to_write
        answers = asking(ask or [], evaluated.model, shop, terminal)
        gated = _gate(settled, evaluated)
        terminal.json(
            {
                "run_dir": str(shop.run_dir.path),
                **asdict(evaluated),
                "report": str(shop.run_dir.path / evaluated.report),
                "predictions": str(shop.run_dir.path / evaluated.predictions),
                "answers": answers,
                **gated,
            }
        )
        _stop_at_the_gate(gated, terminal)
        if keep_serving:
            _keep_serving(shop, terminal)


@takes_config("prepare", "provider")
def prepare(
    given: Given,
    table: Table = None,
    run_dir: Place = None,
    base_model: BaseModel = None,
    config: ConfigFile = None,
    set_: Set = None,
    as_json: Json = False,
    yes: Yes = False,
) -> None:
    """Make training and validation examples from a table; tell what training would cost."""
    from tunesmith import pipeline

    if base_model:
        given.setdefault("train", {})["base_model"] = base_model
    settled = _settle(given, table, run_dir, config, set_, None)
    with at_work(settled, run_dir, as_json=as_json, yes=yes) as (shop, terminal):
        terminal.begin("prepare")
        result = pipeline.prepare_for(settled, shop.run_dir, terminal)
        tell("prepare", result, shop, terminal, settled)


def _verb(name: str, *sections: str, says: str) -> Callable[..., None]:
    """The command of a verb that goes on with a run directory."""

    def command(
        given: Given,
        run_dir: Existing,
        config: ConfigFile = None,
        set_: Set = None,
        as_json: Json = False,
        yes: Yes = False,
        max_cost: MaxCost = None,
    ) -> None:
        settled = asked(given, base=of_run_dir(run_dir, config), overrides=set_ or [])
        paying = Paying(yes=yes, max_cost=max_cost)
        one_verb(name, settled, run_dir, as_json=as_json, paying=paying)

    command.__name__, command.__doc__ = name, says
    return takes_config(*sections, "provider")(command)


upload = _verb("upload", says="Send a run's prepared files to the provider, each content once.")
train = _verb("train", "train", says="Train a model on a run's uploaded files.")
deploy = _verb(
    "deploy", "deploy", says="Make a run's model answer, and check that it answers as trained."
)


def _settle(
    given: Given,
    table: Path | None,
    run_dir: Path | None,
    config: Path | None,
    set_: list[str] | None,
    seed: int | None,
) -> RunConfig:
    """What `run` and `prepare` are asked for. A table begins anew; without one the run directory's
    own settings hold."""
    from tunesmith import config as configs

    if table is not None:
        given.setdefault("prepare", {})["table"] = str(table)
        base = configs.load(config) if config else RunConfig()
    elif config is not None:
        base = configs.load(config)
    elif run_dir is not None:
        base = of_run_dir(run_dir, None)
    else:
        raise ConfigError(
            "No table is given.", fix="Say which: tunesmith run TABLE, or --run-dir to go on."
        )
    settled = asked(given, base=base, overrides=set_ or [], seed=seed)
    if not settled.prepare.table:
        raise ConfigError("No table is given.", fix="Say which: tunesmith run TABLE")
    return settled


def one_verb(
    verb: str, settled: RunConfig, run_dir: Path, *, as_json: bool, paying: Paying = NOTHING
) -> None:
    from tunesmith import pipeline

    with at_work(settled, run_dir, as_json=as_json, yes=True, paying=paying) as (shop, terminal):
        needed = pipeline.VERBS.index(verb)
        earlier = list(pipeline.so_far(settled, shop))[:needed]
        if len(earlier) < needed:
            missing = pipeline.VERBS[len(earlier)]
            raise StateError(
                f"{run_dir} holds no result of {missing} for these settings.",
                fix=f"Run first: tunesmith {missing} {run_dir}"
                if missing != "prepare"
                else f"Run first: tunesmith prepare TABLE --run-dir {run_dir}",
            )
        terminal.begin(verb)
        if verb in ("deploy", "evaluate"):  # train asks for itself, and uploading is free
            assert isinstance(earlier[0], pipeline.Prepared)
            pipeline.agree(settled, earlier[0], shop, num_done=needed)
        result = _call(verb, settled, earlier, shop)
        pipeline.keep_config(settled, shop.run_dir, [*earlier, result])
        tell(verb, result, shop, terminal, settled)


def _call(verb: str, config: RunConfig, earlier: Sequence[Any], shop: Any) -> Any:
    from tunesmith import pipeline

    if verb == "upload":
        return pipeline.upload(earlier[0], shop)
    if verb == "train":
        return pipeline.train(config, earlier[0], earlier[1], shop)
    if verb == "deploy":
        return pipeline.deploy(config.deploy, earlier[2], shop)
    return pipeline.evaluate(config.evaluate, earlier[0], earlier[2], earlier[3], shop)


def tell(verb: str, result: Any, shop: Any, terminal: Any, config: RunConfig) -> None:
    from tunesmith import pipeline

    if verb in shop.run_dir.reused:
        terminal.plain("Nothing has changed since the last time, so nothing was done again.")
    terminal.result(result, reused=verb in shop.run_dir.reused)
    if isinstance(result, pipeline.Evaluated | pipeline.EvaluatedText):
        terminal.summary(result, shop.run_dir, base_url=None)
    gated = _gate(config, result)
    terminal.json({"run_dir": str(shop.run_dir.path), **asdict(result), **gated})
    _stop_at_the_gate(gated, terminal)


def _gate(config: RunConfig, result: Any) -> dict[str, Any]:
    """What is required and does not hold, for --json; empty where nothing is required."""
    from tunesmith import pipeline
    from tunesmith.pipeline import gate

    asked = config.evaluate.require or config.evaluate.no_worse_than
    if not (asked and isinstance(result, pipeline.Evaluated | pipeline.EvaluatedText)):
        return {}
    failures = gate.failures(config.evaluate, result)
    return {"gate": {"passed": not failures, "failures": failures}}


def _stop_at_the_gate(gated: dict[str, Any], terminal: Any) -> None:
    """Say whether what is required holds; exit code 1 where it does not."""
    if not gated:
        return
    terminal.plain()
    if gated["gate"]["passed"]:
        terminal.plain("All that is required of the model holds.")
        return
    for sentence in gated["gate"]["failures"]:
        typer.echo(f"error: The model does not pass: {sentence}", err=True)
    raise typer.Exit(1)


@contextmanager
def at_work(
    config: RunConfig,
    place: Path | None,
    *,
    as_json: bool,
    yes: bool,
    go_on: str = RESUME,
    paying: Paying = NOTHING,
) -> Iterator[tuple[Any, Any]]:
    """(workshop, terminal) for a run in `place`, or in a new folder (see `places`)."""
    from tunesmith import pipeline
    from tunesmith.cli.terminal import Terminal

    pipeline.check(config)
    terminal = Terminal(as_json=as_json)
    with (
        run_folder(config, place, terminal, go_on=go_on, yes=yes) as run_dir,
        pipeline.open_workshop(config.provider, run_dir, terminal, paying.spending()) as shop,
    ):
        pipeline.keep_config(config, run_dir)
        yield shop, terminal


def _ask(texts: list[str], model: str, shop: Any, terminal: Any) -> list[dict[str, Any]]:
    """The deployed model's answers to `texts`, over HTTP, told and returned."""
    if not texts:
        return []
    answers = dict(shop.provider.classify(model, texts, concurrency=4))
    for i, text in enumerate(texts):
        terminal.answer(text, answers[i])
    return [{"text": text, **asdict(answers[i])} for i, text in enumerate(texts)]


def _ask_to_write(texts: list[str], model: str, shop: Any, terminal: Any) -> list[dict[str, Any]]:
    """What the deployed model writes to `texts`, over HTTP, told and returned."""
    from tunesmith.providers import Conversation

    if not texts:
        return []
    asked = [Conversation(messages=[{"role": "user", "content": text}]) for text in texts]
    replies = dict(shop.provider.chat(model, asked, concurrency=4))
    for i, text in enumerate(texts):
        terminal.reply(text, replies[i])
    return [{"asked": text, **asdict(replies[i])} for i, text in enumerate(texts)]


def _keep_serving(shop: Any, terminal: Any) -> None:
    import threading

    at = shop.provider.endpoint()
    terminal.plain()
    terminal.plain(f"Serving at {at.base_url}, until Ctrl-C. The key, valid until then: {at.key}")
    with suppress(KeyboardInterrupt):
        threading.Event().wait()
