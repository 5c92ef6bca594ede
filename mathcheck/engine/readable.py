r"""LaTeX as a terminal can show it: `\frac{a+b}{2} \le \lVert x_i\rVert^2` becomes (a+b)/2 ≤ ‖xᵢ‖²."""

from __future__ import annotations

import re
import textwrap
import unicodedata

# By hand, since a library saves nothing: with pylatexenc 2.11 for the parser and the symbols this module set every formula
# of the proofs and statements (2023) the same in 197 lines instead of 166. Its own text loses the parentheses of fractions
# and scripts, (u+1)/2 and e^(βx); unicodeit 0.7.5 leaves a third of the formulas with commands in them.

# Marks that `_spaced` turns into spaces or nothing: the ends of a word and a fraction, those of a script, the inside of a
# norm; and the end of a cell.
_WORD, _FRACTION, _SCRIPT, _TIGHT, _CELL = "\1\2\3\4\5"
_PAIRS = """le=≤ leq=≤ ge=≥ geq=≥ ne=≠ neq=≠ approx=≈ equiv=≡ sim=∼ propto=∝ ll=≪ gg=≫ prec=≺ succ=≻ preceq=⪯
    succeq=⪰ in=∈ notin=∉ subset=⊂ subseteq=⊆ cup=∪ cap=∩ setminus=∖ emptyset=∅ forall=∀ exists=∃ to=→ gets=← mapsto=↦
    rightarrow=→ leftarrow=← Rightarrow=⇒ Longrightarrow=⇒ implies=⇒ iff=⇔ Leftrightarrow=⇔ infty=∞ partial=∂ nabla=∇
    sum=∑ prod=∏ int=∫ cdot=· times=× circ=∘ odot=⊙ oplus=⊕ otimes=⊗ pm=± mp=∓ ast=* star=⋆ dots=… ldots=… cdots=⋯
    vert=| Vert=‖ langle=⟨ rangle=⟩ lfloor=⌊ rfloor=⌋ lceil=⌈ rceil=⌉ top=ᵀ perp=⊥
    ell=ℓ dagger=† prime=′ lbrace={ rbrace=} wedge=∧ vee=∨ neg=¬ parallel=∥ blacksquare=∎ square=□ hbar=ℏ
    backslash=\\ lor=∨ land=∧ lesssim=≲ bullet=• triangleq=≜ models=⊨ varepsilon=ε varphi=φ vartheta=ϑ lambda=λ
    Lambda=Λ Re=Re Im=Im !="""
_SYMBOLS = dict(pair.split("=", 1) for pair in _PAIRS.split()) | {
    **dict.fromkeys([*",;: ", "quad", "qquad"], " "),
    **{"\\": "\n", "|": "‖", "mid": " | ", "colon": " : "},
    **{"lvert": f"|{_TIGHT}", "rvert": f"{_TIGHT}|", "lVert": f"‖{_TIGHT}", "rVert": f"{_TIGHT}‖"},
}
_NAMES = """arccos arcsin arctan arg argmax argmin cos cosh cot coth det dim erf exp gcd inf ker lim liminf limsup ln
    log max min Pr sgn sin sinh sup tan tanh tr"""
