from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from quant_core.errors import ConflictError, GateError, SourceError, UnavailableError
from quant_core.evidence.runs.commits import Evidence
from quant_core.evidence.runs.reader import ref_in
from quant_core.evidence.store.store import Store
from quant_core.graph.commit import Committed, Reader, commit_result
from quant_core.graph.judge import judge
from quant_core.graph.landing import Landing
from quant_core.graph.stage import NoParams, Params
from quant_core.ingest import raw as module
from quant_core.ingest.raw import RawParams, raw
from quant_core.ingest.sources.source import Batch, Landed, Source
from quant_core.market.contracts.split import Split
from quant_core.market.sleeves import Sleeve

SLEEVE = Sleeve(name="test", calendar="24/7")
DAY = timedelta(days=1)
START = datetime(2024, 1, 1, tzinfo=UTC)


class FeedParams(Params):
    exchange: str = "one"
    symbols: int = 3


class Feed:
    """A source of a row per symbol and day whose outside world is a list of days it can be asked for."""

    def __init__(self, *, is_live: bool = True) -> None:
        self.days = 3
        self.asked: list[int] = []
        self.fails_after: int | None = None
        self.source = Source("feed", self.batches, FeedParams, grows=True, is_live=is_live, anchors=("exchange",))

    def batches(self, params: FeedParams, sleeve: Sleeve, landed: Landed) -> Iterator[Batch]:
        for day in range(int(landed.marks.get("day", "-1")) + 1, self.days):
            if self.fails_after is not None and day >= self.fails_after:
                raise UnavailableError("the feed does not answer.")
            self.asked.append(day)
            rows = [((START + day * DAY).date(), f"A:S{k}", 1.0 + day) for k in range(params.symbols)]
            frame = pl.DataFrame(rows, schema=["date", "symbol", "close"], orient="row")
            yield Batch(Split(frame), {"day": day}, {"day": str(day)})


@pytest.fixture
def feed(monkeypatch: pytest.MonkeyPatch) -> Feed:
    return played(Feed(), monkeypatch)


