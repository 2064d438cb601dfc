"""The `quant` command: results to stdout, progress and messages to stderr, exit codes by kind of error.

It only calls the graph and the evidence. Optional packages add commands by the entry points `quant.commands`.
Each command imports its modules when it runs: the help loads only click, and checking a ledger loads neither polars
nor the stages.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from quant_core.errors import MissingExtraError, QuantError, UnknownNameError
from quant_core.lifecycle.history import diff, replay, why
from quant_core.lifecycle.ledger import ledger
from quant_core.lifecycle.store import store

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from quant_core.evidence.runs.reader import EvidenceReader
    from quant_core.graph.compute import Compute
    from quant_core.graph.stage import StageSpec

INTERRUPTED = 130
PLATFORM_COMMANDS = ("mlflow", "ui")
PLATFORM_MODES = ("ray",)


class _Commands(click.Group):
    """The commands of the core and of installed packages."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *(point.name for point in _entry_points("quant.commands"))})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        own = super().get_command(ctx, cmd_name)
        if own is not None:
            return own
        for point in _entry_points("quant.commands"):
            if point.name == cmd_name:
                command: click.Command = _load_entry_point(point)
                return command
        if cmd_name in PLATFORM_COMMANDS:
            raise MissingExtraError(f"quant {cmd_name}", "platform")
        raise UnknownNameError("command", cmd_name, self.list_commands(ctx))


@click.group(cls=_Commands)
@click.version_option(package_name="quant-assets")
def quant() -> None:
    """From raw market bars to an explained, walk-forward tested portfolio."""


_home = click.option("--home", type=click.Path(path_type=Path), help="Ledger, store and reports [default: QUANT_HOME].")
_as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")


@quant.command()
@click.argument("sleeve")
@click.option("--config", type=click.Path(path_type=Path), help="Read this sleeve file instead of finding one by name.")
@_home
@click.option("--mode", help="Engine: serial, or one of an installed package (ray) [default: QUANT_COMPUTE].")
@click.option("--as-of", help="Use only data known at this time: ISO date (its end) or time, UTC.")
@_as_json
def run(
    sleeve: str, config: Path | None, home: Path | None, mode: str | None, as_of: str | None, *, as_json: bool
) -> None:
    """Run the whole graph for SLEEVE and print its selection and figures."""
    from tqdm import tqdm

    from quant_core.graph.registry import StageRegistry
    from quant_core.graph.runner import DAGRunner
    from quant_core.lifecycle.summary import describe_summary, summary_of
    from quant_core.market.sleeves import find_sleeve, read_sleeve
    from quant_core.settings import Settings

    settings = Settings.from_environment(os.environ, home=home, compute=mode)
    file = read_sleeve(config, name=sleeve) if config else find_sleeve(sleeve, settings.sleeves)
    registry = StageRegistry.load("quant_core")
    with tqdm(total=len(registry), unit="stage", file=sys.stderr, disable=None, leave=False) as bar:

        def progress(spec: StageSpec, event: str) -> None:
            bar.set_description(spec.id)
            bar.set_postfix_str("" if event in ("start", "done") else event)
            bar.update(event == "done")

        with closing_engine(engine_of(settings.compute)) as engine:
            result = DAGRunner(settings, registry, engine, progress).run(file, environ=os.environ, as_of=as_of)
    for warning in result.plan.switched_off:
        click.echo(f"warning: {warning}", err=True)
    outcome = summary_of(_evidence(settings.home), sleeve, run_id=result.run_id)
    click.echo(json.dumps(outcome) if as_json else describe_summary(outcome))


@quant.command()
@click.argument("sleeves", nargs=-1, required=True, metavar="SLEEVE...")
@_home
@_as_json
def summary(sleeves: tuple[str, ...], home: Path | None, *, as_json: bool) -> None:
    """Print the last committed selection and figures of each SLEEVE; with --json one object per line."""
    from quant_core.lifecycle.summary import describe_summary, summary_of

    evidence = _evidence(home)
    for sleeve in sleeves:
        outcome = summary_of(evidence, sleeve)
        click.echo(json.dumps(outcome) if as_json else describe_summary(outcome) + "\n")


