"""The part of JSON Schema that the OpenAPI document uses. An unknown keyword is an error, so that
nothing passes unseen."""
TYPES = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool,
         "null": type(None)}
SAID = {"description", "readOnly", "writeOnly", "type", "enum", "anyOf", "properties", "required",
        "items", "additionalProperties", "minimum", "maximum", "default", "examples"}


class Invalid(AssertionError):
    pass


def check(fine, value, schema):
    if not fine:
        raise Invalid(f"{value!r} is not {schema}")


def valid(value, schema):
    try:
        validate(value, schema)
    except Invalid:
        return False
    return True


def validate(value, schema):
    unknown = {key for key in schema if key not in SAID and not key.startswith("x-")}
    assert not unknown, unknown
    if "anyOf" in schema:
        check(any(valid(value, one) for one in schema["anyOf"]), value, schema)
    if "enum" in schema:
        check(value in schema["enum"], value, schema)
    kind = schema.get("type")
    if kind:
        check(isinstance(value, TYPES[kind]) and isinstance(value, bool) == (kind == "boolean"),
              value, schema)
    if kind == "integer":
        check(schema.get("minimum", value) <= value <= schema.get("maximum", value), value, schema)
    if kind == "array":
        for one in value:
            validate(one, schema["items"])
    if kind == "object":
        check(set(schema.get("required", ())) <= set(value), value, schema)
        for name, one in value.items():
            check(name in schema["properties"] or schema.get("additionalProperties", True), name,
                  schema)
            validate(one, schema["properties"].get(name, {}))
