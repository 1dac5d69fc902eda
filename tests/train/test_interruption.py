"""The first signal asks to stop, a second one insists; a signal that arrives twice at once is one signal."""

import os
import signal
import subprocess
import sys
import time

import pytest

from train.interruption import SAME_SIGNAL_SECONDS, Interrupted, stop_request, wait_for

WORK = (
    "import sys, time; from train.interruption import stop_request\n"
    "with stop_request() as stop:\n"
    "    print('at work', flush=True)\n"
    "    while not stop or '--deaf' in sys.argv: time.sleep(0.02)\n"
    "    print('saved', flush=True); sys.exit(100 + stop.signal_number)\n"
)


@pytest.fixture
def start():
    processes = []

    def begin(*arguments):
        process = subprocess.Popen([sys.executable, "-c", WORK, *arguments], stdout=subprocess.PIPE)
        processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"at work\n"
        return process

    yield begin
    for process in processes:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_the_work_be_saved(start, number):
    process = start()
    process.send_signal(number)
    process.send_signal(number)  # as a group and a parent that hands it on do
    assert process.communicate(timeout=20)[0] == b"saved\n"
    assert process.returncode == 100 + number


def test_a_second_signal_ends_at_once(start):
    process = start("--deaf")
    process.send_signal(signal.SIGINT)
    time.sleep(SAME_SIGNAL_SECONDS + 0.3)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=20)[0] == b""
    assert process.returncode == 130


def test_the_exit_code_says_which_signal_it_was():
    with stop_request() as stop:
        stop.raise_if_set()
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Interrupted, match="all is kept") as interruption:
            stop.raise_if_set("all is kept")
    assert interruption.value.exit_code == 143
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_waiting_parent_hands_signals_on_and_takes_the_childs_exit_code(start):
    child = start()
    parent = subprocess.Popen(
        [sys.executable, "-c", "import os, sys, time; time.sleep(0.3); os.kill(int(sys.argv[1]), 15)", str(os.getpid())]
    )
    assert wait_for(child) == 100 + signal.SIGTERM
    parent.wait()


def test_a_child_that_was_killed_counts_as_its_signal(start):
    child = start()
    child.kill()
    assert wait_for(child) == 137
