"""What leaves: the same however it arrives, cited by passages that hold it, without links elsewhere."""

import re
from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from assistant.policies.grounding import supporting
from assistant.policies.output import Gate
from assistant.words import figures

PASSAGES = (
    "Parental leave lasts 16 weeks. Two weeks may be taken at once. Ask your manager 3 months before.",
    "The travel limit is EUR 120 per night.\n| Level | Limit |\n|---|---|\n| Team lead | EUR 500 |\n",
    "Restart the gateway with `tidectl restart`. Edit settings.py first. See https://evil.test/login too.",
)


@pytest.fixture(scope="module")
def gate_of(new_rule, new_facts):
    """Make a gate with the usual rules over the passages."""

    def make(*rules, passages=PASSAGES, **given):
        usual = (
            new_rule("cited", "require_citations", support=0.6),
            new_rule("links", "link_allowlist", hosts=["tidewell.example"]),
        )
        return Gate(rules or usual, new_facts(*passages, **given))

    return make


def run(gate, *pieces):
    text = "".join(gate.push(piece) for piece in pieces)
    outcome = gate.finish()
    return text + outcome.text, outcome


PIECES = st.sampled_from(
    [
        "Parental leave lasts 16 weeks",
        "Parental leave lasts 99 weeks",
        "Parental leave lasts ninety weeks",
        "Leave lasts 16 weeks [1]",
        "The travel limit is EUR 120 per night [2][9]",
        "Ask your manager",
        "Happy to help",
        "Contact the famous Bob Miller",
        "Edit settings.py first",
        "| Team lead | EUR 500 |",
        "**Parental leave lasts 16 weeks**",
        "See https://evil.test/x",
        "[click](https://evil.test)",
        "See [guide. Now](//evil.test/x)",
        "www[1].evil.test",
        "[[1]2]",
        "[1]",
        "[3]",
        ".",
        ". ",
        "! ",
        "? ",
        "\n",
        "\n\n",
        " ",
        "  ",
        "1. ",
        "2. ",
        "3. ",
        "(a) ",
        "(b) ",
        "- ",
        "```\n",
        "```",
        "\u200b",
        "e.g. ",
        ", ",
        ": ",
        '."',
        "x",
    ]
)
ANSWERS = st.lists(PIECES, max_size=16).map("".join)
QUICK = settings(max_examples=120, deadline=None)


@pytest.mark.parametrize("line", ["1. ", "Parental leave lasts 16 weeks. "])
def test_a_citation_on_the_next_line_is_no_part_of_the_sentence_however_it_arrives(gate_of, line):
    text = f"{line}\n[1]\nParental leave lasts 16 weeks"
    whole, expected = run(gate_of(), text)
    released, outcome = run(gate_of(), *text)
    assert released == whole
    assert (outcome.citations, outcome.decisions) == (expected.citations, expected.decisions)


@QUICK
@given(ANSWERS, st.data())
def test_the_text_is_the_same_however_it_arrives(gate_of, text, data):
    whole, expected = run(gate_of(), text)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=12)))
    for pieces in ([text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)], list(text)):
        released, outcome = run(gate_of(), *pieces)
        assert released == whole
        assert (outcome.citations, outcome.decisions) == (expected.citations, expected.decisions)


@QUICK
@given(ANSWERS)
def test_every_citation_holds(gate_of, text):
    gate = gate_of()
    released, outcome = run(gate, text)
    numbers = {int(number) for number in re.findall(r"\[(\d+)\]", released)}
    assert numbers == {citation.number for citation in outcome.citations}
    for citation in outcome.citations:
        document = "Preface. " + PASSAGES[citation.number - 1]
        assert citation.quote and document[citation.start : citation.end] == citation.quote


@QUICK
@given(ANSWERS)
def test_nothing_leaves_that_no_passage_holds(gate_of, text):
    released, _ = run(gate_of(), text)
    held = set().union(*(figures(passage) for passage in PASSAGES)) | {"2"}
    plain = re.sub(r"(?m)^\s*\d+\. ", "", released)
    assert figures(plain) <= held, released
    assert "evil" not in released.lower()


@QUICK
@given(ANSWERS)
def test_what_leaves_is_well_formed(gate_of, text):
    assume("```" not in text)
    released, _ = run(gate_of(), text)
    assert released == released.strip()
    prose = "\n".join(line for line in released.split("\n") if "`" not in line and "|" not in line)
    assert not re.search(r"\S[ \t]{2,}\S", prose), released
    assert "\n\n\n" not in released
    assert not re.search(r" \n", prose)


