"""What is taken up of a folder of rules that is edited: when, and of which files (S36, S37)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from triggers.drivers.editions import choose, digest_of
from triggers.drivers.rules import first_edition
from triggers.drivers.watching import Sight, Watch, changes
from triggers.errors import RulesUnusable
from triggers.language.contents import as_bytes, contents_of

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from triggers.drivers.editions import Edition

SHOP = "shop: v1\nname: Test\ntimezone: Asia/Shanghai\nperiods: {double11: {from: 2026-11-01, until: 2026-11-12}}\n"
RULE = """rule: v1
id: {id}
title: Reminder
owner: crm@yunque.example
status: draft
class: notice
when: {{event: favorite.added}}
wait: {wait}
send: {{text: "{text}"}}
{more}"""
TEST = """tests:
  - name: {name}
    feed: [{{at: +0d, event: favorite.added, product_id: p1}}]
    expect: [{{text_has: "{text}"}}]
"""
KEEPS = """waves:
  responded: [message.clicked]
  within: 48h
  keep_as: {segment}
  list: [{{id: w1, at: 2026-11-01 12:00}}]
"""


class Folder:
    """A folder of rules, and the set that a service uses of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        self.shop(SHOP)
        self.write("wish")
        self.edition = first_edition(path, {})

    def shop(self, text: str) -> None:
        (self.path / "_shop.yaml").write_text(text)

    def write(self, rule: str, *, wait: str = "3d", text: str = "hello", more: str = "") -> None:
        (self.path / f"{rule}.yaml").write_text(RULE.format(id=rule, wait=wait, text=text, more=more))

    def remove(self, rule: str) -> None:
        (self.path / f"{rule}.yaml").unlink()

    def chosen(self) -> Edition:
        """Choose anew; the outcome is in use from then on."""
        self.edition = choose(self.path, contents_of(self.path), self.edition.contents)
        return self.edition

    def texts(self) -> dict[str, str]:
        return {each.id: each.data["send"]["text"] for each in self.edition.loaded.files.values()}


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "rules")


def faults(edition: Edition) -> list[tuple[str, bool, str]]:
    return [
        (str(each.finding).rpartition("/")[2], each.kept, each.name)
        for each in edition.faults
        if each.finding.severity == "error"
    ]


# Which files


def test_a_file_with_an_error_keeps_its_last_good_version_and_the_others_load(folder: Folder) -> None:
    folder.write("wish", text="broken", more="wiat: 3d\n")
    folder.write("visit", text="new")
    assert folder.chosen().loaded.errors == []
    assert folder.texts() == {"wish": "hello", "visit": "new"}
    found = [("wish.yaml:10:1: error: unknown key 'wiat'; did you mean 'wait'?", True, "wish.yaml")]
    assert faults(folder.edition) == found
    assert faults(folder.chosen()) == found
    assert folder.texts() == {"wish": "hello", "visit": "new"}


def test_a_new_file_with_an_error_is_left_out_and_told(folder: Folder) -> None:
    folder.write("visit", more="wiat: 3d\n")
    assert [(kept, name) for _, kept, name in faults(folder.chosen())] == [(False, "visit.yaml")]
    assert list(folder.texts()) == ["wish"]
    assert set(folder.edition.contents) == {"_shop.yaml", "wish.yaml"}


def test_a_file_whose_own_tests_fail_keeps_its_last_good_version(folder: Folder) -> None:
    folder.write("wish", text="second", more=TEST.format(name="says first", text="first"))
    (told, kept, _), *_ = faults(folder.chosen())
    assert told.startswith("wish.yaml:13:14: ")
    assert "test 'says first': " in told
    assert kept
    assert folder.texts() == {"wish": "hello"}
    folder.write("wish", text="second", more=TEST.format(name="says second", text="second"))
    assert faults(folder.chosen()) == []
    assert folder.texts() == {"wish": "second"}


