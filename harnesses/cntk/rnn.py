"""GRU on IMDB reviews in CNTK: embedding 125, GRU 100, dense 2, Adam."""

# %% Setup
import cntk as C
import numpy as np
from cntk.layers import Dense, Fold

import rosetta

run = rosetta.start("CNTK", C.__version__)  # no sync: CNTK waits by itself
cfg = run.config
C.try_set_default_device(C.gpu(0) if run.device == "cuda" else C.cpu())
C.cntk_py.set_max_num_cputhreads(run.threads)
dtype = np.dtype(run.dtype).type
run.fact("cudnn", False)
run.fact("compiled", True)  # the graph is declared first and then fed
run.fact("gru", "reset_after")

# %% Load data
run.phase("load")
# Inputs are floats, tokens and class numbers too; a token is a vector of one.
tokens = lambda x: x[..., np.newaxis].astype(dtype)  # (n, 150, 1)
x_train, y_train = run.data("x_train"), run.data("y_train")
x_test, y_test = run.data("x_test"), run.data("y_test")  # (n, 150), (n,)

# %% Build model
run.phase("build")
units = cfg.units
with C.default_options(dtype=dtype):
    # Batch and time are axes that CNTK adds by itself.
    review, label = C.sequence.input_variable(1), C.input_variable(())

    # CNTK's Embedding multiplies by a sparse one-hot, but its Adam knows no
    # sparse gradients; its GRU resets before the recurrent product and has one
    # bias. So both are written here, the GRU as a step that Fold repeats.
    embedding = C.Parameter((cfg.vocabulary, cfg.embedding))
    weight_ih = C.Parameter((cfg.embedding, 3 * units))  # r, z, n side by side
    weight_hh = C.Parameter((units, 3 * units))
    bias_ih, bias_hh = C.Parameter(3 * units), C.Parameter(3 * units)

    def split(x):
        return [x[i * units : (i + 1) * units] for i in range(3)]

    @C.Function
    def gru(h, x):  # x is the input times weight_ih already: (300,)
        h_r, h_z, h_n = split(C.times(h, weight_hh) + bias_hh)
        x_r, x_z, x_n = split(x)
        r, z = C.sigmoid(x_r + h_r), C.sigmoid(x_z + h_z)
        n = C.tanh(x_n + r * h_n)
        return (1 - z) * n + z * h

    words = C.reshape(C.gather(embedding, review), cfg.embedding)
    last = Fold(gru)(C.times(words, weight_ih) + bias_ih)  # (100,)
    model = Dense(cfg.classes, name="dense")(last)  # logits: no softmax

# %% Initial weights
parameters = {
    "embedding.weight": embedding,
    "gru.weight_ih_l0": weight_ih,
    "gru.weight_hh_l0": weight_hh,
    "gru.bias_ih_l0": bias_ih,
    "gru.bias_hh_l0": bias_hh,
    "dense.weight": model.dense.W,
    "dense.bias": model.dense.b,
}


def turned(name, array):
    """Kernels are (in, out) here, not (out, in); the embedding is the same."""
    return array if name == "embedding.weight" else array.T


for name, array in run.weights().items():
    parameters[name].value = np.ascontiguousarray(turned(name, array))

# %% Loss and optimiser
one_hot = C.one_hot(label, cfg.classes)
loss_fn = C.cross_entropy_with_softmax(model, one_hot)
# CNTK sums a batch's gradients and divides the rate by minibatch_size instead.
# Adam's step does not grow with the gradient, so that is undone here; epsilon
# has to grow with it. It is added before the bias correction, not after it.
optimizer = C.adam(
    model.parameters,
    cfg.learning_rate * cfg.batch_size,
    cfg.beta1,
    variance_momentum=cfg.beta2,
    epsilon=cfg.epsilon * cfg.batch_size,
    unit_gain=True,  # gradients times 1 - beta1, as Adam's authors have it
    minibatch_size=cfg.batch_size,
)
trainer = C.Trainer(model, loss_fn, [optimizer])
loss = lambda: trainer.previous_minibatch_loss_average  # of a batch, when asked

# %% Train
run.phase("train")
for epoch in run.epochs():
    for x, y in run.batches(epoch):
        trainer.train_minibatch({review: tokens(x), label: y.astype(dtype)})
        run.step(loss)
    run.epoch_end(epoch, loss)
run.final_weights(
    lambda: {n: turned(n, p.value) for n, p in parameters.items()}
)

# %% Predict
run.phase("predict")
batches = [model.eval({review: tokens(x)}) for x in run.split(x_test)]
logits = np.concatenate(batches)
run.outputs(logits)

# %% Evaluate
run.phase("evaluate")
scores = C.input_variable(cfg.classes, dtype=dtype)
error = C.classification_error(scores, one_hot)
errors = error.eval({scores: logits, label: y_test.astype(dtype)})
run.metric("accuracy", 1 - errors.mean())
