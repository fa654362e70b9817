"""Configuration: checked before anything is touched, and turned into objects.

The signature that a value reaches is its schema. Every node with a `_target_` is compared with the parameters and
annotations of what it names; every range is checked by the constructor itself.
"""

import difflib
import hashlib
import inspect
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial, reduce
from typing import Any, TypeVar, get_type_hints

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ncsn import values
from ncsn.errors import ConfigError, UserError, shown

T = TypeVar("T")

_SPECIAL = {"_target_": str, "_partial_": bool, "_convert_": str, "_recursive_": bool, "_args_": list}
SPECIAL_KEYS = tuple(_SPECIAL)  # Hydra's, of a node that is built
_FUNCTIONS = ("objective", "optimizer", "scheduler")  # nodes that may be built into a function still to be called


def slug(text: str, max_length: int = 160) -> str:
    """A text as the name of a folder: no character that a shell, a file system or Hydra's grammar minds.

    Long texts are cut, and a hash keeps them apart.
    """
    name = re.sub(r"[^\w.+-]+", "-", text).strip("-.")
    if len(name) <= max_length:
        return name or "run"
    return f"{name[:max_length]}-{hashlib.sha1(text.encode()).hexdigest()[:8]}"


def _published(what: str, image_size: int) -> float:
    """${published:sigma_max,32}: σ₁ of the published ladder for images of 32 pixels."""
    from ncsn.noise import published

    return getattr(published(image_size), what)


def _fast_precision(accelerator: str, compiled: bool | str = True) -> str:
    """${fast_precision:auto,true}: bfloat16 where what is compiled is faster in it, else float32.

    Args:
        accelerator: of a trainer.
        compiled: whether the network is; "auto" where that is not known yet.
    """
    import torch

    from ncsn.networks.compiled import has_fast_bfloat16

    first = {"auto": "cuda" if torch.cuda.is_available() else "cpu", "gpu": "cuda"}.get(accelerator, accelerator)
    return "bf16-mixed" if compiled is True and has_fast_bfloat16(first) else "32-true"


def _if_damaged(condition: Any, then: Any, otherwise: Any) -> Any:
    """${if_damaged:${oc.select:condition},1,0}: 1 where a network is given damaged images, else 0."""
    target = condition.get("_target_") if isinstance(condition, DictConfig) else None
    return otherwise if target in (None, "ncsn.conditions.Label") else then


OmegaConf.register_new_resolver("slug", slug, replace=True)
OmegaConf.register_new_resolver("if_damaged", _if_damaged, replace=True)
OmegaConf.register_new_resolver("fast_precision", _fast_precision, replace=True)
OmegaConf.register_new_resolver("published", _published, replace=True)


def closest(word: str, words: Iterable[str]) -> str:
    """The hint "; did you mean …?" for a misspelt word, or nothing."""
    match = difflib.get_close_matches(word, list(words), 1)
    return f"; did you mean {match[0]}?" if match else ""


def check(config: DictConfig, settings: Mapping[str, Any] | None = None) -> DictConfig:
    """The configuration with every interpolation resolved and every value as its type has it.

    A value that plainly means one of its type becomes one: `no` is False where a truth value belongs, `1e3` is 1000
    where an integer does. Any other is refused.

    Args:
        config: as it was composed.
        settings: type hints of keys, `{"num_samples": Annotated[int, Field(ge=1)] | None}`. Those within nodes with a
            `_target_` come from what is named, and from here where it accepts more than it can do:
            `{"trainer.log_every_n_steps": Annotated[int, Field(ge=1)]}`.

    Raises:
        ConfigError: naming the key, its value, and what is allowed.
    """
    for key in _missing(OmegaConf.to_container(config), ""):
        raise ConfigError(f"{key}: a value is needed; give it as {key}=…")
    try:
        container = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        keys = [*_unresolved(config, OmegaConf.to_container(config), ""), "configuration"]
        key = min(keys[:-1] or keys, key=lambda key: key.count("."))  # nodes take theirs from keys at the top level
        raise ConfigError(f"{key}: {str(error).splitlines()[0]}") from error
    assert isinstance(container, dict)
    checked = _checked(container, "")
    for key, hint in (settings or {}).items():
        *parents, name = key.split(".")
        node = reduce(_below, parents, checked)
        if isinstance(node, dict) and name in node:
            node[name] = _value(node[name], hint, key)
    return OmegaConf.create(_literal(checked))


def _below(node: Any, name: str) -> Any:
    return node.get(name) if isinstance(node, dict) else None


def _missing(node: Any, key: str) -> Iterator[str]:
    if isinstance(node, dict):
        for name, value in node.items():
            yield from _missing(value, f"{key}.{name}" if key else str(name))
    elif node == "???":
        yield key


def _unresolved(config: DictConfig, node: Any, key: str) -> Iterator[str]:
    """Keys whose interpolation leads nowhere."""
    if isinstance(node, dict | list):
        for name, value in node.items() if isinstance(node, dict) else enumerate(node):
            yield from _unresolved(config, value, f"{key}.{name}" if key else str(name))
    elif isinstance(node, str) and "${" in node:
        try:
            OmegaConf.select(config, key, throw_on_missing=True)
        except OmegaConfBaseException:
            yield key


