"""The cohort table: what is read, what is refused, and that a written table reads back equal."""

import hashlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from musclesense.cohort import table as table_module
from musclesense.cohort.table import Acquisition, CohortTable, read_table, scan_table, write_table
from musclesense.errors import InputError
from musclesense.names import looks, name_problem
from musclesense.vocabulary import CHANNELS, Limbs, Region


def write(folder: Path, text: str) -> Path:
    path = folder / "cohort.csv"
    path.write_bytes(text.encode())
    return path


def refusal(folder: Path, text: str) -> list[str]:
    path = write(folder, text)
    with pytest.raises(InputError) as caught:
        read_table(path)
    return [problem.removeprefix(str(path)) for problem in caught.value.problems]


def test_a_full_row_is_read_into_types(tmp_path):
    path = write(
        tmp_path,
        "subject,session,group,region,limbs,fat,water,te345,te460,te575,mask,slice,fat_fraction,scanner\n"
        "S1,v2,ALS,thigh,left,f.nii,w.nii,a.nii,b.nii,sub/c.nii,/elsewhere/m.nii,4,ff.nii,Prisma\n",
    )
    assert read_table(path).acquisitions == (
        Acquisition(
            line=2,
            subject="S1",
            session="v2",
            group="ALS",
            region=Region.THIGH,
            limbs=Limbs.LEFT,
            channels={
                "fat": tmp_path / "f.nii",
                "water": tmp_path / "w.nii",
                "te345": tmp_path / "a.nii",
                "te460": tmp_path / "b.nii",
                "te575": tmp_path / "sub/c.nii",
            },
            mask=Path("/elsewhere/m.nii"),
            slice=4,
            fat_fraction=tmp_path / "ff.nii",
        ),
    )


def test_only_subject_and_region_are_required(tmp_path):
    (row,) = read_table(write(tmp_path, "region,subject\ncalf,S1\n")).acquisitions
    assert row == Acquisition(line=2, subject="S1", region=Region.CALF)
    assert (row.limbs, row.channels, row.mask, row.slice, row.fat_fraction) == (Limbs.BOTH, {}, None, None, None)


def test_digest_is_that_of_the_bytes(tmp_path):
    text = "subject,region\nS1,calf\n"
    assert read_table(write(tmp_path, text)).digest == hashlib.sha256(text.encode()).hexdigest()


def test_lines_are_those_of_the_file(tmp_path):
    text = '\ufeffsubject,region,note\r\nS1,calf,"two\r\nlines"\r\n\r\n , \r\n"S,2", thigh\r\nS3,calf,\r\n'
    rows = read_table(write(tmp_path, text)).acquisitions
    assert [(row.line, row.subject) for row in rows] == [(2, "S1"), (6, "S,2"), (7, "S3")]


def test_a_line_separator_inside_a_name_does_not_split_the_row(tmp_path):
    (row,) = read_table(write(tmp_path, "subject,region,group\nS1,calf,A\u2028B\n")).acquisitions
    assert row.group == "A\u2028B"


@pytest.mark.parametrize(("cell", "slice_"), [("", None), ("0", 0), ("12", 12), ("3.0", 3), ('"3,0"', 3)])
def test_slice_numbers(tmp_path, cell, slice_):
    (row,) = read_table(write(tmp_path, f"subject,region,slice\nS1,calf,{cell}\n")).acquisitions
    assert row.slice == slice_


@pytest.mark.parametrize("cell", ["-1", "1.5", "mid", "1e3", "²", "12345678", ".0"])
def test_what_is_no_slice_number_is_refused(tmp_path, cell):
    (problem,) = refusal(tmp_path, f"subject,region,slice\nS1,calf,{cell}\n")
    assert problem == f", line 2: slice {cell!r}: not a slice number; count from 0, or leave it blank"


