"""The Transformer as the examples of Keras would train it: layers, compile, fit. Prints seconds."""

import os
import sys
import time

os.environ["KERAS_BACKEND"] = "jax"

import job
import keras
from keras import layers, ops

cfg, device, arrays = job.read(sys.argv[1])
width, hidden = cfg["width"], cfg["hidden"]


class TokenAndPositionEmbedding(layers.Layer):
    def __init__(self):
        super().__init__()
        self.tokens = layers.Embedding(cfg["vocabulary"], width, mask_zero=True)
        self.positions = layers.Embedding(cfg["length"], width)

    def call(self, x):
        return self.tokens(x) + self.positions(ops.arange(cfg["length"]))

    def compute_mask(self, x, mask=None):
        return self.tokens.compute_mask(x)


def block(x):
    y = layers.LayerNormalization()(x)
    y = layers.MultiHeadAttention(cfg["heads"], width // cfg["heads"])(y, y)
    x = layers.Add()([x, layers.Dropout(cfg["dropout"])(y)])
    y = layers.LayerNormalization()(x)
    y = layers.Dense(width)(layers.Dense(hidden, activation="gelu")(y))
    return layers.Add()([x, layers.Dropout(cfg["dropout"])(y)])


words = layers.Input((cfg["length"],), dtype="int32")
x = TokenAndPositionEmbedding()(words)
for _ in range(cfg["blocks"]):
    x = block(x)
x = layers.GlobalAveragePooling1D()(layers.LayerNormalization()(x))
model = keras.Model(words, layers.Dense(cfg["classes"])(x))
optimizer = keras.optimizers.AdamW(
    cfg["learning_rate"], cfg["weight_decay"], global_clipnorm=cfg["clip_norm"]
)
model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
rows = len(arrays["x_train"]) // cfg["batch_size"] * cfg["batch_size"]
x_train, y_train = arrays["x_train"][:rows], arrays["y_train"][:rows]

started = time.perf_counter()
model.fit(x_train, y_train, batch_size=cfg["batch_size"], epochs=cfg["epochs"], verbose=0)
print(time.perf_counter() - started)
