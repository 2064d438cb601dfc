"""Each stage says all it knows of the environment: in progress, requests, warnings, refusals and errors."""

from __future__ import annotations

import os
from base64 import b64encode
from datetime import UTC, datetime
from urllib.parse import quote

import pandera.polars as pa
import polars as pl
from pydantic import Field, JsonValue

from quant_core.errors import SourceError, UnavailableError
from quant_core.graph.landing import Landing
from quant_core.graph.stage import Params, TableRule, stage
from quant_core.ingest.sources.binance_dump import binance_dump
from quant_core.ingest.sources.source import Landed
from quant_core.market.contracts.split import Split, contract
from quant_core.market.sleeves import Sleeve

NAMES = ("DB_PASSWORD", "VENDOR_API_KEY", "FEED_URL", "MIRROR_PASSWORD", "QUANT_MLFLOW_URI")


def gossip() -> str:
    """Return every secret there is: as it is, quoted, percent-encoded, in base64."""
    values = [os.environ[name] for name in NAMES]
    told = [f"{value} {value!r} {quote(value, safe='')} {b64encode(value.encode()).decode()}" for value in values]
    return "; ".join([*told, f"basic {b64encode(f'me:{values[0]}'.encode()).decode()}"])


class _Row(pa.DataFrameModel):
    """One number."""

    row: pl.Int64 = pa.Field(ge=0, description="Which.")


Rows = contract(_Row, key=("row",))
FEW = pl.DataFrame({"row": [0, 1]})


class RawParams(Params):
    """What the source is asked for."""

    kind: str = Field(default="", description="Which source.")
    options: dict[str, JsonValue] = Field(default_factory=dict, description="Its own keys.")


@stage("ingest.raw", output=Rows, takes="source", rules=[TableRule("gossip", lambda frame: gossip(), severity="warn")])
def raw(*, params: RawParams, sleeve: Sleeve, landing: Landing) -> pl.DataFrame:
    """Land two rows; of kind "mirror", ask a real source through an address that holds a password."""
    landing.tell(gossip())
    if params.kind == "mirror":
        options = binance_dump.options(params.options)
        list(binance_dump.batches(options, sleeve, Landed({}, datetime.now(UTC), landing.tell)))
    landing.begin("ingest.raw", source="leaky", fingerprint="0")
    request = [{"url": os.environ["FEED_URL"], "said": [gossip()]}]
    dated = FEW.with_columns(date=pl.lit("2024-01-01").str.to_date())
    landing.land(Split(dated), FEW.clear(), replaces=True, known_from=None, marks={}, request=request)
    return FEW


def _cause() -> None:
    try:
        raise KeyError(gossip())
    except KeyError as error:
        raise ConnectionError(f"no answer from {os.environ['FEED_URL']}") from error


@stage("ingest.unforeseen", inputs={"rows": "ingest.raw"}, output=Rows)
def unforeseen(rows: pl.DataFrame) -> pl.DataFrame:
    """Fail with a fault nobody thought of, which has a cause, which has a cause."""
    try:
        _cause()
    except ConnectionError as error:
        error.add_note(gossip())
        raise RuntimeError(f"cannot log in with {os.environ['DB_PASSWORD']}") from error
    return rows


@stage("ingest.foreseen", inputs={"rows": "ingest.raw"}, output=Rows)
def foreseen(rows: pl.DataFrame) -> pl.DataFrame:
    """Fail with an error of ours."""
    raise SourceError(gossip())


@stage("ingest.silent", inputs={"rows": "ingest.raw"}, output=Rows)
def silent(rows: pl.DataFrame) -> pl.DataFrame:
    """Fail with what a retry policy would ask again for."""
    raise UnavailableError(gossip()) from OSError(gossip())


@stage("ingest.gated", inputs={"rows": "ingest.raw"}, output=Rows, rules=[TableRule("no", lambda frame: gossip())])
def gated(rows: pl.DataFrame) -> pl.DataFrame:
    """Break a rule."""
    return rows
