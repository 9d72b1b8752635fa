"""Where a serving process is in its life, and telling the service manager that started it (systemd)."""

from __future__ import annotations

import os
import socket
import time

__all__ = ["Life", "tell_manager"]


class Life:
    """The life of one process.

    Attributes:
        worker: which of the processes that serve a workspace this is; a label of its metrics.
        began: when it began, seconds since 1970.
        stopping: it was told to stop; what is in flight is still answered.
    """

    def __init__(self, worker: str = "0") -> None:
        self.worker = worker
        self.began = time.time()
        self.stopping = False


def tell_manager(state: str) -> bool:
    """Tell systemd `READY=1` or `STOPPING=1` (sd_notify(3)); False where nobody asked to be told."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return False
    name = "\0" + address[1:] if address.startswith("@") else address
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.sendto(state.encode(), name)
    except OSError:
        return False  # whoever listened went away: that is no reason to stop serving
    return True
