import sys
from pathlib import Path

import pytest

from quant_core.errors import UnknownNameError, UsageError
from quant_core.graph.catalog import collect
from quant_core.graph.stage import TableRule

ENTRY = "from quant_core.graph.stage import TableRule\n{name} = TableRule('{entry}', lambda frame: None)\n"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    folder = tmp_path / "room_under_test"
    folder.mkdir()
    (folder / "__init__.py").touch()
    yield folder  # type: ignore[misc]
    for name in [name for name in sys.modules if name.startswith("room_under_test")]:
        del sys.modules[name]


def test_a_new_file_is_found_without_editing_a_list(package: Path) -> None:
    (package / "one.py").write_text(ENTRY.format(name="a", entry="first"))
    (package / "two.py").write_text(ENTRY.format(name="b", entry="second"))
    assert list(collect("room_under_test", TableRule)) == ["first", "second"]


def test_two_entries_of_one_name_are_an_error(package: Path) -> None:
    (package / "one.py").write_text(ENTRY.format(name="a", entry="same"))
    (package / "two.py").write_text(ENTRY.format(name="b", entry="same"))
    with pytest.raises(UsageError, match="named 'same'"):
        collect("room_under_test", TableRule)


def test_one_entry_seen_from_two_modules_is_one_entry(package: Path) -> None:
    (package / "one.py").write_text(ENTRY.format(name="a", entry="same"))
    (package / "two.py").write_text("from room_under_test.one import a\n")
    assert len(collect("room_under_test", TableRule)) == 1


def test_a_module_that_does_not_import_fails_loudly(package: Path) -> None:
    (package / "broken.py").write_text("import no_such_module\n")
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        collect("room_under_test", TableRule)


def test_an_unknown_name_lists_the_near_ones(package: Path) -> None:
    (package / "one.py").write_text(ENTRY.format(name="a", entry="momentum"))
    entries = collect("room_under_test", TableRule, title="factor")
    with pytest.raises(UnknownNameError, match=r"unknown factor 'momentun'\. Did you mean momentum"):
        entries["momentun"]
    assert "momentun" not in entries
