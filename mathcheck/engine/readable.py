r"""LaTeX as a terminal can show it: `\frac{a+b}{2} \le \lVert x_i\rVert^2` becomes (a+b)/2 ≤ ‖xᵢ‖²."""

from __future__ import annotations

import re
import textwrap
import unicodedata


def _words(text: str) -> list[str]:
    return text.split()


_PAIRS = """le=≤ leq=≤ ge=≥ geq=≥ ne=≠ neq=≠ approx=≈ equiv=≡ sim=∼ propto=∝ ll=≪ gg=≫ prec=≺ succ=≻ preceq=⪯
    succeq=⪰ in=∈ notin=∉ subset=⊂ subseteq=⊆ cup=∪ cap=∩ setminus=∖ emptyset=∅ forall=∀ exists=∃ to=→ mapsto=↦
    rightarrow=→ leftarrow=← Rightarrow=⇒ Longrightarrow=⇒ implies=⇒ iff=⇔ Leftrightarrow=⇔ infty=∞ partial=∂ nabla=∇
    sum=∑ prod=∏ int=∫ cdot=· times=× circ=∘ odot=⊙ oplus=⊕ otimes=⊗ pm=± mp=∓ ast=* star=⋆ dots=… ldots=… cdots=⋯
    lvert=| rvert=| vert=| mid=| lVert=‖ rVert=‖ Vert=‖ langle=⟨ rangle=⟩ lfloor=⌊ rfloor=⌋ lceil=⌈ rceil=⌉ top=ᵀ perp=⊥
    ell=ℓ dagger=† prime=′ colon=: lbrace={ rbrace=} wedge=∧ vee=∨ neg=¬ parallel=∥ blacksquare=∎ square=□ hbar=ℏ
    backslash=\\ lor=∨ land=∧ lesssim=≲ bullet=• triangleq=≜ models=⊨ varepsilon=ε varphi=φ vartheta=ϑ lambda=λ
    Lambda=Λ Re=Re Im=Im"""
