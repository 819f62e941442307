"""How much the operations of a chat template may write, charged before they are done. Knows no jinja.

An operation that writes as much as it is given, or a few times that, is charged for what it is given. Those that
multiply, so that two short texts make a long one, are reckoned here one by one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from string import Formatter
from typing import Any

from glassformer.conversation.budget import ITEM_CHARACTERS, PIECE_CHARACTERS, Exhausted, work

# Numbers that say how often or how wide; no template needs larger ones.
LARGEST_NUMBER = 100_000
MOST_BITS = 4096
LONGEST_DATE_FORM = 1000
DIGITS = re.compile(r"\d+")
# What stands between the beginning of a field of printf's form and its letter: flags, width and precision.
PERCENT_WIDTH = re.compile(r"[-#0 +]*(?:\*|\d*)(?:\.(?:\*|\d*))?")
STRIPPING = frozenset("strip lstrip rstrip".split())
PADDING = frozenset("center ljust rjust zfill".split())
# Filters whose numbers say how often or how wide.
SIZING = frozenset("batch center indent round slice tojson truncate wordwrap".split())
# Filters that only look at what a container holds; all others may spell it out.
LOOKING = frozenset(
    "length count first last list items selectattr rejectattr map select reject sort unique reverse default d groupby "
    "batch slice dictsort min max sum attr random".split()
)
# Filters that make a list of what they are given.
LISTING = frozenset("list sort dictsort groupby".split())


def check_numbers(values: Iterable[object]) -> None:
    if any(isinstance(value, int) and abs(value) > LARGEST_NUMBER for value in values):
        raise Exhausted("it asks for something too large")


def charge_operator(operator: str, left: Any, right: Any) -> None:
    """Charge for `left operator right`."""
    if operator == "*":
        for one, other in ((left, right), (right, left)):
            if isinstance(other, int):
                work().copy(one, other)
    elif operator == "**":
        if isinstance(right, int) and isinstance(left, int) and right * left.bit_length() > MOST_BITS:
            raise Exhausted("it reckons with numbers without bounds")
    elif operator == "%" and isinstance(left, str):
        charge_percent(left, right)
    elif operator == "+":
        work().copy(left)
        work().copy(right)


def check_bits(value: Any) -> None:
    if isinstance(value, int) and value.bit_length() > MOST_BITS:
        raise Exhausted("it reckons with numbers without bounds")


def charge_method(name: str, text: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Charge for what a method of a text will write. Those that format are charged where they are looked up."""
    check_numbers([*args, *kwargs.values()])
    work().write(len(text))
    if name == "replace" and len(args) >= 2:
        charge_replacing(text, args[0], args[1])
    elif name == "join" and args:
        charge_joining(args[0], text)
    elif name == "expandtabs":
        size = args[0] if args else kwargs.get("tabsize", 8)
        work().write(text.count("\t") * size if isinstance(size, int) else 0)
    elif name == "translate" and args:
        table = args[0].values() if isinstance(args[0], Mapping) else ()
        work().write(len(text) * max((len(one) for one in table if isinstance(one, str)), default=1))
    elif name in PADDING and args and isinstance(args[0], int):
        work().write(args[0])
    elif name in STRIPPING:
        charge_stripping(text, args)


def charge_replacing(text: str, old: object, new: object) -> None:
    if isinstance(old, str):
        work().write(text.count(old) * len(str(new)))


def charge_joining(parts: Any, separator: object) -> None:
    if isinstance(parts, Sized):
        work().write(len(str(separator)) * len(parts))
    work().spell(list(parts) if isinstance(parts, (Mapping, range)) else parts)


