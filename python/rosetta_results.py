"""The results of rosetta as a pandas DataFrame: one row for each record, one column for each field.

Copy this file beside your notebook, or put its folder on the path; it needs pandas alone.

    import rosetta_results
    frame = rosetta_results.load("results")
    frame[frame.ok].groupby(["experiment", "title"])["times.training"].median()
    rosetta_results.table(frame, "cnn")     # as rosetta prints it, drawn by Jupyter
"""

import json
import pathlib

import pandas

__all__ = ["load", "table"]

# Lists of a record that become columns of their own, by the names in them.
NAMED = {"facts": "fact", "metrics": "metric"}


def load(results="results"):
    """Return every record below RESULTS, the folder of a project or one run's, oldest first.

    Nested fields have dotted names: `times.training`, `score.accuracy`, `cost.peak_rss_bytes`. Facts and metrics become
    `fact.NAME` and `metric.NAME`; `epochs`, `marks` and `env.packages` stay lists. `ok` and `tainted` are added. A line that
    is torn is left out, and so are records of a newer format than this reads.
    """
    root = pathlib.Path(results)
    files = sorted(root.glob("runs/*/records.jsonl")) or sorted(root.glob("records.jsonl"))
    if not files:
        raise FileNotFoundError(f"no records.jsonl below {root.resolve()}/runs: is it the results folder of a project?")
    rows, seen = [], set()
    for file in files:
        for line in file.read_text(encoding="utf-8").splitlines():
            try:
                record = json.loads(line)
            except json.JSONDecodeError:
                continue
            name = (record.get("run"), record.get("job"))
            if record.get("record") == 1 and name not in seen:
                seen.add(name)
                rows.append(_row(record))
    frame = pandas.DataFrame(rows)
    frame["started"] = pandas.to_datetime(frame["started"], utc=True)
    return frame.sort_values("started", kind="stable", ignore_index=True)


def _row(record):
    """Return a record without nested objects."""
    row = {}
    for field, value in record.items():
        if isinstance(value, dict):
            row.update({f"{field}.{name}": inner for name, inner in value.items()})
        elif field in NAMED:
            row.update({f"{NAMED[field]}.{one['name']}": one["value"] for one in value})
        else:
            row[field] = value
    row["ok"] = record["outcome"]["status"] == "ok"
    row["tainted"] = any(mark.startswith("tainted") for mark in record["marks"])
    return row


def table(frame, experiment, profile=None):
    """Return the newest good result of each target and device: medians over the repeats of its run, fastest first.

    Good is ok before not ok, and undisturbed before tainted, as in `rosetta table`.
    """
    rows = frame[(frame.experiment == experiment) & frame["outcome.status"].isin(["ok", "check_failed"])]
    if rows.empty:
        known = ", ".join(sorted(frame.experiment.unique()))
        raise ValueError(f"no results of `{experiment}`; there are some of: {known}")
    if profile is None:
        profile = rows[rows.profile != "smoke"].profile.iloc[-1] if (rows.profile != "smoke").any() else "smoke"
    rows = rows[rows.profile == profile]
    number = "times.training" if rows.task.iloc[0] == "classification" else "times.predict_rate"
    found = []
    for (target, device), of_row in rows.groupby(["target", "device"], sort=False):
        worth = of_row.ok.astype(int) * 2 - of_row.tainted.astype(int)
        best = of_row[worth == worth.max()]
        newest = best[best.run == best.run.iloc[-1]]
        last = newest.iloc[-1]
        found.append({
            "library": last.title,
            "device": device,
            "accuracy (%)": newest["score.accuracy"].astype(float).median() * 100,
            number: newest[number].astype(float).median(),
            "equivalence": last.get("equivalence.grade"),
            "peak memory (GiB)": newest["cost.peak_rss_bytes"].astype(float).median() / 2**30,
            "version": last.framework_version,
            "repeats": len(newest),
        })
    sorted_up = number == "times.training"
    return pandas.DataFrame(found).sort_values(number, ascending=sorted_up, ignore_index=True)
