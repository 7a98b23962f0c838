"""Which path serves which kind of service."""

from __future__ import annotations

from aigrid.core.errors import InvalidRequestError
from aigrid.engines import embeddings_api
from aigrid.live.quotas import Ask

EMBED = "embed"


class WrongKindError(InvalidRequestError):
    """A model was asked for what it does not do."""

    param = "model"
    code = "model_not_supported"


def check(path: str, model: str, kind: str) -> None:
    """Refuse a request that goes to a model of another kind.

    Args:
        path: of HTTP.
        model: the service that it names.
        kind: of that service; empty where it is not known.

    Raises:
        WrongKindError: embeddings of a model that makes text, or the other way round.
    """
    embeds = path == embeddings_api.PATH
    if not kind or embeds == (kind == EMBED):
        return
    if embeds:
        raise WrongKindError(
            f"model {model!r} is of kind {kind!r} and makes no embeddings",
            next_step="name a model of kind 'embed'; GET /v1/models says which are",
        )
    raise WrongKindError(
        f"model {model!r} makes embeddings, no text", next_step=f"POST {embeddings_api.PATH}"
    )


def ask_of(path: str, service: str, stream: bool, body: bytes) -> Ask:
    """What is known of a request before it goes anywhere; embeddings have prompts alone."""
    ask = Ask.of(service, stream, body)
    return Ask(service, stream, ask.prompt_tokens, 0) if path == embeddings_api.PATH else ask
