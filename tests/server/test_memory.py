"""Unused memory is returned to the system; each test in a fresh process."""

import subprocess
import sys

from server.settings import REPOSITORY

HOLDING = """
import threading
from pathlib import Path
from server.memory import give_back, keep_little

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 >> 20

def hold_and_free():
    # 64 MiB in small blocks from the heap; all but the last are freed.
    kept.append([bytes([1]) * 65536 for _ in range(1024)][-1])

kept = []
"""
GIVING_BACK = """
hold_and_free()
before = resident()
give_back()
print(before - resident())
"""
SHARING = """
keep_little()
end = threading.Event()
sizes = []

def live():
    hold_and_free()
    sizes.append(resident())
    end.wait()

threads = [threading.Thread(target=live) for _ in range(3)]
for count, thread in enumerate(threads, 1):
    thread.start()
    while len(sizes) < count:
        pass
end.set()
print(sizes[2] - sizes[0])
"""
PARTING = """
keep_little()
before = resident()
for _ in range(8):
    large = b"1" * 2**23
    kept.append(b"1" * 2**16)
    del large
print(resident() - before)
"""
FORGETTING = """
import os
from server.memory import forget_libraries
from server.recognize import load_recognizer
from server.settings import load_settings

recognizer = load_recognizer(load_settings(os.environ))
recognizer.warm_up()
before = resident()
forget_libraries()
recognizer.warm_up()
print(before - resident())
"""
UNLISTED = """
from server import memory

memory._MAPPINGS = Path("/proc/self/none")
"""


def mebibytes(code: str) -> int:
    """Return the number of mebibytes that some code prints in a new process."""
    command = [sys.executable, "-c", HOLDING + code]
    return int(subprocess.check_output(command, cwd=REPOSITORY, text=True))


def test_what_is_free_is_given_back() -> None:
    """Even if a block in use follows it."""
    assert mebibytes(GIVING_BACK) > 32


def test_threads_share_a_heap() -> None:
    """Memory freed by one thread is reused by the next."""
    assert mebibytes(SHARING) < 16


def test_a_large_block_is_given_back_at_once() -> None:
    """Each time, even if a later block is still in use."""
    assert mebibytes(PARTING) < 4


def test_libraries_are_forgotten() -> None:
    """Their pages are dropped; those that are needed again come back by themselves."""
    assert mebibytes(FORGETTING) > 10


def test_nothing_is_forgotten_where_the_system_does_not_list_it() -> None:
    """As on other systems, or if the process may not read its list of mappings."""
    # Not 0, as a kernel that is short of memory reclaims pages by itself.
    assert mebibytes(UNLISTED + FORGETTING) < 5
