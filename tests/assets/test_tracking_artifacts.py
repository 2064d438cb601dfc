import hashlib
import io
import os
import zipfile
from pathlib import Path

import polars as pl
import pytest

from quant_assets.resources import artifacts
from quant_assets.resources.artifacts import artifacts_of, check_artifact
from quant_core.errors import IntegrityError
from quant_core.evidence.runs.commits import Evidence
from quant_core.evidence.store.refs import DataRef

PICKLE = b"\x80\x04\x8c\x05posix\x94\x8c\x06system\x94\x93\x94\x8c\x04true\x94\x85\x94R\x94."
PAGE = '<!doctype html>\n<html><head><meta charset="utf-8"></head><body>{}</body></html>'


def parquet() -> bytes:
    buffer = io.BytesIO()
    pl.DataFrame({"a": [1]}).write_parquet(buffer)
    return buffer.getvalue()


def archive() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr("__main__.py", "raise SystemExit(3)")
    return packed.getvalue()


def stored(evidence: Evidence, frame: pl.DataFrame, stage: str, part: str = "valid") -> DataRef:
    return evidence.store.write(frame, stage=stage, sleeve="us", key=frame.columns[:1], part=part)


def committed(evidence: Evidence, stage: str, frame: pl.DataFrame) -> DataRef:
    valid, exclusions = stored(evidence, frame, stage), stored(evidence, frame.clear(), stage, "exclusions")
    evidence.commit(run_id="r", stage=stage, sleeve="us", valid=valid, exclusions=exclusions, facts={})
    return valid


def home_with(home: Path, page: str = PAGE) -> tuple[Evidence, dict[str, DataRef]]:
    evidence = Evidence(home)
    manifest = home / "runs" / "r" / "manifest.json"
    manifest.parent.mkdir(parents=True)
    manifest.write_bytes(b'{"run_id":"r"}')
    evidence.open_run("r", {"manifest": hashlib.sha256(manifest.read_bytes()).hexdigest()})
    documents = pl.DataFrame({"name": ["a.csv", "tear_sheet.html"], "content": ["x", page]})
    tables = {
        "ingest.bars": pl.DataFrame({"k": [1]}),
        "backtest.metrics": pl.DataFrame({"k": [1, 2]}),
        "synthesis.selection": pl.DataFrame({"k": [1, 2, 3]}),
        "report.tear_sheet": documents,
    }
    return evidence, {stage: committed(evidence, stage, frame) for stage, frame in tables.items()}


def test_manifest_page_and_aggregate_tables_are_shown(tmp_path: Path) -> None:
    evidence, refs = home_with(tmp_path)
    kept, left_out = artifacts_of(evidence, evidence.run("r"))
    assert set(kept) == {
        "manifest.json",
        "tables/backtest.metrics.parquet",
        "tables/synthesis.selection.parquet",
        "tear_sheet.html",
    }
    assert kept["tables/backtest.metrics.parquet"] == (tmp_path / refs["backtest.metrics"].path).read_bytes()
    assert kept["tear_sheet.html"].decode() == PAGE
    assert left_out == {}


def test_a_file_with_other_bytes_than_the_ledger_knows_is_left_out(tmp_path: Path) -> None:
    evidence, refs = home_with(tmp_path)
    (tmp_path / refs["backtest.metrics"].path).write_bytes(PICKLE)
    (tmp_path / "runs" / "r" / "manifest.json").write_bytes(b'{"run_id":"s"}')
    (tmp_path / refs["synthesis.selection"].path).unlink()
    kept, left_out = artifacts_of(evidence, evidence.run("r"))
    assert set(kept) == {"tear_sheet.html"}
    assert set(left_out) == {"manifest.json", "tables/backtest.metrics.parquet", "tables/synthesis.selection.parquet"}
    assert "other bytes" in left_out["manifest.json"]


def test_a_page_that_runs_something_is_left_out(tmp_path: Path) -> None:
    evidence, _ = home_with(tmp_path, PAGE.format("<script>steal()</script>"))
    kept, left_out = artifacts_of(evidence, evidence.run("r"))
    assert "tear_sheet.html" not in kept
    assert "not inert" in left_out["tear_sheet.html"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.parquet", parquet()),
        ("m.json", b'{"a": 1}'),
        ("p.html", PAGE.format('<svg><path d="M0 0"/><use href="#a"/></svg><a href="#top">up</a>').encode()),
        ("p.html", PAGE.format("<style>p > a {clip-path: url(#c)}</style><!-- plain words -->").encode()),
        ("p.html", PAGE.format('<img src="data:image/png;base64,AA=="><p>a &lt;script&gt; in words</p>').encode()),
    ],
)
def test_what_is_what_it_claims_to_be_passes(name: str, content: bytes) -> None:
    check_artifact(name, content)


