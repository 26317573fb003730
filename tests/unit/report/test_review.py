"""The blinded review kit: what pages show and hide, and what reviewers' files say together."""

from __future__ import annotations

import json
import re
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jmlr.__main__ import main
from jmlr.options import ReportOptions
from jmlr.report.review.kit import make_kit
from jmlr.report.review.merge import merge, table
from jmlr.runtime.errors import UserError
from jmlr.stages.report import report

PAIR = ("jmlr", "rag")


def kit_of(folders, reviewers=("ann", "ben"), **more):
    return make_kit(folders.base, PAIR, **{"seed": 0, "reviewers": reviewers, "questions": 12, "secret": 7, **more})


def data_of(page):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)[1])


def file_of(kit, reviewer, choose):
    """Return the file of a reviewer who prefers by `choose(item) -> system or None`."""
    answers = {}
    for item, sides in kit.key["sides"][reviewer].items():
        wanted = choose(item)
        side = next((s for s, system in sides.items() if system == wanted), wanted or "neither")
        answers[item] = dict.fromkeys(kit.key["criteria"], side)
    return {"kit": kit.key["kit"], "reviewer": reviewer, "answers": answers, "comments": {}}


def test_a_page_stands_alone_and_holds_no_name_of_a_system_seed_or_key(folders):
    page = kit_of(folders).pages["ann"]
    assert not re.search(r"<[^>]*\b(?:src|href)\s*=", page)
    assert "http:" not in page
    assert "https:" not in page
    body = json.dumps(data_of(page))
    assert not re.search(r"jmlr|rag\b|system|secret|seed", body.replace("rage", ""), re.I)
    assert "default-src 'none'" in page
    assert "&lt;b&gt;" not in page  # texts stand as data, not as markup
    assert "<b>Text" not in page
    assert "\\u003cb>Text" in page


def test_all_reviewers_get_the_same_questions_in_an_order_and_with_sides_of_their_own(folders):
    kit = kit_of(folders)
    shown = {r: data_of(p)["items"] for r, p in kit.pages.items()}
    orders = {r: [i["id"] for i in items] for r, items in shown.items()}
    assert sorted(orders["ann"]) == sorted(orders["ben"]) == sorted(kit.key["questions"])
    assert len(orders["ann"]) == 12
    assert orders["ann"] != orders["ben"]
    assert kit.key["sides"]["ann"] != kit.key["sides"]["ben"]
    assert {s["left"] for s in kit.key["sides"]["ann"].values()} == set(PAIR)


def test_the_key_says_whose_answer_stands_where(folders):
    kit = kit_of(folders)
    for item in data_of(kit.pages["ben"])["items"]:
        sides, question = kit.key["sides"]["ben"][item["id"]], kit.key["questions"][item["id"]]
        joint = item["left" if sides["left"] == "jmlr" else "right"]
        assert joint["passages"][0]["text"] == f"<b>Text {question[1:]}</b>"  # only JMLR read the gold passage


def test_the_same_secret_makes_the_same_kit_and_another_another(folders):
    assert kit_of(folders) == kit_of(folders)
    assert kit_of(folders, secret=8).key["kit"] != kit_of(folders).key["kit"]


def test_preferences_are_taken_back_to_systems(folders):
    kit = kit_of(folders)
    files = {r: file_of(kit, r, lambda item: "jmlr") for r in ("ann", "ben")}
    result = merge(kit.key, files)
    for row in result["criteria"]:
        assert (row["preference"], row["low"], row["high"]) == (1.0, None, None)  # all alike: no interval
        assert (row["first"], row["neither"], row["second"]) == (24, 0, 0)
        assert row["alpha"] is None  # all the same: agreement cannot be told from chance
        assert row["p"] == pytest.approx(2 / 2**12)
        assert row["p_holm"] == pytest.approx(3 * row["p"])
    assert "| correctness | 100.0 | - | 24 | 0 | 0 | 0 | 0 |" in table(result)


