"""A terminal with one command in it, as a user sees it: what it shows, and keys that can be pressed."""

import fcntl
import os
import pty
import re
import select
import subprocess
import sys
import termios
import time
from types import TracebackType

MAX_SECONDS = 120


class Terminal:
    """Runs `python -m mnist_lightning ARGS` in a terminal of its own; what still runs at the end is killed."""

    def __init__(self, args: list[str], columns: int = 180, environment: dict[str, str] | None = None) -> None:
        self._master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (50, columns))
        self.written = ""  # with all that moves the cursor
        self._columns = columns
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mnist_lightning", *args],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=os.environ | {"TERM": "xterm"} | (environment or {}),
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # Ctrl-C then reaches it
        )
        os.close(slave)

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._master)

    def wait_for(self, pattern: str) -> None:
        """Reads until what was written matches."""
        deadline = time.monotonic() + MAX_SECONDS
        while not re.search(pattern, self.written):
            assert time.monotonic() < deadline, self.written
            assert self._read(), self.written

    def press(self, keys: str) -> None:
        """Types keys."""
        os.write(self._master, keys.encode())

    def finish(self) -> int:
        """Reads to the end; returns the exit status."""
        deadline = time.monotonic() + MAX_SECONDS
        while self._read():
            assert time.monotonic() < deadline, self.written
        return self.process.wait(MAX_SECONDS)

    def lines(self) -> list[str]:
        """What the screen shows, and has scrolled; the last line is where the cursor is."""
        lines, row, column = [""], 0, 0
        for token in re.findall(r"\x1b\[[\d;?]*[A-Za-z]|.", self.written, re.DOTALL):
            if token == "\r":
                column = 0
            elif token == "\n" or (token[0] != "\x1b" and column == self._columns):
                row, column = row + 1, column if token == "\n" else 0
                lines += [""] * (row + 1 - len(lines))
            elif token == "\x1b[A":
                row -= 1
            elif token == "\x1b[K":
                lines[row] = lines[row][:column]
            if token[0] not in "\r\n\x1b":
                lines[row] = f"{lines[row][:column]:{column}}{token}{lines[row][column + 1 :]}"
                column += 1
        return [line.rstrip() for line in lines]

    def _read(self) -> bool:
        """Reads what is there, waiting for a while; False when the other side is closed."""
        if select.select([self._master], [], [], 1)[0]:
            try:
                self.written += os.read(self._master, 65536).decode(errors="replace")
            except OSError:  # how Linux tells that the other side is closed
                return False
        return True
