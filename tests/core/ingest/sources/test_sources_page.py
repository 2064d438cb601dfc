import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from quant_core.graph.stage import Params
from quant_core.ingest.reading.tabular import TableParams
from quant_core.ingest.sources.defects import Defects
from quant_core.ingest.sources.folder import FileSchema
from quant_core.ingest.sources.source import sources
from quant_core.market.sleeves import read_sleeve

PAGE = (Path(__file__).parents[4] / "docs" / "sources.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```toml\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
# Where the options of a model stand that is no source's own.
SHARED: dict[str, type[Params]] = {"How a file is read": TableParams, "folder": FileSchema, "simulator": Defects}


def section(title: str) -> str:
    found = re.search(rf"^##+ {re.escape(title)}\n(.*?)(?=^##|\Z)", PAGE, flags=re.MULTILINE | re.DOTALL)
    assert found, title
    return found[1]


def options() -> Iterator[tuple[str, str, FieldInfo]]:
    for kind, source in sources().items():
        for name, field in source.params.model_fields.items():
            is_shared = issubclass(source.params, TableParams) and name in TableParams.model_fields
            yield "How a file is read" if is_shared else kind, name, field
    for title, model in SHARED.items():
        for name, field in model.model_fields.items():
            if model is TableParams or name not in TableParams.model_fields:
                yield title, name, field


def said_default(field: FieldInfo) -> str | None:
    value: Any = field.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return "needed"
    if value is None:
        return "none"
    return None if isinstance(value, Params | tuple) else f"`{json.dumps(value)}`"


def choices(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    return tuple(value for part in get_args(annotation) for value in choices(part))


def of_source(text: str) -> dict[str, Any]:
    return dict(tomllib.loads(text)["source"])


def test_every_kind_has_a_section_with_an_example_of_it() -> None:
    for kind in sources():
        shown = re.findall(r"^```toml\n(.*?)^```$", section(kind), flags=re.MULTILINE | re.DOTALL)
        assert [of_source(text)["kind"] for text in shown] == [kind]


@pytest.mark.parametrize(("title", "name", "field"), [pytest.param(*o, id=f"{o[0]}-{o[1]}") for o in options()])
def test_every_option_is_told_with_its_meaning_its_choices_and_its_default(
    title: str, name: str, field: FieldInfo
) -> None:
    rows = [line for line in section(title).splitlines() if line.startswith(f"| `{name}` | {field.description}")]
    assert len(rows) == 1, f"one row: | `{name}` | {field.description} ..."
    default = said_default(field)
    assert default is None or rows[0].endswith(f" | {default} |")
    for choice in choices(field.annotation):
        assert "`" + json.dumps(choice).replace("|", "\\|") + "`" in rows[0]


def test_the_page_tells_no_option_there_is_not() -> None:
    known = {(title, name) for title, name, _ in options()}
    for title in {title for title, _, _ in options()}:
        told = re.findall(r"^\| `(\w+)` \|", section(title), flags=re.MULTILINE)
        assert {(title, name) for name in told} <= known


@pytest.mark.parametrize("text", [pytest.param(text, id=tomllib.loads(text)["sleeve"]["name"]) for text in EXAMPLES])
def test_every_example_is_a_sleeve_its_source_accepts(text: str, tmp_path: Path) -> None:
    path = tmp_path / "example.toml"
    path.write_text(text, encoding="utf-8")
    given = dict(read_sleeve(path).source)
    sources()[given.pop("kind")].options(given)
