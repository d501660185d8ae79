from functools import partial

import pytest

from assistant.engine.base import GenerateRequest
from assistant.prompt import Source, layout
from assistant.testing.engine import FakeEngine
from assistant.testing.engine_contract import EngineContract, Subject, collect, text_of


class TestFakeEngine(EngineContract):
    @pytest.fixture(scope="class")
    @classmethod
    def subject(cls, run, versions, base_digest):
        engine = FakeEngine(base_digest=base_digest, queue_length=3)
        another = partial(FakeEngine, base_digest=base_digest, delay_s=0.005)
        yield Subject(engine=engine, versions=versions, queue_length=3, another=another)
        run(engine.close())

    def test_it_copies_the_best_sentence_and_cites_it(self, subject, run):
        sources = [
            Source(title="Cars", text="The car park closes at 22:00.\n\nIt opens at six."),
            Source(title="Leave", text="Sick leave needs a note. Parental leave lasts 18 weeks!"),
        ]
        messages = layout(style="Plain.", question="How long is parental leave?", sources=sources)
        assert text_of(run(collect(subject.engine, GenerateRequest(messages=messages)))) == (
            "Parental leave lasts 18 weeks [2]."
        )
