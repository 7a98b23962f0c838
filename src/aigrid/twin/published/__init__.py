"""Results that others published, computed anew from their inputs with the twin's own models."""

from aigrid.twin.published.files import results

__all__ = ["results"]
