"""Stopping a notebook in good order: on a signal, or when its time is over."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Stop:
    """Whether a notebook was told to stop, and if by a signal; else its time was over.

    ``interrupts`` are called then: whoever runs the notebook adds how it is interrupted.
    """

    asked: bool = False
    by_signal: bool = False
    interrupts: list[Callable[[], object]] = field(default_factory=list)

    def ask(self) -> None:
        """Interrupt what runs."""
        self.asked = True
        for interrupt in self.interrupts:
            interrupt()

    @property
    def why(self) -> str:
        """Who stopped it, for the run's record."""
        return "KeyboardInterrupt" if self.by_signal else "its time was over"


@contextmanager
def stoppable(seconds: float | None = None) -> Iterator[Stop]:
    """Yield what SIGINT, SIGTERM or the clock, after so many seconds, ask to stop.

    What runs is in a session of its own and hears no Ctrl-C. A second signal stops this process
    at once. Only a main thread may handle signals; in another nothing is passed on.
    """
    stop = Stop()

    def on_signal(*_: Any) -> None:
        if stop.by_signal:
            raise KeyboardInterrupt
        stop.by_signal = True
        stop.ask()

    main = threading.current_thread() is threading.main_thread()
    numbers = (signal.SIGINT, signal.SIGTERM) if main else ()
    clock = threading.Timer(seconds or 0, stop.ask)
    clock.daemon = True
    before = {number: signal.signal(number, on_signal) for number in numbers}
    try:
        if seconds is not None:
            clock.start()
        yield stop
    finally:
        clock.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)