def test_all_rows_that_cannot_be_understood_are_named_at_once(tmp_path):
    text = "subject,region,limbs\nS1,arm,both\n,calf,both\nS3,calf,upper\nS4,calf,left\nS5,,third\nS6,calf,left,x\n"
    assert refusal(tmp_path, text) == [
        ", line 2: region 'arm': unknown; use calf or thigh",
        ", line 3: subject '': is blank; name the subject",
        ", line 4: limbs 'upper': unknown; use both, left, right, one",
        ", line 6: region '': unknown; use calf or thigh",
        ", line 6: limbs 'third': unknown; use both, left, right, one",
        ", line 7: has more cells than the header; quote a cell that holds a comma",
    ]
    scanned = scan_table(tmp_path / "cohort.csv")
    assert [row.subject for row in scanned.acquisitions] == ["S4"]
    assert len(scanned.problems) == 6


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty; give the whole file"),
        (" \n", "no column 'subject' or 'region'; columns found: none"),
        ("subject|region\nS1|calf\n", "no column 'subject' or 'region'; columns found: subject|region"),
        ("subjekt,region\nS1,calf\n", "no column 'subject'; columns found: subjekt, region"),
        ("a," * 10_001 + "\n", "has more than 10000 columns; is it a table of scans?"),
        ("subject,fat\nS1,f.nii\n", "no column 'region'"),
        ("subject,region,fat,fat\nS1,calf,a,b\n", "column 'fat' occurs more than once; keep one"),
        ("subject,region\n\n", "has no rows; add one row for each acquisition"),
        ('subject,region\n"S1,calf\n', "not a CSV table in UTF-8 (unexpected end of data); save it"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path, text, said):
    (problem,) = refusal(tmp_path, text)
    assert problem.startswith(f": {said}")


def test_other_encodings_are_refused(tmp_path):
    path = tmp_path / "cohort.csv"
    path.write_bytes("subject,region\nMüller,calf\n".encode("latin-1"))
    with pytest.raises(InputError, match="not a CSV table in UTF-8"):
        read_table(path)


def test_a_missing_table_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"none\.csv: no such cohort table; give cohort\.path=TABLE\.csv"):
        read_table(tmp_path / "none.csv")


def test_a_huge_file_is_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setattr(table_module, "LARGEST_TABLE_BYTES", 10)
    with pytest.raises(InputError, match="is it a table"):
        read_table(write(tmp_path, "subject,region\nS1,calf\n"))


def test_an_unreadable_file_is_refused(tmp_path, monkeypatch):
    def denied(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", denied)
    assert refusal(tmp_path, "subject,region\nS1,calf\n") == [
        ": cannot be read (Permission denied); correct its permissions"
    ]


names = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=8).map(str.strip)
names = (names | st.sampled_from(["=1+1", "'=1", "''-x", "-5", "@a", "+", "'"])).filter(
    lambda name: not name_problem(name)
)
files = st.from_regex(r"[a-z ,\"'é]{0,5}[a-z]\.nii(\.gz)?", fullmatch=True)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    rows=st.lists(
        st.fixed_dictionaries(
            {
                "subject": names.filter(looks),
                "session": names,
                "group": names,
                "region": st.sampled_from(Region),
                "limbs": st.sampled_from(Limbs),
                "channels": st.dictionaries(st.sampled_from(CHANNELS), files),
                "mask": st.none() | files,
                "slice": st.none() | st.integers(0, 999_999),
                "fat_fraction": st.none() | files,
            }
        ),
        min_size=1,
        max_size=5,
        unique_by=(lambda row: looks(row["subject"]), lambda row: looks(row["group"])),
    ),
    below=st.sampled_from(["", "scans", "../other"]),
)
def test_a_written_table_reads_back_equal(tmp_path_factory, rows, below):
    folder = tmp_path_factory.mktemp("cohort")

    def place(file: str | None) -> Path | None:
        return None if file is None else folder / below / file.strip()

    written = [
        Acquisition(
            line=line,
            **{
                **row,
                "channels": {name: place(file) for name, file in row["channels"].items()},
                "mask": place(row["mask"]),
                "fat_fraction": place(row["fat_fraction"]),
            },
        )
        for line, row in enumerate(rows, start=2)
    ]
    write_table(folder / "cohort.csv", written)
    assert list(read_table(folder / "cohort.csv").acquisitions) == written


