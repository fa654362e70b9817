"""Formulas as MathML, which browsers show without a script, a font or a network.

Pages write TeX. Docstrings write formulas as a terminal shows them, `σ² ∇·s(x, σ)`; `tex` makes TeX of those.
"""

import re
import unicodedata

from latex2mathml.converter import convert

_RAISED, _LOWERED = "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ᵀᵗⁿ", "₀₁₂₃₄₅₆₇₈₉₊₋ᵢₖₜₓₙₐ"
_RAISED_AS = str.maketrans(_RAISED, "0123456789+-Ttn")
_LOWERED_AS = str.maketrans(_LOWERED, "0123456789+-iktxna")
_ACCENTS = {"\u0303": r"\\tilde", "\u0302": r"\\hat", "\u0304": r"\\bar"}
_SIGNS = {
    "−": "-",
    "‖": r"\|",
    "½": r"\tfrac{1}{2}",
    "¼": r"\tfrac{1}{4}",
    "⅕": r"\tfrac{1}{5}",
    "⅘": r"\tfrac{4}{5}",
}
_SIGNS |= {
    "Σ": r"\sum ",
    "∫": r"\int ",
    "∇": r"\nabla ",
    "·": r"\cdot ",
    "~": r"\sim ",
    "≤": r"\le ",
    "←": r"\leftarrow ",
}
_WORD = "(?:[a-zA-Z]{4,}|and|the|for|in|is|it|of|to|a(?= [a-z]{4}))"
_FUNCTIONS = ["log", "ln", "exp", "sin", "tr", "clamp", "KL", "Var", "max", "min", "mean"]


def mathml(tex: str, *, block: bool) -> str:
    """A formula in TeX as a `<math>` element, with the thin spaces that TeX puts around the names of functions."""

    def spaced(match: re.Match[str]) -> str:
        after = "0" if match[2] else "0.17em"
        return f'<mo lspace="0.17em" rspace="{after}">{match[1]}</mo>{match[2]}'

    made = convert(tex.strip(), display="block" if block else "inline")
    names = "|".join(_FUNCTIONS)
    return re.sub(rf"<m[io]>({names})</m[io]>((?:<mo[^>]*>&#x00028;</mo>)?)", spaced, made)


def is_formula(text: str) -> bool:
    """Whether an indented block of a docstring is mathematics, and neither code nor a table."""
    lines = text.strip().splitlines()
    table = len(lines) > 1 and any(re.match(r"\S+ {3,}\S", line) for line in lines)
    code = re.search(r"\w\(\w+=|->|[`\"]|  #|\w{5,}\(", text)
    return not table and not code and bool(re.search("[σγθ∇∫√‖ΦΣ²]", text))


def tex(line: str) -> str:
    """A line of mathematics as docstrings write it, in TeX."""
    text = re.sub(r" {2,}", r" \\quad ", line.strip())
    text = _roots(unicodedata.normalize("NFD", text))
    for accent, command in _ACCENTS.items():
        text = re.sub(rf"(\w){accent}", rf"{command}{{\1}}", text)
    text = unicodedata.normalize("NFC", text)
    text = re.sub(
        rf"_([^\W{_RAISED}]+)", lambda m: f"_{m[1]}" if len(m[1]) == 1 else rf"_{{\mathrm{{{m[1]}}}}}", text
    )
    text = re.sub(f"[{_RAISED}]+", lambda m: f"^{{{m[0].translate(_RAISED_AS)}}}", text)
    text = re.sub(f"[{_LOWERED}]+", lambda m: f"_{{{m[0].translate(_LOWERED_AS)}}}", text)
    text = re.sub(rf"\b({'|'.join(_FUNCTIONS)})\b", r"\\operatorname{\1}", text)
    text = re.sub(rf"(?<![\\{{\w])((?:{_WORD}:?)(?: {_WORD})*)(?!\w|}})", r"\\text{ \1 }", text)
    text = re.sub(r"\bE(?![\w(])|\bE(?=_)", r"\\mathbb{E}", text)
    for sign, command in _SIGNS.items():
        text = text.replace(sign, command)
    return text


def _roots(text: str) -> str:
    """√(…) and √x, with the braces that TeX wants."""
    while (start := text.find("√(")) >= 0:
        depth = 0
        for end in range(start + 1, len(text)):
            depth += {"(": 1, ")": -1}.get(text[end], 0)
            if depth == 0:
                break
        text = f"{text[:start]}\\sqrt{{{text[start + 2 : end]}}}{text[end + 1 :]}"
    return re.sub("√(\\d+|\\w[\u0300-\u036f]?[₀-ₜ]*)", r"\\sqrt{\1}", text)
