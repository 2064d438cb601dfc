from pathlib import Path

import dagster as dg
import pytest
from tiny_desk import Desk, events_of

from quant_assets.assets import factory

RETRIES = factory.RETRIES


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(factory, "RETRIES", factory.RETRIES._replace(delay=0, backoff=None, jitter=None))


def options_of(path: Path, **given: object) -> dict[str, object]:
    return {"ingest__raw": {"options": {"bars": 30, "tries": str(path), **given}}}


def test_what_touches_the_outside_world_is_retried_three_times_ten_seconds_apart(desk: Desk) -> None:
    policies = {
        key.to_user_string(): definition.op.retry_policy
        for definition in desk.definitions().get_repository_def().assets_defs_by_key.values()
        for key in definition.keys
        if isinstance(definition.node_def, dg.OpDefinition)
    }
    raw = policies.pop("ingest/raw")
    assert (RETRIES.max_retries, RETRIES.delay, raw.max_retries) == (3, 10, 3)
    assert set(policies.values()) == {None}


def test_a_source_that_does_not_answer_twice_is_read_by_the_third_try(desk: Desk, tmp_path: Path) -> None:
    result = desk.run(config=options_of(tmp_path / "tries"))
    assert result.success
    assert (tmp_path / "tries").read_text() == "xxx"
    assert len(events_of(result, "STEP_UP_FOR_RETRY")) == 2


def test_a_source_that_refuses_is_asked_once(desk: Desk, tmp_path: Path) -> None:
    result = desk.run(config=options_of(tmp_path / "tries", refuses=True))
    assert not result.success
    assert (tmp_path / "tries").read_text() == "x"
