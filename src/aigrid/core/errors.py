"""The one error tree.

A message names the value and where it came from; `next_step` says what to do about it. Every leaf
carries the exit code a command ends with and the status and code an HTTP answer has, so that no
edge invents its own.
"""

from __future__ import annotations


class AigridError(Exception):
    """Root of every error that aigrid raises on purpose.

    Args:
        message: one line: what is wrong, naming the value and where it came from.
        next_step: one line: what the reader can do about it.
    """

    exit_code = 1
    http_status = 500
    code = "internal_error"

    def __init__(self, message: str, *, next_step: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step

    def __str__(self) -> str:
        return f"{self.message}; {self.next_step}" if self.next_step else self.message


class ConfigurationError(AigridError):
    """A file or option that a person wrote cannot be used (unknown key, wrong type)."""

    exit_code = 2
    http_status = 400
    code = "invalid_configuration"


class InvalidRequestError(AigridError):
    """A request to an API is malformed or asks for what the service does not do."""

    http_status = 400
    code = "invalid_request_error"


class AuthenticationError(AigridError):
    """No key, or a key that is not known here."""

    http_status = 401
    code = "invalid_api_key"


class PermissionDeniedError(AigridError):
    """The key is known, but may not do this: its role, its tenant or a rule forbids it."""

    exit_code = 9
    http_status = 403
    code = "permission_denied"


class SovereigntyError(AigridError):
    """A rule on regions or operators leaves no site where the request may go."""

    exit_code = 9
    http_status = 403
    code = "sovereignty_rule"


class NotFoundError(AigridError):
    """A name that nothing here answers to."""

    exit_code = 4
    http_status = 404
    code = "not_found"


class ConflictError(AigridError):
    """The thing exists already, is in use, or is in a state that forbids the action."""

    exit_code = 5
    http_status = 409
    code = "conflict"


class TooLargeError(AigridError):
    """A body, file, prompt or name is over its limit."""

    http_status = 413
    code = "too_large"


class IntegrityError(AigridError):
    """Bytes that do not have the digest, or a package without the signature, they must have."""

    exit_code = 6
    http_status = 422
    code = "integrity_error"


class DataError(AigridError):
    """Input data that cannot be used: empty, binary, too little."""

    exit_code = 3
    http_status = 422
    code = "unusable_data"


class StorageError(AigridError):
    """The disk is full, or a file cannot be read or written."""

    exit_code = 7
    http_status = 507
    code = "storage_error"


class OverloadedError(AigridError):
    """A queue is at its limit; try again later (HTTP answers carry Retry-After)."""

    exit_code = 8
    http_status = 429
    code = "overloaded"


class RateLimitError(AigridError):
    """A tenant's quota a minute, or of streams, is used up.

    Args:
        message: see `AigridError`.
        next_step: see `AigridError`.
        retry_after_s: when it is worth asking again.
    """

    exit_code = 8
    http_status = 429
    code = "rate_limit_exceeded"

    def __init__(self, message: str, *, next_step: str = "", retry_after_s: float = 1.0) -> None:
        super().__init__(message, next_step=next_step)
        self.retry_after_s = retry_after_s


class InsufficientQuotaError(AigridError):
    """A tenant's budget and credits are used up."""

    exit_code = 9
    http_status = 429
    code = "insufficient_quota"
    retry_after_s = 3600.0


class UnavailableError(AigridError):
    """The part that should answer cannot be reached or is not ready."""

    exit_code = 8
    http_status = 503
    code = "unavailable"
