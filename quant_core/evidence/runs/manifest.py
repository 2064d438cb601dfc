"""The manifest: all inputs of a run, enough to run it again. Its results are in its commit records.

It holds no time, host or path; `host_facts` go into the ledger.
"""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import re
import socket
import stat
import subprocess
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from quant_core.bounds import read_at_most
from quant_core.errors import ConflictError, EvidenceError, IntegrityError, MissingVersionError, UsageError
from quant_core.evidence.files.documents import write_document
from quant_core.evidence.files.names import encode_name
from quant_core.evidence.ledger.canonical import (
    LARGEST_JSON,
    MAX_EXACT_INT,
    PayloadError,
    canonical_bytes,
    strict_object,
)
from quant_core.evidence.runs.modules import module_hashes

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator

FORMAT = 1
_SHA256 = r"^[0-9a-f]{64}$"
_GIT_SECONDS = 20
# Larger untracked files are data, hashed by name and size: reading gigabytes would delay every run.
_LARGEST_SOURCE = 1 << 20


class _Facts(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class CodeFacts(_Facts):
    """The code that ran. A null has its reason in `git_reason`; nothing is called "unknown".

    `modules` has one hash per module of the core, which comments do not change; null in manifests of older versions.
    """

    git_commit: str | None
    is_dirty: bool | None
    dirty_hash: str | None
    git_reason: str | None
    source_hash: str = Field(pattern=_SHA256)
    lock_hash: str | None
    packages: dict[str, str]
    modules: dict[str, str] | None = None


class SleeveFileFacts(_Facts):
    """The sleeve file that was read: its name without folders, and the hash of its bytes; null without a file."""

    name: str
    sha256: str | None = Field(pattern=_SHA256)


class Manifest(_Facts):
    """Inputs of one run.

    `sleeve_definition` is the sleeve as its file declared it, null in manifests of older versions. `params` and
    `origins` go by stage id; `inputs` by "stage/sleeve", the versions committed before this run that it reads;
    `pins` is the state of the ledger it reads.
    """

    format: Literal[1] = 1
    run_id: str = Field(min_length=1)
    sleeve: str
    as_of: str | None
    seed: int = Field(ge=0, le=MAX_EXACT_INT)
    code: CodeFacts
    sleeve_file: SleeveFileFacts
    sleeve_definition: dict[str, JsonValue] | None = None
    params: dict[str, dict[str, JsonValue]]
    origins: dict[str, dict[str, str]]
    inputs: dict[str, str]
    pins: dict[str, JsonValue]


@functools.cache
def _validator() -> Draft202012Validator:
    import jsonschema

    return jsonschema.Draft202012Validator(manifest_schema())


def manifest_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a manifest file."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Manifest.model_json_schema()}


def manifest_path(home: Path, run_id: str) -> Path:
    """Return the path of the manifest of a run."""
    return home / "runs" / encode_name(run_id) / "manifest.json"


def write_manifest(home: Path, manifest: Manifest) -> tuple[Path, str]:
    """Write a manifest; return its path and SHA-256.

    Writing an equal one again changes nothing. A different one under the same run id is a ConflictError.
    """
    content = canonical_bytes(manifest.model_dump(mode="json"), indented=True)
    if Manifest.model_validate_json(content) != manifest:
        raise UsageError(
            "params or pins hold a number JSON cannot store exactly (NaN, infinity, beyond 2**53). Change it."
        )
    if len(content) > LARGEST_JSON:
        raise UsageError(f"the manifest of run {manifest.run_id} has {len(content)} bytes; at most {LARGEST_JSON}")
    path = manifest_path(home, manifest.run_id)
    try:
        write_document(path, content, replace=False)
    except FileExistsError:
        if path.read_bytes() != content:
            raise ConflictError(
                f"run {manifest.run_id} has another manifest already ({path}). Use a new run id."
            ) from None
    return path, hashlib.sha256(content).hexdigest()


def read_manifest(home: Path, run_id: str, *, sha256: str | None = None) -> Manifest:
    """Read a manifest; with `sha256`, taken from the run's genesis record, its bytes must have that hash."""
    path = manifest_path(home, run_id)
    try:
        content = read_at_most(path, LARGEST_JSON)
    except FileNotFoundError as error:
        raise MissingVersionError(f"run {run_id} has no manifest in {home}.") from error
    except OSError as error:
        raise IntegrityError(f"{path} is not a valid manifest: {error.strerror}.") from error
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise IntegrityError(f"{path} is not the manifest recorded for run {run_id}. Restore it.")
    import jsonschema  # a run is opened and stages are loaded without it

    try:
        value = strict_object(content)
        if value.get("format", FORMAT) != FORMAT:
            raise EvidenceError(
                f"{path} has format {value['format']!r}; this version reads {FORMAT}. Upgrade quant-assets."
            )
        _validator().validate(value)
        manifest = Manifest.model_validate_json(content)
    except jsonschema.ValidationError as error:
        raise IntegrityError(f"{path} is not a valid manifest: {error.json_path}: {error.message:.200}") from error
    except (PayloadError, ValidationError) as error:
        raise IntegrityError(f"{path} is not a valid manifest: {error}") from error
    if manifest.run_id != run_id:
        raise IntegrityError(f"{path} is the manifest of run {manifest.run_id}, not of {run_id}.")
    return manifest


def code_facts(root: Path) -> CodeFacts:
    """Return the code facts of a checkout or installation; `root` is the folder that holds `quant_core`.

    The dirty hash covers changes against the commit and untracked files; ignored files do not count.
    """
    sources = sorted((root / "quant_core").rglob("*.py"))
    if not sources:
        raise UsageError(f"{root} does not hold quant_core. Give the folder that contains the package.")
    locks = sorted((root / "locks").glob("*.txt"))
    return CodeFacts(
        **_git_facts(root),
        source_hash=_hash_of(root, sources),
        lock_hash=_hash_of(root, locks) if locks else None,
        packages=_packages(),
        modules=module_hashes(root),
    )


def host_facts() -> dict[str, Any]:
    """Return facts about the machine, for the genesis record."""
    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpu_count": os.cpu_count(),
        "hostname": socket.gethostname(),
    }


