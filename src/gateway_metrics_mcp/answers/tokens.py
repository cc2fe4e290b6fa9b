"""About how many tokens of a language model a text takes, without a vocabulary.

Calibrated with o200k_base (benchmarks/tokens.py): within some 5 % on tables, and at most a fifth
too low for random ids, emoji and rare scripts.
"""

from __future__ import annotations

import re
from typing import Final

_FOLLOWERS: Final = (
    "aabcdfgiklmnprstuvwxy baceilorsuy cacdefhiklmorstu dabcdefilorstu "
    "eabcdefgilmnopqrstvwxy fadefilorstu gaeghilnorsu haeilorst iabcdefglmnoprstvxz keis "
    "lacdefilopstuy mabdeilmopsu nacdefgiklnoprstuv oabcdfgiklmnoprstuvw padehiloprstuy qu "
    "rabcdefgiklmnoprstuvy sacdefhiklmnopqrstuwy tabcdefhilmoprstuy uabcdefgilmnprst vaeio "
    "waehinors xceipt yelnpst ze"
)
"""After each letter, those that follow it in 95 % of the pairs of English and of code.

So words stay whole, and random letters break at about every second one.
"""

_STEPS: Final = "|".join(f"{pair[0]}(?=[{pair[1:]}])" for pair in _FOLLOWERS.split())
_PIECE: Final = re.compile(
    r"[0-9]{1,3}"
    r"|(?<=\\)u"  # of an escape: stands alone
    rf"| ?(?:[A-Z](?=[a-z]))?(?:(?![aeiou]{{3}})(?:{_STEPS})){{0,7}}[a-z]"
    r"| ?[A-Z]{1,2}(?![a-z])| ?[A-Z]"
    r'|---\|?|\|+|[\]"],[\["]?|,"'  # the rule of a table, empty cells, the joints of JSON
    r"|\s|[^\sA-Za-z0-9]"
)

# What characters outside of ASCII take beyond the one that `_PIECE` counts.
_PICTURES: Final = "\U0001d400-\U0001d7ff\U0001f000-\U0001ffff"
_MORE: Final = (
    (1, re.compile("[\u0080-\u024f\u0300-\u036f\u0800-\uffff]")),
    (1, re.compile("[\u0e80-\u10cf\u1100-\u1fff\u2c00-\u2dff\u3400-\u4dbf\ua000-\uabff]")),
    (1, re.compile("[\ud7b0-\uf8ff\ufb00-\ufdff]")),
    (2, re.compile(f"[{_PICTURES}]")),
    (3, re.compile(f"(?![{_PICTURES}])[\U00010000-\U0010ffff]")),
)


def estimate_tokens(text: str) -> int:
    """About how many tokens the text takes."""
    count = len(_PIECE.findall(text))
    if text.isascii():
        return count
    return count + sum(more * len(kind.findall(text)) for more, kind in _MORE)
