"""What Lightning is told of a run."""

from typing import Any

from musclesense.training import session
from musclesense.training.machine.hardware import Hardware, choose


def test_several_gpus_are_named_to_lightning_and_share_batch_statistics(configured, slices, monkeypatch):
    made: list[dict[str, Any]] = []
    monkeypatch.setattr(session, "Trainer", lambda **named: made.append(named))
    monkeypatch.setattr(session, "choose", lambda config: Hardware("cuda", "bf16-mixed", "pretended"))
    for own in ((2,), (1, 3)):
        begun = session.set_up(configured("trainer=ddp"), slices, own, None)
        assert begun.datamodule.train_dataloader().pin_memory
    assert [named["devices"] for named in made] == [[2], [1, 3]]
    assert [named["strategy"] for named in made] == ["auto", "ddp"]
    assert [named["sync_batchnorm"] for named in made] == [False, True]


def test_lightning_requeues_no_job(composed, tmp_path, monkeypatch):
    """It would save in the middle of an epoch, and later go on from there rather than from ``last.ckpt``."""
    for name, value in {"NTASKS": "1", "PROCID": "0", "LOCALID": "0", "NODEID": "0", "JOB_ID": "7"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    settings = composed()
    trainer = session.make_trainer(settings, choose(settings.config.trainer), (0,), [])
    environment = trainer._accelerator_connector.cluster_environment  # which the handlers of signals look at
    assert type(environment).__name__ == "LightningEnvironment", "and not that of Slurm"
