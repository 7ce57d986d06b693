"""Tests of the measurements: a fake of each alternative must be told by its name."""

import itertools
import unittest

import numpy as np

from rosetta import defaults
from rosetta.defaults import Gru, Layer

random = np.random.RandomState(0)


def slide(x, size, stride, before, after, fill=0.0):
    """Returns the windows of the last axis, as a last axis of their own."""
    padding = [(0, 0)] * (x.ndim - 1) + [(before, after)]
    x = np.pad(x, padding, mode="constant", constant_values=fill)
    count = (x.shape[-1] - size) // stride + 1
    return np.stack([x[..., i * stride : i * stride + size] for i in range(count)], -2)


def windows(x, size, stride=1, before=0, after=0, fill=0.0):
    """Returns the windows of the last two axes of (n, c, h, w): (n, c, h', w', kh, kw)."""
    height, width = (size, size) if isinstance(size, int) else size
    x = slide(x, width, stride, before, after, fill)  # (n, c, h, w', kw)
    x = slide(x.transpose(0, 1, 3, 4, 2), height, stride, before, after, fill)
    return x.transpose(0, 1, 4, 2, 5, 3)


def conv(layout="NCHW", stride=1, pad=(0, 0), relu=False, one_dimensional=False, draw=None):
    """Returns what makes a convolution with the given defaults."""
    draw = draw or (lambda shape: random.uniform(-1, 1, shape))

    def make(inputs, outputs, size):
        if isinstance(size, int):
            size = (1, size) if one_dimensional else (size, size)
        kernel = draw((outputs, inputs) + size)
        zeros = np.zeros(outputs)

        def call(x):
            x = x if layout == "NCHW" else x.transpose(0, 3, 1, 2)
            if x.shape[1] != inputs:
                raise ValueError("%d channels" % x.shape[1])
            y = np.einsum("nchwij,ocij->nohw", windows(x, size, stride, *pad), kernel)
            y = np.maximum(y, 0) if relu else y
            return y if layout == "NCHW" else y.transpose(0, 2, 3, 1)

        return Layer(call, lambda: kernel, lambda: zeros)

    return make


class Images(unittest.TestCase):
    def measured(self, name, **settings):
        return defaults.convolution(conv(**settings))["conv." + name]

    def test_a_layout_is_found_whatever_the_layer_refuses(self):
        for layout in ("NCHW", "NHWC"):
            self.assertEqual(self.measured("layout", layout=layout), layout)

    def test_paddings_and_strides_are_told_apart(self):
        for pad, name in [
            ((0, 0), "none"),
            ((1, 1), "same"),
            ((2, 0), "same"),
            ((2, 2), "2 before, 2 after"),
        ]:
            self.assertEqual(self.measured("padding", pad=pad), name)
        self.assertEqual(self.measured("stride", stride=2), "2")
        self.assertEqual(self.measured("stride"), "1")

    def test_a_single_number_may_be_one_dimension(self):
        self.assertEqual(self.measured("shorthand"), "3x3")
        self.assertEqual(self.measured("shorthand", one_dimensional=True), "1x3")

        def strict(inputs, outputs, size):
            if isinstance(size, int):
                raise TypeError("a pair is wanted")
            return conv()(inputs, outputs, size)

        self.assertEqual(defaults.convolution(strict)["conv.shorthand"], "refused")

    def test_a_relu_is_seen(self):
        self.assertEqual(self.measured("activation", relu=True), "relu")
        self.assertEqual(self.measured("activation"), "none")
        x = random.standard_normal((4, 9))
        self.assertEqual(defaults.activation(np.tanh, x), defaults.UNKNOWN)

    def test_pools_are_told_by_stride_and_rest(self):
        def pool(stride, keep_rest=False):
            def make(size):
                step = stride or size

                def call(x):
                    rest = -(x.shape[-1] - size) % step if keep_rest else 0
                    y = windows(x, size, step, 0, rest, -np.inf)
                    return y.max(axis=(4, 5))

                return call

            return defaults.pooling(make, "NCHW")

        self.assertEqual(pool(None)["pool.stride"], "the window")
        self.assertEqual(pool(None)["pool.rest"], "dropped")
        self.assertEqual(pool(None, keep_rest=True)["pool.rest"], "kept")
        self.assertEqual(pool(1)["pool.stride"], "1")
        self.assertEqual(pool(2)["pool.stride"], "2")
        self.assertNotIn("pool.rest", pool(1))

    def test_what_slides_no_window_is_an_error(self):
        touched = random.rand(9, 9) > 0.5
        self.assertRaises(ValueError, defaults.window, touched, 9)


