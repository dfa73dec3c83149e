"""Giving memory back to the system that was used once and is not needed any more.

After a photo the C library keeps tens of megabytes: glibc gives each thread a heap of its own, and
keeps what is freed there for later use. Once it has freed a large block, it takes others from there
too, and holes stay between what is in use. It has variables for that (MALLOC_ARENA_MAX and others),
but they are read before Python starts. A process also keeps all that it has read of its libraries,
most of which only their start needs.

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

# A block of so many bytes, such as a body or the pixels of a large picture, has a mapping of its
# own, which ends with it.
_LARGE_BYTES: Final = 2**22
# What is free at the heap's end and is kept: with less, most photos have all their memory fetched
# anew, which takes up to half as long again as to read them.
_KEPT_BYTES: Final = 2**24

_MAPPINGS: Final = Path("/proc/self/smaps")

# A mapping of a file that is read only, and in which no page was ever written to.
_UNTOUCHED: Final = re.compile(
    r"^([0-9a-f]+)-([0-9a-f]+) r-.p \S+ \S+ \S+ +/.*\n(?:\w+:.*\n)*?Anonymous: +0 kB$", re.MULTILINE
)

_LIBRARY = ctypes.CDLL(None)
# Other C libraries have neither, and less to give back; `int` is called in place of malloc_trim.
_set_option = getattr(_LIBRARY, "mallopt", lambda _option, _value: 1)
_trim = getattr(_LIBRARY, "malloc_trim", int)


def keep_little() -> None:
    """Have threads that start later use the heap that there is, and large blocks lie outside it."""
    _set_option(_M_ARENA_MAX, 1)
    _set_option(_M_MMAP_THRESHOLD, _LARGE_BYTES)
    _set_option(_M_TRIM_THRESHOLD, _KEPT_BYTES)


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
