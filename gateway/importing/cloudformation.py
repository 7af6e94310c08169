"""CloudFormation: a template in YAML or JSON. Its intrinsic functions are worked out as far as the template itself knows
the answer; a resource's ARN is that of its name, which is its logical id where the template gives none."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from gateway.importing.definition import Definition, Understood, rehomed, understanding, with_roles
from streams.core.errors import ExtraMissing, ValidationError
from streams.core.scope import Scope

_NAMES = {
    "AWS::Kinesis::Stream": "Name",
    "AWS::KinesisFirehose::DeliveryStream": "DeliveryStreamName",
    "AWS::Lambda::Function": "FunctionName",
    "AWS::S3::Bucket": "BucketName",
    "AWS::IAM::Role": "RoleName",
    "AWS::KinesisAnalytics::Application": "ApplicationName",
    "AWS::KinesisAnalyticsV2::Application": "ApplicationName",
}
"""The property that is a resource's name, by its type."""

_ARNS = {
    "AWS::Kinesis::Stream": "arn:aws:kinesis:{region}:{account}:stream/{name}",
    "AWS::KinesisFirehose::DeliveryStream": "arn:aws:firehose:{region}:{account}:deliverystream/{name}",
    "AWS::Lambda::Function": "arn:aws:lambda:{region}:{account}:function:{name}",
    "AWS::S3::Bucket": "arn:aws:s3:::{name}",
    "AWS::IAM::Role": "arn:aws:iam::{account}:role/{name}",
}
_MADE = ("AWS::Kinesis::Stream", "AWS::KinesisFirehose::DeliveryStream")
"""What is made beside applications."""
_DEPTH_MAX = 64
"""Levels of references to references: a template has few, and a circle has no end."""


def understand(text: str, scope: Scope, parameters: Mapping[str, str]) -> Understood:
    """Raises `ValidationError` for what is no template."""
    template = _parse(text)
    resources = template.get("Resources")
    if not isinstance(resources, dict):
        raise ValidationError("the template has no Resources")
    reader = _Template(template, resources, scope, parameters)
    understood = Understood(notes=reader.notes)
    known: dict[str, Definition] = {}
    for identity, resource in resources.items():
        with understanding(identity):
            kind = resource.get("Type", "")
            if not reader.holds(resource.get("Condition")):
                understood.notes.append(f"{identity} ({kind}) is left out: its condition does not hold")
                continue
            properties = resource.get("Properties", {})
            if kind == "AWS::KinesisAnalytics::Application":
                known[reader.name(identity)] = _first(reader, identity, reader.value(properties))
            elif kind == "AWS::KinesisAnalyticsV2::Application":
                made = _second(reader, identity, reader.value(properties))
                if made is not None:
                    known[reader.name(identity)] = made
            elif kind == "AWS::Kinesis::Stream":
                understood.streams[reader.name(identity)] = int(reader.value(properties).get("ShardCount", 1))
            elif kind == "AWS::KinesisFirehose::DeliveryStream":
                members = rehomed(reader.value(properties), scope)
                members.pop("DeliveryStreamName", None)
                understood.delivery_streams[reader.name(identity)] = members
    for identity, resource in resources.items():
        with understanding(identity):
            kind, properties = resource.get("Type", ""), reader.value(resource.get("Properties", {}))
            if not kind.startswith(("AWS::KinesisAnalytics::", "AWS::KinesisAnalyticsV2::")):
                if kind not in _MADE and reader.holds(resource.get("Condition")):
                    understood.notes.append(f"{identity} ({kind}) is left out")
                continue
            owner = known.get(str(properties.get("ApplicationName", "")))
            if kind.endswith(("::ApplicationOutput", "::ApplicationReferenceDataSource")):
                if owner is None:
                    understood.notes.append(f"{identity} ({kind}) is left out: its application is not in the template")
                elif kind.endswith("::ApplicationOutput"):
                    owner.outputs.append(with_roles(properties["Output"], scope))
                else:
                    owner.references.append(with_roles(properties["ReferenceDataSource"], scope))
            elif not kind.endswith("::Application"):
                understood.notes.append(f"{identity} ({kind}) is left out")
    understood.applications = [rehomed_definition(one, scope) for one in known.values()]
    understood.notes = list(dict.fromkeys(reader.notes))
    return understood


