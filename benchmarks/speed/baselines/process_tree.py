"""What a process and all that it started use: CPU seconds and memory, from Linux's ``/proc``."""

import os
from collections.abc import Iterator
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def members(root: int) -> list[int]:
    """Give the process ids of ``root`` and its descendants."""
    children: dict[int, list[int]] = {}
    for pid, fields in _stats():
        children.setdefault(int(fields[1]), []).append(pid)
    found, queue = [], [root]
    while queue:
        found.append(queue.pop())
        queue += children.get(found[-1], [])
    return found


def cpu_seconds(root: int) -> float:
    """Give the CPU seconds of the tree so far, ended children that were waited for among them."""
    wanted = frozenset(members(root))
    # utime, stime, cutime and cstime of proc(5), counted after the name of the command.
    return sum(sum(map(int, fields[11:15])) for pid, fields in _stats() if pid in wanted) / _TICKS


def memory_bytes(root: int) -> int:
    """Give the memory of the tree; pages that several processes share count once."""
    total = 0
    for pid in members(root):
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:  # it has ended
            continue
        total += sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total


def _stats() -> Iterator[tuple[int, list[str]]]:
    """Give each process with the fields of its ``stat`` that follow the command's name: state, parent, ..."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:  # it has ended
                continue
            yield int(entry.name), stat.rpartition(")")[2].split()
