"""Train and test runs of nested cross-validation: ``python train.py -m outer=0..4 inner=0..4``."""

from musclesense.endings import GO_ON, told  # isort: skip  # before what takes seconds to import

with told(GO_ON):
    import hydra
    from omegaconf import DictConfig

    from musclesense.launch.main import command, run

    @hydra.main(config_path="conf", config_name="train", version_base="1.3")
    def main(config: DictConfig) -> float:
        """Do one run of a composed configuration."""
        return run(config)

    if __name__ == "__main__":
        command(main)