def _git_facts(root: Path) -> dict[str, Any]:
    try:
        if Path(os.fsdecode(_git(root, "rev-parse", "--show-toplevel").rstrip(b"\n"))) != root.resolve():
            return _no_git(f"{root} is not the top of a git checkout")
        commit = _git(root, "rev-parse", "--verify", "HEAD").decode("ascii").strip()
        changes = _git(root, "diff", "HEAD", "--binary", "--no-color", "--no-ext-diff", "--no-textconv")
        untracked = _git(root, "ls-files", "--others", "--exclude-standard", "-z").split(b"\0")[:-1]
    except FileNotFoundError:
        return _no_git("git is not installed")
    except subprocess.TimeoutExpired:
        return _no_git(f"git did not answer within {_GIT_SECONDS} s")
    except subprocess.CalledProcessError as error:
        return _no_git(f"git: {error.stderr.decode(errors='replace').strip().partition(chr(10))[0]}")
    if not changes and not untracked:
        return {"git_commit": commit, "is_dirty": False, "dirty_hash": None, "git_reason": None}
    added = _hash_of(root, sorted(root / os.fsdecode(name) for name in untracked), largest=_LARGEST_SOURCE)
    dirty_hash = hashlib.sha256(changes + added.encode()).hexdigest()
    return {"git_commit": commit, "is_dirty": True, "dirty_hash": dirty_hash, "git_reason": None}


def _no_git(reason: str) -> dict[str, Any]:
    return {"git_commit": None, "is_dirty": None, "dirty_hash": None, "git_reason": reason}


def _git(root: Path, *arguments: str) -> bytes:
    command = ["git", "--no-optional-locks", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, check=True, timeout=_GIT_SECONDS).stdout


def _hash_of(root: Path, files: Iterable[Path], *, largest: int | None = None) -> str:
    """Hash files by name and content; those over `largest` bytes, links and folders by name and size."""
    digest = hashlib.sha256()
    for path in files:
        status = path.lstat()
        digest.update(os.fsencode(path.relative_to(root)) + b"\0")
        if stat.S_ISREG(status.st_mode) and (largest is None or status.st_size <= largest):
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        else:
            digest.update(f"size {status.st_size}".encode())
    return digest.hexdigest()


def _packages() -> dict[str, str]:
    # Of two distributions with one name, Python imports the first.
    found: dict[str, str] = {}
    for distribution in metadata.distributions():
        found.setdefault(re.sub(r"[-_.]+", "-", distribution.name).lower(), distribution.version)
    return dict(sorted(found.items()))