def rehomed_definition(given: Definition, scope: Scope) -> Definition:
    given.inputs = rehomed(given.inputs, scope)
    given.outputs = rehomed(given.outputs, scope)
    given.references = rehomed(given.references, scope)
    return given


def _first(reader: _Template, identity: str, properties: dict[str, Any]) -> Definition:
    return Definition(
        reader.name(identity),
        str(properties.get("ApplicationCode", "")),
        properties.get("ApplicationDescription"),
        [_input(given, reader.scope) for given in properties.get("Inputs", [])],
    )


def _second(reader: _Template, identity: str, properties: dict[str, Any]) -> Definition | None:
    runtime = properties.get("RuntimeEnvironment")
    if runtime != "SQL-1_0":
        reader.notes.append(f"{identity} is left out: its runtime is {runtime}, not SQL-1_0")
        return None
    configuration = properties.get("ApplicationConfiguration", {})
    content = configuration.get("ApplicationCodeConfiguration", {}).get("CodeContent", {})
    if "TextContent" not in content:
        reader.notes.append(f"the code of {identity} is not in the template")
    sql = configuration.get("SqlApplicationConfiguration", {})
    return Definition(
        reader.name(identity),
        str(content.get("TextContent", "")),
        properties.get("ApplicationDescription"),
        [_input(given, reader.scope) for given in sql.get("Inputs", [])],
    )


def _input(given: dict[str, Any], scope: Scope) -> dict[str, Any]:
    made = with_roles(given, scope)
    if "InputParallelism" in made:
        made["InputParallelism"] = {"Count": int(made["InputParallelism"].get("Count", 1))}
    return made


