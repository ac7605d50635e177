"""The rows of the server as `musterctl schema` prints them, and a check of values against the part
of JSON Schema (draft 2020-12) that it uses."""
import functools
import json
import os
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
MUSTERD = pathlib.Path(os.environ.get("MUSTERD", ROOT / "build/release/musterd")).resolve()
MUSTERCTL = pathlib.Path(os.environ.get("MUSTERCTL", MUSTERD.parent / "musterctl")).resolve()
TYPES = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool}
KNOWN = {"type", "properties", "required", "additionalProperties", "items", "maxItems", "enum",
         "anyOf", "minimum", "maximum", "description", "title", "$schema"}


@functools.lru_cache
def schema():
    return json.loads(subprocess.run([MUSTERCTL, "schema"], capture_output=True, check=True).stdout)


def part(name):
    """The rows of one kind by their names."""
    return schema()["properties"][name]["properties"]


def joined(words, groups):
    """Words of a command as musterctl takes them: the hyphen of a group's name may be a space."""
    first = "-".join(words[:2])
    return [first, *words[2:]] if first in groups else words


def wrong(value, rule, at="$"):
    """What is wrong with a value, as a list of sentences."""
    if "anyOf" in rule:
        return min((wrong(value, one, at) for one in rule["anyOf"]), key=len)
    if "enum" in rule:
        return [] if value in rule["enum"] else [f"{at}: {value!r} is none of {rule['enum']}"]
    kind = TYPES[rule["type"]]
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        return [f"{at}: {value!r} is no {rule['type']}"]
    if kind is str and value.startswith("1970-01-01T"):
        return [f"{at}: {value!r} is no time: it is left out"]
    found = []
    if kind is dict:
        known = rule["properties"]
        found += [f"{at}: {name} is missing" for name in rule["required"] if name not in value]
        found += [f"{at}: {name} is not declared" for name in value if name not in known]
        for name in value.keys() & known.keys():
            found += wrong(value[name], known[name], f"{at}.{name}")
    if kind is list:
        if len(value) > rule.get("maxItems", len(value)):
            found.append(f"{at}: {len(value)} items")
        for i, one in enumerate(value):
            found += wrong(one, rule["items"], f"{at}[{i}]")
    return found


def command_of(args):
    """The row of a command line."""
    commands = part("commands")
    words = [str(word) for word in args if not str(word).startswith("--")]
    return commands.get(" ".join(words[:2])) or commands[words[0]]


def malformed(rule, at="$"):
    """Where something in a schema is no JSON Schema of the part that wrong() knows."""
    found = [f"{at}.{key}" for key in rule if key not in KNOWN and not key.startswith("x-")]
    if not {"type", "enum", "anyOf"} & rule.keys() or rule.get("type", "object") not in TYPES:
        found.append(f"{at}: no type")
    if rule.get("type") == "object":
        found += [f"{at}: {name} is required, but not there" for name in rule["required"]
                  if name not in rule["properties"]]
        for name, one in rule["properties"].items():
            found += malformed(one, f"{at}.{name}")
    for one in rule.get("anyOf", []) + ([rule["items"]] if rule.get("type") == "array" else []):
        found += malformed(one, f"{at}[]")
    return found