def test_agreement_and_gaps_are_counted(folders):
    kit = kit_of(folders)
    items = list(kit.key["questions"])
    mixed = {item: (*PAIR, None)[i % 3] for i, item in enumerate(items)}
    ann, ben = (file_of(kit, r, mixed.get) for r in ("ann", "ben"))
    del ben["answers"][items[0]]
    result = merge(kit.key, {"a": ann, "b": ben})
    row = result["criteria"][0]
    assert row["alpha"] == pytest.approx(1.0)
    assert row["preference"] == pytest.approx(0.5)
    assert (row["ratings"], result["missing_ratings"]) == (23, 3)
    other = {r: {"jmlr": "rag", "rag": "jmlr"}.get(v) for r, v in mixed.items()}
    assert merge(kit.key, {"a": ann, "b": file_of(kit, "ben", other.get)})["criteria"][0]["alpha"] < 0
    assert merge(kit.key, {"a": ann})["absent"] == ["ben"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kit": "other"}, "of kit 'other'"),
        ({"reviewer": "eve"}, r"no reviewer 'eve' \(reviewers: ann, ben\)"),
        ({"answers": {"x": {}}}, "no question 'x' in this kit"),
        ({"answers": []}, "not a file that a review page saved"),
    ],
)
def test_a_file_that_no_page_of_the_kit_wrote_is_refused(folders, change, said):
    kit = kit_of(folders)
    with pytest.raises(UserError, match=said):
        merge(kit.key, {"f.json": {**file_of(kit, "ann", lambda _: "rag"), **change}})


def test_a_choice_that_is_none_and_a_second_file_are_refused(folders):
    kit = kit_of(folders)
    wrong = file_of(kit, "ann", lambda _: "rag")
    next(iter(wrong["answers"].values()))["overall"] = "tie"
    with pytest.raises(UserError, match="overall = 'tie'; allowed: left, both, neither, right, unsure"):
        merge(kit.key, {"f.json": wrong})
    good = file_of(kit, "ann", lambda _: "rag")
    with pytest.raises(UserError, match="'b': a second file of reviewer 'ann'"):
        merge(kit.key, {"a": good, "b": good})