class _Template:
    """Values of a template, with what refers to something else worked out."""

    def __init__(
        self, template: dict[str, Any], resources: dict[str, Any], scope: Scope, parameters: Mapping[str, str]
    ) -> None:
        self._template = template
        self._resources = resources
        self.scope = scope
        self._given = parameters
        self.notes: list[str] = []
        self._depth = 0

    def name(self, identity: str) -> str:
        """Of a resource."""
        resource = self._resources[identity]
        member = _NAMES.get(resource.get("Type", ""))
        given = None if member is None else self.value(resource.get("Properties", {}).get(member))
        return str(given) if given else identity

    def holds(self, condition: str | None) -> bool:
        if condition is None:
            return True
        return bool(self.value(self._template.get("Conditions", {}).get(condition, True)))

    def value(self, given: Any) -> Any:
        self._depth += 1
        try:
            if self._depth > _DEPTH_MAX:
                raise ValidationError("the template refers to itself")
            if isinstance(given, list):
                return [self.value(inner) for inner in given if not _is_nothing(inner)]
            if not isinstance(given, dict):
                return given
            if len(given) == 1:
                ((key, inner),) = given.items()
                if key in ("Ref", "Condition") or key.startswith("Fn::"):
                    return self._function(key, inner)
            made = {key: self.value(inner) for key, inner in given.items()}
            return {key: inner for key, inner in made.items() if not _is_nothing(inner)}
        finally:
            self._depth -= 1

    def _function(self, key: str, given: Any) -> Any:
        match key:
            case "Ref":
                return self._reference(given)
            case "Fn::GetAtt":
                identity, _, attribute = (given if isinstance(given, str) else ".".join(given)).partition(".")
                return self._attribute(identity, attribute)
            case "Fn::Sub":
                return self._substituted(given)
            case "Fn::Join":
                separator, parts = given
                return str(separator).join(str(part) for part in self.value(parts))
            case "Fn::Select":
                number, among = given
                return self.value(among)[int(self.value(number))]
            case "Fn::Split":
                return str(self.value(given[1])).split(self.value(given[0]))
            case "Fn::If":
                condition, holding, other = given
                return self.value(holding if self.holds(condition) else other)
            case "Condition":
                return self.holds(given)
            case "Fn::Equals":
                return self.value(given[0]) == self.value(given[1])
            case "Fn::Not":
                return not self.value(given[0])
            case "Fn::And":
                return all(self.value(given))
            case "Fn::Or":
                return any(self.value(given))
            case "Fn::FindInMap":
                mapping, first, second = self.value(given)
                return self._template.get("Mappings", {}).get(mapping, {}).get(first, {}).get(second)
        self.notes.append(f"{key} is not worked out")
        return f"{key}"

    def _reference(self, name: str) -> Any:
        pseudo = {
            "AWS::Region": self.scope.region,
            "AWS::AccountId": self.scope.account,
            "AWS::Partition": "aws",
            "AWS::URLSuffix": "amazonaws.com",
            "AWS::StackName": "headrace",
            "AWS::NoValue": _NOTHING,
        }
        if name in pseudo:
            return pseudo[name]
        if name in self._given:
            return self._given[name]
        parameter = self._template.get("Parameters", {}).get(name)
        if parameter is not None:
            if "Default" not in parameter:
                self.notes.append(f"parameter {name} has no value: give --parameter {name}=…")
            return parameter.get("Default", name)
        if name in self._resources:
            return self.name(name)
        self.notes.append(f"{name} is not in the template")
        return name

    def _attribute(self, identity: str, attribute: str) -> Any:
        kind = self._resources.get(identity, {}).get("Type", "")
        if attribute == "Arn" and kind in _ARNS:
            named = self.name(identity)
            return _ARNS[kind].format(region=self.scope.region, account=self.scope.account, name=named)
        if attribute != "Arn" or not kind.startswith("AWS::IAM::"):
            self.notes.append(f"{identity}.{attribute} is not worked out")
        return f"{identity}.{attribute}"

    def _substituted(self, given: Any) -> str:
        text, names = given if isinstance(given, list) else (given, {})

        def replaced(found: re.Match[str]) -> str:
            name = found[1]
            if name.startswith("!"):
                return "${" + name[1:] + "}"
            if name in names:
                return str(self.value(names[name]))
            identity, dot, attribute = name.partition(".")
            return str(self._attribute(identity, attribute) if dot else self._reference(name))

        return re.sub(r"\$\{([^}]+)\}", replaced, text)


class _Nothing:
    """AWS::NoValue: the member is not there."""


_NOTHING = _Nothing()


def _is_nothing(value: Any) -> bool:
    return value is _NOTHING or value == {"Ref": "AWS::NoValue"}


def _parse(text: str) -> dict[str, Any]:
    try:
        import yaml
    except ImportError:
        raise ExtraMissing("import", "headrace import, of CloudFormation,") from None

    class Loader(yaml.SafeLoader):
        """Knows the short forms of intrinsic functions."""

    def short(loader: Any, suffix: str, node: Any) -> dict[str, Any]:
        if isinstance(node, yaml.ScalarNode):
            value = loader.construct_scalar(node)
        elif isinstance(node, yaml.SequenceNode):
            value = loader.construct_sequence(node, deep=True)
        else:
            value = loader.construct_mapping(node, deep=True)
        return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}

    Loader.add_multi_constructor("!", short)
    try:
        found = yaml.load(text, Loader)  # a SafeLoader, with tags that only make dicts
    except yaml.YAMLError as error:
        problem = getattr(error, "problem", None) or "it does not parse"
        mark = getattr(error, "problem_mark", None)
        where = "" if mark is None else f"line {mark.line + 1}, column {mark.column + 1}: "
        raise ValidationError(f"this is neither YAML nor JSON: {where}{problem}") from error
    if not isinstance(found, dict):
        raise ValidationError("this is no template: it has no Resources")
    return found
