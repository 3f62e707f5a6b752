"""A real Jupyter kernel, driven as a notebook drives it."""

from __future__ import annotations

import queue
import time
from pathlib import Path
from typing import Any

from jupyter_client.manager import KernelManager

__all__ = ["Kernel"]


class Kernel:
    """`run(code)` is a cell: what it printed, or its error's name and text. `stop()` is the button."""

    def __init__(self, folder: Path) -> None:
        self.manager = KernelManager(kernel_name="python3")
        self.manager.start_kernel(cwd=str(folder))
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=120)

    def __enter__(self) -> Kernel:
        return self

    def __exit__(self, *_: Any) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)

    @property
    def pid(self) -> int:
        """The process of the kernel."""
        return self.manager.provisioner.pid

    def start(self, code: str) -> str:
        """Send a cell and return at once."""
        return self.client.execute(code)

    def stop(self) -> None:
        """SIGINT for the kernel's process group, as the stop button sends it."""
        self.manager.interrupt_kernel()

    def end(self, sent: str, limit_s: float) -> str:
        """What the cell printed, and how it ended where that was an error; fails where it does not end in time."""
        said, deadline = [], time.monotonic() + limit_s
        while True:
            try:
                message = self.client.get_iopub_msg(timeout=max(0.01, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"the cell still runs after {limit_s} s; it printed {''.join(said)!r}") from None
            if message["parent_header"].get("msg_id") != sent:
                continue
            content = message["content"]
            if message["msg_type"] == "stream":
                said.append(content["text"])
            elif message["msg_type"] == "error":
                said.append(f"{content['ename']}: {content['evalue']}")
            elif message["msg_type"] == "status" and content["execution_state"] == "idle":
                return "".join(said)

    def run(self, code: str, limit_s: float = 120.0) -> str:
        """A cell from its start to its end."""
        return self.end(self.start(code), limit_s)
