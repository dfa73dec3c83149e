"""What processes of an export have in common."""

import multiprocessing
import os
import threading


def end_with_parent() -> None:
    """Let this process not outlive the one that started it, whose end may be sudden.

    Nobody would ask for what it learns, but it would slow down whatever is started next.
    """
    parent = multiprocessing.parent_process()
    assert parent

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
