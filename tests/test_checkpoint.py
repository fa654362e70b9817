"""A checkpoint is plain data, and comes back as the network that was trained."""

from pathlib import Path
from typing import Any

import pytest
import torch

from ncsn import load_score
from ncsn.errors import DataError

pytestmark = pytest.mark.slow


@pytest.fixture
def checkpoint(trained: Path) -> dict[str, Any]:
    return torch.load(trained / "checkpoints" / "last.ckpt", weights_only=True)


def network_in(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {k.removeprefix("network."): v for k, v in state.items() if k.startswith("network.")}


def test_its_configuration_is_plain(checkpoint: dict[str, Any]) -> None:
    def assert_plain(value: Any) -> None:
        assert type(value) in (dict, list, str, int, float, bool, type(None))
        for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            assert_plain(item)

    config = dict(checkpoint["hyper_parameters"])
    assert_plain(config)
    assert config["model"]["num_filters"] == 4
    assert config["sampler"]["steps_per_level"] == 2


@pytest.mark.parametrize(("weights", "key"), [("ema", "state_dict"), ("raw", "current_model_state")])
def test_both_sets_of_weights_come_back(trained: Path, checkpoint: dict[str, Any], weights: Any, key: str) -> None:
    score = load_score(trained, weights)
    torch.testing.assert_close(dict(score.network.state_dict()), network_in(checkpoint[key]), rtol=0, atol=0)
    assert (score.weights, score.step, score.image_shape) == (weights, 6, (1, 8, 8))
    torch.testing.assert_close(score.sigmas, torch.tensor([1.0, 0.1, 0.01]))


def test_the_average_is_the_default_and_differs_from_the_raw_weights(trained: Path) -> None:
    x, sigma = torch.rand(2, 1, 8, 8), torch.tensor([1.0, 0.01])
    default = load_score(trained)
    torch.testing.assert_close(default(x, sigma), load_score(trained, "ema")(x, sigma), rtol=0, atol=0)
    assert not torch.allclose(default(x, sigma), load_score(trained, "raw")(x, sigma))
    assert not default.network.training
    assert not any(p.requires_grad for p in default.network.parameters())


def test_a_folder_means_its_newest_checkpoint(trained: Path) -> None:
    assert load_score(trained / "checkpoints" / "step_0000002.ckpt").step == 2
    assert load_score(trained).step == load_score(trained / "checkpoints" / "last.ckpt").step == 6


@pytest.mark.parametrize("content", [b"", b"hello", "truncated", {"state_dict": {}}, [1, 2], torch.zeros(2)])
def test_what_is_no_checkpoint_is_one_error_that_names_the_file(trained: Path, content: Any, tmp_path: Path) -> None:
    path = tmp_path / "bad.ckpt"
    if isinstance(content, str):
        path.write_bytes((trained / "checkpoints" / "last.ckpt").read_bytes()[:-5000])
    elif isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(DataError, match=r"bad\.ckpt"):
        load_score(path)


def test_a_missing_file_or_an_empty_folder_says_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such checkpoint"):
        load_score(tmp_path / "none.ckpt")
    with pytest.raises(DataError, match=r"checkpoints/step_\*\.ckpt"):
        load_score(tmp_path)


def test_code_in_a_file_is_not_run(tmp_path: Path) -> None:
    class Malicious:
        def __reduce__(self) -> Any:
            return (tmp_path.joinpath("ran").touch, ())

    torch.save({"state_dict": Malicious()}, tmp_path / "bad.ckpt")
    with pytest.raises(DataError):
        load_score(tmp_path / "bad.ckpt")
    assert not (tmp_path / "ran").exists()
