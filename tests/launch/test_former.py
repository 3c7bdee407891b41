"""Overrides of earlier releases: each is answered with what is given now, and that is taken."""

import pytest

from musclesense.launch.former import what_to_give
from musclesense.training.composition import compose


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