def _checked(node: Any, key: str) -> Any:
    if isinstance(node, dict):
        node = {name: _checked(value, f"{key}.{name}" if key else str(name)) for name, value in node.items()}
        if node.get("_target_") is not None:
            return _checked_call(node, key)
        for name in SPECIAL_KEYS[1:]:
            if name in node:
                raise ConfigError(
                    f"{key}.{name}={shown(node[name])}: says how {key}._target_ is built, and there is none"
                )
        return node
    if isinstance(node, list):
        return [_checked(value, f"{key}[{index}]") for index, value in enumerate(node)]
    return node


def _checked_call(node: dict[str, Any], key: str) -> dict[str, Any]:
    target = _locate(node["_target_"], key)
    try:
        parameters = inspect.signature(target).parameters
    except ValueError:  # of what is written in C
        return node
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    hints = _hints(target.__init__ if inspect.isclass(target) else target)
    checked = dict(node)
    for name, value in node.items():
        if name in SPECIAL_KEYS:
            checked[name] = _value(value, _SPECIAL[name], f"{key}.{name}")
            continue
        if name not in parameters and not takes_any:
            allowed = ", ".join(parameters)
            raise ConfigError(
                f"{key}.{name}={shown(value)}: no such key{closest(name, parameters)} (allowed: {allowed})"
            )
        if name in hints and not _is_built(value):
            checked[name] = _value(value, hints[name], f"{key}.{name}")
    return checked


def _is_built(value: Any) -> bool:
    """Whether a value is a node, or holds some, of which something else is built before it is passed on."""
    if isinstance(value, dict):
        return "_target_" in value or any(_is_built(item) for item in value.values())
    return isinstance(value, list) and any(_is_built(item) for item in value)


def _locate(path: Any, key: str) -> Callable[..., Any]:
    from hydra.utils import get_object

    logging.getLogger("hydra.utils").setLevel(logging.CRITICAL)  # which tells what it raises
    try:
        found = get_object(path)
    except Exception as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{key}._target_={shown(path)}: cannot be imported ({reason})") from error
    if not callable(found):
        raise ConfigError(f"{key}._target_={path}: must be a class or a function, not a {type(found).__name__}")
    return found


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(function, include_extras=True)
    except Exception:  # annotations of other libraries may name things that are not imported
        return {}


def _value(value: Any, hint: Any, key: str) -> Any:
    try:
        return values.convert(value, hint)
    except ValueError as error:
        raise ConfigError(f"{key}={shown(value)}: {error}") from error


def _literal(node: Any) -> Any:
    """The same for OmegaConf, which is not to resolve a `${` that an interpolation has left."""
    if isinstance(node, dict):
        return {name: _literal(value) for name, value in node.items()}
    if isinstance(node, list):
        return [_literal(value) for value in node]
    if isinstance(node, str):
        return re.sub(r"(\\*)\$\{", r"\1\1\\${", node)
    return node


@contextmanager
def as_config_error(key: str) -> Iterator[None]:
    """Turns what the core refuses while it runs, a diverged chain or an image too large, into a `ConfigError`."""
    try:
        yield
    except (ValueError, TypeError, ArithmeticError) as error:
        raise ConfigError(f"{key}: {error}") from error


def require(kind: type[T], built: Any, key: str) -> T:
    """What was built, if it is of a kind.

    Raises:
        ConfigError: it is something else.
    """
    if not isinstance(built, kind):
        raise ConfigError(f"{key}._target_: must name a {kind.__name__}, and not a {type(built).__name__}")
    return built


def build(node: DictConfig | dict[str, Any], key: str, **arguments: Any) -> Any:
    """Instantiates a node of what `check` has returned; what its constructor refuses becomes a `ConfigError`.

    Args:
        node: with a `_target_`; with `_partial_` the result is a function still to be called.
        key: where the node stands in the configuration, e.g. `noise`.
        **arguments: passed on beside the node's own.

    Raises:
        ConfigError: it is no such node, or one that refuses its arguments.
    """
    from hydra.utils import instantiate

    if not isinstance(node, DictConfig | dict) or node.get("_target_") is None:
        raise ConfigError(f"{key}={shown(node)}: must be a node with the key _target_, which names what is built")
    if node.get("_partial_") and key not in _FUNCTIONS:
        raise ConfigError(f"{key}._partial_=true: goes with {', '.join(_FUNCTIONS)} alone; leave it out")
    try:
        call = instantiate(node, _partial_=True, _convert_="all")
        return partial(call, **arguments) if node.get("_partial_") else call(**arguments)
    except UserError:
        raise
    except Exception as error:
        from hydra.errors import InstantiationException
        from lightning.fabric.utilities.exceptions import MisconfigurationException

        refusals = (ValueError, TypeError, ArithmeticError, AssertionError, ImportError)
        if not isinstance(error, (*refusals, InstantiationException, MisconfigurationException)):
            raise
        cause = error.__cause__ if isinstance(error, InstantiationException) and error.__cause__ else error
        message = " ".join(str(cause).split())
        joint = "." if message.partition("=")[0] in node else ": "
        raise ConfigError(f"{key}{joint}{message}") from error
