"""Giving memory back to the system that was used once and is not needed any more.

After a photo the C library keeps tens of megabytes: glibc gives each thread a heap of its own, and
keeps what is freed there for later use. It has variables for that (MALLOC_ARENA_MAX,
MALLOC_TRIM_THRESHOLD_), but they are read before Python starts, and would have the memory that each
photo needs fetched anew. A process also keeps all that it has read of its libraries, most of which
only their start needs.

Source: mallopt(3), malloc_trim(3), madvise(2), proc_pid_smaps(5).
"""

import ctypes
import mmap
import re
from pathlib import Path
from typing import Final

_M_ARENA_MAX: Final = -8

_MAPPINGS: Final = Path("/proc/self/smaps")

# A mapping of a file that is read only, and in which no page was ever written to.
_UNTOUCHED: Final = re.compile(
    r"^([0-9a-f]+)-([0-9a-f]+) r-.p \S+ \S+ \S+ +/.*\n(?:\w+:.*\n)*?Anonymous: +0 kB$", re.MULTILINE
)

_LIBRARY = ctypes.CDLL(None)
# Other C libraries have neither, and less to give back; `int` is called in place of malloc_trim.
_set_option = getattr(_LIBRARY, "mallopt", lambda _option, _value: 1)
_trim = getattr(_LIBRARY, "malloc_trim", int)


def share_one_heap() -> None:
    """Have threads that start later use the heap that there is."""
    _set_option(_M_ARENA_MAX, 1)


def give_back() -> None:
    """Give freed memory back to the system; after a photo this takes a millisecond or two."""
    _trim(0)


def forget_libraries() -> None:
    """Drop what was read of programs and libraries from this process, 20 MB after a start.

    What is used again comes back by itself, from the system's copy of the file. Pages into which
    the loader wrote addresses would come back without them, so mappings with such are left alone.
    """
    try:
        mappings = _MAPPINGS.read_text()
    except OSError:  # other systems have no such file, and some processes may not read it
        return
    for begin, end in _UNTOUCHED.findall(mappings):
        start, stop = int(begin, 16), int(end, 16)
        size = ctypes.c_size_t(stop - start)
        _LIBRARY.madvise(ctypes.c_void_p(start), size, mmap.MADV_DONTNEED)
