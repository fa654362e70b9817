import torch
from sklearn.datasets import load_digits

from ncsn.data import Digits


def test_all_digits_are_there_once(tmp_path):
    data = Digits(root=str(tmp_path))
    data.prepare_data()
    data.setup()
    train, val = data.images("train"), data.images("val")
    assert (train.shape, val.shape) == ((1618, 1, 8, 8), (179, 1, 8, 8))
    assert (train.min(), train.max()) == (0, 255)
    ours = torch.cat([train, val]).flatten(1)
    theirs = torch.from_numpy(load_digits().images).flatten(1)
    back = (ours.double() * 16 / 255).round()
    assert sorted(back.tolist()) == sorted(theirs.tolist())
    assert torch.bincount(torch.cat([data.labels("train"), data.labels("val")])).sum() == 1797


def test_the_split_does_not_depend_on_the_seed(tmp_path):
    splits = []
    for seed in (0, 1):
        data = Digits(root=str(tmp_path / str(seed)), seed=seed)
        data.prepare_data()
        splits.append(data.images("val"))
    assert torch.equal(*splits)
