"""Runs a command in a terminal: reads its screen and sends keys."""

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
COLUMNS = 180


class Terminal:
    """Runs `python -m mnist_lightning ARGS` in a new terminal, and kills it at the end if it still runs."""

    def __init__(self, args: list[str], environment: dict[str, str] | None = None) -> None:
        self._master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (50, COLUMNS))
        self.written = ""  # including cursor movements
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mnist_lightning", *args],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=os.environ | {"TERM": "xterm"} | (environment or {}),
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # so that it receives Ctrl-C
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
        """Reads until the output matches."""
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
        """The lines on the screen, including those that scrolled off."""
        lines, row, column = [""], 0, 0
        for token in re.findall(r"\x1b\[[\d;?]*[A-Za-z]|.", self.written, re.DOTALL):
            if token == "\r":
                column = 0
            elif token == "\n" or (token[0] != "\x1b" and column == COLUMNS):
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
        """Reads available output, waiting up to a second; returns False if the other side is closed."""
        if select.select([self._master], [], [], 1)[0]:
            try:
                self.written += os.read(self._master, 65536).decode(errors="replace")
            except OSError:  # on Linux: the other side is closed
                return False
        return True
