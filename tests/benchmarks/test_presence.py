"""What the presence benchmark counts, without its data."""

import asyncio

from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from assistant.engine.base import GenerateRequest
from assistant.prompt import Source, layout
from assistant.types import Sampling
from benchmarks import presence
from benchmarks.figures import Options


def test_without_data_it_says_so(tmp_path):
    (figure,) = presence.run(Options(data=tmp_path))
    assert figure.value is None and "no questions" in figure.skipped


def test_questions_that_need_a_yes_or_a_no_alone_are_left_out(tmp_path):
    (tmp_path / "HR").mkdir()
    rows = ['"How long?","x","[\'3 months\']","a.pdf"', '"May I?","x","[\'Yes\', \'no.\']","a.pdf"']
    text = "\n".join(["question,answer,tokens_present,document", *rows])
    (tmp_path / "HR" / "token_presence_HR.csv").write_text(text)
    [asked] = presence.read(tmp_path)
    assert asked == presence.Asked(report="HR", question="How long?", tokens=("3 months",))


def test_tokens_are_looked_for_as_they_are_read():
    asked = presence.Asked(report="HR", question="?", tokens=("3 Months", "in-charge", "Member’s"))
    assert asked.answered_by("The member's term of 3\nmonths, and the in\u2011charge.")
    assert not asked.answered_by("The member's term of 3 weeks, and the in-charge.")


def test_the_engine_keeps_the_passages_and_nothing_else():
    words = Tokenizer(WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    words.pre_tokenizer = Whitespace()
    engine = presence.Keeping(words)
    sources = [Source(title="Leave", text="Question: is this asked?\nYes.")]
    messages = layout(style="", question="How long?", sources=sources)

    async def ask():
        request = GenerateRequest(messages=messages, sampling=Sampling(max_tokens=1))
        return [delta async for delta in engine.generate(request)]

    assert asyncio.run(ask())[-1].finish == "stop"
    assert engine.passages.strip() == "[1] Leave\nQuestion: is this asked?\nYes."
    assert engine.count_tokens("How long is it") == 4
