import json

import pytest

from assistant.config import Routing
from assistant.errors import ConfigError
from assistant.routing.examples import Examples
from assistant.routing.router import Router
from assistant.testing.embedder import FakeEmbedder

QUESTIONS = {
    "hr": ["how many days of annual leave", "sick leave certificate", "parental leave weeks", "annual leave"],
    "finance": ["invoice approval limit", "travel expense claim", "invoice payment date", "expense report"],
    "support": ["the probe shows error", "replace the probe", "probe calibration", "customer probe error"],
}
DESCRIPTIONS = {"hr": "leave and absence", "finance": "invoices and expenses", "support": "probes and errors"}
EXAMPLES = Examples(questions=QUESTIONS, descriptions=DESCRIPTIONS)


def fit(examples=EXAMPLES, **settings):
    return Router.fit(examples, FakeEmbedder().embed, Routing(**settings))


@pytest.fixture
def router():
    return fit()


@pytest.mark.parametrize(
    ("question", "department"),
    [("sick leave days", "hr"), ("expense claim limit", "finance"), ("probe error", "support")],
)
def test_a_question_goes_where_its_like_went(router, question, department):
    route = router.route(question)
    assert (route.department, route.outcome) == (department, "department")
    assert route.confidence == pytest.approx(route.scores[department], abs=1e-3)
    assert sum(route.scores.values()) == pytest.approx(1, abs=1e-3)
    assert department in route.reason


def test_a_question_like_none_is_none_of_theirs(router):
    route = router.route("zebras giraffes elephants")
    assert (route.department, route.outcome) == (None, "none")
    assert route.reason.startswith("none of our departments")


def test_a_question_between_two_is_unsure():
    route = fit(min_confidence=0.99).route("leave expense")
    assert (route.department, route.outcome) == (None, "unsure")
    assert route.reason.startswith("unsure") and "hr" in route.reason and "finance" in route.reason


def test_what_was_found_tips_the_scales(router):
    for department in ("hr", "finance"):
        route = router.route("leave expense", evidence={department: 1.0})
        assert route.department == department
        assert "found for it" in route.reason


def test_what_was_found_speaks_for_an_unfamiliar_question(router):
    assert router.route("zebras giraffes elephants", evidence={"hr": 1.0}).department == "hr"
    assert router.route("zebras giraffes elephants", evidence={"hr": 0.2}).outcome == "none"


def test_the_askers_own_department_tips_the_scales_but_not_a_clear_question():
    router = fit(own_department=4)
    asked = {own: router.route("leave expense", own=own) for own in ("hr", "finance")}
    assert {own: route.department for own, route in asked.items()} == {"hr": "hr", "finance": "finance"}
    assert "own department" in asked["hr"].reason
    clear = router.route("parental leave weeks", own="finance")
    assert clear.department == "hr" and "own department" not in clear.reason
    assert router.route("parental leave weeks", own="reception").department == "hr"


def test_the_askers_own_department_counts_as_the_settings_say():
    plain, own = fit(own_department=1), fit(own_department=100)
    assert plain.route("leave expense", own="hr").scores == plain.route("leave expense").scores
    assert own.route("leave expense", own="hr").confidence > 0.9


def test_a_follow_up_is_read_with_its_conversation(router):
    follow_up = "and how long does that take"
    assert router.route(follow_up, earlier=["travel expense claim"]).department == "finance"
    assert router.route(follow_up, earlier=["sick leave certificate"]).department == "hr"
    assert router.route("and in summer", earlier=["sick leave certificate", follow_up]).department == "hr"


def test_a_clear_question_leaves_its_conversation(router):
    assert (
        router.route("invoice approval limit", earlier=["annual leave", "annual leave"]).department
        == "finance"
    )


def test_questions_of_none_teach_what_is_none_of_theirs(router):
    question = "the annual zebra parade"
    taught = fit(
        Examples(questions=QUESTIONS, descriptions=DESCRIPTIONS, none=["annual parade of the zebra"])
    )
    vectors = FakeEmbedder().embed([question])
    assert taught.learned.look(vectors)[1] < router.learned.look(vectors)[1]
    assert taught.route(question).outcome == "none"


def test_the_share_that_may_be_refused_moves_the_floor():
    assert fit(unfamiliar_share=0).floor <= fit().floor < fit(unfamiliar_share=0.5).floor


def test_every_example_is_routed_by_the_others(router):
    held_out = router.held_out()
    assert [expected for expected, _ in held_out] == [name for name in sorted(QUESTIONS) for _ in range(4)]
    right = [route.department == expected for expected, route in held_out]
    assert 0.5 < sum(right) / len(right) < 1


def test_the_nearest_examples_are_shown_to_operators(router):
    (text, department, similarity), *_ = router.nearest("replace the old probe")
    assert (text, department) == ("replace the probe", "support")
    assert 0.5 < similarity <= 1
    assert text not in router.route("replace the old probe").reason


def test_a_department_needs_something_to_be_known_by():
    with pytest.raises(ConfigError, match=r"`legal`.*adapter\.yaml"):
        fit(Examples(questions={**QUESTIONS, "legal": []}))


def test_one_department_or_none_still_routes():
    assert fit(Examples(questions={"hr": ["annual leave"]})).route("annual leave").department == "hr"


def test_it_routes_real_questions(models_folder):
    from assistant.retrieval.embed import Embedder

    embedder = Embedder.load(models_folder / "all-minilm-l6-v2", threads=1)
    router = Router.fit(EXAMPLES, embedder.embed)
    assert router.route("Can I take my holidays next week?").department == "hr"
    assert router.route("Who has to sign off a bill from a supplier?").department == "finance"
    assert (
        router.route("and how long does it take?", earlier=["My probe shows an error"]).department
        == "support"
    )
    assert router.route("What is the tallest mountain of Peru?").outcome == "none"
    assert json.dumps(router.route("anything").scores)
