"""A YAML file whose values are checked one by one, with the line of each."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

import yaml

from aigrid.twin.country.problems import Problems, instead, shown

BYTES_LIMIT = 4 * 1024**2
DEPTH_LIMIT = 32
Place = tuple[str | int, ...]
T = TypeVar("T")


@dataclass(slots=True)
class Document:
    """Values of a file; what is wrong with them goes to `problems`.

    Attributes:
        path: of the file.
        problems: to add to.
        lines: of each value, by the keys and indices that lead to it.
    """

    path: Path
    problems: Problems
    lines: dict[Place, int] = field(default_factory=dict)

    def read(self) -> Any:
        """The plain values; None where the file is no YAML."""
        try:
            with self.path.open("rb") as file:
                content = file.read(BYTES_LIMIT + 1)
            if len(content) > BYTES_LIMIT:
                what = f"over {BYTES_LIMIT:,} bytes"
                self._error(0, "", what, "keep tables in files of their own")
                return None
            text = content.decode("utf-8-sig")
            node = yaml.compose(text, yaml.CSafeLoader if _HAS_C else yaml.SafeLoader)
            self._walk(node, (), set())
            return yaml.safe_load(text)
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 0
            what = f"is no YAML: {error.problem or error.context}"
            self._error(line, "", what, "see the spaces before it, and its colons and brackets")
        except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
            what = f"cannot be read: {str(error).splitlines()[0]}"
            self._error(0, "", what, "give a YAML file in UTF-8")
        return None

    def _walk(self, node: Any, place: Place, above: set[int]) -> None:
        if node is None or id(node) in above or len(place) > DEPTH_LIMIT:
            return
        self.lines.setdefault(place, node.start_mark.line + 1)
        inner = above | {id(node)}
        if isinstance(node, yaml.SequenceNode):
            for at, child in enumerate(node.value):
                self._walk(child, (*place, at), inner)
        elif isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key, child in node.value:
                name, line = str(key.value), key.start_mark.line + 1
                if name in seen:
                    what = "the key is there twice"
                    self._error(line, spelt((*place, name)), what, "keep one of them")
                seen.add(name)
                self.lines[(*place, name)] = line
                self._walk(child, (*place, name), inner)

    def _error(self, line: int, where: str, what: str, step: str) -> None:
        self.problems.error(str(self.path), line, where, what, step)

    def error(self, place: Place, what: str, step: str) -> None:
        """Something is wrong with the value at a place."""
        self._error(self.line(place), spelt(place), what, step)

    def warn(self, place: Place, what: str, step: str) -> None:
        """Something looks wrong with the value at a place."""
        self.problems.warn(str(self.path), self.line(place), spelt(place), what, step)

    def line(self, place: Place) -> int:
        """Line of a value, or of the innermost one around its place."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 0)

    def keys(self, raw: Any, place: Place, required: set[str], optional: set[str]) -> bool:
        """Whether it is an object with all required keys, and no other than the optional ones."""
        if not isinstance(raw, dict):
            self.error(place, f"{shown(raw)} is no object", "write keys and values below it")
            return False
        known = sorted(required | optional)
        for key in raw:
            if key not in known:
                self.error((*place, str(key)), "unknown key", instead(str(key), known))
        missing = sorted(required - set(raw))
        for key in missing:
            self.error(place, f"{key} is missing", "add it; docs/SCENARIOS.md says what it means")
        return not missing

    def number(self, raw: Any, place: Place) -> float:
        """A finite number of 0 or more; NaN where it is none."""
        is_number = isinstance(raw, int | float) and not isinstance(raw, bool)
        if is_number and 0 <= raw < math.inf:
            found: float = raw
            return found
        step = "give a number of 0 or more"
        if isinstance(raw, str) and "e" in raw.lower() and _is_float(raw):
            step = "YAML wants a point and a sign: 8.0e+9"
        self.error(place, f"{shown(raw)} is no number of 0 or more", step)
        return math.nan

    def text(self, raw: Any, place: Place) -> str:
        """A text that is not empty; "" where it is none."""
        if isinstance(raw, str) and raw.strip():
            return raw
        self.error(place, f"{shown(raw)} is no text", "give a name")
        return ""

    def items(self, raw: Any, place: Place) -> list[Any]:
        """A list; empty where it is none."""
        if isinstance(raw, list) and raw:
            return raw
        self.error(place, f"{shown(raw)} is no list, or an empty one", "give one item or more")
        return []

    def texts(self, raw: Any, place: Place) -> tuple[str, ...]:
        """A list of texts."""
        return tuple(
            self.text(item, (*place, at)) for at, item in enumerate(self.items(raw, place))
        )

    def numbers(self, raw: Any, place: Place) -> dict[str, float]:
        """An object of numbers."""
        if not isinstance(raw, dict):
            self.error(place, f"{shown(raw)} is no object", "write names and numbers below it")
            return {}
        return {str(key): self.number(value, (*place, str(key))) for key, value in raw.items()}

    def record(
        self,
        kind: Callable[..., T],
        raw: Any,
        place: Place,
        texts: Collection[str] = (),
        empty: Collection[str] = (),
    ) -> T | None:
        """A dataclass of numbers; None where something is wrong.

        Args:
            kind: the dataclass.
            raw: its values.
            place: of them.
            texts: keys whose values are texts.
            empty: keys whose value may be null.
        """
        before = self.problems.count
        required, optional = _keys_of(kind)
        if not self.keys(raw, place, required, optional):
            return None
        values: dict[str, Any] = {}
        for key, value in raw.items():
            if key in texts:
                values[key] = str(value)
            elif value is None and key in empty:
                values[key] = None
            elif key in required | optional:
                values[key] = self.number(value, (*place, key))
        return None if self.problems.count > before else kind(**values)


def _keys_of(kind: Any) -> tuple[set[str], set[str]]:
    every = fields(kind)
    required = {f.name for f in every if f.default is MISSING and f.default_factory is MISSING}
    return required, {f.name for f in every} - required


def spelt(place: Place) -> str:
    """`services[3].tpot_slo_ms`."""
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _is_float(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


_HAS_C = hasattr(yaml, "CSafeLoader")
