"""From the body of a request to files: read as it comes, up to a size, under names of this project alone."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, BinaryIO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from musclesense.serve.settings import MOST_FILES

NAMES = "names.json"
"""Beside the files of an upload: what each is to show, and what the visitor called it."""
FIELDS = ("region", "limbs", "series", "echo_times", "example", "dicom_seg")
ROLES = ("files", "fat", "water", "image")
_LONGEST_FIELD, _LONGEST_NAME = 300, 1000


class RefusedError(Exception):
    """An upload that is not taken.

    Attributes:
        status: Of HTTP.
        said: Why, in a sentence.
    """

    def __init__(self, status: int, said: str) -> None:
        super().__init__(said)
        self.status, self.said = status, said


async def receive(body: AsyncIterator[bytes], content_type: str, folder: Path, most: int) -> dict[str, str]:
    """Write the files of a form into a folder, numbered; gives the form's fields.

    Args:
        body: The request's, in pieces.
        content_type: What the request says that it is.
        folder: To be made.
        most: Bytes of the whole body.

    Raises:
        RefusedError: It is no such form, too large, or cut off.
    """
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise RefusedError(415, "Send the files as a form (multipart/form-data).")
    folder.mkdir()
    form, read = _Form(folder), 0
    try:
        parser = MultipartParser(options[b"boundary"], form.callbacks())
        async for piece in body:
            read += len(piece)
            if read > most:
                raise RefusedError(413, f"The upload is larger than {most // 1024**2} MiB.")
            parser.write(piece)
    except FormParserError:
        raise RefusedError(400, "The upload is damaged; send it again.") from None
    finally:
        form.close()
    if not form.ended:
        raise RefusedError(400, "The upload was cut off; send it again.")
    (folder / NAMES).write_text(json.dumps(form.names), encoding="utf-8")
    return form.fields


class _Form:
    """The parts of a form as they come, each written to a file of its own."""

    def __init__(self, folder: Path) -> None:
        self.names: list[tuple[str, str]] = []
        self.fields: dict[str, str] = {}
        self.ended = False
        self._folder = folder
        self._file: BinaryIO | None = None
        self._header, self._value, self._disposition, self._field = b"", b"", b"", ""

    def callbacks(self) -> Any:
        """Give what the parser calls."""
        names = ("part_begin", "part_data", "part_end", "header_field", "header_value", "header_end")
        return {f"on_{name}": getattr(self, name) for name in (*names, "headers_finished", "end")}

    def close(self) -> None:
        """Close the file that is written."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def part_begin(self) -> None:
        self._header, self._value, self._disposition, self._field = b"", b"", b"", ""

    def header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header, self._value = b"", b""

    def headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        field = options.get(b"name", b"").decode("utf-8", "replace")
        if b"filename" not in options:
            if field not in FIELDS:
                raise RefusedError(422, f"A form of these fields is expected: {', '.join((*FIELDS, *ROLES))}.")
            self._field = field
            self.fields[field] = ""
            return
        if field not in ROLES:
            raise RefusedError(422, f"Files are sent in these fields: {', '.join(ROLES)}.")
        name = options[b"filename"].decode("utf-8", "replace")
        if not name:  # a field of a page in which no file was chosen
            self._field = ""
            return
        if len(self.names) >= MOST_FILES:
            raise RefusedError(413, f"The upload has more than {MOST_FILES} files.")
        self.names.append((field, name[-_LONGEST_NAME:]))
        self._file = (self._folder / f"{len(self.names):06d}").open("xb")

    def part_data(self, data: bytes, start: int, end: int) -> None:
        if self._file is not None:
            self._file.write(data[start:end])
        elif self._field:
            value = self.fields[self._field] + data[start:end].decode("utf-8", "replace")
            if len(value) > _LONGEST_FIELD:
                raise RefusedError(422, f"The field {self._field} is too long.")
            self.fields[self._field] = value

    def part_end(self) -> None:
        self.close()

    def end(self) -> None:
        self.ended = True
