"""Command lines of ``train.py``: values that no key takes, interpolations, targets, endless ranges, noise."""

from pathlib import Path

from fuzz.case import Case, Draw, Verdict
from fuzz.seeds import Seeds, table_text, write_cohort

ACCEPT, REFUSE, EITHER = Verdict
KEYS = (
    *("outer", "inner", "seed", "study", "runs", "data", "folds.outer", "folds.inner", "folds.seed"),
    *("loader.batch_size", "loader.workers", "loader.overfit_cases", "cohort.path", "cohort.phantom.preset"),
    *(
        "cohort.phantom.seed",
        "cohort.phantom.slices",
        "channels.fat",
        "channels.water",
        "region.regions",
        "region.name",
    ),
    *("labels.name", "labels.column", "labels.classes", "labels.classes.muscle", "inference.threshold"),
    *("grid.spacing_mm", "grid.rows", "grid.columns", "grid.fit", "augmentation.shift", "augmentation.scale"),
    *(
        "augmentation.flip_horizontal",
        "augmentation.rotation",
        "augmentation.deformation",
        "augmentation.intensity",
        "augmentation.brightness",
        "augmentation.gamma",
        "augmentation.bias_field",
        "normalisation",
        "synthesis.name",
        "synthesis.slices",
        "synthesis.initial",
        "synthesis.per_epoch",
    ),
    *("synthesis.seed", "synthesis.without", "synthesis.shard", "synthesis.workers", "model.width", "model.depth"),
    *("model._target_", "loss._target_", "loss.dice_weight", "optimizer._target_", "optimizer.lr"),
    *(
        "optimizer.weight_decay",
        "schedule._target_",
        "optimizer.schedule.max_lr",
        "optimizer.schedule",
    ),
    *("optimizer.schedule.pct_start", "optimizer.factory", "optimizer._partial_", "optimizer._args_"),
    *("trainer.accelerator", "trainer.devices", "trainer.strategy", "trainer.precision", "trainer.max_epochs"),
    *("trainer.gradient_clip_val", "early_stopping.patience", "early_stopping.min_delta", "averaging.decay"),
    *("checkpoints.keep_every", "logger.name", "logger.mode", "logger.project", "logger.entity", "logger.overlays"),
    *(
        "edition.name",
        "cohort",
        "model",
        "loss",
        "trainer",
        "grid",
        "labels",
        "logger",
        "channels",
        "edition",
        "region",
    ),
    *("synthesis", "augmentation", "experiment", "callbacks", "optimizer", "schema", "cohort.phantom", "folds"),
)
HYDRA = (
    *("hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir", "hydra.mode", "hydra.job.chdir", "hydra.job.name"),
    *("hydra.output_subdir", "hydra.verbose", "hydra.searchpath", "hydra/launcher", "hydra/sweeper", "hydra/output"),
    *("hydra.launcher.n_jobs", "hydra.callbacks.x._target_", "+hydra.callbacks.x._target_", "hydra.launcher._target_"),
    *("hydra.sweeper._target_", "hydra.sweeper.max_batch_size", "hydra/job_logging", "hydra.job.env_set.X", "hydra"),
    *(
        "hydra.sweeper.params.seed",
        "+hydra.sweeper.params.x",
        "hydra.hydra_logging.x",
        "hydra.job.config.override_dirname",
    ),
)
VALUES = (
    *(
        "",
        "0",
        "1",
        "2",
        "4",
        "-1",
        "1.5",
        "1e3",
        "1e400",
        "-1e-400",
        "nan",
        "inf",
        "-inf",
        "null",
        "true",
        "no",
        "???",
    ),
    *("9" * 25, "9" * 5000, "4294967296", "1000000", "100000", "0x10", "1_000", "'1'", '"1"', "''", "'\\''", "abc"),
    *("[]", "[1]", "[1,2]", "[a,b]", "[[1]]", "{}", "{a:1}", "{a:{b:1}}", "[{a:1}]", "[nan,inf]", "[0.5,2]", "[2,0.5]"),
    *("[fat]", "[fat,fat]", "[fat,water]", "[water,null]", "{muscle:[1]}", "{left:[1]}", "{a:[1],b:[1]}", "{a:[0]}"),
    *(
        "fat",
        "calf",
        "thigh",
        "[calf]",
        "[calf,calf]",
        "mask",
        "compartments",
        "unet",
        "demo",
        "none",
        "any_scanner",
        "paper",
    ),
    *(
        "../x",
        "/",
        "/dev/null",
        "/etc/passwd",
        "a/b",
        ".",
        "..",
        "x" * 300,
        "x" * 5000,
        "ä",
        "名",
        "🦵",
        "\u202e",
        "a b",
    ),
    *(
        "a\tb",
        "a\nb",
        "a\x1b[31mb",
        "\udcff",
        "%s",
        "{}{}",
        "$x",
        "$(ls)",
        "`ls`",
        ";ls",
        "a=b",
        "a==b",
        "#x",
        "\\",
        "@x",
    ),
    *("${outer}", "${nope}", "${study}", "${oc.env:HOME}", "${oc.env:NOPE}", "${oc.env:NOPE,7}", "${oc.decode:'1'}"),
    *("${nope:1}", "${", "${}", "${.}", "${..}", "${hydra:runtime.cwd}", "${now:%Y}", "${oc.create:{a:1}}", "${model}"),
    *("${oc.dict.keys:model}", "${oc.select:nope,3}", "${${outer}}", "${oc.env:${study}}", "x${outer}y", "\\${outer}"),
)
SWEEPS = (
    *(
        "0,1",
        "0..4",
        "0..999999999",
        "0..99999999999999999999",
        "4..0",
        "0..",
        "..4",
        "0...4",
        "1.5..2",
        "-1..1",
        "0..0",
    ),
    *("range(0,3)", "range(0,1e9)", "range(0,1000000000)", "range(3,0)", "range(0,3,0)", "range(0,1,1e-9)", "range(5)"),
    *("range(0,1,0.0)", "range(0,nan)", "range(0,inf)", "shuffle(range(0,1000000000))", "sort(range(0,1000000000))"),
    *("choice(0,1)", "choice()", "interval(0,1)", "glob(*)", "glob(x)", "sort(1,0)", "shuffle(0,1)", "tag(a,0,1)"),
    *("extend_list(1)", "int(1.5)", "str(1)", "float(x)", "json_str({a:1})", "bool(maybe)", "nope(1)", "choice(a,[b])"),
    *(
        "0,1,2,3,4,5,6,7,8,9",
        "fat,water",
        "calf,thigh",
        "demo,smoke",
        ",",
        "0,",
        ",0",
        "0,,1",
        "a,b,c",
        "[fat],[water]",
    ),
)
TARGETS = (
    *("os.system", "builtins.exec", "builtins.eval", "subprocess.Popen", "builtins.dict", "this.d", "antigravity.x"),
    *(
        "torch.nn.Conv2d",
        "torch.nn.Linear",
        "torch.nn.Identity",
        "torch.nn.Module",
        "torch.nn.nope",
        "torch",
        "nope.Nope",
    ),
    *(
        "musclesense.networks.unet.UNet",
        "musclesense.cli.main.main",
        "torch.optim.SGD",
        "torch.optim.Optimizer",
        "sys.exit",
    ),
    *(
        "torch.optim.lr_scheduler.StepLR",
        "torch.hub.load",
        "os._exit",
        "time.sleep",
        "..",
        ".x",
        "a..b",
        "torch.nn.",
        "[x]",
    ),
)
GROUPS = {
    "edition": ("professional", "simplified", "gold"),
    "channels": ("[fat]", "[fat,water]", "[]", "fat", "[sugar]", "[[fat]]", "null"),
    "region": ("calf", "thigh", "lower_limb", "hip"),
    "labels": ("whole_muscle", "sides", "compartments", "muscles/calf", "../model/unet"),
    "grid": ("isotropic", "coarse", "stretch", "fine"),
    "augmentation": ("paper", "paper_intensity", "gentle", "none", "any_scanner", "deformed"),
    "normalisation": ("z_score", "body_z_score", "percentile", "minmax", "null", "[z_score]", "1"),
    "synthesis": ("none", "any_scanner", "x"),
    "model": ("unet", "unet_small", "unet_classic", "/etc/passwd", "unet.yaml", "../train"),
    "trainer": ("auto", "cpu", "gpu", "tpu"),
    "experiment": ("demo", "smoke", "paper", "overfit", "any_scanner_fat", "nope", "[demo,smoke]", "null"),
}
FLAGS = (
    *("-m", "--multirun", "-x", "--nope", "--cfg", "--cfg=job", "--cfg=nope", "--help", "--hydra-help", "--info", "-c"),
    *("--resolve", "--package=x", "-p", "--run", "--config-path=/", "--config-name=nope", "--config-dir=/nope", "-cd"),
    *(
        "--experimental-rerun=x",
        "--shell-completion",
        "-sc",
        "--version",
        "--",
        "-",
        "---",
        "--cfg=all",
        "-h",
        "--debugs",
    ),
)
SOUND = (
    *(
        "outer=1",
        "inner=4",
        "outer=0..4",
        "inner=0,2",
        "inner=range(0,5)",
        "seed=3",
        "seed=1,2",
        "study=mine",
        "runs=x",
    ),
    *("edition=simplified", "edition=professional,simplified", "channels=[fat]", "channels=[fat],[fat,water]"),
    *("region=calf", "region=thigh,calf", "grid=coarse", "grid.spacing_mm=2.5", "model.width=8", "model=unet_small"),
    *("augmentation=gentle", "augmentation.scale=[0.9,1.1]", "labels=sides", "labels.classes={muscle:[1,2]}"),
    *("optimizer.lr=1e-4", "schedule=constant", "optimizer.weight_decay=${optimizer.lr}"),
    *(
        "trainer=cpu",
        "trainer.max_epochs=3",
        "trainer.gradient_clip_val=null",
        "averaging.decay=0.99",
        "logger=none",
    ),
    *("loader.batch_size=4", "cohort.phantom.preset=paper", "folds.seed=7", "data=${oc.env:HOME,x}", "synthesis=none"),
)
PIECES = (*"=,.:;[]{}()'\"\\$~+-@/ 01aä\t", "${", "}", "range(", "..", "null", "\U0001f9b5", "'" * 3)


