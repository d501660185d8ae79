"""Which labels a path gets."""

import pytest

from assistant.connectors.config import FolderLabels, SourceLabels
from assistant.connectors.labels import labels_of, matches

RULES = SourceLabels.model_validate(
    {
        "default": {"access": ["group:managers"], "classification": "confidential", "residency": "eu"},
        "labels": [
            {
                "path": "{room}/*",
                "access": ["everyone"],
                "department": "{room}",
                "classification": "internal",
            },
            {"path": "{room}/team/**", "access": ["department:{room}"], "department": "{room}"},
            {"path": "**/*.xlsx", "classification": "restricted"},
        ],
    }
)


def labels(uri, folders=None):
    folders = {name: FolderLabels.model_validate(said) for name, said in (folders or {}).items()}
    return labels_of(uri, source="files", rules=RULES, folders=folders)


def test_what_no_pattern_covers_gets_the_default():
    found = labels("notes.md")
    assert found.principals == {"group:managers"}
    assert (found.classification, found.residency, found.department) == ("confidential", "eu", None)


def test_later_patterns_override_earlier_ones_key_by_key():
    assert labels("hr/a.md").principals == {"everyone"}
    assert labels("hr/a.md").classification == "internal"
    sheet = labels("hr/team/deep/a.xlsx")
    assert sheet.principals == {"department:hr"}
    assert (sheet.classification, sheet.department, sheet.residency) == ("restricted", "hr", "eu")


def test_a_folder_overrides_the_patterns_for_everything_below_it():
    folders = {"hr/team": {"access": ["user:ana"]}, "hr/team/deep": {"classification": "public"}}
    assert labels("hr/team/a.md", folders).principals == {"user:ana"}
    deep = labels("hr/team/deep/x/a.md", folders)
    assert deep.principals == {"user:ana"}, "a nearer folder that says nothing of access keeps it tight"
    assert deep.classification == "public"
    assert labels("hr/teams.md", folders).principals == {"everyone"}


def test_the_root_folder_may_speak_too():
    assert labels("hr/a.md", {"": {"access": ["user:ana"]}}).principals == {"user:ana"}


@pytest.mark.parametrize(
    ("pattern", "uri", "expected"),
    [
        ("hr/*", "hr/a.md", True),
        ("hr/*", "hr/x/a.md", False),
        ("hr/**", "hr/x/a.md", True),
        ("**/a.md", "a.md", True),
        ("**/a.md", "x/y/a.md", True),
        ("**/a.md", "x/ba.md", False),
        ("*.md", "a.md", True),
        ("a?.md", "ab.md", True),
        ("a?.md", "a/.md", False),
        ("a.md", "aXmd", False),
        ("a[1].md", "a[1].md", True),
        ("hr/**", "hr/a\nb.md", True),
    ],
)
def test_patterns(pattern, uri, expected):
    assert matches(pattern, uri) is expected
