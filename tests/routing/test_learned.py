import numpy as np
import pytest

from assistant.config import Routing
from assistant.routing.examples import Examples
from assistant.routing.learned import NONE, Learned
from assistant.routing.router import Router
from assistant.testing.embedder import FakeEmbedder

QUESTIONS = {"hr": ["annual leave days", "sick leave note"], "finance": ["invoice limit", "expense report"]}
DESCRIPTIONS = {"hr": "leave and absence", "finance": "invoices and expenses"}
EXAMPLES = Examples(questions=QUESTIONS, descriptions=DESCRIPTIONS, none=["zebra parade"])


class Counting(FakeEmbedder):
    """A fake that remembers the texts it embeds."""

    def __init__(self):
        self.texts = []

    def embed(self, texts):
        self.texts += texts
        return super().embed(texts)


def kept(file, embedder, examples=EXAMPLES, digest="1"):
    return Learned.kept(file, examples, embed=embedder.embed, embedder=digest)


def _same(one, other):
    router, again = (Router.of(each, FakeEmbedder().embed, Routing()) for each in (one, other))
    return all(router.route(q) == again.route(q) for q in ("sick leave", "invoice", "zebra", "leave report"))


def test_what_was_learned_is_read_not_learned_again(tmp_path):
    embedder = Counting()
    first = kept(tmp_path / "router.npz", embedder)
    embedder.texts.clear()
    assert _same(kept(tmp_path / "router.npz", embedder), first)
    assert embedder.texts == []
    assert [file.name for file in tmp_path.iterdir()] == ["router.npz"]


def test_a_new_example_embeds_only_itself(tmp_path):
    file, embedder = tmp_path / "router.npz", Counting()
    kept(file, embedder)
    embedder.texts.clear()
    more = Examples(
        questions={**QUESTIONS, "hr": ["annual leave days", "bereavement"]}, none=["zebra parade"]
    )
    again = kept(file, embedder, more)
    assert embedder.texts == ["bereavement"]
    assert _same(again, Learned.fit(more, FakeEmbedder().embed))


def test_another_embedder_embeds_everything(tmp_path):
    file, embedder = tmp_path / "router.npz", Counting()
    kept(file, embedder)
    once = len(embedder.texts)
    kept(file, embedder, digest="2")
    assert len(embedder.texts) == 2 * once


@pytest.mark.parametrize("damage", [b"", b"junk" * 100, None])
def test_a_damaged_file_is_learned_anew(tmp_path, damage):
    file, embedder = tmp_path / "router.npz", Counting()
    first = kept(file, embedder)
    file.write_bytes(file.read_bytes()[:100] if damage is None else damage)
    assert _same(kept(file, embedder), first)


def test_texts_are_taken_once_and_descriptions_are_no_questions():
    questions = {"hr": ["annual leave", " annual leave ", ""], "finance": ["invoice"]}
    learned = Learned.fit(Examples(questions=questions, descriptions=DESCRIPTIONS), FakeEmbedder().embed)
    assert learned.departments == ("finance", "hr")
    assert learned.texts == ("invoice", "invoices and expenses", "annual leave", "leave and absence")
    assert learned.labels.tolist() == [0, 0, 1, 1] and learned.asked.tolist() == [True, False, True, False]


def test_a_question_of_none_has_no_department():
    learned = Learned.fit(EXAMPLES, FakeEmbedder().embed)
    assert (learned.texts[-1], learned.labels[-1]) == ("zebra parade", NONE)
    _, likeness = learned.look(FakeEmbedder().embed(["zebra parade", "invoice limit"]))
    assert likeness[0] < 0.15 < likeness[1]


def test_chances_tell_how_often_it_is_right():
    generator = np.random.default_rng(0)
    words = {name: [f"{name}{i}" for i in range(6)] for name in ("a", "b", "c")}
    every = [word for own in words.values() for word in own]

    def asked(name, count):
        return [
            " ".join([*generator.choice(words[name], 2), *generator.choice(every, 2)]) for _ in range(count)
        ]

    learned = Learned.fit(Examples(questions={name: asked(name, 80) for name in words}), FakeEmbedder().embed)
    new = [(name, text) for name in words for text in asked(name, 150)]
    chances, _ = learned.look(FakeEmbedder().embed([text for _, text in new]))
    right = np.array(learned.departments)[chances.argmax(axis=1)] == np.array([name for name, _ in new])
    assert chances.sum(axis=1) == pytest.approx(1)
    assert chances.max(axis=1).mean() == pytest.approx(right.mean(), abs=0.06)
    assert 0.6 < right.mean() < 1