def truncated(shape):
    x = random.standard_normal(int(np.prod(shape)) * 2)
    return x[np.abs(x) < 2][: int(np.prod(shape))].reshape(shape) / defaults.TRUNCATED


class Initialisers(unittest.TestCase):
    KINDS = {
        "uniform": lambda shape: random.uniform(-(3**0.5), 3**0.5, shape),
        "normal": random.standard_normal,
        "truncated normal": truncated,
    }

    def named(self, kind, variance):
        def layer(o, i):
            fan_in, fan_out = i, o
            kernel = self.KINDS[kind]((o, i)) * variance(fan_in, fan_out) ** 0.5
            return Layer(None, lambda: kernel, None)

        return defaults.initialiser([layer(300, 200), layer(100, 800)])

    def test_each_name_is_given_to_what_it_means(self):
        cases = [
            ("uniform", lambda i, o: 2.0 / (i + o), "glorot_uniform"),
            ("normal", lambda i, o: 2.0 / (i + o), "glorot_normal"),
            ("uniform", lambda i, o: 1.0 / i, "lecun_uniform"),
            ("uniform", lambda i, o: 2.0 / i, "he_uniform"),
            ("uniform", lambda i, o: 1.0 / (3 * i), "uniform(±1/√fan_in)"),
            ("uniform", lambda i, o: 1.0 / (3 * o), "uniform(±1/√fan_out)"),
            ("normal", lambda i, o: 1.0 / i, "lecun_normal"),
            ("normal", lambda i, o: 2.0 / i, "he_normal"),
            ("truncated normal", lambda i, o: 1.0 / i, "lecun_normal (truncated)"),
            ("truncated normal", lambda i, o: 2.0 / i, "he_normal (truncated)"),
            ("uniform", lambda i, o: 0.05**2 / 3, "uniform(±0.05)"),
            ("normal", lambda i, o: 0.01**2, "normal(0, 0.01)"),
            ("normal", lambda i, o: 1.5 / i, "normal, variance 1.5/fan_in"),
        ]
        for kind, variance, name in cases:
            self.assertEqual(self.named(kind, variance), name)

    def test_what_has_no_name_is_told_in_numbers(self):
        mixed = self.named("normal", lambda i, o: 1.0 / (i * o))
        self.assertTrue(mixed.startswith("normal, deviations 0.0041"), mixed)
        for odd in (random.exponential(1, 20000), random.laplace(0, 1, 20000)):
            self.assertIsNone(defaults.distribution(odd))

    def test_constants_and_orthogonal_kernels_are_no_draws(self):
        pair = lambda make: [(make(s), defaults.Fans(s, s)) for s in (20, 30)]
        self.assertEqual(defaults.named(pair(np.zeros)), "zeros")
        self.assertEqual(defaults.named(pair(np.ones)), "constant 1")
        turned = lambda s: np.linalg.qr(random.standard_normal((3 * s, s)))[0]
        self.assertEqual(defaults.named(pair(turned)), "orthogonal")

    def test_square_kernels_leave_the_rule_open(self):
        draw = lambda units: random.standard_normal((units, units)) / units**0.5
        found = defaults.recurrent(draw)
        self.assertEqual(found["gru.initialiser"], "glorot_normal or lecun_normal")

    def test_a_bias_may_be_absent(self):
        layer = Layer(None, lambda: np.zeros((4, 3)), lambda: None)
        self.assertEqual(defaults.bias([layer, layer]), "no bias")

    def test_an_embedding_is_scaled_by_its_width(self):
        make = lambda rows, width: random.standard_normal((rows, width)) / width**0.5
        found = defaults.embedding(make)["embedding.initialiser"]
        self.assertEqual(found, "normal, variance 1/width")


