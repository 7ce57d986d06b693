"""ResNet-50 features of random images in PaddlePaddle: its own model."""

# %% Setup
import paddle
from paddle.vision.models import resnet50

import rosetta

wait = paddle.device.synchronize
run = rosetta.start("PaddlePaddle", paddle.__version__, sync=wait)
cfg = run.config
paddle.set_device("gpu" if run.device == "cuda" else "cpu")  # of all tensors
paddle.set_default_dtype(run.dtype)  # of the model's weights
run.fact("layout", "NCHW")
run.fact("compiled", False)
run.fact("cudnn", run.device == "cuda")

# %% Load data
run.phase("load")
x_test = run.data("x_test")  # (n, 3, 224, 224)

# %% Build model
run.phase("build")
model = resnet50(num_classes=0)  # v1.5; no classes: ends with the pool

# %% Initial weights
spelling = {"running_mean": "_mean", "running_var": "_variance"}
state = {}
for name, w in run.weights().items():
    layer, kind = name.rsplit(".", 1)
    state[f"{layer}.{spelling.get(kind, kind)}"] = w
model.set_state_dict(state)  # only warns of a name or shape that differs


def features(x):
    return model(paddle.to_tensor(x)).flatten(1).numpy()  # from (n, 2048, 1, 1)


# %% Predict
model.eval()  # batch normalisation with its stored statistics
with paddle.no_grad():
    run.phase("warmup")
    for x in run.warmup(x_test):
        features(x)

    run.phase("predict")
    for x in run.split(x_test):
        run.outputs(features(x))
