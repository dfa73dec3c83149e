"""What the C library keeps of memory that was used once: of a photo, tens of megabytes.

glibc gives each thread a heap of its own, and keeps what is freed in them for what may come. There
are variables for that (MALLOC_ARENA_MAX, MALLOC_TRIM_THRESHOLD_), but they are read before Python
begins, and with them memory that every photo needs would be fetched anew for each.

Source: mallopt(3), malloc_trim(3).
"""

import ctypes
from typing import Final

_M_ARENA_MAX: Final = -8

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
