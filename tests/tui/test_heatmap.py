"""Heat maps have a pixel for each value, and say the same without colours."""

from __future__ import annotations

import numpy as np

from tui.charts.heatmap import draw_heatmap, levels, pooled


def test_a_cell_has_the_levels_of_two_rows() -> None:
    values = np.array([[0.0, 1.0, 1.0], [0.5, 0.5, 0.5], [1.0, 0.0, 0.0]], dtype=np.float32)
    assert draw_heatmap(values) == [
        [("▀", "heat 0 8"), ("▀▀", "heat 16 8")],
        [("▀", "heat 16 0"), ("▀▀", "heat 0 0")],
    ]


def test_without_colours_more_ink_is_more() -> None:
    values = np.array([[0.0, 0.25, 0.5, 0.75, 1.0], [0.0] * 5], dtype=np.float32)
    assert draw_heatmap(values, "blocks") == [[(" ░▒▓█", "heat")]]
    assert draw_heatmap(values, "ascii") == [[(" :=#@", "heat")]]


def test_what_is_no_number_is_marked_as_such() -> None:
    values = np.array([[np.nan, 2.0, -np.inf]], dtype=np.float32)
    assert levels(values).tolist() == [[-1, 16, 0]]
    assert draw_heatmap(values)[0][0] == ("×", "bad")


def test_pooling_keeps_the_largest_value_of_each_part() -> None:
    values = np.zeros((100, 70), dtype=np.float32)
    values[99, 69] = 1.0
    small = pooled(values, 10, 7)
    assert small.shape == (10, 7)
    assert small.argmax() == 69
    assert pooled(values, 200, 200) is values
