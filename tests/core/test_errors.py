import inspect
import pickle

import pytest

from quant_core import errors
from quant_core.errors import MissingExtraError, QuantError, UnknownKeyError, UnknownNameError

ALL = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, QuantError)]
SPECIAL = {
    UnknownNameError: UnknownNameError("feature", "momentun", ["momentum"]),
    UnknownKeyError: UnknownKeyError("key", "flor", ["floor"]),
    MissingExtraError: MissingExtraError("mode ray", "platform"),
}


@pytest.mark.parametrize("kind", ALL)
def test_every_error_travels_between_processes_whole(kind: type[QuantError]) -> None:
    error = SPECIAL.get(kind) or kind("said")
    back = pickle.loads(pickle.dumps(error))
    assert (type(back), str(back), vars(back)) == (kind, str(error), vars(error))


@pytest.mark.parametrize("kind", ALL)
def test_every_error_says_when_it_is_raised_and_has_an_exit_code(kind: type[QuantError]) -> None:
    assert (kind.__doc__ or "").startswith(("Raised", "Root"))
    assert kind.exit_code in {1, 2, 3, 4, 5}


def test_a_wrong_name_in_a_file_is_a_wrong_file() -> None:
    assert (UnknownNameError.exit_code, UnknownKeyError.exit_code) == (2, 4)
