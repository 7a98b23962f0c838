"""Text from a file or a folder of files.

Every file that decodes as UTF-8 is text, whatever its name; markup of HTML is taken off; the rest
is left out and counted. A file is cut at blank lines into documents of at most 8 kB. With ten files
or more a file is held out as a whole, with fewer each part of a file is.

Chat turns come from the text itself: the first line of a part is its title, and "Tell me about
TITLE." is answered by the first paragraph after it.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

from aigrid.core.errors import DataError, NotFoundError
from aigrid.factory.documents import Corpus, Document, Exchange
from aigrid.factory.progress import Progress
from aigrid.factory.pydocs import first_paragraph

PART_BYTES = 8_000
SHORTEST_PART_BYTES = 500
FILES_TO_SPLIT_BY = 10
MAX_FILES = 100_000
MAX_FILE_BYTES = 16_000_000
MAX_TITLE = 80
SYSTEM = "You answer questions about the texts you have read."
HTML_SUFFIXES = frozenset({".html", ".htm", ".xhtml"})
HIDDEN_TAGS = frozenset({"script", "style", "template", "noscript"})
PARAGRAPH_TAGS = frozenset({"p", "pre", "h1", "h2", "h3", "h4", "h5", "h6", "section", "article"})
LINE_TAGS = frozenset({"div", "br", "li", "tr", "dt", "dd", "title", "blockquote", "table", "ul"})


def read_files(path: Path, progress: Progress, max_bytes: int) -> Corpus:
    """Read a file, or a folder and all below it, in the order of the names.

    Links are followed to files inside the folder's tree only once, and never to folders, so a
    loop cannot trap the walk. Hidden files and folders are left out.

    Args:
        path: file or folder.
        progress: hears a stage `reading`.
        max_bytes: text taken at most.

    Raises:
        NotFoundError: no such file or folder.
        DataError: it cannot be read at all.
    """
    if not path.exists():
        raise NotFoundError(f"{path}: no such file or folder", next_step="give --data FILE_OR_DIR")
    left_out: Counter[str] = Counter()
    paths = [path] if path.is_file() else list(_walk(path, left_out))
    root = path.parent if path.is_file() else path
    progress.stage("reading", len(paths))
    texts: list[tuple[str, str]] = []
    left = max_bytes
    for file in paths:
        text = _read_one(file, left, left_out)
        if text:
            texts.append((file.relative_to(root).as_posix(), text))
            left -= len(text.encode())
        progress.advance(1, files=len(texts))
    by_file = len(texts) >= FILES_TO_SPLIT_BY
    size = PART_BYTES if by_file else _part_bytes(sum(len(text) for _, text in texts))
    documents = [d for name, text in texts for d in _parts(name, text, size, by_file)]
    return Corpus(tuple(documents), str(path), SYSTEM, tuple(sorted(left_out.items())))


def _walk(folder: Path, left_out: Counter[str]) -> Iterator[Path]:
    seen: set[tuple[int, int]] = set()
    found = 0
    for parent, folders, names in os.walk(folder, onerror=_refuse):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        for name in sorted(names):
            file = Path(parent, name)
            if name.startswith(".") or not file.is_file():  # dangling links, sockets, devices
                left_out["not a plain file"] += 1
                continue
            facts = file.stat()
            if (facts.st_dev, facts.st_ino) in seen:
                left_out["linked twice"] += 1
                continue
            seen.add((facts.st_dev, facts.st_ino))
            found += 1
            if found > MAX_FILES:
                left_out["over the limit of files"] += 1
                continue
            yield file


def _refuse(error: OSError) -> None:
    raise DataError(
        f"{error.filename}: cannot be read: {error.strerror}", next_step="check its permissions"
    ) from error


def _read_one(path: Path, left: int, left_out: Counter[str]) -> str:
    if left <= 0:
        left_out["over the size limit"] += 1
        return ""
    try:
        with path.open("rb") as file:
            content = file.read(min(left, MAX_FILE_BYTES) + 1)
    except OSError:
        left_out["unreadable"] += 1
        return ""
    if len(content) > min(left, MAX_FILE_BYTES):
        left_out["cut at the size limit"] += 1
        content = _whole_characters(content[:-1])
    text = _decoded(content)
    if text is None:
        left_out["binary"] += 1
        return ""
    if path.suffix.lower() in HTML_SUFFIXES:
        text = visible_text(text)
    text = text.replace("\r\n", "\n").removeprefix("\ufeff").strip()
    if not text:
        left_out["empty"] += 1
    return text


def _whole_characters(content: bytes) -> bytes:
    """Drop the tail of a character that a cut went through: at most three bytes."""
    for tail in range(1, min(4, len(content) + 1)):
        if content[-tail] >= 0xC0:
            width = 2 + (content[-tail] >= 0xE0) + (content[-tail] >= 0xF0)
            return content[:-tail] if width > tail else content
        if content[-tail] < 0x80:
            break
    return content


def _decoded(content: bytes) -> str | None:
    if b"\0" in content:
        return None
    try:
        return content.decode()
    except UnicodeDecodeError:
        return None


def _part_bytes(total: int) -> int:
    """A short text is cut finer, so that there is something to hold out."""
    return min(PART_BYTES, max(SHORTEST_PART_BYTES, total // 20))


def _parts(name: str, text: str, size: int, by_file: bool) -> Iterator[Document]:
    for number, part in enumerate(cut_at_blank_lines(text, size)):
        part_name = f"{name}#{number:05d}"
        yield Document(part_name, part, _exchanges(name, part), name if by_file else part_name)


def cut_at_blank_lines(text: str, size: int) -> list[str]:
    """Paragraphs gathered into parts of at most `size` bytes; longer ones are cut at lines."""
    parts: list[str] = []
    gathered: list[str] = []
    gathered_bytes = 0
    for piece in _pieces(text, size):
        piece_bytes = len(piece.encode())
        if gathered and gathered_bytes + piece_bytes > size:
            parts.append("\n\n".join(gathered))
            gathered, gathered_bytes = [], 0
        gathered.append(piece)
        gathered_bytes += piece_bytes + 2
    return [*parts, "\n\n".join(gathered)] if gathered else parts


def _pieces(text: str, size: int) -> Iterator[str]:
    characters = size // 4  # of at most four bytes each
    for paragraph in re.split(r"\n\s*\n", text):
        rest = paragraph.strip("\n")
        while len(rest.encode()) > size:
            end = rest.rfind("\n", 1, characters)
            end = end if end > 0 else characters
            yield rest[:end]
            rest = rest[end:].lstrip("\n")
        if rest.strip():
            yield rest


def _exchanges(name: str, part: str) -> tuple[Exchange, ...]:
    heading, _, body = part.partition("\n")
    title = heading.strip().strip("#=-*_ \t")
    if not title or len(title) > MAX_TITLE:
        title, body = Path(name).stem, part
    answer = first_paragraph(body)
    return (Exchange(f"Tell me about {title.rstrip('.')}.", answer),) if answer else ()


class _Visible(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._hidden += tag in HIDDEN_TAGS
        self._break(tag)

    def handle_endtag(self, tag: str) -> None:
        self._hidden = max(0, self._hidden - (tag in HIDDEN_TAGS))
        self._break(tag)

    def _break(self, tag: str) -> None:
        if tag in PARAGRAPH_TAGS:
            self.pieces.append("\n\n")
        elif tag in LINE_TAGS:
            self.pieces.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.pieces.append(data)


def visible_text(html: str) -> str:
    """The text of an HTML page without markup, scripts and styles."""
    parser = _Visible()
    parser.feed(html)
    parser.close()
    lines = (" ".join(line.split()) for line in "".join(parser.pieces).split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
