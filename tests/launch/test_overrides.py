"""The command line before Hydra reads it."""

from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import assume, example, given
from hypothesis import strategies as st

from musclesense.errors import InputError
from musclesense.launch import overrides
from musclesense.launch.overrides import choices, read, what_to_give
from musclesense.training.composition import compose


@given(first=st.integers(0, 99), length=st.integers(0, 20))
def test_a_range_sweeps_every_fold_once(first: int, length: int) -> None:
    _, (expanded,) = read([f"outer={first}..{first + length}"])
    assert choices(expanded) == [f"outer={fold}" for fold in range(first, first + length + 1)]


@pytest.mark.parametrize(
    "argument", ["outer=0,1,2", "outer=range(0,5)", "model.width=8", "cohort.path=../a/b.csv", "study=a..b"]
)
def test_all_else_is_left_as_it_is(argument: str) -> None:
    assert read([argument]) == ([], [argument])


def test_flags_come_first_and_a_class_of_ones_own_may_be_named() -> None:
    arguments = ["outer=1", "--cfg", "job", "model._target_=my.Net"]
    assert read(arguments) == (["--cfg=job"], ["outer=1", "++model._target_=my.Net"])


def test_a_backward_range_is_refused_with_the_right_one() -> None:
    with pytest.raises(InputError, match=r"outer=4\.\.0: runs backwards; give outer=0\.\.4"):
        read(["outer=4..0"])


def test_what_is_no_override_is_named() -> None:
    with pytest.raises(InputError, match="outer: not an override"):
        choices("outer")


# Past failures, found by `make fuzz`: hangs, tracebacks and code that ran.


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("seed=" + "[" * 1000 + "1" + "]" * 1000, "too long or too deep"),
        ("seed=" + "${" * 100, "too long or too deep"),
        ("seed=" + "a." * 20_000, "too long or too deep"),
        ("hydra.run.dir=/tmp", "is set by this project"),
        ("+hydra.callbacks.x._target_=os.system", "is set by this project"),
        ("hydra.launcher._target_=os.system", "is set by this project"),
        ("hydra.sweeper._target_=os.system", "is set by this project"),
        ("~hydra.callbacks", "is set by this project"),
        ("hydra.callbacks.musclesense=null", "is set by this project"),
        ("hydra.launcher.n_jobs=${outer}", "is set by this project"),
    ],
)
def test_what_cannot_be_taken_is_refused_in_one_line(argument: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as raised:
        read([argument])
    assert len(raised.value.problems) == 1


@pytest.mark.parametrize(
    "pair", [("region=[2,0.5]", "region=calf,thigh"), ("outer=0", "++outer=1"), ("~seed", "~seed")]
)
def test_a_key_is_given_once(pair: tuple[str, str]) -> None:
    """Hydra ended in a traceback, and with folds it trained another one than was planned."""
    with pytest.raises(InputError, match="is given twice; give it once"):
        read(pair)
    assert len(read(["~model.width", "+model.width=3"])[1]) == 2


def test_all_that_is_wrong_in_form_is_told_at_once() -> None:
    with pytest.raises(InputError) as raised:
        read(["labels.threshold=0.4", "seed=1", "hydra.run.dir=/tmp", "seed=2", "runs=r", "x=" + "[" * 9])
    former, ours, twice, deep = raised.value.problems
    assert former.endswith("give inference.threshold=0.4") and ours.startswith("hydra.run.dir=/tmp: is set by")
    assert twice.startswith("seed=2: seed is given twice") and "too deep" in deep


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("outer=0..999999999", "1000000000 values; give 1 to 2500"),
        ("outer=range(0,1e9)", "1000000000 values"),
        ("outer=shuffle(range(0,1000000000))", "1000000000 values"),
        ("outer=range(0,1,1e-9)", "1000000000 values"),
        ("outer=range(0,3,0)", "0 values"),
        ("outer=range(3,0)", "0 values"),
        ("outer=range(0,inf)", "0 values"),
        ("outer=interval(0,1)", "cannot be swept; list the values"),
        ("edition=glob(*)", "cannot be swept; list the values"),
        ("seed=${oc.decode:'1'}", "seed=.*: not an override"),
    ],
)
def test_a_sweep_without_end_is_counted_and_not_made(argument: str, said: str) -> None:
    _, (override,) = read([argument])
    with pytest.raises(InputError, match=said):
        choices(override)


