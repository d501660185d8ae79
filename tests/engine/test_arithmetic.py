import pytest
import torch

from assistant.engine.arithmetic import Arithmetic, Choice, best, choose, choose_device
from assistant.engine.product import can_pack

FP32, BF16 = Arithmetic(torch.float32, False), Arithmetic(torch.bfloat16, False)
PACKED = Arithmetic(torch.float32, True)


def seconds(prefill, decode):
    return {"prefill": prefill, "decode": decode}


def test_the_fastest_over_both_phases_wins():
    measured = {FP32: seconds(3.0, 2.0), PACKED: seconds(2.5, 1.0), BF16: seconds(9.0, 9.0)}
    assert best(measured) == Choice(prefill=PACKED, decode=PACKED)


def test_two_copies_only_where_they_are_clearly_faster():
    clearly = {FP32: seconds(1.0, 4.0), BF16: seconds(4.0, 1.0)}
    assert best(clearly) == Choice(prefill=FP32, decode=BF16)
    hardly = {FP32: seconds(1.0, 1.1), BF16: seconds(4.0, 1.0)}
    assert best(hardly) == Choice(prefill=FP32, decode=FP32)


def test_two_packings_of_one_dtype_are_not_worth_two_copies():
    measured = {FP32: seconds(1.0, 4.0), PACKED: seconds(4.0, 1.0)}
    assert best(measured).prefill == best(measured).decode


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_is_configured_is_taken(dtype):
    choice = choose(dtype, "off", "cpu", 64, 128)
    assert choice.prefill == choice.decode == Arithmetic(getattr(torch, dtype), False)
    assert str(choice) == dtype


@pytest.mark.skipif(not can_pack(torch.float32), reason="this build packs no weights")
def test_packing_can_be_asked_for():
    assert str(choose("float32", "on", "cpu", 64, 128)) == "float32 packed"


def test_packing_that_the_machine_cannot_do_is_left():
    if not can_pack(torch.bfloat16):
        assert str(choose("bfloat16", "on", "cpu", 64, 128)) == "bfloat16"


def test_auto_measures_and_says_what_it_chose():
    choice = choose("auto", "auto", "cpu", 64, 128)
    assert {choice.prefill.dtype, choice.decode.dtype} <= {torch.float32, torch.bfloat16}
    assert str(choice)


def test_a_gpu_runs_bf16_unpacked():
    assert str(choose("auto", "on", "cuda", 64, 128)) == "bfloat16"
    assert str(choose("float32", "auto", "cuda", 64, 128)) == "float32"
    assert choose_device("cpu") == "cpu"


def test_two_arithmetics_are_both_named():
    assert str(Choice(prefill=FP32, decode=BF16)) == "prefill float32, decode bfloat16"
