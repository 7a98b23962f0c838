"""What is wrong with a file, line by line: collected, so that a person sees all of it at once."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from aigrid.core.errors import ConfigurationError

# Of each kind; more are counted, not kept.
LIMIT = 50
SHOWN_CHARACTERS = 60
OnRead = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, or looks so.

    Attributes:
        origin: file.
        line: of that file, from 1; row of a Parquet file; 0 where it is about no line.
        where: column, or key of YAML; empty for the whole line.
        what: is wrong, with the value.
        next_step: what to do about it.
    """

    origin: str
    line: int
    where: str
    what: str
    next_step: str

    @property
    def message(self) -> str:
        """`file:line: where: what`, as editors and `grep` know it."""
        place = f"{self.origin}:{self.line}" if self.line else self.origin
        return ": ".join(part for part in (place, self.where, self.what) if part)


@dataclass(slots=True)
class Problems:
    """Collects problems.

    Attributes:
        limit: of errors, and of warnings, that are kept.
        errors: what makes a file unusable.
        warnings: what can be used and looks like a mistake.
        facts: what was found, a sentence each, for who looks whether it is what they meant.
        more_errors: not kept.
        more_warnings: not kept.
        on_read: hears, while a large file is read: its name, bytes read, bytes in all.
    """

    limit: int = LIMIT
    errors: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    facts: list[str] = field(default_factory=list)
    more_errors: int = 0
    more_warnings: int = 0
    on_read: OnRead | None = None

    def error(
        self, origin: str, line: int, where: str, what: str, next_step: str, times: int = 1
    ) -> None:
        """Keep an error; `times` of the same kind, of which this is the first."""
        if len(self.errors) < self.limit:
            self.errors.append(Problem(origin, line, where, what, next_step))
            times -= 1
        self.more_errors += times

    def warn(self, origin: str, line: int, where: str, what: str, next_step: str) -> None:
        """Keep a warning."""
        if len(self.warnings) < self.limit:
            self.warnings.append(Problem(origin, line, where, what, next_step))
        else:
            self.more_warnings += 1

    @property
    def count(self) -> int:
        """Errors, kept or not."""
        return len(self.errors) + self.more_errors

    def raise_first(self, checked: str) -> None:
        """End with the first error, if there is any.

        Args:
            checked: the file that `aigrid scenario check` would be given.

        Raises:
            ConfigurationError: with what to do, and how many more there are.
        """
        if not self.errors:
            return
        first, more = self.errors[0], self.count - 1
        rest = f" ({more} more: aigrid scenario check {checked})" if more else ""
        raise ConfigurationError(first.message, next_step=first.next_step + rest)


def shown(value: object) -> str:
    """A value as a message quotes it, cut where it is long."""
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word that somebody meant, or an empty text."""
    lower = {name.lower(): name for name in known}
    short = word.lower().strip()
    close = difflib.get_close_matches(short, lower, n=1, cutoff=0.6)
    begun = [name for name in lower if len(short) > 2 and name.startswith(short[:5])]
    found = close or begun
    return lower[found[0]] if found else ""


def instead(word: str, known: Iterable[str]) -> str:
    """Next step for an unknown word: the one that was meant, or all that are known."""
    names = list(dict.fromkeys(known))
    meant = nearest(word, names)
    return f"did you mean {meant}?" if meant else f"known: {', '.join(sorted(names))}"