def test_the_tests_of_a_file_that_was_not_edited_are_not_run_again(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []
    monkeypatch.setattr("triggers.drivers.editions.run_cases", lambda file, *_, **__: ran.append(file.id) or [])
    folder.write("visit")
    folder.chosen()
    assert ran == ["visit"]
    folder.shop(SHOP + "signature: Shop\n")
    folder.chosen()
    assert sorted(ran) == ["visit", "visit", "wish"]


def test_a_file_that_never_passed_its_tests_is_left_out_at_the_start(folder: Folder) -> None:
    folder.write("visit", more=TEST.format(name="says bye", text="bye"))
    with capture_logs() as lines:
        edition = first_edition(folder.path, {})
    assert set(edition.contents) == {"_shop.yaml", "wish.yaml"}
    assert any("test 'says bye'" in line["event"] and "nothing of this file is used" in line["event"] for line in lines)


def test_a_test_that_needs_a_rule_with_errors_is_no_fault_of_its_file(folder: Folder) -> None:
    needs = TEST.format(name="says first", text="first").replace("feed:", "with_rules: [broken]\n    feed:")
    folder.write("broken", more="wiat: 3d\n")
    folder.write("visit", more=needs)
    assert [name for _, _, name in faults(folder.chosen())] == ["broken.yaml"]
    assert set(folder.texts()) == {"wish", "visit"}


def test_a_broken_file_keeps_the_version_that_the_last_run_used(folder: Folder) -> None:
    folder.write("wish", text="broken", more="wiat: 3d\n")
    assert first_edition(folder.path, folder.edition.contents).contents == folder.edition.contents
    with pytest.raises(RulesUnusable, match="wiat"):
        first_edition(folder.path, {})


def test_a_broken_shop_file_keeps_its_last_good_version(folder: Folder) -> None:
    folder.shop(SHOP + "prize: 1\n")
    folder.write("wish", text="second")
    assert [(kept, name) for _, kept, name in faults(folder.chosen())] == [(True, "_shop.yaml")]
    assert folder.texts() == {"wish": "second"}


def test_a_shop_file_that_spoils_a_rule_nobody_edited_goes_back_and_the_rule_stays(folder: Folder) -> None:
    folder.write("wish", more="during: double11\n")
    folder.chosen()
    folder.shop(SHOP.replace("double11", "double12"))
    folder.write("visit")
    told = faults(folder.chosen())
    assert (
        "_shop.yaml:1:1: error: with it wish.yaml cannot be used any more; mend that first",
        True,
        "_shop.yaml",
    ) in told
    assert any("unknown period 'double11'" in each[0] for each in told)
    assert set(folder.texts()) == {"wish", "visit"}
    assert b"double11" in folder.edition.contents["_shop.yaml"]


def test_a_rule_and_the_period_that_it_needs_may_come_together(folder: Folder) -> None:
    folder.shop(SHOP.replace("}}", "}, double12: {from: 2026-12-01, until: 2026-12-12}}"))
    folder.write("wish", more="during: double12\n")
    assert faults(folder.chosen()) == []


def test_a_removed_rule_is_gone_though_another_one_still_names_it(folder: Folder) -> None:
    folder.write("visit", more="audience: {in: fans}\n")
    waves = RULE.format(id="keeper", wait="3d", text="x", more=KEEPS.format(segment="fans"))
    lines = [line for line in waves.splitlines() if not line.startswith(("when:", "wait:"))]
    (folder.path / "keeper.yaml").write_text("\n".join(lines) + "\n")
    assert faults(folder.chosen()) == []
    folder.remove("keeper")
    told = faults(folder.chosen())
    assert [(kept, name) for _, kept, name in told] == [(True, "visit.yaml")]
    assert "unknown segment 'fans'" in told[0][0]
    assert set(folder.texts()) == {"wish", "visit"}


def test_a_new_file_cannot_take_the_segment_of_one_in_use(folder: Folder) -> None:
    waves = RULE.format(id="keeper", wait="3d", text="x", more=KEEPS.format(segment="fans"))
    lines = [line for line in waves.splitlines() if not line.startswith(("when:", "wait:"))]
    (folder.path / "keeper.yaml").write_text("\n".join(lines) + "\n")
    assert faults(folder.chosen()) == []
    (folder.path / "a-thief.yaml").write_text("\n".join(lines).replace("id: keeper", "id: a-thief") + "\n")
    assert [(kept, name) for _, kept, name in faults(folder.chosen())] == [(False, "a-thief.yaml")]
    assert "keeper" in folder.texts()


def test_the_revision_names_the_files_in_use_and_not_the_broken_ones(folder: Folder) -> None:
    before = folder.edition.revision
    folder.write("wish", more="wiat: 3d\n")
    assert folder.chosen().revision == before
    folder.write("wish", text="second")
    assert folder.chosen().revision != before
    folder.write("wish")
    assert folder.chosen().revision == before


def test_what_is_refused_is_left_as_it_was(folder: Folder) -> None:
    good = folder.edition.contents
    folder.write("wish", wait="1d")
    folder.write("visit")
    found = contents_of(folder.path)
    refused = [("wish.yaml", digest_of(found["wish.yaml"]))]
    assert choose(folder.path, found, good, refused=refused).contents["wish.yaml"] == good["wish.yaml"]
    folder.write("wish", wait="2d")  # another content is no longer the refused one
    assert (
        choose(folder.path, contents_of(folder.path), good, refused=refused).contents["wish.yaml"] != good["wish.yaml"]
    )


def test_changes_tell_rules_that_came_changed_and_went(folder: Folder) -> None:
    folder.write("visit")
    old = folder.chosen()
    folder.write("wish", text="second")
    folder.write("nudge")
    folder.remove("visit")
    folder.shop(SHOP + "signature: Shop\n")
    assert str(changes(old, folder.chosen())) == "added nudge; changed wish; removed visit; changed _shop.yaml"


# When


def test_a_folder_is_gone_by_once_two_looks_saw_the_same() -> None:
    sight = Sight({"a"})
    assert sight.look({"a": b"1"}, 0) is None
    assert sight.look({"a": b"1"}, 1) == {"a": b"1"}
    assert sight.look({"a": b"half"}, 2) is None
    assert sight.look({"a": b"halfway"}, 3) is None
    assert sight.look({"a": b"halfway"}, 4) == {"a": b"halfway"}


def test_a_missing_file_counts_as_removed_after_two_looks_five_seconds_apart() -> None:
    sight = Sight({"a", "b"})
    for at_s in (0, 1, 4.9):
        assert sight.look({"a": b"1"}, at_s) is None
    assert sight.look({"a": b"1"}, 5) == {"a": b"1"}


def test_one_look_however_late_removes_nothing() -> None:
    sight = Sight({"a", "b"})
    assert sight.look({"a": b"1", "b": b"1"}, 0) is None
    assert sight.look({"a": b"1"}, 600) is None
    assert sight.look({"a": b"1"}, 601) is None
    assert sight.look({"a": b"1"}, 605) == {"a": b"1"}


def test_a_file_that_was_back_in_between_is_missing_anew() -> None:
    sight = Sight({"a", "b"})
    both = {"a": b"1", "b": b"1"}
    for at_s, found in ((0, {"a": b"1"}), (3, both), (4, both), (5, {"a": b"1"})):
        sight.look(found, at_s)
    assert sight.look({"a": b"1"}, 6) is None
    assert sight.look({"a": b"1"}, 10) == {"a": b"1"}


def test_nothing_else_is_taken_up_while_a_file_is_missing_for_the_first_time() -> None:
    sight = Sight({"a", "b"})
    assert sight.look({"a": b"2"}, 0) is None
    assert sight.look({"a": b"2"}, 1) is None


# A watch


class Service:
    """What switches: it notes the revisions, and refuses what it was told to."""

    def __init__(self, folder: Folder) -> None:
        self.switched: list[str] = []
        self.refuses: list[tuple[str, str]] = []
        self.allows: list[tuple[str, str]] = []
        self.waits = 0
        self.others: Edition | None = None
        self.watch = Watch(folder.path, folder.edition, self._switch, allowed=self._allowed, in_use=self._in_use)
        self.at_s = 0.0

    async def _switch(self, edition: Edition) -> Collection[tuple[str, str]] | None:
        if self.waits:
            self.waits -= 1
            return None
        there = {(name, digest_of(content)) for name, content in edition.contents.items()}
        refused = [each for each in self.refuses if each in there]
        if not refused:
            self.switched.append(edition.revision)
        return refused

    async def _allowed(self, refused: Collection[tuple[str, str]]) -> Collection[tuple[str, str]]:
        return [each for each in self.allows if each in refused]

    async def _in_use(self, edition: Edition) -> Edition | None:
        return self.others if self.others is not None and self.others.contents != edition.contents else None

    async def looks(self, times: int = 2, *, every_s: float = 1.0) -> None:
        for _ in range(times):
            self.at_s += every_s
            await self.watch.turn(self.at_s)


@pytest.fixture
def service(folder: Folder) -> Service:
    return Service(folder)


async def test_an_edit_is_switched_to_once(folder: Folder, service: Service) -> None:
    await service.looks()
    assert service.switched == []
    folder.write("wish", text="second")
    await service.looks(1)
    assert service.switched == []
    await service.looks(4)
    assert service.switched == [service.watch.edition.revision] != [folder.edition.revision]


async def test_files_that_are_swapped_behind_a_symbolic_link_are_taken_up(folder: Folder, service: Service) -> None:
    versions = [folder.path.parent / name for name in ("first", "second")]
    names = [path.name for path in folder.path.iterdir()]
    for number, version in enumerate(versions):
        folder.write("wish", text=f"version {number}")
        version.mkdir()
        for name in names:
            (version / name).write_bytes((folder.path / name).read_bytes())
    (folder.path / "..data").symlink_to(versions[0])
    for name in names:
        (folder.path / name).unlink()
        (folder.path / name).symlink_to(f"..data/{name}")
    await service.looks()
    (folder.path / "..new").symlink_to(versions[1])
    (folder.path / "..new").rename(folder.path / "..data")
    await service.looks()
    assert b"version 1" in service.watch.edition.contents["wish.yaml"]
    assert len(service.switched) == 2


async def test_an_error_is_told_once_for_each_content(folder: Folder, service: Service) -> None:
    with capture_logs() as lines:
        folder.write("wish", more="wiat: 3d\n")
        await service.looks(4)
        folder.write("visit")
        await service.looks(4)
        assert [line["log_level"] for line in lines if "wiat" in line["event"]] == ["error"]
        folder.write("wish", more="\nwiat: 3d\n")
        await service.looks(4)
    assert [line["event"].partition("wish.yaml")[2] for line in lines if "wiat" in line["event"]] == [
        ":10:1: error: unknown key 'wiat'; did you mean 'wait'?; its last good version is used",
        ":11:1: error: unknown key 'wiat'; did you mean 'wait'?; its last good version is used",
    ]


async def test_a_file_in_its_last_good_version_counts_as_removed_like_any_other(
    folder: Folder, service: Service
) -> None:
    folder.write("visit")
    await service.looks()
    folder.write("wish", more="wiat: 3d\n")
    await service.looks()
    folder.remove("wish")
    await service.looks(5)
    assert "wish.yaml" in service.watch.edition.contents
    await service.looks(2)
    assert "wish.yaml" not in service.watch.edition.contents


async def test_a_file_that_came_while_it_ran_is_not_removed_at_once_either(folder: Folder, service: Service) -> None:
    folder.write("visit")
    await service.looks()
    folder.remove("visit")
    await service.looks(5)
    assert "visit.yaml" in service.watch.edition.contents
    await service.looks(2)
    assert "visit.yaml" not in service.watch.edition.contents


async def test_what_others_have_taken_up_is_followed_until_the_folder_is_edited(
    folder: Folder, service: Service
) -> None:
    await service.looks()
    before = contents_of(folder.path)
    folder.write("wish", text="theirs")
    service.others = choose(folder.path, contents_of(folder.path), folder.edition.contents)
    (folder.path / "wish.yaml").write_bytes(as_bytes(before["wish.yaml"]))  # it gets the edit late
    await service.looks(4)
    assert service.switched == [service.others.revision]
    folder.write("wish", text="theirs")
    await service.looks(4)
    assert service.switched == [service.others.revision]
    service.others = None
    folder.write("wish", text="ours")
    await service.looks(4)
    assert service.switched[1:] == [service.watch.edition.revision]
    assert b"ours" in service.watch.edition.contents["wish.yaml"]


async def test_a_renamed_rule_comes_when_the_old_one_goes(folder: Folder, service: Service) -> None:
    await service.looks()
    folder.remove("wish")
    folder.write("nudge", more="renamed_from: wish\n")
    with capture_logs() as lines:
        await service.looks(7)
    assert set(service.watch.edition.contents) == {"_shop.yaml", "nudge.yaml"}
    assert len(service.switched) == 1
    assert not [line for line in lines if line["log_level"] == "error"]


@pytest.mark.parametrize("away", ["folder", "shop"])
async def test_a_folder_that_cannot_be_read_changes_nothing_and_is_told_once(
    folder: Folder, service: Service, away: str
) -> None:
    await service.looks()
    folder.remove("wish")
    (folder.path / "_shop.yaml").rename(folder.path.parent / "_shop.yaml")
    if away == "folder":
        folder.path.rmdir()
    with capture_logs() as lines:
        await service.looks(3, every_s=60)
    assert service.switched == []
    assert len([line for line in lines if "the rules stay as they are" in line["event"]]) == 1


async def test_what_is_refused_is_not_taken_up_and_all_else_is(folder: Folder, service: Service) -> None:
    folder.write("wish", wait="1d")
    folder.write("visit")
    refused = ("wish.yaml", digest_of((folder.path / "wish.yaml").read_bytes()))
    service.refuses = [refused]
    await service.looks(4)
    assert len(service.switched) == 1
    assert service.watch.edition.contents["wish.yaml"] == folder.edition.contents["wish.yaml"]
    assert "visit.yaml" in service.watch.edition.contents
    service.refuses = []
    await service.looks(4)
    assert len(service.switched) == 1  # it stays refused
    service.allows = [refused]
    await service.looks(4)
    assert len(service.switched) == 2
    assert service.watch.edition.contents["wish.yaml"] != folder.edition.contents["wish.yaml"]


async def test_a_service_that_cannot_tell_yet_is_asked_again(folder: Folder, service: Service) -> None:
    folder.write("wish", text="second")
    service.waits = 2
    await service.looks(3)
    assert service.switched == []
    await service.looks(1)
    assert len(service.switched) == 1
