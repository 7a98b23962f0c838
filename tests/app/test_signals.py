import os
import signal

import pytest

from aigrid.app.signals import StopRequest


def test_a_signal_breaks_off_the_preparation_once() -> None:
    stop = StopRequest()
    with stop.listening():
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)  # the second one does not disturb the clean-up
    assert stop.asked.is_set()


def test_a_signal_asks_a_running_grid_to_end() -> None:
    stop = StopRequest()
    before = signal.getsignal(signal.SIGINT)
    with stop.listening():
        stop.keep_running()
        os.kill(os.getpid(), signal.SIGINT)
    assert stop.asked.is_set()
    assert signal.getsignal(signal.SIGINT) is before
