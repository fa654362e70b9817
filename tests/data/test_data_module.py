import ast
import dataclasses
import multiprocessing
import sys
import time
import warnings
from pathlib import Path
from types import SimpleNamespace

import lightning as L
import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from lightning.pytorch.callbacks import ModelCheckpoint
from omegaconf import OmegaConf

from ncsn.data import Batch, BatchStream, Digits, ImageDataModule, module
from ncsn.errors import ConfigError, DataError

CONF = Path(__file__).parents[2] / "conf" / "data"
BATCH = 400  # four batches an epoch


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> str:
    root = str(tmp_path_factory.mktemp("digits"))
    Digits(root=root).prepare_data()
    return root


def trainer(**options) -> SimpleNamespace:
    """What the data module sees of a trainer."""
    usual = {"global_rank": 0, "world_size": 1, "training": True, "max_steps": -1, "max_epochs": 5}
    strategy = SimpleNamespace(root_device=torch.device("cpu"))
    fit_loop = SimpleNamespace(total_batch_idx=-1)
    accumulate = {"accumulate_grad_batches": 1}
    return SimpleNamespace(strategy=strategy, fit_loop=fit_loop, **{**usual, **accumulate, **options})


def test_libraries_that_one_data_set_needs_are_imported_by_that_one():
    """Every command imports `ncsn.data`."""
    for file in Path(module.__file__).parent.glob("*.py"):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            names = (
                [node.module] if isinstance(node, ast.ImportFrom) else [n.name for n in getattr(node, "names", [])]
            )
            assert not {name.split(".")[0] for name in names} & {"sklearn", "torchvision", "pooch"}, file


# Settings


@pytest.mark.parametrize("name", ["digits", "mnist", "cifar10", "celeba", "image_folder"])
def test_every_config_names_the_arguments_of_its_class(name, tmp_path):
    config = OmegaConf.merge({"seed": 3}, {"data": OmegaConf.load(CONF / f"{name}.yaml")})
    if name == "image_folder":
        assert OmegaConf.missing_keys(config) == {"data.root", "data.image_size"}
        config.data.update(root=str(tmp_path), image_size=16)
    data = instantiate(config.data)
    assert isinstance(data, ImageDataModule)
    assert (data.name, data.seed) == (name, 3)
    assert set(config.data) - {"_target_"} == {field.name for field in dataclasses.fields(data)}
    assert dataclasses.asdict(data) == dataclasses.asdict(
        type(data)(root=data.root, image_size=data.image_size, seed=3)
    )


@pytest.mark.parametrize(
    ("key", "value", "rule"),
    [
        ("batch_size", 0, "must be at least 1"),
        ("image_size", 0, "must be at least 1"),
        ("augment", 1.5, "must be from 0 to 1"),
        ("channels", 2, r"must be 1 \(grey\) or 3 \(RGB\)"),
        ("device_resident", "yes", "must be true, false or auto"),
    ],
)
def test_values_out_of_range_are_refused_before_anything_is_read(key, value, rule):
    with pytest.raises(ConfigError, match=rf"^data\.{key}={value}: {rule}$"):
        Digits(root="/nowhere", **{key: value})


def test_batches_that_do_not_fit(root):
    data = Digits(root=root, batch_size=1619)
    with pytest.raises(ConfigError, match=r"^data\.batch_size=1619: must be at most 1618"):
        data.setup()
    data = Digits(root=root, batch_size=7)
    data.trainer = trainer(world_size=2)
    with pytest.raises(ConfigError, match=r"^data\.batch_size=7: must be divisible by the 2 devices"):
        data.setup()


def test_setup_before_prepare_data(tmp_path):
    with pytest.raises(DataError, match="prepare_data"):
        Digits(root=str(tmp_path)).setup()


def test_it_can_be_printed(root):
    assert str(Digits(root=root)).startswith("Digits(name='digits'")


def test_folders_below_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    data = Digits(root="~/data", cache_dir="~/decoded")
    assert (data.root, data.cache_dir) == (str(tmp_path / "data"), str(tmp_path / "decoded"))
    data.prepare_data()
    assert [path.name for path in tmp_path.iterdir()] == ["decoded"]


# Decoding


@dataclasses.dataclass(kw_only=True, eq=False)
class Slow(ImageDataModule):
    """Notes in a file when it is decoded."""

    name: str = "slow"
    image_size: int = 4
    channels: int = 1

    def files(self, split):
        return []

    def read(self, split, files):
        with Path(self.root, "decoded").open("a") as file:
            file.write(f"{split} ")
        time.sleep(0.3)
        return np.zeros((8, 1, 4, 4), np.uint8), None


