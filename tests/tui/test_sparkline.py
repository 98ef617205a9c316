from __future__ import annotations

from math import inf, nan

from tui.charts.sparkline import spark


def test_a_fall_goes_from_the_highest_block_to_the_lowest() -> None:
    assert spark([8, 7, 6, 5, 4, 3, 2, 1], 8) == "█▇▆▅▄▃▂▁"
    assert spark([8, 8, 4.5, 4.5, 1, 1], 3) == "█▅▁"


def test_few_values_take_few_columns() -> None:
    assert spark([], 10) == ""
    assert spark([2, 1], 10) == "█▁"
    assert spark([3, 3, 3], 10) == "▁▁▁"


def test_what_is_no_number_is_a_gap() -> None:
    assert spark([None, 2, nan, inf, 1, -inf], 6) == " █  ▁ "
    assert spark([None, 2, nan, 1], 2) == "█▁"
    assert spark([None, nan], 2) == "  "
