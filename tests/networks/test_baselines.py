"""Networks of other packages in our loop: made by configuration where they are installed, named where they are not."""

import importlib.util

import pytest
import torch

from musclesense.errors import InputError
from musclesense.networks.baselines import SegmentationModelsUnet
from musclesense.training.session import make_module

MODELS = {
    "monai_basic_unet": "monai",
    "monai_dynunet": "monai",
    "smp_unet": "segmentation_models_pytorch",
}


@pytest.mark.parametrize(("model", "package"), MODELS.items())
def test_a_peer_is_made_by_its_name(composed, model, package) -> None:
    """On a frame of 80 x 160, the demo's; 80 is no multiple of 32."""
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"needs {package} (extra baselines)")
    try:
        __import__(package)
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"{package} cannot be imported here: {error}")
    module = make_module(composed(f"model={model}", "~model.width", "~model.depth")).eval()
    with torch.inference_mode():
        assert module.probabilities(torch.zeros(1, 4, 80, 160)).shape == (1, 1, 80, 160)


@pytest.mark.parametrize(("model", "package"), MODELS.items())
def test_a_peer_that_is_not_installed_is_named(composed, model, package, monkeypatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(InputError) as caught:
        make_module(composed(f"model={model}", "~model.width", "~model.depth"))
    (problem,) = caught.value.problems
    assert problem.startswith("model: ") and "\n" not in problem
    assert f"needs {package}; pip install 'musclesense[baselines]', or choose another model" in problem


@pytest.mark.parametrize("encoder", ["tu-hf-hub:somebody/net", "tu-local-dir:/tmp/net", "../x", ""])
def test_an_encoder_is_a_name_and_no_address(encoder) -> None:
    with pytest.raises(InputError, match="is no name of an encoder"):
        SegmentationModelsUnet(in_channels=1, out_channels=2, encoder=encoder)
