"""The engine of one process: started by the first step that computes, stopped at the end. Engines: compute.py."""

from importlib.metadata import entry_points

from quant_core.cli import engine_of
from quant_core.graph.compute import Compute


class Engine:
    """An engine by name that starts on first use.

    Raises
    ------
    UnknownNameError, MissingExtraError
        No engine of that name; one that an entry point names is looked for when it starts.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._started: Compute | None = None
        if name not in entry_points(group="quant.modes").names:
            engine_of(name)  # serial, or the error that names what is missing

    @property
    def compute(self) -> Compute:
        """The engine, started."""
        if self._started is None:
            self._started = engine_of(self.name)
        return self._started

    def close(self) -> None:
        """Stop the engine if it was started."""
        started, self._started = self._started, None
        if started is not None and hasattr(started, "close"):
            started.close()
