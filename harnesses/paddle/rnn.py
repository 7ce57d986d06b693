"""GRU on IMDB reviews in PaddlePaddle: an nn.Layer and a training loop."""

# %% Setup
import paddle
from paddle import nn

import rosetta

wait = paddle.device.synchronize
run = rosetta.start("PaddlePaddle", paddle.__version__, sync=wait)
cfg = run.config
paddle.set_device("gpu" if run.device == "cuda" else "cpu")  # of all tensors
paddle.seed(cfg.seed)
paddle.set_default_dtype(run.dtype)  # of the model's weights
run.fact("gru", "reset_after")
run.fact("compiled", False)
run.fact("cudnn", run.device == "cuda")

# %% Load data
run.phase("load")
x_train, y_train = run.data("x_train"), run.data("y_train")
x_test, y_test = run.data("x_test"), run.data("y_test")  # (n, 150), (n,)

# %% Build model
run.phase("build")


class Rnn(nn.Layer):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(cfg.vocabulary, cfg.embedding)
        self.gru = nn.GRU(cfg.embedding, cfg.units)  # batch first by default
        self.dense = nn.Linear(cfg.units, cfg.classes)

    def forward(self, x):
        x = self.embedding(x)  # (n, 150, 125)
        _, h = self.gru(x)  # all outputs, and the last: (layers, n, 100)
        return self.dense(h[0])  # logits: the softmax is in the loss


model = Rnn()


# %% Initial weights
def turned(name, w):  # a Linear's kernel is (in, out) here, not (out, in)
    return w.T if name.startswith("dense") else w


state = {name: turned(name, w) for name, w in run.weights().items()}
model.set_state_dict(state)  # only warns of a name or shape that differs

# %% Loss and optimiser
loss_fn = nn.CrossEntropyLoss()  # of logits and class numbers, no one-hot
optimizer = paddle.optimizer.Adam(
    cfg.learning_rate,
    cfg.beta1,
    cfg.beta2,
    cfg.epsilon,
    parameters=model.parameters(),
)

# %% Train
run.phase("train")
model.train()
for epoch in run.epochs():
    for x, y in run.batches(epoch):
        loss = loss_fn(model(paddle.to_tensor(x)), paddle.to_tensor(y))
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()  # gradients add up unless cleared
        run.step(loss)  # not read here: that would wait for the GPU
    run.epoch_end(epoch, loss)
# Named parameters: the state has those of the GRU under a second name too.
run.final_weights(
    lambda: {n: turned(n, w.numpy()) for n, w in model.named_parameters()}
)

# %% Predict
run.phase("predict")
model.eval()
with paddle.no_grad():
    batches = [model(paddle.to_tensor(x)) for x in run.split(x_test)]
    logits = paddle.concat(batches)
run.outputs(logits.numpy())

# %% Evaluate
run.phase("evaluate")
labels = paddle.to_tensor(y_test).unsqueeze(1)  # (n, 1), as this metric wants
run.metric("accuracy", paddle.metric.accuracy(logits, labels).item())
