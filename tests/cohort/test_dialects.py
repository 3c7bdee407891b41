"""Tables in the dialects of spreadsheets: the rows are those of the plain table, and what was found is said."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musclesense.cohort.dialects import known_columns, read_rows
from musclesense.cohort.table import COLUMNS, read_table
from musclesense.errors import InputError

TEXT = "subject,session,group,region,slice,note\n"
TEXT += 'S1,1,"a; b",thigh,"3,0",x\nMüller,,ALS,calf,4,"a ""q"""\n\nS3,v 2,,calf,,\n'


def dialect(separator: str, text: str = TEXT) -> str:
    rows, _ = read_rows(text.encode(), COLUMNS)
    return "\n".join(separator.join(cell if cell.isalnum() else quoted(cell) for cell in row) for _, row in rows) + "\n"


def quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"'


def plain(folder, content: bytes):
    path = folder / "cohort.csv"
    path.write_bytes(content)
    table = read_table(path)
    return [{**row.cells(), "line": 0} for row in table.acquisitions], table.remarks


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (dialect(";").encode(), [": read as a table whose cells are parted by semicolons"]),
        (dialect(";").encode("utf-8-sig"), [": read as a table whose cells are parted by semicolons"]),
        (dialect("\t").encode(), [": read as a table whose cells are parted by tabs"]),
        (dialect(",").encode("utf-8-sig"), []),
        (dialect(",").replace("\n", "\r\n").encode(), []),
        (dialect(",").encode("utf-16"), [": read as UTF-16"]),
        (dialect(",").encode("utf-16-le"), [": read as UTF-16"]),
        (dialect(",").encode("utf-16-be"), [": read as UTF-16"]),
        (dialect("\t").encode("utf-16"), [": read as UTF-16", ": read as a table whose cells are parted by tabs"]),
        (("sep=;\r\n" + dialect(";")).encode(), [": read as a table whose cells are parted by semicolons"]),
        (("sep=,\n" + dialect(",")).encode(), []),
        (("sep=\t\r\n" + dialect("\t")).encode(), [": read as a table whose cells are parted by tabs"]),
        (('"SEP=;"\r\n' + dialect(";")).encode(), [": read as a table whose cells are parted by semicolons"]),
        (
            dialect(";").replace("subject;", "subject; ").encode(),
            [": read as a table whose cells are parted by semicolons"],
        ),
    ],
)
def test_rows_of_a_dialect_are_those_of_the_plain_table(tmp_path, content, said):
    expected, _ = plain(tmp_path, TEXT.encode())
    assert len(expected) == 3
    found, remarks = plain(tmp_path, content)
    assert found == expected
    assert list(remarks) == said


cells = st.text(st.sampled_from("aß李 ,;\t\"'=\n"), max_size=5)


@settings(deadline=None)
@given(
    rows=st.lists(st.lists(cells, min_size=3, max_size=3).filter(lambda row: "".join(row).strip()), max_size=4),
    separator=st.sampled_from(",;\t"),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"]),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_any_cells_come_back_with_their_lines(rows, separator, encoding, end):
    rows = [["subject", "region", "fat"], *rows]
    text = end.join(separator.join(map(quoted, row)) for row in rows) + end
    found, _ = read_rows(text.encode(encoding), COLUMNS)
    assert [row for _, row in found] == rows
    lines = [1 + sum(len(cell.split("\n")) - 1 for row in rows[:at] for cell in row) + at for at in range(len(rows))]
    assert [line for line, _ in found] == lines


def test_lines_count_the_line_that_names_the_separator():
    assert [line for line, _ in read_rows(b"sep=;\nsubject;region\n\nS1;calf\n", COLUMNS)[0]] == [2, 4]


@pytest.mark.parametrize("own", ["Slice", "SLICE", " slice", "slice ", "slice\u200b"])
def test_columns_that_differ_by_case_or_blanks_are_read_and_said(own):
    assert known_columns(["subject", own], COLUMNS) == (["subject", "slice"], [f"column {own!r} is read as 'slice'"])


@pytest.mark.parametrize(
    ("own", "known"),
    [
        *[("groups", "group"), ("Limb", "limbs"), ("sice", "slice"), ("slcie", "slice"), ("te346", "te345")],
        *[("masks", "mask"), ("FatFractions", "fat_fraction"), ("wather", "water"), ("seesion", "session")],
    ],
)
def test_columns_that_differ_by_a_letter_are_named(own, known):
    names, (said,) = known_columns(["subject", own], COLUMNS)
    assert names == ["subject", own]
    assert f"column {own!r} is not read; is it {known!r}?" in said


@pytest.mark.parametrize(
    "own", ["age", "sex", "site", "date", "scanner", "slice_thickness", "bmi", "note", "", "visit"]
)
def test_other_columns_are_no_slip(own):
    assert known_columns([*COLUMNS, own], COLUMNS) == ([*COLUMNS, own], [])
    assert known_columns(["subject", own], COLUMNS) == (["subject", own], [])


def test_a_known_column_is_preferred_to_one_that_is_nearly_so():
    names, (said,) = known_columns(["Slice", "slice", "slices"], COLUMNS)
    assert names == ["Slice", "slice", "slices"]
    assert said == "column 'Slice' is not read, since there is 'slice'"


def test_two_that_are_nearly_one_column_are_refused(tmp_path):
    with pytest.raises(InputError, match="column 'slice' occurs more than once"):
        plain(tmp_path, b"subject,region,Slice,SLICE\nS1,calf,1,2\n")


@pytest.mark.parametrize("content", ["subject,region\nMüller,calf\n".encode("cp1252"), TEXT.encode("utf-32")])
def test_what_no_encoding_gives_is_refused(tmp_path, content):
    with pytest.raises(InputError):
        plain(tmp_path, content)
