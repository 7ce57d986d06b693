"""GRU on IMDB reviews in tinygrad: a compiled cell and a jitted step."""

# %% Setup
from importlib.metadata import version

import numpy as np
from tinygrad import Context, Device, Tensor, TinyJit, function, nn
from tinygrad.helpers import DEV, NUM_CPU_THREADS, USE_ATOMICS

import rosetta

wait = lambda: Device[Device.DEFAULT].synchronize()
run = rosetta.start("tinygrad", version("tinygrad"), sync=wait, sync_cpu=True)
cfg = run.config
DEV.value = "CUDA" if run.device == "cuda" else "CPU"
NUM_CPU_THREADS.value = run.threads
# Off by default: an embedding's gradient goes to the rows of its words alone,
# not to all 30,000 for each word. There is no such kernel for CUDA.
USE_ATOMICS.value = int(run.device == "cpu")
Tensor.manual_seed(cfg.seed)
run.fact("gru", "reset_after")
run.fact("compiled", True)
run.fact("cudnn", False)  # all kernels are its own

# %% Load data
run.phase("load")
x_train, y_train = run.data("x_train"), run.data("y_train")
x_test, y_test = run.data("x_test"), run.data("y_test")  # (n, 150), (n,)

# %% Build model
run.phase("build")


@function(precompile=True, precompile_backward=True)  # once, not 150 times
def cell(gates, h, weight, bias):
    i_r, i_z, i_n = gates.chunk(3, dim=1)
    h_r, h_z, h_n = h.linear(weight.T, bias).chunk(3, dim=1)
    r, z = (i_r + h_r).sigmoid(), (i_z + h_z).sigmoid()
    n = (i_n + r * h_n).tanh()
    return (1 - z) * n + z * h  # (n, 100)


class Gru:  # tinygrad has an LSTMCell only; these are cuDNN's two biases
    def __init__(self, inputs, units):
        self.weight_ih_l0 = Tensor.glorot_uniform(3 * units, inputs)  # r, z, n
        self.weight_hh_l0 = Tensor.glorot_uniform(3 * units, units)
        self.bias_ih_l0 = Tensor.zeros(3 * units)
        self.bias_hh_l0 = Tensor.zeros(3 * units)

    def __call__(self, x):
        gates = x.linear(self.weight_ih_l0.T, self.bias_ih_l0)  # of all words
        # With time in front, a word's gates are a piece of memory: no copy.
        gates = gates.transpose(0, 1).contiguous()  # (150, n, 300)
        h = Tensor.zeros(len(x), cfg.units).contiguous()
        for word in range(cfg.length):
            h = cell(gates[word], h, self.weight_hh_l0, self.bias_hh_l0)
        return h  # (n, 100)


class Rnn:  # tinygrad needs no base class
    def __init__(self):
        self.embedding = nn.Embedding(cfg.vocabulary, cfg.embedding)
        self.gru = Gru(cfg.embedding, cfg.units)
        self.dense = nn.Linear(cfg.units, cfg.classes)

    def __call__(self, x):
        x = self.embedding(x)  # (n, 150, 125)
        return self.dense(self.gru(x))  # logits: the softmax is in the loss


model = Rnn()

# %% Initial weights
state = {name: Tensor(w) for name, w in run.weights().items()}
nn.state.load_state_dict(model, state, verbose=False)

# %% Loss and optimiser
loss_fn = Tensor.sparse_categorical_crossentropy  # of logits, class numbers
optimizer = nn.optim.Adam(
    nn.state.get_parameters(model),
    cfg.learning_rate,
    cfg.beta1,
    cfg.beta2,
    cfg.epsilon,
)


@TinyJit  # its first call runs as it is, the second is recorded
@Context(TRAINING=1)
def train_step(x, y):
    loss = loss_fn(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    # All is lazy: a loss computed after the step would use its new weights.
    return loss.realize(*optimizer.schedule_step())


# %% Train
run.phase("train")
for epoch in run.epochs():
    for x, y in run.batches(epoch):
        loss = train_step(Tensor(x), Tensor(y))
        run.step(loss)  # the same memory in each step
    run.epoch_end(epoch, loss)
run.final_weights(
    lambda: {n: w.numpy() for n, w in nn.state.get_state_dict(model).items()}
)

# %% Predict
run.phase("predict")
logits = [model(Tensor(x)).numpy() for x in run.split(x_test)]
logits = np.concatenate(logits)
run.outputs(logits)

# %% Evaluate
run.phase("evaluate")
accuracy = (Tensor(logits).argmax(axis=1) == Tensor(y_test)).mean()
run.metric("accuracy", accuracy.item())
