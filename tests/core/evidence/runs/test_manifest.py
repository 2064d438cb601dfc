import json
import subprocess
from pathlib import Path

import jsonschema
import pytest
from pydantic import ValidationError

from quant_core.errors import ConflictError, EvidenceError, IntegrityError, MissingVersionError, UsageError
from quant_core.evidence.runs import manifest as module
from quant_core.evidence.runs.manifest import (
    CodeFacts,
    Manifest,
    SleeveFileFacts,
    code_facts,
    host_facts,
    manifest_schema,
    read_manifest,
    write_manifest,
)


def manifest(**change: object) -> Manifest:
    code = CodeFacts(
        git_commit=None,
        is_dirty=None,
        dirty_hash=None,
        git_reason="git is not installed",
        source_hash="0" * 64,
        lock_hash=None,
        packages={"polars": "2.1.0"},
    )
    given = {
        "run_id": "run/1",
        "sleeve": "us",
        "as_of": None,
        "seed": 7,
        "code": code,
        "sleeve_file": SleeveFileFacts(name="us.toml", sha256=None),
        "params": {"alpha.factors": {"window": 20, "names": ["a", "é"], "floor": 0.1}},
        "origins": {"alpha.factors": {"window": "sleeve file"}},
        "inputs": {"ingest.bars/us": "1" * 64},
        "pins": {"seq": -1, "champions": [], "trials": {}},
    }
    return Manifest(**{**given, **change})


def checkout(root: Path) -> Path:
    (root / "quant_core").mkdir(parents=True)
    (root / "quant_core" / "a.py").write_text("a = 1\n")
    return root


def git(root: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(root), *identity, *arguments], check=True, capture_output=True)


def test_a_manifest_comes_back_equal_and_meets_its_schema(tmp_path):
    path, sha256 = write_manifest(tmp_path, manifest())
    assert path == tmp_path / "runs" / "run%2f1" / "manifest.json"
    assert read_manifest(tmp_path, "run/1", sha256=sha256) == manifest()
    jsonschema.Draft202012Validator.check_schema(manifest_schema())
    jsonschema.validate(json.loads(path.read_bytes()), manifest_schema())


def test_an_equal_manifest_is_written_once_and_another_is_a_conflict(tmp_path):
    first = write_manifest(tmp_path, manifest())
    assert write_manifest(tmp_path, manifest()) == first
    with pytest.raises(ConflictError, match="run/1"):
        write_manifest(tmp_path, manifest(seed=8))
    assert read_manifest(tmp_path, "run/1") == manifest()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**53 + 1])
def test_a_parameter_that_would_not_come_back_is_refused(tmp_path, value):
    with pytest.raises(UsageError):
        write_manifest(tmp_path, manifest(params={"a.b": {"x": value}}))
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "change", [{"seed": -1}, {"seed": 2**53 + 1}, {"seed": "7"}, {"host": "x"}, {"run_id": ""}, {"format": 2}]
)
def test_the_model_takes_no_other_fields_or_types(change):
    with pytest.raises(ValidationError):
        manifest(**change)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"seed": 7', b'"seed": "7"'),
        (b'"seed": 7', b'"seed": 7, "seed": 7'),
        (b'"seed": 7', b'"seed": 7, "extra": 1'),
        (b'"seed": 7,', b""),
        (b'"run_id": "run/1"', b'"run_id": "run/2"'),
        (b'"0000', b'"000'),
        (b"{", b""),
        (b"us.toml", b"us.\xff"),
    ],
)
def test_a_damaged_manifest_is_refused(tmp_path, old, new):
    path, sha256 = write_manifest(tmp_path, manifest())
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, 1))
    with pytest.raises(IntegrityError):
        read_manifest(tmp_path, "run/1")
    path.write_bytes(content.replace(b'"seed": 7', b'"seed": 8'))
    assert read_manifest(tmp_path, "run/1").seed == 8
    with pytest.raises(IntegrityError, match="recorded"):
        read_manifest(tmp_path, "run/1", sha256=sha256)


def test_a_missing_manifest_and_a_newer_one_are_told_apart(tmp_path):
    with pytest.raises(MissingVersionError):
        read_manifest(tmp_path, "run/1")
    path, _ = write_manifest(tmp_path, manifest())
    path.write_bytes(path.read_bytes().replace(b'"format": 1', b'"format": 2'))
    with pytest.raises(EvidenceError, match="Upgrade"):
        read_manifest(tmp_path, "run/1")


def test_a_clean_a_changed_and_an_added_file_are_three_states_of_the_code(tmp_path):
    root = checkout(tmp_path / "r")
    git(root, "init")
    assert "HEAD" in code_facts(root).git_reason or "revision" in code_facts(root).git_reason
    git(root, "add", ".")
    git(root, "commit", "-m", "one")
    clean = code_facts(root)
    assert (clean.is_dirty, clean.dirty_hash, clean.git_reason, len(clean.git_commit)) == (False, None, None, 40)
    (root / "quant_core" / "a.py").write_text("a = 2\n")
    changed = code_facts(root)
    (root / "notes.txt").write_text("x")
    added = code_facts(root)
    (root / "notes.txt").write_text("y")
    edited = code_facts(root)
    assert {facts.is_dirty for facts in (changed, added, edited)} == {True}
    assert len({facts.dirty_hash for facts in (clean, changed, added, edited)}) == 4
    assert changed.source_hash != clean.source_hash
    assert changed.source_hash == edited.source_hash
    assert code_facts(root) == edited


def test_a_missing_git_is_null_with_a_reason(tmp_path, monkeypatch):
    root = checkout(tmp_path)

    def fails(error):
        def run(*arguments, **options):
            raise error

        monkeypatch.setattr(module.subprocess, "run", run)
        return code_facts(root)

    for error, reason in (
        (FileNotFoundError("git"), "not installed"),
        (subprocess.TimeoutExpired("git", 20), "did not answer"),
        (
            subprocess.CalledProcessError(128, "git", stderr=b"fatal: not a git repository\nmore"),
            "not a git repository",
        ),
    ):
        facts = fails(error)
        assert (facts.git_commit, facts.is_dirty, facts.dirty_hash) == (None, None, None)
        assert reason in facts.git_reason


def test_code_inside_somebody_elses_checkout_is_not_given_its_commit(tmp_path):
    git(tmp_path, "init")
    facts = code_facts(checkout(tmp_path / "site-packages"))
    assert facts.git_commit is None
    assert "not the top" in facts.git_reason


def test_source_and_lock_hashes_follow_names_and_bytes(tmp_path):
    root = checkout(tmp_path)
    before = code_facts(root)
    assert before.lock_hash is None
    assert "polars" in before.packages
    (root / "locks").mkdir()
    (root / "locks" / "base.txt").write_text("polars==2.1.0\n")
    (root / "quant_core" / "a.py").rename(root / "quant_core" / "b.py")
    after = code_facts(root)
    assert after.lock_hash is not None
    assert after.source_hash != before.source_hash
    with pytest.raises(UsageError):
        code_facts(tmp_path / "locks")


def test_host_facts_are_json():
    facts = host_facts()
    assert json.loads(json.dumps(facts)) == facts
    assert set(facts) == {"python", "implementation", "platform", "machine", "cpu_count", "hostname"}
