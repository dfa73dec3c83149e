"""Memory that was used once and that nobody needs any more, and how the system has it back.

The C library keeps, of a photo, tens of megabytes: glibc gives each thread a heap of its own, and
holds what is freed in them for what may come. There are variables for that (MALLOC_ARENA_MAX,
MALLOC_TRIM_THRESHOLD_), but they are read before Python begins, and with them memory that every
photo needs would be fetched anew for each. The system leaves in place what a process has seen of
its libraries: most of that is for their start alone.

Source: mallopt(3), malloc_trim(3), madvise(2), proc_pid_smaps(5).
"""

import ctypes
import mmap
import re
from pathlib import Path
from typing import Final

_M_ARENA_MAX: Final = -8

_MAPPINGS: Final = Path("/proc/self/smaps")

# A file that can only be read, and to no page of which anything was written either.
_UNTOUCHED: Final = re.compile(
    r"^([0-9a-f]+)-([0-9a-f]+) r-.p \S+ \S+ \S+ +/.*\n(?:\w+:.*\n)*?Anonymous: +0 kB$", re.MULTILINE
)

_LIBRARY = ctypes.CDLL(None)
# Other C libraries have neither, and less to give back; `int` does nothing with what it is given.
_set_option = getattr(_LIBRARY, "mallopt", lambda _option, _value: 1)
_trim = getattr(_LIBRARY, "malloc_trim", int)


def share_one_heap() -> None:
    """Have threads that start from here on use the heap that there is."""
    _set_option(_M_ARENA_MAX, 1)


def give_back() -> None:
    """Return to the system what nobody uses; takes a millisecond or two after a photo."""
    _trim(0)


def forget_libraries() -> None:
    """Take what was read of programs and libraries out of this process, 20 MB after a start.

    What is used again comes back by itself, from the system's copy of the file. Pages into which
    the loader wrote addresses would come back without them, so their files' parts are left alone.
    """
    try:
        mappings = _MAPPINGS.read_text()
    except OSError:  # other systems have no such file, and some processes may not read it
        return
    for begin, end in _UNTOUCHED.findall(mappings):
        start, stop = int(begin, 16), int(end, 16)
        size = ctypes.c_size_t(stop - start)
        _LIBRARY.madvise(ctypes.c_void_p(start), size, mmap.MADV_DONTNEED)
