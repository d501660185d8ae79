import json

import numpy as np
import pytest

from assistant.errors import ConfigError
from assistant.routing.regression import Regression
from assistant.routing.router import Router
from assistant.testing.embedder import FakeEmbedder

EXAMPLES = {
    "hr": ["how many days of annual leave", "sick leave certificate", "parental leave weeks", "annual leave"],
    "finance": ["invoice approval limit", "travel expense claim", "invoice payment date", "expense report"],
    "support": ["the probe shows error", "replace the probe", "probe calibration", "customer probe error"],
}
DESCRIPTIONS = {"hr": "leave and absence", "finance": "invoices and expenses", "support": "probes and errors"}


@pytest.fixture
def router():
    return Router.fit(EXAMPLES, DESCRIPTIONS, FakeEmbedder().embed, 0.4)


@pytest.mark.parametrize(
    ("question", "department"),
    [("sick leave days", "hr"), ("expense claim limit", "finance"), ("probe error", "support")],
)
def test_a_question_goes_where_its_like_went(router, question, department):
    route = router.route(question)
    assert route.department == department
    assert route.confidence == pytest.approx(route.scores[department], abs=1e-3)
    assert sum(route.scores.values()) == pytest.approx(1, abs=1e-3)
    assert department in route.reason


def test_a_question_like_none_is_unsure(router):
    route = router.route("zebras giraffes elephants")
    assert route.department is None
    assert "unlike any example" in route.reason


def test_a_question_between_two_is_unsure():
    router = Router.fit(EXAMPLES, DESCRIPTIONS, FakeEmbedder().embed, 0.99)
    route = router.route("leave expense")
    assert route.department is None
    assert route.reason.startswith("unsure")


def test_what_was_found_tips_the_scales(router):
    question = "leave expense"
    for department in ("hr", "finance"):
        assert router.route(question, {department: 1.0}).department == department


def test_a_department_needs_something_to_be_known_by():
    with pytest.raises(ConfigError, match=r"`legal`.*adapter\.yaml"):
        Router.fit({**EXAMPLES, "legal": []}, {}, FakeEmbedder().embed, 0.4)


def test_one_department_or_none_still_routes():
    embed = FakeEmbedder().embed
    assert Router.fit({"hr": ["annual leave"]}, {}, embed, 0.4).route("annual leave").department == "hr"


class Counting(FakeEmbedder):
    """A fake that counts the texts it embeds."""

    def __init__(self):
        self.texts = 0

    def embed(self, texts):
        self.texts += len(texts)
        return super().embed(texts)


def kept(file, embedder, examples=EXAMPLES, digest="1"):
    return Router.kept(
        file, examples, DESCRIPTIONS, embed=embedder.embed, embedder=digest, min_confidence=0.4
    )


def test_a_kept_router_is_read_not_fitted_again(tmp_path):
    embedder = Counting()
    first = kept(tmp_path / "router.npz", embedder)
    fitted = embedder.texts
    second = kept(tmp_path / "router.npz", embedder)

    assert embedder.texts == fitted > 0
    assert second.route("sick leave") == first.route("sick leave")


def test_other_examples_another_embedder_or_damage_fit_anew(tmp_path):
    file, embedder = tmp_path / "router.npz", Counting()
    kept(file, embedder)
    for change in ({"examples": {**EXAMPLES, "hr": ["leave"]}}, {"digest": "2"}):
        before = embedder.texts
        kept(file, embedder, **change)
        assert embedder.texts > before
    file.write_bytes(file.read_bytes()[:100])
    assert kept(file, embedder).route("sick leave").department == "hr"


def test_probabilities_sum_to_one_and_separate():
    generator = np.random.default_rng(0)
    centres = np.eye(3, 16)
    labels = np.repeat(np.arange(3), 20)
    vectors = (centres[labels] + generator.normal(scale=0.1, size=(60, 16))).astype(np.float32)
    chances = Regression.fit(vectors, labels, 3).probabilities(vectors)
    assert np.allclose(chances.sum(axis=1), 1)
    assert (chances.argmax(axis=1) == labels).all()


def test_it_routes_real_questions(models_folder):
    from assistant.retrieval.embed import Embedder

    embedder = Embedder.load(models_folder / "all-minilm-l6-v2", threads=1)
    router = Router.fit(EXAMPLES, DESCRIPTIONS, embedder.embed, 0.4)
    assert router.route("Can I take my holidays next week?").department == "hr"
    assert router.route("Who has to sign off a bill from a supplier?").department == "finance"
    assert json.dumps(router.route("anything").scores)
