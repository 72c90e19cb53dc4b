"""Anything that can be typed ends well, or with one error: the short form of what `make soak` does at length."""

import odd_input
import pytest


@pytest.mark.parametrize(
    ("try_some", "num_times"),
    [(odd_input.try_command_lines, 60), (odd_input.try_configs, 30), (odd_input.try_runs, 12)],
)
def test_no_input_ends_in_a_traceback(try_some: object, num_times: int, in_project: None) -> None:
    assert callable(try_some)
    assert try_some(num_times, seed=0) >= num_times


def test_a_mistake_of_ours_would_be_found(in_project: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def mistake(*args: object) -> None:
        raise LookupError("a mistake of ours")

    monkeypatch.setattr("mnist_lightning.command_line.check_fit_settings", mistake)
    with pytest.raises(LookupError):
        odd_input.outcome(odd_input.OFFLINE)