def test_the_command_makes_pages_and_merges_files(folders, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make = ["review", "make", "--run", str(folders.base), "--questions", "5", "--secret", "3"]
    assert main([*make, "--reviewers", "ann", "ben", "--contact", "eve@example.org", "--out", "named"]) == 0
    assert sorted(p.name for p in (tmp_path / "named/pages").iterdir()) == ["ann.html", "ben.html"]
    assert "send it to eve@example.org" in (tmp_path / "named/pages/ann.html").read_text()
    assert "2 pages of 5 of 40 questions" in capsys.readouterr().err
    assert main(make) == 0
    assert sorted(p.name for p in (tmp_path / "review/pages").iterdir()) == ["reviewer-1.html", "reviewer-2.html"]
    key = json.loads((tmp_path / "review/key/key.json").read_text())
    assert main(make) == 2  # a kit under way is never overwritten
    assert "is there already" in capsys.readouterr().err
    answers = {i: {"overall": "left"} for i in key["questions"]}
    (tmp_path / "r1.json").write_text(json.dumps({"kit": key["kit"], "reviewer": "reviewer-1", "answers": answers}))
    assert main(["review", "merge", "--files", "r1.json"]) == 0
    assert "| overall |" in capsys.readouterr().out
    assert json.loads((tmp_path / "review/review.json").read_text())["absent"] == ["reviewer-2"]


def test_pages_of_private_texts_say_so(folders, tmp_path, capsys):
    shutil.copytree(folders.base, tmp_path / "run")
    for name in ("notes", "books"):
        (tmp_path / "run/fetch" / name).mkdir(parents=True)
        held = {"options": {"private": name == "notes"}}
        (tmp_path / "run/fetch" / name / "manifest.json").write_text(json.dumps(held))
    assert (
        main(["review", "make", "--run", str(tmp_path / "run"), "--out", str(tmp_path / "kit"), "--questions", "5"])
        == 0
    )
    said = capsys.readouterr().err
    assert "kit/pages holds texts of notes, which must not leave this machine (private)" in said


def test_a_system_that_has_not_answered_is_one_line_that_says_which_have(folders, tmp_path, capsys):
    shutil.copytree(folders.base, tmp_path / "run")
    shutil.rmtree(tmp_path / "run/rag")
    assert main(["review", "make", "--run", str(tmp_path / "run"), "--out", str(tmp_path / "kit")]) == 2
    said = capsys.readouterr().err
    assert "no system 'rag' is finished or begun; finished: " in said
    assert "jmlr seed0" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["make", "--systems", "jmlr"], "two different systems"),
        (["make", "--reviewers", "a/b"], "letters, digits"),
        (["make", "--questions", "-3"], "--questions -3: allowed: a number of questions, or 0 for all"),
        (["make", "--run", "nowhere"], "--run: there is no 'nowhere'"),
        (["merge"], "there is no 'review/key/key.json'"),
        (["mrege"], "invalid choice"),
    ],
)
def test_a_wrong_command_is_one_line_and_leaves_nothing(tmp_path, monkeypatch, capsys, arguments, said):
    monkeypatch.chdir(tmp_path)
    assert main(["review", *arguments]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert len(told.strip().splitlines()) == 1
    assert not (tmp_path / "review").exists()


def test_both_neither_and_cannot_judge_are_counted_apart_and_the_last_is_no_rating(folders):
    kit = kit_of(folders)
    choices = dict(zip(kit.key["questions"], ["both"] * 5 + ["neither"] * 4 + ["unsure"] * 2 + ["jmlr"], strict=True))
    row = merge(kit.key, {"a": file_of(kit, "ann", choices.get)})["criteria"][0]
    assert [row[k] for k in ("first", "both", "neither", "second", "unsure", "ratings")] == [1, 5, 4, 0, 2, 10]
    assert row["preference"] == pytest.approx((0.5 * 9 + 1) / 10)
    assert merge(kit.key, {"a": file_of(kit, "ann", choices.get)})["missing_ratings"] == 0


def test_comments_come_back_with_their_question_and_stand_in_the_report_unless_it_is_private(folders, tmp_path):
    kit = kit_of(folders)
    name, question = next(iter(kit.key["questions"].items()))
    file = {**file_of(kit, "ann", lambda _: "both"), "comments": {name: " A <dose>\nis missing. "}}
    result = merge(kit.key, {"a": file})
    assert result["comments"] == [{"question": question, "reviewer": "ann", "text": "A <dose>\nis missing."}]
    assert f"- {question} (ann): A <dose> is missing." in table(result)
    (tmp_path / "review.json").write_text(json.dumps(result))
    options = ReportOptions(review=str(tmp_path / "review.json"))
    report(tmp_path / "out", **folders.arguments(), options=options)
    assert "A &lt;dose&gt;" in (tmp_path / "out/report.html").read_text()
    told = json.loads((folders.prepared / "manifest.json").read_text())
    (folders.prepared / "manifest.json").write_text(json.dumps({**told, "notes": {"private": True}}))
    report(tmp_path / "out", **folders.arguments(), options=options)
    page = (tmp_path / "out/report.html").read_text()
    assert "dose" not in page
    assert "1 comment not shown" in page
    with pytest.raises(UserError, match="'a': comments: allowed: texts, by question of this kit"):
        merge(kit.key, {"a": {**file, "comments": {"x": "?"}}})


def test_what_both_systems_did_not_write_is_not_asked_about(folders):
    assert kit_of(folders).key["criteria"] == ["correctness", "evidence", "overall"]
    for system in PAIR:
        path = folders.base / system / "seed0/answer/answers.parquet"
        rows = pq.read_table(path).to_pylist()
        pq.write_table(pa.Table.from_pylist([{**r, "rationale": "Because."} for r in rows]), path)
    assert kit_of(folders).key["criteria"] == ["correctness", "reasoning", "truthfulness", "evidence", "overall"]
    path = folders.base / "rag/seed0/answer/answers.parquet"
    rows = pq.read_table(path).to_pylist()
    pq.write_table(pa.Table.from_pylist([{**r, "passages": []} for r in rows], schema=pq.read_schema(path)), path)
    assert "evidence" not in kit_of(folders).key["criteria"]


def test_a_page_says_that_nothing_is_for_clinical_use_and_what_is_invented(folders):
    page = kit_of(folders).pages["ann"]
    assert "Invented: none of this is medicine. Not for clinical use" in page