class Dropouts(unittest.TestCase):
    def measured(self, dropped=0.2, scale=None, predict=1.0, untold=None):
        keep = 1 - dropped
        mask = lambda x: (random.rand(*x.shape) < keep) * (1 / keep if scale is None else scale)
        train = lambda x: x * mask(x)
        return defaults.dropout(untold or train, train, lambda x: x * predict)

    def test_a_rate_is_dropped_or_kept(self):
        self.assertEqual(self.measured()["dropout.rate"], "dropped")
        self.assertEqual(self.measured(dropped=0.8)["dropout.rate"], "kept")
        self.assertEqual(self.measured(dropped=0.5)["dropout.rate"], defaults.UNKNOWN)

    def test_scaling_is_placed(self):
        self.assertEqual(self.measured()["dropout.scaling"], "up in training")
        late = self.measured(scale=1, predict=0.8)
        self.assertEqual(late["dropout.scaling"], "down in prediction")
        self.assertEqual(self.measured(scale=1)["dropout.scaling"], "never")

    def test_what_happens_untold_is_seen(self):
        self.assertEqual(self.measured()["dropout.untold"], "drops")
        self.assertEqual(self.measured(untold=lambda x: x)["dropout.untold"], "passes on")


class Losses(unittest.TestCase):
    def test_each_combination_is_told(self):
        takes, labels = ("logits", "probabilities"), ("class numbers", "one-hot")
        reductions = {"mean": np.mean, "sum": np.sum, "none": lambda x: x}
        for take, label, name in itertools.product(takes, labels, sorted(reductions)):

            def call(x, y):
                if (label == "one-hot") != (y.ndim == 2):
                    raise TypeError("labels of another kind")
                rows = y.argmax(1) if y.ndim == 2 else y.astype(int)
                log_p = np.log(x)
                if take == "logits":
                    log_p = x - np.log(np.exp(x).sum(1, keepdims=True))
                return reductions[name](-log_p[np.arange(len(x)), rows])

            found = defaults.loss(call)
            self.assertEqual(found["loss.takes"], take)
            self.assertEqual(found["loss.labels"], label)
            self.assertEqual(found["loss.reduction"], name)
            self.assertEqual(found["loss.label_type"], "int32, int64, float32")

    def test_another_loss_is_not_taken_for_it(self):
        squared = lambda x, y: ((x - np.eye(3)[y.astype(int)]) ** 2).mean()
        self.assertEqual(defaults.loss(squared)["loss.takes"], defaults.UNKNOWN)


def sgd(nesterov=False, share=1.0, first=1.0, clip=None):
    def descend(w, gradients, rate, momentum):
        velocity = 0
        for t, g in enumerate(gradients):
            g = np.clip(g, -clip, clip) if clip else g
            g = g * (share if t else first)
            velocity = momentum * velocity + g
            w = w - rate * (g + momentum * velocity if nesterov else velocity)
            yield w

    return descend


