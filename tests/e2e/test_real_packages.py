"""Historic fixes of real packages, from their sources in the package index to a branch on which their tests pass."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.historic import play, recipes
from bench.sdists import NoIndex


# the two that are tried here take least time; `python -m bench.real_packages` tries them all
@pytest.mark.parametrize("package", ["humanize", "simpleeval"])
def test_a_historic_fix_of_a_real_package_ends_on_a_branch_with_its_own_tests_passing(
    tmp_path: Path, package: str
) -> None:
    (recipe,) = recipes([package])
    try:
        outcome = play(recipe, tmp_path, afresh=False)
    except NoIndex as unreached:
        pytest.skip(str(unreached))
    assert outcome.exit_code == 0, outcome.said
    assert outcome.tested == (1, 0), "the new test fails with the release, and passes with the fix"
    assert outcome.commits == 1
    assert outcome.passed is not None, "the package's own tests fail on the pushed branch"


def test_there_are_fixes_of_at_least_five_packages_and_each_says_where_it_is_from() -> None:
    found = list(recipes())
    assert len({recipe.package for recipe in found}) >= 5
    for recipe in found:
        assert recipe.source and recipe.licence, recipe.package
        assert all("test" in edit.path for edit in recipe.regression), recipe.package
        assert not any("test" in edit.path for edit in recipe.fix), recipe.package
