import pytest

from assistant.engine.base import Sampling
from assistant.engine.sampling import check
from assistant.errors import BadRequest

NAN, INFINITY = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[("temperature", value) for value in (-0.1, NAN, INFINITY)],
        *[("top_p", value) for value in (0.0, -1.0, 1.1, NAN)],
        ("top_k", -1),
        *[("min_p", value) for value in (-0.1, 1.1, NAN)],
        *[("seed", value) for value in (2**63, -(2**63) - 1)],
        *[("repetition_penalty", value) for value in (0.0, -1.0, 11.0, NAN)],
        *[("presence_penalty", value) for value in (-2.1, 2.1, NAN)],
        *[("logprobs", value) for value in (-1, 21)],
        ("stop", ("", "x")),
        *[("max_tokens", value) for value in (0, -5)],
    ],
)
def test_a_setting_out_of_range_is_named_with_its_range(field, value):
    with pytest.raises(BadRequest, match=f"^{field} is ") as caught:
        check(Sampling(**{field: value}))
    assert caught.value.remedy.startswith("Give it ")


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(),
        Sampling(
            temperature=2.0,
            top_p=1e-9,
            top_k=10**9,
            min_p=1.0,
            seed=-(2**63),
            repetition_penalty=10.0,
            presence_penalty=-2.0,
            logprobs=20,
            stop=("\n",),
            max_tokens=1,
        ),
        Sampling(temperature=1e9, min_p=0.0, seed=2**63 - 1, presence_penalty=2.0, logprobs=0),
    ],
)
def test_the_edges_of_the_ranges_are_allowed(sampling):
    check(sampling)
