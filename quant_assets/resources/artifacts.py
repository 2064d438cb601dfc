"""Chooses the files of a run that a tracker may hold, and checks their content. experiment.py sends them.

The bytes of a file decide its kind, never its name: a tracker's users open what they find there.
"""

import hashlib
import io
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath

import polars as pl

from quant_core.bounds import read_at_most
from quant_core.errors import EvidenceError, IntegrityError, QuantError
from quant_core.evidence.ledger.canonical import strict_object
from quant_core.evidence.runs.commits import Evidence
from quant_core.evidence.runs.index import Run
from quant_core.evidence.runs.manifest import manifest_path
from quant_core.evidence.runs.reader import ref_in
from quant_core.evidence.store.refs import DataRef

TABLES = (
    "alpha.evaluation",
    "synthesis.selection",
    "synthesis.atoms",
    "allocation.weights",
    "backtest.metrics",
)
TEAR_SHEET = "report.tear_sheet"
LARGEST = 64 * 1024 * 1024
_ACTIVE = frozenset({"script", "iframe", "frame", "object", "embed", "applet", "base", "form", "link", "foreignobject"})
_ACTIVE |= {"animate", "animatemotion", "animatetransform", "set", "handler", "listener", "portal", "template", "math"}
_LINKS = frozenset({"href", "src", "xlink:href", "srcset", "action", "formaction", "data", "poster", "background"})
_LINKS |= {"ping", "longdesc", "cite", "manifest", "codebase", "archive", "classid", "dynsrc", "lowsrc", "imagesrcset"}
_INSIDE = ("#", "data:image/png")
_SCHEMES = ("javascript:", "vbscript:", "data:text", "data:application", "data:,", "blob:", "file:")
# A style sheet can spell any of these with escapes, so a page's own style has none.
_LOADS = re.compile(r"url\(['\"]?(?!#|data:image/)|@import|image-set\(|expression\(|-moz-binding|behavior:")
_ESCAPES = "\\"
_UNCLOSED = re.compile(r"<[^<>]*(?:<|\Z)|<!\[")
_CONTROLS = re.compile(rb"[\x00-\x08\x0b\x0e-\x1f\x7f]")


def artifacts_of(evidence: Evidence, run: Run) -> tuple[dict[str, bytes], dict[str, str]]:
    """Return the files of a run worth showing by name, and the reasons why others are left out.

    Parameters
    ----------
    evidence : Evidence
        The home the run belongs to; every byte is checked against its hash in the ledger.
    run : Run

    Returns
    -------
    tuple of {name: content} and {name: reason}
        The manifest, a table per file under `tables/`, the tear sheet.
    """
    kept: dict[str, bytes] = {}
    left_out: dict[str, str] = {}
    for name, content in _sources(evidence, run):
        try:
            kept[name] = content()
            check_artifact(name, kept[name])
        except (QuantError, OSError) as error:
            kept.pop(name, None)
            left_out[name] = str(error)
    return kept, left_out


def check_artifact(name: str, content: bytes) -> None:
    """Raise IntegrityError unless `content` is of an allowed kind and of the kind `name` claims.

    Allowed are Parquet, JSON objects, and HTML that can run nothing and load nothing.
    """
    suffix = PurePosixPath(name).suffix
    if suffix not in _CHECKS:
        raise IntegrityError(f"{name}: a tracker gets {', '.join(_CHECKS)} only.")
    if len(content) > LARGEST:
        raise IntegrityError(f"{name} has {len(content)} bytes; a tracker gets at most {LARGEST}.")
    # A file of two kinds at once may be opened as the kind nobody checked.
    if zipfile.is_zipfile(io.BytesIO(content)) or b"%PDF-" in content[:1024]:
        raise IntegrityError(f"{name} is an archive or a PDF as well.")
    _CHECKS[suffix](name, content)


def _sources(evidence: Evidence, run: Run) -> Iterator[tuple[str, Callable[[], bytes]]]:
    if "manifest" in run.genesis.data:
        yield "manifest.json", partial(_manifest, evidence, run)
    refs = {commit.data["stage"]: ref_in(commit) for commit in run.commits}
    for stage in TABLES:
        if stage in refs:
            yield f"tables/{stage}.parquet", partial(_table, evidence, refs[stage])
    if TEAR_SHEET in refs:
        yield "tear_sheet.html", partial(_page, evidence, refs[TEAR_SHEET])