# Past failures, found by `make fuzz`


@pytest.mark.parametrize("column", ["subject", "group", "session", "fat", "mask"])
@pytest.mark.parametrize("text", ["a\nb", "a\x1b[31mb", "a\x00b"])
def test_control_characters_in_a_cell_are_refused(tmp_path, column, text):
    row = {"subject": "S1", "region": "calf", column: text}
    header, cells = ",".join(row), ",".join(f'"{cell}"' for cell in row.values())
    (problem,) = refusal(tmp_path, f"{header}\n{cells}\n")
    assert problem == f", line 2: {column} {text!r}: holds a line end or another control character; correct the cell"


def test_a_million_rows_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(table_module, "MOST_ROWS", 3)
    rows = "S1,calf\n" * 4
    assert refusal(tmp_path, f"subject,region\n{rows}") == [": has more than 3 rows; is it a table of scans?"]
    assert len(read_table(write(tmp_path, "subject,region\n" + "S1,calf\n" * 3)).acquisitions) == 3


def test_a_hole_of_half_a_gigabyte_is_refused_unread(tmp_path):
    with (tmp_path / "cohort.csv").open("wb") as file:
        file.truncate(2**29)
    with pytest.raises(InputError, match="larger than 32 MiB; is it a table"):
        read_table(tmp_path / "cohort.csv")


@pytest.mark.parametrize(
    "name", ["Müller", "O'Brien", "李", "山田　太郎", "Anna M", "$100% & $50_", "=cmd|' /C calc'!A0", "x" * 200, "🦵"]
)
@pytest.mark.parametrize("column", ["subject", "session", "group"])
def test_harmless_names_are_taken_as_they_are_without_a_word(tmp_path, column, name):
    row = {"subject": "S1", "session": "", "group": "", column: name}
    table = read_table(
        write(tmp_path, "subject,session,group,region\n" + ",".join(f'"{v}"' for v in row.values()) + ",calf\n")
    )
    assert getattr(table.acquisitions[0], column) == name
    assert table.remarks == ()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("S1\u200bx", "holds U+200B ZERO WIDTH SPACE, which cannot be seen"),
        ("S\u00ad1", "holds U+00AD SOFT HYPHEN, which cannot be seen"),
        ("S\u202e1", "holds U+202E RIGHT-TO-LEFT OVERRIDE, which cannot be seen"),
        ("S1\ufeff1", "holds U+FEFF ZERO WIDTH NO-BREAK SPACE, which cannot be seen"),
        ("S1\u3164", "holds U+3164 HANGUL FILLER, which cannot be seen"),
        ("S\ue0001", "holds U+E000, which cannot be seen"),
        ("x" * 201, "has 201 characters, of which 200 are taken"),
        ("all", "stands for all of them together in tables of scores"),
    ],
)
@pytest.mark.parametrize("column", ["subject", "session", "group"])
def test_names_that_the_report_could_not_show_are_refused_by_the_table(tmp_path, column, name, said):
    row = {"subject": "S1", "session": "", "group": "", column: name}
    (problem,) = refusal(tmp_path, "subject,session,group,region\n" + ",".join(row.values()) + ",calf\n")
    assert problem == f", line 2: {column} {name!r}: {said}; correct the cell"


def of_two(folder: Path, column: str, one: str, other: str) -> CohortTable:
    """Read a table of two rows, whose names in a column are given and whose others are as different as they may be."""
    rows = [{"subject": "A", "session": "1", "group": "g"}, {"subject": "B", "session": "2", "group": "h"}]
    if column == "session":
        rows[1]["subject"], rows[1]["group"] = "A", "g"
    rows[0][column], rows[1][column] = one, other
    text = "".join(",".join(f'"{value}"' for value in row.values()) + ",calf\n" for row in rows)
    return scan_table(write(folder, "subject,session,group,region\n" + text))


