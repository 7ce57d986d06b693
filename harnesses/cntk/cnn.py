"""VGG-style CNN on CIFAR-10 in CNTK: conv 50-50-100-100, dense 512, SGD."""

# %% Setup
import cntk as C
import numpy as np
from cntk.layers import Convolution2D, Dense, Dropout, MaxPooling, Sequential

import rosetta

run = rosetta.start("CNTK", C.__version__)  # no sync: CNTK waits by itself
cfg = run.config
C.try_set_default_device(C.gpu(0) if run.device == "cuda" else C.cpu())
C.cntk_py.set_max_num_cputhreads(run.threads)
C.cntk_py.set_fixed_random_seed(cfg.seed)  # dropout's seeds follow from it
dtype = np.dtype(run.dtype).type
run.fact("layout", "NCHW")
run.fact("cudnn", run.device == "cuda")
run.fact("compiled", True)  # the graph is declared first and then fed

# %% Load data
run.phase("load")
x_train, y_train = run.data("x_train"), run.data("y_train")
x_test, y_test = run.data("x_test"), run.data("y_test")  # (n, 3, 32, 32), (n,)

# %% Build model
run.phase("build")
with C.default_options(dtype=dtype, pad=True):  # convolutions: pad is False
    image, label = C.input_variable((3, 32, 32)), C.input_variable(())
    model = Sequential(
        [
            Convolution2D((3, 3), 50, activation=C.relu, name="conv1"),
            Convolution2D((3, 3), 50, name="conv2"),
            MaxPooling((2, 2), strides=2),  # strides default to 1
            C.relu,
            Dropout(cfg.dropout[0]),
            Convolution2D((3, 3), 100, activation=C.relu, name="conv3"),
            Convolution2D((3, 3), 100, name="conv4"),
            MaxPooling((2, 2), strides=2),
            C.relu,
            Dropout(cfg.dropout[0]),
            Dense(512, activation=C.relu, name="dense1"),  # flattens: C, H, W
            Dropout(cfg.dropout[1]),
            Dense(cfg.classes, name="dense2"),
        ]
    )(image)  # logits: the softmax is in the loss

# %% Initial weights
weights = run.weights()
for layer in model.conv1, model.conv2, model.conv3, model.conv4:
    layer.W.value = weights[layer.name + ".weight"]  # (out, in, 3, 3)
    layer.b.value = weights[layer.name + ".bias"].reshape(-1, 1, 1)
for layer in model.dense1, model.dense2:
    kernel = weights[layer.name + ".weight"]  # (out, in) → (in..., out)
    layer.W.value = np.ascontiguousarray(kernel.T).reshape(layer.W.shape)
    layer.b.value = weights[layer.name + ".bias"]

# %% Loss and optimiser
one_hot = C.one_hot(label, cfg.classes)
loss_fn = C.cross_entropy_with_softmax(model, one_hot)
optimizer = C.momentum_sgd(
    model.parameters,
    cfg.learning_rate,
    cfg.momentum,
    unit_gain=False,  # would scale gradients by 1 - momentum
    minibatch_size=cfg.batch_size,  # that the rates are meant for
)
trainer = C.Trainer(model, loss_fn, [optimizer])
loss = lambda: trainer.previous_minibatch_loss_average  # of a batch, when asked

# %% Train
run.phase("train")
for epoch in run.epochs():
    for x, y in run.batches(epoch):
        # Inputs are floats, class numbers too.
        trainer.train_minibatch({image: x, label: y.astype(dtype)})
        run.step(loss)
    run.epoch_end(epoch, loss)


def final_weights():
    for layer in model.conv1, model.conv2, model.conv3, model.conv4:
        yield layer.name + ".weight", layer.W.value
        yield layer.name + ".bias", layer.b.value.ravel()
    for layer in model.dense1, model.dense2:
        kernel = layer.W.value
        yield layer.name + ".weight", kernel.reshape(-1, kernel.shape[-1]).T
        yield layer.name + ".bias", layer.b.value


run.final_weights(lambda: dict(final_weights()))

# %% Predict
run.phase("predict")
batches = [model.eval({image: x}) for x in run.split(x_test)]  # no dropout
logits = np.concatenate(batches)
run.outputs(logits)

# %% Evaluate
run.phase("evaluate")
scores = C.input_variable(cfg.classes, dtype=dtype)
error = C.classification_error(scores, one_hot)
errors = error.eval({scores: logits, label: y_test.astype(dtype)})
run.metric("accuracy", 1 - errors.mean())
