"""The interface for programs, from the upload of a scan to its removal."""

import csv
import io
import struct
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from fastapi.testclient import TestClient

import musclesense as ms
from musclesense.imaging.nifti import read_volume
from musclesense.serve.store import Store
from musclesense.serve.uploads import FIELDS, ROLES
from musclesense.vocabulary import Region

from ..segmentation.conftest import TwoLimbs, leg_scan
from .conftest import BUNDLE, Serve, ended, example, submit
from .test_unpack import zipped


def images(limbs: TwoLimbs) -> list[tuple[str, bytes]]:
    return [("Meyer/fat.nii.gz", limbs.fat.read_bytes()), ("Meyer/water.nii.gz", limbs.water.read_bytes())]


def get(client: TestClient, name: str, path: str) -> Any:
    answer = client.get(f"/api/jobs/{name}/{path}")
    assert answer.status_code == 200, answer.text
    return answer


def table(answer: Any) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(answer.text)))


def test_a_scan_becomes_what_the_command_makes_of_it_and_a_painted_mask_is_measured(
    serve: Serve, limbs: TwoLimbs, tmp_path: Path
) -> None:
    client = serve(None, model=str(BUNDLE))
    told = submit(client, ("scan.zip", zipped(*images(limbs))), region="thigh", limbs="both")
    name = told["id"]
    told = ended(client, name)
    assert told["state"] == "done", told
    assert told["notes"][0]["text"] == "upload: taken: fat image-001_fat.nii.gz; water image-002_water.nii.gz"

    scan = ms.read_scan(fat=limbs.fat, water=limbs.water)
    own = ms.segment(scan, model=BUNDLE, region="thigh", limbs="both")
    own.save(tmp_path / "own", anonymous=True)
    for file in ("measurements.csv", "dseg.tsv"):
        assert get(client, name, f"files/{file}").content == (tmp_path / "own" / file).read_bytes()
    (tmp_path / "mask.nii.gz").write_bytes(get(client, name, "files/mask.nii.gz").content)
    mask = nib.load(tmp_path / "mask.nii.gz")
    assert (np.asarray(mask.dataobj) == own.mask).all() and own.mask.any()
    assert np.allclose(mask.affine, limbs.geometry.affine)
    rows = get(client, name, "result").json()["rows"]
    assert [row["voxels"] for row in rows] == [row["voxels"] for row in own.rows]

    kept = tmp_path / "data" / "jobs" / name
    assert sorted(file.name for file in kept.iterdir()) == [
        *("kept", "outcome.json", "result", "result.json", "said.json", "shown")
    ]
    assert "Meyer" not in (kept / "result" / "run.json").read_text() + (tmp_path / "data" / "jobs.sqlite").read_text(
        errors="replace"
    )
    _paint(client, name, own.mask, tmp_path)


def _paint(client: TestClient, name: str, mask: Any, tmp_path: Path) -> None:
    """Erase a slice, and see it gone in all that is given back."""
    view = get(client, name, "view").json()
    shape = (view["rows"], view["columns"])
    image = np.frombuffer(get(client, name, "view/fat/1").content, "<u2")
    assert image.size == shape[0] * shape[1] and image.max() > 1000
    before = np.frombuffer(get(client, name, "view/mask/1").content, np.uint8).reshape(shape)
    assert before.any()
    edits = struct.pack("<I", 1) + bytes(before.size)
    assert view["base"] == name
    answer = client.post(f"/api/jobs/{name}/painted", params={"base": name}, content=edits)
    assert answer.status_code == 202
    late = client.post(f"/api/jobs/{name}/painted", params={"base": name}, content=edits)
    assert late.status_code == 409 and "corrected in another window" in late.json()["detail"]
    own = answer.json()["id"]
    assert ended(client, own)["state"] == "done"
    assert client.get(f"/api/jobs/{name}").json()["corrected"] == get(client, name, "view").json()["base"] == own
    assert not any(get(client, name, "view/mask/1").content)
    (tmp_path / "corrected.nii.gz").write_bytes(get(client, own, "files/mask.nii.gz").content)
    corrected = read_volume(tmp_path / "corrected.nii.gz").data
    changed = np.flatnonzero((corrected != mask).any(axis=(1, 2)))
    assert changed.tolist() == [1] and not corrected[1].any()  # slices are stored along the first axis
    total = [row for row in table(get(client, own, "files/changes.csv")) if row["slice"] == "all"]
    assert sum(int(row["voxels_removed"]) for row in total) == np.count_nonzero(before)
    assert get(client, own, "result").json()["changes"][0]["slice"] == "all"
    page = client.get(f"/jobs/{name}")
    assert page.status_code == 200 and "What was changed" in page.text and "Corrected" in page.text
    for wrong in (b"", b"x", edits[:-1], struct.pack("<I", 9) + bytes(before.size), edits * 99):
        refused = client.post(f"/api/jobs/{name}/painted", content=wrong)
        assert refused.status_code in (413, 422) or ended(client, refused.json()["id"])["state"] == "failed"
    assert client.post(f"/api/jobs/{own}/painted", content=edits).status_code == 409
    assert client.delete(f"/api/jobs/{name}").status_code == 204
    assert [client.get(f"/api/jobs/{one}").status_code for one in (name, own)] == [410, 410]
    assert not list((tmp_path / "data" / "jobs").iterdir())


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ([("notes.txt", b"text")], "holds no image"),
        ([("fat.nii.gz", b"\x1f\x8b\x08\x00damaged")], "image-001_fat.nii.gz: not a readable NIfTI file"),
        ([("fat.nii", b"x" * 400), ("b_fat.nii", b"x" * 400)], "upload: several images are fat: image-001_fat.nii, "),
    ],
)
def test_a_scan_that_cannot_be_used_is_told_why(
    files: list[tuple[str, bytes]], said: str, serve: Serve, tmp_path: Path
) -> None:
    told = ended(client := serve(None), submit(client, *files)["id"])
    assert told["state"] == "failed" and said in told["problems"][0]
    assert str(tmp_path) not in str(told)


