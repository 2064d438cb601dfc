"""References to table versions: the hash of the bytes, the table, the path. Reading: reader.py; writing: store.py."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from quant_core.evidence.files.names import encode_name

Part = Literal["valid", "exclusions", "actions"]


class DataRef(BaseModel):
    """A version of a table: all that is needed to load it, and small enough to send between processes.

    `path` is relative to the home and follows from the other fields, so a reference cannot point elsewhere. In the form
    "list" the file names other versions; their rows, one after the other, are the table.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    stage: str = Field(pattern=r"^[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*$")
    sleeve: str = Field(min_length=1)
    part: Part = "valid"
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    rows: int = Field(ge=0)
    path: str
    form: Literal["rows", "list"] = "rows"

    @model_validator(mode="after")
    def _path_follows(self) -> Self:
        if self.path != str(version_path(self.stage, self.sleeve, self.sha256)):
            raise ValueError(f"path {self.path!r} is not that of {self.stage} of {self.sleeve}")
        return self


def version_path(stage: str, sleeve: str, sha256: str) -> PurePosixPath:
    """Return the path of a version, relative to the home: `store/<room>/<name>/<sleeve>/<sha256>.parquet`."""
    return PurePosixPath("store", *map(encode_name, stage.split(".")), encode_name(sleeve), f"{sha256}.parquet")
