"""A test that leaves something running fails."""

from pathlib import Path

import pytest

from support import leaks

# The fixtures of this suite, without a plugin that spends seconds on garbage collection.
OPTIONS = ("-p", "conftest", "-p", "no:unraisableexception")
TESTS = """
import os, subprocess, sys, threading, time
from pathlib import Path

def wait_for_the_end():
    while not Path({end!r}).exists():
        time.sleep(0.01)

def test_that_leaves_something():
    threading.Thread(name="forgotten", target=wait_for_the_end, daemon=True).start()
    os.spawnlp(os.P_NOWAIT, "sleep", "sleep", "1001")
    os.spawnlp(os.P_NOWAIT, "true", "true")
    orphan = "import subprocess; subprocess.Popen(['sleep', '1002'])"
    subprocess.run([sys.executable, "-c", orphan], check=True)

def test_after_it():
    pass
"""


def test_leaks_fail_their_test_by_name(
    pytester: pytest.Pytester, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leaks, "SECONDS_TO_END", 0.5)
    pytester.makepyfile(TESTS.format(end=str(tmp_path / "end")))
    try:
        result = pytester.runpytest_inprocess(*OPTIONS)
    finally:
        (tmp_path / "end").touch()
    result.assert_outcomes(passed=2, errors=1)
    for left in ("thread forgotten", "sleep 1001", "sleep 1002", "ended, but not waited for"):
        result.stdout.re_match_lines([rf"E +Failed: left running: .*\b{left}(;|$)"])
    result.stdout.fnmatch_lines(["ERROR *::test_that_leaves_something*"])


def test_what_ends_in_time_is_not_a_leak(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import subprocess, threading, time

        def test_that_ends_what_it_starts():
            threading.Thread(target=time.sleep, args=(0.05,), daemon=True).start()
            subprocess.run(["true"], check=True)
        """
    )
    pytester.runpytest_inprocess(*OPTIONS).assert_outcomes(passed=1)
