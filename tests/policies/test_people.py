"""The directory of people."""

import pytest

from assistant.errors import ConfigError, Unknown
from assistant.policies.people import People


def load(tmp_path, text):
    (tmp_path / "people.yaml").write_text(text)
    return People.load(tmp_path / "people.yaml")


def test_people_are_looked_up(tmp_path):
    people = load(
        tmp_path,
        "people:\n  ana: {department: hr, groups: [managers, x], attributes: {country: DE}}\n  kim: {}\n",
    )
    assert people.ids() == ("ana", "kim")
    ana = people.user("ana")
    assert (ana.id, ana.department, ana.groups) == ("ana", "hr", {"managers", "x"})
    assert ana.attributes == {"country": "DE"}
    assert people.user("kim").principals == {"everyone", "user:kim"}
    for stranger in ("", "Ana", "ana ", "../ana"):
        with pytest.raises(Unknown, match=r"No user .* in people\.yaml"):
            people.user(stranger)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "people:\n  ana: {departement: hr}\n",
            r"unknown key `people\.ana\.departement`.*attributes, department, groups",
        ),
        ("people:\n  ana: {groups: managers}\n", r"key `people\.ana\.groups`"),
        ("people:\n  ana: {attributes: {level: 3}}\n", r"key `people\.ana\.attributes\.level`"),
        ("people:\n  7: {}\n", r"key `people\.7"),
        ("people:\n  ana: {}\n  ana: {groups: [managers]}\n", r"line 3.*key `ana` stands twice"),
        ("persons: {}\n", r"unknown key `persons`.*known here: people"),
    ],
)
def test_a_wrong_file_is_named_with_key_and_remedy(tmp_path, text, message):
    with pytest.raises(ConfigError, match=rf"people\.yaml.*{message}"):
        load(tmp_path, text)


def test_an_empty_file_has_no_people(tmp_path):
    assert load(tmp_path, "").ids() == ()
