from pathlib import Path

import numpy as np
import pytest

from hardware.line.control import LineError
from hardware.line.recording import read


def csv_file(folder: Path, text: str) -> Path:
    path = folder / "pump.csv"
    path.write_text(text)
    return path


def test_columns_keep_their_names_order_and_numbers_and_empty_cells_are_nan(tmp_path: Path) -> None:
    path = csv_file(
        tmp_path,
        "when;Flow Rate;note;p\n2020-03-09 10:14:33;1.5;ok;\n2020-03-09 10:14:34;;;-2e3\n",
    )
    recording = read(path)
    assert recording.columns == ("Flow Rate", "p")
    np.testing.assert_array_equal(recording.values, [[1.5, np.nan], [np.nan, -2000]])
    assert recording.time_ns.tolist() == [1583748873 * 10**9, 1583748874 * 10**9]


@pytest.mark.parametrize(
    ("cell", "time_ns"),
    [
        ("2020-03-09T10:14:33Z", 1583748873 * 10**9),
        ("2020-03-09T18:14:33.25+08:00", 1583748873_250_000_000),
        ("2020-03-09", 1583712000 * 10**9),
        ("1583748873.123456789", 1583748873_123456789),
        ("0", 0),
        ("-1.5", -1_500_000_000),
    ],
)
def test_times_are_read_exactly_whatever_their_form(
    tmp_path: Path, cell: str, time_ns: int
) -> None:
    assert read(csv_file(tmp_path, f"t,v\n{cell},1\n")).time_ns.tolist() == [time_ns]


def test_chosen_columns_come_in_the_order_asked_for_and_the_time_may_be_any_column(
    tmp_path: Path,
) -> None:
    path = csv_file(tmp_path, "a|t|b\n1|10|2\n3|11|4\n")
    recording = read(path, delimiter="|", time_column="t", columns=["b", "a"])
    assert recording.columns == ("b", "a")
    assert recording.values.tolist() == [[2, 1], [4, 3]]
    assert recording.time_ns.tolist() == [10 * 10**9, 11 * 10**9]


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("t,v\n1,2\n2,abc\n", {}, "row 3, column 'v': 'abc' is not a number"),
        ("t,v\n1,2\n2,inf\n", {}, "row 3, column 'v': 'inf' is not a number"),
        ("t,v\n1,2\nyesterday,3\n", {}, "row 3, column 't': 'yesterday' is no time"),
        ("t,v\n1,2\n2\n", {}, "row 3 has 1 cells, the header 2"),
        ("t,Pressure\n1,2\n", {"columns": ["pressure"]}, "did you mean 'Pressure'?"),
        ("t,v\n1,2\n", {"time_column": "x"}, "has no single column 'x'; it has t, v"),
        ("t,v,v\n1,2,3\n", {"columns": ["v"]}, "names it more than once"),
        ("t,v,v\n1,2,3\n", {}, "names a column more than once: v, v"),
        ("t,v\n", {"columns": ["v"]}, "holds no rows"),
        ("t,v\n1,x\n", {}, "holds no column of numbers"),
        ("", {}, "has no header line"),
        ("t,v\n1,2\n", {"delimiter": ";;"}, "must be one character"),
    ],
)
def test_a_file_that_cannot_be_played_is_refused_with_the_place(
    tmp_path: Path, text: str, options: dict[str, object], message: str
) -> None:
    path = csv_file(tmp_path, text)
    with pytest.raises(LineError) as refused:
        read(path, **options)  # type: ignore[arg-type]
    assert message in str(refused.value)
    assert str(path) in str(refused.value)
    assert refused.value.code == 2


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(LineError, match=r"none\.csv: cannot be read: No such file"):
        read(tmp_path / "none.csv")
