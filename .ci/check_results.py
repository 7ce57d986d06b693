"""Reads smoke runs' tables and records back, with the tools that users have, and checks them.

usage: check_results.py ROSETTA RESULTS HISTORIC_RESULTS

ROSETTA_CI_MAY_SKIP names libraries whose interpreter a machine may lack, as "CNTK,Chainer".
"""

import glob
import json
import os
import subprocess
import sys

import duckdb
import pandas
import polars

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "python"))
import rosetta_results  # noqa: E402

ROSETTA, RESULTS, HISTORIC_RESULTS = sys.argv[1:]
TRAINED = {"PyTorch", "JAX (Flax)", "Keras (JAX)", "candle", "NumPy (float64 reference)", "Chainer", "CNTK"}
MAY_SKIP = set(filter(None, os.environ.get("ROSETTA_CI_MAY_SKIP", "").split(",")))
HISTORIC = {"MXNet 0.12", "Gluon 0.12", "Caffe2", "Lasagne(Theano)", "TensorFlow 1.4", "Keras 2.2 (Theano)"}
TRANSFORMERS = TRAINED - {"CNTK"}
EXPECTED = {"cnn": TRAINED, "rnn": TRAINED, "resnet50": TRAINED | {"ONNX Runtime"}, "transformer": TRANSFORMERS}


def rosetta(*arguments, results=RESULTS):
    command = [ROSETTA, "--results", results, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def check(claim, is_true):
    if not is_true:
        sys.exit(f"failed: {claim}")
    print(f"ok: {claim}")


def number_of(query):
    """Returns the single number that a query yields."""
    return duckdb.sql(query).fetchall()[0][0]


def markdown_rows(text):
    """Returns the cells of each Markdown table, by its heading."""
    tables = {}
    for block in text.split("### ")[1:]:
        heading, *lines = block.splitlines()
        rows = [[c.strip() for c in line.strip("|").split("|")] for line in lines if line.startswith("|")]
        tables[heading] = [dict(zip(rows[0], row)) for row in rows[2:]]
    return tables


tables = {table["experiment"]: table for table in json.loads(rosetta("table", "--json"))}
markdown = markdown_rows(rosetta("table", "--markdown"))
for experiment, libraries in EXPECTED.items():
    table = tables[experiment]
    rows = {row["library"]: row for row in table["rows"]}
    check(f"{experiment} has a row for each of {len(libraries)} libraries", set(rows) == libraries)
    number = "images_per_s_cpu" if experiment == "resnet50" else "training_time_s"
    missing = {name: row for name, row in rows.items() if row[number] is None and name not in MAY_SKIP}
    check(f"{experiment}: every row has its {number} {missing or ''}", not missing)
    cells = markdown[table["title"]]
    check(f"{experiment}: Markdown has the same rows", [c["DL Library"] for c in cells] == [r["library"] for r in table["rows"]])
    if experiment != "resnet50":
        shown = {c["DL Library"]: c["Test Accuracy (%)"].split()[0] for c in cells}
        accuracies = {name: row["test_accuracy_percent"] for name, row in rows.items() if row[number]}
        close = [abs(float(shown[name]) - accuracy) < 0.06 for name, accuracy in accuracies.items()]
        check(f"{experiment}: Markdown has the same accuracies", all(close))
        times = [row["training_time_s"] for row in table["rows"] if row[number]]
        check(f"{experiment}: rows are sorted by training time", times == sorted(times))

pattern = f"{RESULTS}/runs/*/records.jsonl"
records = pandas.read_json(glob.glob(pattern)[0], lines=True)
jobs = sum(len(libraries) for libraries in EXPECTED.values())
check(f"pandas reads {jobs} records", len(records) == jobs)
check("polars reads as many", len(polars.read_ndjson(pattern, infer_schema_length=None)) == jobs)
query = f"select count(*) from read_json_auto('{pattern}', sample_size=-1, union_by_name=true) where outcome.status = 'ok'"
expected = sum(len(libraries - MAY_SKIP) for libraries in EXPECTED.values())
check(f"duckdb finds {expected} of them ok", number_of(query) >= expected)
query = f"select max(abs(score.accuracy - score.accuracy_reported)) from read_json_auto('{pattern}', sample_size=-1, union_by_name=true)"
check("each framework's own accuracy is the host's", number_of(query) < 1e-6)
query = f"select count(distinct inputs.weights_digest || inputs.order_digest) from read_json_auto('{pattern}', sample_size=-1, union_by_name=true) where experiment = 'cnn'"
check("every cnn began with the same weights and saw the same batches", number_of(query) == 1)

frame = rosetta_results.load(RESULTS)
for experiment, table in tables.items():
    ours = rosetta_results.table(frame, experiment)
    number, column = ("images_per_s_cpu", "times.predict_rate") if experiment == "resnet50" else ("training_time_s", "times.training")
    theirs = {row["library"]: row[number] for row in table["rows"] if row[number] is not None}
    found = dict(zip(ours["library"], ours[column]))
    check(f"{experiment}: rosetta_results has the same rows", set(found) == set(theirs))
    check(f"{experiment}: and the same numbers", all(abs(found[name] / theirs[name] - 1) < 1e-8 for name in theirs))
    check(f"{experiment}: Jupyter draws it", ours._repr_html_().count("<tr") == len(theirs) + 1)

for table in json.loads(rosetta("table", "--json", results=HISTORIC_RESULTS)):
    rows = {row["library"]: row for row in table["rows"]}
    name = table["experiment"]
    if name == "cnn":
        check(f"cnn ran in {len(HISTORIC)} frameworks of 2017", HISTORIC <= set(rows))
    number = "images_per_s_cpu" if name == "resnet50" else "training_time_s"
    missing = [library for library, row in rows.items() if row[number] is None and library not in MAY_SKIP]
    check(f"{name}: every historic row has its {number} {missing or ''}", not missing)
    proved = {"exact", "close", "variant"}
    unproved = [library for library, row in rows.items() if row["equivalence"] not in proved and library not in MAY_SKIP]
    check(f"{name}: every historic row is proved {unproved or ''}", not unproved)
