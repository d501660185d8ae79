"""RFC 6962 trees against known vectors, and proofs that hold for the right tree only."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.audit.merkle import (
    EMPTY_ROOT,
    Frontier,
    check_consistency,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root,
    root_from_inclusion,
)

# The reference inputs and roots of certificate-transparency's own tests (merkletree).
INPUTS = [bytes.fromhex(x) for x in (
    "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"
)]  # fmt: skip
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
LEAVES = [leaf_hash(str(n).encode()) for n in range(70)]


def reference(leaves):
    """The definition of RFC 6962, section 2.1, word for word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return node_hash(reference(leaves[:k]), reference(leaves[k:]))


def test_known_vectors():
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    leaves = [leaf_hash(data) for data in INPUTS]
    assert [root(leaves[:size]).hex() for size in range(1, 9)] == ROOTS


def test_known_proofs():
    """Paths of RFC 9162's section 2.1.5 (seven leaves), by their node names."""
    d = LEAVES[:7]
    a, b, c, e, f, j = d[0], d[1], d[2], d[4], d[5], d[6]
    g, h, i = node_hash(a, b), node_hash(c, d[3]), node_hash(e, f)
    k, l_ = node_hash(g, h), node_hash(i, j)
    assert inclusion_proof(d, 0) == [b, h, l_]
    assert inclusion_proof(d, 3) == [c, g, l_]
    assert inclusion_proof(d, 4) == [f, j, k]
    assert inclusion_proof(d, 6) == [i, k]
    assert consistency_proof(d, 3) == [c, d[3], g, l_]
    assert consistency_proof(d, 4) == [l_]
    assert consistency_proof(d, 6) == [i, j, k]


def test_roots_follow_the_definition_at_every_size():
    frontier = Frontier()
    for size, leaf in enumerate(LEAVES):
        assert frontier.root() == reference(LEAVES[:size])
        before = frontier.copy()
        frontier.append(leaf)
        assert before.root() == reference(LEAVES[:size]) and before.size == size


def test_every_inclusion_proof_up_to_70_leaves_holds():
    for size in range(1, 71):
        leaves = LEAVES[:size]
        top = root(leaves)
        for index in range(size):
            proof = inclusion_proof(leaves, index)
            assert root_from_inclusion(leaves[index], index, size, proof) == top


def test_every_consistency_proof_up_to_70_leaves_holds():
    roots = [root(LEAVES[:size]) for size in range(71)]
    for second in range(1, 71):
        for first in range(1, second + 1):
            proof = consistency_proof(LEAVES[:second], first)
            assert check_consistency(first, second, roots[first], roots[second], proof)
            if first < second:
                assert not check_consistency(first, second, roots[first - 1], roots[second], proof)


@st.composite
def mutations(draw, proof):
    """A proof with one node altered, dropped, doubled or moved."""
    changed = list(proof)
    at = draw(st.integers(0, max(0, len(changed) - 1)))
    kind = draw(st.sampled_from(["flip", "drop", "add", "swap"] if changed else ["add"]))
    if kind == "flip":
        bit = draw(st.integers(0, 255))
        changed[at] = (int.from_bytes(changed[at]) ^ 1 << bit).to_bytes(32)
    elif kind == "drop":
        del changed[at]
    elif kind == "add":
        changed.insert(at, draw(st.sampled_from([*proof, bytes(32)])))
    else:
        other = draw(st.integers(0, len(changed) - 1))
        changed[at], changed[other] = changed[other], changed[at]
    return changed


@given(st.data())
def test_a_mutated_inclusion_proof_fails(data):
    size = data.draw(st.integers(1, 70))
    index = data.draw(st.integers(0, size - 1))
    leaves = LEAVES[:size]
    proof = inclusion_proof(leaves, index)
    changed = data.draw(mutations(proof))
    if changed != proof:
        assert_not_included(leaves[index], index, size, changed, root(leaves))
    wrong = data.draw(st.integers(-1, size))
    if wrong != index:
        assert_not_included(leaves[index], wrong, size, proof, root(leaves))


def assert_not_included(leaf, index, size, proof, top):
    try:
        assert root_from_inclusion(leaf, index, size, proof) != top
    except ValueError:
        pass


@given(st.data())
def test_a_mutated_consistency_proof_fails(data):
    second = data.draw(st.integers(2, 70))
    first = data.draw(st.integers(1, second - 1))
    proof = consistency_proof(LEAVES[:second], first)
    changed = data.draw(mutations(proof))
    if changed != proof:
        assert not check_consistency(first, second, root(LEAVES[:first]), root(LEAVES[:second]), changed)


def test_impossible_requests():
    with pytest.raises(ValueError, match="no leaf 3"):
        inclusion_proof(LEAVES[:3], 3)
    with pytest.raises(ValueError, match="no tree of 0"):
        consistency_proof(LEAVES[:3], 0)
    with pytest.raises(ValueError, match="too long"):
        root_from_inclusion(LEAVES[0], 0, 1, [LEAVES[1]])
    with pytest.raises(ValueError, match="too short"):
        root_from_inclusion(LEAVES[0], 0, 2, [])
    assert not check_consistency(0, 3, EMPTY_ROOT, root(LEAVES[:3]), [])
    assert not check_consistency(3, 2, root(LEAVES[:3]), root(LEAVES[:2]), [])
    assert check_consistency(3, 3, root(LEAVES[:3]), root(LEAVES[:3]), [])