# Overrides of earlier releases


@pytest.mark.parametrize(
    ("former", "now"),
    [
        ("labels.threshold=0.4", "inference.threshold=0.4"),
        ("labels.mirrored=true", "inference.flip=true"),
        ("labels.scales=[1.0,1.3]", "inference.scales=[1.0,1.3]"),
        ("callbacks.patience=5", "early_stopping.patience=5"),
        ("callbacks.min_delta=0.01", "early_stopping.min_delta=0.01"),
        ("callbacks.averaging=0.999", "averaging.decay=0.999"),
        ("++callbacks.averaging=null", "averaging.decay=null"),
        ("callbacks.keep_every=4", "checkpoints.keep_every=4"),
        ("optimizer.factory.lr=1e-4", "optimizer.lr=1e-4"),
        ("optimizer.factory.weight_decay=0", "optimizer.weight_decay=0"),
        ("optimizer.factory._target_=torch.optim.AdamW", "optimizer.name=adamw"),
        ("optimizer.schedule=null", "schedule=constant"),
        ("optimizer.schedule.max_lr=1e-3", "schedule.max_lr=1e-3"),
        ("optimizer.schedule.pct_start=0.1", "schedule.pct_start=0.1"),
        ("optimizer.schedule._target_=torch.optim.lr_scheduler.OneCycleLR", "schedule=one_cycle"),
        ("model._target_=musclesense.training.unet.UNet", "model.name=unet"),
        ("model._target_=musclesense.networks.unet.UNet", "model.name=unet"),
        ("loss._target_=musclesense.training.loss.DiceCrossEntropy", "loss=dice_cross_entropy"),
        ("synthesis=robust", "synthesis=any_scanner"),
        ("experiment=robust_fat", "experiment=any_scanner_fat"),
        ("experiment=[robust_fat]", "experiment=[any_scanner_fat]"),
        ("experiment=robust_ablation", "experiment=any_scanner_ablation"),
        ("cohort.phantom.preset=robust", "cohort.phantom.preset=any_scanner"),
        ("channels=te460", "channels=[te460]"),
    ],
)
def test_what_is_given_now(former: str, now: str) -> None:
    assert what_to_give(former) == now
    assert what_to_give(now) is None
    compose(now, *(["edition=simplified"] if now.startswith("synthesis") else []))


@pytest.mark.parametrize(
    ("former", "now"),
    [
        ("callbacks=early_stopping", "early_stopping, averaging or checkpoints"),
        ("~callbacks", "early_stopping, averaging or checkpoints"),
        ("optimizer.factory={lr:1}", "optimizer"),
        ("optimizer.schedule={}", "schedule"),
        ("optimizer.schedule._target_=my.Schedule", "schedule._target_=my.Schedule"),
        ("optimizer.factory._target_=torch.optim.SGD", "optimizer._target_=torch.optim.SGD"),
        ("model._target_=musclesense.training.unet.FoldedUNet", "model.name=folded_unet"),
        ("model._target_=musclesense.training.peers.SegmentationModelsUnet", "model.name=smp_unet"),
        ("synthesis.name=robust", "synthesis.name=any_scanner"),
        ("synthesis=none,robust", "synthesis=none,any_scanner"),
        ("channels.fat=true", "channels=[fat,water], a list of all"),
        ("+channels.te460=true", "channels=[fat,water], a list of all"),
        ("channels=fat,water", "channels=[...],[...], a list each"),
    ],
)
def test_what_kind_is_given_now(former: str, now: str) -> None:
    assert what_to_give(former) == now


