"""Commands the platform adds to `quant`: ui and mlflow, found by the entry points `quant.commands`."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

import click

from quant_core.errors import MissingExtraError

_home = click.option("--home", type=click.Path(path_type=Path), help="Ledger, store and reports [default: QUANT_HOME].")


def _require_extra(what: str, module: str) -> None:
    """Raise an error that names the missing extra; not at import, so that `quant --help` works without it."""
    if find_spec(module) is None:
        raise MissingExtraError(what, "platform")


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The UI has no login: keep it local.")
@click.option("--port", default=3000, show_default=True, help="Port of the UI.")
@_home
def ui(host: str, port: int, home: Path | None) -> None:
    """Start the Dagster UI and its daemon on this machine; Ctrl-C ends both."""
    _require_extra("quant ui", "dagster")
    from quant_assets.home import dagster_home
    from quant_core.settings import CHECKOUT, Settings

    settings = Settings.from_environment(os.environ, home=home)
    environ = {**os.environ, "QUANT_HOME": str(settings.home), "QUANT_SLEEVES": str(settings.sleeves)}
    if "DAGSTER_HOME" not in environ:
        environ["DAGSTER_HOME"] = str(dagster_home(settings.home))
    command = [sys.executable, "-m", "dagster", "dev", "-m", "definitions", "-h", host, "-p", str(port)]
    os.execve(sys.executable, [*command, "-d", str(CHECKOUT)], environ)


@click.command()
@_home
def mlflow(home: Path | None) -> None:
    """Rebuild the MLflow view from the ledger; manual edits are discarded."""
    _require_extra("quant mlflow", "mlflow")
    from quant_assets.resources.tracking import rebuild  # the door to mlflow: takes seconds
    from quant_core.settings import Settings

    settings = Settings.from_environment(os.environ, home=home)
    seen = rebuild(settings.home, os.environ.get("QUANT_MLFLOW_URI"))
    click.echo(f"{seen.state}: {seen.runs} runs {seen.reason}".rstrip())
    if seen.state != "projected":
        raise SystemExit(1)
