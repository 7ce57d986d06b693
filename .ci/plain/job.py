"""What a plain program needs of a job file: settings, device, arrays."""

import json

import numpy as np


def read(path):
    """Returns the settings, the device and the training arrays that a job file names."""
    with open(path) as file:
        job = json.load(file)
    arrays = {}
    for name, source in job["arrays"].items():
        array = np.array(np.load(source["path"], mmap_mode="r")[: source["rows"]])
        if source["divide_by"] is not None:
            array = array.astype("float32") / np.float32(source["divide_by"])
        arrays[name] = array
    return job["config"], job["device"], arrays