class Optimisers(unittest.TestCase):
    def form(self, **settings):
        return defaults.momentum(sgd(**settings))["sgd.momentum"]

    def test_each_form_of_momentum_has_its_name(self):
        self.assertEqual(self.form(), "classical")
        without = lambda w, gradients, rate, _: sgd()(w, gradients, rate, 0)
        self.assertEqual(defaults.momentum(without)["sgd.momentum"], "none")
        self.assertEqual(self.form(nesterov=True), "Nesterov")
        self.assertEqual(self.form(share=0.25, first=0.25), "unit gain")
        self.assertEqual(self.form(share=0.25, first=0.25, nesterov=True), "Nesterov, unit gain")
        self.assertEqual(self.form(share=0.9), "dampening 0.1 after the first step")
        self.assertEqual(self.form(share=0.9, first=0.9), "dampening 0.1")
        self.assertEqual(self.form(share=0.9, first=0.7), defaults.UNKNOWN)

    def test_a_rate_within_the_velocity_is_the_same(self):
        def descend(w, gradients, rate, momentum):
            velocity = 0
            for g in gradients:
                velocity = momentum * velocity - rate * g
                w = w + velocity
                yield w

        self.assertEqual(defaults.momentum(descend)["sgd.momentum"], "classical")

    def test_clipping_is_noticed(self):
        self.assertEqual(defaults.momentum(sgd())["sgd.clipping"], "none")
        self.assertEqual(defaults.momentum(sgd(clip=10))["sgd.clipping"], defaults.UNKNOWN)

    def adam(self, form, epsilon, decay=0.0, coupled=0.0):
        def descend(w, gradients, rate, beta1, beta2):
            m = v = 0
            for t, g in enumerate(gradients, start=1):
                g = g.astype("float64") + coupled * w
                m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g
                step = form(m, v, 1 - beta1**t, 1 - beta2**t, epsilon)
                w = (w - rate * step - rate * decay * w).astype("float32")
                yield w

        return defaults.adam(descend)

    def test_each_adam_has_its_name(self):
        for (placement, correction), form in defaults.ADAM_FORMS.items():
            for epsilon in (1e-8, 1e-7, 1e-3):
                found = self.adam(form, epsilon)
                self.assertEqual(found["adam.placement"], placement)
                self.assertEqual(found["adam.correction"], correction)
                self.assertEqual(float(found["adam.epsilon"]), epsilon)
                self.assertEqual(found["adam.decay"], "none")

    def test_another_optimiser_is_not_taken_for_adam(self):
        found = self.adam(lambda m, v, c1, c2, e: np.sign(m), 1e-8)
        self.assertEqual(found["adam.placement"], defaults.UNKNOWN)
        found = self.adam(lambda m, v, c1, c2, e: m / c1 / (np.sqrt(v) + e), 1e-8)
        self.assertEqual(found["adam.correction"], defaults.UNKNOWN)

    def test_decay_is_decoupled_or_in_the_gradient(self):
        form = defaults.ADAM_FORMS[defaults.AFTER, "both moments"]
        self.assertEqual(self.adam(form, 1e-8, decay=0.01)["adam.decay"], "0.01 of the weight")
        self.assertEqual(self.adam(form, 1e-8, coupled=0.01)["adam.decay"], "in the gradient")

    def words(self, lazy=False, squares_first=False, each=False):
        def train(batches):
            w, m, v = random.rand(4, 2), np.zeros((4, 2)), np.zeros((4, 2))
            for batch in batches:
                w = w.copy()
                for part in [[row] for row in batch] if each else [batch]:
                    g, square = np.zeros((4, 2)), np.zeros((4, 2))
                    np.add.at(g, part, 1)
                    np.add.at(square, part, 1)
                    square = square if squares_first else g * g
                    rows = np.isin(range(4), part) if lazy else np.full(4, True)
                    m[rows] = 0.9 * m[rows] + 0.1 * g[rows]
                    v[rows] = 0.999 * v[rows] + 0.001 * square[rows]
                    w[rows] -= 0.1 * m[rows] / (np.sqrt(v[rows]) + 1e-8)
                yield w

        return defaults.words(train)

    def test_words_that_a_batch_lacks_or_repeats(self):
        self.assertEqual(self.words()["adam.absent"], "moves on")
        self.assertEqual(self.words(lazy=True)["adam.absent"], "stays")
        self.assertEqual(self.words()["adam.twice"], "summed, squared")
        self.assertEqual(self.words(squares_first=True)["adam.twice"], "squared, summed")
        self.assertEqual(self.words(lazy=True, each=True)["adam.twice"], "a step each")

        def refuses(batches):
            raise NotImplementedError

        self.assertEqual(defaults.words(refuses)["adam.absent"], "refused")


class Transformers(unittest.TestCase):
    def test_each_layer_norm_has_its_name(self):
        for ddof, over in ((0, "n"), (1, "n - 1")):
            for placement in ("inside the root", "outside the root"):
                for epsilon in (1e-3, 1e-5, 1e-6):

                    def call(x):
                        x = x - x.mean(1, keepdims=True)
                        v = x.var(1, ddof=ddof, keepdims=True)
                        inside = placement == "inside the root"
                        return x / (np.sqrt(v + epsilon) if inside else np.sqrt(v) + epsilon)

                    self.assertEqual(
                        defaults.layer_norm(call),
                        {
                            "norm.epsilon": "%.0e" % epsilon,
                            "norm.placement": placement,
                            "norm.variance": over,
                        },
                    )
        self.assertEqual(defaults.layer_norm(np.tanh)["norm.variance"], defaults.UNKNOWN)

    def test_a_gelu_is_told_by_its_formula(self):
        tanh = lambda x: x / (1 + np.exp(-2 * (2 / np.pi) ** 0.5 * (x + 0.044715 * x**3)))
        for call, name in [
            (lambda x: x * defaults._phi(x), "by erf"),
            (tanh, "by tanh"),
            (lambda x: x / (1 + np.exp(-1.702 * x)), "by a sigmoid"),
            (lambda x: np.maximum(x, 0), defaults.UNKNOWN),
        ]:
            self.assertEqual(defaults.gelu(call), {"gelu.form": name})

    def test_a_mask_lets_see_or_leaves_out(self):
        def attend(x, seen):
            scores = np.einsum("nqc,nkc->nqk", x, x) - 1e9 * ~seen
            weights = np.exp(scores - scores.max(-1, keepdims=True))
            return weights / weights.sum(-1, keepdims=True) @ x

        found = defaults.attention(attend, ["output", "query"])
        self.assertEqual(found, {"attention.mask": "lets see", "attention.biases": "query, output"})
        found = defaults.attention(lambda x, mask: attend(x, ~mask), [])
        self.assertEqual(found, {"attention.mask": "leaves out", "attention.biases": "none"})
        blind = defaults.attention(lambda x, mask: attend(x, mask | True), [])
        self.assertEqual(blind["attention.mask"], defaults.UNKNOWN)

    def test_a_row_for_padding_may_stay(self):
        def train(moves):
            w = np.zeros((4, 2))
            return lambda batches: [w, w + (moves if 0 in batches[1] else 0)]

        for moves, name in ((1, "learns as any other"), (0, "stays as it is")):
            self.assertEqual(defaults.padding_row(train(moves)), {"embedding.padding": name})