@pytest.mark.parametrize(
    ("said", "released"),
    [
        ("Parental leave lasts 16 weeks.", "Parental leave lasts 16 weeks [1]."),
        ("Parental leave lasts 16 weeks [1].", "Parental leave lasts 16 weeks [1]."),
        ("Parental leave lasts 16 weeks [1] .", "Parental leave lasts 16 weeks [1]."),
        ("Parental leave [1] lasts 16 weeks. [1]", "Parental leave lasts 16 weeks [1]."),
        ("Parental leave lasts 16 weeks [7].", "Parental leave lasts 16 weeks [1]."),
        ("Parental leave lasts 16 weeks", "Parental leave lasts 16 weeks [1]"),
        ("“Parental leave lasts 16 weeks.”", "“Parental leave lasts 16 weeks [1].”"),
        ("**Parental leave lasts 16 weeks.**", "**Parental leave lasts 16 weeks [1].**"),
        ("Parental leave lasts sixteen weeks.", "Parental leave lasts sixteen weeks [1]."),
        ("Parental  leave lasts   16 weeks.", "Parental leave lasts 16 weeks [1]."),
        ("| Team lead | EUR 500 |", "| Team lead | EUR 500 [2] |"),
        (
            "Happy to help! Parental leave lasts 16 weeks.",
            "Happy to help! Parental leave lasts 16 weeks [1].",
        ),
        (
            "Parental leave lasts 16 weeks. Parental leave lasts 16 weeks.",
            "Parental leave lasts 16 weeks [1].",
        ),
        (
            "Parental leave lasts 16 weeks. It costs 99 euros. Ask your manager 3 months before.",
            "Parental leave lasts 16 weeks [1]. Ask your manager 3 months before [1].",
        ),
        (
            "Steps:\n1. Ask your manager 3 months before.\n2. Pay 99 euros.\n3. Edit settings.py first.",
            "Steps:\n1. Ask your manager 3 months before [1].\n2. Edit settings.py first [3].",
        ),
        (
            "(a) Ask your manager 3 months before.\n(b) Pay 99 euros.\n(c) Edit settings.py first.",
            "(a) Ask your manager 3 months before [1].\n(b) Edit settings.py first [3].",
        ),
        (
            "Ask your manager 3 months before. It costs 99 euros.\n\n- Edit settings.py first.",
            "Ask your manager 3 months before [1].\n\n- Edit settings.py first [3].",
        ),
        (
            "Restart the gateway:\n```\ntidectl restart\n```\nEdit settings.py first.",
            "Restart the gateway [3]:\n```\ntidectl restart\n```\n[3]\nEdit settings.py first [3].",
        ),
        (
            "Parental leave lasts 16 weeks and the travel limit is EUR 120 per night [1][2].",
            "Parental leave lasts 16 weeks and the travel limit is EUR 120 per night [1][2].",
        ),
        (
            "Edit settings.py first and see https://evil.test/login.",
            "Edit settings.py first and see [link removed] [3].",
        ),
        (
            "99. weeks of parental leave. Ask your manager 3 months before.",
            "Ask your manager 3 months before [1].",
        ),
    ],
)
def test_how_an_answer_reads(gate_of, said, released):
    assert run(gate_of(), said)[0] == released


def test_words_from_either_end_of_a_joined_passage_support_nothing_together(new_passage):
    texts = "The probation period lasts 6 months.", "It can be extended.", "Annual leave is 25 days."
    text = "\n".join(texts)
    whole = new_passage(text)
    parts, start = [], whole.chunk.start
    for number, each in enumerate(texts):
        place = {"ordinal": number, "start": start, "end": start + len(each)}
        parts.append(replace(whole.chunk, id=number, text=each, **place))
        start += len(each) + 1
    joined = replace(whole, parts=tuple(parts))
    assert supporting("The probation period lasts 25 days.", [whole], [1], 0.6) == [1]
    assert supporting("The probation period lasts 25 days.", [joined], [1], 0.6) == []
    assert supporting("The probation period of 6 months can be extended.", [joined], [1], 0.6) == [1]


@pytest.mark.parametrize(
    "said",
    [
        "",
        "   \n",
        "Happy to help.",
        "Parental leave lasts 99 weeks [1].",
        "Parental leave lasts ninety weeks [1].",
        "The moon is made of cheese [1].",
        "Please write to Bob Miller at once.",
        "[1] [2]",
    ],
)
def test_without_a_supported_sentence_nothing_leaves(gate_of, said):
    text, outcome = run(gate_of(), *said)
    assert (text, outcome.abstained, outcome.citations) == ("", True, ())
    assert outcome.decisions[-1].blocks and outcome.decisions[-1].text == "cited says so."


def test_a_figure_of_the_question_alone_proves_nothing(gate_of):
    gate = gate_of(question="Is it true that parental leave lasts 99 weeks?")
    assert run(gate, "Yes, parental leave lasts 99 weeks [1].")[1].abstained


