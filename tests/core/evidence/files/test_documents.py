import os
import subprocess
import sys
from pathlib import Path

import pytest

from quant_core.errors import EvidenceError
from quant_core.evidence.files import documents
from quant_core.evidence.files.documents import make_folder, sweep, temp_file, write_document
from quant_core.evidence.files.writer import Writer, this_process

ROOT = Path(__file__).parents[4]

WRITER = """
import sys
from pathlib import Path
from quant_core.evidence.files.documents import write_document
path = Path(sys.argv[1])
for number in range(10**9):
    write_document(path, bytes([number % 256]) * 4_000_000)
    print(number, flush=True)
"""


def test_a_document_is_written_into_folders_made_for_it_and_replaced_whole(tmp_path):
    path = tmp_path / "a" / "b" / "c.json"
    for content in (b"first", b"second"):
        assert write_document(path, content) == path
        assert path.read_bytes() == content
    assert os.listdir(path.parent) == ["c.json"]


def test_a_document_not_to_be_replaced_stays(tmp_path):
    path = write_document(tmp_path / "c.json", b"first", replace=False)
    with pytest.raises(FileExistsError):
        write_document(path, b"second", replace=False)
    assert path.read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["c.json"]


def test_a_failed_write_leaves_the_old_content_and_no_temp(tmp_path, monkeypatch):
    path = write_document(tmp_path / "c.json", b"first")

    def refuse(place):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(documents, "flush_path", refuse)
    with pytest.raises(EvidenceError, match="Input/output"):
        write_document(path, b"second")
    assert path.read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["c.json"]


def test_bytes_and_name_reach_the_device_in_order(tmp_path, monkeypatch):
    steps = []
    flush_path, replace = documents.flush_path, Path.replace
    monkeypatch.setattr(documents, "flush_path", lambda path: steps.append(path.suffix or "folder") or flush_path(path))
    monkeypatch.setattr(Path, "replace", lambda path, final: steps.append("rename") or replace(path, final))
    write_document(tmp_path / "c.json", b"first")
    assert steps == [".tmp", "rename", "folder"]


def test_each_new_folder_is_made_durable_in_its_parent(tmp_path, monkeypatch):
    flushed = []
    monkeypatch.setattr(documents, "flush_path", flushed.append)
    make_folder(tmp_path / "a" / "b")
    assert flushed == [tmp_path, tmp_path / "a"]


def test_a_sweep_removes_temps_of_the_dead_and_nothing_else(tmp_path):
    dead = [
        Writer(pid=this_process().pid, boot_id=boot, started=started).token
        for boot, started in ((this_process().boot_id, 1), ("another", this_process().started))
    ]
    orphans = sorted(tmp_path / "a" / f".{token}-0.tmp" for token in dead)
    others = [tmp_path / "a" / name for name in (".other.tmp", "c.json", f"{dead[0]}-0.tmp", f".{dead[0]}-0.tmp.json")]
    make_folder(tmp_path / "a")
    for path in orphans + others:
        path.write_bytes(b"x")
    with temp_file(tmp_path / "a") as file:
        file.path.write_bytes(b"x")
        assert sweep(tmp_path) == tuple(orphans)
        assert file.path.exists()
    assert sorted((tmp_path / "a").iterdir()) == sorted(others)
    assert sweep(tmp_path / "absent") == ()


@pytest.mark.faults
def test_a_killed_writer_leaves_no_torn_document(tmp_path):
    path = tmp_path / "c.bin"
    for kill in range(6):
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, cwd=ROOT)
        for _ in range(kill + 1):
            process.stdout.readline()
        process.kill()
        process.communicate()
        content = path.read_bytes()
        assert len(content) == 4_000_000
        assert len(set(content)) == 1
    sweep(tmp_path)
    assert os.listdir(tmp_path) == ["c.bin"]
