"""HCL: resources of Terraform configuration, with what refers to something else worked out as far as the files know it.

Variables have their defaults (or what is given), locals and attributes of resources are looked up, ``file(…)`` is read.
Anything else that is computed stays as it is written, and is noted.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gateway.importing.definition import Understood
from gateway.importing.terraform import arn_of, understand
from streams.core.errors import ExtraMissing, ValidationError
from streams.core.scope import Scope

_HEREDOC = re.compile(r"<<(?P<cut>-?)(?P<mark>\w+)\n(?P<body>.*?)\n?[ \t]*(?P=mark)", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\"}
_DEPTH_MAX = 32
"""Levels of references to references: a configuration has few, and a circle has no end."""


def understand_folder(paths: list[Path], scope: Scope, variables: Mapping[str, str]) -> Understood:
    """The files of one module. Raises `ValidationError` for what is no HCL."""
    module = _Module([_load(path) for path in paths], paths[0].parent, scope, variables)
    understood = understand(module.resources(), scope)
    understood.notes[:0] = module.notes
    return understood


def _load(path: Path) -> dict[str, Any]:
    try:
        import hcl2
    except ImportError:
        raise ExtraMissing("import", "headrace import, of HCL,") from None
    try:
        return hcl2.loads(path.read_text() + "\n")
    except Exception as error:  # the parser's own errors share no class
        raise ValidationError(f"{path} is not HCL: {str(error).splitlines()[0]}") from error


class _Module:
    def __init__(self, files: list[dict[str, Any]], folder: Path, scope: Scope, variables: Mapping[str, str]) -> None:
        self._folder = folder
        self._scope = scope
        self._given = variables
        self.notes: list[str] = []
        self._variables: dict[str, Any] = {}
        self._locals: dict[str, Any] = {}
        self._resources: dict[tuple[str, str], dict[str, Any]] = {}
        for file in files:
            for block in file.get("variable", []):
                for name, body in block.items():
                    self._variables[_bare(name)] = body
            for block in file.get("locals", []):
                self._locals |= block
            for block in file.get("resource", []):
                for kind, named in block.items():
                    for name, body in named.items():
                        if name != "__is_block__":
                            self._resources[_bare(kind), _bare(name)] = body

    def resources(self) -> dict[tuple[str, str], dict[str, Any]]:
        return {key: self._value(body, 0) for key, body in self._resources.items()}

    def _value(self, given: Any, depth: int) -> Any:
        if depth > _DEPTH_MAX:
            raise ValidationError("the configuration refers to itself")
        if isinstance(given, dict):
            return {key: self._value(inner, depth) for key, inner in given.items() if key != "__is_block__"}
        if isinstance(given, list):
            return [self._value(inner, depth) for inner in given]
        if not isinstance(given, str):
            return given
        if given.startswith("${") and given.endswith("}"):
            return self._expression(given[2:-1].strip(), depth)
        return self._template(_text(given), depth)

    def _template(self, text: str, depth: int) -> str:
        def replaced(found: re.Match[str]) -> str:
            return "${" if found[0] == "$${" else str(self._expression(found[1].strip(), depth))

        return re.sub(r"\$\$\{|\$\{([^{}]*)\}", replaced, text)

    def _expression(self, text: str, depth: int) -> Any:
        if text.startswith('"') and text.endswith('"'):
            return self._template(_text(text), depth + 1)
        parts = text.split(".")
        match parts:
            case ["var", name]:
                if name in self._given:
                    return self._given[name]
                if "default" in self._variables.get(name, {}):
                    return self._value(self._variables[name]["default"], depth + 1)
                self.notes.append(f"variable {name} has no value: give --parameter {name}=…")
                return name
            case ["local", name] if name in self._locals:
                return self._value(self._locals[name], depth + 1)
            case ["path", _]:
                return str(self._folder)
            case ["data", "aws_caller_identity", _, "account_id"]:
                return self._scope.account
            case ["data", "aws_region", _, _]:
                return self._scope.region
            case ["data", "aws_partition", _, _]:
                return "aws"
            case [kind, name, attribute] if (kind, name) in self._resources:
                found = self._value(self._resources[kind, name], depth + 1)
                known = arn_of(kind, name, found, self._scope) if attribute == "arn" else found.get(attribute)
                if known is not None:
                    return known
        called = re.fullmatch(r'file\((".*")\)', text)
        if called:
            path = self._folder / self._template(_text(called[1]), depth + 1)
            try:
                return path.read_text()
            except OSError as error:
                raise ValidationError(f"{path} cannot be read: {error.strerror}") from error
        self.notes.append(f"{text[:80]} is not worked out")
        return text


def _bare(name: str) -> str:
    return name.strip('"')


def _text(given: str) -> str:
    """A string or a heredoc as it is meant, its interpolations left."""
    if len(given) < 2 or not (given.startswith('"') and given.endswith('"')):
        return given
    inner = given[1:-1]
    heredoc = _HEREDOC.fullmatch(inner)
    if heredoc:
        return (textwrap.dedent(heredoc["body"]) if heredoc["cut"] else heredoc["body"]) + "\n"
    return re.sub(r'\\([ntr"\\])', lambda found: _ESCAPES[found[1]], inner)
