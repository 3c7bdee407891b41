"""What a run works on: found, made once, or refused before anything is written."""

import gzip
import json
import re
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from musclesense.cohort import cache, checks
from musclesense.cohort.table import write_table
from musclesense.errors import InputError
from musclesense.imaging.digests import image_digest
from musclesense.imaging.nifti import read_volume, write_volume
from musclesense.training import inputs


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("outer=5", "outer=5: no such fold; give 0 to 4"),
        ("inner=-1", "inner=-1"),
        ("channels=[sugar]", "channels="),
        ("loader.batch_size=0", "loader.batch_size=0"),
        ("loader.workers=-1", "loader.workers=-1"),
        ("loader.overfit_cases=0", "loader.overfit_cases=0"),
        ("trainer.max_epochs=0", "trainer.max_epochs=0"),
        ("early_stopping.patience=0", "early_stopping.patience=0"),
        ("inference.threshold=1.0", "inference.threshold=1.0"),
        ("seed=-1", "seed=-1"),
        ("region.regions=[arm]", "region.regions=['arm']"),
        ("grid.rows=0", "grid.rows=0"),
        ("augmentation.shift=2", "augmentation.shift=2"),
        ("trainer.devices=0", "trainer.devices=0: give auto, a number"),
        ("trainer.devices=3", "loader.batch_size=4: give a multiple of 3, the number of devices"),
        ("trainer.strategy=ddp_spawn", "trainer.strategy=ddp_spawn: give auto or ddp"),
        ("trainer.compile=sometimes", "trainer.compile=sometimes: give auto or always or never"),
        ("cohort.phantom.preset=gold", "preset 'gold'"),
        ("cohort.phantom.slices=some", "slices 'some' is unknown; use all or mid"),
        ("checkpoints.keep_every=0", "checkpoints.keep_every=0: give 1 or more"),
        ("averaging.decay=1.0", "averaging.decay=1.0: give a decay from 0 to below 1, or null"),
        (
            "synthesis=any_scanner",
            "synthesis=any_scanner: only the channel fat can be drawn, and the channels are fat, water, te345",
        ),
        ("synthesis.name=gold", "synthesis.name=gold: give none, any_scanner, any_contrast or any_dixon"),
        ("cohort.path=/nowhere/cohort.csv", "/nowhere/cohort.csv: no such cohort table"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_anything_is_written(configured, tmp_path, override, named):
    with pytest.raises(InputError) as raised:
        inputs.check(configured(override))
    assert named in str(raised.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("synthesis.per_epoch=0", "synthesis.per_epoch=0: give 1 or more"),
        ("synthesis.growth=-1", "synthesis.growth=-1: give 0 or more"),
        ("synthesis.workers=-1", "synthesis.workers=-1: give 0 or more"),
        ("synthesis.per_epoch=2000", "synthesis.initial=1024: give 2000 or more, as many as an epoch trains on"),
        ("synthesis.slices=1000", "synthesis.slices=1000: give 1024 or more, as many as there are initially"),
        ("synthesis.without=[salt]", "synthesis.without=salt: no such ingredient; leave out some of disease, "),
        ("loader.overfit_cases=4", "loader.overfit_cases=4: trains on a few scans alone; give synthesis=none or"),
        (
            "labels=sides",
            "labels=sides: value 2 is not in drawn masks; "
            "give labels=whole_muscle, labels=compartments or synthesis=none",
        ),
        ("labels.classes={muscle:[1,7]}", "labels=whole_muscle: value 7 is not in drawn masks; give"),
        (
            "labels=sides labels.column=compartments",
            "labels=sides: value 1 of left, value 2 of right are not in drawn compartments; give labels=whole_muscle",
        ),
        (
            "labels.column=compartments",
            "labels=whole_muscle: any positive value (muscle) is not in drawn compartments; give",
        ),
    ],
)
def test_a_pool_that_cannot_be_drawn_is_refused_in_a_line(configured, tmp_path, override, named):
    with pytest.raises(InputError) as raised:
        inputs.check(configured("edition=simplified", "synthesis=any_scanner", *override.split()))
    (problem,) = raised.value.problems
    assert problem.startswith(named)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("region", ["calf", "thigh", "lower_limb"])
