import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.engine.cache import KeyValues, Shape
from assistant.engine.prefix import BLOCK, Origin, PrefixCache

SHAPE = Shape(layers=2, heads=1, head_dim=4, dtype=torch.float32, device="cpu")
BLOCK_BYTES = BLOCK * SHAPE.token_bytes
ANYBODY = Origin(adapter=None, public=1000, scope=None)


def made(blocks=8):
    values = KeyValues(SHAPE, 4096, 1024)
    return values, PrefixCache(values, blocks * BLOCK_BYTES)


def run(values, prefix, tokens, origin):
    """As the scheduler does: fetch, compute the rest, keep. What a token leaves is its running sum."""
    lane = values.lanes.take(len(tokens))
    found = prefix.fetch(tokens, origin, lane)
    sums = torch.tensor(tokens).cumsum(0).float()
    values.read(lane, found, len(tokens)).copy_(sums[found:, None].expand(-1, 4))
    torch.testing.assert_close(
        values.read(lane, 0, len(tokens)), sums[:, None].expand(2, 2, 1, -1, 4), msg="another's tokens"
    )
    prefix.keep(tokens, origin, lane)
    values.lanes.give_back(lane)
    return found


def test_whole_blocks_are_used_again_but_for_the_last_token():
    values, prefix = made()
    tokens = list(range(3 * BLOCK))
    assert run(values, prefix, tokens, ANYBODY) == 0
    assert run(values, prefix, tokens, ANYBODY) == 2 * BLOCK
    assert run(values, prefix, [*tokens, 7], ANYBODY) == 3 * BLOCK
    assert run(values, prefix, [*tokens[:BLOCK], 99, *tokens[BLOCK:]], ANYBODY) == BLOCK
    assert run(values, prefix, [99, *tokens], ANYBODY) == 0


def test_another_adapter_finds_nothing():
    values, prefix = made()
    tokens = list(range(2 * BLOCK + 1))
    for adapter in (None, "a", "b"):
        assert run(values, prefix, tokens, Origin(adapter=adapter, public=1000, scope=None)) == 0
    assert run(values, prefix, tokens, Origin(adapter="a", public=1000, scope=None)) == 2 * BLOCK


def test_past_the_public_part_only_the_same_scope_finds_anything():
    values, prefix = made(32)
    tokens = list(range(4 * BLOCK + 1))

    def asked(scope, public=2 * BLOCK):
        return run(values, prefix, tokens, Origin(adapter=None, public=public, scope=scope))

    assert asked("hr") == 0
    assert asked("legal") == 2 * BLOCK
    assert asked("hr") == asked("legal") == 4 * BLOCK
    assert asked(None) == 2 * BLOCK
    assert asked("") == 2 * BLOCK, "an empty scope is not anybody's"
    assert asked("hr", public=2 * BLOCK - 1) == BLOCK, "a block with one private token is private"


def test_without_a_scope_nothing_private_is_kept():
    values, prefix = made()
    tokens = list(range(3 * BLOCK + 1))
    assert run(values, prefix, tokens, Origin(adapter=None, public=BLOCK, scope=None)) == 0
    assert len(prefix) == 1


def test_the_block_unused_for_longest_makes_room():
    values, prefix = made(blocks=2)
    one, two, three = ([n] * (BLOCK + 1) for n in (1, 2, 3))
    for tokens in (one, two, one, three):
        run(values, prefix, tokens, ANYBODY)
    assert len(prefix) == 2
    assert run(values, prefix, one, ANYBODY) == BLOCK
    assert run(values, prefix, two, ANYBODY) == 0


def test_no_memory_no_reuse():
    values, prefix = made(blocks=0)
    tokens = list(range(2 * BLOCK))
    assert run(values, prefix, tokens, ANYBODY) == run(values, prefix, tokens, ANYBODY) == 0


prompts = st.lists(
    st.tuples(
        st.sampled_from("ab"), st.sampled_from(("x", "y", None)), st.integers(0, 5), st.integers(1, 170)
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(prompts)
def test_what_is_found_is_always_what_would_be_computed(asked):
    """`run` compares the lane with the sums after each fetch, under eviction and mixed origins."""
    values, prefix = made(blocks=5)
    for adapter, scope, seed, length in asked:
        tokens = [1] * 64 + [seed] * length
        run(values, prefix, tokens, Origin(adapter=adapter, public=64, scope=scope))
