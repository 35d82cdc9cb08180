"""What foreign templates may cost: time, memory and nesting are bounded for every operation; results are Jinja's."""

from __future__ import annotations

import resource
import time
from typing import Any

import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment

from executorch_ggml.errors import FormatError, InvalidArgumentError
from executorch_ggml.llm.text import chat, template_budget
from executorch_ggml.llm.text.chat import ChatTemplate
from executorch_ggml.llm.text.template_tree import MAX_TOKENS

TALK = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]


def shared(value: str, make: str) -> str:
    """A value of 60 levels, each of which holds the one below twice: small in memory, endless when it is walked."""
    steps = f"{{% for i in range(60) %}}{{% set n.v = {make} %}}{{% endfor %}}"
    return (
        f"{{% set n = namespace(v={value}) %}}{{% set m = namespace(v={value}) %}}" + steps + steps.replace("n.", "m.")
    )


LISTS, TUPLES = shared("[1]", "[n.v, n.v]"), shared("(1,)", "(n.v, n.v)")
LONG = "{% set a = 'a' * 2000000 %}{% set b = 'b' ~ 'a' * 1000000 %}"
WALKS = [
    "n.v", "n.v ~ ''", "n.v == m.v", "n.v < m.v", "n.v in [m.v]", "n.v is in [m.v]", "[n.v, m.v]|sort", "[n.v]|join",
    "n.v|tojson", "n.v|upper", "n.v is lower", "n.v|pprint", "'%s' % (n.v,)", "'%s'|format(n.v)", "'{}'.format(n.v)",
    "[m.v].index(n.v)", "raise_exception(n.v)", "','.join(n.v)", "[n.v, m.v]|max", "[('a', n.v)]|urlencode",
    "n.v|string", "namespace(x=n.v)", "n.v|indent", "n.v|default('x')|trim", "[{'a': n.v}, {'a': m.v}]|groupby('a')",
]  # fmt: skip
HASHES = ["{n.v: 1}", "{}[n.v]", "{}.get(n.v)", "n.v in {}", "dict([(n.v, 1)])", "[n.v]|unique|list"]
LOOPS = {
    "subtraction": "{% set n = namespace(v=1) %}{% for i in range(3000000) %}{% set n.v = n.v - -n.v %}{% endfor %}",
    "products": "{% set n = namespace(v=7) %}{% for i in range(60) %}{% set n.v = n.v * n.v %}{% endfor %}",
    "find": LONG + "{% for i in range(99999) %}{{ a.find(b) }}{% endfor %}",
    "rfind": LONG + "{{ a.rfind(b) }}",
    "rsplit": LONG + "{{ a.rsplit(b) | length }}",
    "in": LONG + "{% for i in range(99999) %}{% if b in a %}{% endif %}{% endfor %}",
    "less": LONG + "{% for i in range(99999) %}{% if a < a ~ 'x' %}{% endif %}{% endfor %}",
    "strip": LONG + "{{ a.strip('bcdefgh' * 100000 ~ 'a') }}",
    "trim": LONG + "{{ a | trim('bcdefgh' * 100000 ~ 'a') }}",
    "empty body": "{% for i in range(9999) %}{% for i in range(9999) %}{% endfor %}{% endfor %}",
    "filtered": "{% for j in range(9999) %}{% for i in range(4000000) if false %}{% endfor %}{% endfor %}",
    "large body": "{% for i in range(4000000) %}" + "{% if a %}{% endif %}" * 900 + "{% endfor %}",
    "lazy": "{% for j in range(9999) %}{% set x = range(4000000) | reject | list %}{% endfor %}",
    "attributes": "{{ range(999999) | map(attribute='" + "real." * 2000 + "real') | list }}",
    "groupby": "{{ range(3900000) | groupby('real') | list }}",
    "sum of lists": "{{ ([[0] * 4000] * 4000) | sum(start=[]) }}",
    "range": "{% for i in range(99999) %}{% if 'a' in range(4000000) %}{% endif %}{% endfor %}",
    "arguments": "{% macro m() %}{% endmacro %}{% for i in range(9999) %}{{ m(*range(4000000)) }}{% endfor %}",
    "round": "{{ 5 | round(-1000000000) }}",
    "digits": "{{ ('9' * 4000000) | int }}",
}
GROWTH = {
    "text of a list": "{{ ['a' * 4000] * 900000 }}",
    "odd": "{{ '%999999999d' is odd }}",
    "divisible": "{{ '%999999999d' is divisibleby 3 }}",
    "width": "{{ '%999999999d' % 1 }}",
    "star": "{{ '%*d' % (999999999, 1) }}",
    "names": "{{ ('%(a)s' * 500000) % {'a': 'x' * 4000000} }}",
    "braces": "{{ ('{0}' * 500000).format('x' * 4000000) }}",
    "fields": "{{ '{:{}}'.format(1, 999999999) }}",
    "tildes": "{% set x = 'a' * 4000000 %}{{ x" + " ~ x" * 999 + " }}",
    "sums": "{% set x = [0] * 4000000 %}{{ (x" + " + x" * 90 + ") | length }}",
    "dicts": "{% set n = namespace(v=0) %}{% for i in range(4000000) %}{% set n.v = [n.v, {1: 1}] %}{% endfor %}",
    "namespaces": "{% set n = namespace(v=0) %}{% for i in range(4000000) %}{% set n.v = (n.v, namespace()) %}"
    "{% endfor %}",
    "batches": "{{ range(4000000) | batch(1) | list }}",
    "ljust": "{{ 'a'.ljust(999999999) }}",
    "tabs": "{{ ('\\t' * 1000).expandtabs(9999999) }}",
    "separators": "{{ ([1] * 1000000) | tojson(separators=('x' * 1000000, '')) }}",
    "white space": "{% set n = namespace(v=1) %}{% for i in range(190) %}{% set n.v = [n.v] %}{% endfor %}"
    "{{ ([n.v] * 15000) | tojson(indent=16) }}",
}
NESTING = {
    "hash": "{% set n = namespace(v=()) %}{% for i in range(40000) %}{% set n.v = ((((((n.v,),),),),),) %}{% endfor %}"
    "{{ {n.v: 1} | length }}",
    "text": "{% set n = namespace(v=1) %}{% for i in range(99999) %}{% set n.v = [n.v] %}{% endfor %}{{ n.v }}",
    "macros": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "blocks": "{% block a %}{{ self.a() }}{% endblock %}",
    "itself": "{% set n = namespace() %}{% set n.v = [n] %}{{ n }}",
}
SOURCES = {
    "outputs": "{{a}}" * MAX_TOKENS,
    "macros": "{% macro a() %}{% endmacro %}" * 9000,
    "brackets": "{{ " + "[" * 5000 + "]" * 5000 + " }}",
    "nots": "{{ " + "not " * 9000 + "a }}",
    "signs": "{{ " + "-" * 9000 + "a }}",
    "sums": "{{ a" + " + a" * 9000 + " }}",
    "attributes": "{{ a" + ".a" * 9000 + " }}",
    "filters": "{{ a" + " | e" * 9000 + " }}",
    "choices": "{{ a" + " if a else a" * 3000 + " }}",
    "set blocks": "{% set a %}" * 500 + "{% endset %}" * 500,
    "comments": "{#" * 100000,
}