@pytest.mark.parametrize("labels", ["whole_muscle", "compartments"])
def test_every_label_set_of_the_project_that_can_be_drawn_passes(configured, region, labels):
    inputs.check(configured("edition=simplified", "synthesis=any_scanner", f"region={region}", f"labels={labels}"))


@pytest.mark.parametrize("labels", ["whole_muscle", "every_muscle", "compartments"])
def test_images_of_any_contrast_are_drawn_for_their_edition_alone(configured, labels):
    inputs.check(configured("edition=any_contrast", "synthesis=any_contrast", f"labels={labels}"))
    with pytest.raises(InputError, match=r"only the channel image can be drawn.* give edition=any_contrast"):
        inputs.check(configured("edition=simplified", "synthesis=any_contrast", f"labels={labels}"))
    with pytest.raises(InputError, match="give edition=simplified or synthesis=none"):
        inputs.check(configured("edition=any_contrast", "synthesis=any_scanner"))


@pytest.mark.parametrize("images", ["edition=professional", "edition=simplified", "channels=[te575,water]"])
def test_the_dixon_acquisition_is_drawn_for_any_of_its_images(configured, images):
    inputs.check(configured(images, "synthesis=any_dixon"))


@pytest.mark.parametrize("images", ["edition=any_contrast", "channels=[fat,te460]"])
def test_images_that_the_dixon_acquisition_lacks_are_not_drawn(configured, images):
    with pytest.raises(
        InputError, match=r"only the channels fat, water, te345, te575 can be drawn.* give edition=professional"
    ):
        inputs.check(configured(images, "synthesis=any_dixon"))


def test_muscles_of_another_region_are_not_drawn(configured):
    muscles = ("edition=simplified", "synthesis=any_scanner", "region=lower_limb", "labels=compartments")
    with pytest.raises(InputError, match=r"value 1 of rectus_femoris_right, .* and 33 more are not in drawn comp"):
        inputs.check(configured(*muscles, "region.regions=[calf]"))


@pytest.mark.parametrize("content", [None, "{}", "[]", "{", '{"sources": "another"}'])
def test_a_phantom_of_another_version_is_refused(composed, data, tmp_path, content):
    folder = tmp_path / "phantom-smoke-1"
    shutil.copytree(data / "phantom-smoke-1", folder)
    config = composed(f"data={tmp_path}", f"runs={tmp_path / 'runs'}")
    inputs.check(config)
    (folder / "phantom.json").unlink() if content is None else (folder / "phantom.json").write_text(content)
    for asked in (inputs.check, inputs.find_table):
        with pytest.raises(InputError) as raised:
            asked(config)
        assert str(raised.value) == (
            f"{folder}: made by version unknown of the phantom, and this is version 1; remove the folder"
        )
    inputs.check(composed(f"cohort.path={folder / 'cohort.csv'}", f"runs={tmp_path / 'runs'}"))


def test_how_fast_slices_are_drawn_does_not_make_another_pool_or_study(configured):
    def folders(*overrides):
        config = configured("edition=simplified", "synthesis=any_scanner", *overrides)
        return config.synthesis.pool.folder, config.study

    pool, study = folders()
    assert folders("synthesis.workers=3") == (pool, study)
    assert folders("synthesis.growth=3")[0] == pool and folders("synthesis.growth=3")[1] != study
    assert folders("synthesis.seed=3")[0] != pool


def test_all_problems_are_told_at_once(configured):
    with pytest.raises(InputError) as raised:
        inputs.check(configured("outer=7", "seed=-1", "inference.threshold=0"))
    assert len(raised.value.problems) == 3


