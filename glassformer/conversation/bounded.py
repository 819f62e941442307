"""Chat templates in jinja's sandbox, with what they may loop, call and write counted.

The sandbox keeps a template from what is not its own; it does not keep it from looping nearly for ever or from writing
a gigabyte, and a thread that does cannot be ended. So every loop, call, filter and joining of texts is charged to a
budget before it is done. The names that templates find here are those of transformers (`chat_template_utils.py` there).
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from datetime import datetime
from functools import lru_cache, wraps
from typing import Any

import jinja2
import jinja2.ext
from jinja2 import nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

# Rounds of loops, calls and filters. The longest conversation that fits into a body needs a few hundred thousand.
MOST_STEPS = 1_000_000
# Characters written or put together on the way, some of them several times.
MOST_CHARACTERS = 64_000_000
LONGEST_SECS = 5.0
# What an item of a container is charged beside its text: going through them takes time, too.
ITEM_CHARACTERS = 64
# Numbers that say how often or how wide; no template needs larger ones.
LARGEST_NUMBER = 100_000
MOST_BITS = 4096
# Templates are compiled once; a server has few models.
MOST_COMPILED = 32
LONGEST_TEMPLATE = 1_000_000
WIDE_FORMAT = re.compile(r"[%{][^%{}]*?\d{5,}")
# Filters that only look at what a container holds; all others may spell it out.
LOOKING = frozenset(
    "length count first last list items selectattr rejectattr map select reject sort unique reverse default d groupby "
    "batch slice dictsort min max sum attr random".split()
)


class Refusal(jinja2.TemplateError):
    """What the template itself says of a conversation that it does not take."""


class Exhausted(Exception):
    """The template asks for more than a conversation can need."""


class Work:
    """What one rendering may still do."""

    def __init__(self) -> None:
        self.steps = MOST_STEPS
        self.characters = MOST_CHARACTERS
        self.deadline_secs = time.monotonic() + LONGEST_SECS

    def step(self, count: int = 1) -> None:
        self.steps -= count
        if self.steps < 0:
            raise Exhausted("it loops without an end in sight")
        if time.monotonic() > self.deadline_secs:
            raise Exhausted(f"it took longer than {LONGEST_SECS:.0f} s")

    def write(self, count: int) -> None:
        self.characters -= count
        if self.characters < 0:
            raise Exhausted("it writes without an end in sight")

    def spell(self, value: object) -> None:
        """Charge for writing `value` out, which may hold the same thing many times over."""
        if isinstance(value, str):
            self.write(len(value))
        elif isinstance(value, Mapping):
            for key, item in value.items():
                self.write(ITEM_CHARACTERS)
                self.spell(key)
                self.spell(item)
        elif isinstance(value, (list, tuple)):
            for item in value:
                self.write(ITEM_CHARACTERS)
                self.spell(item)


_local = threading.local()


def work() -> Work:
    """The budget of the rendering in this thread. What runs outside of one, while compiling, has a fresh one."""
    found: Work | None = getattr(_local, "work", None)
    return Work() if found is None else found


class Generation(jinja2.ext.Extension):
    """`{% generation %}` marks what the assistant wrote, for training; here it is the text between."""

    tags = {"generation"}  # noqa: RUF012 (jinja's own way to say it)

    def parse(self, parser: Any) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body, lineno=line)


class BoundedSandbox(ImmutableSandboxedEnvironment):
    """The sandbox with every operation that can grow without bounds charged beforehand."""

    intercepted_binops = frozenset(["*", "**", "+", "%"])

    def call(self, __context: Any, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        work().step()
        name, owner = getattr(__obj, "__name__", ""), getattr(__obj, "__self__", None)
        if isinstance(owner, str):
            check_text_work(name, owner, args, kwargs)
        check_numbers([*args, *kwargs.values()], allowed=LARGEST_NUMBER)
        return super().call(__context, __obj, *args, **kwargs)

    def wrap_str_format(self, value: Any) -> Any:
        owner = getattr(value, "__self__", None)
        if isinstance(owner, str):
            check_format(owner)
        return super().wrap_str_format(value)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "*":
            for one, other in ((left, right), (right, left)):
                if isinstance(one, (str, list, tuple)) and isinstance(other, int):
                    work().write(len(one) * max(other, 0))
        if (
            operator == "**"
            and isinstance(right, int)
            and isinstance(left, int)
            and right * left.bit_length() > MOST_BITS
        ):
            raise Exhausted("it reckons with numbers without bounds")
        if operator == "%" and isinstance(left, str):
            check_format(left)
        if operator == "+" and isinstance(left, (str, list, tuple)):
            work().write(len(left) + (len(right) if isinstance(right, Sized) else 0))
        found = super().call_binop(context, operator, left, right)
        if isinstance(found, int) and found.bit_length() > MOST_BITS:
            raise Exhausted("it reckons with numbers without bounds")
        return found


def check_numbers(values: Iterable[object], *, allowed: int) -> None:
    if any(isinstance(value, int) and abs(value) > allowed for value in values):
        raise Exhausted("it asks for something too large")


def check_format(text: str) -> None:
    if WIDE_FORMAT.search(text):
        raise Exhausted("it asks for something too large")


def check_text_work(name: str, text: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Charge for what a method of a text will write."""
    if name in ("format", "format_map"):
        check_format(text)
        for value in (*args, *kwargs.values()):
            work().spell(value)
    elif name == "replace" and len(args) >= 2 and all(isinstance(value, str) for value in args[:2]):
        work().write(len(text) + text.count(args[0]) * len(args[1]))
    elif name == "join" and args:
        parts = args[0] if isinstance(args[0], (list, tuple)) else []
        work().write(len(text) * len(parts))
        work().spell(parts)
    else:
        work().write(len(text))