_WORDS = set(_NAMES.split())
_RELATIONS = "≤≥≠≈≡∼∝≪≫≺≻⪯⪰∈∉⊂⊆∪∩∖→↦←⇒⇔∘⊙⊕⊗±∓×·∧∨≲≜⊨"
_FRACTIONS = {"frac", "tfrac", "dfrac"}
_FONTS = {"mathrm", "mathsf", "mathtt", "text", "textbf", "textit", "operatorname", "mathop"}
_PLAIN = {"mathbf", "mathit", "boldsymbol", "bm", "mathcal", "mathscr", "mathfrak", "substack"}
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
_BRACES = {"underbrace": "_", "overbrace": "^"}
_MATRICES = {"pmatrix": "()", "bmatrix": "[]", "vmatrix": "||", "cases": "{}", "matrix": "", "smallmatrix": ""}
_ABOVE = dict(
    zip("0123456789+-=abcdefghijklmnoprstuvwxyzTβγδ*′ᵀ⊤", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻᵀᵝᵞᵟ*′ᵀᵀ", strict=True)
)
_BELOW = dict(zip("0123456789+-=aehijklmnoprstuvxβγρφχ", "₀₁₂₃₄₅₆₇₈₉₊₋₌ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓᵦᵧᵨᵩᵪ", strict=True))
_ATTACHED = r"([′⁰-ₜ²³¹ᵃ-ᵪ*\u0300-\u036f\u20d7]|[\^_].)*"
_FACTOR = re.compile(rf"\d+(\.\d+)?|[∂d√]?[^\W\d_]?{_ATTACHED}|.")
_PRODUCT = re.compile(rf"([\w∂√]{_ATTACHED})+|{_ATTACHED}|.")
_SILENT = re.compile(
    r"\\(((left|right|middle)(?![a-zA-Z])\s*\.?)|([bB]igg?[lrm]?|displaystyle|textstyle|limits|nolimits|notag)(?![a-zA-Z]))"
)
# TeX drops the space after a command; before a sign it is worth keeping: "μ + 1", not "μ+ 1".
_TOKEN = re.compile(r"\\(?:begin|end)\{\w+\*?\}(?:\{[lcr|]+\})?|\\[a-zA-Z]+(?:\s+(?![-+/<>=]))?|\\.|\s+|.", re.DOTALL)


def readable(text: str) -> str:
    """A text in which everything between dollar signs is set in Unicode."""
    text = re.sub(r"(?<!\\)\$\$(.+?)\$\$", lambda m: unicode_maths(m[1]), text, flags=re.DOTALL)
    return re.sub(r"(?<!\\)\$`(.+?)`\$|(?<!\\)\$([^$]+?)\$", lambda m: unicode_maths(m[1] or m[2]), text)


def besides(title: str, statement: str) -> str:
    """What a statement says besides its title, readable in a terminal and at most 300 characters long."""
    return textwrap.shorten(readable(statement.removeprefix(title).lstrip(":. ")), 300, placeholder=" …")


def unicode_maths(latex: str) -> str:
    """One formula, as far as replacing symbols goes; what is not known is left as it stands."""
    lines = _spaced(_set(_TOKEN.findall(_SILENT.sub("", latex))[::-1])).splitlines()
    return "\n".join(line for line in map(str.strip, lines) if line)


def _spaced(text: str) -> str:
    """The text with its marks turned into spaces where words and fractions would run into something: "2 log x"."""
    text = re.sub(r"([\x01\x02])((\x03[^\x03]*\x03)+)", r"\2\1", text).replace(_SCRIPT, "")
    text = re.sub(r"\x01\x02([^\x02]*)\x02", "\1(\\1)\2", text)  # log(p/q)
    text = re.sub(r"(?<=[\w)\]}])([\x01\x02]*\x02[\x01\x02]*(?=[\w(‖|√∑∏∫∂∇])|\x01+(?=[\w‖|√∑∏∫∂∇]))", " ", text)
    text = re.sub(r"[\x01\x02]|[ \x04]*\x04[ \x04]*|(?<=[(\[⟨⌊⌈]) +| +(?=[)\]⟩⌋⌉,.;])", "", text)
    return re.sub(r"(?<=\S)[^\S\n]+", " ", text)


def _set(tokens: list[str], end: str = "") -> str:
    """Takes everything up to `end` off the reversed `tokens`."""
    done = ""
    while tokens and (token := tokens.pop()) != end:
        done += _piece(token, tokens)
    return done


def _argument(tokens: list[str]) -> str:
    while tokens and tokens[-1].isspace():
        tokens.pop()
    return _spaced(_piece(tokens.pop(), tokens)) if tokens else ""


def _piece(token: str, tokens: list[str]) -> str:
    """One symbol, group or command, with its arguments, which are taken off the reversed `tokens`."""
    if token == "{":
        return _set(tokens, "}")
    if token in ("^", "_"):
        return _script(_argument(tokens), token)
    if token.startswith(r"\begin{"):
        return _environment(token.split("}")[0][7:], tokens)
    if token[0] == "\\" and len(token) > 1:
        return _command(token[1:].strip() or " ", tokens)
    signs = {"'": "′", "~": " ", "&": _CELL, "<": " < ", ">": " > ", "=": " = "}
    return signs.get(token, " " if token.isspace() else token)


def _environment(name: str, tokens: list[str]) -> str:
    text = _set(tokens, rf"\end{{{name}}}")
    if name not in _MATRICES:
        return text.replace(_CELL, " ")
    cells = ([cell.strip() for cell in row.rstrip(", ").split(_CELL)] for row in text.strip().splitlines())
    body = "; ".join((" " if name == "cases" else ", ").join(row) for row in cells)
    return _MATRICES[name][:1] + body + _MATRICES[name][1:]


def _script(text: str, mark: str) -> str:
    table = _ABOVE if mark == "^" else _BELOW
    text = re.sub(rf"\s*([-+<>={_RELATIONS}])\s*", r"\1", text.strip())
    done = "".join(table.get(char, "") for char in text)
    if not text or len(done) < len(text):
        done = mark + (text if len(text) == 1 else f"({text})")
    return f"{_SCRIPT}{done}{_SCRIPT}"


def _command(name: str, tokens: list[str]) -> str:
    if name in _FRACTIONS:
        return f"{_FRACTION}{_operand(_argument(tokens), _PRODUCT)}/{_operand(_argument(tokens))}{_FRACTION}"
    if name == "binom":
        return f"C({_argument(tokens)}, {_argument(tokens)})"
    if name == "sqrt":
        return "√" + _operand(_argument(tokens))
    if name == "mathbb":
        letter = _argument(tokens)
        return {"R": "ℝ", "E": "𝔼", "N": "ℕ", "Z": "ℤ", "Q": "ℚ", "C": "ℂ", "P": "ℙ", "1": "𝟙"}.get(letter, letter)
    if name in _BRACES:
        text = _operand(_argument(tokens))
        if tokens[-1:] == [_BRACES[name]]:  # the label is no subscript of the last letter
            tokens.pop()
            text += f" [= {_argument(tokens)}]"
        return text
    if name in _PLAIN:
        return _argument(tokens)
    if name in _FONTS or name in _WORDS:
        text = name if name in _WORDS else _argument(tokens)
        return text if len(text) == 1 else f"{_WORD}{text}{_WORD}"
    if name in _ACCENTS:
        letter = _argument(tokens)
        return unicodedata.normalize("NFC", letter + _ACCENTS[name]) if len(letter) == 1 else letter
    if name in _SYMBOLS:
        symbol = _SYMBOLS[name]
        return f" {symbol} " if symbol in [*_RELATIONS] else symbol
    if name.startswith("end{"):
        return ""
    case = "CAPITAL" if name[:1].isupper() else "SMALL"
    try:
        return unicodedata.lookup(f"GREEK {case} LETTER {name.upper()}")
    except KeyError:
        return f"\\{name}" if name.isalpha() else name


def _operand(text: str, alone: re.Pattern[str] = _FACTOR) -> str:
    text = bare = text.strip()
    while bare != (bare := re.sub(r"\([^()]*\)|\|[^|]*\||‖[^‖]*‖", "′", bare)):
        pass
    return text if text and alone.fullmatch(bare) else f"({text})"