def test_phantom_is_made_where_it_is_missing(composed, data, tmp_path, monkeypatch):
    made = []

    def generate(folder, *, preset, seed, workers, slices):
        made.append((folder.name, preset, seed, workers > 0, slices))
        shutil.copytree(data / "phantom-smoke-1", folder)

    monkeypatch.setattr("musclesense.phantom.cohorts.generate.generate", generate)
    config = composed(f"data={tmp_path}")
    for _ in range(2):
        assert inputs.find_table(config).path == tmp_path / "phantom-smoke-1" / "cohort.csv"
    inputs.find_table(composed(f"data={tmp_path}", "cohort.phantom.slices=mid"))
    assert made == [
        ("phantom-smoke-1", "smoke", 1, True, "all"),
        ("phantom-smoke-1-mid", "smoke", 1, True, "mid"),
    ]


def test_a_table_is_checked_until_its_slices_are_cached(configured, data, monkeypatch):
    config = configured(f"cohort.path={data / 'phantom-smoke-1' / 'cohort.csv'}", "grid.rows=8", "grid.columns=8")
    calls, original = [], checks.check
    monkeypatch.setattr(checks, "check", lambda *a, **k: (calls.append(1), original(*a, **k)))
    inputs.check(config)
    inputs.prepare(config)
    inputs.check(config)
    assert len(calls) == 1


def test_one_region_alone(configured):
    prepared = inputs.prepare(configured("region=thigh"))
    assert {case.acquisition.region for case in prepared.slices.cases} == {"thigh"}
    assert len(prepared.slices.cases) == 12


def test_a_missing_channel_is_named(configured, data, tmp_path):
    table = tmp_path / "cohort.csv"
    lines = (data / "phantom-smoke-1" / "cohort.csv").read_text().splitlines()
    header = lines[0].replace("te345", "other")
    folder = (data / "phantom-smoke-1").as_posix()
    table.write_text("\n".join([header, *(line.replace(",sub-", f",{folder}/sub-") for line in lines[1:])]))
    with pytest.raises(InputError, match="te345"):
        inputs.check(configured(f"cohort.path={table}"))
    inputs.check(configured(f"cohort.path={table}", "edition=simplified"))


