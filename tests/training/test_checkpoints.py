"""Which files the callback that saves checkpoints may delete."""

from pathlib import Path

from ncsn.training.checkpoints import Checkpoints


def test_a_checkpoint_has_no_say_in_what_is_deleted_elsewhere(tmp_path: Path) -> None:
    def reloaded(path: str) -> list[str]:
        callback = Checkpoints(dirpath=tmp_path / "checkpoints")
        names = ("best_model_path", "kth_best_model_path", "last_model_path")
        callback.load_state_dict(
            {"best_model_score": None, "best_k_models": {path: 1.0}} | dict.fromkeys(names, path)
        )
        return [*callback.best_k_models, *(getattr(callback, name) for name in names)]

    own = str(tmp_path / "checkpoints" / "step_0000001.ckpt")
    assert reloaded(own) == [own] * 4
    folder = f"{tmp_path}/checkpoints"
    for path in (f"local://{tmp_path}", f"{folder}/../x.ckpt", f"{folder}/..", folder, "/x.ckpt", "x.ckpt", ""):
        assert reloaded(path) == [""] * 3
