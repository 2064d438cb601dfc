"""Delimited text as columns of text: each line is a row, blank, ragged, or cut off at the end of the file.

Lines are counted in the bytes before a reader sees them: readers fill a short line with nulls and take a number that
was cut in two for a number. What the text means lives in parsing.py, which columns are wanted in tabular.py.
"""

from __future__ import annotations

import codecs
import csv
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from quant_core.errors import SourceError
from quant_core.market.contracts.split import excluded_rows

_CHUNK = 1 << 20
_SHOWN, _NAMED = 80, 20
_LF, _CR, _QUOTE = 10, 13, 34
Bytes = npt.NDArray[np.uint8]
Places = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Delimited:
    """A delimited text, cut into lines.

    Attributes
    ----------
    names : tuple of str
        The header.
    rows : Series of Int64
        Positions of the whole lines below the header; blank lines are counted, but are not rows.
    exclusions : DataFrame
        The other lines, `record` holding the line as it is: `ragged_row` has more or fewer fields than the header,
        `truncated_line` has no line end.
    body : bytes
        UTF-8: the header and the whole lines.
    separator, where : str
        As given.
    """

    names: tuple[str, ...]
    rows: pl.Series
    exclusions: pl.DataFrame
    body: bytes
    separator: str
    where: str

    def columns(self, names: Mapping[str, str]) -> pl.DataFrame:
        """Return `row` and columns of text under new names; null where a field is empty and not quoted."""
        if self.rows.is_empty():
            return pl.DataFrame(schema={"row": pl.Int64, **dict.fromkeys(names.values(), pl.String)})
        places = [self.names.index(name) for name in names]
        table = pl.read_csv(
            self.body,
            has_header=False,
            skip_rows=1,
            columns=sorted(places),
            separator=self.separator,
            infer_schema=False,
        )
        if table.height != len(self.rows):
            raise SourceError(f"{self.where}: {len(self.rows)} lines were read as {table.height} rows.")
        column_at = dict(zip(sorted(places), table.columns, strict=True))
        ours = zip(names.values(), places, strict=True)
        return table.select(self.rows.alias("row"), **{name: pl.col(column_at[place]) for name, place in ours})


def cut_lines(content: bytes, *, encoding: str, separator: str, where: str) -> Delimited:
    """Cut a delimited text into lines and count their fields.

    Parameters
    ----------
    content : bytes
        A header and one row per line; lines end in LF or CRLF. Values may be quoted, but not run over several lines.
    encoding : str
        Name of a codec; a byte order mark is fine. Read strictly: nothing is replaced.
    separator : str
        One ASCII character.
    where : str
        The source, for error messages.

    Raises
    ------
    SourceError
        The bytes are not text in that encoding, no line is below the header, a quote is not where a value begins
        or ends, or a name is in the header twice.
    """
    text = _utf8(content, encoding, where)
    if text.endswith(b"\r"):  # cut inside CRLF: the line itself is whole
        text += b"\n"
    whole, tail = text[: text.rfind(b"\n") + 1], text[text.rfind(b"\n") + 1 :]
    buffer = np.frombuffer(whole, dtype=np.uint8)
    ends = np.flatnonzero(buffer == _LF)
    starts = np.concatenate([[0], ends[:-1] + 1]) if ends.size else ends
    fields = _fields(buffer, starts, ends, ord(separator), where)
    lengths = ends - starts - ((ends > starts) & (buffer[ends - 1] == _CR))
    is_blank = lengths == fields - 1  # nothing but separators
    if is_blank.all():
        begins = f"; it begins with {_show_line(text)}" if text.strip() else ""
        raise SourceError(f"{where} has no rows{begins}.")
    top = int(np.argmin(is_blank))
    names = _header(whole[starts[top] : ends[top]], separator, where)
    is_ragged = ~is_blank & (fields != len(names))
    lost = [
        _ragged_lines(buffer, is_ragged, starts, ends, fields, top, len(names)),
        _truncated_line(tail, ends.size - top - 1),
    ]
    rows = np.flatnonzero(~is_blank & ~is_ragged)[1:] - top - 1
    exclusions = pl.concat(lost)
    if rows.size == exclusions.height == 0:
        raise SourceError(f"{where} has no rows.")
    left_out = is_blank | is_ragged
    body = buffer[np.repeat(~left_out, ends - starts + 1)].tobytes() if left_out.any() else whole
    return Delimited(names, pl.Series("row", rows, dtype=pl.Int64), exclusions, body, separator, where)


