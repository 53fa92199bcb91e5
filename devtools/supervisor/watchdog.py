"""The last resort against processes left behind: ends what we started when we are killed without a word.

A process of its own that reads process groups from its standard input, one a line in the order of their
start (`-N` takes N off again). The system closes that pipe whenever and however the supervisor ends; then
whatever is still listed is ended, the last one first. Standard library only: it starts in milliseconds.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time

GENTLE_SECONDS = 8.0  # for each group: a web server lets its requests end, a worker drains


def alive(group: int) -> bool:
    """Whether a process of that group is alive."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # how some systems speak of a group of zombies
        return False
    return True


def end(group: int) -> None:
    """Ask, wait, then kill."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, sign)
        deadline = time.monotonic() + GENTLE_SECONDS
        while alive(group) and time.monotonic() < deadline:
            time.sleep(0.05)
        if not alive(group):
            return


def main() -> None:
    for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(sign, signal.SIG_IGN)
    groups: list[int] = []
    for line in sys.stdin:
        number = int(line)
        if number > 0:
            groups.append(number)
        elif -number in groups:
            groups.remove(-number)
    for group in reversed(groups):
        end(group)


if __name__ == "__main__":
    main()