class Decays(unittest.TestCase):
    def test_each_form_of_decay_has_its_name(self):
        forms = {
            "none": lambda w, rate, decay: w,
            "in the gradient": lambda w, rate, decay: w - rate * decay / (decay + 1e-5),
            "decoupled, times the rate": lambda w, rate, decay: w - rate * decay * w,
            "decoupled, by itself": lambda w, rate, decay: w - decay * w,
            defaults.UNKNOWN: lambda w, rate, decay: w + 1,
        }
        for name, form in forms.items():
            descend = lambda w, gradients, rate, decay: [form(w, rate, decay)]
            found = defaults.decay(None, descend)
            self.assertEqual((found["decay.adam"], found["decay.adamw"]), ("not there", name))

    def test_a_norm_is_of_all_or_of_each(self):
        def clip(is_each, epsilon):
            def clipped(gradients, limit):
                norms = [np.linalg.norm(g.astype("float64")) for g in gradients]
                whole = [sum(n * n for n in norms) ** 0.5] * len(norms)
                norms = norms if is_each else whole
                return [g * np.float32(limit / (n + epsilon)) for g, n in zip(gradients, norms)]

            return clipped

        for is_each, of in ((True, "each by itself"), (False, "all together")):
            for epsilon, name in ((0, "none"), (1e-8, "1e-08"), (1e-6, "1e-06")):
                found = defaults.clipping(clip(is_each, epsilon))
                self.assertEqual(found, {"clip.of": of, "clip.epsilon": name})
        found = defaults.clipping(lambda gradients, limit: gradients)
        self.assertEqual(found["clip.of"], defaults.UNKNOWN)


class Grus(unittest.TestCase):
    def gru(self, order="rzn", reset="after", keeps="h", biases=2, skips=False, hard=False, of=""):
        draw = lambda *shape: random.standard_normal(shape)
        w_i, w_h = draw(12, 3), draw(12, 4)
        b = [draw(12) for _ in range(biases)]
        block = lambda w, gate: w[order.index(gate) * 4 :][:4]
        for gate in set("rzn") - set(of or "rzn"):
            block(b[-1], gate)[:] = 0

        def squash(x):
            return np.clip(x / 5 + 0.5, 0, 1) if hard else 1 / (1 + np.exp(-x))

        def call(x):
            h = np.zeros((len(x), 4))
            for t in range(x.shape[1]):
                i = {k: x[:, t] @ block(w_i, k).T + block(b[0], k) for k in "rzn"}
                c = {k: block(b[1], k) if biases == 2 and (t or not skips) else 0 for k in "rzn"}
                sigma = lambda k: squash(i[k] + h @ block(w_h, k).T + c[k])
                r, z = sigma("r"), sigma("z")
                if reset == "after":
                    n = np.tanh(i["n"] + r * (h @ block(w_h, "n").T + c["n"]))
                else:
                    n = np.tanh(i["n"] + (r * h) @ block(w_h, "n").T + c["n"])
                h = z * h + (1 - z) * n if keeps == "h" else (1 - z) * h + z * n
            return h

        return defaults.gru(Gru(call, w_i, w_h, b))

    def test_each_variant_is_told(self):
        for order in ("rzn", "zrn", "nzr"):
            for reset, keeps, biases in itertools.product(("after", "before"), "hn", (1, 2)):
                found = self.gru(order, reset, keeps, biases)
                self.assertEqual(found["gru.gates"], ", ".join(order))
                self.assertEqual(found["gru.reset"], reset + " the product")
                self.assertEqual(found["gru.biases"], str(biases))
                wanted = "z keeps the old" if keeps == "h" else "z takes the new"
                self.assertEqual(found["gru.update"], wanted)

    def test_a_bias_may_be_missing_in_the_first_step(self):
        self.assertEqual(self.gru(skips=True)["gru.biases"], "2, 1 at first")

    def test_the_state_may_have_a_bias_in_one_gate_only(self):
        self.assertEqual(self.gru("zrn", of="n")["gru.biases"], "1, and 1 of n")
        self.assertEqual(self.gru("zrn", biases=1, of="n")["gru.biases"], "1")

    def test_gates_may_be_by_a_hard_sigmoid(self):
        found = self.gru("zrn", "before", biases=1, hard=True)
        self.assertEqual(found["gru.update"], "z keeps the old, by a hard sigmoid")
        self.assertEqual(found["gru.reset"], "before the product")
        found = self.gru(keeps="n", hard=True)
        self.assertEqual(found["gru.update"], "z takes the new, by a hard sigmoid")

    def test_another_cell_is_none_of_them(self):
        draw = random.standard_normal
        odd = Gru(lambda x: x.sum(1) @ np.ones((3, 4)), draw((12, 3)), draw((12, 4)), [draw(12)])
        self.assertEqual(defaults.gru(odd)["gru.reset"], defaults.UNKNOWN)


