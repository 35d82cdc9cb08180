"""Chat templates: real ones give what plain Jinja gives, hostile ones give an error and nothing else."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import jinja2
import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment

from executorch_ggml.errors import FormatError, InvalidArgumentError, UnsupportedError
from executorch_ggml.llm.text.chat import ChatTemplate, select_template
from executorch_ggml.llm.text.tokenizer import Tokenizer

USER = {"role": "user", "content": "What's <2+2>? \u00fc"}
TALK = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello!"},
    USER,
]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "f",
            "description": "d",
            "parameters": {"type": "object", "properties": {"x": {"type": "integer", "description": "n"}}},
        },
    }
]


def plain_jinja(source: str, **variables: Any) -> str | None:
    """What Hugging Face's apply_chat_template renders; None where it fails."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )

    def fail(message: str) -> None:
        raise jinja2.TemplateError(message)

    def to_json(value: Any, ensure_ascii: bool = False, indent: int | None = None, **options: Any) -> str:
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, **options)

    environment.filters["tojson"] = to_json
    environment.globals |= {"raise_exception": fail, "strftime_now": time.strftime}
    source = re.sub(r"{%(-?) *(end)?generation *(-?)%}", r"{%\1 if true \3%}{%\1 endif \3%}", source)
    try:
        return environment.from_string(source).render(
            bos_token="<s>", eos_token="</s>", add_generation_prompt=True, documents=None, **variables
        )
    except Exception:
        return None


def test_templates_of_real_models(models_dir: Path) -> None:
    compared = refused = 0
    paths = sorted((models_dir / "templates").glob("*.jinja"))
    for path in paths:
        source = path.read_text(encoding="utf-8")
        template = ChatTemplate(source, bos_token="<s>", eos_token="</s>", name=path.name)
        for messages in (TALK, TALK[1:], [USER]):
            for tools in (None, TOOLS):
                expected = plain_jinja(source, messages=messages, tools=tools)
                if expected is None:
                    with pytest.raises((FormatError, InvalidArgumentError)):
                        template.render(messages, tools=tools)
                    refused += 1
                    continue
                assert template.render(messages, tools=tools) == expected, path.name
                compared += 1
    assert (len(paths), compared, refused) == (68, 388, 20)  # of the pinned archive


HOSTILE = {
    "class": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "globals": "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "self": "{{ self.__init__.__globals__ }}",
    "namespace": "{{ namespace.__init__.__globals__ }}",
    "macro": "{% macro m() %}{% endmacro %}{{ m.__init__.__globals__ }}",
    "function": "{{ raise_exception.__globals__['__builtins__'] }}",
    "strftime": "{{ strftime_now.__globals__.time.sleep(9) }}",
    "attr": "{{ ''|attr('__class__') }}",
    "format": "{{ '{0.__class__}'.format(1) }}",
    "format width": "{{ '{:>999999999}'.format(1) }}",
    "format_map": "{{ '{a.__class__}'.format_map({'a': 1}) }}",
    "percent": "{{ '%999999999d' % 1 }}",
    "lipsum": "{{ lipsum.__globals__ }}",
    "include": "{% include '/etc/passwd' %}",
    "import": "{% import 'os' as os %}{{ os.getcwd() }}",
    "extends": "{% extends '/etc/passwd' %}",
    "mutate list": "{% set _ = messages.append(1) %}",
    "mutate dict": "{% set _ = messages[0].update({'role': 'x'}) %}",
    "repeat text": "{{ 'a' * 10000000000 }}",
    "repeat list": "{% set x = [0] * 10000000000 %}",
    "power": "{{ 9 ** 99999999 }}",
    "squares": "{% set n = namespace(x=7) %}{% for i in range(60) %}{% set n.x = n.x * n.x %}{% endfor %}",
    "double ~": "{% set n = namespace(s='ab') %}{% for i in range(60) %}{% set n.s = n.s ~ n.s %}{% endfor %}",
    "double +": "{% set n = namespace(s='ab') %}{% for i in range(60) %}{% set n.s = n.s + n.s %}{% endfor %}",
    "double list": "{% set n = namespace(s=[1]) %}{% for i in range(60) %}{% set n.s = n.s + n.s %}{% endfor %}",
    "double set": "{% set s %}ab{% endset %}" + "{% set s %}{{ s }}{{ s }}{% endset %}" * 60,
    "loops": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "range": "{% for a in range(999999999999) %}{% endfor %}",
    "recursion": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "tree": "{% macro f(n) %}{% if n %}{{ f(n-1) }}{{ f(n-1) }}{% endif %}{% endmacro %}{{ f(60) }}",
    "recursive loop": "{% for a in [[1]] * 999 recursive %}{{ loop([[1]] * 999) }}{% endfor %}",
    "replace": "{% set x = 'a' * 100000 %}{{ x.replace('a', x) }}",
    "replace filter": "{% set x = 'a' * 100000 %}{{ x|replace('a', x) }}",
    "join": "{% set x = 'a' * 100000 %}{{ x.join([x] * 1000) }}",
    "join filter": "{% set x = 'a' * 100000 %}{{ ([x] * 1000)|join(x) }}",
    "join text": "{% set x = 'a' * 100000 %}{{ x|join(x) }}",
    "center": "{{ 'a'|center(999999999) }}",
    "ljust": "{{ 'a'.ljust(999999999) }}",
    "indent": "{{ 'a'|indent(999999999) }}",
    "json indent": "{{ [1]|tojson(indent=999999999) }}",
    "batch": "{{ [1]|batch(999999999, 0)|list }}",
    "slice filter": "{{ [1]|slice(999999999)|list }}",
    "copies": "{% set x = range(99999)|list %}{{ ([x] * 99999)|map('list')|list }}",
    "slices": "{% set x = 'a' * 1000000 %}{% for i in range(99999) %}{% set y = x[1:] %}{% endfor %}",
    "methods": "{% set x = 'a' * 1000000 %}{% for i in range(99999) %}{% set y = x.upper() %}{% endfor %}",
    "output": "{% set x = 'a' * 1000000 %}{% for i in range(99999) %}{{ x }}{% endfor %}",
    "sort": "{% set x = range(99999)|list %}{% for i in range(999) %}{% set y = x|sort %}{% endfor %}",
    "parentheses": "{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}",
    "nesting": "{% if 1 %}" * 500 + "{% endif %}" * 500,
    "long": "{# #}" * 300000,
    "syntax": "{% for %}",
    "unknown filter": "{{ 1|nothing }}",
    "undefined call": "{{ nothing() }}",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_templates(name: str) -> None:
    messages = [dict(message) for message in TALK]
    start = time.process_time()
    with pytest.raises(FormatError):
        ChatTemplate(HOSTILE[name]).render(messages)
    assert time.process_time() - start < 10
    assert messages == TALK


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''['__class__'] }}",
        "{{ messages|map(attribute='__class__')|join }}",
        "{{ (messages|map('upper')).gi_frame }}",
        "{{ joiner.__init__ }}",
        "{{ raise_exception.__closure__ }}",
    ],
)
def test_hidden_attributes_are_undefined(source: str) -> None:
    try:
        text = ChatTemplate(source).render(TALK)
    except FormatError:
        return
    assert text in ("", "Undefined")