@pytest.mark.parametrize(
    "override",
    ["channels=[fat]", "cohort.path=robust/cohort.csv", "study=robust", "labels=sides", "model._target_=my.Net", "-m"],
)
def test_all_else_is_let_through(override: str) -> None:
    assert what_to_give(override) is None


# Paths


def value_of(line: str) -> object:
    """Give what Hydra reads in an override, once it was expanded as for a sweep."""
    (choice,) = choices(line)
    return OverridesParser.create().parse_override(choice).value()


ODD_PATHS = (
    *("Müller/cohort.csv", "李.csv", "a=b.csv", "a(b).csv", "[x].csv", "{x}.csv", "a{b", "it's.csv", 'say "x".csv'),
    *("a#b.csv", "a & b;c.csv", "a~b!.csv", " a.csv", "a.csv ", "007", "true", "1e3", "a\\b.csv", "a\\", "a:b", "50%"),
    *("0..4", "x'y\\'z", "[(", "$x", "/abs/Müller x.csv", "../a b.csv"),
)


@pytest.mark.parametrize("key", ["cohort.path", "runs", "data", "++cohort.path"])
@pytest.mark.parametrize("path", ODD_PATHS)
def test_paths_are_what_was_typed(key: str, path: str) -> None:
    _, (line,) = read([f"{key}={path}"])
    assert line.startswith(f"{key}=")
    assert str(value_of(line)) == path


@example("\\)")
@example("a\\,b")
@example("\\\\ ")
@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=12))
def test_any_file_that_is_there_may_be_given(path: str) -> None:
    assume("${" not in path and not path.startswith("~"))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(overrides, "is_there", lambda _: True)
        _, (line,) = read([f"cohort.path={path}"])
    assert str(value_of(line)) == path


def test_a_file_with_a_comma_is_one_and_several_files_are_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a,b.csv", "ü.csv", "c d.csv"):
        (tmp_path / name).touch()
    assert value_of(read(["cohort.path=a,b.csv"])[1][0]) == "a,b.csv"
    assert choices(read(["cohort.path=c,d.csv"])[1][0]) == ["cohort.path=c", "cohort.path=d.csv"]
    (line,) = read(["cohort.path=ü.csv,c d.csv"])[1]
    assert choices(line) == ["cohort.path='ü.csv'", "cohort.path='c d.csv'"]


@pytest.mark.parametrize("key", ["runs", "data"])
@pytest.mark.parametrize("path", ["Smith, Jones/runs", "a,b", "/disk/2026,11/x", "ü,é"])
def test_a_place_with_a_comma_is_one(key: str, path: str) -> None:
    (line,) = read([f"{key}={path}"])[1]
    assert value_of(line) == path
    assert choices(read([f"{key}=choice(a,b)"])[1][0]) == [f"{key}=a", f"{key}=b"]


@pytest.mark.parametrize("line", ["cohort.path='a b'", 'runs="x"', "cohort.path=null", "runs=choice(a,b)", "runs="])
def test_what_hydra_is_told_on_purpose_stays(line: str) -> None:
    assert read([line])[1] == [line]


def test_a_path_may_begin_at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    assert read(["cohort.path=~/scans/a.csv", "runs=~nobody-of-this-name/r"])[1] == [
        "cohort.path=/home/somebody/scans/a.csv",
        "runs='~nobody-of-this-name/r'",
    ]


@pytest.mark.parametrize("table", ["my.csv", "Müller/my cohort.csv", "../x.tsv", "/abs/cohort.xlsx"])
def test_a_table_in_the_place_of_the_group_is_answered_with_the_key(table: str) -> None:
    with pytest.raises(InputError) as caught:
        read([f"cohort={table}"])
    assert str(caught.value) == f"cohort={table}: a table is given by its path; give cohort.path={table}"
    assert read(["cohort=phantom"])[1] == ["cohort=phantom"]
