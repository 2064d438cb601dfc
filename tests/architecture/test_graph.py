import ast
import os
import re
import shutil
import subprocess
import sys
from datetime import date
from pathlib import Path

import dagster as dg
import pytest
from syrupy.assertion import SnapshotAssertion

from quant_assets.location import code_location
from quant_core.graph.registry import StageRegistry
from quant_core.settings import CHECKOUT

pytestmark = [
    # Calls dagster makes itself.
    pytest.mark.filterwarnings(
        "ignore:The `__fields__` attribute is deprecated:pydantic.warnings.PydanticDeprecatedSince20"
    ),
    pytest.mark.filterwarnings("ignore:.*include_sources.*:dagster.BetaWarning"),
]
PLATFORM = sorted((CHECKOUT / "quant_assets").rglob("*.py"))
LOCATION = "import os, definitions; from quant_assets.location import code_location; code_location(os.environ)"


SLEEVES = ("crypto_sim", "us_equities")
FAMILIES = {"trend", "volatility", "predictability", "liquidity", "tail", "ratings", "alpha101", "alpha158"}


@pytest.fixture(scope="module")
def definitions(tmp_path_factory: pytest.TempPathFactory) -> dg.Definitions:
    """The code location of the sleeves that come with the project, whatever else lies beside them."""
    folder = tmp_path_factory.mktemp("sleeves")
    for name in SLEEVES:
        shutil.copy(CHECKOUT / "config" / "sleeves" / f"{name}.toml", folder)
    return code_location({"QUANT_SLEEVES": str(folder)}, today=date(2025, 12, 31))


def is_reviewed(key: dg.AssetKey) -> bool:
    """Return whether the snapshot holds an asset: a family that somebody adds is made by the rule of the others."""
    return key.path[0] != "features" or key.path[1] in FAMILIES


def printed_by(code: str) -> str:
    environ = {**os.environ, "DAGSTER_HOME": str(CHECKOUT)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=CHECKOUT, env=environ, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_graph_is_the_one_reviewed(definitions: dg.Definitions, snapshot: SnapshotAssertion) -> None:
    graph = definitions.resolve_asset_graph()
    assets = {
        key.to_user_string(): {
            "group": graph.get(key).group_name,
            "parents": sorted(parent.to_user_string() for parent in graph.get(key).parent_keys if is_reviewed(parent)),
            "checks": sorted(check.name for check in graph.get(key).check_keys),
            "kinds": sorted(graph.get(key).kinds),
        }
        for key in sorted(graph.get_all_asset_keys())
        if is_reviewed(key)
    }
    repository = definitions.get_repository_def()
    assert {
        "assets": assets,
        "jobs": sorted(name for name in repository.job_names if not name.startswith("__")),
        "schedules": {s.name: (s.cron_schedule, s.default_status.value) for s in repository.schedule_defs},
        "sensors": {s.name: s.default_status.value for s in repository.sensor_defs},
        "partitions": sorted(
            definitions.resolve_asset_graph().get(dg.AssetKey(["ingest", "raw"])).partitions_def.get_partition_keys()
        ),
    } == snapshot


def test_every_stage_is_an_asset_with_its_gate_its_owner_and_its_columns(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    for spec in StageRegistry.load("quant_core").values():
        asset = graph.get(dg.AssetKey(spec.id.split(".")))
        assert {parent.to_user_string() for parent in asset.parent_keys} == {
            id.replace(".", "/") for id in spec.parents
        }
        assert (asset.group_name, list(asset.owners)) == (spec.room, ["team:quant"])
        assert asset.description.strip()
        columns = asset.metadata["dagster/column_schema"].columns
        assert [column.name for column in columns] == list(spec.output.dtypes)
        assert graph.get(dg.AssetCheckKey(asset.key, "contract")).blocking


def test_everything_the_definitions_name_can_be_loaded(definitions: dg.Definitions) -> None:
    dg.Definitions.validate_loadable(definitions)


def test_loading_the_definitions_loads_no_tracker_no_engine_no_compiler_no_plots() -> None:
    code = f"{LOCATION}; import sys; print(' '.join(sorted(m.partition('.')[0] for m in sys.modules)))"
    loaded = set(printed_by(code).split())
    assert {"dagster", "quant_core"} <= loaded
    assert not loaded & {"mlflow", "dagster_mlflow", "ray", "numba", "matplotlib", "skfolio", "scipy", "sklearn"}


@pytest.mark.skipif(sys.platform != "linux", reason="reads the names of threads from /proc")
def test_what_a_process_per_step_is_forked_from_has_not_used_polars() -> None:
    threads = "print(*sorted(open(f'/proc/self/task/{t}/comm').read() for t in os.listdir('/proc/self/task')))"
    used = "import polars as pl; pl.DataFrame({'a': [2, 1]}).sort('a')"
    assert re.search(r"polars-\d", printed_by(f"import os; {used}; {threads}"))  # this is how such a thread would show
    assert not re.search(r"polars-\d", printed_by(f"import os, quant_assets.location, definitions; {threads}"))


def test_definitions_stay_a_page() -> None:
    assert len((CHECKOUT / "definitions.py").read_text().splitlines()) < 60


@pytest.mark.parametrize("path", PLATFORM, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_the_platform_keeps_its_doors_and_reads_annotations(path: Path) -> None:
    tree = ast.parse(path.read_text())
    place = str(path.relative_to(CHECKOUT / "quant_assets"))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported = {name.partition(".")[0] for name in names}
    # Dagster reads the annotations of an asset at run time: as text they mean nothing to it.
    assert "__future__" not in imported
    assert "ray" not in imported or place == "resources/compute.py"
    assert not imported & {"mlflow", "dagster_mlflow"} or place == "resources/tracking.py"
    assert not imported & {"numba", "matplotlib", "skfolio", "exchange_calendars", "numpy"} or place.startswith(
        "resources/"
    )
    assert not imported & {"pickle", "cloudpickle", "joblib", "dill", "shelve"}
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"bare except in {path}"
            assert not (isinstance(node.type, ast.Name) and node.type.id in {"Exception", "BaseException"}), path
