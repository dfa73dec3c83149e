"""The processes that an export starts."""

import multiprocessing
import os
import threading


def end_with_parent() -> None:
    """Make this process exit when its parent does, even if that is killed.

    It would train on for nobody, and slow down whatever is started next.
    """
    parent = multiprocessing.parent_process()
    assert parent

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