def bound_filter(name: str, found: Callable[..., Any]) -> Callable[..., Any]:
    """The filter `found`, charged for. What jinja passes to it first (a context, say) stays where it was."""
    is_passed = int(hasattr(found, "jinja_pass_arg"))

    @wraps(found)
    def bounded(*args: Any, **kwargs: Any) -> Any:
        given = args[is_passed:]
        if name == "join" and given and isinstance(given[0], Iterator):
            # How much is joined is charged before it is done, so it must be known.
            given = (list(given[0]), *given[1:])
            args = (*args[:is_passed], *given)
        work().step()
        check_numbers([*given[1:], *kwargs.values()], allowed=LARGEST_NUMBER)
        if name not in LOOKING:
            for value in given:
                work().spell(value)
        if given and isinstance(given[0], str):
            if name == "format":
                check_format(given[0])
            if name in ("replace", "join"):
                check_text_work(name, given[0], given[1:], kwargs)
        elif name == "join" and len(given) > 1 and isinstance(given[1], str) and isinstance(given[0], Sized):
            work().write(len(given[1]) * len(given[0]))
        return found(*args, **kwargs)

    return bounded


def loop(values: Any, static: int) -> Any:
    """What a loop goes over. A round writes the `static` characters of the loop's own text."""

    def count(items: Iterable[Any]) -> Iterator[Any]:
        for item in items:
            work().step()
            work().write(static)
            yield item

    if isinstance(values, (str, list, tuple, dict, range)) and len(values) < 1000:
        work().step(len(values))
        work().write(static * len(values))
        return values
    return values if isinstance(values, jinja2.Undefined) else count(values)


def concat(values: list[Any]) -> str:
    for value in values:
        work().spell(value)
    return "".join(map(str, values))


def put_out(value: Any) -> Any:
    work().spell(value)
    return value


def charge(template: nodes.Template) -> nodes.Template:
    """The template with its loops, joinings and outputs charged for."""
    for node in list(template.find_all(nodes.For)):
        static = sum(len(data.data) for child in node.body for data in child.find_all(nodes.TemplateData))
        assert isinstance(node.iter, nodes.Expr)
        node.iter = as_filter(node.iter, "charged_loop", nodes.Const(static))
    for parent in list(template.find_all(nodes.Node)):
        for name, value in list(parent.iter_fields()):
            if isinstance(value, nodes.Concat):
                setattr(parent, name, join_nodes(value))
            elif isinstance(value, list):
                setattr(
                    parent, name, [join_nodes(one) if isinstance(one, nodes.Concat) else one for one in value]
                )
    for output in list(template.find_all(nodes.Output)):
        output.nodes = [
            one if isinstance(one, nodes.TemplateData) else as_filter(one, "charged_output")
            for one in output.nodes
        ]
    return template


def join_nodes(node: nodes.Concat) -> nodes.Expr:
    return as_filter(nodes.List(node.nodes, lineno=node.lineno), "charged_concat")


def as_filter(node: nodes.Expr, name: str, *args: nodes.Expr) -> nodes.Filter:
    return nodes.Filter(node, name, list(args), [], None, None, lineno=node.lineno)


def make_sandbox() -> BoundedSandbox:
    sandbox = BoundedSandbox(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
    )
    sandbox.filters["tojson"] = to_json
    for name, found in list(sandbox.filters.items()):
        sandbox.filters[name] = bound_filter(name, found)
    sandbox.filters |= {"charged_loop": loop, "charged_concat": concat, "charged_output": put_out}
    sandbox.globals.pop("lipsum", None)
    sandbox.globals["raise_exception"] = refuse
    sandbox.globals["strftime_now"] = lambda form: datetime.now().astimezone().strftime(form)
    return sandbox


def to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """As transformers' own: jinja's would escape what stands in HTML."""
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def refuse(message: object) -> None:
    raise Refusal(str(message))


@lru_cache(maxsize=MOST_COMPILED)
def compile_template(source: str) -> jinja2.Template:
    """The template, ready to run. Raises what jinja raises for one that cannot be read."""
    if len(source) > LONGEST_TEMPLATE:
        raise Exhausted("it is too long to be one")
    sandbox = make_sandbox()
    code = sandbox.compile(charge(sandbox.parse(source)))
    return jinja2.Template.from_code(sandbox, code, dict(sandbox.globals))


def render_bounded(template: jinja2.Template, values: Mapping[str, Any]) -> str:
    """What the template writes. Raises Refusal, Exhausted, and whatever its code runs into."""
    _local.work = Work()
    try:
        return "".join(template.generate(**values))
    finally:
        _local.work = None
