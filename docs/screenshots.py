"""Take the README's pictures of a home that `make demo` filled: the asset graph and the tear sheet of us_equities.

    python docs/screenshots.py HOME

`make screenshots` fills a fresh home and calls this. It needs Chromium (CHROMIUM names the program; default: chromium).
Beside the tear sheet's picture stand the figures it shows, which a test compares with the demo of today.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

IMAGES = Path(__file__).parent / "images"
SLEEVE = "us_equities"
FIGURES = ("annual_return", "sharpe", "max_drawdown", "active_return", "selection_alpha", "optimisation_alpha")
PATIENCE = 90.0


class Page:
    """A page of a headless browser, driven by the DevTools protocol."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection, self._number = connection, 0

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and return its result."""
        self._number += 1
        self._connection.send(json.dumps({"id": self._number, "method": method, "params": params}))
        while True:
            answer = json.loads(self._connection.recv(timeout=PATIENCE))
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return dict(answer["result"])

    def evaluate(self, script: str) -> Any:
        """Return the value of a JavaScript expression."""
        return self.call("Runtime.evaluate", expression=script, returnByValue=True)["result"].get("value")

    def open(self, url: str, *, width: int, height: int, scale: float) -> None:
        """Show a page in a window of that size."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=False
        )
        self.call("Page.navigate", url=url)

    def save(self, path: Path, clip: dict[str, float] | None = None) -> None:
        """Write what the window shows, or a part of it, as a picture."""
        given = {} if clip is None else {"clip": {**clip, "scale": 1}}
        data = self.call("Page.captureScreenshot", format="png", **given)["data"]
        path.write_bytes(base64.b64decode(data))


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    """Return the first true value of a condition; an error after a minute and a half."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if found := condition():
            return found
        time.sleep(0.5)
    raise TimeoutError(f"waited in vain for {what}.")


def free_port() -> int:
    """Return a port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answer(url: str) -> bytes | None:
    """Return what a local server says, None while it does not."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bytes(response.read())
    except OSError:
        return None


@contextmanager
def started(command: list[str], **environ: str) -> Iterator[None]:
    """Run a program in the background."""
    with subprocess.Popen(
        command, env={**os.environ, **environ}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield
        finally:
            process.terminate()


@contextmanager
def browser() -> Iterator[Page]:
    """Open a headless browser with one page."""
    program = shutil.which(os.environ.get("CHROMIUM", "chromium"))
    if program is None:
        raise SystemExit("no Chromium found; install it, or set CHROMIUM to its path.")
    port = free_port()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        flags = ["--headless", "--no-sandbox", "--hide-scrollbars", f"--user-data-dir={profile}"]
        with started([program, *flags, f"--remote-debugging-port={port}", "about:blank"]):
            listing = wait_for(lambda: answer(f"http://127.0.0.1:{port}/json/list"), "the browser")
            pages = [target for target in json.loads(listing) if target["type"] == "page"]
            with connect(pages[0]["webSocketDebuggerUrl"], max_size=None) as connection:
                yield Page(connection)


def tear_sheet_picture(page: Page, home: Path) -> None:
    """Take the first page of the tear sheet."""
    sheet = home / "reports" / SLEEVE / "tear_sheet.html"
    page.open(sheet.as_uri(), width=1075, height=1500, scale=1.25)
    wait_for(lambda: page.evaluate("document.readyState") == "complete", "the tear sheet")
    page.save(IMAGES / "tear_sheet.png")


def graph_picture(page: Page, home: Path) -> None:
    """Take the asset graph as the Dagster UI draws it."""
    port = free_port()
    command = [str(Path(sys.executable).with_name("dagster-webserver")), "-m", "definitions", "-p", str(port)]
    with started(command, QUANT_HOME=str(home), DAGSTER_HOME=str(home / "dagster")):
        wait_for(lambda: answer(f"http://127.0.0.1:{port}/server_info"), "the Dagster UI")
        page.open(f"http://127.0.0.1:{port}/asset-groups", width=2000, height=2000, scale=1.0)
        nodes = "document.querySelectorAll('svg foreignObject').length"
        collapsed = wait_for(lambda: page.evaluate(nodes), "the graph")
        for kind in ("rawKeyDown", "keyUp"):  # Alt+E expands all groups
            page.call("Input.dispatchKeyEvent", type=kind, key="e", code="KeyE", modifiers=1, windowsVirtualKeyCode=69)
        wait_for(lambda: page.evaluate(nodes) > collapsed, "the groups to expand")
        time.sleep(3.0)  # until the zoom has come to rest
        page.save(IMAGES / "graph.png", {"x": 545, "y": 115, "width": 1445, "height": 1880})


def figures_of(home: Path) -> dict[str, Any]:
    """Return the headline figures the tear sheet shows, and the SHA-256 of the table they are read from."""
    from quant_core.evidence.runs.reader import EvidenceReader
    from quant_core.lifecycle.summary import summary_of

    summary = summary_of(EvidenceReader(home), SLEEVE)
    rows = {row["metric"]: row["value"] for row in summary["figures"] if row["portfolio"] == summary["headline"]}
    table = summary["refs"]["backtest.metrics"]["sha256"]
    return {"backtest.metrics": table, "figures": {name: rows[name] for name in FIGURES}}


def main(home: Path) -> None:
    """Take both pictures and write the figures."""
    with browser() as page:
        tear_sheet_picture(page, home)
        graph_picture(page, home)
    (IMAGES / "tear_sheet.json").write_text(json.dumps(figures_of(home), indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
