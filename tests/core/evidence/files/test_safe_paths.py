import os
from pathlib import Path

import pytest

from quant_core.errors import IntegrityError
from quant_core.evidence.files.safe_paths import open_below, refuse_links


def write_file(path: Path, content: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_a_file_below_the_root_is_opened_and_the_root_may_be_a_link(tmp_path: Path) -> None:
    write_file(tmp_path / "root" / "a" / "b")
    (tmp_path / "link").symlink_to(tmp_path / "root")
    for root in (tmp_path / "root", tmp_path / "link"):
        with os.fdopen(open_below(root, ["a", "b"]), "rb") as file:
            assert file.read() == b"x"
        refuse_links(root, ["a"])
    with pytest.raises(FileNotFoundError):
        open_below(tmp_path / "root", ["a", "c"])
    refuse_links(tmp_path / "root", ["none", "there"])


@pytest.mark.parametrize("target", ["outside", "root/other", "nowhere"])
@pytest.mark.parametrize("where", ["a", "a/b", "a/b/file"])
def test_no_link_on_the_way_is_followed_wherever_it_leads(tmp_path: Path, where: str, target: str) -> None:
    root = tmp_path / "root"
    write_file(root / "a" / "b" / "file")
    for place in ("outside", "root/other"):
        write_file(tmp_path / place / "b" / "file", b"secret")
        write_file(tmp_path / place / "file", b"secret")
    moved = root / where
    moved.rename(tmp_path / "moved")
    moved.symlink_to(tmp_path / target if where != "a/b/file" else tmp_path / target / "file")
    with pytest.raises(IntegrityError, match=f"{where} is a link or not a folder"):
        open_below(root, ["a", "b", "file"])
    if where != "a/b/file":
        with pytest.raises(IntegrityError, match="nothing is written outside"):
            refuse_links(root, ["a", "b"])


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("folder", "pipe"):
        with pytest.raises(IntegrityError, match="not a regular file"):
            open_below(tmp_path, [name])
    write_file(tmp_path / "file")
    with pytest.raises(IntegrityError, match="link or not a folder"):
        open_below(tmp_path, ["file", "below"])
