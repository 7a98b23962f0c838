"""Nouns and units that every room shares: pure data, numpy and the standard library only."""
