import numpy as np

from quant_core.allocation.eligible_atoms import CONSTANT, SHORT_HISTORY, common_history

NAN = np.nan


def streams(size=20, width=4):
    return np.random.default_rng(0).normal(size=(size, width))


def test_atoms_with_a_full_window_share_every_bar():
    found = common_history(streams(), min_observations=10)
    assert found.is_kept.all()
    assert found.is_common.all()
    assert found.reasons == ()


def test_an_atom_listed_too_late_leaves_and_gives_its_bars_back():
    values = streams()
    values[:15, 2] = NAN
    found = common_history(values, min_observations=10)
    assert found.is_kept.tolist() == [True, True, False, True]
    assert found.is_common.all()
    assert [reason[:2] for reason in found.reasons] == [(2, SHORT_HISTORY)]
    assert found.reasons[0][2] == "5 train bars known, 5 common to 4 atoms; 10 needed"


def test_an_atom_known_long_enough_stays_on_the_bars_it_shares():
    values = streams()
    values[:8, 1] = NAN
    found = common_history(values, min_observations=10)
    assert found.is_kept.all()
    assert found.is_common.sum() == 12


def test_atoms_that_share_too_few_bars_lose_the_one_known_least_and_the_last_of_equals():
    values = streams(width=2)
    values[:9, 0] = NAN
    values[11:, 1] = NAN
    assert common_history(values, min_observations=5).is_kept.tolist() == [True, False]
    values[9, 0] = NAN
    assert common_history(values, min_observations=5).is_kept.tolist() == [False, True]


def test_a_stream_that_does_not_move_leaves():
    values = streams()
    values[:, 3] = 0.001
    found = common_history(values, min_observations=10)
    assert found.is_kept.tolist() == [True, True, True, False]
    assert found.reasons == ((3, CONSTANT, "one value on 20 train bars"),)


def test_nothing_may_be_left():
    found = common_history(np.full((20, 3), NAN), min_observations=2)
    assert not found.is_kept.any()
    assert len(found.reasons) == 3
