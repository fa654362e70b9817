import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch_fidelity.fidelity
from torch import nn
from torch_fidelity import feature_extractor_inceptionv3 as theirs

from ncsn.errors import DataError
from ncsn.evaluation import Inception, Reference, ScoreSettings, compute_scores, extract, images_of
from ncsn.evaluation.inception import WEIGHTS_FILE, WEIGHTS_SHA256, WEIGHTS_URL
from ncsn.images import save_png


class Unloaded(theirs.FeatureExtractorInceptionV3):
    """Their network without weights of its own."""

    def load_state_dict(self, *_):
        pass


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    """Random weights that keep the size of activations from layer to layer, in the published file's format."""
    path = tmp_path_factory.mktemp("weights") / "random.pth"
    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng():
        torch.manual_seed(0)
        patch.setattr(theirs, "load_state_dict_from_url", lambda *_, **__: {})
        network = Unloaded("inception-v3-compat", ["2048"])
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        network.fc.weight.mul_(30)  # so that the classes of two images differ
    torch.save(network.state_dict(), path)
    return path


def save_blobs(folder: Path, seed: int, contrast: int) -> Path:
    rng = np.random.default_rng(seed)
    for i in range(20):
        coarse = rng.integers(128 - contrast, 128 + contrast, (4, 4, 3), dtype=np.uint8)
        save_png(coarse.repeat(8, 0).repeat(8, 1), folder / f"{i:02d}.png")
    return folder


@pytest.mark.slow
def test_torch_fidelitys_command_line_finds_the_same_scores(weights, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(theirs.FeatureExtractorInceptionV3, "INPUT_IMAGE_SIZE", 107)  # fewer pixels, for both
    samples, real = save_blobs(tmp_path / "samples", 0, 127), save_blobs(tmp_path / "real", 1, 90)
    network = Inception(str(weights))
    reference = Reference.of_folder(real, network, tmp_path / "references")
    found = compute_scores(extract(network, images_of(samples).batches(20)), reference)
    assert ScoreSettings.suited_to(20, 20).kid_subset_size == 10
    command = ["fidelity", "--cpu", "--silent", "--json", "--cache-root", str(tmp_path / "cache")]
    command += ["--isc", "--fid", "--kid", "--prc", "--kid-subset-size", "10"]
    command += ["--feature-extractor", "inception-v3-compat", "--feature-extractor-weights-path", str(weights)]
    command += ["--input1", str(samples), "--input2", str(real)]
    command += ["--input1-cache-name", "samples", "--input2-cache-name", "real"]  # features once for all scores
    monkeypatch.setattr(sys, "argv", command)
    capsys.readouterr()
    torch_fidelity.fidelity.main()
    expected = json.loads(capsys.readouterr().out)
    assert found == pytest.approx(
        {
            "is_20": expected["inception_score_mean"],
            "is_20_std": expected["inception_score_std"],
            "fid_20": expected["frechet_inception_distance"],
            "kid_20": expected["kernel_inception_distance_mean"],
            "kid_20_std": expected["kernel_inception_distance_std"],
            "precision_20": expected["precision"],
            "recall_20": expected["recall"],
        },
        rel=1e-6,
    )
    assert found["fid_20"] > 0
    assert found["is_20"] > 1.01


def test_features_are_those_of_torch_fidelity_and_grey_images_get_three_channels(weights):
    network = Inception(str(weights))
    grey = torch.randint(0, 256, (2, 1, 28, 28), dtype=torch.uint8)
    found = extract(network, [grey])
    features, logits = network.network(grey.repeat(1, 3, 1, 1))
    torch.testing.assert_close(found.features, features)
    torch.testing.assert_close(found.logits, logits)
    assert (found.features.shape, found.logits.shape) == ((2, network.dimension), (2, network.num_classes))


def test_what_the_record_says(weights, caplog):
    network = Inception(str(weights))
    assert network.describe() == {"name": "inception", "checksum": network.checksum, "published_weights": False}
    assert len(network.checksum) == 64
    assert "not the published weights" in caplog.text
    assert WEIGHTS_FILE.removesuffix(".pth").endswith(WEIGHTS_SHA256[:8])


@pytest.fixture
def hub(tmp_path, monkeypatch) -> Path:
    """PyTorch's cache, empty."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "torch" / "hub" / "checkpoints"


def test_a_file_in_pytorchs_cache_is_found(weights, hub, monkeypatch):
    monkeypatch.setattr("pooch.retrieve", lambda *_, **__: pytest.fail("downloaded"))
    hub.mkdir(parents=True)
    (hub / WEIGHTS_FILE).symlink_to(weights)
    assert Inception().checksum == Inception(str(weights)).checksum


def test_a_file_that_is_not_there_is_downloaded(weights, hub, monkeypatch):
    def retrieve(url: str, known_hash: str, fname: str, path: Path, progressbar: bool) -> None:
        assert (url, known_hash) == (theirs.URL_INCEPTION_V3, f"sha256:{WEIGHTS_SHA256}")
        path.mkdir(parents=True, exist_ok=True)
        (path / fname).write_bytes(weights.read_bytes())

    monkeypatch.setattr("pooch.retrieve", retrieve)
    assert Inception().checksum == Inception(str(weights)).checksum
    assert (hub / WEIGHTS_FILE).is_file()


def test_without_a_network_one_error_says_what_to_do(hub, monkeypatch):
    def fail(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr("pooch.retrieve", fail)
    with pytest.raises(DataError) as error:
        Inception()
    message = str(error.value)
    assert message.startswith(
        f"{hub / WEIGHTS_FILE}: missing, and could not be downloaded ({WEIGHTS_URL}: no network); "
    )
    assert "\n" not in message
    for part in ("features.weights_path", str(hub), "features=classifier"):
        assert part in message


def test_a_path_that_leads_nowhere(hub):
    with pytest.raises(DataError, match=rf"^nowhere\.pth: missing; get {WEIGHTS_FILE} from https://.*=classifier"):
        Inception("nowhere.pth")


def test_a_path_below_the_home_folder(weights, monkeypatch):
    monkeypatch.setenv("HOME", str(weights.parent))
    assert Inception(f"~/{weights.name}").checksum == Inception(str(weights)).checksum


class Touch:
    """What a pickle may do."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_other_files_are_refused_and_nothing_in_them_is_run(tmp_path):
    path = tmp_path / "weights.pth"
    for content in ({"Conv2d_1a_3x3.conv.weight": torch.zeros(1)}, Touch(tmp_path / "ran")):
        torch.save(content, path)
        with pytest.raises(DataError, match=r"weights\.pth: expected the weights of Inception.*replace it"):
            Inception(str(path))
    path.write_bytes(b"half")
    with pytest.raises(DataError, match=r"weights\.pth: expected the weights of Inception"):
        Inception(str(path))
    assert not (tmp_path / "ran").exists()
