"""Any input succeeds or ends with one error; a short version of `make soak`."""

from collections.abc import Callable

import pytest

from support import odd_input

NUM_TIMES = {odd_input.try_command_lines: 60, odd_input.try_configs: 30, odd_input.try_runs: 12}


@pytest.mark.parametrize("share", [0.25, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("try_some", NUM_TIMES)
def test_no_input_causes_a_traceback(try_some: Callable[..., int], share: float, in_project: None) -> None:
    num_times = int(share * NUM_TIMES[try_some])
    assert try_some(num_times, seed=0) >= num_times


def test_a_bug_would_be_found(in_project: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> None:
        raise LookupError("a bug")

    monkeypatch.setattr("mnist_lightning.cli.check_fit_settings", fail)
    with pytest.raises(LookupError):
        odd_input.check_outcome(odd_input.OFFLINE)