@quant.command()
@click.argument("sleeve", required=False)
@click.option("--stage", help="Only this stage, such as ingest.bars.")
@click.option("--rule", help="Only this rule, such as toxic_bar; docs/rules.md lists them.")
@click.option("--symbol", help="Only this symbol, VENUE:TICKER.")
@click.option("--since", type=click.DateTime(["%Y-%m-%d"]), help="Only rows of this date or later.")
@click.option(
    "--run", "run_id", help="Only rows this run excluded [default: those of the newest commit of each table]."
)
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=20,
    show_default=True,
    help="List at most this many rows; all are counted.",
)
@_home
@_as_json
def exclusions(
    sleeve: str | None,
    stage: str | None,
    rule: str | None,
    symbol: str | None,
    since: datetime | None,
    run_id: str | None,
    limit: int,
    home: Path | None,
    *,
    as_json: bool,
) -> None:
    """Count the rows excluded from SLEEVE (default: from all) per stage and rule, and list the first ones."""
    from quant_core.lifecycle.exclusions import (
        ExclusionQuery,
        describe_exclusions,
        document_of,
        exclusion_counts,
        exclusion_rows,
    )

    evidence = _evidence(home)
    wanted = ExclusionQuery(sleeve, stage, rule, symbol, None if since is None else since.date(), run_id)
    counts, rows = exclusion_counts(evidence, wanted), exclusion_rows(evidence, wanted, limit=limit)
    click.echo(json.dumps(document_of(counts, rows)) if as_json else describe_exclusions(counts, rows))


@quant.command()
@click.argument("sleeve")
@click.option(
    "--limit", type=click.IntRange(min=0), default=20, show_default=True, help="List at most this many requests."
)
@_home
@_as_json
def gaps(sleeve: str, limit: int, home: Path | None, *, as_json: bool) -> None:
    """Count the sessions of SLEEVE without a bar by kind, and list the requests to its source to repeat."""
    from quant_core.lifecycle.repairs import describe_repairs, repairs_of

    evidence = _evidence(home)
    kinds, requests = repairs_of(evidence, sleeve)
    if as_json:
        asked = [json.loads(request) for request in requests["request"]]
        click.echo(json.dumps({"sleeve": sleeve, "kinds": kinds.to_dicts(), "requests": asked}))
    else:
        click.echo(describe_repairs(kinds, requests, limit=limit))


@quant.command()
@click.option("--family", help="Only this family, such as trend.")
@click.option("--sleeve", help="Also print how much of each feature is known in the newest tables of this sleeve.")
@_home
@_as_json
def features(family: str | None, sleeve: str | None, home: Path | None, *, as_json: bool) -> None:
    """List every feature with its unit, warm-up and bounds; docs/features.md has formulas and sources."""
    from quant_core.lifecycle.features import add_coverage, describe_features, document_of, list_features

    found = list_features(family)
    if sleeve is not None:
        found = add_coverage(found, _evidence(home), sleeve)
    click.echo(json.dumps(document_of(found, sleeve)) if as_json else describe_features(found))


quant.add_command(diff)
quant.add_command(ledger)
quant.add_command(replay)
quant.add_command(store)
quant.add_command(why)


def _evidence(home: Path | None) -> EvidenceReader:
    from quant_core.evidence.runs.reader import EvidenceReader
    from quant_core.settings import Settings

    return EvidenceReader(Settings.from_environment(os.environ, home=home).home)


@contextmanager
def closing_engine(engine: Compute) -> Iterator[Compute]:
    """Close the engine after the block, if it has a `close` method."""
    try:
        yield engine
    finally:
        close = getattr(engine, "close", None)
        if close is not None:
            close()


def engine_of(name: str) -> Compute:
    """Return the compute engine of that name.

    Raises
    ------
    MissingExtraError, UnknownNameError
        Its package is not installed, or no engine has that name. No other engine is used instead.
    """
    if name == "serial":
        from quant_core.graph.compute import SerialCompute

        return SerialCompute()
    offered = {point.name: point for point in _entry_points("quant.modes")}
    if name in offered:
        engine: Compute = _load_entry_point(offered[name])()
        return engine
    if name in PLATFORM_MODES:
        raise MissingExtraError(f"mode {name}", "platform")
    raise UnknownNameError("mode", name, {"serial", *offered, *PLATFORM_MODES})


def _entry_points(group: str) -> tuple[EntryPoint, ...]:
    from importlib.metadata import entry_points

    return tuple(entry_points(group=group))


def _load_entry_point(point: EntryPoint) -> Any:
    try:
        return point.load()
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"{point.name} ({error.name})", "platform") from error


def main() -> None:
    """Run the command line; one line per error, a traceback only with --debug."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # SIGTERM closes a run in the same way as an interrupt
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    try:
        quant.main(args=arguments, standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(INTERRUPTED)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except QuantError as error:
        from quant_core.masking import mask_secrets

        if len(arguments) < len(sys.argv) - 1:
            trace = "".join(traceback.format_exception(error))
            if mask_secrets(trace, os.environ) == trace:
                raise
            click.echo(mask_secrets(trace, os.environ), err=True)
        click.echo(f"error: {mask_secrets(str(error), os.environ)}", err=True)
        sys.exit(error.exit_code)
