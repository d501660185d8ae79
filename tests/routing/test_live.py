import logging
import threading

import pytest

from assistant.config import Routing
from assistant.errors import ConfigError
from assistant.routing.examples import Examples
from assistant.routing.live import Live
from assistant.routing.router import Router
from assistant.testing.embedder import FakeEmbedder
from assistant.testing.workspace import workspace


class Departments:
    """A folder with a file of questions for each department, and how often it was learned from."""

    def __init__(self, folder):
        self.folder, self.learned = folder, 0
        self.gate = threading.Event()
        self.gate.set()
        self.write("hr", "annual leave", "sick leave", "parental leave")
        self.write("legal", "contract review", "contract signature", "nda")

    def write(self, department, *questions):
        (self.folder / department).mkdir(exist_ok=True)
        (self.folder / department / "adapter.yaml").write_text("\n".join(questions))

    def learn(self):
        assert self.gate.wait(10)
        self.learned += 1
        files = sorted(self.folder.glob("*/adapter.yaml"))
        questions = {file.parent.name: file.read_text().split("\n") for file in files}
        if "broken" in str(questions):
            raise ConfigError("adapter.yaml is wrong.", remedy="Correct it.")
        return Router.fit(Examples(questions=questions), FakeEmbedder().embed, Routing(min_confidence=0))


@pytest.fixture
def departments(tmp_path):
    return Departments(tmp_path)


@pytest.fixture
def live(departments):
    patterns = ("*/adapter.yaml", "*/questions.jsonl")
    return Live(departments.folder, patterns, departments.learn, look_every_s=0)


def _after(live):
    live()
    live.settle(10)
    return live()


def test_it_learns_once_while_nothing_changes(departments, live):
    assert live() is live() is _after(live)
    assert departments.learned == 1


def test_a_changed_department_is_learned_without_a_restart(departments, live):
    assert live().route("probe error").department != "support"
    departments.write("support", "probe error", "probe calibration")
    assert _after(live).route("probe error").department == "support"
    departments.write("support", "gateway outage", "server restart")
    assert _after(live).route("gateway outage").department == "support"
    (departments.folder / "support" / "adapter.yaml").unlink()
    assert "support" not in _after(live).route("gateway outage").scores
    (departments.folder / "hr" / "questions.jsonl").write_text("{}")
    _after(live)
    assert departments.learned == 5


def test_questions_are_routed_while_it_learns(departments, live):
    first = live()
    departments.gate.clear()
    departments.write("support", "probe error")
    assert live() is first and live.changing
    assert live() is first
    departments.gate.set()
    assert _after(live) is not first
    assert departments.learned == 2


def test_what_changes_while_it_learns_is_learned_too(departments, live):
    live()
    departments.gate.clear()
    departments.write("support", "probe error")
    live()
    departments.write("support", "probe error", "server restart")
    departments.gate.set()
    live.settle(10)
    assert "server restart" in _after(live).learned.texts


def test_a_broken_department_keeps_the_router_at_hand(departments, live, caplog):
    first = live()
    departments.write("legal", "broken")
    with caplog.at_level(logging.WARNING, logger="assistant.routing"):
        assert _after(live) is first is _after(live)
    assert departments.learned == 2
    assert [record.message for record in caplog.records if "adapter.yaml is wrong" in record.message]
    departments.write("legal", "contract review")
    assert _after(live) is not first


def test_it_looks_no_more_often_than_told(departments):
    live = Live(departments.folder, ("*/adapter.yaml",), departments.learn, look_every_s=60)
    live()
    departments.write("support", "probe error")
    live()
    assert not live.changing and departments.learned == 1


def test_the_first_router_must_be_learned(departments):
    departments.write("legal", "broken")
    live = Live(departments.folder, ("*/adapter.yaml",), departments.learn)
    with pytest.raises(ConfigError, match="is wrong"):
        live()
    departments.write("legal", "contract review")
    assert live().route("contract review").department == "legal"


def test_an_application_follows_its_departments(tmp_path):
    app = workspace(tmp_path)
    app.routing.look_every_s = 0
    assert app.router.route("zebras and giraffes").department is None
    reviewed = tmp_path / "adapters" / "legal" / "questions.jsonl"
    reviewed.write_text('{"question": "zebras"}\n{"question": "giraffes"}\n')
    assert _after(app.routing).route("zebras and giraffes").department == "legal"
    assert app.chat.router() is app.router
    app.database.close()
