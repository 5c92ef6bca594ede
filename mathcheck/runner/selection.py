"""What somebody asks for of the catalogue: by words in a name, or by the name itself."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence

from mathcheck.runner import index


def with_words(text: str) -> Callable[[str], bool]:
    """Whether a name has the words of `text`: alternatives between `or`, each of words that it has or, after `not`, lacks.

    Raises:
        ValueError: if `text` does not read like that.
    """
    alternatives: list[list[tuple[bool, str]]] = [[]]
    wanted = True
    for word in text.lower().split():
        if word == "or":
            alternatives.append([])
        elif word == "not":
            wanted = not wanted
        elif word != "and":
            alternatives[-1].append((wanted, word))
            wanted = True
    if "(" in text or not wanted or (len(alternatives) > 1 and [] in alternatives):
        raise ValueError(f"{text!r} does not read as words with `and`, `or` and `not` between them")
    return lambda name: any(all((word in name.lower()) is has for has, word in words) for words in alternatives)


def among(names: Sequence[str]) -> Callable[[str], bool]:
    """Whether a name of the catalogue is among `names` or below one of them; without `names`, every one is.

    Raises:
        ValueError: if nothing in the catalogue is called like that; it says what is.
    """
    from mathcheck.runner import catalogue

    known = [*(entry.name for entry in catalogue.entries(*names)), *index.proofs()]
    for name in names:
        if not any(index.matches(candidate, name) for candidate in known):
            everything = [*(entry.name for entry in catalogue.entries()), *index.proofs()]
            raise ValueError(f"nothing in the catalogue is called {name!r}{suggestions(name, everything)}")
    return lambda candidate: not names or any(index.matches(candidate, name) for name in names)


def suggestions(name: str, known: Iterable[str]) -> str:
    """Names like `name`, whole or in their last part."""
    parts = [candidate.split(".") for candidate in known]
    full = dict.fromkeys(".".join(words[:n]) for words in parts for n in range(1, len(words) + 1))
    text = name.replace("/", ".").lower()
    found = sorted((candidate for candidate in full if text in candidate), key=len)[:3]
    found += difflib.get_close_matches(text, full, 3)
    last = difflib.get_close_matches(text.rsplit(".", 1)[-1], {candidate.rsplit(".", 1)[-1] for candidate in full}, 3)
    found += [candidate for candidate in full if candidate.rsplit(".", 1)[-1] in last]
    close = list(dict.fromkeys(found))[:4]
    return f"; did you mean {' or '.join(close)}?" if close else "; `mathcheck list` shows what there is"
