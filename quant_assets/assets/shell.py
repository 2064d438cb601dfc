"""Dagster's form of a stage's parameters: what the Launchpad shows and accepts. graph/parameters.py validates."""

import types
from typing import Annotated, Any, Optional, Union, get_args, get_origin

import dagster as dg
from pydantic import BaseModel, Field, create_model
from pydantic.fields import FieldInfo

_SCALARS = (int, float, bool, str)
_ARRAYS = (tuple, frozenset, set, list)


def shell(model: type[BaseModel]) -> type[dg.Config]:
    """Derive a config class with the same fields, all optional.

    None means not given: the value then comes from further down the precedence. Tuples and sets become lists;
    Literal, date, Decimal and the like become text; a sub-model becomes a sub-shell.
    """
    fields: dict[str, Any] = {name: _entry(info) for name, info in model.model_fields.items()}
    made: type[dg.Config] = create_model(f"{model.__name__}Config", __base__=dg.Config, __doc__=model.__doc__, **fields)
    return made


def _entry(info: FieldInfo) -> tuple[Any, Any]:
    annotation = info.annotation
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        inner = shell(annotation)
        return inner, Field(default_factory=inner, description=info.description)
    return Optional[field_type(annotation)], Field(None, description=_describe_field(info))  # noqa: UP045 - a runtime value


def field_type(annotation: Any) -> Any:
    """Return the type Dagster's config knows for the type of a field.

    A table with plain values keeps them typed; one that holds anything, and a union, accept any value.
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if hasattr(annotation, "__value__"):  # a named alias such as pydantic's JsonValue
        return Any
    if origin is Annotated:
        return field_type(arguments[0])
    if origin in (Union, types.UnionType):
        known = [argument for argument in arguments if argument is not types.NoneType]
        return field_type(known[0]) if len(known) == 1 else Any
    if origin in _ARRAYS:
        return list[field_type(arguments[0])]  # type: ignore[misc]  # a runtime value
    if origin is dict:
        return dict[str, field_type(arguments[1])]  # type: ignore[misc]  # a runtime value
    if annotation in _SCALARS or annotation is Any:
        return annotation
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):  # inside a table: keys are the user's own
        return dict[str, Any]
    return str


def _describe_field(info: FieldInfo) -> str:
    default = info.get_default(call_default_factory=True)
    return f"{info.description or ''} Default: {default!r}.".strip()