def test_of_an_examination_the_series_of_one_scan_are_taken(serve: Serve, tmp_path: Path) -> None:
    pytest.importorskip("pydicom", reason="writes DICOM")
    from tests.dicom.making import Series, of_type, pixels, write_classic

    for number in (3, 4):
        write_classic(tmp_path / "dicom", Series(number, pixels(number), of_type("M", "NORM")))
    packed = zipped(*((file.name, file.read_bytes()) for file in (tmp_path / "dicom").iterdir()))
    client = serve(None, model=str(BUNDLE))
    told = ended(client, submit(client, ("all.zip", packed), region="thigh")["id"])
    assert "choose the series of one scan, such as series 3, or export" in told["problems"][-1]
    assert not list((tmp_path / "data" / "jobs" / told["id"]).glob("*/*"))
    told = ended(client, submit(client, ("all.zip", packed), region="thigh", series="4")["id"])
    assert told["notes"][0]["text"].startswith("upload: taken: image scan_image.nii.gz")
    assert told["problems"] == ["the model takes fat; add fat FILE, or give another model"]
    told = ended(client, submit(client, ("all.zip", packed), region="thigh", series="5 4")["id"])
    assert told["problems"] == ["series 5: not in upload, which has series 3, 4; give one of these"]


@pytest.mark.parametrize("asked", [{}, {"dicom_seg": "yes"}])
def test_the_patient_is_named_in_one_file_and_only_where_that_is_asked_for(
    asked: dict[str, str], serve: Serve, tmp_path: Path
) -> None:
    pydicom = pytest.importorskip("pydicom", reason="writes DICOM")
    pytest.importorskip("highdicom", reason="comes with musclesense[dicom]")
    from tests.dicom.making import Series, of_type, write_classic

    shown = leg_scan(Region.THIGH, (0.45, 0.5, 0.55), channel="fat", codes="LPS").channels["fat"]
    series = Series(5, shown.transpose(2, 1, 0).astype(np.uint16), of_type("DIXON", "FAT"), places=range(3))
    write_classic(tmp_path / "dicom", series)
    files = [*(tmp_path / "dicom").iterdir()]
    client = serve(None, model="any_contrast")
    packed = zipped(*((file.name, file.read_bytes()) for file in files))
    told = ended(client, submit(client, ("all.zip", packed), region="thigh", **asked)["id"])
    assert told["state"] == "done" and ("mask.dcm" in told["files"]) is bool(asked)
    patient = pydicom.dcmread(files[0])
    kept = {file: file.read_bytes() for file in (tmp_path / "data" / "jobs").rglob("*") if file.is_file()}
    for value in (str(patient.PatientID), str(patient.PatientName)):
        naming = [file.name for file, content in kept.items() if value.encode() in content]
        assert naming == ["mask.dcm"][: len(asked)]
    if asked:
        made = pydicom.dcmread(io.BytesIO(get(client, told["id"], "files/mask.dcm").content))
        assert (made.Modality, made.PatientID) == ("SEG", patient.PatientID)


def test_a_segmentation_for_dicom_is_refused_where_no_dicom_was_given(limbs: TwoLimbs, serve: Serve) -> None:
    pytest.importorskip("highdicom", reason="comes with musclesense[dicom]")
    client = serve(None, model=str(BUNDLE))
    told = ended(client, submit(client, *images(limbs), region="thigh", dicom_seg="yes")["id"])
    assert told["problems"] == ["dicom seg: goes with a scan that is DICOM; leave it out"]


