"""What a database's error means to whoever called.

SQLSTATE classes: PostgreSQL documentation, appendix A "PostgreSQL Error Codes".
"""

from __future__ import annotations

from sqlalchemy.exc import DataError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from aigrid.core.errors import (
    AigridError,
    ConfigurationError,
    InvalidRequestError,
    StorageError,
    UnavailableError,
)

_AWAY = ("08", "57", "53300", "25006", "40")  # no connection, shutdown, full, standby, deadlock
_NOT_LET_IN = ("28", "3D")
_NOT_A_VALUE = "22"
_NO_RIGHTS = "42501"


def explain(error: SQLAlchemyError | OSError, shown: str, *, server: bool) -> AigridError:
    """The error for a caller; it names the database without its password.

    Args:
        error: of SQLAlchemy or of the socket.
        shown: the database.
        server: whether it is one, and not a file.
    """
    if isinstance(error, (OSError, PoolTimeoutError)):
        said = "no answer in time" if isinstance(error, OSError) else "every connection is in use"
        return away(shown, said)
    original = getattr(error, "orig", None) or error
    code, said = _told(original)
    if isinstance(error, DataError) or code.startswith(_NOT_A_VALUE):
        return InvalidRequestError(f"the database cannot keep a value: {said}")
    if code.startswith(_NOT_LET_IN):
        return ConfigurationError(
            f"database {shown}: {said}", next_step="mend --database: user, password or name"
        )
    if code == _NO_RIGHTS:
        return ConfigurationError(
            f"database {shown}: {said}", next_step="make its user the owner of the database"
        )
    if code.startswith(_AWAY) or (server and not code):
        return away(shown, said)
    if not server and isinstance(error, OperationalError) and "locked" in said:
        return away(shown, said)
    return StorageError(f"database {shown}: {said}", next_step="check free space and permissions")


def away(shown: str, said: str) -> UnavailableError:
    """The database does not answer now."""
    return UnavailableError(
        f"database {shown} does not answer: {said}", next_step="try again; nothing was changed"
    )


def _told(original: BaseException) -> tuple[str, str]:
    """SQLSTATE, where the server spoke, and its words in one line."""
    first = original.args[0] if original.args else ""
    if isinstance(first, dict):  # pg8000 hands on the fields of ErrorResponse
        return str(first.get("C", "")), " ".join(str(first.get("M", "")).split())
    lines = str(original).splitlines() or [repr(original)]
    return "", lines[0]