def prepare(root, together):
    together.wait()
    data = Slow(root=root, batch_size=8)
    data.prepare_data()
    data.setup()


@pytest.mark.skipif(sys.platform == "win32", reason="no fork")
def test_of_two_processes_one_decodes(tmp_path):
    """As under torchrun, where each process prepares its data."""
    context = multiprocessing.get_context("fork")  # spawned ones would import everything anew
    together = context.Barrier(2)
    processes = [context.Process(target=prepare, args=(str(tmp_path), together)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert (tmp_path / "decoded").read_text() == "train val "


# Loaders


def test_loaders_without_a_trainer(root):
    data = Digits(root=root, batch_size=BATCH)
    data.setup()
    assert (len(data.train_dataloader()), len(data.val_dataloader())) == (4, 1)
    batch = next(iter(data.train_dataloader()))
    assert (batch.images.shape, batch.images.dtype, batch.number) == ((BATCH, 1, 8, 8), torch.uint8, 0)


def test_large_sets_stay_on_disk(root, monkeypatch):
    in_memory = Digits(root=root).train_dataloader()
    monkeypatch.setattr(module, "IN_MEMORY_BYTES", 1000)
    on_disk = Digits(root=root).train_dataloader()
    assert (in_memory.read_ahead, on_disk.read_ahead) == (0, 2)
    for a, b in zip(in_memory, on_disk, strict=True):
        assert a.number == b.number
        assert torch.equal(a.images, b.images)


@pytest.mark.parametrize(
    ("options", "length"),
    [
        ({"max_epochs": 5}, 4),
        ({"max_epochs": -1}, sys.maxsize),  # a time ends it
        ({"max_epochs": -1, "max_steps": 10}, 11),
        ({"max_epochs": None, "max_steps": 10, "accumulate_grad_batches": 3}, 31),
        ({"max_epochs": 5, "max_steps": 10}, 4),
        ({"overfit_batches": 2}, 2),
        ({"overfit_batches": 0.5}, 2),
    ],
)
def test_what_lightning_takes_for_an_epoch(root, options, length):
    data = Digits(root=root, batch_size=BATCH)
    data.trainer = trainer(**options)
    assert len(data.train_dataloader()) == length


# Augmentation


def test_batches_reach_the_model_as_floats_and_only_training_changes_them(root):
    data = Digits(root=root, batch_size=BATCH, flip=True, dequantize=True)
    raw = next(iter(data.train_dataloader()))
    plain = raw.images / 255
    data.trainer = trainer(training=False)
    batch = data.on_after_batch_transfer(raw, 0)
    assert torch.equal(batch.images, plain)
    assert batch.number == 0

    data.trainer = trainer()
    batch = data.on_after_batch_transfer(raw, 0)
    assert batch.images.dtype == torch.float32
    assert batch.images.min() >= 0
    assert batch.images.max() < 1
    distance = torch.stack(
        [(batch.images - x).flatten(1).abs().amax(1) for x in (plain, plain.flip(-1))]
    )  # to the image as it is, and mirrored
    assert (distance.amin(0) <= 1 / 255).all()
    assert 0.4 < (distance[1] < distance[0]).float().mean() < 0.6
    assert torch.equal(batch.images, data.on_after_batch_transfer(raw, 0).images)
    assert not torch.equal(batch.images, data.on_after_batch_transfer(Batch(raw.images, 1), 0).images)


def test_the_number_of_devices_changes_nothing(root):
    def batches(rank: int, world_size: int) -> list[Batch]:
        data = Digits(root=root, batch_size=BATCH, flip=True, augment=0.5, dequantize=True)
        data.trainer = trainer(global_rank=rank, world_size=world_size)
        return [data.on_after_batch_transfer(batch, 0) for batch in data.train_dataloader()]

    one, shares = batches(0, 1), [batches(rank, 4) for rank in range(4)]
    for k, whole in enumerate(one):
        for rank in range(4):
            assert torch.equal(shares[rank][k].images, whole.images[rank::4])
            assert torch.equal(shares[rank][k].augmentation, whole.augmentation[rank::4])


def test_what_was_done_to_images_comes_with_them(root):
    data = Digits(root=root, batch_size=BATCH, flip=True)
    raw = next(iter(data.train_dataloader()))
    data.trainer = trainer()
    flipped = data.on_after_batch_transfer(raw, 0)
    assert flipped.augmentation is None

    data.augment = 0.12
    batch = data.on_after_batch_transfer(raw, 0)
    told = batch.augmentation
    assert told.shape == (BATCH, 9)
    only_flipped = (told[:, 1:] == 0).all(1)
    assert 0.4 < only_flipped.float().mean() < 0.8
    assert torch.equal(batch.images[only_flipped], flipped.images[only_flipped])  # the flips are those of flip alone
    plain = raw.images / 255
    for done, as_it_was in ((told[:, 0] == 1, plain.flip(-1)), (told[:, 0] == 0, plain)):
        mine = done & only_flipped
        assert mine.sum() > 50
        assert torch.equal(batch.images[mine], as_it_was[mine])

    data.trainer = trainer(training=False)
    assert data.on_after_batch_transfer(raw, 0).augmentation is None


# Under Lightning


class Recorder(L.LightningModule):
    """Keeps the numbers of the batches it is trained on."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(64, 1)
        self.trained: list[int] = []
        self.validated: list[int] = []

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        assert isinstance(batch, Batch)
        assert type(batch.number) is int
        assert batch.images.dtype == torch.float32
        self.trained.append(batch.number)
        return self.layer(batch.images.flatten(1)).mean()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        assert batch.images.dtype == torch.float32
        self.validated.append(batch.number)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 1e-3)


def fit(root: str, checkpoint: ModelCheckpoint | None = None, ckpt: Path | None = None, **options) -> Recorder:
    model = Recorder()
    run = L.Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=checkpoint is not None,
        callbacks=[checkpoint] if checkpoint else [],
        **options,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run.fit(model, Digits(root=root, batch_size=BATCH), ckpt_path=ckpt)
    return model


def test_validation_under_lightning(root):
    model = fit(root, max_epochs=2)
    assert model.trained == list(range(8))
    assert model.validated == [0, 0, 0]  # sanity check, two epochs


EVERY_STEP = {"every_n_train_steps": 1}
EVERY_EPOCH = {"every_n_epochs": 1, "save_on_train_epoch_end": True}
AFTER_VALIDATION = {"every_n_epochs": 1, "save_on_train_epoch_end": False}
WITHOUT_VALIDATION = {"limit_val_batches": 0}


@pytest.mark.parametrize(
    ("when", "first", "longer", "options"),
    [
        (EVERY_STEP, {"max_steps": 6}, {"max_steps": 10}, WITHOUT_VALIDATION),
        (
            EVERY_STEP,
            {"max_steps": 3},
            {"max_steps": 5},
            {"accumulate_grad_batches": 2, **WITHOUT_VALIDATION},
        ),
        (EVERY_STEP, {"max_steps": 6}, {"max_steps": 10}, {"val_check_interval": 3}),
        (EVERY_STEP, {"max_epochs": 2}, {"max_epochs": 3}, {}),
        (EVERY_STEP, {"max_epochs": 2}, {"max_epochs": 3}, {"limit_train_batches": 3}),
        (EVERY_EPOCH, {"max_epochs": 3}, {"max_epochs": 4}, {}),
        (EVERY_EPOCH, {"max_epochs": 3}, {"max_epochs": 4}, WITHOUT_VALIDATION),
        (AFTER_VALIDATION, {"max_epochs": 3}, {"max_epochs": 4}, {"val_check_interval": 2}),
    ],
)
def test_a_run_goes_on_with_exactly_the_next_batch(root, tmp_path, when, first, longer, options):
    checkpoint = ModelCheckpoint(tmp_path, filename="{step}", auto_insert_metric_name=False, save_top_k=-1, **when)
    options = {"check_val_every_n_epoch": None if "max_steps" in first else 1, **options}
    whole = fit(root, checkpoint, **first, **options).trained
    assert whole == list(range(len(whole)))
    saved = sorted(tmp_path.iterdir(), key=lambda path: int(path.stem))
    assert len(saved) >= 3
    last = None
    for path in saved:
        resumed = fit(root, ckpt=path, **longer, **options).trained
        done = int(path.stem) * options.get("accumulate_grad_batches", 1)
        assert resumed[0] == done
        assert resumed == list(range(done, resumed[-1] + 1))
        assert last in (None, resumed[-1])
        last = resumed[-1]
    assert last > whole[-1]


def test_the_loader_of_a_resumed_run_is_known_to_lightning_as_resumable():
    from lightning.fabric.utilities.types import _Stateful

    assert issubclass(BatchStream, _Stateful)
