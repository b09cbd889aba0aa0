"""docs/guarantees.md says what is proven, and the planted defects still apply to the code."""

import re

import pytest
from planted.defect import Defect, format_table
from planted.defects import DEFECTS
from service import ROOT

DOCUMENT = (ROOT / "docs" / "guarantees.md").read_text()


@pytest.mark.parametrize("defect", DEFECTS, ids=[each.name for each in DEFECTS])
def test_a_planted_defect_applies_to_the_code_and_its_test_is_there(defect: Defect) -> None:
    path, _, test = defect.caught_by.partition("::")

    assert (ROOT / defect.file).read_text().count(defect.old) == 1
    assert defect.new != defect.old
    assert f"def {test}(" in (ROOT / path).read_text()


def test_names_of_defects_are_unique() -> None:
    assert len({each.name for each in DEFECTS}) == len(DEFECTS)


def test_the_table_of_planted_defects_is_the_list() -> None:
    assert format_table(DEFECTS) in DOCUMENT, "paste the output of: python -m planted --table"


def test_every_defect_breaks_a_promise() -> None:
    promises = set(re.findall(r"^\| ([^|]+) \|", DOCUMENT.partition("## Not promised")[0], re.MULTILINE))

    assert {each.breaks for each in DEFECTS} <= promises
