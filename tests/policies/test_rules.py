"""Rule files and what rules decide."""

from pathlib import Path

import pytest

from assistant.errors import ConfigError
from assistant.policies.rules import Facts, RuleBook, applies, evidence, holds_phrase
from assistant.policies.schema import When
from assistant.types import User

HEAD = "rules:\n  - id: one\n    version: 1\n"
TOPIC = "    check: {kind: topic_block, phrases: [dosage]}\n    text: No.\n"
CASES = '    cases:\n      - {name: asked, question: "What dosage?", expect: deny}\n'


def load(folder, text, name="a.yaml"):
    (folder / name).write_text(text, encoding="utf-8")
    return RuleBook.load(folder)


def test_the_sample_companys_rules_load():
    book = RuleBook.load(Path("policies/rules"))
    assert {rule.check.kind for rule in book.rules} == {
        "grounding_min",
        "require_citations",
        "link_allowlist",
        "disclaimer",
        "topic_block",
    }


def test_a_topic_is_blocked(tmp_path, new_facts):
    book = load(tmp_path, HEAD + TOPIC + CASES)
    [decision] = book.decide("input", new_facts(question="Which DOSAGE is right?"))
    assert (decision.action, decision.rule, decision.version, decision.stage) == ("deny", "one", 1, "input")
    assert decision.blocks and decision.text == "No." and "dosage" in decision.reason
    assert book.decide("input", new_facts(question="Which dose?")) == []
    assert book.decide("retrieval", new_facts(question="Which dosage?")) == []


def test_a_shadow_rule_is_recorded_and_not_enforced(tmp_path, new_facts):
    book = load(tmp_path, HEAD + "    mode: shadow\n" + TOPIC + CASES)
    [decision] = book.decide("input", new_facts(question="dosage?"))
    assert (decision.action, decision.mode, decision.blocks) == ("deny", "shadow", False)


class Broken(tuple):
    """Passages that cannot be looked at."""

    def __iter__(self):
        raise RuntimeError("broken")


@pytest.mark.parametrize(("mode", "blocks"), [("enforce", True), ("shadow", False)])
def test_a_rule_that_fails_denies(new_rule, mode, blocks):
    book = RuleBook([new_rule("grounded", "grounding_min", evidence=0.5, mode=mode)])
    [decision] = book.decide("retrieval", Facts(question="?", user=User(id="a"), passages=Broken()))
    assert (decision.action, decision.blocks) == ("deny", blocks)
    assert "the rule failed: RuntimeError: broken" in decision.reason


def test_evidence_is_measured_on_the_best_passage(new_facts, new_rule):
    book = RuleBook([new_rule("grounded", "grounding_min", evidence=0.5)])
    [decision] = book.decide("retrieval", new_facts())
    assert (decision.action, decision.blocks) == ("abstain", True) and "0.00 is below 0.50" in decision.reason
    assert book.decide("retrieval", new_facts("text")) == []
    assert evidence(new_facts("text").passages) == pytest.approx(0.9)
    flagging = RuleBook([new_rule("grounded", "grounding_min", evidence=0.5, action="flag")])
    assert not flagging.decide("retrieval", new_facts())[0].blocks


SELECTORS = [
    ({}, True),
    ({"user.department": ["hr"]}, True),
    ({"user.department": ["legal"]}, False),
    ({"user.group": ["managers", "x"]}, True),
    ({"user.group": ["x"]}, False),
    ({"route.department": ["legal"]}, True),
    ({"route.department": ["hr"]}, False),
    ({"document.department": ["finance"]}, True),
    ({"document.department": ["hr"]}, False),
    ({"document.classification": ["restricted", "public"]}, True),
    ({"document.classification": ["internal"]}, False),
    ({"text": ["sick leave"]}, True),
    ({"text": ["leave sick"]}, False),
    ({"user.department": ["hr"], "text": ["nothing"]}, False),
    ({"not": {"text": ["sick leave"]}}, False),
    ({"not": {"text": ["nothing"]}}, True),
    ({"any": [{"text": ["nothing"]}, {"user.department": ["hr"]}]}, True),
    ({"any": [{"text": ["nothing"]}, {"user.department": ["it"]}]}, False),
    ({"all": [{"text": ["sick"]}, {"user.department": ["hr"]}]}, True),
    ({"all": [{"text": ["sick"]}, {"not": {"user.department": ["hr"]}}]}, False),
]


@pytest.mark.parametrize(("when", "expected"), SELECTORS)
def test_selectors(when, expected, new_facts, new_passage):
    facts = new_facts(
        new_passage("text", department="finance", classification="restricted"),
        question="How do I report sick\n leave?",
        user=User(id="ana", department="hr", groups=frozenset({"managers"})),
        department="legal",
    )
    assert applies(When.model_validate(when), facts) is expected


