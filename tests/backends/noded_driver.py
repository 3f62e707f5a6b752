"""`Noded`: the driver of backends/README.md for a QQ that has nodes, and tells them."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace

from tests.backends.readme_driver import driver

__all__ = ["Noded", "set_nodes"]


class Noded(driver.MyBackend):
    def exclude(self, nodes):
        return [f"#QQ exclude={','.join(nodes)}"]

    def ask_about(self, ids):
        answer = super().ask_about(ids)
        _, lines, _ = self.ask_site('ask qq list --nodes "$2"', ids)
        nodes = {found[1]: found[2] for line in lines if (found := re.fullmatch(r"([0-9_]+)\|.*\|(.*)", line))}
        of = {
            i: replace(seen, status=replace(seen.status, node=nodes.get(i, ""))) for i, seen in answer.records.items()
        }
        return replace(answer, records=of)


def set_nodes(*names: str) -> None:
    """The nodes of the QQ from now on; one with ! breaks its jobs."""
    subprocess.run(["qq", "nodes", *names], check=True)
