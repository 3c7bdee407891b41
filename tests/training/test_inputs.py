"""What a run works on: found, made once, or refused before anything is written."""

import shutil

import pytest

from musclesense.cohort import checks
from musclesense.errors import InputError
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
            "synthesis=any_scanner: only fat images can be drawn, and the channels are fat, water, te345",
        ),
        ("synthesis.name=gold", "synthesis.name=gold: give none or any_scanner"),
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
    with pytest.raises(InputError, match=r"folds\.json: does not fit \(.*cohort\.csv has changed since"):
        inputs.check(config)
