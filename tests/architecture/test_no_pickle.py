import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from quant_core.settings import CHECKOUT

# What runs code found in a file. Nothing is excepted.
FORBIDDEN = {"pickle", "_pickle", "cloudpickle", "joblib", "dill", "shelve", "marshal", "jsonpickle"}
FORBIDDEN |= {"load_model", "allow_pickle", "read_pickle", "to_pickle", "Unpickler"}
ALLOWED: frozenset[str] = frozenset()


def forbidden_in(source: str) -> Iterator[tuple[int, str]]:
    """Return line and name of what is imported, called or set under a forbidden name, also as a text."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                told = [part for alias in names for part in alias.name.split(".")]
            case ast.ImportFrom(module=module, names=names):
                told = [*(module or "").split("."), *(alias.name for alias in names)]
            case ast.Attribute(attr=name) | ast.Name(id=name) | ast.keyword(arg=str(name)):
                told = [name]
            case ast.Constant(value=str(text)):
                told = [text]
            case _:
                continue
        yield from ((node.lineno, name) for name in told if name in FORBIDDEN)


@pytest.mark.parametrize(
    "planted",
    [
        "import pickle",
        "import pickle as p",
        "from joblib import load",
        "def f():\n    import sklearn.externals.joblib",
        "from sklearn.externals import joblib",
        "import importlib\nimportlib.import_module('dill')",
        "__import__('cloudpickle')",
        "np.load(path, allow_pickle=True)",
        "np.load(path, **{'allow_pickle': True})",
        "mlflow.pyfunc.load_model(uri)",
        "getattr(mlflow.pyfunc, 'load_model')(uri)",
        "pd.read_pickle(path)",
        "with shelve.open(path) as db: pass",
    ],
)
def test_what_runs_code_found_in_a_file_is_seen(planted: str) -> None:
    assert list(forbidden_in(planted))


def test_words_about_it_are_not_its_use() -> None:
    assert not list(forbidden_in('"""No pickle anywhere."""\nx = {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}'))


def test_no_product_code_loads_or_writes_what_can_run_code() -> None:
    files = [file for room in ("quant_core", "quant_assets") for file in sorted((CHECKOUT / room).rglob("*.py"))]
    files.append(CHECKOUT / "definitions.py")
    assert len(files) > 200
    found = {
        f"{path.relative_to(CHECKOUT)}:{line}: {name}"
        for path in files
        for line, name in forbidden_in(Path(path).read_text())
    }
    assert found - ALLOWED == set()
    assert len(ALLOWED) == 0
