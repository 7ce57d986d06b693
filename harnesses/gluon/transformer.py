"""Transformer encoder on IMDB reviews in Gluon, MXNet's imperative API."""

# %% Setup
import math

import mxnet as mx
from mxnet import autograd, gluon
from mxnet.gluon import nn

import rosetta

run = rosetta.start("Gluon", mx.__version__, sync=mx.nd.waitall, sync_cpu=True)
cfg = run.config
device = mx.gpu(0) if run.device == "cuda" else mx.cpu()
mx.random.seed(cfg.seed)
is_old = mx.__version__ < "1"
run.fact("compiled", not is_old)  # a graph of all layers, see below

# %% Load data
run.phase("load")
array = lambda x: mx.nd.array(x, device)  # float32, tokens too
x_train, y_train = run.data("x_train"), run.data("y_train")
x_test, y_test = run.data("x_test"), run.data("y_test")  # (n, 150), (n,)

# %% Build model
run.phase("build")


class OldLayerNorm(gluon.HybridBlock):  # 0.12 has none
    def __init__(self, prefix, epsilon, in_channels):
        super().__init__(prefix)
        self.epsilon = epsilon
        with self.name_scope():
            self.gamma = self.params.get("gamma", shape=(in_channels,))
            self.beta = self.params.get("beta", shape=(in_channels,))

    def hybrid_forward(self, F, x, gamma, beta):
        x = F.broadcast_sub(x, F.mean(x, axis=2, keepdims=True))
        variance = F.mean(x * x, axis=2, keepdims=True)
        x = F.broadcast_div(x, F.sqrt(variance + self.epsilon))
        # Broadcasting wants as many axes of both.
        gamma, beta = (F.reshape(w, shape=(1, 1, -1)) for w in (gamma, beta))
        return F.broadcast_add(F.broadcast_mul(x, gamma), beta)


class OldGELU(autograd.Function):  # 0.12 has no erf either
    def forward(self, x):
        erf = [math.erf(each) for each in x.asnumpy().ravel() / 2**0.5]
        phi = (1 + mx.nd.array(erf, x.context).reshape(x.shape)) / 2
        self.save_for_backward(x, phi)
        return x * phi

    def backward(self, dy):
        x, phi = self.saved_tensors
        return dy * (phi + x * mx.nd.exp(-x * x / 2) / (2 * math.pi) ** 0.5)


def norm(prefix):
    layer = OldLayerNorm if is_old else nn.LayerNorm
    settings = {"epsilon": cfg.norm_epsilon, "in_channels": cfg.width}
    return layer(prefix=prefix, **settings)


def dense(prefix, units, in_units):  # of the last axis: by default of all
    return nn.Dense(units, flatten=False, in_units=in_units, prefix=prefix)