class Types(unittest.TestCase):
    def measured(self, call, convert=lambda x: x.dtype):
        make = lambda i, o: Layer(call, lambda: np.zeros((o, i), "float32"), None)
        return defaults.types(make, convert)

    def test_float64_is_kept_cast_or_refused(self):
        self.assertEqual(self.measured(lambda x: x)["type.float64"], "gives float64")
        cast = lambda x: x.astype("float32")
        self.assertEqual(self.measured(cast)["type.float64"], "gives float32")

        def strict(x):
            if x.dtype != "float32":
                raise TypeError("float32 is wanted")
            return x

        self.assertEqual(self.measured(strict)["type.float64"], "refused")
        self.assertEqual(self.measured(cast)["type.parameters"], "float32")

    def test_a_type_is_found_in_the_words_of_a_framework(self):
        names = {
            "torch.int64": "int64",
            "<dtype: 'int32'>": "int32",
            "<class 'numpy.float32'>": "float32",
        }
        for text, name in names.items():
            found = self.measured(lambda x: x, lambda x, text=text: text)
            self.assertEqual(found["type.int64"], "becomes " + name)
        self.assertEqual(self.measured(lambda x: x, lambda x: "?")["type.int64"], "refused")

    def test_seeds_are_the_same_other_or_nothing(self):
        seeded = lambda seed: np.random.RandomState(seed).rand(9)
        self.assertEqual(defaults.seeds(seeded)["seed"], "same numbers")
        self.assertEqual(defaults.seeds(lambda seed: random.rand(9))["seed"], "other numbers")
        self.assertEqual(defaults.seeds(lambda seed: np.ones(9))["seed"], "has no effect")


class Facts:
    def __init__(self):
        self.sent = {}

    def fact(self, name, value):
        self.sent[name] = value


class Reports(unittest.TestCase):
    def test_facts_say_how_and_what_overrides_them(self):
        run = Facts()
        report = defaults.Report(run, {"a": ("cnn", "x=1")}, {"b": "it is even"})
        self.assertEqual(report({"a": "0", "b": "1"}), {"a": "0", "b": "1"})
        report.read({"c": "2"})
        report.close()
        self.assertEqual(run.sent["a"], {"value": "0", "how": "run", "override": ["cnn", "x=1"]})
        self.assertEqual(run.sent["b"]["not_needed"], "it is even")
        self.assertEqual(run.sent["c"], {"value": "2", "how": "read"})

    def test_signatures_are_read(self):
        def layer(size, rate=0.01):
            pass

        self.assertEqual(defaults.default_of(layer, "rate"), "0.01")
        self.assertEqual(defaults.default_of(layer, "size"), "must be stated")

    def test_a_word_on_what_was_never_measured_is_an_error(self):
        report = defaults.Report(Facts(), {"typo": ("cnn", "x")})
        self.assertRaises(ValueError, report.close)


if __name__ == "__main__":
    unittest.main()