def _utf8(content: bytes, encoding: str, where: str) -> bytes:
    """Return the text in UTF-8 without byte order mark; an incomplete last character is dropped."""
    decoder = codecs.getincrementaldecoder(encoding)()
    is_utf8 = codecs.lookup(encoding).name == "utf-8"
    parts: list[bytes] = []
    try:
        for at in range(0, len(content), _CHUNK):
            decoded = decoder.decode(content[at : at + _CHUNK])
            if not is_utf8:
                parts.append(decoded.encode())
    except UnicodeError as error:
        said = f"{where} is not text in {encoding} ({error}); name its encoding in the option `encoding`."
        raise SourceError(said) from error
    text = content if is_utf8 else b"".join(parts)
    if b"\0" in text:
        raise SourceError(f"{where} holds NUL bytes: no text in {encoding}; is the option `encoding` another, or none?")
    return text.removeprefix(codecs.BOM_UTF8)


def _fields(buffer: Bytes, starts: Places, ends: Places, separator: int, where: str) -> Places:
    """Return the number of fields of each line: separators outside quotes, plus one."""
    cuts, quotes = np.flatnonzero(buffer == separator), np.flatnonzero(buffer == _QUOTE)
    if quotes.size:
        runs_on = np.searchsorted(quotes, ends) % 2 == 1
        if runs_on.any():
            raise _misplaced_quote("runs over several lines", buffer, starts, ends, int(np.argmax(runs_on)), where)
        opening, closing = quotes[::2], quotes[1::2]
        is_begun = (opening == 0) | np.isin(buffer[opening - 1], [separator, _LF, _QUOTE])
        is_ended = np.isin(buffer[closing + 1], [separator, _LF, _CR, _QUOTE])
        if not (is_begun & is_ended).all():
            line = int(np.searchsorted(ends, opening[np.argmin(is_begun & is_ended)]))
            raise _misplaced_quote("begins or ends inside a field", buffer, starts, ends, line, where)
        cuts = cuts[np.searchsorted(quotes, cuts) % 2 == 0]
    return np.searchsorted(cuts, ends) - np.searchsorted(cuts, starts) + 1


def _misplaced_quote(what: str, buffer: Bytes, starts: Places, ends: Places, line: int, where: str) -> SourceError:
    shown = _show_line(buffer[starts[line] : ends[line]].tobytes())
    return SourceError(f"{where}: a quoted value {what} at line {line + 1}, {shown}; is a quote missing?")


def _header(line: bytes, separator: str, where: str) -> tuple[str, ...]:
    try:
        names = next(csv.reader([line.decode().rstrip("\r")], delimiter=separator))
    except csv.Error as error:
        raise SourceError(f"{where} has no header that can be read: {error}.") from error
    twice = sorted(name for name, count in Counter(names).items() if name and count > 1)
    if twice:
        raise SourceError(f"{where}: {', '.join(twice[:_NAMED])} is in the header twice; rename one.")
    return tuple(names)


def _ragged_lines(
    buffer: Bytes, is_ragged: npt.NDArray[np.bool_], starts: Places, ends: Places, fields: Places, top: int, width: int
) -> pl.DataFrame:
    text = buffer[np.repeat(is_ragged, ends - starts + 1)].tobytes().decode()
    lines = pl.DataFrame(
        {
            "row": np.flatnonzero(is_ragged) - top - 1,
            "line": pl.Series(text.split("\n")[:-1], dtype=pl.String).str.strip_suffix("\r"),
            "fields": fields[is_ragged],
        }
    ).filter(pl.col("line").str.strip_chars() != "")
    said = lines.select(pl.format("{} fields where the header has {}", "fields", pl.lit(width)).alias("detail"))
    return excluded_rows(lines.drop("fields"), "ragged_row", said["detail"])


def _truncated_line(tail: bytes, row: int) -> pl.DataFrame:
    line = tail.decode(errors="replace")
    lines = pl.DataFrame({"row": [row], "line": [line]}, schema={"row": pl.Int64, "line": pl.String})
    return excluded_rows(lines.filter(bool(line.strip())), "truncated_line", "the source ends inside this line")


def _show_line(text: bytes) -> str:
    return repr(text.strip()[:_SHOWN].decode(errors="replace"))