class Block(gluon.HybridBlock):
    def __init__(self, prefix):
        super().__init__(prefix)
        with self.name_scope():
            self.norm1 = norm("norm1_")
            self.in_proj = dense("self_attn_in_proj_", 3 * cfg.width, cfg.width)
            self.out_proj = dense("self_attn_out_proj_", cfg.width, cfg.width)
            self.norm2 = norm("norm2_")
            self.linear1 = dense("linear1_", cfg.hidden, cfg.width)
            self.linear2 = dense("linear2_", cfg.width, cfg.hidden)
            self.dropout = nn.Dropout(cfg.dropout)
            self.gelu = (lambda x: OldGELU()(x)) if is_old else nn.GELU()

    def hybrid_forward(self, F, x, mask):
        x = x + self.dropout(self.attention(F, self.norm1(x), mask))
        y = self.linear2(self.gelu(self.linear1(self.norm2(x))))
        return x + self.dropout(y)

    def attention(self, F, x, mask):  # 1.9 has kernels, but no layer
        # 0 is an axis that stays, -3 two that become one.
        x = F.reshape(self.in_proj(x), shape=(0, 0, 3, cfg.heads, -1))
        x = F.transpose(x, axes=(2, 0, 3, 1, 4))
        q, k, v = F.split(x, num_outputs=3, axis=0, squeeze_axis=True)
        scale = (cfg.width // cfg.heads) ** -0.5  # of (n, 4, 150, 32) each
        scores = F.linalg_gemm2(q, k, transpose_b=True, alpha=scale)
        p = F.softmax(F.broadcast_add(scores, mask))
        y = F.transpose(F.linalg_gemm2(p, v), axes=(0, 2, 1, 3))
        return self.out_proj(F.reshape(y, shape=(0, 0, -3)))


class Transformer(gluon.HybridBlock):
    def __init__(self):
        super().__init__("")  # names of weights begin with layers' only
        with self.name_scope():
            words, positions = cfg.vocabulary, (cfg.length, cfg.width)
            self.embedding = nn.Embedding(words, cfg.width, prefix="embedding_")
            self.positions = self.params.get("positions", shape=positions)
            self.blocks = nn.HybridSequential("")
            for i in range(cfg.blocks):
                self.blocks.add(Block("encoder_layers_%d_" % i))
            self.norm = norm("encoder_norm_")
            self.dense = dense("dense_", cfg.classes, cfg.width)

    def hybrid_forward(self, F, x, positions):
        is_word = x > 0  # 1 or 0, as floats
        mask = F.reshape((is_word - 1) * 1e30, shape=(0, 1, 1, -1))
        positions = F.expand_dims(positions, axis=0)
        x = F.broadcast_add(self.embedding(x), positions)  # (n, 150, 128)
        for block in self.blocks:
            x = block(x, mask)
        share = F.expand_dims(is_word, axis=2)
        x = F.sum(F.broadcast_mul(self.norm(x), share), axis=1)
        return self.dense(F.broadcast_div(x, F.sum(share, axis=1)))  # logits


model = Transformer()
model.initialize(ctx=device)
if not is_old:  # a graph has no place for OldGELU
    model.hybridize()


# %% Initial weights
def name_of(name):  # encoder_layers_0_norm1_gamma, for one
    name = name.replace(".", "_")
    is_norm = "norm" in name
    gamma, beta = ("gamma", "beta") if is_norm else ("weight", "bias")
    return name.replace("weight", gamma).replace("bias", beta)


parameters = model.collect_params()
parameters = {name: parameters[name_of(name)] for name in run.weights()}
for name, w in run.weights().items():
    parameters[name].set_data(array(w))

# %% Loss and optimiser
loss_fn = gluon.loss.SoftmaxCrossEntropyLoss()  # of logits and class numbers
optimizer = gluon.Trainer(
    list(parameters.values()),
    "adam",  # adds epsilon before the bias correction, not after it
    {"beta1": cfg.beta1, "beta2": cfg.beta2, "epsilon": cfg.epsilon},
)
# Embeddings among them, decay: the `wd` of "adam" is a part of the gradient.
matrices = [w for w in parameters.values() if len(w.shape) > 1]

# %% Train
run.phase("train")
gradients, t = [w.grad() for w in parameters.values()], 0
for epoch in run.epochs():
    for x, y in run.batches(epoch):
        with autograd.record():
            loss = loss_fn(model(array(x)), array(y)).mean()
        loss.backward()
        gluon.utils.clip_global_norm(gradients, cfg.clip_norm)
        t += 1
        rate = cfg.learning_rate * min(1, t / cfg.warmup_steps)
        for w in matrices:
            w.data()[:] *= 1 - rate * cfg.weight_decay
        optimizer.set_learning_rate(rate)
        optimizer.step(1)  # divides by it, and the loss is a mean already
        run.step(loss.asscalar)  # when asked: that would wait for the GPU
    run.epoch_end(epoch, loss.asscalar)
run.final_weights(
    lambda: {name: w.data().asnumpy() for name, w in parameters.items()}
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
