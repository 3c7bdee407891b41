"""Train and test runs of nested cross-validation: ``python train.py -m outer=0..4 inner=0..4``."""

from pathlib import Path

from musclesense.launch.main import main

if __name__ == "__main__":
    main(Path(__file__).parent / "conf")