def test_figures_of_two_passages_do_not_make_one_fact(gate_of):
    assert run(gate_of(), "Parental leave lasts 120 weeks [1].")[1].abstained


def test_shadow_rules_are_recorded_and_change_nothing(gate_of, new_rule):
    rules = [
        new_rule("cited", "require_citations", mode="shadow"),
        new_rule("links", "link_allowlist", hosts=["tidewell.example"], mode="shadow"),
        new_rule("note", "disclaimer", mode="shadow"),
    ]
    said = "Leave lasts 99 weeks, see https://evil.test/x."
    text, outcome = run(gate_of(*rules), said)
    assert text == said and not outcome.abstained
    assert {(d.rule, d.mode) for d in outcome.decisions} == {(r.id, "shadow") for r in rules}
    assert not any(decision.blocks for decision in outcome.decisions)


def test_without_a_citation_rule_the_models_own_citations_hold_or_go(gate_of, new_rule):
    links = new_rule("links", "link_allowlist")
    text, outcome = run(gate_of(links), "Leave lasts 16 weeks [1][9]. www[8].evil.test")
    assert text == "Leave lasts 16 weeks [1]. [link removed]"
    assert [citation.number for citation in outcome.citations] == [1]


def test_of_two_citation_rules_the_stricter_holds(gate_of, new_rule):
    lax, strict = (new_rule(f"r{s}", "require_citations", support=s / 10) for s in (3, 9))
    said = "Parental leave lasts 16 weeks whenever anybody wants some."
    assert run(gate_of(lax), said)[0].endswith("[1].")
    assert run(gate_of(lax, strict), said)[1].abstained
    assert (
        run(gate_of(strict, lax), "Parental leave lasts 16 weeks.")[0] == "Parental leave lasts 16 weeks [1]."
    )


def test_disclaimers_stand_below_and_not_below_an_abstention(gate_of, new_rule):
    rules = [new_rule("cited", "require_citations"), new_rule("note", "disclaimer")]
    text, outcome = run(gate_of(*rules), "Parental leave lasts 16 weeks. ")
    assert text == "Parental leave lasts 16 weeks [1].\n\nnote says so."
    assert [decision.action for decision in outcome.decisions] == ["mark"]
    assert run(gate_of(*rules), "Nothing of the kind.")[0] == ""


def test_what_was_dropped_is_recorded(gate_of):
    _, outcome = run(gate_of(), "Parental leave lasts 16 weeks. It costs 99 euros.")
    [decision] = outcome.decisions
    assert (decision.action, decision.rule, decision.blocks) == ("drop", "cited", False)
    assert decision.reason == "no passage supports sentence 2 of the model's text"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Parental leave lasts 16 weeks. Two weeks may be", "Parental leave lasts 16 weeks [1]."),
        ("Parental leave lasts 16 weeks. Two weeks may be taken at once.", "at once [1]."),
        ("Parental leave lasts 16 weeks", "Parental leave lasts 16 weeks [1]"),
    ],
)
def test_a_sentence_cut_by_the_token_limit_is_left_out(gate_of, text, left):
    gate = gate_of()
    released = gate.push(text)
    assert (released + gate.finish(cut=True).text).endswith(left)


def test_what_was_said_is_left_out_when_once_is_asked(gate_of, new_rule):
    text = (
        "Parental leave lasts 16 weeks.\n- Gotcha: leave lasts 16 weeks.\n- Two weeks may be taken at once.\n"
    )
    cited = new_rule("cited", "require_citations", support=0.6, once=True)
    assert run(gate_of(cited), text)[0].splitlines() == [
        "Parental leave lasts 16 weeks [1].",
        "- Two weeks may be taken at once [1].",
    ]
    assert "Gotcha" in run(gate_of(), text)[0]


@pytest.mark.parametrize("hanging", ["- Gotcha: Readings", "Caveat: The"])
def test_a_label_left_hanging_is_left_out(gate_of, hanging):
    assert (
        run(gate_of(), f"Parental leave lasts 16 weeks.\n{hanging}")[0]
        == "Parental leave lasts 16 weeks [1]."
    )
    whole = "Parental leave lasts 16 weeks.\nCaveat: Your contract may say more."
    assert run(gate_of(), whole)[0].endswith("Caveat: Your contract may say more.")


@pytest.mark.parametrize("wrong", ["Parental leave lasts 16 months.", "Parental leave lasts 16 days [1]."])
def test_a_figure_with_another_unit_of_time_never_leaves(gate_of, wrong):
    text, outcome = run(gate_of(), f"Parental leave lasts 16 weeks. {wrong}")
    assert text == "Parental leave lasts 16 weeks [1]."
    assert [decision.action for decision in outcome.decisions] == ["drop"]
