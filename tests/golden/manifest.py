"""Writes manifest.json: what the cases are that the other scripts make."""

import json
import pathlib


def add(name, entry):
    """Puts a case in place of an older one of its name, or last."""
    file = pathlib.Path(__file__).with_suffix(".json")
    cases = json.loads(file.read_text())
    file.write_text(text(cases | {name: entry}))


def text(cases):
    """One tensor a line."""
    def lines(mapping, indent):
        rows = ",\n".join(f"{indent}  {json.dumps(k)}: {json.dumps(v)}" for k, v in mapping.items())
        return f"{{\n{rows}\n{indent}}}"

    def case(entry):
        head = [f"    {json.dumps(k)}: {json.dumps(v)}" for k, v in entry.items() if k != "tensors"]
        return "{\n" + ",\n".join(head + ['    "tensors": ' + lines(entry["tensors"], "    ")]) + "\n  }"

    return "{\n" + ",\n".join(f"  {json.dumps(n)}: {case(c)}" for n, c in cases.items()) + "\n}\n"
