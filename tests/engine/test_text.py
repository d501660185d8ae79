from hypothesis import given
from hypothesis import strategies as st

from assistant.engine.text import Detokenizer, StopStrings


def decode(tokens):
    return bytes(tokens).decode("utf-8", errors="replace")


@given(st.text())
def test_every_release_is_whole_characters(text):
    detokenizer = Detokenizer(decode)
    pieces = [detokenizer.add(byte) for byte in text.encode()]
    assert "".join(pieces) + detokenizer.flush() == text
    assert all("\ufffd" not in piece for piece in pieces) or "\ufffd" in text


@given(st.binary(max_size=40))
def test_broken_bytes_never_stall_or_repeat(data):
    detokenizer = Detokenizer(decode)
    text = "".join(detokenizer.add(byte) for byte in data) + detokenizer.flush()
    plain = decode(data)
    assert text.replace("\ufffd", "") == plain.replace("\ufffd", "")


@given(st.lists(st.text("ab#", max_size=4), max_size=12), st.lists(st.text("ab#", min_size=1, max_size=4)))
def test_stops_end_the_text_before_the_first_of_them(pieces, stops):
    held, out, stopped = StopStrings(stops), "", False
    for piece in pieces:
        released = held.add(piece)
        out += released.text
        if released.stopped:
            stopped = True
            break
    if not stopped:
        out += held.flush()
    whole = "".join(pieces)
    assert whole.startswith(out)
    assert not any(stop in out for stop in stops)
    assert stopped == any(stop in whole for stop in stops)
    assert stopped or out == whole


def test_nothing_is_held_back_without_a_stop_in_sight():
    assert StopStrings(()).add("text").text == "text"
    assert StopStrings(("\n\n",)).add("text").text == "text"
    assert StopStrings(("\n\n",)).add("text\n").text == "text"
