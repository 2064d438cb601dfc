import random
from hashlib import sha256

import pytest

from quant_core.errors import UsageError
from quant_core.evidence.ledger.merkle import Frontier, leaf_hashes

# The reference entries and roots of Certificate Transparency's implementations.
ENTRIES = [bytes.fromhex(text) for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657")]
ENTRIES.append(bytes.fromhex("606162636465666768696a6b6c6d6e6f"))
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
SIZES = 67


def slow_root(entries: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, word for word."""
    if len(entries) < 2:
        return sha256(b"\0" + entries[0]).digest() if entries else sha256(b"").digest()
    split = 1 << (len(entries) - 1).bit_length() - 1
    return sha256(b"\1" + slow_root(entries[:split]) + slow_root(entries[split:])).digest()


def grown(entries: list[bytes]) -> Frontier:
    tree = Frontier()
    tree.extend(leaf_hashes(entries))
    return tree


@pytest.mark.parametrize("size", range(len(ROOTS)))
def test_roots_are_those_of_certificate_transparency(size):
    assert grown(ENTRIES[:size]).root.hex() == ROOTS[size]


def test_a_tree_grown_in_any_steps_has_the_root_of_the_definition():
    entries = [str(number).encode() for number in range(SIZES)]
    generator = random.Random(3)
    for size in range(SIZES):
        tree = Frontier()
        while tree.size < size:
            step = generator.randint(1, size - tree.size)
            tree.extend(leaf_hashes(entries[tree.size : tree.size + step]))
            tree = Frontier(tree.size, tree.peaks)  # what a checkpoint keeps is enough to go on
        assert tree.root == slow_root(entries[:size])
        assert len(tree.peaks) == size.bit_count()


def test_a_copy_grows_on_its_own():
    tree = grown(ENTRIES[:3])
    tree.copy().extend(leaf_hashes(ENTRIES[3:]))
    assert tree.root.hex() == ROOTS[3]


@pytest.mark.parametrize(("size", "peaks"), [(1, ()), (3, (b"x" * 32,)), (1, (b"x",)), (-1, ())])
def test_a_size_and_peaks_that_do_not_belong_together_are_refused(size, peaks):
    with pytest.raises(UsageError):
        Frontier(size, peaks)
