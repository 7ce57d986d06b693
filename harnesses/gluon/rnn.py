"""GRU on IMDB reviews in Gluon, MXNet's imperative API."""

# %% Setup
import mxnet as mx
from mxnet import autograd, gluon
from mxnet.gluon import nn, rnn

import rosetta

run = rosetta.start("Gluon", mx.__version__, sync=mx.nd.waitall, sync_cpu=True)
cfg = run.config
device = mx.gpu(0) if run.device == "cuda" else mx.cpu()
run.fact("cudnn", run.device == "cuda")
run.fact("compiled", False)  # each layer by itself, see below
run.fact("gru", "reset_after")

# %% Load data
run.phase("load")
array = lambda x: mx.nd.array(x, device)  # float32, tokens too
x_train, y_train = run.data("x_train"), run.data("y_train")
x_test, y_test = run.data("x_test"), run.data("y_test")  # (n, 150), (n,)

# %% Build model
run.phase("build")


class Rnn(gluon.Block):  # not a HybridBlock: in 0.12 a GRU is none
    def __init__(self):
        super().__init__(prefix="")  # names of weights begin with layers' only
        with self.name_scope():
            self.embedding = nn.Embedding(
                cfg.vocabulary, cfg.embedding, prefix="embedding_"
            )
            self.gru = rnn.GRU(
                cfg.units, input_size=cfg.embedding, prefix="gru_"
            )
            self.dense = nn.Dense(
                cfg.classes, in_units=cfg.units, prefix="dense_"
            )

    def forward(self, x):
        x = self.embedding(x.T)  # (150, n, 125): a GRU has time first
        x = self.gru(x)  # (150, n, 100)
        last = x[cfg.length - 1]  # 0.12 takes no -1
        return self.dense(last)  # logits: the softmax is in the loss


model = Rnn()
model.initialize(ctx=device)
model.hybridize()  # those of its layers that can be

# %% Initial weights
names = {
    "gru.weight_ih_l0": "gru_l0_i2h_weight",  # gates r, z, n here too
    "gru.weight_hh_l0": "gru_l0_h2h_weight",
    "gru.bias_ih_l0": "gru_l0_i2h_bias",
    "gru.bias_hh_l0": "gru_l0_h2h_bias",
    "embedding.weight": "embedding_weight",
    "dense.weight": "dense_weight",
    "dense.bias": "dense_bias",
}
parameters = model.collect_params()
for name, w in run.weights().items():
    parameters[names[name]].set_data(array(w))

# %% Loss and optimiser
loss_fn = gluon.loss.SoftmaxCrossEntropyLoss()  # of logits and class numbers
optimizer = gluon.Trainer(
    parameters,
    "adam",  # adds epsilon before the bias correction, not after it
    {
        "learning_rate": cfg.learning_rate,
        "beta1": cfg.beta1,
        "beta2": cfg.beta2,
        "epsilon": cfg.epsilon,
    },
)

# %% Train
run.phase("train")
for epoch in run.epochs():
    for x, y in run.batches(epoch):
        with autograd.record():
            losses = loss_fn(model(array(x)), array(y))  # one for each review
        losses.backward()  # of their sum
        optimizer.step(cfg.batch_size)  # divides by the batch size
        loss = losses.mean()
        run.step(loss.asscalar)  # when asked: that would wait for the GPU
    run.epoch_end(epoch, loss.asscalar)
run.final_weights(
    lambda: {n: parameters[names[n]].data().asnumpy() for n in names}
)

# %% Predict
run.phase("predict")
logits = [model(array(x)) for x in run.split(x_test)]
logits = mx.nd.concat(*logits, dim=0)
run.outputs(logits.asnumpy())

# %% Evaluate
run.phase("evaluate")
accuracy = mx.metric.Accuracy()
accuracy.update([array(y_test)], [logits])
run.metric("accuracy", accuracy.get()[1])
