"""Parameters checked against a server's JSON schema, without the parts that a hostile schema could abuse."""

from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

from jsonschema import Draft202012Validator, SchemaError, ValidationError  # type: ignore[import-untyped]  # no types
from jsonschema.validators import extend  # type: ignore[import-untyped]  # no types
from referencing import Registry
from referencing.exceptions import Unresolvable

from tools.catalogue import InvalidCall
from tools.mcp.listing import ListedTool, plain_line, signature

MOST_CHECKS = 50_000
"""The most keywords that a check of one call applies."""

_MOST_FAULTS = 5

# Patterns can take for ever, as can items that are compared with each other. The server checks them anyway.
_UNCHECKED = (
    *("pattern", "patternProperties", "propertyNames", "unevaluatedProperties", "unevaluatedItems"),
    *("uniqueItems", "$dynamicRef", "format", "contains"),
)


class EndlessSchema(Exception):
    """A schema refers to itself so often that a check would not end."""


def check_parameters(tool: ListedTool, params: Mapping[str, Any]) -> None:
    """Raise InvalidCall unless parameters fit a tool's schema. A schema that is none checks nothing."""
    schema = dict(tool.schema)
    try:
        Draft202012Validator.check_schema(schema)
        # References to addresses would be fetched without a registry of our own.
        validator = _validator()(schema, registry=Registry())
        faults = list(islice(validator.iter_errors(dict(params)), _MOST_FAULTS))
    except (SchemaError, Unresolvable, EndlessSchema, RecursionError):
        return
    if faults:
        words = "; ".join(_in_words(fault) for fault in faults)
        raise InvalidCall(f"{tool.name}: {words}. It takes {signature(schema)}")


def _validator() -> Any:
    """Return the class of a validator that applies a limited number of keywords."""
    left = MOST_CHECKS

    def counted(check: Callable[..., Any]) -> Callable[..., Any]:
        def limited(validator: Any, value: Any, instance: Any, schema: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                raise EndlessSchema
            return check(validator, value, instance, schema)

        return limited

    def additional(validator: Any, allowed: Any, instance: Any, schema: Any) -> Any:
        # The original would match the patterns.
        return () if "patternProperties" in schema else check_additional(validator, allowed, instance, schema)

    keywords = Draft202012Validator.VALIDATORS
    check_additional = keywords["additionalProperties"]
    checks = {**keywords, "additionalProperties": additional}
    unchecked: dict[str, Any] = dict.fromkeys(_UNCHECKED, lambda *_: ())
    return extend(Draft202012Validator, {name: counted(check) for name, check in checks.items()} | unchecked)


def _in_words(fault: ValidationError) -> str:
    place = plain_line(".".join(map(str, fault.absolute_path)), 100)
    return ": ".join(filter(None, (place, plain_line(fault.message))))
