"""Transformer encoder on IMDB reviews in TensorFlow 1.4: a graph, Adam."""

# %% Setup
import numpy as np
import tensorflow as tf

import rosetta

run = rosetta.start("TensorFlow", tf.__version__)  # no sync: a session waits
cfg = run.config
tf.set_random_seed(cfg.seed)
session = tf.Session(
    config=tf.ConfigProto(
        intra_op_parallelism_threads=run.threads,
        inter_op_parallelism_threads=1,
        gpu_options=tf.GPUOptions(allow_growth=True),  # default: take it all
    )
)
run.fact("compiled", False)  # a graph, but not compiled by XLA: the default

# %% Load data
run.phase("load")
x_train, y_train = run.data("x_train"), run.data("y_train")
x_test, y_test = run.data("x_test"), run.data("y_test")  # (n, 150), (n,)

# %% Build model
run.phase("build")
# All that follows only declares a graph, which a session then computes.
tokens = tf.placeholder(tf.int32, (None, cfg.length))
labels = tf.placeholder(tf.int32, (None,))
training = tf.placeholder_with_default(False, ())


def variable(name, *shape):
    return tf.get_variable(name, shape, run.dtype)  # float32 by default


def norm(x, name):
    """contrib.layers.layer_norm, but for its epsilon, which is 1e-12."""
    gamma = variable(name + ".weight", cfg.width)
    beta = variable(name + ".bias", cfg.width)
    mean, variance = tf.nn.moments(x, [2], keep_dims=True)
    return tf.nn.batch_normalization(
        x, mean, variance, beta, gamma, cfg.norm_epsilon
    )


def gelu(x):  # there is none yet
    return x * (1 + tf.erf(x / 2**0.5)) / 2


def attention(x, is_word, name):  # there is none yet
    x = tf.layers.dense(x, 3 * cfg.width, name=name + ".in_proj")
    x = tf.reshape(x, (-1, cfg.length, 3, cfg.heads, cfg.width // cfg.heads))
    # (n, 4, 150, 32) each
    q, k, v = tf.unstack(tf.transpose(x, (2, 0, 3, 1, 4)))
    scores = tf.matmul(q, k, transpose_b=True) / int(q.shape[-1]) ** 0.5
    # A sum, as tf.where does not broadcast: 0 for words, else -infinity.
    scores += tf.log(is_word[:, None, None])
    y = tf.transpose(tf.matmul(tf.nn.softmax(scores), v), (0, 2, 1, 3))
    y = tf.reshape(y, (-1, cfg.length, cfg.width))
    return tf.layers.dense(y, cfg.width, name=name + ".out_proj")


def dropout(x):
    return tf.layers.dropout(x, cfg.dropout, training=training)


def block(x, is_word, name):
    y = attention(norm(x, name + ".norm1"), is_word, name + ".self_attn")
    x += dropout(y)
    y = norm(x, name + ".norm2")
    y = gelu(tf.layers.dense(y, cfg.hidden, name=name + ".linear1"))
    return x + dropout(tf.layers.dense(y, cfg.width, name=name + ".linear2"))


def model(x):
    is_word = tf.cast(x > 0, run.dtype)
    embedding = variable("embedding.weight", cfg.vocabulary, cfg.width)
    x = tf.nn.embedding_lookup(embedding, x)
    x += variable("positions", cfg.length, cfg.width)  # (n, 150, 128)
    for i in range(cfg.blocks):
        x = block(x, is_word, "encoder.layers.%d" % i)
    x = norm(x, "encoder.norm") * is_word[..., None]
    x = tf.reduce_sum(x, 1) / tf.reduce_sum(is_word, 1, keep_dims=True)
    return tf.layers.dense(x, cfg.classes, name="dense")  # no softmax


logits = model(tokens)

# %% Initial weights
variables = tf.trainable_variables()
weights = run.weights()


def name_of(variable):
    name = variable.op.name.replace("/", ".").replace("kernel", "weight")
    return name.replace("in_proj.", "in_proj_")


def turned(variable, w):
    """Kernels are (in, out) here, not (out, in); tables are the same."""
    return w.T if variable.op.name.endswith("kernel") else w


for w in variables:
    w.load(turned(w, weights[name_of(w)]), session)

# %% Loss and optimiser
losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
    labels=labels, logits=logits
)
loss = tf.reduce_mean(losses)  # tf.losses would make it a float32
step = tf.train.get_or_create_global_step()  # of those that are done
warmup = tf.minimum((tf.cast(step, run.dtype) + 1) / cfg.warmup_steps, 1)
rate = cfg.learning_rate * warmup
# Adds epsilon before the bias correction, not after it. A float of Python
# would be a float32, and its powers too.
real = np.dtype(run.dtype).type
optimizer = tf.train.AdamOptimizer(
    rate, real(cfg.beta1), real(cfg.beta2), real(cfg.epsilon)
)
# The embedding's gradient has a row for each word of the batch: the norm would
# be that of rows which are not yet summed.
gradients = [tf.convert_to_tensor(g) for g in tf.gradients(loss, variables)]
gradients, _ = tf.clip_by_global_norm(gradients, cfg.clip_norm)
# There is no AdamW yet. Matrices, embeddings among them, decay.
with tf.control_dependencies(gradients):  # no weight changes before they are
    decays = [
        w.assign_sub(rate * cfg.weight_decay * w)
        for w in variables
        if w.shape.ndims > 1
    ]
with tf.control_dependencies(decays):
    train_step = optimizer.apply_gradients(zip(gradients, variables), step)
others = set(tf.global_variables()) - set(variables)  # the optimiser's own
session.run(tf.variables_initializer(others))

# %% Train
run.phase("train")
for epoch in run.epochs():
    for x, y in run.batches(epoch):
        feed = {tokens: x, labels: y, training: True}
        _, batch_loss = session.run([train_step, loss], feed)
        run.step(batch_loss)
    run.epoch_end(epoch, batch_loss)


def final_weights():
    for variable, w in zip(variables, session.run(variables)):
        yield name_of(variable), turned(variable, w)


run.final_weights(lambda: dict(final_weights()))

# %% Predict
run.phase("predict")
predict = lambda x: session.run(logits, {tokens: x})
outputs = np.concatenate([predict(x) for x in run.split(x_test)])
run.outputs(outputs)

# %% Evaluate
run.phase("evaluate")
correct = tf.equal(tf.argmax(logits, 1, output_type=tf.int32), labels)
accuracy = tf.reduce_mean(tf.cast(correct, tf.float32))
run.metric("accuracy", session.run(accuracy, {logits: outputs, labels: y_test}))
