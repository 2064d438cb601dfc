import os
import random
from collections import Counter
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from polars.testing import assert_frame_equal

from quant_core.errors import IntegrityError, SourceError
from quant_core.evidence.store.store import Store
from quant_core.ingest.reading.tabular import TableParams, file_rows
from quant_core.ingest.reading.untrusted import close_decoder
from quant_core.market.calendar import Calendar
from quant_core.market.contracts.split import Split

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

FLIPS, CUTS = 10_000, 500
DAYS, SYMBOLS = 100, 20


def bars() -> pl.DataFrame:
    rng = np.random.default_rng(1)
    rows = DAYS * SYMBOLS
    return pl.DataFrame(
        {
            "date": [date(2024, 1, 1) + timedelta(days=day) for day in range(DAYS)] * SYMBOLS,
            "symbol": [f"X:{number:03}" for number in range(SYMBOLS) for _ in range(DAYS)],
            "close": rng.lognormal(size=rows),
            "volume": [None if number % 7 == 0 else float(number) for number in range(rows)],
        }
    )


def test_no_flipped_byte_and_no_cut_gets_through_the_store(tmp_path: Path) -> None:
    """Sizes and times of the damaged file are those of the sound one wherever that can be arranged."""
    store, rng = Store(tmp_path), random.Random(1)
    frame = bars()
    ref = store.write(frame, stage="ingest.bars", sleeve="us", key=["symbol", "date"])
    path = tmp_path / ref.path
    sound = path.read_bytes()
    os.utime(path, ns=(10**18, 10**18))
    assert_frame_equal(store.read(ref), frame.sort("symbol", "date"))
    found: Counter[str] = Counter()
    for number in range(FLIPS + CUTS):
        if number < FLIPS:
            place = rng.randrange(len(sound))
            harmed = sound[:place] + bytes([sound[place] ^ rng.randrange(1, 256)]) + sound[place + 1 :]
        else:
            harmed = sound[: rng.randrange(len(sound))]
        path.write_bytes(harmed)
        os.utime(path, ns=(10**18, 10**18))
        try:
            store.read(ref)
            found["silent"] += 1
        except IntegrityError:
            found["typed"] += 1
    assert found == {"typed": FLIPS + CUTS}
    path.write_bytes(sound)
    assert_frame_equal(store.read(ref), frame.sort("symbol", "date"))


def files(folder: Path) -> dict[str, bytes]:
    """Return the same bars as several writers pack them."""
    path, frame = folder / "bars.parquet", bars()
    found = {}
    for name, settings in {"zstd": {"compression": "zstd"}, "plain": {"compression": "uncompressed"}}.items():
        frame.write_parquet(path, **settings)
        found[name] = path.read_bytes()
    pq.write_table(frame.to_arrow(), path, compression="snappy")
    found["snappy"] = path.read_bytes()
    pq.write_table(frame.to_arrow(), path, compression="none", data_page_version="2.0", use_dictionary=False)
    found["pages of version 2"] = path.read_bytes()
    return found


@pytest.mark.parametrize("place", ["anywhere", "footer"])
def test_no_flipped_byte_and_no_cut_of_a_users_file_ends_this_process_or_is_an_untyped_error(
    tmp_path: Path, place: str
) -> None:
    """Nobody recorded what the file holds, so other values can be read of it; what is read is a table all the same."""
    rng, market, params = random.Random(place), Calendar("24/7"), TableParams()
    path = tmp_path / "bars.parquet"
    found: Counter[str] = Counter()
    contents = files(tmp_path)
    flips, cuts = FLIPS // 2 // len(contents), -(-CUTS // 2 // len(contents))
    for content in contents.values():
        footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
        for number in range(flips + cuts):
            if number < flips:
                at = rng.randrange(footer if place == "footer" else 0, len(content))
                harmed = content[:at] + bytes([content[at] ^ rng.randrange(1, 256)]) + content[at + 1 :]
            else:
                harmed = content[: rng.randrange(len(content))]
            try:
                rows, _ = file_rows(path, params, market, content=harmed)
            except SourceError as error:
                said = str(error)
                found["unnamed" if str(path) not in said else "ended" if "decodes it" in said else "typed"] += 1
            else:
                assert isinstance(rows, Split)
                found["read"] += 1
    close_decoder()
    assert found.total() == (flips + cuts) * len(contents) >= (FLIPS + CUTS) // 2
    assert found["typed"] >= cuts * len(contents)
    assert found["ended"] == found["unnamed"] == 0