def make(draw: Draw, folder: Path, seeds: Seeds) -> Case:
    """Write a command line."""
    if draw.chance(0.1):
        sound = _sound_words(draw)
        return Case(arguments=sound, changes=" ".join(sound), verdict=ACCEPT, train=True)
    words = [_word(draw) for _ in range(draw.one_of((1, 1, 1, 2, 3, 5)))]
    if draw.chance(0.5):
        words.insert(draw.below(len(words) + 1), "-m")
    if draw.chance(0.05):
        words.insert(draw.below(len(words) + 1), draw.one_of(FLAGS))
    if draw.chance(0.1):
        rows = write_cohort(folder, seeds)
        (folder / "cohort.csv").write_text(table_text(rows))
        words.insert(0, "cohort.path=cohort.csv")
    if draw.chance(0.3):
        words.insert(0, "experiment=smoke")
    # A command line holds no NUL.
    words = [word.replace("\0", "") for word in words]
    return Case(arguments=tuple(words), changes=" ".join(words)[:300], train=True)


def _sound_words(draw: Draw) -> tuple[str, ...]:
    """Give overrides that make a plan together, each of another key."""
    keys: dict[str, str] = {}
    for word in draw.some_of(SOUND, 3):
        keys.setdefault(word.partition("=")[0].partition(".")[0], word)
    if any("," in word for key, word in keys.items() if key not in ("outer", "inner")):
        keys.pop("study", None)  # several studies cannot have one name
    return ("-m", "experiment=smoke", *keys.values())


