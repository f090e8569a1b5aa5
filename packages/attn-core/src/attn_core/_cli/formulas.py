"""Formulas of the docstrings as Unicode text, for a terminal."""

# ruff: noqa: RUF001 - Greek letters and signs are what this is about

import re
from collections.abc import Callable
from functools import partial

SYMBOLS = {
    "beta": "β", "epsilon": "ε", "gamma": "γ", "lambda": "λ", "phi": "φ", "sigma": "σ",
    "alpha": "α", "delta": "δ", "theta": "θ", "mu": "μ", "tau": "τ", "rho": "ρ", "pi": "π",
    "sum": "Σ", "prod": "Π", "cdot": "·", "times": "×", "odot": "⊙", "otimes": "⊗", "propto": "∝",
    "in": "∈", "le": "≤", "ge": "≥", "leq": "≤", "geq": "≥", "ne": "≠", "approx": "≈", "to": "→",
    "top": "T", "dots": "...", "ldots": "...", "lfloor": "⌊", "rfloor": "⌋", "lceil": "⌈",
    "rceil": "⌉", "lVert": "‖", "rVert": "‖", "exp": "exp", "log": "log", "max": "max",
    "min": "min", "quad": "  ", "qquad": "    ", "infty": "∞", "circ": "∘", "partial": "∂",
    "cup": "∪", "lvert": "|", "rvert": "|", "mid": "|", "ell": "ℓ", "sin": "sin", "cos": "cos",
    "tanh": "tanh", "arg": "arg", "star": "⋆", "ast": "*", "pm": "±", "equiv": "≡",
}  # fmt: skip
"""Commands that are one sign, or one word."""
SILENT = ("textstyle", "displaystyle", "nolimits", "limits", "left", "right")
SIZES = re.compile(r"\\(?:big|Big|bigg|Bigg)[lr]?(?![a-zA-Z])")
ACCENTS = {"bar": "\u0304", "hat": "\u0302", "tilde": "\u0303"}
UPPER = dict(zip("0123456789+-=()niTkh", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ⁿⁱᵀᵏʰ", strict=True))
LOWER = dict(
    zip("0123456789+-=()aehijklmnoprstuvx", "₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓ", strict=True)
)
GROUP = r"\{((?:[^{}]|\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*\})*)\}"
"""What braces hold, braces within braces included."""
_KEPT = {"^": ("\ue000", "^"), "_": ("\ue001", "_")}
FORMULA = re.compile(r"(?<!\\)(\$\$?)(.+?)(?<!\\)\1", re.DOTALL)


def readable(text: str) -> str:
    """Return a text with its formulas in Unicode; formulas between `$$` are lines of their own."""
    text = re.sub(r"\\\((.+?)\\\)", lambda found: plain(found[1]), text)
    return FORMULA.sub(lambda found: plain(found[2]), text)


def plain(tex: str) -> str:
    """Return a formula as Unicode text, line by line as it is written."""
    tex = SIZES.sub("", tex).replace(r"\_", _KEPT["_"][0])
    tex = re.sub(r"\\(?:mathrm|text|mathbb|mathcal|mathbf|operatorname)" + GROUP, r"{\1}", tex)
    tex = re.sub(r"\\[td]?frac(\d)(\d)", r"\1/\2", tex)
    tex = _repeated(rf"\\[td]?frac\s*{GROUP}\s*{GROUP}", _fraction, tex)
    tex = _repeated(rf"\\sqrt{GROUP}", lambda found: f"√{_grouped(plain(found[1]))}", tex)
    tex = re.sub(r"\\sqrt\s*(\w)", r"√\1", tex)
    for name, accent in ACCENTS.items():
        tex = re.sub(rf"\\{name}(?:{{(\w)}}|\s*(\w))",
                     partial(_accented, accent), tex)  # fmt: skip
    tex = re.sub(r"\\([a-zA-Z]+)(?: (?=\w))?", _symbol, tex)
    tex = re.sub(r"\\[,;:! ]", " ", tex).replace(r"\|", "‖")
    tex = re.sub(r"\\([{}%&#])", r"\1", tex)
    for sign, letters in (("^", UPPER), ("_", LOWER)):
        tex = _repeated(rf"\{sign}(?:{GROUP}|(\S))", partial(_raised, sign, letters), tex)
    tex = tex.replace("{", "").replace("}", "").replace(*_KEPT["^"]).replace(*_KEPT["_"])
    return re.sub(r"(?<=\S) {2,3}(?=\S)", " ", tex)


def _repeated(pattern: str, change: Callable[[re.Match[str]], str], text: str) -> str:
    """Replace a pattern from the innermost one outwards: a result may hold the next."""
    for _ in range(20):
        changed = re.sub(pattern, change, text)
        if changed == text:
            break
        text = changed
    return text


def _symbol(found: re.Match[str]) -> str:
    name = found[1]
    space = " " if found[0].endswith(" ") else ""
    if name in SILENT:
        return ""
    return SYMBOLS.get(name, name) + space


def _accented(accent: str, found: re.Match[str]) -> str:
    return f"{found[1] or found[2]}{accent}"


def _fraction(found: re.Match[str]) -> str:
    return f"{_grouped(found[1])} / {_grouped(found[2])}"


def _grouped(text: str) -> str:
    """Return a part of a formula, in parentheses where it is more than one thing."""
    text = text.strip()
    return text if re.fullmatch(r"\w+|√\w|\\\w+|\\sqrt\s?\w", text) else f"({text})"


def _raised(sign: str, letters: dict[str, str], found: re.Match[str]) -> str:
    """Return a sub- or superscript in small letters where all exist, else after `_` or `^`."""
    inner = (found[1] if found[1] is not None else found[2]).strip()
    if inner and all(letter in letters for letter in inner):
        return "".join(letters[letter] for letter in inner)
    mark = _KEPT[sign][0]  # not to be found again
    return f"{mark}{inner}" if len(inner) == 1 else f"{mark}({inner})"