@pytest.mark.parametrize(
    "text",
    [
        "dosage",
        "DOSAGE?",
        "the-dosage.",
        "ｄｏｓａｇｅ",
        "do\u00adsage",
        "dos\u200bage",
        "medical\n advice",
        "Medical-Advice",
    ],
)
def test_phrases_are_found_however_they_are_written(text):
    assert holds_phrase(text, ["dosage", "medical advice"])


@pytest.mark.parametrize("text", ["dosages", "overdosage", "medical and advice", ""])
def test_phrases_are_whole_words(text):
    assert holds_phrase(text, ["dosage", "medical advice"]) is None


def test_output_rules_are_chosen_by_their_selector(new_rule, new_facts):
    legal = new_rule("legal", "disclaimer", when={"route.department": ["legal"]})
    book = RuleBook([legal, new_rule("topic", "topic_block", phrases=["x"])])
    assert book.output(new_facts(department="legal")) == (legal,)
    assert book.output(new_facts(department="hr")) == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD + TOPIC, r"a\.yaml: key `rules\.0\.cases` is missing"),
        (HEAD + TOPIC + "    cases: []\n", r"a\.yaml: key `rules\.0\.cases`"),
        (
            HEAD + TOPIC + CASES.replace("deny", "nothing"),
            r"a\.yaml: rule `one`: case “asked” expects nothing, the rule does deny",
        ),
        (
            HEAD + TOPIC + CASES.replace("dosage", "price"),
            r"case “asked” expects deny, the rule does nothing",
        ),
        (
            HEAD + TOPIC + CASES + "    colour: red\n",
            r"a\.yaml: unknown key `rules\.0\.colour`.*known here: cases, check, description",
        ),
        (HEAD + TOPIC.replace("phrases", "phrase") + CASES, r"a\.yaml: .*`rules\.0\.check\.phrases?`"),
        (HEAD + TOPIC.replace("topic_block", "topic") + CASES, r"a\.yaml: key `rules\.0\.check`.*topic"),
        (HEAD + TOPIC.replace("[dosage]", '["?"]') + CASES, r"rules\.0\.check\.phrases\.0"),
        (HEAD.replace("one", "One Two") + TOPIC + CASES, r"key `rules\.0\.id`"),
        (HEAD + TOPIC.replace("text: No.", "") + CASES, r"`text` is needed"),
        (
            HEAD + "    when: {user.dept: [hr]}\n" + TOPIC + CASES,
            r"unknown key `rules\.0\.when\.user\.dept`.*user\.department",
        ),
        (HEAD + "    when: {any: []}\n" + TOPIC + CASES, r"key `rules\.0\.when\.any`"),
        (HEAD + "    mode: shadowed\n" + TOPIC + CASES, r"key `rules\.0\.mode`"),
        (HEAD + "    on_error: allow\n" + TOPIC + CASES, r"key `rules\.0\.on_error`"),
        (HEAD + "    version: 2\n" + TOPIC + CASES, r"a\.yaml line 4.*`version` stands twice"),
        (
            HEAD + "    check: {kind: link_allowlist, hosts: ['https://x.example/']}\n" + CASES,
            r"check\.hosts\.0",
        ),
        ("rules: []\n", r"key `rules`"),
        ("", r"key `rules` is missing"),
        ("- a\n", r"expected keys and values"),
    ],
)
def test_a_wrong_file_refuses_to_start(tmp_path, text, message):
    with pytest.raises(ConfigError, match=f"(?s){message}"):
        load(tmp_path, text)


def test_two_rules_of_one_id_refuse_to_start(tmp_path):
    (tmp_path / "a.yaml").write_text(HEAD + TOPIC + CASES)
    with pytest.raises(ConfigError, match=r"b\.yaml: rule `one` stands twice"):
        load(tmp_path, HEAD + TOPIC + CASES, "b.yaml")


def test_a_folder_that_is_not_there_or_a_file_that_would_be_ignored_refuses_to_start(tmp_path):
    with pytest.raises(ConfigError, match="not a folder"):
        RuleBook.load(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match=r"Name it a\.yaml"):
        load(tmp_path, HEAD + TOPIC + CASES, "a.yml")


def test_an_empty_folder_holds_no_rules(tmp_path):
    assert RuleBook.load(tmp_path).rules == ()


CITED = (
    HEAD + "    check: {kind: require_citations}\n    text: No.\n"
    "    cases:\n      - {name: c, passages: [{text: It lasts 4 months.}], "
)


@pytest.mark.parametrize(
    ("answer", "expect"),
    [
        ("It lasts 4 months.", "nothing"),
        ("It lasts 9 months.", "abstain"),
        ("It lasts 4 months. It costs EUR 9.", "drop"),
    ],
)
def test_cases_of_output_rules(tmp_path, answer, expect):
    for given in ("nothing", "abstain", "drop"):
        text = f"{CITED}answer: {answer}, expect: {given}}}\n"
        if given == expect:
            load(tmp_path, text)
        else:
            with pytest.raises(ConfigError, match="case “c” expects"):
                load(tmp_path, text)
