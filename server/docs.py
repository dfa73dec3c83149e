"""Renders the OpenAPI description as HTML that loads nothing from other hosts.

Swagger UI and Redoc are at least a megabyte of JavaScript each, to be loaded from another host or
shipped with the server. The operations of this service need no more than this.
"""

import json
import re
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

Members = Mapping[str, Any]


def render_description(description: Members) -> str:
    """Return an OpenAPI document as HTML: its operations, then its schemas."""
    operations = [
        (path, method, operation, members.get("parameters", []))
        for path, members in description["paths"].items()
        for method, operation in members.items()
        if method != "parameters"
    ]
    contents = "".join(
        f'<li><a href="#{_anchor(path, method)}"><b>{method.upper()}</b> {escape(path)}</a></li>'
        for path, method, _, _ in operations
    )
    schemas = "".join(
        f'<section id="{escape(name)}"><h3>{escape(name)}</h3>{_code(schema)}</section>'
        for name, schema in description["components"]["schemas"].items()
    )
    return (
        f"<p>{_marked(description['info']['description'])}</p>"
        f'<nav aria-label="Operations"><ul class="operations">{contents}</ul></nav>'
        + "".join(_operation(*operation) for operation in operations)
        + f"<h2>Schemas</h2>{schemas}"
    )


def _operation(path: str, method: str, operation: Members, shared: list[Members]) -> str:
    parts = [
        f'<article class="card" id="{_anchor(path, method)}">',
        f"<h2><code>{method.upper()} {escape(path)}</code></h2>",
        f"<p>{_marked(operation['summary'])}</p>",
        f"<p>{_marked(operation.get('description', ''))}</p>",
    ]
    if parameters := [*shared, *operation.get("parameters", [])]:
        rows = [
            (
                f"<code>{escape(one['name'])}</code>",
                escape(one["in"]),
                f"<code>{escape(_kind(one['schema']))}</code>",
                _marked(one.get("description", "")),
            )
            for one in parameters
        ]
        parts.append(_table(("Parameter", "In", "Value", ""), rows))
    if body := operation.get("requestBody"):
        bodies = [
            (f"<code>{escape(kind)}</code>", _schema(media["schema"]))
            for kind, media in body["content"].items()
        ]
        parts.append(_table(("Body", "Schema"), bodies))
        for kind, media in body["content"].items():
            parts += [_example(kind, value) for value in _examples(media)]
    answers = []
    for status, response in operation["responses"].items():
        kinds = "<br>".join(
            f"<code>{escape(kind)}</code>: {_schema(media['schema'])}"
            for kind, media in response["content"].items()
        )
        answers.append((f"<b>{status}</b>", _marked(response["description"]), kinds))
    parts.append(_table(("Status", "When", "Answer"), answers))
    return "".join([*parts, "</article>"])


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    heads = "".join(f'<th scope="col">{name}</th>' for name in head)
    lines = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    # It may be wider than a phone; tabindex allows scrolling it with the keyboard.
    return (
        f'<div class="scrolled" tabindex="0"><table><thead><tr>{heads}</tr></thead>'
        f"<tbody>{lines}</tbody></table></div>"
    )


def _examples(media: Members) -> list[Any]:
    named = [example["value"] for example in media.get("examples", {}).values()]
    return named + ([media["example"]] if "example" in media else [])


def _example(kind: str, value: Any) -> str:
    return f"<p>As <code>{escape(kind)}</code>:</p>{_code(value)}"


def _code(value: Any) -> str:
    return f'<pre tabindex="0"><code>{escape(json.dumps(value, indent=2))}</code></pre>'


def _schema(schema: Members) -> str:
    """Return a link to a named schema, or a short description of another one."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f'<a href="#{escape(name)}">{escape(name)}</a>'
    return f"<code>{escape(_kind(schema))}</code>"


def _kind(schema: Members) -> str:
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if "const" in schema:
        return str(schema["const"])
    if "oneOf" in schema:
        return " or ".join(", ".join(one["properties"]) for one in schema["oneOf"])
    return str(schema.get("format", schema.get("type", "any")))


def _anchor(path: str, method: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", f"{method}{path}").strip("-")


def _marked(text: str) -> str:
    """Return text as HTML, with text in backticks as code."""
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", escape(text))
