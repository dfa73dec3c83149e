"""Returns unused memory to the system.

After a photo, the C library keeps tens of megabytes: glibc has a heap per thread and keeps freed
memory there. Once a large block was freed, it also allocates large blocks on the heap, which gets
fragmented. Its environment variables (MALLOC_ARENA_MAX and others) are read before Python starts,
so they cannot be set here. A process also keeps the pages of its libraries that it has read, most
of which are needed only during the start.

Source: mallopt(3), malloc_trim(3), madvise(2), proc_pid_smaps(5).
"""

import ctypes
import mmap
import re
from pathlib import Path
from typing import Final

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8

# A block of at least this size, such as a body or a large picture's pixels, gets its own mapping,
# which is unmapped when it is freed.
_LARGE_BYTES: Final = 2**22
# How much free memory at the top of the heap is kept. With less, most photos would have all of
# their memory faulted in again, which makes reading them up to half slower.
_KEPT_BYTES: Final = 2**24

_MAPPINGS: Final = Path("/proc/self/smaps")

# A read-only mapping of a file, no page of which was ever written to.
_UNTOUCHED: Final = re.compile(
    r"^([0-9a-f]+)-([0-9a-f]+) r-.p \S+ \S+ \S+ +/.*\n(?:\w+:.*\n)*?Anonymous: +0 kB$", re.MULTILINE
)

_LIBRARY = ctypes.CDLL(None)
# Other C libraries have neither function, and less to return; `int` stands in for malloc_trim.
_set_option = getattr(_LIBRARY, "mallopt", lambda _option, _value: 1)
_trim = getattr(_LIBRARY, "malloc_trim", int)


def keep_little() -> None:
    """Make all threads that start later share one heap, with large blocks outside it."""
    _set_option(_M_ARENA_MAX, 1)
    _set_option(_M_MMAP_THRESHOLD, _LARGE_BYTES)
    _set_option(_M_TRIM_THRESHOLD, _KEPT_BYTES)


def give_back() -> None:
    """Return freed memory to the system; after a photo, this takes a millisecond or two."""
    _trim(0)


def forget_libraries() -> None:
    """Drop the pages of programs and libraries from this process, 20 MB after a start.

    Pages that are used again are faulted in from the page cache. Relocated pages would come back
    without their relocations, so mappings with modified pages are left alone.
    """
    try:
        mappings = _MAPPINGS.read_text()
    except OSError:  # other systems lack this file, and some processes may not read it
        return
    for begin, end in _UNTOUCHED.findall(mappings):
        start, stop = int(begin, 16), int(end, 16)
        size = ctypes.c_size_t(stop - start)
        _LIBRARY.madvise(ctypes.c_void_p(start), size, mmap.MADV_DONTNEED)