def test_a_table_that_changed_since_the_folds_were_drawn_is_refused_at_once(configured, data, tmp_path):
    phantom, table = data / "phantom-smoke-1", tmp_path / "cohort.csv"
    shutil.copytree(phantom, tmp_path, dirs_exist_ok=True)
    config = configured(f"cohort.path={table}", f"data={tmp_path / 'data'}")
    inputs.prepare(config)
    inputs.check(config)
    table.write_text("".join(table.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(InputError, match=r"cohort\.csv: lacks subject sub-012, session ses-1, thigh, with"):
        inputs.check(config)


@pytest.fixture
def own(composed, write_cohort, tmp_path):
    """Make a cohort of one's own, and give what composes a run on it: by default with the automatic name."""
    table = write_cohort(tmp_path / "work" / "cohort")
    rows = [replace(row, fat_fraction=row.channels["water"]) for row in table.acquisitions]
    write_table(table.path, rows)

    def own(*overrides, place=tmp_path / "work"):
        small = ("channels=[fat]", "grid.rows=8", "grid.columns=16", "cohort.phantom.preset=smoke")
        return composed(f"cohort.path={place}/cohort/cohort.csv", f"data={place}/data", f"runs={place}/runs", *small,
                        *overrides)  # fmt: skip

    return own


def _edit_table(settings, edit):
    path = Path(settings.config.cohort.path)
    path.write_text("".join(edit(path.read_text().splitlines(keepends=True))))


def _resave(path, change=lambda data: data, dtype=None):
    volume = read_volume(path)
    data = change(np.array(volume.data))
    write_volume(path, data, volume.geometry, dtype or data.dtype)


def _files_below(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_a_study_is_made_from_is_written_down(own):
    settings = own()
    inputs.prepare(settings)
    record = json.loads(settings.study.cohort.read_text())
    assert record["format"] == 2 and len(record["rows"]) == 9
    assert record["rows"][1] | {"images": {}} == {
        "line": 3, "subject": "s, 1", "session": "v/2", "group": "g1", "region": "calf", "limbs": "both",
        "slice": 1, "images": {},
    }  # fmt: skip
    assert {*record["rows"][0]["images"]} == {"fat", "mask", "fat_fraction"}, "what is not trained on is not among it"
    assert str(Path(settings.config.cohort.path).parent) not in settings.study.cohort.read_text()


@pytest.mark.parametrize("named", [[], ["study=mine"]])
def test_a_study_goes_on_after_it_and_its_cohort_were_moved(own, tmp_path, named):
    inputs.prepare(own(*named))
    (tmp_path / "work").rename(tmp_path / "moved here")
    settings = own(*named, place=tmp_path / "moved here")
    assert settings.study.settings.is_file()
    inputs.check(settings)
    inputs.prepare(settings)
    assert len(list(settings.study.path.parent.glob("*/study.yaml"))) == 1


def test_the_same_bytes_are_the_same_cohort_wherever_they_lie(own, tmp_path):
    first = own()
    inputs.prepare(first)
    (tmp_path / "mount").symlink_to(tmp_path / "work")
    shutil.copytree(tmp_path / "work" / "cohort", tmp_path / "copy")
    (tmp_path / "copy" / "cohort.csv").rename(tmp_path / "copy" / "patients.csv")
    for table in (tmp_path / "mount" / "cohort" / "cohort.csv", tmp_path / "copy" / "patients.csv"):
        settings = own(f"cohort.path={table}")
        assert settings.study == first.study
        inputs.check(settings)
        inputs.prepare(settings)


@pytest.mark.parametrize("study_is_old", [False, True])
def test_what_does_not_change_a_score_may_change(own, study_is_old):
    settings = own()
    inputs.prepare(settings)
    if study_is_old:
        settings.study.cohort.unlink()
    cohort = Path(settings.config.cohort.path).parent
    (cohort / "scan0" / "mask.nii.gz").touch()
    for image, dtype in (("scan0/fat", np.float64), ("scan1/mask", np.int32), ("scan2/mask", np.float32)):
        _resave(cohort / f"{image}.nii.gz", dtype=dtype)
    plain = gzip.decompress((cohort / "scan3" / "mask.nii.gz").read_bytes())
    (cohort / "scan3" / "mask.nii.gz").write_bytes(gzip.compress(plain, 1))
    if not study_is_old:  # of which the table's bytes are known, and no image
        _edit_table(settings, lambda lines: [line.replace("scan4/fat", "scan4/renamed") for line in lines] + ["\n"])
        (cohort / "scan4" / "fat.nii.gz").rename(cohort / "scan4" / "renamed.nii.gz")
    again = own()
    assert again.study == settings.study
    inputs.check(again)
    inputs.prepare(again)
    assert settings.study.cohort.is_file()


def _one_voxel(data):
    data[tuple(np.argwhere(data > 0)[0])] += 1
    return data


@pytest.mark.parametrize("by", ["path", "moved"])
@pytest.mark.parametrize(
    ("image", "change", "told"),
    [
        ("scan0/mask", _one_voxel, "changed since .*, mask of subject s, 1, session v1, thigh"),
        ("scan2/fat", _one_voxel, "changed since .*, fat of subject s2, calf"),
        ("scan2/water", lambda data: data * 2, "changed since .*, fat_fraction of subject s2, calf"),
        ("scan3/mask", lambda mask: mask[::-1], "changed since .*, mask of subject s3, thigh"),
    ],
)
def test_changed_images_are_refused_and_named(own, tmp_path, image, change, told, by):
    inputs.prepare(own())
    place = tmp_path / "work"
    if by == "moved":
        place = place.rename(tmp_path / "moved")
    _resave(place / "cohort" / f"{image}.nii.gz", change)
    before = _files_below(place)
    with pytest.raises(InputError) as raised:
        inputs.check(own(place=place))
    (problem,) = raised.value.problems
    assert re.search(rf"{image}\.nii\.gz: {told}; put back what was there, or give study=ANOTHER_NAME$", problem)
    assert _files_below(place) == before
    with pytest.raises(InputError, match=told):
        inputs.find_table(own(place=place))


def test_an_image_that_was_placed_elsewhere_is_refused(own):
    settings = own()
    inputs.prepare(settings)
    for name in ("fat", "water", "mask"):
        file = Path(settings.config.cohort.path).parent / "scan4" / f"{name}.nii.gz"
        volume = read_volume(file)
        affine = volume.geometry.affine @ np.diag([2, 2, 1, 1])
        write_volume(file, volume.data, volume.geometry.moved(volume.geometry.shape, affine), volume.data.dtype)
    with pytest.raises(InputError, match=r"scan4/fat\.nii\.gz: lies elsewhere since"):
        inputs.check(own())


def test_a_fat_fraction_in_another_unit_is_refused_though_slices_are_cached(own):
    inputs.prepare(own())
    _resave(Path(own().config.cohort.path).parent / "scan2" / "water.nii.gz", lambda percent: percent / 500)
    for study in ("first", "second"):
        with pytest.raises(InputError, match=r"scan2/water\.nii\.gz: .* are a fraction; multiply by 100"):
            inputs.check(own(f"study={study}"))


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (lambda lines: lines[:4] + lines[5:], ["cohort.csv: lacks subject s3, thigh"]),
        (lambda lines: [line.replace("s2,,g0", "s2,,g1") for line in lines],
         ["cohort.csv, line 4: subject s2, calf has group 'g1', and 'g0' when"]),
        (lambda lines: [*lines[:3], lines[4], lines[3], *lines[5:]],
         ["cohort.csv, line 4: subject s3, thigh stood in line 5 when", "and 1 more rows"]),
        (lambda lines: [*lines[:3], lines[3].replace(",1,", ",,"), *lines[4:]],
         ["subject s2, calf has slice '', and 1 when"]),
        (lambda lines: [line.replace("s5,", "s5b,") for line in lines],
         ["lacks subject s5, calf", "line 7: subject s5b, calf is new"]),
    ],
)  # fmt: skip
def test_changed_rows_are_refused_and_named(own, edit, told):
    inputs.prepare(own())
    _edit_table(own(), edit)
    with pytest.raises(InputError) as raised:
        inputs.check(own())
    assert all(part in str(raised.value) for part in told)


def test_a_new_row_is_refused_and_named(own):
    whole = Path(own().config.cohort.path).read_text()
    _edit_table(own(), lambda lines: lines[:-1])
    inputs.prepare(own())
    Path(own().config.cohort.path).write_text(whole)
    with pytest.raises(InputError, match=r"cohort\.csv, line 10: subject s8, calf is new since"):
        inputs.check(own())


def test_rows_of_another_region_may_change(own):
    calves = ("region=calf", "folds.outer=2", "folds.inner=2")
    inputs.prepare(own(*calves))
    _edit_table(own(), lambda lines: [line for line in lines if "s6" not in line] + ["\n"])
    with pytest.raises(InputError, match=r"subject s7, calf stood in line 9"):
        inputs.check(own(*calves))
    _edit_table(own(), lambda lines: [*lines[:7], "\n", *lines[7:]])
    inputs.check(own(*calves))


def test_folds_that_were_edited_are_named(own):
    settings = own()
    inputs.prepare(settings)
    folds = json.loads(settings.study.folds.read_text())
    one, other = folds["outer"][0]["test"], folds["outer"][1]["test"]
    one[0], other[0] = other[0], one[0]
    settings.study.folds.write_text(json.dumps(folds))
    for ask in (inputs.check, inputs.prepare):
        with pytest.raises(InputError, match=r"folds\.json: changed since the study began; put back"):
            ask(own())


def test_a_changed_mask_of_a_phantom_is_refused(composed, data, tmp_path):
    shutil.copytree(data / "phantom-smoke-1", tmp_path / "phantom-smoke-1")
    settings = composed(f"data={tmp_path}", f"runs={tmp_path / 'runs'}")
    inputs.prepare(settings)
    _resave(tmp_path / "phantom-smoke-1/sub-003/ses-1/calf/mask.nii.gz", lambda mask: 1 - mask)
    for ask in (inputs.find_table, inputs.prepare):
        with pytest.raises(InputError, match=r"sub-003/ses-1/calf/mask\.nii\.gz: changed since .*phantom-smoke"):
            ask(settings)


def test_each_image_is_digested_once(own, monkeypatch):
    asked = []
    monkeypatch.setattr("musclesense.storage.digests._SETTLED_NS", -1)
    monkeypatch.setattr(cache, "image_digest", lambda path: (asked.append(path), image_digest(path))[1])
    for _ in range(2):
        inputs.check(own())
        inputs.prepare(own())
    assert len(asked) == len({*asked}) == 3 * 9


def test_a_refused_cohort_leaves_nothing(own, tmp_path):
    (Path(own().config.cohort.path).parent / "scan4" / "mask.nii.gz").write_bytes(b"no image")
    before = _files_below(tmp_path)
    with pytest.raises(InputError, match="scan4"):
        inputs.check(own())
    assert _files_below(tmp_path) == before


def test_a_study_of_the_same_settings_under_another_name_is_found(own, composed, data, tmp_path):
    for make, other in (
        (own, "seed=5"),
        (partial(composed, f"data={data}", f"runs={tmp_path}"), "cohort.phantom.seed=9"),
    ):
        inputs.prepare(first := make("study=first"))
        table = inputs.find_table(first)
        assert inputs.studies_alike(make("study=second"), table) == [first.study]
        assert inputs.studies_alike(first, table) == [], "a study that has begun is not new"
        assert inputs.studies_alike(make("study=third", other), table) == []
    _edit_table(own(), lambda lines: lines[:-1])
    assert inputs.studies_alike(own("study=second"), inputs.find_table(own())) == []


@pytest.mark.parametrize("moved", [False, True])
def test_a_study_that_an_earlier_release_named_after_its_path_goes_on(own, tmp_path, moved):
    """It has no record of rows and images; the bytes of the table are those of its folds."""
    settings = own()
    inputs.prepare(settings)
    settings.study.cohort.unlink()
    old = settings.study.path.rename(settings.study.path.with_name("hospital-lower_limb-fat-12345678"))
    place = (tmp_path / "work").rename(tmp_path / "moved") if moved else tmp_path / "work"
    again = own(place=place)
    assert again.study.path == place / "runs" / old.name
    inputs.check(again)
    inputs.prepare(again)
    assert again.study.cohort.is_file()
    _edit_table(again, lambda lines: lines[:-1])
    if not moved:
        with pytest.raises(InputError, match=r"cohort\.csv: lacks subject s8"):
            inputs.check(own(place=place))


def test_folds_that_are_gone_are_named(own):
    settings = own()
    inputs.prepare(settings)
    settings.study.folds.unlink()
    with pytest.raises(InputError, match=r"folds\.json: changed since the study began; put back what was there"):
        inputs.check(own())


def test_a_closed_phantom_is_not_called_one_of_another_version(composed, data, tmp_path, monkeypatch):
    def closed(path: Path, **_: str) -> None:
        raise InputError(f"{path}: cannot be read (Permission denied)") from PermissionError(13, "Permission denied")

    monkeypatch.setattr(inputs, "read_json", closed)
    with pytest.raises(InputError, match=r"phantom-smoke-1/phantom.json: cannot be read \(Permission denied\)"):
        inputs.check(composed(f"data={data}", f"runs={tmp_path}"))
