"""Keys are written as NATS writes them, and what is none is refused."""

import pytest

from aigrid.core.errors import ConfigurationError
from aigrid.live.fabric.nkeys import KeyPair, is_public

# The pair of the documentation of nats-io/nkeys.
SEED = "SUAMLK2ZNL35WSMW37E7UD4VZ7ELPKW7DHC3BWBSD2GCZ7IUQQXZIORRBU"
PUBLIC = "UCK5N7N66OBOINFXAYC2ACJQYFSOD4VYNU6APEJTAVFZB2SVHLKGEW7L"


def test_a_known_pair_is_read_and_written() -> None:
    key = KeyPair.read(SEED)
    assert (key.kind, key.public, key.seed) == ("user", PUBLIC, SEED)
    assert SEED not in repr(key)


@pytest.mark.parametrize("kind", ["operator", "account", "user"])
def test_each_kind_comes_back_from_its_seed(kind: str) -> None:
    key = KeyPair.new(kind)  # type: ignore[arg-type]
    assert KeyPair.read(key.seed) == key
    assert key.public[0] == kind[0].upper()
    assert [k for k in ("operator", "account", "user") if is_public(key.public, k)] == [kind]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text", ["", "x", "SU", PUBLIC, SEED[:-9] + "A" + SEED[-8:], "SUAM!" + SEED[5:]]
)
def test_what_is_no_seed_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError):
        KeyPair.read(text)


def test_a_seed_is_no_public_key() -> None:
    assert not is_public(SEED, "user")
    assert not is_public(PUBLIC[:-1] + "A", "user")
