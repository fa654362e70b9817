"""Configuration: checked before anything is touched, and turned into objects.

The signature that a value reaches is its schema: every node with a `_target_` is compared with the parameters
and annotations of what it names, and every range is checked by the constructor itself.
"""

import difflib
import hashlib
import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from typing import Any, get_type_hints

import hydra
from hydra.errors import InstantiationException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError

from ncsn.errors import ConfigError, UserError


def slug(text: str, max_length: int = 160) -> str:
    """A text as the name of a folder: no character that a shell, a file system or Hydra's grammar minds.

    Long texts are cut, and a hash keeps them apart.
    """
    name = re.sub(r"[^\w.+-]+", "-", text).strip("-.")
    if len(name) <= max_length:
        return name or "run"
    return f"{name[:max_length]}-{hashlib.sha1(text.encode()).hexdigest()[:8]}"


OmegaConf.register_new_resolver("slug", slug, replace=True)
OmegaConf.register_new_resolver(  # ${published:sigma_max,32}: of the ladder for images of 32 pixels
    "published",
    lambda what, image_size: getattr(import_module("ncsn.noise").published(image_size), what),
    replace=True,
)

_ANY_CLASS: ConfigDict = {"arbitrary_types_allowed": True}


def closest(word: str, words: Iterable[str]) -> str:
    """The hint "; did you mean …?" for a misspelt word, or nothing."""
    match = difflib.get_close_matches(word, list(words), 1)
    return f"; did you mean {match[0]}?" if match else ""


def check(config: DictConfig) -> dict[str, Any]:
    """Checks keys and types of every node with a `_target_`.

    Returns:
        The configuration with all interpolations resolved, plain containers only.

    Raises:
        ConfigError: naming the key, its value, and what is allowed.
    """
    for key in _missing(OmegaConf.to_container(config), ""):
        raise ConfigError(f"{key}: a value is needed; give it as {key}=…")
    try:
        container = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{error.full_key or 'configuration'}: {str(error).splitlines()[0]}") from error
    assert isinstance(container, dict)
    _check_node(container, "")
    return {str(key): value for key, value in container.items()}


def _missing(node: Any, key: str) -> Iterator[str]:
    if isinstance(node, dict):
        for name, value in node.items():
            yield from _missing(value, f"{key}.{name}" if key else str(name))
    elif node == "???":
        yield key


def _check_node(node: Any, key: str) -> None:
    if isinstance(node, dict):
        if node.get("_target_"):
            _check_call(node, key)
        for name, value in node.items():
            _check_node(value, f"{key}.{name}" if key else str(name))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            _check_node(value, f"{key}[{index}]")


def _check_call(node: dict[str, Any], key: str) -> None:
    target = _locate(node["_target_"], key)
    function = target.__init__ if inspect.isclass(target) else target
    parameters = inspect.signature(target).parameters
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    hints = _hints(function)
    for name, value in node.items():
        if name in ("_target_", "_partial_", "_convert_", "_recursive_", "_args_"):
            continue
        if name not in parameters and not takes_any:
            allowed = ", ".join(parameters)
            raise ConfigError(f"{key}.{name}={value}: no such key{closest(name, parameters)} (allowed: {allowed})")
        if name in hints and not isinstance(value, dict):
            _check_type(value, hints[name], f"{key}.{name}")


def _locate(path: str, key: str) -> Callable[..., Any]:
    try:
        return hydra.utils.get_object(path)
    except Exception as error:
        raise ConfigError(f"{key}._target_={path}: cannot be imported ({error})") from error


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(function)
    except Exception:  # annotations of other libraries may name things that are not imported
        return {}


def _check_type(value: Any, hint: Any, key: str) -> None:
    try:
        adapter = TypeAdapter(hint, config=_ANY_CLASS)
    except PydanticUserError:  # a type pydantic has no notion of, say a protocol
        return
    try:
        adapter.validate_python(value)
    except ValidationError as error:
        expected = "; ".join(dict.fromkeys(e["msg"] for e in error.errors()))
        raise ConfigError(f"{key}={value}: {expected[0].lower()}{expected[1:]}") from error


@contextmanager
def told_to_the_user(key: str) -> Iterator[None]:
    """Turns what the core refuses while it runs, a diverged chain or an image too large, into a `ConfigError`."""
    try:
        yield
    except (ValueError, TypeError, ArithmeticError) as error:
        raise ConfigError(f"{key}: {error}") from error


def build(node: DictConfig, key: str, **arguments: Any) -> Any:
    """Instantiates a node; what its constructor refuses becomes a `ConfigError` that names the key.

    Args:
        node: with a `_target_`; with `_partial_` the result is a function still to be called.
        key: where the node stands in the configuration, e.g. `noise`.
        **arguments: passed on beside the node's own.
    """
    from lightning.fabric.utilities.exceptions import MisconfigurationException

    try:
        call = hydra.utils.instantiate(node, _partial_=True, _convert_="all")
        return partial(call, **arguments) if node.get("_partial_") else call(**arguments)
    except UserError:
        raise
    except (
        ValueError,
        TypeError,
        AssertionError,
        InstantiationException,
        ModuleNotFoundError,
        MisconfigurationException,
    ) as error:
        cause = error.__cause__ if isinstance(error, InstantiationException) and error.__cause__ else error
        message = " ".join(str(cause).split())
        joint = "." if message.partition("=")[0] in node else ": "
        raise ConfigError(f"{key}{joint}{message}") from error