def _manifest(evidence: Evidence, run: Run) -> bytes:
    content = _bytes_of(manifest_path(evidence.home, run.run_id))
    return _verify_bytes("the manifest", content, run.genesis.data["manifest"])


def _table(evidence: Evidence, ref: DataRef) -> bytes:
    return _verify_bytes(ref.stage, _bytes_of(evidence.home / ref.path), ref.sha256)


def _page(evidence: Evidence, ref: DataRef) -> bytes:
    """Read the page from the table it was committed in: the copy under `reports/` may be gone or edited."""
    for name, content in evidence.store.read(ref, ["name", "content"]).iter_rows():
        if name == "tear_sheet.html":
            return str(content).encode()
    raise IntegrityError(f"{ref.stage} holds no tear_sheet.html.")


def _bytes_of(path: Path) -> bytes:
    """Read a file of the home: no link, no device, and no further than a tracker takes."""
    if path.is_symlink():
        raise IntegrityError(f"{path} is a link; a tracker gets files of the home only.")
    return read_at_most(path, LARGEST, follow_links=False)


def _verify_bytes(name: str, content: bytes, sha256: str) -> bytes:
    if hashlib.sha256(content).hexdigest() != sha256:
        raise IntegrityError(f"{name} has other bytes than the ledger recorded.")
    return content


def _judge_parquet(name: str, content: bytes) -> None:
    if not (len(content) >= 12 and content.startswith(b"PAR1") and content.endswith(b"PAR1")):
        raise IntegrityError(f"{name} is not Parquet: its magic bytes are missing.")
    if int.from_bytes(content[-8:-4], "little") > len(content) - 12:
        raise IntegrityError(f"{name} is not Parquet: it has no room for its footer.")
    try:
        pl.read_parquet_schema(io.BytesIO(content))
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise IntegrityError(f"{name} is not Parquet: its footer cannot be read.") from error


def _judge_json(name: str, content: bytes) -> None:
    try:
        strict_object(content)
    except EvidenceError as error:
        raise IntegrityError(f"{name} is not JSON: {error}") from error


def _judge_html(name: str, content: bytes) -> None:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise IntegrityError(f"{name} is not UTF-8.") from error
    if not text.lstrip().lower().startswith(("<!doctype html", "<html")):
        raise IntegrityError(f"{name} is not HTML: it does not start as a page.")
    if _CONTROLS.search(content):
        raise IntegrityError(f"{name} is not inert: it holds control characters.")
    # Where a tag is not closed before the next begins, parsers disagree, and this one takes quadratic time.
    if _UNCLOSED.search(text):
        raise IntegrityError(f"{name} is not inert: it holds a section, or a tag not closed before the next begins.")
    page = _Page()
    page.feed(text)
    page.close()
    if page.found:
        raise IntegrityError(f"{name} is not inert: it holds {page.found[0]}.")


_CHECKS: Mapping[str, Callable[[str, bytes], None]] = {
    ".parquet": _judge_parquet,
    ".json": _judge_json,
    ".html": _judge_html,
}


class _Page(HTMLParser):
    """Collects the parts of a page that could run or load something.

    Where browsers and this parser may disagree about what is markup (comments, raw text, attributes), a `<` is enough.
    """

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _ACTIVE or "<" in (self.get_starttag_text() or "")[1:]:
            self.found.append(f"<{tag}>")
        for name, value in attrs:
            # Browsers skip white space and control characters inside a scheme.
            target = "".join(char for char in value or "" if char > " ").lower()
            is_refresh = name == "http-equiv" and target == "refresh"
            is_picture = tag == "img" and name == "src" and target.startswith("data:image/svg+xml;")
            is_elsewhere = name in _LINKS and not target.startswith(_INSIDE) and not is_picture
            is_code = target.startswith(_SCHEMES) or (name == "style" and _ESCAPES in target)
            if name.startswith("on") or is_refresh or is_elsewhere or is_code or _LOADS.search(target):
                self.found.append(f"<{tag} {name}={value!r:.40}>")

    def handle_data(self, data: str) -> None:
        style = "".join(data.split()).lower()
        if self.cdata_elem and ("<" in data or _ESCAPES in data or _LOADS.search(style)):
            self.found.append(f"{data.strip()!r:.40} in <{self.cdata_elem}>")

    def handle_comment(self, data: str) -> None:
        if "<" in data:
            self.found.append(f"markup in a comment: {data!r:.40}")

    def unknown_decl(self, data: str) -> None:
        self.found.append(f"<![{data:.40}")