def charge_stripping(text: str, characters: tuple[Any, ...]) -> None:
    """Nothing long is written, but each character of the text is looked for among the others."""
    if characters and isinstance(characters[0], str):
        work().write(len(text) * len(characters[0]) // 1000)


def charge_pieces(value: object) -> None:
    """Charge for a container that was made."""
    if isinstance(value, (list, tuple, dict)):
        work().write(PIECE_CHARACTERS * len(value))


def charge_made(value: object) -> None:
    """Charge for a text or a container that was made."""
    if isinstance(value, str):
        work().write(len(value))
    else:
        charge_pieces(value)


def charge_format(text: str, values: object) -> None:
    """Charge for `text.format(...)`. A width that stands in no text but among the values is refused."""
    try:
        fields = [spec or "" for _, name, spec, _ in Formatter().parse(text) if name is not None]
    except ValueError:  # it will say so itself
        return
    charge_fields(text, fields, values)


def charge_percent(text: str, values: object) -> None:
    """Charge for `text % values`."""
    charge_fields(text, list(find_percent_widths(text)), values)


def find_percent_widths(text: str) -> Iterator[str]:
    """The widths and precisions of the fields of a text in printf's form."""
    at = 0
    while (at := text.find("%", at) + 1) > 0:
        depth = 0
        while text[at : at + 1] == "(" or depth:
            depth += {"(": 1, ")": -1}.get(text[at : at + 1], 0)
            at += 1
            if at > len(text):
                return
            if not depth:
                break
        found = PERCENT_WIDTH.match(text, at)
        assert found is not None  # it matches nothing, too
        yield found[0]
        at = found.end() + 1


def charge_fields(text: str, fields: list[str], values: object) -> None:
    """Charge for a text in which each field, of this width, may spell all of `values`."""
    if any("{" in field or "*" in field for field in fields):
        raise Exhausted("it asks for something too large")
    widths = [int(digits[:9]) for field in fields for digits in DIGITS.findall(field)]
    check_numbers(widths)
    budget = work()
    before = budget.characters
    budget.spell(values)
    budget.write((before - budget.characters) * max(len(fields) - 1, 0) + len(text) + sum(widths))


def charge_filter(name: str, given: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Charge for what the filter `name` makes of `given`, the first of which stands before the bar."""
    options = [*given[1:], *kwargs.values()]
    if name in SIZING:
        check_numbers(options)
    if name not in LOOKING:
        for value in (*given, *kwargs.values()):
            work().spell(value)
    multiplying = MULTIPLYING.get(name)
    if multiplying is not None and given:
        multiplying(given[0], *given[1:], **kwargs)


def charge_batch(_: object, linecount: object = 0, fill_with: object = None) -> None:
    work().write(2 * linecount if isinstance(linecount, int) else 0)


def charge_slice(_: object, slices: object = 0, fill_with: object = None) -> None:
    work().write(PIECE_CHARACTERS * slices if isinstance(slices, int) else 0)


def charge_center(_: object, width: object = 80) -> None:
    work().write(width if isinstance(width, int) else 0)


def charge_indent(text: object, width: object = 4, *_: object, **__: object) -> None:
    each = len(width) if isinstance(width, str) else width
    lines = len(text.splitlines()) + 1 if isinstance(text, str) else 0
    work().write(lines * max(each, 0) if isinstance(each, int) else 0)


def charge_wordwrap(
    text: object, width: object = 79, _: object = True, wrapstring: object = None, *__: object, **___: object
) -> None:
    if isinstance(text, str) and isinstance(width, int) and isinstance(wrapstring, str):
        lines = 2 * len(text) // max(width, 1) + len(text.splitlines())
        work().write(lines * len(wrapstring))


def charge_json(
    value: object,
    ensure_ascii: bool = False,
    indent: object = None,
    separators: object = None,
    *_: object,
    **__: object,
) -> None:
    each = len(indent) if isinstance(indent, str) else indent if isinstance(indent, int) else 0
    between = sum(map(len, separators)) if isinstance(separators, (list, tuple)) else 0
    if each or between:
        work().spell(value, item=ITEM_CHARACTERS + between + each, deeper=max(each, 0))


def charge_sum(values: object, attribute: object = None, start: object = 0) -> None:
    """Lists are joined one after the other, each time anew."""
    if isinstance(start, (list, tuple)) and attribute is None and isinstance(values, (list, tuple)):
        work().write(len(values) * sum(len(one) for one in values if isinstance(one, Sized)))
    elif not isinstance(start, (int, float)):
        raise Exhausted("it asks for something too large")


def charge_join_filter(values: object, d: object = "", attribute: object = None) -> None:
    charge_joining(values, d)


def charge_replace_filter(text: object, old: object, new: object, count: object = None) -> None:
    charge_replacing(str(text), old, new)


def charge_format_filter(text: object, *args: object, **kwargs: object) -> None:
    charge_percent(str(text), kwargs or args)


def charge_trim(text: object, chars: object = None) -> None:
    charge_stripping(str(text), (chars,))


# Each is called as the filter is.
MULTIPLYING: dict[str, Callable[..., None]] = {
    "batch": charge_batch,
    "slice": charge_slice,
    "center": charge_center,
    "indent": charge_indent,
    "wordwrap": charge_wordwrap,
    "tojson": charge_json,
    "sum": charge_sum,
    "join": charge_join_filter,
    "replace": charge_replace_filter,
    "format": charge_format_filter,
    "trim": charge_trim,
}