def test_what_templates_do_use() -> None:
    render = ChatTemplate(
        "{%- set n = namespace(i=0) -%}{%- for m in messages[1:] if m.role != 'x' -%}{%- set n.i = n.i + 1 -%}"
        "{{ loop.index }}{{ '/' ~ loop.length }}{{ m['content'] | trim | upper }}"
        "{%- if loop.last %}!{% else %}, {% endif %}{%- endfor %} {{ n.i }}{{ '{}-{a}'.format(1, a=2) }}"
        "{% generation %}g{% endgeneration %}{{ {'a': '\u00fc'} | tojson }}{% if x is defined %}{{ x }}{% endif %}"
    ).render
    assert render(TALK) == '1/3HI, 2/3HELLO!, 3/3WHAT\'S <2+2>? \u00dc! 31-2g{"a": "\u00fc"}'
    assert render(TALK[:2], x="y").endswith("y")


def test_refusals_of_a_template() -> None:
    with pytest.raises(InvalidArgumentError, match="no systems here"):
        ChatTemplate("{{ raise_exception('no systems here') }}").render(TALK)


@pytest.mark.parametrize("message", [{}, {"role": 1, "content": ""}, {"role": "user"}, "user"])
def test_malformed_messages(message: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=r"messages\[1\]"):
        ChatTemplate("x").render([USER, message])


def test_named_templates() -> None:
    metadata = {"tokenizer.chat_template": "A", "tokenizer.chat_template.rag": "B", "tokenizer.chat_templates": ["rag"]}
    templates = select_template(metadata)
    assert templates == {"default": "A", "rag": "B"}
    pick = {"bos_token": "", "eos_token": ""}
    assert ChatTemplate.select(templates, "rag", **pick).render(TALK) == "B"
    assert ChatTemplate.select(templates, "{{ 1 + 1 }}", **pick).render(TALK) == "2"
    with pytest.raises(InvalidArgumentError, match=r"did you mean 'rag'"):
        ChatTemplate.select(templates, "rags", **pick)
    with pytest.raises(UnsupportedError, match=r"tokenizer\.chat_template"):
        ChatTemplate.select({}, "default", **pick)


def test_encoding_a_chat(bpe_metadata: dict[str, Any]) -> None:
    bpe_metadata["tokenizer.chat_template"] = (
        "{% for m in messages %}{{ m.content }}<|end|>{% endfor %}{% if add_generation_prompt %}the{% endif %}"
    )
    tokenizer = Tokenizer.from_metadata(bpe_metadata)
    ids = tokenizer.vocabulary.ids
    assert tokenizer.encode_chat([{"role": "user", "content": "and"}]) == [ids["and"], ids["<|end|>"], ids["the"]]
    assert (
        tokenizer.encode_chat([{"role": "user", "content": "and"}], add_generation_prompt=False)[-1] == ids["<|end|>"]
    )
    del bpe_metadata["tokenizer.chat_template"]
    with pytest.raises(UnsupportedError):
        Tokenizer.from_metadata(bpe_metadata).encode_chat([USER])
