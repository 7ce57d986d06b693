"""GRU on IMDB reviews in MXNet: a symbol, bound to arrays by a Module."""

# %% Setup
import mxnet as mx
import numpy as np

import rosetta

run = rosetta.start("MXNet", mx.__version__, sync=mx.nd.waitall, sync_cpu=True)
cfg = run.config
device = mx.gpu(0) if run.device == "cuda" else mx.cpu()
run.fact("cudnn", run.device == "cuda")
run.fact("compiled", True)  # the graph is declared first and then fed
run.fact("gru", "reset_after")

# %% Load data
run.phase("load")
array = lambda x: mx.nd.array(x, dtype=run.dtype)  # float32 unless told
x_train, y_train = run.data("x_train"), run.data("y_train")
x_test, y_test = run.data("x_test"), run.data("y_test")  # (n, 150), (n,)

# %% Build model
run.phase("build")
gru = mx.rnn.FusedRNNCell(cfg.units, mode="gru", get_next_state=True)
if run.device == "cpu" and mx.__version__ < "1.3":
    gru = gru.unfuse()  # one kernel on a GPU only: here, 150 copies of a cell
x = mx.sym.Embedding(
    mx.sym.Variable("x"),
    input_dim=cfg.vocabulary,
    output_dim=cfg.embedding,
    dtype=run.dtype,
    name="embedding",
)  # (n, 150, 125)
start = gru.begin_state(dtype=run.dtype)  # zeros
x = mx.sym.swapaxes(x, dim1=0, dim2=1)  # cuDNN has time first
_, (h,) = gru.unroll(cfg.length, x, start, layout="TNC")
h = mx.sym.Reshape(h, shape=(-1, cfg.units))  # no axis of layers: (n, 100)
network = mx.sym.FullyConnected(h, num_hidden=cfg.classes, name="dense")

# %% Initial weights
gates = {  # named one by one: the cell packs them the way it needs them
    "gru.weight_ih_l0": ["gru_l0_i2h_%s_weight" % gate for gate in "rzo"],
    "gru.weight_hh_l0": ["gru_l0_h2h_%s_weight" % gate for gate in "rzo"],
    "gru.bias_ih_l0": ["gru_l0_i2h_%s_bias" % gate for gate in "rzo"],
    "gru.bias_hh_l0": ["gru_l0_h2h_%s_bias" % gate for gate in "rzo"],
}
weights = {}
for name, w in run.weights().items():
    names = gates.get(name, [name.replace(".", "_")])
    weights.update(zip(names, map(array, np.split(w, len(names)))))
weights = gru.pack_weights(weights)

# %% Loss and optimiser
# The softmax is part of the network. Its gradient is that of the cross-entropy,
# which itself is computed nowhere but in a metric.
loss_fn = mx.sym.SoftmaxOutput(network, mx.sym.Variable("y"))
inputs = mx.io.DataDesc("x", (cfg.batch_size, cfg.length), run.dtype)
labels = mx.io.DataDesc("y", (cfg.batch_size,), run.dtype)
model = mx.mod.Module(loss_fn, ["x"], ["y"], context=device)
model.bind([inputs], [labels])  # plans the memory for batches of this size
model.init_params(arg_params=weights)
model.init_optimizer(  # divides gradients by the batch size
    optimizer="adam",  # adds epsilon before the bias correction, not after it
    optimizer_params={
        "learning_rate": cfg.learning_rate,
        "beta1": cfg.beta1,
        "beta2": cfg.beta2,
        "epsilon": cfg.epsilon,
    },
)
metric = mx.metric.CrossEntropy()


def loss():  # mean of the last batch, when asked
    metric.reset()
    model.update_metric(metric, batch.label)
    return metric.get()[1]


# %% Train
run.phase("train")
for epoch in run.epochs():
    for x, y in run.batches(epoch):
        batch = mx.io.DataBatch([array(x)], [array(y)])
        model.forward_backward(batch)
        model.update()
        run.step(loss)
    run.epoch_end(epoch, loss)


def final_weights():
    trained = gru.unpack_weights(model.get_params()[0])
    for name in run.weights():
        names = gates.get(name, [name.replace(".", "_")])
        yield name, np.concatenate([trained[n].asnumpy() for n in names])


run.final_weights(lambda: dict(final_weights()))

# %% Predict
run.phase("predict")
# The same weights without the softmax.
predictor = mx.mod.Module(network, ["x"], None, context=device)
predictor.bind([inputs], for_training=False, shared_module=model)


def predict(x):
    predictor.forward(mx.io.DataBatch([array(x)], None))
    return predictor.get_outputs()[0].asnumpy()


logits = np.concatenate([predict(x) for x in run.split(x_test)])
run.outputs(logits)

# %% Evaluate
run.phase("evaluate")
accuracy = mx.metric.Accuracy()
accuracy.update([mx.nd.array(y_test)], [mx.nd.array(logits)])
run.metric("accuracy", accuracy.get()[1])
