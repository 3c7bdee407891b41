"""Draw what a command shows in a terminal: ``python -m docs.figures.terminal [--keys KEYS] OUT.png COMMAND ...``.

Needs pyte, a terminal without a window (``pip install pyte``), and Linux or macOS.
"""

import argparse
import fcntl
import os
import pty
import select
import signal
import struct
import termios
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from musclesense.storage.atomic import atomic_path

ROWS, COLUMNS = 44, 160
_QUIET_SECONDS = 15
_POINTS = 7.0  # of the font, whose characters are 0.602 of that wide
_CELL_INCHES = np.array([0.602, 1.24]) * _POINTS / 72
_BRAILLE = ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (0, 3), (1, 3))
"""Column and row of the dot of each bit."""
_ANSWERS = {b"\x1b]11;?": b"\x1b]11;rgb:0000/0000/0000\x1b\\", b"\x1b[6n": b"\x1b[1;1R", b"\x1b[c": b"\x1b[?62c"}
"""What programs ask terminals: the colour behind the text, the cursor's place, the kind of terminal."""
_NAMED = {"default": "#d0d0d0", "brown": "olive"}


class Cell(NamedTuple):
    """A character, and the colours of it and behind it."""

    text: str
    front: str
    back: str


def shown(command: Sequence[str], keys: str = "") -> list[list[Cell]]:
    """Run a command in a terminal, press keys whenever it is quiet, and give what is on the screen in the end."""
    import pyte

    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.ByteStream(screen)
    process, terminal = pty.fork()
    if process == 0:
        os.environ |= {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        os.execvp(command[0], [*command])
    for key in ("", *keys):
        os.write(terminal, key.encode())
        while output := _output(terminal, forever=not "".join(screen.display).strip()):
            stream.feed(output)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return [[_cell(screen.buffer[row][column]) for column in range(COLUMNS)] for row in range(ROWS)]


def _output(terminal: int, *, forever: bool) -> bytes:
    """Give what a program writes next, and answer what it asks; nothing where it is quiet or has ended."""
    ready, _, _ = select.select([terminal], [], [], None if forever else _QUIET_SECONDS)
    try:
        output = os.read(terminal, 2**16) if ready else b""
    except OSError:
        return b""
    for question, answer in _ANSWERS.items():
        if question in output:
            os.write(terminal, answer)
    return output


def _cell(character: Any) -> Cell:
    front, back = _colour(character.fg), "black" if character.bg == "default" else _colour(character.bg)
    return Cell(character.data, back, front) if character.reverse else Cell(character.data, front, back)


def _colour(name: str) -> str:
    if len(name) == 6 and all(digit in "0123456789abcdef" for digit in name.lower()):
        return f"#{name}"
    return _NAMED.get(name, name.removeprefix("bright"))


def draw(screen: Sequence[Sequence[Cell]], out: Path) -> None:
    """Draw a screen; lower half blocks and dots of Braille, of which programs make pictures and curves, as shapes."""
    rows, columns = len(screen), len(screen[0])
    figure = Figure(figsize=tuple(_CELL_INCHES * (columns, rows)), facecolor="black")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, columns), ylim=(rows, 0))
    axes.axis("off")
    halves = np.array([[[to_rgb(half) for half in _halves(cell)] for cell in row] for row in screen])
    axes.imshow(halves.swapaxes(1, 2).reshape(2 * rows, columns, 3), extent=(0, columns, rows, 0), aspect="auto")
    dots = [
        dot for row, cells in enumerate(screen) for column, cell in enumerate(cells) for dot in _dots(cell, column, row)
    ]
    axes.scatter(
        [x for x, _, _ in dots], [y for _, y, _ in dots], s=1.6, linewidths=0, c=[colour for *_, colour in dots]
    )
    for row, cells in enumerate(screen):
        for column, cell in enumerate(cells):
            if cell.text.strip() and cell.text != "▄" and not list(_dots(cell, 0, 0)):
                axes.text(column, row + 0.78, cell.text, color=cell.front, fontsize=_POINTS, family="DejaVu Sans Mono")
    out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(out) as draft:
        figure.savefig(draft, format="png", dpi=130, facecolor="black", metadata={"Software": None})


def _halves(cell: Cell) -> tuple[str, str]:
    return cell.back, cell.front if cell.text == "▄" else cell.back


def _dots(cell: Cell, column: int, row: int) -> Iterator[tuple[float, float, str]]:
    bits = ord(cell.text[:1] or " ") - 0x2800
    if 0 < bits < 256:
        for bit, (right, down) in enumerate(_BRAILLE):
            if bits >> bit & 1:
                yield column + 0.25 + right / 2, row + 0.125 + down / 4, cell.front


def main() -> None:
    """Draw what a command shows."""
    parser = argparse.ArgumentParser(prog="python -m docs.figures.terminal", description=__doc__)
    parser.add_argument("out", type=Path, help="PNG to write")
    parser.add_argument("--keys", default="", help="keys to press, one after another")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    asked = parser.parse_args()
    draw(shown(asked.command, asked.keys), asked.out)


if __name__ == "__main__":
    main()
