"""Chat templates in jinja's sandbox, with what they may loop, call and write counted.

The sandbox keeps a template from what is not its own; it does not keep it from looping nearly for ever or from writing
a gigabyte, and a thread that does cannot be ended. So every loop, call, filter, test, slice and joining of texts is
charged to a budget (`budget.py`) before it is done (`growth.py`). The names that templates find here are those of
transformers (`chat_template_utils.py` there), but for what makes bytes or links.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from functools import lru_cache, update_wrapper, wraps
from typing import Any

import jinja2
import jinja2.ext
from jinja2 import nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from glassformer.conversation.budget import Exhausted, new_work, work
from glassformer.conversation.growth import (
    LISTING,
    LONGEST_DATE_FORM,
    charge_fields,
    charge_filter,
    charge_format,
    charge_made,
    charge_method,
    charge_operator,
    charge_pieces,
    check_bits,
    check_numbers,
    find_percent_widths,
)

# Templates are compiled once; a server has few models.
MOST_COMPILED = 32
LONGEST_TEMPLATE = 1_000_000
# Methods of texts and numbers that make bytes, which nobody counts and no conversation holds.
BYTE_MAKING = frozenset("encode to_bytes".split())


class Refusal(jinja2.TemplateError):
    """What the template itself says of a conversation that it does not take."""


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

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        return attr not in BYTE_MAKING and super().is_safe_attribute(obj, attr, value)

    def call(self, __context: Any, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        work().step()
        name, owner = getattr(__obj, "__name__", ""), getattr(__obj, "__self__", None)
        if isinstance(owner, str):
            args = tuple(list(value) if isinstance(value, Iterator) else value for value in args)
            charge_method(name, owner, args, kwargs)
            found = super().call(__context, __obj, *args, **kwargs)
            charge_pieces(found)
            return found
        if isinstance(owner, (int, float)):
            check_numbers([*args, *kwargs.values()])
        found = super().call(__context, __obj, *args, **kwargs)
        # What a list or an object answers with was there before.
        if name == "copy" or not isinstance(owner, (list, tuple, dict)):
            charge_made(found)
        return found

    def wrap_str_format(self, value: Any) -> Any:
        found = super().wrap_str_format(value)
        if found is None:
            return None

        def bounded(*args: Any, **kwargs: Any) -> Any:
            charge_format(value.__self__, [*args, kwargs])
            return found(*args, **kwargs)

        return update_wrapper(bounded, found)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        charge_operator(operator, left, right)
        found = super().call_binop(context, operator, left, right)
        check_bits(found)
        return found


def bound_filter(name: str, found: Callable[..., Any]) -> Callable[..., Any]:
    """The filter `found`, charged for. What jinja passes to it first (a context, say) stays where it was."""
    is_passed = int(hasattr(found, "jinja_pass_arg"))

    @wraps(found)
    def bounded(*args: Any, **kwargs: Any) -> Any:
        given = args[is_passed:]
        if name in ("join", "sum") and given and isinstance(given[0], Iterator):
            # How much is joined is charged before it is done, so it must be known.
            given = (list(given[0]), *given[1:])
            args = (*args[:is_passed], *given)
        work().step()
        charge_filter(name, given, kwargs)
        made = found(*args, **kwargs)
        if name in LISTING:
            charge_pieces(made)
        return made

    return bounded


def bound_test(found: Any) -> Callable[..., Any]:
    """The test `found`, a step each time: filters go through long lists with one."""

    @wraps(found)
    def bounded(*args: Any, **kwargs: Any) -> Any:
        work().step()
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


@jinja2.pass_context
def put_out(_: Any, value: Any) -> Any:
    """What is written. It asks for the context, so that jinja does not work it out while compiling."""
    work().spell(value)
    return value


def slice_out(value: Any) -> Any:
    """What a slice gave, which is at most as long as what was there."""
    work().copy(value)
    return value


def charge(template: nodes.Template) -> nodes.Template:
    """The template with its loops, joinings, slices and outputs charged for."""
    for node in list(template.find_all(nodes.For)):
        static = sum(len(data.data) for child in node.body for data in child.find_all(nodes.TemplateData))
        assert isinstance(node.iter, nodes.Expr)
        node.iter = as_filter(node.iter, "charged_loop", nodes.Const(static))
    for parent in list(template.find_all(nodes.Node)):
        for name, value in list(parent.iter_fields()):
            if isinstance(value, nodes.Node):
                setattr(parent, name, charge_node(value))
            elif isinstance(value, list):  # the same list, for another node may hold it already
                value[:] = [charge_node(one) if isinstance(one, nodes.Node) else one for one in value]
    for output in list(template.find_all(nodes.Output)):
        output.nodes = [
            one if isinstance(one, nodes.TemplateData) else as_filter(one, "charged_output")
            for one in output.nodes
        ]
    return template


def charge_node(node: nodes.Node) -> nodes.Node:
    """What stands for `node` where it is charged for by itself: jinja joins and slices without asking the sandbox."""
    if isinstance(node, nodes.Concat):
        return as_filter(nodes.List(node.nodes, lineno=node.lineno), "charged_concat")
    if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Slice):
        return as_filter(node, "charged_slice")
    return node


def as_filter(node: nodes.Expr, name: str, *args: nodes.Expr) -> nodes.Filter:
    return nodes.Filter(node, name, list(args), [], None, None, lineno=node.lineno)


def make_sandbox() -> BoundedSandbox:
    # What is worked out while compiling would stand in the compiled code, spelled out.
    sandbox = BoundedSandbox(
        trim_blocks=True,
        lstrip_blocks=True,
        optimized=False,
        extensions=[Generation, jinja2.ext.loopcontrols],
    )
    sandbox.filters["tojson"] = to_json
    del sandbox.filters["urlize"]
    sandbox.filters = {name: bound_filter(name, found) for name, found in sandbox.filters.items()}
    sandbox.filters |= {
        "charged_loop": loop,
        "charged_concat": concat,
        "charged_slice": slice_out,
        "charged_output": put_out,
    }
    sandbox.tests = {name: bound_test(found) for name, found in sandbox.tests.items()}
    sandbox.globals.pop("lipsum", None)
    sandbox.globals["raise_exception"] = refuse
    sandbox.globals["strftime_now"] = tell_time
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


def tell_time(form: str) -> str:
    """The time now in that form, in which a width could be as large as any."""
    if len(form) > LONGEST_DATE_FORM:
        raise Exhausted("it asks for something too large")
    charge_fields(form, list(find_percent_widths(form)), ())
    return datetime.now().astimezone().strftime(form)


def refuse(message: object) -> None:
    raise Refusal(str(message))


@lru_cache(maxsize=MOST_COMPILED)
def compile_template(source: str) -> jinja2.Template:
    """The template, ready to run. Raises what jinja raises for one that cannot be read."""
    if len(source) > LONGEST_TEMPLATE:
        raise Exhausted("it is too long to be one")
    sandbox = make_sandbox()
    with new_work():
        code = sandbox.compile(charge(sandbox.parse(source)))
    return jinja2.Template.from_code(sandbox, code, dict(sandbox.globals))


def render_bounded(template: jinja2.Template, values: Mapping[str, Any]) -> str:
    """What the template writes. Raises Refusal, Exhausted, and whatever its code runs into."""
    with new_work():
        return "".join(template.generate(**values))