def _word(draw: Draw) -> str:
    how = draw.random.random()
    key = draw.one_of(KEYS)
    if how < 0.40:
        word = f"{key}={draw.one_of(VALUES)}"
    elif how < 0.55:
        word = f"{draw.one_of(('outer', 'inner', 'seed', key))}={draw.one_of(SWEEPS)}"
    elif how < 0.65:
        group = draw.one_of(tuple(GROUPS))
        options = draw.some_of(GROUPS[group], 3)
        word = f"{group}={','.join(options)}"
    elif how < 0.73:
        name = draw.one_of(("model", "loss", "optimizer.factory", "optimizer.schedule"))
        word = f"{name}._target_={draw.one_of(TARGETS)}"
    elif how < 0.80:
        word = f"{draw.one_of(HYDRA)}={draw.one_of((*VALUES, *TARGETS, 'basic', 'joblib', 'MULTIRUN'))}"
    elif how < 0.88:
        prefix, at = (
            draw.one_of(("+", "++", "~", "~~", "+~", "@", "!")),
            draw.one_of(("", "@x", "@x:y", "@_global_", ":")),
        )
        word = f"{prefix}{key}{at}" + (f"={draw.one_of(VALUES)}" if draw.chance(0.7) else "")
    elif how < 0.91:
        depth = draw.one_of((10, 100, 1000, 20_000))
        opened, closed = draw.one_of((("[", "]"), ("{a:", "}"), ("${", "}"), ("choice(", ")"), ("(", ")")))
        word = f"{key}={opened * depth}1{closed * draw.one_of((depth, depth - 1))}"
    elif how < 0.94:
        word = f"{key}=" + draw.one_of(("a,", "[a],", "'", "\\", "a.", "${outer}", "1 ", "9")) * draw.one_of(
            (10, 1000, 20_000)
        )
    else:
        word = "".join(draw.one_of(PIECES) for _ in range(1 + draw.below(20)))
    if draw.chance(0.12):
        place = draw.below(len(word) + 1)
        word = word[:place] + draw.one_of(PIECES) + word[place + draw.below(3) :]
    return word