@pytest.mark.parametrize(
    "name", ["t.parquet", "t.json", "t.html", "t.pkl", "t.joblib", "t.parquet.pkl", "model", "t.zip"]
)
def test_a_pickle_is_refused_under_any_name(name: str) -> None:
    with pytest.raises(IntegrityError):
        check_artifact(name, PICKLE)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.parquet", b"PAR1" + PICKLE),
        ("t.parquet", b"PAR1PAR1"),
        ("t.parquet", b"PAR1" + PICKLE + b"PAR1"),
        ("t.parquet", b"PAR1" + PICKLE + (8).to_bytes(4, "little") + b"PAR1"),
        ("t.parquet", b"PAR1" + bytes(64) + (2**31).to_bytes(4, "little") + b"PAR1"),
        ("t.parquet", parquet() + archive()),
        ("t.parquet", archive() + parquet()),
        ("t.parquet", parquet()[:4] + archive() + parquet()[4:]),
        ("t.parquet", archive()),
        ("t.parquet", b"\x1f\x8b\x08" + bytes(20)),
        ("t.json", archive()),
        ("t.json", b'{"a": NaN}'),
        ("t.json", b'{"a": ' + b"[" * 100 + b"]" * 100 + b"}"),
        ("t.json", b'{"a": [' + b"{}," * 300_000 + b"{}]}"),
        ("t.json", b'{"a": 1}' + PICKLE),
        ("t.svg", b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"),
        ("t.html", b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"),
        ("t.html", b"<?xml version='1.0'?><html xmlns='http://www.w3.org/1999/xhtml'/>"),
        ("t.html", PAGE.format("%PDF-1.7").encode()),
        ("t.html", PAGE.format("").encode() + archive()),
        ("t.html", b"GIF89a/*" + PAGE.format("").encode()),
        ("t.html", PAGE.format("<scr\0ipt>alert(1)</scr\0ipt>").encode()),
        ("t.html", b"\xef\xbb\xbf" + parquet()),
        ("t.parquet", b""),
        ("t.json", b"[1]"),
        ("t.json", b'{"a": 1, "a": 2}'),
        ("t.json", parquet()),
        ("t.html", b"just text"),
        ("t.html", PAGE.format("").encode("utf-16")),
        ("t.csv", b"a,b\n"),
        ("MLmodel", b"flavors:\n  python_function:\n    loader_module: evil\n"),
    ],
)
def test_what_is_not_what_it_claims_to_be_is_refused(name: str, content: bytes) -> None:
    with pytest.raises(IntegrityError, match=name):
        check_artifact(name, content)


@pytest.mark.parametrize(
    "body",
    [
        "<SCRIPT src=x></SCRIPT>",
        "<script/x>alert(1)</script>",
        '<img src="x" onerror="alert(1)">',
        "<svg/onload=alert(1)>",
        '<a href="javascript:alert(1)">x</a>',
        '<a href=" java\tscript:alert(1)">x</a>',
        '<a href="&#106;avascript:alert(1)">x</a>',
        '<img src="http://elsewhere/x.png">',
        '<a href="//elsewhere">x</a>',
        '<iframe srcdoc="x"></iframe>',
        '<object data="x"></object>',
        '<embed src="x">',
        '<base href="http://elsewhere/">',
        '<meta http-equiv="refresh" content="0;url=http://elsewhere">',
        '<link rel="stylesheet" href="http://elsewhere/x.css">',
        '<form action="http://elsewhere"></form>',
        "<svg><foreignObject></foreignObject></svg>",
        '<svg><use xlink:href="http://elsewhere#a"/></svg>',
        "<!--><script>alert(1)</script>-->",
        '<title><a x="</title><img src=x onerror=alert(1)>"></title>',
        "<svg><style><img src=x onerror=alert(1)></style></svg>",
        "<svg><![CDATA[><script>alert(1)</script>]]></svg>",
        "<style>@import 'http://elsewhere/x.css';</style>",
        '<p style="background: url(http://elsewhere/x.png)">x</p>',
        '<svg><a><animate attributeName="href" values="javascript:alert(1)"/></a></svg>',
        '<svg><set attributeName="href" to="x"/></svg>',
        '<p data-x="javascript:alert(1)">x</p>',
        '<a href="data:text/html,<b>x</b>">x</a>',
        '<a href="data:image/svg+xml;base64,AA==">x</a>',
        '<svg><use href="data:image/svg+xml;base64,AA==#a"/></svg>',
        '<a href="#a" ping="http://elsewhere">x</a>',
        '<video poster="http://elsewhere/x.png"></video>',
        '<img srcset="http://elsewhere/x.png 2x">',
        '<p style="background: u\\72l(http://elsewhere/x.png)">x</p>',
        "<style>@\\69mport 'http://elsewhere/x.css';</style>",
        "<style>p {background: image-set('http://elsewhere/x.png' 1x)}</style>",
        "<template><img src=x></template>",
        "<math><mtext></mtext></math>",
        "<script",
        "<a " * 50_000,
        "<!--" * 50_000,
        "<![CDATA[ >" * 50_000,
    ],
)
def test_a_page_runs_nothing_and_loads_nothing(body: str) -> None:
    with pytest.raises(IntegrityError, match="not inert"):
        check_artifact("t.html", PAGE.format(body).encode())


@pytest.mark.parametrize("kind", ["link", "link to a device", "pipe", "folder", "oversize"])
def test_only_a_file_of_the_home_is_read(tmp_path: Path, kind: str) -> None:
    evidence, refs = home_with(tmp_path / "home")
    table, manifest = (
        tmp_path / "home" / refs["backtest.metrics"].path,
        tmp_path / "home" / "runs" / "r" / "manifest.json",
    )
    for k, path in enumerate((table, manifest)):
        elsewhere = path.rename(tmp_path / f"{k}")  # the right bytes: only what leads to them is wrong
        match kind:
            case "link":
                path.symlink_to(elsewhere)
            case "link to a device":
                path.symlink_to("/dev/zero")
            case "pipe":
                os.mkfifo(path)
            case "folder":
                path.mkdir()
            case _:
                with path.open("wb") as file:
                    file.truncate(1 << 40)
    kept, left_out = artifacts_of(evidence, evidence.run("r"))
    assert set(left_out) == {"manifest.json", "tables/backtest.metrics.parquet"}
    assert not set(kept) & set(left_out)


def test_a_file_has_a_largest_size(monkeypatch: pytest.MonkeyPatch) -> None:
    content = parquet()
    monkeypatch.setattr(artifacts, "LARGEST", len(content) - 1)
    with pytest.raises(IntegrityError, match="at most"):
        check_artifact("t.parquet", content)
