"""VGG-style CNN on CIFAR-10 in TensorFlow 1.4: tf.layers, and a session."""

# %% Setup
import numpy as np
import tensorflow as tf

import rosetta

run = rosetta.start("TensorFlow", tf.__version__)  # no sync: a session waits
cfg = run.config
tf.set_random_seed(cfg.seed)
on_gpu = run.device == "cuda"
session = tf.Session(
    config=tf.ConfigProto(
        intra_op_parallelism_threads=run.threads,
        inter_op_parallelism_threads=1,
        gpu_options=tf.GPUOptions(allow_growth=True),  # default: take it all
    )
)
# The default is NHWC, the only layout that a CPU has convolutions for.
layout = {"data_format": "channels_first" if on_gpu else "channels_last"}
run.fact("layout", "NCHW" if on_gpu else "NHWC")
run.fact("cudnn", on_gpu)
run.fact("compiled", False)  # a graph, but not compiled by XLA: the default

# %% Load data
run.phase("load")
x_train, y_train = run.data("x_train"), run.data("y_train")
x_test, y_test = run.data("x_test"), run.data("y_test")  # (n, 3, 32, 32), (n,)
to_layout = lambda x: x if on_gpu else x.transpose(0, 2, 3, 1)

# %% Build model
run.phase("build")
# All that follows only declares a graph, which a session then computes.
shape = (3, 32, 32) if on_gpu else (32, 32, 3)
images = tf.placeholder(tf.float32, (None,) + shape)
labels = tf.placeholder(tf.int32, (None,))
training = tf.placeholder_with_default(False, ())


def model(x):
    # Default padding is "valid": none.
    conv = {"kernel_size": 3, "padding": "same", **layout}
    relu, dropout = tf.nn.relu, tf.layers.dropout
    x = tf.layers.conv2d(x, 50, activation=relu, name="conv1", **conv)
    x = tf.layers.conv2d(x, 50, name="conv2", **conv)
    x = relu(tf.layers.max_pooling2d(x, 2, 2, **layout))  # (n, 16, 16, 50)
    x = dropout(x, cfg.dropout[0], training=training)  # off by default
    x = tf.layers.conv2d(x, 100, activation=relu, name="conv3", **conv)
    x = tf.layers.conv2d(x, 100, name="conv4", **conv)
    x = relu(tf.layers.max_pooling2d(x, 2, 2, **layout))  # (n, 8, 8, 100)
    x = dropout(x, cfg.dropout[0], training=training)
    x = tf.layers.flatten(x)  # as it comes: H, W, C on a CPU
    x = tf.layers.dense(x, 512, activation=relu, name="dense1")
    x = dropout(x, cfg.dropout[1], training=training)
    return tf.layers.dense(x, cfg.classes, name="dense2")  # no softmax


logits = model(images)

# %% Initial weights
weights = run.weights()
variables = tf.trainable_variables()  # conv1/kernel, conv1/bias, ...


def name_of(variable):
    return variable.op.name.replace("/", ".").replace("kernel", "weight")


for variable in variables:
    w = weights[name_of(variable)]
    if w.ndim == 4:
        w = w.transpose(2, 3, 1, 0)  # (h, w, in, out)
    elif w.ndim == 2:
        w = w.T  # (in, out)
    if w.shape[0] == 6400 and not on_gpu:  # from C, H, W order to H, W, C
        w = w.reshape(100, 8, 8, 512).transpose(1, 2, 0, 3).reshape(6400, 512)
    variable.load(w, session)

# %% Loss and optimiser
loss = tf.losses.sparse_softmax_cross_entropy(labels, logits)
optimizer = tf.train.MomentumOptimizer(cfg.learning_rate, cfg.momentum)
train_step = optimizer.minimize(loss)
others = set(tf.global_variables()) - set(variables)  # the optimiser's own
session.run(tf.variables_initializer(others))

# %% Train
run.phase("train")
for epoch in run.epochs():
    for x, y in run.batches(epoch):
        feed = {images: to_layout(x), labels: y, training: True}
        _, batch_loss = session.run([train_step, loss], feed)
        run.step(batch_loss)
    run.epoch_end(epoch, batch_loss)


def final_weights():
    for variable, w in zip(variables, session.run(variables)):
        if w.shape[0] == 6400 and not on_gpu:
            w = w.reshape(8, 8, 100, 512).transpose(2, 0, 1, 3)
            w = w.reshape(6400, 512)
        yield name_of(variable), w.transpose(3, 2, 0, 1) if w.ndim == 4 else w.T


run.final_weights(lambda: dict(final_weights()))

# %% Predict
run.phase("predict")
predict = lambda x: session.run(logits, {images: to_layout(x)})
outputs = np.concatenate([predict(x) for x in run.split(x_test)])
run.outputs(outputs)

# %% Evaluate
run.phase("evaluate")
correct = tf.equal(tf.argmax(logits, 1, output_type=tf.int32), labels)
accuracy = tf.reduce_mean(tf.cast(correct, tf.float32))
run.metric("accuracy", session.run(accuracy, {logits: outputs, labels: y_test}))
