"""`tunesmith migrate`: an account's files, jobs and models out of a service that closes.

Knows: what is printed, what is asked before money is spent.
Does not know: how anything is fetched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunesmith.errors import NotFound

if TYPE_CHECKING:
    from tunesmith.cli.terminal import Terminal
    from tunesmith.pipeline.migrating.comparing import OldAndNew
    from tunesmith.pipeline.migrating.migrate import Migrated, Migration, Plan, Wish
    from tunesmith.pipeline.migrating.recipes import Recipe
    from tunesmith.pipeline.results import Estimate

NOT_YET, NEVER = 1, 3
"""Exit codes: something may be fetched by another start; all is done, but for what cannot be had.
"""
CHECKPOINT = ":ckpt-step-"
"""In the name of a model that is a checkpoint of another one, and ends with it."""
SHOWN = 20
"""Models or recipes that get a line each."""

app = typer.Typer(
    help="Take an account's files, jobs and models out of a service that closes.",
    no_args_is_help=True,
)

FOLDER = Path("openai-assets")
Folder = Annotated[Path, typer.Argument(help="Where it all goes.")]
Fetched = Annotated[Path, typer.Argument(help="Folder that `tunesmith migrate openai` has made.")]
BaseModel = Annotated[
    str | None,
    typer.Option(help="Base model of the recipes, where it fits. Empty: chosen for each."),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]


@app.command()
def openai(
    folder: Folder = FOLDER,
    base_url: Annotated[
        str | None,
        typer.Option(help="Address of another server with the same API. Empty: OpenAI's."),
    ] = None,
    key_env: Annotated[
        str | None,
        typer.Option(help="Environment variable that holds the API key. Empty: OPENAI_API_KEY."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be done, and what it costs.")
    ] = False,
    purpose: Annotated[
        list[str] | None,
        typer.Option(
            help="Fetch files of this purpose, and those of jobs. Empty: all. Repeatable."
        ),
    ] = None,
    base_model: BaseModel = None,
    answers: Annotated[
        bool,
        typer.Option("--answers", help="Also ask the old models for their validation rows."),
    ] = False,
    max_cost: Annotated[
        float | None, typer.Option(help="Most that the answers may cost. More is refused.")
    ] = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Downloads at once.")] = 8,
    yes: Annotated[bool, typer.Option("--yes", help="Spend what is shown without asking.")] = False,
    as_json: Json = False,
) -> None:
    """Fetch files, jobs and results of an OpenAI account, and write recipes to train anew.

    Started again, it goes on where it stopped. Exit code 0: all is here; 3: all but what cannot be
    had; 1: start it again.
    """
    from tunesmith import providers, settings
    from tunesmith.cli.terminal import Terminal
    from tunesmith.config import ProviderConfig
    from tunesmith.pipeline.migrating.migrate import Migration

    config = ProviderConfig(name="openai", base_url=base_url, key_env=key_env)
    terminal = Terminal(as_json=as_json)

    def told(what: str) -> None:
        terminal(_note(what))

    wish = _wish(folder, base_model, tuple(purpose or ()), concurrency)
    with providers.connect(config, settings.load(), told) as provider:
        migration = Migration(wish, provider, terminal)
        try:
            if dry_run:
                _plan(migration, terminal, answers=answers)
                return
            with migration.manifest.lock():
                done = migration.run()
                _tell(done, terminal)
                asked: list[dict[str, Any]] = []
                if answers:
                    asked = _ask(migration, done.recipes, terminal, max_cost=max_cost, yes=yes)
        except KeyboardInterrupt:
            terminal.close()
            at = f" --base-url {base_url}" if base_url else ""
            typer.echo(f"\nStopped. To go on: tunesmith migrate openai {folder}{at}", err=True)
            raise typer.Exit(130) from None
        finally:
            terminal.close()
    terminal.json({**asdict(done), "answers": asked})
    if done.failed or any(one["why_not"] for one in asked):
        raise typer.Exit(NOT_YET)
    if done.num_unavailable:
        raise typer.Exit(NEVER)


@app.command()
def recipes(folder: Fetched, base_model: BaseModel = None, as_json: Json = False) -> None:
    """Write the recipes anew from what was fetched: with another base model, or in another place.

    Nobody is asked for anything.
    """
    from tunesmith import settings
    from tunesmith.cli.terminal import Terminal
    from tunesmith.pipeline.migrating.manifest import MANIFEST, Manifest
    from tunesmith.pipeline.migrating.recipes import write_recipes

    manifest = Manifest.load(folder)
    if not (manifest.folder / MANIFEST).is_file():
        raise NotFound(
            f"There is no {MANIFEST} in {folder}.", fix=f"First: tunesmith migrate openai {folder}"
        )
    terminal = Terminal(as_json=as_json)
    with manifest.lock():
        shelf = settings.load().base_models_dir
        found = list(write_recipes(manifest, base_model=base_model, base_models_dir=shelf))
    _tell_recipes(found, folder, terminal)
    terminal.json({"folder": str(folder), "recipes": [asdict(one) for one in found]})


@app.command()
def compare(
    folder: Fetched,
    job: Annotated[str, typer.Argument(help="Id of the old job (ftjob-…).")],
    run_dir: Annotated[Path, typer.Argument(help="Folder of the run of its recipe.")],
    as_json: Json = False,
) -> None:
    """Compare a recipe's new model with the old one on the same validation rows.

    The old model's answers are those kept by `--answers`; it need not answer any more.
    """
    from tunesmith.cli.terminal import Terminal
    from tunesmith.pipeline.migrating.comparing import compare_with_old

    terminal = Terminal(as_json=as_json)
    found = compare_with_old(folder, job, run_dir)
    _tell_comparison(found, terminal)
    terminal.json(asdict(found))


def _wish(
    folder: Path, base_model: str | None, purposes: tuple[str, ...], concurrency: int
) -> Wish:
    from tunesmith import settings
    from tunesmith.pipeline.migrating.migrate import Wish

    return Wish(
        folder=folder,
        purposes=purposes,
        base_model=base_model,
        base_models_dir=settings.load().base_models_dir,
        today=datetime.now(UTC).date(),
        concurrency=concurrency,
    )


def _note(what: str) -> Any:
    from tunesmith.events import Event

    return Event(kind="note", message=what)


def _plan(migration: Migration, terminal: Terminal, *, answers: bool) -> None:
    """--dry-run: what would be done."""
    plan = migration.plan()
    terminal.plain(f"account    {plan.source.base_url} {plan.source.organization}".rstrip())
    listed = ", ".join(f"{number:,} {name}" for name, number in plan.counts.items())
    terminal.plain(f"listed     {listed} (tuned ones)")
    terminal.plain(f"here       {plan.num_there:,} things, with the right checksums")
    size = f"{plan.num_bytes / 1e6:,.1f} MB of files"
    terminal.plain(f"to fetch   {plan.num_missing:,} things, {size}; costs nothing")
    terminal.plain(f"recipes    {plan.num_recipes:,} jobs succeeded with a method offered here")
    _tell_endings(plan, terminal)
    if answers:
        terminal.plain(
            "answers    their price is told once the validation files are here; nothing is spent "
            "before a yes"
        )
    terminal.plain("Nothing was written (--dry-run).")
    terminal.json({"dry_run": True, **asdict(plan)})


def _tell(done: Migrated, terminal: Terminal) -> None:
    terminal.plain()
    for name, states in done.counts.items():
        told = ", ".join(f"{number:,} {state}" for state, number in states.items() if number)
        terminal.plain(f"{name:<12} {told or 'none'}")
    size = f"{done.num_bytes / 1e6:,.1f} MB"
    terminal.plain(f"{'now':<12} {done.num_fetched:,} fetched, {size}")
    _tell_endings(done, terminal)
    _tell_recipes(done.recipes, Path(done.folder), terminal)
    terminal.plain()
    terminal.plain(f"folder     {done.folder} (begin with its README.md)")
    if done.num_unavailable:
        number = f"{done.num_unavailable:,}"
        terminal.plain(f"{number} things cannot be had; README.md says why.", "yellow")
    if done.failed:
        terminal.plain(
            f"{len(done.failed):,} things could not be fetched now. Start the same command again.",
            "yellow",
        )


def _tell_endings(done: Migrated | Plan, terminal: Terminal) -> None:
    if not done.endings:
        return
    terminal.plain()
    models = [one for one in done.endings.items() if CHECKPOINT not in one[0]]
    models.sort(key=lambda one: (one[1].on or "9", one[0]))
    for name, end in models[:SHOWN]:
        terminal.plain(f"{name}: {end.says}")
    _more(len(models), terminal, "models.json")


def _tell_recipes(found: Sequence[Recipe], folder: Path, terminal: Terminal) -> None:
    if not found:
        return
    terminal.plain()
    for one in found[:SHOWN]:
        if one.path:
            terminal.plain(f"tunesmith run --config {folder / one.path}")
            terminal.plain(f"  {one.task} on {one.base_model} ({one.base_reason})", "dim")
        else:
            terminal.plain(f"no recipe for {one.job}: {one.why_not}", "dim")
    _more(len(found), terminal, "README.md")


def _more(number: int, terminal: Terminal, where: str) -> None:
    if number > SHOWN:
        terminal.plain(f"… and {number - SHOWN:,} more, in {where}", "dim")


def _ask(
    migration: Migration,
    found: Sequence[Recipe],
    terminal: Terminal,
    *,
    max_cost: float | None,
    yes: bool,
) -> list[dict[str, Any]]:
    """Collect the old models' answers, after a yes. Raises: ConfigError without one."""
    from tunesmith.cli.terminal import is_interactive
    from tunesmith.pipeline.migrating.explained import explain
    from tunesmith.pipeline.spending import Spending, sentences

    askings = migration.askings(found)
    terminal.plain()
    if not any(one.questions for one in askings):
        terminal.plain("No answers are missing of models that are listed and have validation rows.")
        return []
    for one in askings:
        there = f", {one.num_kept:,} kept already" if one.num_kept else ""
        terminal.plain(f"{one.model}: {len(one.questions):,} rows to ask{there}")
        if one.cost:
            for sentence in sentences(one.cost):
                terminal.plain(f"  {sentence}", "dim")
    costs = [one.cost for one in askings if one.cost]
    confirm = (lambda what: typer.confirm(what, err=True)) if is_interactive() else None
    spending = Spending(yes=yes, max_cost=max_cost, ask=confirm)
    spending.agree(_together(costs), terminal, is_told=True)
    told = []
    for asking, why_not in migration.collect(askings):
        told.append({"job": asking.job, "model": asking.model, "why_not": why_not})
    explain(migration.manifest, found)
    terminal.plain(f"The answers are kept in {migration.manifest.folder / 'answers'}.")
    return told


def _together(costs: Sequence[Estimate]) -> Estimate | None:
    """One estimate of all; None where nothing costs anything."""
    if not costs:
        return None
    known = [one.evaluation for one in costs if one.evaluation is not None]
    return replace(costs[0], evaluation=sum(known) if len(known) == len(costs) else None)


def _tell_comparison(found: OldAndNew, terminal: Terminal) -> None:
    width = 2 + max(len(found.new.model), len(found.old.model))
    names = list(found.new.metrics)
    terminal.plain(f"{'%, 95 % sure':<{width}}" + "".join(f"{name:<20}" for name in names), "dim")
    for side in (found.new, found.old):
        cells = []
        for name in names:
            low, high = side.intervals[name]
            span = f"{100 * low:.1f}–{100 * high:.1f}"
            cells.append(f"{f'{100 * side.metrics[name]:.1f} {span}':<20}")
        terminal.plain(f"{side.model:<{width}}" + "".join(cells))
    terminal.plain()
    terminal.plain(found.verdict)
    left = {"that the old model was trained on": found.num_taught,
            "without an answer of the old model": found.num_unanswered}  # fmt: skip
    for why, number in left.items():
        if number:
            terminal.plain(f"{number:,} rows {why} are left out.", "dim")