def stopped(source: str) -> None:
    """Refused, in bounded time and memory. The memory is that of the process at its largest."""
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises((FormatError, InvalidArgumentError)):
        ChatTemplate(source).render(TALK)
    assert time.process_time() - start < template_budget.SECONDS + 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # kB


@pytest.fixture(autouse=True)
def less_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs into the deadline would take five seconds."""
    monkeypatch.setattr(template_budget, "SECONDS", 2.0)


@pytest.fixture
def less_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """A walk over four million elements before it is refused takes a second or two."""
    monkeypatch.setattr(chat, "MAX_RESULT", 1 << 16)


@pytest.mark.parametrize("expression", WALKS)
def test_values_that_share_parts(expression: str, less_work: None) -> None:
    if expression == "namespace(x=n.v)":
        expression = "namespace(x=n.v) ~ ''"
    stopped(LISTS + "{{ " + expression + " }}")


@pytest.mark.parametrize("expression", HASHES)
def test_keys_that_share_parts(expression: str, less_work: None) -> None:
    stopped(TUPLES + "{{ " + expression + " }}")


@pytest.mark.parametrize("name", [*LOOPS])
def test_time(name: str) -> None:
    stopped(LOOPS[name])


@pytest.mark.parametrize("name", [*GROWTH])
def test_memory(name: str) -> None:
    stopped(GROWTH[name])


@pytest.mark.parametrize("name", [*NESTING])
def test_nesting(name: str) -> None:
    stopped(NESTING[name])


@pytest.mark.parametrize("name", [*SOURCES])
def test_compiling(name: str) -> None:
    with pytest.raises(FormatError):
        ChatTemplate(SOURCES[name])


def test_conversations_that_nest() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    for given in ({"tools": [{"x": deep}]}, {"documents": [{"x": deep}]}, {"extra": deep}):
        with pytest.raises(InvalidArgumentError, match="deeper than 200"):
            ChatTemplate("x").render(TALK, **given)


def test_errors_quote_little() -> None:
    with pytest.raises(InvalidArgumentError) as error:
        ChatTemplate("{{ raise_exception('x' * 1000000) }}").render(TALK)
    assert len(str(error.value)) < 1000


SAME = [
    "{% for g in messages | groupby('role') %}{{ g.grouper }}{{ g.list | length }};{% endfor %}",
    "{{ [3, 1, 2] | sum }}{{ [{'a': 1}, {'a': 2}] | sum(attribute='a') }}{{ [[1], [2]] | sum(start=[]) }}",
    "{{ '%s-%03d %5.1f%%' % ('a', 7, 2.55) }}{{ '%(x)r' % {'x': 'y'} }}{{ '%s' % messages }}",
    "{{ '%s-%03d' | format('a', 7) }}{{ '%(a)s' | format(a=1) }}",
    "{{ '{}-{:>4}|{:<3}|{x:^5}|{y!r:>6}|{:06.2f}'.format('a', 7, 'b', 1.5, x='c', y='d') }}",
    "{{ 'a'.ljust(3) }}|{{ 'a'.center(4) }}|{{ 'a'.rjust(3, '.') }}|{{ '7'.zfill(3) }}|{{ 'a\tb'.expandtabs(4) }}",
    "{{ 'a bc def' | truncate(5, true, '..') }}{{ 'a bc d' | wordwrap(3) }}{{ '<b>x</b>' | striptags }}",
    "{{ 12345 | filesizeformat }}{{ 'a b/c' | urlencode }}{{ {'a': 1} | xmlattr }}{{ [1, {'a': 2}] | pprint }}",
    "{{ 'a\r\nb\nc' | indent(2, true) }}{{ 'ab' | center(6) }}{{ 3.14159 | round(2) }}{{ '12' | int + 1 }}",
    "{{ 1 < 2 <= 2 < 3 }}{{ 1 < 2 > 5 }}{{ 'a' in 'bab' }}{{ 2 not in [1] }}{{ [1, [2]] == [1, [2]] }}{{ 1 == none }}",
    "{{ {('a', 1): 2}[('a', 1)] }}{{ {1: 'x'}.keys() }}{{ dict(a=1).items() | list }}{{ 'abc'[::-1] }}",
    "{{ [1, 2, 3] | map('string') | join('-') }}{{ range(10) | select('odd') | list }}{{ 'ba' | sort | join }}",
    "{{ [3, 1] | min }}{{ ['b', 'A'] | sort }}{{ [1, 1] | unique | list }}{{ [1, 2, 3] | batch(2, 0) | list }}",
    "{% for x in [1, [2, [3]]] recursive %}{{ loop(x) if x is iterable else x }}{{ loop.depth }}{% endfor %}",
    "{% for m in messages if m.role == 'user' %}{{ loop.length }}{{ loop.index }}{% else %}none{% endfor %}",
    "{% for m in messages %}{{ loop.changed(m.role) }}{{ loop.previtem.role if loop.previtem }}{% endfor %}",
    "{% macro f(n) %}{{ n }}{% if n %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(40) }}",
    "{% macro box() %}[{{ caller() }}]{% endmacro %}{% call box() %}hi{% endcall %}{% filter upper %}ab{% endfilter %}",
    "{% set x %}a{{ 1 }}{% endset %}{{ x ~ 2 ~ none ~ [1] }}{{ 'x' ~ missing }}{{ missing | default('d') }}",
    "{{ [missing] }}",
    "{{ 7 // 2 }}{{ -7 % 3 }}{{ 2 ** 10 }}{{ 1 / 4 }}{{ 'a' * 3 }}{{ [1] + [2] }}{{ 5 - 2.5 }}{{ -(3) }}",
    "{{ 4 is even }}{{ 3 is divisibleby 3 }}{{ 'A' is upper }}{{ 1 is in [1] }}{{ 2 is gt 1 }}{{ [] is sameas [] }}",
    "{% autoescape true %}{{ '<' }}{{ '<' ~ 1 }}{% endautoescape %}{{ '<b>' | escape }}{{ namespace(a=[1]).a }}",
]


@pytest.mark.parametrize("source", SAME)
def test_results_are_those_of_plain_jinja(source: str) -> None:
    plain = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    assert ChatTemplate(source).render(TALK) == plain.from_string(source).render(messages=TALK)


def test_long_conversations() -> None:
    """What is large because the user said much is not an attack."""
    long = [{"role": "user", "content": "w" * 6_000_000}]
    assert len(ChatTemplate("{% for m in messages %}{{ m.role + m.content | trim }}{% endfor %}").render(long)) > 6e6
    many = [{"role": "user", "content": "w"}] * 500
    square = (
        "{% for a in messages %}{% for b in messages %}{% if b.role == a.role %}{% endif %}{% endfor %}{% endfor %}"
    )
    assert ChatTemplate(square).render(many) == ""
