"""Tasks that follow the probability flow: latents of networks whose flow is known, and strangers' files."""

import io
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from ncsn import damage
from ncsn.checkpoint import TrainedScore
from ncsn.conditions import Condition, Label
from ncsn.data import Digits
from ncsn.errors import ConfigError, DataError
from ncsn.flow import DormandPrince, HeunSteps
from ncsn.noise import geometric
from ncsn.random import Draws
from ncsn.samplers import DDIM, spherical
from ncsn.sampling.drawing import draw
from ncsn.sampling.tasks import Decode, Encode, Interpolate, InterpolateImages, interpolate

TIGHT = DormandPrince(1e-6, 1e-6)
SIGMAS = geometric(20, 0.05, 5)
VARIANCE = 0.3
MEANS = torch.tensor([0.2, 0.6, 0.4])  # of two classes, and of no class


class Gaussians(nn.Module):
    """The score of N(mean, VARIANCE I), with a mean for each label."""

    def forward(self, x: Tensor, sigma: Tensor, label: Tensor | None = None) -> Tensor:
        mean = MEANS[-1] if label is None else MEANS[label].view(-1, 1, 1, 1)
        return (mean - x) / (VARIANCE + sigma.view(-1, 1, 1, 1) ** 2)


def latents_of(images: Tensor, mean: float) -> Tensor:
    """What the flow of a Gaussian does: it stretches."""
    first, last = SIGMAS[0] ** 2, SIGMAS[-1] ** 2
    return mean + ((VARIANCE + first) / (VARIANCE + last)).sqrt() * (images - mean)