@pytest.mark.parametrize("column", ["subject", "session", "group"])
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("M\u00fcller", "Mu\u0308ller"),
        ("Anna M", "Anna  M"),
        ("A\u00a0B", "A B"),
        ("C1", "\u04211"),
        ("A-1", "A\u20111"),
    ],
)
def test_names_that_look_alike_are_refused(tmp_path, column, one, other):
    (problem,) = of_two(tmp_path, column, one, other).problems
    assert f"line 3: {column} {other!a}: looks like {one!a} in line 2" in problem


@pytest.mark.parametrize("column", ["subject", "session", "group"])
@pytest.mark.parametrize(
    ("one", "other"),
    [
        *[
            ("MS007", "ms007"),
            ("007", "7"),
            ("MS-007", "MS_007"),
            ("MS 7", "MS7"),
            ("\uff17", "7"),
            ("S\u2013 1", "S1"),
        ],
        *[
            ("O'Brien", "O\u2019Brien"),
            ("Control", "CONTROL"),
            ("Strauß", "STRAUSS"),
            ("1-11", "01_11"),
            ("\u0667", "7"),
        ],
    ],
)
def test_names_that_may_mean_one_are_told_of_and_taken(tmp_path, column, one, other):
    table = of_two(tmp_path, column, one, other)
    assert table.problems == ()
    assert table.remarks == (f", line 3: {column} {other!r}: is it {one!r} in line 2? Then give it one name",)


@pytest.mark.parametrize("column", ["subject", "session", "group"])
@pytest.mark.parametrize(
    ("one", "other"),
    [
        *[("S1", "S10"), ("S1", "S11"), ("1-11", "11-1"), ("1.1", "1.10"), ("AChR+", "AChR-"), ("A1", "1A")],
        *[("Müller", "Möller"), ("李", "王"), ("S1", "T1"), ("S1_2", "S12"), ("ALS", "ALS 2"), ("10", "100")],
    ],
)
def test_different_names_are_taken_without_a_word(tmp_path, column, one, other):
    table = of_two(tmp_path, column, one, other)
    assert (table.problems, table.remarks) == ((), ())


def test_sessions_of_two_subjects_are_not_compared(tmp_path):
    text = "subject,session,region\nA,v1,calf\nB,V1,calf\nB,v2,calf\n"
    assert read_table(write(tmp_path, text)).remarks == ()


def test_each_name_is_told_of_once_and_many_are_counted(tmp_path, caplog):
    rows = [f"{name}{number},calf\n" for number in range(30) for name in "Ss" for _ in range(2)]
    table = read_table(write(tmp_path, "subject,region\n" + "".join(rows)))
    assert len(table.remarks) == 30
    with caplog.at_level("WARNING"):
        assert table.tell() is table
    assert len(caplog.messages) == 21
    assert caplog.messages[0].endswith("cohort.csv, line 4: subject 's0': is it 'S0' in line 2? Then give it one name")
    assert caplog.messages[-1].endswith("cohort.csv: and 10 more remarks")


def test_paths_may_begin_at_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    text = "subject,region,fat,water\nS1,calf,~/scans/f.nii,~nobody-of-this-name/w.nii\n"
    (row,) = read_table(write(tmp_path, text)).acquisitions
    assert row.channels["fat"] == Path("/home/somebody/scans/f.nii")
    assert row.channels["water"] == tmp_path / "~nobody-of-this-name/w.nii"


def test_many_columns_take_no_longer_than_their_bytes(tmp_path):
    columns = [f"c{number}" for number in range(9_990)]
    text = ",".join(["subject", "region", *columns]) + "\n" + ("S1,calf" + ",x" * len(columns) + "\n") * 20
    with pytest.raises(InputError):
        read_table(write(tmp_path, "b," * 200_000 + text))
    assert len(read_table(write(tmp_path, text)).acquisitions) == 20
