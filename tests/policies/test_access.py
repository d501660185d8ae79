"""Cedar decides, and fails closed."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.errors import ConfigError
from assistant.policies.access import Access
from assistant.types import AccessClass, Labels, User

READ = 'permit (principal is User, action == Action::"read", resource is DocumentClass)'


@pytest.fixture(scope="module")
def sample():
    return Access.load(Path("policies/access.cedar"))


def labels(*principals, **given):
    return Labels(**{"source": "docs", "principals": frozenset(principals), **given})


def user(id="ana", groups=(), **given):
    return User(id=id, groups=frozenset(groups), **given)


def test_the_sample_companys_policies(sample):
    everyone, hr = labels("everyone"), labels("department:hr", department="hr")
    secret = labels("group:managers", "user:ana", classification="restricted")
    assert sample.may_read(user(), everyone).action == "allow"
    assert sample.may_read(user(department="hr"), hr).action == "allow"
    assert sample.may_read(user(department="legal"), hr).action == "deny"
    assert sample.may_read(user("grete", ["managers"]), secret).action == "allow"
    denied = sample.may_read(user("ana"), secret)
    assert (denied.action, denied.rule) == ("deny", "restricted-needs-a-manager")
    assert denied.reason == "forbidden by restricted-needs-a-manager"
    assert sample.may_read(user(), labels()).reason == "no policy permits it"
    assert sample.may_ask(user(), "legal").action == "allow"
    assert sample.may_ask(user(groups=["contractors"]), "legal").action == "deny"
    assert sample.may_ask(user(groups=["contractors"]), "support").action == "allow"
    assert sample.may(user(groups=["operators"]), "manage").action == "allow"
    assert sample.may(user(groups=["operators"]), "audit").action == "deny"
    assert sample.may(user(groups=["compliance"]), "audit").action == "allow"


def test_permitted_gives_the_classes_one_by_one(sample):
    classes = [
        AccessClass(id=1, labels=labels("everyone")),
        AccessClass(id=2, labels=labels("department:hr")),
        AccessClass(id=3, labels=labels("everyone")),  # equal labels under another number
        AccessClass(id=4, labels=labels("department:hr")),
        AccessClass(id=5, labels=labels()),
    ]
    assert sample.permitted(user(), classes) == {1, 3}
    assert sample.permitted(user(department="hr"), classes) == {1, 2, 3, 4}
    assert sample.permitted(user(), []) == frozenset()
    assert sample.permitted(user(), iter(classes[:1])) == {1}


def test_a_policy_whose_evaluation_fails_denies():
    access = Access(f"{READ};\nforbid (principal, action, resource) when {{ 9223372036854775807 + 1 > 0 }};")
    decision = access.may_read(user(), labels("everyone"))
    assert decision.action == "deny" and "could not be evaluated" in decision.reason
    assert access.permitted(user(), [AccessClass(id=1, labels=labels("everyone"))]) == frozenset()


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ("nonsense", "unexpected"),
        (f"{READ} when {{ resource.nope == 1 }};", "nope"),
        (f'{READ} when {{ resource.department == "hr" }};', "optional attribute"),
        (f'{READ} when {{ principal.getTag("country") == "DE" }};', "tag"),
        (f"{READ} when {{ resource.classification == 3 }};", "access.cedar"),
        ('permit (principal, action == Action::"fly", resource);', "fly"),
        ("permit (principal is Robot, action, resource);", "Robot"),
    ],
)
def test_a_policy_that_does_not_fit_the_schema_refuses_to_start(policy, message):
    with pytest.raises(ConfigError, match=message):
        Access(policy)


def test_a_file_that_cannot_be_read_refuses_to_start(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.cedar cannot be read.*nobody may read"):
        Access.load(tmp_path / "none.cedar")
    (tmp_path / "a.cedar").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"a\.cedar cannot be read"):
        Access.load(tmp_path / "a.cedar")


def test_no_policy_denies_everything():
    access = Access("")
    assert access.may_read(user(), labels("everyone")).action == "deny"
    assert access.may(user(groups=["operators"]), "manage").action == "deny"


def test_attributes_of_a_person_are_tags():
    access = Access(f'{READ} when {{ principal.hasTag("country") && principal.getTag("country") == "DE" }};')
    assert access.may_read(user(attributes={"country": "DE"}), labels()).action == "allow"
    assert access.may_read(user(attributes={"country": "FR"}), labels()).action == "deny"
    assert access.may_read(user(attributes={"unknown": "DE"}), labels()).action == "deny"


AWKWARD = [
    'a"b',
    "a\nb",
    "a\\",
    "\\u{41}",
    '", User::"x',
    "ана",
    "'",
    "\x00",
    "\u200b",
    "",
    " ",
    "user:ana",
    "{}",
    "//x",
]


@pytest.mark.parametrize("name", AWKWARD)
def test_names_with_quotes_and_newlines_are_only_names(sample, name):
    own = labels(f"user:{name}", f"group:{name}", source=name)
    assert sample.may_read(user(name), own).action == "allow"
    assert sample.may_read(user("other", [name]), own).action == "allow"
    assert sample.may_read(user("other"), own).action == "deny"
    assert sample.may_ask(user(name), name).action == "allow"
    assert sample.may(user(name), "manage").action == "deny"
    assert sample.may(user(name, [name, "operators"]), "manage").action == "allow"


def test_a_name_that_is_no_text_denies(sample):
    assert sample.may_read(user("\ud800"), labels("everyone")).action == "deny"


NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=6) | st.sampled_from(AWKWARD)


@settings(max_examples=50, deadline=None)
@given(NAMES, st.frozensets(NAMES, max_size=3), st.none() | NAMES, st.frozensets(NAMES, max_size=4))
def test_reading_follows_the_principals_whatever_they_are_called(sample, id, groups, department, named):
    asker = User(id=id, groups=groups, department=department)
    for principals in (
        frozenset(named),
        frozenset(f"group:{n}" for n in named),
        frozenset(f"user:{n}" for n in named),
    ):
        expected = bool(principals & asker.principals)
        assert (sample.may_read(asker, labels(*principals)).action == "allow") is expected