def a_score(condition: Condition | None = None, data: dict[str, Any] | None = None) -> TrainedScore:
    return TrainedScore(
        network=Gaussians(),
        sigmas=SIGMAS,
        image_shape=(1, 8, 8),
        config={"data": data or {}},
        weights="raw",
        step=1,
        condition=condition,
    )


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder of three images."""
    folder = tmp_path_factory.mktemp("three")
    for i in range(3):
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (8, 8), np.uint8)).save(folder / f"{i}.png")
    return str(folder)


@pytest.fixture
def given(three: str) -> dict[str, Any]:
    return {"score": a_score(), "sampler": DDIM(), "solver": TIGHT, "images": three}


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., str]:
    """save(latents=…, sigmas=…): an npz."""

    def save(**arrays: Any) -> str:
        np.savez(tmp_path / "latents.npz", **arrays)
        return str(tmp_path / "latents.npz")

    return save


# There and back


@pytest.mark.parametrize(("solver", "bound"), [(None, 0.2), (HeunSteps(300), 0.02)])
def test_latents_are_those_of_a_known_flow_and_lead_back(solver: Any, bound: float, given: dict[str, Any]) -> None:
    task = Encode(**given | {"solver": solver})
    latents = task.start(range(3), Draws(0))
    torch.testing.assert_close(latents, latents_of(task.original, 0.4), rtol=1e-3, atol=1e-3)
    ((_, back),) = draw(task, batch_size=3, seed=0)
    assert 255 * (back - task.original).abs().max() < bound
    alone = task.start(range(1, 2), Draws(0))
    torch.testing.assert_close(alone, latents[1:2], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("label", "guidance", "mean"), [(1, 1, 0.6), (0, 1, 0.2), (1, 2.5, 0.9), (None, 1, 0.4)])
def test_the_flow_is_that_of_the_class_asked_for(
    label: int | None, guidance: float, mean: float, given: dict[str, Any]
) -> None:
    given |= {"score": a_score(Label(2)), "label": label, "guidance": guidance}
    task = Encode(**given)
    torch.testing.assert_close(task.start(range(3), Draws(0)), latents_of(task.original, mean), rtol=1e-4, atol=1e-4)
    rows = InterpolateImages(**given, num_angles=3).start(range(3, 6), Draws(0))
    torch.testing.assert_close(rows[[0, 2]], latents_of(task.original[1:], mean), rtol=1e-4, atol=1e-4)


def test_latents_are_shown_within_three_sigma(given: dict[str, Any]) -> None:
    task = Encode(**given)
    x = 0.5 + float(SIGMAS[0]) * torch.tensor([-3.0, 0, 3])
    torch.testing.assert_close(task.shown(x), torch.tensor([0, 0.5, 1]))
    images, columns = task.rows(torch.zeros(2, 1, 8, 8), torch.ones(2, 1, 8, 8))
    assert columns == 3
    assert torch.equal(images[3:], torch.cat([task.original[1:2], torch.zeros(1, 1, 8, 8), torch.ones(1, 1, 8, 8)]))


def test_another_solver_is_another_task(given: dict[str, Any]) -> None:
    identities = [Encode(**given | {"solver": solver}).identity for solver in (TIGHT, None, HeunSteps(3))]
    assert identities[0]["solver"] == {"_target_": "ncsn.flow.DormandPrince", "rtol": 1e-6, "atol": 1e-6}
    assert identities[1]["solver"]["rtol"] == 1e-5
    assert identities[2]["solver"]["steps"] == 3


# From image to image


def test_rows_go_from_each_image_to_the_next(given: dict[str, Any]) -> None:
    task = interpolate(**given, num_angles=5)
    assert isinstance(task, InterpolateImages)
    assert (task.num_chains, task.together) == (10, 5)
    ((_, whole),) = draw(task, batch_size=10, seed=0)
    rows = whole.unflatten(0, (2, 5))
    for ends, images in ((rows[:, 0], task.original[:2]), (rows[:, -1], task.original[1:])):
        assert 255 * (ends - images).abs().max() < 0.2
    _, second = list(draw(task, batch_size=5, seed=1))  # one row, and nothing of the seed
    torch.testing.assert_close(second[1], rows[1], rtol=0, atol=1e-3)
    lengths = (task.start(range(10), Draws(0)) - 0.5).flatten(1).norm(dim=1).unflatten(0, (2, 5))
    assert (lengths.amin(1) > 0.95 * lengths[:, [0, -1]].amin(1)).all()
    pictures, columns = task.picture(whole[:9])  # a row that is whole
    assert (len(pictures), columns) == (7, 7)
    assert torch.equal(pictures[[0, 6]], task.original[:2])
    assert isinstance(interpolate(score=a_score(), sampler=DDIM()), Interpolate)


def test_between_two_noises_lie_noises() -> None:
    generator = torch.Generator().manual_seed(0)
    p, q = torch.nn.functional.normalize(torch.randn(2, 4, 768, generator=generator), dim=2) * 768**0.5
    p, q = p.view(4, 3, 16, 16).double(), q.view(4, 3, 16, 16).double()
    rows = spherical(p, q, 5)
    assert rows.shape == (4, 5, 3, 16, 16)
    torch.testing.assert_close(rows[:, [0, -1]], torch.stack([p, q], dim=1))
    assert rows.square().mean(dim=(2, 3, 4)).sub(1).abs().max() < 1e-3
    steps = torch.cosine_similarity(rows[:, 1:].flatten(2), rows[:, :-1].flatten(2), dim=-1).acos()
    torch.testing.assert_close(steps, steps[:, :1].expand(4, 4), rtol=1e-3, atol=1e-3)  # of one angle
    torch.testing.assert_close(spherical(p, p, 3), p[:, None].expand(4, 3, 3, 16, 16))
    torch.testing.assert_close(spherical(p, 3 * p, 3)[:, 1], 2 * p)
    assert spherical(p, q, 3).dtype == torch.float64
    turned = torch.randn(2000, 2)  # the cosine of some of them and themselves is above 1
    assert torch.isfinite(spherical(turned, turned, 3)).all()


# Latents of a file


def test_a_latent_is_decoded_and_cooled_about_the_mean_of_the_data(save: Callable[..., str], tmp_path: Path) -> None:
    data = {"_target_": "ncsn.data.Digits", "root": str(tmp_path)}
    images = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    path = save(latents=latents_of(images, 0.4).numpy(), sigmas=SIGMAS.numpy())
    options: dict[str, Any] = {"sampler": DDIM(), "solver": TIGHT, "latents": path}
    task = Decode(score=a_score(), **options)  # without any data
    assert task.num_chains == 4
    for batch_size in (4, 3):
        whole = torch.cat([x for _, x in draw(task, batch_size=batch_size, seed=0)])
        torch.testing.assert_close(whole, images, rtol=0, atol=1e-4)
    cool = Decode(score=a_score(data=data), temperature=0.7, **options)
    own = Digits(root=str(tmp_path))
    own.prepare_data()
    mean = own.images("train").float().mean(0) / 255
    torch.testing.assert_close(cool.start(range(1, 3), Draws(0)), mean + 0.7 * (task.given[1:3] - mean))
    assert cool.identity["mean"] != task.identity.get("mean")
    assert cool.identity["given_latents"] == task.identity["given_latents"]


class Runs:
    """An object whose unpickling would be seen."""

    def __reduce__(self) -> Any:
        return pytest.fail, ("a stranger's file was run",)


GOOD = {"latents": np.zeros((2, 1, 8, 8), np.float32), "sigmas": SIGMAS.numpy()}
BAD: dict[str, tuple[dict[str, Any], str]] = {
    "shape": ({"latents": np.zeros((2, 1, 8, 9), np.float32)}, "float32 (N, 1×8×8), found float32 (2, 1, 8, 9)"),
    "axes": ({"latents": np.zeros((1, 8, 8), np.float32)}, "expected float32 (N, 1×8×8), found float32 (1, 8, 8)"),
    "type": ({"latents": np.zeros((2, 1, 8, 8))}, "found float64 (2, 1, 8, 8)"),
    "none": ({"latents": np.zeros((0, 1, 8, 8), np.float32)}, "found float32 (0, 1, 8, 8)"),
    "sigma": ({"sigmas": geometric(10, 0.05, 5).numpy()}, "(5 from 10 to 0.05, not 5 from 20 to 0.05)"),
    "levels": ({"sigmas": geometric(20, 0.05, 6).numpy()}, "other noise levels than the network's"),
    "no levels": ({"sigmas": np.zeros((), np.float32)}, "float32 ()"),
    "infinite": ({"latents": np.array([0, np.inf], np.float32).repeat(64).reshape(2, 1, 8, 8)}, "latent 1 is not"),
    "pickled": ({"latents": np.array([Runs()])}, "cannot be read"),
    "text": ({"sigmas": np.array(["\x1b[2J"])}, "other noise levels"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_what_are_no_latents_of_the_network_is_refused(kind: str, save: Callable[..., str]) -> None:
    changed, message = BAD[kind]
    path = save(**GOOD | changed)
    with pytest.raises(DataError, match=re.escape(message)) as raised:
        Decode(score=a_score(), sampler=DDIM(), latents=path)
    assert str(raised.value).startswith(f"task.latents={path}: ")
    assert str(raised.value).isprintable()


def claiming(shape: str) -> bytes:
    """An array of float32 whose header promises more than there is."""
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + bytes(64)


def archive(names: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", compression) as file:
        for name, content in names.items():
            file.writestr(name, content)
    return whole.getvalue()


FILES = {
    "nothing": (b"", "cannot be read"),
    "text": (b"not an archive", "cannot be read"),
    "a larger array than there is": (archive({"latents.npy": claiming(f"({2**40}, 1, 8, 8)")}), "cannot be read"),
    "one that overflows": (archive({"latents.npy": claiming(f"({2**62}, 16)")}), "cannot be read"),
    "compressed": (archive({"latents.npy": bytes(2**20)}, zipfile.ZIP_DEFLATED), "compressed"),
    "other arrays": (
        archive({"arr_0.npy": claiming("(16,)")}),
        "expected the arrays latents and sigmas, found arr_0",
    ),
}


@pytest.mark.parametrize("kind", FILES)
def test_strangers_files_take_no_more_than_they_are_long(kind: str, tmp_path: Path) -> None:
    content, message = FILES[kind]
    (tmp_path / "latents.npz").write_bytes(content)
    with pytest.raises(DataError, match=message):
        Decode(score=a_score(), sampler=DDIM(), latents=str(tmp_path / "latents.npz"))


# Wrong requests


def test_what_the_flow_has_no_use_for_is_refused(given: dict[str, Any], save: Callable[..., str], three: str) -> None:
    with pytest.raises(ConfigError, match=r"^num_samples=2: the flow draws nothing"):
        Encode(**given, num_samples=2)
    with pytest.raises(ConfigError, match="condition=uncrop"):
        Encode(**given | {"score": a_score(damage.Uncrop())})
    with pytest.raises(ConfigError, match=r"one image; from one to another takes two"):
        interpolate(**given | {"images": f"{three}/0.png"})
    with pytest.raises(ValueError, match="num_angles=1"):
        interpolate(**given, num_angles=1)
    for temperature in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=r"^temperature="):
            Decode(score=a_score(), sampler=DDIM(), latents=save(**GOOD), temperature=temperature)
    with pytest.raises(DataError, match="no such file; task=encode writes"):
        Decode(score=a_score(), sampler=DDIM(), latents="nowhere.npz")
