"""Settings of a process: where the home and the sleeves are, which engine computes.

The environment enters here and only at the edges (cli, runner, quant_assets): stages and kernels get arguments.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from quant_core.errors import ConfigError, UsageError

CHECKOUT = Path(__file__).resolve().parent.parent
PREFIX = "QUANT_"


class Settings(BaseModel):
    """Frozen settings of one process or worker."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    home: Path = Field(default=CHECKOUT / ".quant", description="Ledger, store, reports: QUANT_HOME.")
    sleeves: Path = Field(default=CHECKOUT / "config" / "sleeves", description="Sleeve files: QUANT_SLEEVES.")
    compute: str = Field(default="serial", description="Engine of Compute.map: QUANT_COMPUTE.")

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], **given: object) -> Settings:
        """Read `QUANT_HOME`, `QUANT_SLEEVES`, `QUANT_COMPUTE`; what is `given` and not None wins.

        Raises
        ------
        ConfigError
            A value is not allowed, or no home is named outside a checkout.
        """
        read = {name: environ[key] for name in cls.model_fields if environ.get(key := PREFIX + name.upper())}
        if not (CHECKOUT / "definitions.py").is_file() and not (read.get("home") or given.get("home")):
            raise ConfigError("outside a checkout no home is the default; set QUANT_HOME or give --home.")
        chosen = read | {name: value for name, value in given.items() if value is not None}
        try:
            settings = cls.model_validate(chosen)
        except ValidationError as error:
            fault = error.errors(include_url=False)[0]
            where = PREFIX + ".".join(str(part) for part in fault["loc"]).upper()
            raise ConfigError(f"{where}: {fault['msg']}, got {fault['input']!r}.") from error
        return settings.model_copy(update={"home": settings.home.absolute(), "sleeves": settings.sleeves.absolute()})


class ThreadSafeConfig:
    """The settings of the running context: threads, tasks and workers never see each other's.

    Unset is an error, so nothing ever runs under settings nobody chose. A context started elsewhere (thread pool,
    subprocess, Ray worker) is given `payload()` and enters it with `use`.
    """

    _current: ContextVar[Settings] = ContextVar("quant_settings")

    @classmethod
    def current(cls) -> Settings:
        """Return the settings in force here.

        Raises
        ------
        UsageError
            Nobody entered `use` in this context.
        """
        try:
            return cls._current.get()
        except LookupError:
            raise UsageError("no settings in this context; enter ThreadSafeConfig.use(settings) first.") from None

    @classmethod
    @contextmanager
    def use(cls, settings: Settings) -> Iterator[Settings]:
        """Put `settings` in force inside the `with` block."""
        token = cls._current.set(settings)
        try:
            yield settings
        finally:
            cls._current.reset(token)

    @classmethod
    def payload(cls) -> str:
        """Return the current settings as JSON, for a worker that starts without them."""
        return cls.current().model_dump_json()

    @classmethod
    def from_payload(cls, payload: str) -> Settings:
        """Read settings back from `payload()`."""
        return Settings.model_validate_json(payload)
