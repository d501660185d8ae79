"""The permitted set is decided by Cedar, remembered, and never older than the question."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.errors import ConfigError, StoreError
from assistant.policies.access import Access
from assistant.policies.permissions import Permissions
from assistant.types import AccessClass, Labels, User

READ = 'permit (principal is User, action == Action::"read", resource is DocumentClass)'
BY_LABEL = f"{READ} when {{ resource.principals.containsAny(principal.principals) }};"


class Asked(Access):
    """Counts the classes Cedar was asked about."""

    count = 0

    def permitted(self, user, classes):
        known = tuple(classes)
        Asked.count += len(known)
        return super().permitted(user, known)


class Classes:
    """A set of classes as the database keeps it."""

    def __init__(self):
        self.labels, self.last, self.moves = {}, 0, 0

    def add(self, *principals):
        self.last += 1
        self.moves += 1
        self.labels[self.last] = Labels(source="docs", principals=frozenset(principals))
        return self.last

    def drop(self, id):
        del self.labels[id]
        self.moves += 1

    def class_changes(self):
        return self.moves

    def class_ids(self):
        return frozenset(self.labels)

    def classes(self, above=0):
        return tuple(AccessClass(id=i, labels=self.labels[i]) for i in sorted(self.labels) if i > above)


@pytest.fixture
def world():
    Asked.count = 0
    known = Classes()
    policies = [Asked(BY_LABEL)]
    return known, policies, Permissions(lambda: policies[-1], known)


def user(id="ana", groups=(), **given):
    return User(id=id, groups=frozenset(groups), **given)


def test_only_new_classes_are_asked_about(world):
    known, _, permissions = world
    everyone, _ = known.add("everyone"), known.add("group:board")
    for _ in range(3):
        assert permissions.permitted(user()) == {everyone}
    assert Asked.count == 2
    own = known.add("user:ana")
    assert permissions.permitted(user()) == {everyone, own}
    assert Asked.count == 3


def test_a_class_that_went_is_no_longer_in_the_set(world):
    known, _, permissions = world
    first, last = known.add("everyone"), known.add("everyone")
    permissions.permitted(user())
    known.drop(last)
    assert permissions.permitted(user()) == {first} == permissions.permitted(user("new"))
    again = known.add("everyone")
    assert permissions.permitted(user()) == {first, again}


def test_groups_department_and_attributes_count_at_once(world):
    known, policies, permissions = world
    board, hr = known.add("group:board"), known.add("department:hr")
    assert permissions.permitted(user()) == frozenset()
    assert permissions.permitted(user(groups=["board"])) == {board}
    assert permissions.permitted(user(department="hr")) == {hr}
    assert permissions.permitted(user()) == frozenset()
    policies.append(Asked(f'{READ} when {{ principal.hasTag("c") && principal.getTag("c") == "DE" }};'))
    assert permissions.permitted(user(attributes={"c": "DE"})) == {board, hr}
    assert permissions.permitted(user(attributes={"c": "FR"})) == frozenset()


def test_a_changed_policy_counts_at_once_and_so_does_the_way_back(world):
    known, policies, permissions = world
    everyone = known.add("everyone")
    assert permissions.permitted(user()) == {everyone}
    policies.append(Asked(""))
    assert permissions.permitted(user()) == frozenset()
    policies.append(Asked(BY_LABEL))
    assert permissions.permitted(user()) == {everyone}


def test_what_cannot_be_looked_at_is_an_error_not_an_older_answer(world):
    known, _, permissions = world
    known.add("everyone")

    def broken():
        raise ConfigError("access.cedar is wrong.")

    def unreachable():
        raise StoreError("no database")

    assert permissions.permitted(user())
    closed = Permissions(broken, known)
    with pytest.raises(ConfigError):
        closed.permitted(user())
    known.class_changes = unreachable
    with pytest.raises(StoreError):
        permissions.permitted(user())


def test_many_people_are_not_remembered_for_ever(world):
    known, _, permissions = world
    everyone = known.add("everyone")
    for number in range(600):
        assert permissions.permitted(user(f"p{number}")) == {everyone}
    assert len(permissions._decided) == 256


PRINCIPALS = st.sampled_from(["everyone", "user:ana", "user:bob", "group:board", "group:x", "department:hr"])
PEOPLE = st.builds(
    User,
    id=st.sampled_from(["ana", "bob"]),
    department=st.none() | st.just("hr"),
    groups=st.frozensets(st.sampled_from(["board", "x"])),
)
STEPS = st.lists(st.frozensets(PRINCIPALS, max_size=2) | st.integers(0, 5) | PEOPLE, max_size=25)


@given(STEPS)
@settings(max_examples=60, deadline=None)
def test_it_is_always_what_cedar_says_of_every_class_now(steps):
    known, access = Classes(), Access(BY_LABEL)
    permissions = Permissions(lambda: access, known)
    for step in steps:
        if isinstance(step, frozenset):
            known.add(*step)
        elif isinstance(step, int):
            living = sorted(known.labels)
            if living:
                known.drop(living[step % len(living)])
        else:
            assert permissions.permitted(step) == access.permitted(step, known.classes())
