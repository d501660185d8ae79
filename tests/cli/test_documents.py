"""`assistant documents`: what the operator sees, what a person sees, and why."""

from __future__ import annotations

from assistant.app import App
from assistant.config import load
from assistant.testing.embedder import FakeEmbedder
from assistant.testing.workspace import add
from assistant.types import Labels

BANDS = "hr/managers/bands.md"


def test_a_person_sees_what_they_may_read_and_nothing_else(shell):
    everything = {document["uri"] for document in shell.json("documents", "list")}
    assert BANDS in everything
    anas = {document["uri"] for document in shell.json("documents", "list", "--as", "ana")}
    assert anas == {"hr/leave.md", "legal/contracts.md"}
    assert BANDS in {document["uri"] for document in shell.json("documents", "list", "--as", "grete")}


def test_not_found_and_not_permitted_look_the_same(shell):
    bands = next(d["id"] for d in shell.json("documents", "list") if d["uri"] == BANDS)
    hidden = shell.fails("documents", "show", bands, "--as", "ana")
    assert hidden.replace(bands, "X") == shell.fails("documents", "show", "0" * 16, "--as", "ana").replace(
        "0" * 16, "X"
    )
    by_path = shell.fails("documents", "show", BANDS, "--as", "ana")
    assert by_path.replace(BANDS, "X") == shell.fails("documents", "show", "none.md", "--as", "ana").replace(
        "none.md", "X"
    )


def test_show_prints_place_readers_and_chunks(shell):
    shown = shell.json("documents", "show", "hr/leave.md", "--text")
    assert [chunk["text"] for chunk in shown["chunks"]] == [
        shown["text"][chunk["start"] : chunk["end"]] for chunk in shown["chunks"]
    ]
    shell("documents", "show", "sample:hr/leave.md", "--as", "ana")
    assert "readers     everyone" in shell.out
    assert "Parental leave lasts 18 weeks" in shell.out


def test_why_names_class_principals_and_the_deciding_policy(shell):
    why = shell.json("documents", "why", BANDS, "--as", "grete")
    assert (why["allowed"], why["matched"]) == (True, ["group:managers"])
    assert why["decision"]["rule"] == "read-by-label"
    why = shell.json("documents", "why", BANDS, "--as", "ana")
    assert (why["allowed"], why["matched"]) == (False, [])
    assert why["decision"]["rule"] == "restricted-needs-a-manager"
    shell("documents", "why", BANDS, "--as", "ana")
    assert shell.out.startswith(f"ana may not read sample:{BANDS}.")
    assert "forbidden by restricted-needs-a-manager" in shell.out
    assert "in both     none" in shell.out
    assert "No user" in shell.fails("documents", "why", BANDS, "--as", "nobody")


def test_a_changed_file_of_people_or_policies_counts_for_the_next_command(shell):
    policies = shell.folder / "policies"
    people = (policies / "people.yaml").read_text()
    assert not shell.json("documents", "why", BANDS, "--as", "ana")["allowed"]
    promoted = people.replace("ana: {department: hr}", "ana: {groups: [managers]}")
    (policies / "people.yaml").write_text(promoted)
    assert shell.json("documents", "why", BANDS, "--as", "ana")["allowed"]
    (policies / "access.cedar").write_text("permit (")
    assert "access.cedar" in shell.fails("documents", "list", "--as", "ana")


def test_remove_says_how_far_the_saved_indexes_have_followed(shell):
    shell.json("ask", "How long is parental leave?", "--as", "ana")
    (removal,) = shell.json("documents", "remove", "hr/leave.md")
    assert 0 < removal["indexes"]["lexical"] < removal["change"]
    shell("documents", "remove", BANDS)
    assert "indexes   lexical at" in shell.out


def test_remove_prints_the_receipt(shell):
    shell("documents", "remove", "hr/leave.md")
    assert "removed sample:hr/leave.md: 2 chunks gone" in shell.out
    assert "entry 0 of the log" in shell.out
    (removal,) = shell.json("documents", "remove", BANDS)
    assert (removal["chunks"], removal["adapters"], removal["receipt"]["index"]) == (1, [], 1)


def test_copies_and_later_editions_are_shown_to_those_who_may_read_them(shell):
    app = App(load(shell.folder / "assistant.yaml"))
    vars(app).update(embedder=FakeEmbedder())
    text = " ".join(
        f"Rule {number} of the parking lot is that slot {number} stays free." for number in range(40)
    )
    for uri, who in (("lot-2023.md", "everyone"), ("lot-2024.md", "group:managers")):
        add(app, uri, text, Labels(source="parking", principals=frozenset({who})), title="Lot")
    app.database.close()
    shell("documents", "show", "lot-2023.md")
    assert "superseded  by parking:lot-2024.md (" in shell.out
    assert "like        parking:lot-2024.md (" in shell.out and "100% of their text is the same" in shell.out
    shell("documents", "show", "lot-2023.md", "--as", "ana")
    assert "lot-2024" not in shell.out and "superseded" not in shell.out
    shown = shell.json("documents", "show", "lot-2023.md", "--as", "ana")
    assert (shown["near_duplicates"], shown["document"]["superseded_by"]) == ([], None)
    listed = {each["uri"]: each["superseded_by"] for each in shell.json("documents", "list", "--as", "ana")}
    assert listed["lot-2023.md"] is None
    assert (
        shell.json("documents", "why", "lot-2023.md", "--as", "grete")["superseded_by"]["uri"]
        == "lot-2024.md"
    )
    (shell.folder / "assistant.yaml").write_text("retrieval: {newer_editions: false}\n")
    assert shell.json("documents", "show", "lot-2023.md")["document"]["superseded_by"] is None
