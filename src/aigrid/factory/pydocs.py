"""Text that every machine with Python has: the documentation inside the standard library.

Sources are parsed, never imported: importing runs code, and some modules open windows.
"""

from __future__ import annotations

import ast
import inspect
import re
import sysconfig
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

from aigrid.core.errors import DataError
from aigrid.factory.documents import Corpus, Document, Exchange
from aigrid.factory.progress import Progress

NOT_THE_LIBRARY = {"site-packages", "dist-packages", "__pycache__", "_distutils_hack"}
NOT_FOR_READERS = {"test", "tests", "idle_test", "idlelib", "lib2to3", "turtledemo", "ensurepip"}
SKIPPED_FOLDERS = NOT_THE_LIBRARY | NOT_FOR_READERS | {"pydoc_data"}
ALIASES = {"posixpath": "os.path", "_pydecimal": "decimal", "_pydatetime": "datetime"}
DUPLICATES = frozenset({"ntpath", "_pyio"})
SYSTEM = "You answer questions about the Python standard library."
MIN_PARAGRAPH = 20
MAX_PARAGRAPH = 700
Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def python_docs(progress: Progress, max_bytes: int, library: Path | None = None) -> Corpus:
    """Docstrings of the standard library, a document a module, and the language topics of `pydoc`.

    Args:
        progress: hears a stage `reading`.
        max_bytes: text taken at most.
        library: folder of the library's sources; that of the running Python by default.

    Raises:
        DataError: this Python has no sources (some small installations leave them out).
    """
    root = library or Path(sysconfig.get_path("stdlib"))
    paths = sorted(_module_paths(root))
    topics = root / "pydoc_data" / "topics.py"
    if not paths:
        raise DataError(
            f"{root}: no sources of the Python standard library",
            next_step="give text of your own with --data FILE_OR_DIR",
        )
    progress.stage("reading", len(paths) + 1)
    documents: list[Document] = []
    names: set[str] = set()
    taken, left_out = 0, 0
    for path in paths:
        document = _module_document(path, _module_name(path.relative_to(root)))
        progress.advance(1)
        if document is None or document.name in names:
            continue
        size = len(document.text.encode())
        if taken + size > max_bytes:
            left_out += 1
            continue
        taken += size
        names.add(document.name)
        documents.append(document)
    documents += _topics(topics)
    progress.advance(1, documents=len(documents))
    reasons = (("over the size limit", left_out),) if left_out else ()
    ordered = tuple(sorted(documents, key=lambda d: d.name))
    return Corpus(ordered, "the Python standard library", SYSTEM, reasons)


def _module_paths(root: Path) -> Iterator[Path]:
    for path in root.iterdir() if root.is_dir() else ():
        if path.is_symlink() or path.name in SKIPPED_FOLDERS or path.name.startswith("config-"):
            continue
        if path.is_dir():
            yield from _module_paths(path)
        elif path.suffix == ".py" and path.stem not in DUPLICATES:
            yield path


def _module_name(relative: Path) -> str:
    parts = list(relative.with_suffix("").parts)
    if parts[-1] == "__init__":
        parts.pop()
    parts[0] = ALIASES.get(parts[0], parts[0])
    return ".".join(parts)


def _parsed(path: Path) -> ast.Module | None:
    """The module's tree; None where the running Python cannot parse a file of its own library."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        try:
            return ast.parse(path.read_bytes())
        except (SyntaxError, ValueError, OSError):
            return None


def _module_document(path: Path, name: str) -> Document | None:
    tree = _parsed(path)
    sections: list[str] = []
    exchanges: list[Exchange] = []
    for node, qualified in _documented(tree, name) if tree else ():
        raw = ast.get_docstring(node, clean=False)
        if not raw:
            continue
        docstring = inspect.cleandoc(raw)
        if len(docstring) < MIN_PARAGRAPH:
            continue
        sections.append(f"{_heading(node, qualified)}\n\n{docstring}")
        answer = first_paragraph(docstring)
        if len(answer) >= MIN_PARAGRAPH and "._" not in qualified:
            exchanges.append(Exchange(_question(node, qualified, len(exchanges)), answer))
    if not sections:
        return None
    return Document(name, "\n\n\n".join(sections), tuple(exchanges))


def _documented(
    node: ast.Module | ast.ClassDef, qualified: str
) -> Iterator[tuple[Documented, str]]:
    """The node, its classes and their functions, in source order; what a function hides is left."""
    yield node, qualified
    for child in node.body:
        if isinstance(child, ast.ClassDef):
            yield from _documented(child, f"{qualified}.{child.name}")
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield child, f"{qualified}.{child.name}"


def _heading(node: Documented, qualified: str) -> str:
    if isinstance(node, ast.Module):
        return f"module {qualified}"
    if isinstance(node, ast.ClassDef):
        return f"class {qualified}"
    return f"{qualified}({ast.unparse(node.args)})"


def _question(node: Documented, qualified: str, turn: int) -> str:
    forms: tuple[str, ...]
    if isinstance(node, ast.Module):
        forms = ("What is the `{}` module for?", "Tell me about the `{}` module.")
    elif isinstance(node, ast.ClassDef):
        forms = ("What is `{}`?", "What does `{}` do?", "Explain `{}`.")
    else:
        forms = ("What does `{}` do?", "What does `{}` do?", "Explain `{}`.", "What is `{}`?")
    return forms[turn % len(forms)].format(qualified)


def first_paragraph(text: str) -> str:
    """The first paragraph that is prose, on one line, cut at a sentence if it is very long."""
    for block in re.split(r"\n\s*\n", text):
        line = " ".join(block.split())
        if len(line) >= MIN_PARAGRAPH and re.search(r"[A-Za-z]{3}", line):
            return line if len(line) <= MAX_PARAGRAPH else _cut_at_sentence(line)
    return ""


def _cut_at_sentence(line: str) -> str:
    end = line.rfind(". ", 0, MAX_PARAGRAPH)
    return line[: end + 1] if end > 0 else line[:MAX_PARAGRAPH]


def _topics(path: Path) -> list[Document]:
    """The language topics that `help()` shows: one dictionary literal of title to text."""
    tree = _parsed(path) if path.is_file() else None
    literals = [n.value for n in tree.body if isinstance(n, ast.Assign)] if tree else []
    if not literals or not isinstance(literals[0], ast.Dict):
        return []
    found = {title: str(text).strip() for title, text in ast.literal_eval(literals[0]).items()}
    return [
        Document(f"topic {title}", text, _topic_exchanges(title, text))
        for title, text in sorted(found.items())
        if len(text) >= MIN_PARAGRAPH and not _inside_another(text, found.values())
    ]


def _inside_another(text: str, texts: Iterable[str]) -> bool:
    """Some topics are chapters of others; told twice, they could be learnt and held out at once."""
    body = text.partition("\n\n")[2]
    return any(len(other) > len(text) and body in other for other in texts)


def _topic_exchanges(title: str, text: str) -> tuple[Exchange, ...]:
    heading, _, body = text.partition("\n")
    answer = first_paragraph(re.sub(r"^[*=\-~]+\n", "", body))
    subject = heading.strip().replace('"', "`") or title
    if not answer or len(subject) > 80:
        return ()
    return tuple(Exchange(form.format(subject), answer) for form in ("Explain: {}", "Explain {}."))