_SYMBOLS = dict(pair.split("=", 1) for pair in _words(_PAIRS)) | {
    "|": "‖",
    ",": " ",
    ";": " ",
    ":": " ",
    " ": " ",
    "!": "",
    "quad": "  ",
    "qquad": "   ",
    "\\": "\n",
}
_WORDS = set(
    _words("log exp det tr max min sup inf lim sin cos tan arctan tanh sinh cosh arg argmax argmin Pr dim ker erf sgn")
)
_RELATIONS = set("≤≥≠≈≡∼∝≪≫≺≻⪯⪰∈∉⊂⊆∪∩∖→↦←⇒⇔∘⊙⊕⊗±∓×·∧∨≲≜⊨:")
_FRACTIONS = {"frac", "tfrac", "dfrac"}
_SILENT = set(_words("left right big Big bigl bigr Bigl Bigr bigg Bigg displaystyle textstyle limits nolimits notag"))
_FONTS = set(_words("mathrm mathsf mathtt text textbf textit operatorname mathop"))
_PLAIN = set(_words("mathbf mathit boldsymbol bm mathcal mathscr mathfrak underbrace substack"))
_APART = _WORDS | _FONTS | _FRACTIONS
_ACCENTS = {
    "hat": "\u0302",
    "widehat": "\u0302",
    "tilde": "\u0303",
    "widetilde": "\u0303",
    "bar": "\u0304",
    "overline": "\u0304",
    "dot": "\u0307",
    "ddot": "\u0308",
    "vec": "\u20d7",
}
_ABOVE = dict(
    zip("0123456789+-=abcdefghijklmnoprstuvwxyzTβγδ*′ᵀ⊤", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻᵀᵝᵞᵟ*′ᵀᵀ", strict=True)
)
_BELOW = dict(zip("0123456789+-=aehijklmnoprstuvxβγρφχ", "₀₁₂₃₄₅₆₇₈₉₊₋₌ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓᵦᵧᵨᵩᵪ", strict=True))
_TOKEN = re.compile(r"\\[a-zA-Z]+|\\.|\s+|.", re.DOTALL)


def readable(text: str) -> str:
    """A text in which everything between dollar signs is set in Unicode."""
    text = re.sub(r"(?<!\\)\$\$(.+?)\$\$", lambda m: unicode_maths(m[1]), text, flags=re.DOTALL)
    return re.sub(r"(?<!\\)\$`(.+?)`\$|(?<!\\)\$([^$]+?)\$", lambda m: unicode_maths(m[1] or m[2]), text)


def besides(title: str, statement: str) -> str:
    """What a statement says besides its title, readable in a terminal and at most 300 characters long."""
    return textwrap.shorten(readable(statement.removeprefix(title).lstrip(":. ")), 300, placeholder=" …")


def unicode_maths(latex: str) -> str:
    """One formula, as far as replacing symbols goes; what is not known is left as it stands."""
    latex = re.sub(r"\\begin\{([pbv])matrix\}(.*?)\\end\{\1matrix\}", _matrix, latex, flags=re.DOTALL)
    latex = re.sub(r"\\(begin|end)\{\w+\*?\}(\{[lcr|]+\})?", "", latex)
    lines = (re.sub(r"(?<=\S)\s+", " ", line.replace("&", " ")).strip() for line in _set(latex).splitlines())
    return "\n".join(line for line in lines if line)


def _matrix(found: re.Match[str]) -> str:
    left, right = {"p": ("(", ")"), "b": ("[", "]"), "v": ("|", "|")}[found[1]]
    rows = (r",\ ".join(cell.strip() for cell in row.split("&")) for row in found[2].split(r"\\"))
    return left + r";\ ".join(rows) + right


def _set(latex: str) -> str:
    tokens, done, after = _TOKEN.findall(latex)[::-1], "", ""
    while tokens:
        token = tokens[-1]
        piece = _piece(tokens)
        # Words and fractions stand apart from what they would run into: "2 log x", not "2logx".
        runs = done[-1:].isalnum() or done[-1:] in (*")]}",)
        if after in _WORDS and token[1:] in _FRACTIONS:
            piece = f"({piece})"
        if piece and (
            (token[1:] in _APART and runs and piece[0].isalnum())
            or (after in _APART and token not in ("^", "_") and (piece[0].isalnum() or piece[0] in "‖|√∑"))
            or (after in _FRACTIONS and piece[0] == "(")
        ):
            done += " "
        done += piece
        if piece:
            after = "" if token[1:] in _FONTS and len(piece) == 1 else token[1:]
    return done


def _argument(tokens: list[str]) -> str:
    while tokens and tokens[-1].isspace():
        tokens.pop()
    return _piece(tokens) if tokens else ""


def _piece(tokens: list[str]) -> str:
    """Takes one symbol, group or command with its arguments off the reversed `tokens`."""
    token = tokens.pop()
    if token == "{":
        inside, depth = "", 1
        while tokens and (depth := depth + {"{": 1, "}": -1}.get(tokens[-1], 0)):
            inside += tokens.pop()
        del tokens[-1:]
        return _set(inside)
    if token in ("^", "_"):
        return _script(_argument(tokens), token)
    if token[0] != "\\" or len(token) == 1:
        return {"'": "′", "~": " ", "<": " < ", ">": " > ", "=": " = "}.get(token, " " if token.isspace() else token)
    # TeX drops the space after a command; before a sign it is worth keeping: "μ + 1", not "μ+ 1".
    if token[1:].isalpha() and tokens and tokens[-1].isspace() and tokens[-2:-1] not in (["+"], ["-"], ["/"]):
        tokens.pop()
    return _command(token[1:], tokens)


def _script(text: str, mark: str) -> str:
    table = _ABOVE if mark == "^" else _BELOW
    text = re.sub(r"\s*([-+=<>≤≥×∼→∈])\s*", r"\1", text.strip())
    if text and all(char in table for char in text):
        return "".join(table[char] for char in text)
    return mark + (text if len(text) == 1 else f"({text})")


def _command(name: str, tokens: list[str]) -> str:
    if name in _FRACTIONS:
        above, below = _operand(_argument(tokens)), _operand(_argument(tokens))
        return f"{above}/{below}"
    if name == "binom":
        return f"C({_argument(tokens)}, {_argument(tokens)})"
    if name == "sqrt":
        return "√" + _operand(_argument(tokens))
    if name == "mathbb":
        letter = _argument(tokens)
        return {"R": "ℝ", "E": "𝔼", "N": "ℕ", "Z": "ℤ", "Q": "ℚ", "C": "ℂ", "P": "ℙ", "1": "𝟙"}.get(letter, letter)
    if name in _FONTS | _PLAIN:
        return _argument(tokens)
    if name in _ACCENTS:
        letter = _argument(tokens)
        return unicodedata.normalize("NFC", letter + _ACCENTS[name]) if len(letter) == 1 else letter
    if name in _SILENT:
        if tokens and tokens[-1] == ".":
            tokens.pop()
        return ""
    if name in _SYMBOLS:
        symbol = _SYMBOLS[name]
        return f" {symbol} " if symbol in _RELATIONS else symbol
    case = "CAPITAL" if name[:1].isupper() else "SMALL"
    try:
        return unicodedata.lookup(f"GREEK {case} LETTER {name.upper()}")
    except KeyError:
        return name if name in _WORDS or not name.isalpha() else f"\\{name}"


def _operand(text: str) -> str:
    text = text.strip()
    return text if re.fullmatch(r"\w[\w′⁰-ₜ²³¹]*(\([^()]*\))?|.", text) else f"({text})"
