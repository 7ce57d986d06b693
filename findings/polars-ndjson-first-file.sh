#!/usr/bin/env bash
# Polars 2.1: `infer_schema_length=None` looks at every line, but of the first file only; a nested field that first
# appears in the second file is dropped from all rows without a word.
#
# The parameter's description promises the schema of all rows. With one file that is so. With a list of files, or a glob,
# the schema comes from the first one, and what it does not have inside a struct is left out: the value 1.5 below is gone,
# no error, no warning, not even a null column. The same two files concatenated keep it. Whoever reads a folder of logs,
# of which the oldest has fewer fields, loses the newer numbers.
#
# Versions: polars 2.1.0, CPython 3.12, Linux x86-64. Seen on 27 November 2026:
#   two files:       [{'job': 'a', 'times': {}}, {'job': 'b', 'times': {}}]
#   as one:          [{'job': 'a', 'times': {'training': None}}, {'job': 'b', 'times': {'training': 1.5}}]
#   the other order: [{'job': 'b', 'times': {'training': 1.5}}, {'job': 'a', 'times': {'training': None}}]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
${PYTHON:-python3} -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "polars==${POLARS:-2.1.0}"
cd "$folder"
echo '{"job":"a","times":{}}' > 1.jsonl
echo '{"job":"b","times":{"training":1.5}}' > 2.jsonl
cat 1.jsonl 2.jsonl > both.jsonl
venv/bin/python - <<'PYTHON' | tee seen
import polars


def show(what, files):
    print(f"{what:16}", polars.scan_ndjson(files, infer_schema_length=None).collect().to_dicts())


show("two files:", ["1.jsonl", "2.jsonl"])
show("as one:", "both.jsonl")
show("the other order:", ["2.jsonl", "1.jsonl"])
PYTHON
diff - seen <<'EXPECTED'
two files:       [{'job': 'a', 'times': {}}, {'job': 'b', 'times': {}}]
as one:          [{'job': 'a', 'times': {'training': None}}, {'job': 'b', 'times': {'training': 1.5}}]
the other order: [{'job': 'b', 'times': {'training': 1.5}}, {'job': 'a', 'times': {'training': None}}]
EXPECTED
