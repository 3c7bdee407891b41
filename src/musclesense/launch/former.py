"""Overrides of earlier releases, which people may have in scripts, and what is given instead now."""

import re

from musclesense.studies.identity import MOVED_KEYS

_CHANNELS = "fat|water|te345|te460|te575"
_NETWORKS = {"UNet": "unet", "FoldedUNet": "folded_unet", "SegmentationModelsUnet": "smp_unet"}
_REPLACED = (
    *((re.escape(old) + "(=.*)?", rf"{new}\1") for old, new in MOVED_KEYS.items()),
    (r"callbacks.*", "early_stopping, averaging or checkpoints"),
    (r"optimizer\.factory\._target_=torch\.optim\.AdamW", "optimizer.name=adamw"),
    (r"optimizer\.factory\.(.+)", r"optimizer.\1"),
    (r"optimizer\.factory.*", "optimizer"),
    (r"optimizer\.schedule=(null|None)", "schedule=constant"),
    (r"optimizer\.schedule\._target_=torch\.optim\.lr_scheduler\.OneCycleLR", "schedule=one_cycle"),
    (r"optimizer\.schedule\.(.+)", r"schedule.\1"),
    (r"optimizer\.schedule.*", "schedule"),
    *(
        (rf"model\._target_=musclesense\.(training|networks)\.\w+\.{old}", f"model.name={new}")
        for old, new in _NETWORKS.items()
    ),
    (r"loss\._target_=musclesense\.training\.loss\.DiceCrossEntropy", "loss=dice_cross_entropy"),
    (rf"channels=({_CHANNELS})", r"channels=[\1]"),
    (rf"channels=({_CHANNELS})(,({_CHANNELS}))+", "channels=[...],[...], a list each"),
    (r"channels\..+", "channels=[fat,water], a list of all"),
    (r"((?:synthesis|synthesis\.name|cohort\.phantom\.preset)=.*?)\brobust\b(.*)", r"\1any_scanner\2"),
    (r"(experiment=.*?)\brobust_(fat|ablation)\b(.*)", r"\1any_scanner_\2\3"),
)


def what_to_give(override: str) -> str | None:
    """Give what has taken the place of an override, or None where it is none of an earlier release.

    >>> what_to_give("labels.mirrored=true")
    'inference.flip=true'
    >>> what_to_give("synthesis=none,robust")
    'synthesis=none,any_scanner'
    """
    given = override.lstrip("+~")
    for pattern, new in _REPLACED:
        if found := re.fullmatch(pattern, given, re.DOTALL):
            return found.expand(new)
    return None
