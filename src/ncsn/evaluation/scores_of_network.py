"""The scores of a network that need no samples of it, in one record."""

import json
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from ncsn.evaluation.bound import ELBO, Bounds
from ncsn.evaluation.likelihood import BITS_PER_DIM, Bits
from ncsn.evaluation.scores import in_order
from ncsn.evaluation.under_network import UnderNetwork
from ncsn.files import write_text

OF_NETWORK: dict[str, type[UnderNetwork]] = {BITS_PER_DIM: Bits, ELBO: Bounds}


def scores_of_network(config: DictConfig, path: Path) -> tuple[dict[str, Any] | None, list[Path]]:
    """One record of those scores that are asked for, and the files that each of them lies in; see `UnderNetwork`.

    Its protocol is that of the first of them; those of others stand in it by their kinds.

    Returns:
        None for the record on processes but the first.
    """
    whole, files = None, []
    for kind, record, file in _found(config, path):
        files.append(file)
        if record is not None:
            whole = record if whole is None else _joined(whole, record, kind, config)
    return whole, files


def add_scores_of_network(
    record: dict[str, Any] | None, config: DictConfig, path: Path, folder: Path
) -> dict[str, Any] | None:
    """The record of samples with the scores of the network, also written to the samples' folder.

    Args:
        record: None on processes but the first.
        config, path: see `scores_of_network`.
        folder: with the samples and `evaluation.json`.
    """
    for kind, found, _ in _found(config, path):
        if record is not None and found is not None:
            record = _joined(record, found, kind, config)
            write_text(folder / "evaluation.json", json.dumps(record, indent=2))
    return record


def settings_of_network(protocol: dict[str, Any]) -> dict[str, Any]:
    """What the scores by a run's checkpoints have in common."""
    others = {kind.kind for kind in OF_NETWORK.values()} & protocol.keys()
    common = {key: value for key, value in protocol.items() if key != "checkpoint"}
    common |= {kind: settings_of_network(protocol[kind]) for kind in others}
    return common | {"weights": protocol["checkpoint"]["weights"]}


def _found(config: DictConfig, path: Path) -> list[tuple[str, dict[str, Any] | None, Path]]:
    """Kind, record and file of each score.

    With `controls`, all means stand in a record as `sets`; each control has a record of its own beside it.
    """
    found = []
    for name, kind in OF_NETWORK.items():
        if name in config.scores:
            under = kind(config, path)
            main = under.main()
            record, file = under.of(main)
            others = [under.of(under.control(control, main))[0] for control in config.controls]
            if record is not None and others:
                record[under.kind]["sets"] = [under.row(one) for one in (record, *others) if one is not None]
            found.append((under.kind, record, file))
    return found


def _joined(record: dict[str, Any], other: dict[str, Any], kind: str, config: DictConfig) -> dict[str, Any]:
    scores = in_order(record["scores"] | other["scores"], config.scores)
    return record | {kind: other[kind], "scores": scores, "protocol": record["protocol"] | {kind: other["protocol"]}}