def played(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> Feed:
    monkeypatch.setattr(module, "sources", lambda: {"feed": feed.source})
    return feed


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def land(home: Path, new_landing: Callable[..., Landing]) -> Callable[..., Committed]:
    """Run ingest.raw and commit it, as the runner does."""

    def done(kind: str = "feed", *, at: int = 10, as_of: str | None = None, **options: Any) -> Committed:
        landing = new_landing(home, at=START + at * DAY)
        run_id = landing._run_id
        if as_of is not None:  # a look at the past says so when it opens
            run_id = f"past-{run_id}"
            Evidence(home).open_run(run_id, {"as_of": as_of})
            landing = Landing(Evidence(home), "test", run_id, clock=landing.clock)
        result = raw(params=RawParams(kind=kind, options=options), sleeve=SLEEVE, as_of=as_of, landing=landing)
        return commit_result(Reader(Evidence(home), "test", run_id), raw, judge(raw, result, rows_in={}))

    return done


def rows_of(home: Path, committed: Committed) -> pl.DataFrame:
    return Evidence(home).store.read(committed.ref)


def test_a_source_that_grows_is_asked_only_for_what_has_not_landed(home: Path, land: Any, feed: Feed) -> None:
    land(at=3)
    feed.days = 5
    second = land(at=5)
    assert feed.asked == [0, 1, 2, 3, 4]
    table = rows_of(home, second)
    assert table["close"].to_list() == [1.0] * 3 + [2.0] * 3 + [3.0] * 3 + [4.0] * 3 + [5.0] * 3
    assert table["row"].to_list() == list(range(15))
    landed = Evidence(home).landed_batches("ingest.raw", "test")
    assert [(r.data["valid"]["rows"], r.data["first"], r.data["last"]) for r in landed] == [
        (9, "2024-01-01", "2024-01-03"),
        (6, "2024-01-04", "2024-01-05"),
    ]
    assert [record.data["request"] for record in landed] == [
        [{"day": 0}, {"day": 1}, {"day": 2}],
        [{"day": 3}, {"day": 4}],
    ]


def test_a_daily_update_reads_and_writes_in_proportion_to_its_rows(
    land: Any, feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed.days = 200
    land(at=200, symbols=50)
    feed.days, counts = 201, {"read": 0, "written": 0}
    reads, writes = Store._read_file, Store.write

    def read(self: Store, *args: Any) -> pl.DataFrame:
        frame = reads(self, *args)
        counts["read"] += frame.height
        return frame

    def write(self: Store, frame: pl.DataFrame, **options: Any) -> Any:
        counts["written"] += frame.height
        return writes(self, frame, **options)

    monkeypatch.setattr(Store, "_read_file", read)
    monkeypatch.setattr(Store, "write", write)
    committed = land(at=201, symbols=50)
    assert committed.ref.rows == 201 * 50
    assert counts["written"] <= 50 + 3 * 2  # the day, and lists of two batches for each part
    assert counts["read"] == 0


def test_an_update_without_news_is_the_version_there_was(land: Any, feed: Feed) -> None:
    first = land(at=3)
    assert land(at=4).ref == first.ref


def test_a_landing_that_was_interrupted_goes_on_where_it_stopped(home: Path, land: Any, feed: Feed) -> None:
    feed.days, feed.fails_after = 6, 4
    with pytest.raises(UnavailableError):
        land(at=6)
    feed.fails_after = None
    table = rows_of(home, land(at=6))
    assert feed.asked == [0, 1, 2, 3, 4, 5]
    assert table["date"].n_unique() == 6


def test_rows_of_a_live_source_are_known_from_their_landing_on(home: Path, land: Any, feed: Feed) -> None:
    first = land(at=3)
    before = rows_of(home, first)
    assert before["known_at"].unique().to_list() == [START + 3 * DAY]
    past = rows_of(home, land(as_of="2024-01-04T12:00", at=9))
    feed.days = 5
    land(at=8)
    assert rows_of(home, land(as_of="2024-01-04T12:00", at=9)).equals(past)
    assert past.equals(before)
    assert rows_of(home, land(as_of="2024-01-20", at=30))["date"].n_unique() == 5
    with pytest.raises(SourceError, match="nothing of source 'feed' of sleeve 'test' had landed at 2024-01-03"):
        land(as_of="2024-01-03", at=9)


def test_a_look_at_the_past_never_asks_a_live_source(land: Any, feed: Feed) -> None:
    with pytest.raises(SourceError, match="had landed at"):
        land(as_of="2024-01-03", at=3)
    assert feed.asked == []


def test_what_a_source_that_is_not_live_sent_first_is_known_always(
    home: Path, land: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = played(Feed(is_live=False), monkeypatch)
    land(at=30)
    past = land(as_of="2024-01-02", at=31).ref
    assert past.rows == 3  # the day of a market that never closes ends with the day
    feed.days = 5
    land(at=40)
    assert land(as_of="2024-01-02", at=41).ref == past
    assert land(as_of="2024-02-01", at=41).ref.rows == 9  # the other two days landed on 10 February


def test_another_exchange_starts_a_landing_anew(home: Path, land: Any, feed: Feed) -> None:
    land(at=3)
    other = land(at=4, exchange="two")
    assert feed.asked == [0, 1, 2, 0, 1, 2]
    assert rows_of(home, other)["row"].to_list() == list(range(9))
    assert land(at=5, exchange="two", symbols=4).ref.rows == 9  # no anchor: only what is new is asked for


def test_two_runs_that_land_at_once_do_not_land_twice(
    home: Path, feed: Feed, new_landing: Callable[..., Landing]
) -> None:
    slow, fast = new_landing(home), new_landing(home)
    slow.begin("ingest.raw", source="feed", fingerprint="x")
    raw(params=RawParams(kind="feed"), sleeve=SLEEVE, as_of=None, landing=fast)
    row = pl.DataFrame({"row": [0]})
    rows, rest = Split(row.with_columns(date=pl.lit(START.date())), row.with_columns(rule=pl.lit("x"))), {"marks": {}}
    with pytest.raises(ConflictError, match="landed a batch of test meanwhile"):
        slow.land(rows, row, replaces=False, known_from=None, request=[], **rest)


def csv_of(path: Path, *closes: float) -> None:
    lines = [f"2024-01-0{day + 1},A:X,{close}" for day, close in enumerate(closes)]
    path.write_text("\n".join(["date,symbol,close", *lines, ""]))


def test_a_restated_file_never_changes_what_an_old_knowledge_time_returns(
    home: Path, land: Any, tmp_path: Path
) -> None:
    path = tmp_path / "bars.csv"
    csv_of(path, 1.0, 2.0, 3.0)
    land("parquet", path=str(path), at=10)
    before = land("parquet", path=str(path), as_of="2024-01-03", at=11).ref
    csv_of(path, 1.0, 2.5, 3.0, 4.0)
    after = land("parquet", path=str(path), at=20)
    assert rows_of(home, after)["close"].to_list() == [1.0, 2.5, 3.0, 4.0]
    assert land("parquet", path=str(path), as_of="2024-01-03", at=21).ref == before
    assert rows_of(home, land("parquet", path=str(path), as_of="2024-01-21", at=22))["close"].to_list() == [
        1.0,
        2.5,
        3.0,
        4.0,
    ]


def test_a_restatement_after_nothing_but_looks_at_the_past_changes_none_of_them(
    home: Path, land: Any, tmp_path: Path
) -> None:
    path = tmp_path / "bars.csv"
    csv_of(path, 1.0, 2.0)
    before = land("parquet", path=str(path), as_of="2024-01-02", at=10).ref
    csv_of(path, 7.0, 7.0)
    land("parquet", path=str(path), at=20)
    assert land("parquet", path=str(path), as_of="2024-01-02", at=21).ref == before


def test_the_same_file_again_is_the_same_batch(home: Path, land: Any, tmp_path: Path) -> None:
    path = tmp_path / "bars.csv"
    csv_of(path, 1.0, 2.0)
    first, again = land("parquet", path=str(path), at=10), land("parquet", path=str(path), at=11)
    assert again.ref == first.ref
    assert len(Evidence(home).landed_batches("ingest.raw", "test")) == 1


def test_a_batch_over_its_budget_is_kept_as_it_came_and_not_committed(home: Path, land: Any, tmp_path: Path) -> None:
    path = tmp_path / "bars.csv"
    csv_of(path, 1.0, 2.0)
    good = land("parquet", path=str(path), at=10)
    path.write_text("date,symbol,close\n" + "2024-01-03,A:X,bad\n" * 3 + "2024-01-04,A:X,4\n")
    for at in (11, 12):  # asking again does not let it in
        with pytest.raises(GateError, match="excluded 3 of 4 rows"):
            land("parquet", path=str(path), at=at)
    head = Evidence(home).heads()[("ingest.raw", "test")]
    assert head.data["valid"]["sha256"] == good.ref.sha256
    assert [record.data["excluded"] for record in Evidence(home).landed_batches("ingest.raw", "test")] == [
        {},
        {"close_not_a_number": 3},
    ]


def test_a_source_without_parameters_of_its_own_is_a_snapshot() -> None:
    plain = Source("plain", lambda params, sleeve: pl.DataFrame({"close": [1.0]}), NoParams)
    (batch,) = plain.batches(NoParams(), SLEEVE, Landed({}, START))
    assert batch.rows.valid["close"].to_list() == [1.0]
    assert batch.actions is None


def test_options_changed_and_changed_back_leave_every_old_read_as_it_was(home: Path, land: Any, tmp_path: Path) -> None:
    path = tmp_path / "bars.csv"
    csv_of(path, 1.0, 2.0, 3.0)
    land("parquet", path=str(path), at=10)
    before = land("parquet", path=str(path), as_of="2024-01-03", at=11).ref
    land("parquet", path=str(path), venue="B", at=12)
    csv_of(path, 9.0, 9.0, 9.0)
    land("parquet", path=str(path), at=13)
    assert land("parquet", path=str(path), as_of="2024-01-03", at=14).ref == before
    assert rows_of(home, land("parquet", path=str(path), at=15))["close"].to_list() == [9.0, 9.0, 9.0]


def test_a_folder_that_moves_with_its_files_is_the_same_source(land: Any, tmp_path: Path) -> None:
    for name, close in (("here", 1.0), ("there", 5.0)):
        (tmp_path / name).mkdir()
        csv_of(tmp_path / name / "bars.csv", close, 2.0)
    land("parquet", path=str(tmp_path / "here" / "bars.csv"), at=10)
    before = land("parquet", path=str(tmp_path / "here" / "bars.csv"), as_of="2024-01-02", at=11).ref
    land("parquet", path=str(tmp_path / "there" / "bars.csv"), at=12)
    assert land("parquet", path=str(tmp_path / "there" / "bars.csv"), as_of="2024-01-02", at=13).ref == before


def test_a_first_file_that_was_refused_is_mended_before_anybody_read_it(home: Path, land: Any, tmp_path: Path) -> None:
    path = tmp_path / "bars.csv"
    path.write_text("date,symbol,close\n" + "2024-01-01,A:X,bad\n" * 3 + "2024-01-02,A:X,4\n")
    with pytest.raises(GateError):
        land("parquet", path=str(path), at=10)
    csv_of(path, 1.0, 2.0)
    land("parquet", path=str(path), at=11)
    assert rows_of(home, land("parquet", path=str(path), as_of="2024-01-02", at=12))["close"].to_list() == [1.0]


def test_a_look_at_the_past_finishes_a_first_landing_that_was_interrupted(
    home: Path, land: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = played(Feed(is_live=False), monkeypatch)
    feed.fails_after = 1
    with pytest.raises(UnavailableError):
        land(at=30)
    feed.fails_after = None
    assert rows_of(home, land(as_of="2024-01-20", at=31))["date"].n_unique() == 3
    assert feed.asked == [0, 1, 2]


def test_who_looks_while_a_live_landing_is_under_way_sees_nothing_of_it_later(
    home: Path, feed: Feed, new_landing: Callable[..., Landing], land: Any
) -> None:
    now = [START + 3 * DAY]
    landing = new_landing(home)
    landing.clock = lambda: now[0]
    asked = feed.source.function

    def slow(*given: Any) -> Iterator[Batch]:
        for batch in asked(*given):
            now[0] += timedelta(minutes=30)
            yield batch

    source = replace(feed.source, function=slow)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "sources", lambda: {"feed": source})
        raw(params=RawParams(kind="feed"), sleeve=SLEEVE, as_of=None, landing=landing)
    landed = [record.data["known_from"] for record in Evidence(home).landed_batches("ingest.raw", "test")]
    assert min(landed) >= "2024-01-04T00:30"
    with pytest.raises(SourceError, match="had landed at"):
        land(as_of="2024-01-04T00:10", at=9)


def test_a_restatement_without_a_stamp_of_its_own_comes_after_the_stamped_row_it_restates(
    home: Path, land: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "a.csv").write_text("date,symbol,close,known_at\n2024-01-01,A:X,1,2024-01-05\n")
    land("folder", path=str(folder), schemas=[{"pattern": "*.csv"}], at=10)
    (folder / "b.csv").write_text("date,symbol,close\n2024-01-01,A:X,2\n")
    rows = rows_of(home, land("folder", path=str(folder), schemas=[{"pattern": "*.csv"}], at=20))
    assert rows.sort("known_at", "row")["close"].to_list() == [1.0, 2.0]
    assert rows["known_at"][1] == START + 20 * DAY


def test_a_corrected_file_of_actions_replaces_the_one_before(home: Path, land: Any, tmp_path: Path) -> None:
    folder, factors = tmp_path / "files", tmp_path / "factors.csv"
    folder.mkdir()
    csv_of(folder / "a.csv", 100.0, 100.0, 100.0, 50.0)
    options = {"path": str(folder), "factors": str(factors), "schemas": [{"pattern": "*.csv"}]}
    sent = {}
    for at, day in ((10, "2024-01-03"), (20, "2024-01-04")):
        factors.write_text(f"date,symbol,kind,factor\n{day},A:X,split,0.5\n")
        land("folder", at=at, **options)
        head = Evidence(home).heads()[("ingest.raw", "test")]
        sent[at] = Evidence(home).store.read(ref_in(head, "actions"))
    assert [table["date"].to_list() for table in sent.values()] == [[date(2024, 1, 3)], [date(2024, 1, 4)]]
    past = land("folder", at=30, as_of="2024-01-11", **options)
    assert Evidence(home).store.read(ref_in(past.record, "actions"))["date"].to_list() == [date(2024, 1, 3)]


def test_marks_too_many_for_one_record_land_in_several(home: Path, land: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    feed = played(Feed(), monkeypatch)

    def marked(*given: Any) -> Iterator[Batch]:
        for k, batch in enumerate(Feed.batches(feed, *given)):
            yield Batch(batch.rows, batch.request, {f"absent-{k}-{j}": "absent" for j in range(900)})

    feed.source = replace(feed.source, function=marked)
    monkeypatch.setattr(module, "sources", lambda: {"feed": feed.source})
    land(at=3)
    landed = Evidence(home).landed_batches("ingest.raw", "test")
    assert len(landed) == 3
    assert sum(len(record.data["marks"]) for record in landed) == 2_700


def test_a_refused_batch_is_judged_again_by_whoever_would_commit_it(home: Path, land: Any, feed: Feed) -> None:
    land(at=3)
    feed.days, good = 4, Feed.batches

    def broken(*given: Any) -> Iterator[Batch]:
        for batch in good(feed, *given):
            yield Batch(Split(batch.rows.valid.with_columns(symbol=pl.lit("nameless"))), batch.request, batch.marks)

    whole = feed.source
    object.__setattr__(feed, "source", replace(whole, function=broken))
    for at in (4, 5):
        with pytest.raises(GateError, match="excluded 3 of 3 rows"):
            land(at=at)
    feed.source = whole
    with pytest.raises(GateError, match="excluded 3 of 3 rows"):
        land(at=6)
