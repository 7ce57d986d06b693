"""Transformer encoder on IMDB in TensorFlow: 2 blocks of 4 heads, AdamW."""

# %% Setup
import numpy as np
import tensorflow as tf
from tensorflow.keras import Model, layers

import rosetta

wait = tf.test.experimental.sync_devices
run = rosetta.start("TensorFlow", tf.__version__, sync=wait)
cfg = run.config
# Layers of Keras do not look at the seed of tf.random.
tf.keras.utils.set_random_seed(cfg.seed)
tf.config.threading.set_intra_op_parallelism_threads(run.threads)
tf.config.threading.set_inter_op_parallelism_threads(1)
tf.keras.backend.set_floatx(run.dtype)
if run.device == "cuda":
    gpu = tf.config.list_physical_devices("GPU")[0]
    tf.config.experimental.set_memory_growth(gpu, True)  # default: take it all
    tf.config.experimental.enable_tensor_float_32_execution(False)
run.fact("compiled", False)  # a graph, but not compiled by XLA: the default

# %% Load data
run.phase("load")
x_train, y_train = run.data("x_train"), run.data("y_train")
x_test, y_test = run.data("x_test"), run.data("y_test")  # (n, 150), (n,)

# %% Build model
run.phase("build")


class Block(layers.Layer):
    def __init__(self):
        super().__init__()
        # epsilon is 1e-3 by default.
        self.norm1 = layers.LayerNormalization(epsilon=cfg.norm_epsilon)
        # The second number is the size of one head.
        heads = cfg.heads, cfg.width // cfg.heads
        self.attention = layers.MultiHeadAttention(*heads)
        self.norm2 = layers.LayerNormalization(epsilon=cfg.norm_epsilon)
        self.linear1 = layers.Dense(cfg.hidden, activation="gelu")  # by erf
        self.linear2 = layers.Dense(cfg.width)
        self.dropout = layers.Dropout(cfg.dropout)

    def call(self, x, is_word, training=False):
        y = self.norm1(x)
        # True is attended to; the axes are (n, queries, keys).
        y = self.attention(y, y, attention_mask=is_word[:, None])
        x = x + self.dropout(y, training=training)
        y = self.linear2(self.linear1(self.norm2(x)))
        return x + self.dropout(y, training=training)


class Transformer(Model):
    def __init__(self):
        super().__init__()
        self.embedding = layers.Embedding(cfg.vocabulary, cfg.width)
        self.positions = self.add_weight(shape=(cfg.length, cfg.width))
        self.blocks = [Block() for _ in range(cfg.blocks)]
        self.norm = layers.LayerNormalization(epsilon=cfg.norm_epsilon)
        self.mean = layers.GlobalAveragePooling1D()
        self.dense = layers.Dense(cfg.classes)

    def call(self, x, training=False):
        is_word = tf.not_equal(x, 0)
        x = self.embedding(x) + self.positions  # (n, 150, 128)
        for block in self.blocks:
            x = block(x, is_word, training=training)
        return self.dense(self.mean(self.norm(x), mask=is_word))  # logits


model = Transformer()

# %% Initial weights
model(x_test[:1])  # the first call makes the variables
variables = {
    "embedding.weight": [model.embedding.embeddings],
    "positions": [model.positions],
}
for i, block in enumerate(model.blocks):
    heads = block.attention
    three = heads.query_dense, heads.key_dense, heads.value_dense
    of_block = {
        "norm1.weight": [block.norm1.gamma],
        "norm1.bias": [block.norm1.beta],
        "self_attn.in_proj_weight": [each.kernel for each in three],
        "self_attn.in_proj_bias": [each.bias for each in three],
        "self_attn.out_proj.weight": [heads.output_dense.kernel],
        "self_attn.out_proj.bias": [heads.output_dense.bias],
        "norm2.weight": [block.norm2.gamma],
        "norm2.bias": [block.norm2.beta],
        "linear1.weight": [block.linear1.kernel],
        "linear1.bias": [block.linear1.bias],
        "linear2.weight": [block.linear2.kernel],
        "linear2.bias": [block.linear2.bias],
    }
    variables |= {f"encoder.layers.{i}.{n}": v for n, v in of_block.items()}
variables["encoder.norm.weight"] = [model.norm.gamma]
variables["encoder.norm.bias"] = [model.norm.beta]
variables["dense.weight"] = [model.dense.kernel]
variables["dense.bias"] = [model.dense.bias]
weights = run.weights()
kernels = {name for name, w in weights.items() if w.ndim == 2}
kernels -= {"embedding.weight", "positions"}

for name, w in weights.items():
    for part, w in zip(variables[name], np.split(w, len(variables[name]))):
        w = w.T if name in kernels else w  # (out, in) to (in, out)
        part.assign(w.reshape(part.shape))  # attention's: (in, heads, 32)


def from_tensorflow(name, w):
    if name in kernels:
        return w.reshape(weights[name].shape[1], -1).T  # to (out, in)
    return w if w.ndim == weights[name].ndim else w.ravel()


# %% Loss and optimiser
loss_fn = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
warmup = tf.keras.optimizers.schedules.PolynomialDecay(  # linear; rises here
    cfg.learning_rate / cfg.warmup_steps,
    cfg.warmup_steps - 1,
    cfg.learning_rate,
)
# Adds epsilon before the bias correction, not after it; 1e-7 by default.
optimizer = tf.keras.optimizers.AdamW(
    warmup, cfg.weight_decay, cfg.beta1, cfg.beta2, cfg.epsilon
)
optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])


@tf.function  # traced into a graph at the first call
def train_step(x, y):
    with tf.GradientTape() as tape:
        loss = loss_fn(y, model(x, training=True))
    gradients = tape.gradient(loss, model.trainable_variables)
    # The embedding's gradient has a row for each word of the batch: the norm
    # would be that of rows which are not yet summed.
    gradients = [tf.convert_to_tensor(g) for g in gradients]
    gradients, _ = tf.clip_by_global_norm(gradients, cfg.clip_norm)
    optimizer.apply_gradients(zip(gradients, model.trainable_variables))
    return loss


# %% Train
run.phase("train")
for epoch in run.epochs():
    for x, y in run.batches(epoch):
        loss = train_step(x, y)
        run.step(loss)
    run.epoch_end(epoch, loss)
run.final_weights(
    lambda: {
        name: np.concatenate([from_tensorflow(name, v.numpy()) for v in parts])
        for name, parts in variables.items()
    }
)

# %% Predict
run.phase("predict")
predict = tf.function(model)
logits = tf.concat([predict(x) for x in run.split(x_test)], axis=0)
run.outputs(logits.numpy())

# %% Evaluate
run.phase("evaluate")
accuracy = tf.keras.metrics.SparseCategoricalAccuracy()
run.metric("accuracy", float(accuracy(y_test, logits)))