@pytest.mark.parametrize("times", ["3.45 4.6 5.75", "3.45, 4.60, 5.75", " 3,45; 4,6;5,75 "])
def test_echo_times_are_taken_as_people_write_them(times: str, serve: Serve, tmp_path: Path) -> None:
    client = serve()
    name = submit(client, ("a.nii", b"x"), echo_times=times)["id"]
    found = Store(tmp_path / "data").find(name)
    assert found is not None and found.options == {"echo_times": [3.45, 4.6, 5.75]}


@pytest.mark.parametrize(
    ("status", "form"),
    [
        (422, {"series": (None, "three"), "files": ("a.nii", b"x")}),
        (422, {"echo_times": (None, "3,45,4,6"), "files": ("a.nii", b"x")}),
        (422, {"region": (None, "arm"), "files": ("a.nii", b"x")}),
        (422, {"limbs": (None, "three"), "files": ("a.nii", b"x")}),
        (422, {"dicom_seg": (None, "no"), "files": ("a.nii", b"x")}),
        (422, {"example": (None, "arm")}),
        (422, {"example": (None, "thigh"), "files": ("a.nii", b"x")}),
        (422, {"region": (None, "calf")}),
        (422, {"other": ("a.nii", b"x")}),
        (413, {"files": ("a.nii", bytes(2 * 2**20))}),
    ],
)
def test_what_is_not_to_be_taken_is_refused_and_leaves_nothing(
    status: int, form: dict[str, Any], serve: Serve, tmp_path: Path
) -> None:
    answer = serve(upload_mb=1).post("/api/jobs", files=form)
    assert answer.status_code == status and answer.json()["detail"]
    assert not list((tmp_path / "data" / "jobs").iterdir())


def test_an_upload_of_unknown_length_is_bounded_too(serve: Serve, tmp_path: Path) -> None:
    def pieces() -> Any:
        yield b'--b\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'
        yield from (bytes(2**18) for _ in range(8))

    answer = serve(upload_mb=1).post(
        "/api/jobs", content=pieces(), headers={"content-type": "multipart/form-data; boundary=b"}
    )
    assert answer.status_code == 413
    assert not list((tmp_path / "data" / "jobs").iterdir())


@pytest.mark.parametrize("name", ["0" * 32, "..", "%2e%2e", "x", "0" * 31, "0" * 33, "../../etc", "0" * 32 + "%00"])
def test_there_is_no_other_job(name: str, serve: Serve) -> None:
    client = serve()
    for path in ("", "/result", "/view", "/view/mask/0", "/files/mask.nii.gz"):
        assert client.get(f"/api/jobs/{name}{path}").status_code in (404, 405, 422)


@pytest.mark.parametrize(
    "file", ["none", "..%2foutcome.json", "result.json", "%2e%2e%2foutcome.json", "../outcome.json"]
)
def test_there_is_no_other_file(file: str, serve: Serve) -> None:
    client = serve()
    name = example(client)
    ended(client, name)
    assert get(client, name, "files/mask.nii.gz").content == b"a mask"
    assert client.get(f"/api/jobs/{name}/files/{file}").status_code == 404


def test_a_download_is_called_after_no_patient(serve: Serve) -> None:
    client = serve()
    name = submit(client, ("Meyer.nii.gz", b"x"))["id"]
    ended(client, name)
    answer = get(client, name, "files/mask.nii.gz")
    assert answer.headers["content-disposition"] == f'attachment; filename="musclesense-{name[:6]}-mask.nii.gz"'


def test_the_description_has_every_path_and_what_it_answers(serve: Serve) -> None:
    told = serve().get("/api/openapi.json").json()
    assert sorted(told["paths"]) == [
        "/api/jobs",
        "/api/jobs/{name}",
        "/api/jobs/{name}/files/{file}",
        "/api/jobs/{name}/painted",
        "/api/jobs/{name}/result",
        "/api/jobs/{name}/view",
        "/api/jobs/{name}/view/{image}/{number}",
    ]
    form = told["paths"]["/api/jobs"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
    assert {*form} == {*FIELDS, *ROLES}
    assert all(
        one.get("summary") and one.get("description") for path in told["paths"].values() for one in path.values()
    )


def test_an_upload_that_stops_makes_room_for_others(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a client that is gone without a word: the wait is over at once here."""

    async def over(piece: Any, _: float) -> bytes:
        piece.close()
        raise TimeoutError

    client = serve()
    with monkeypatch.context() as own:
        own.setattr("musclesense.serve.desk.asyncio.wait_for", over)
        for _ in range(9):
            assert client.post("/api/jobs", files={"files": ("a.nii", b"x")}).status_code == 408
    assert not list((tmp_path / "data" / "jobs").iterdir())
    assert client.post("/api/jobs", files={"files": ("a.nii", b"x")}).status_code == 202
