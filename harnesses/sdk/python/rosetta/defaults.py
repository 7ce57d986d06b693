"""What a framework does unless it is told otherwise: measured, not looked up.

A framework's `defaults.py` makes its layers, losses and optimisers with their
defaults and hands them over as functions of NumPy arrays. Each function here
runs them and derives properties, `{name: value}`, from what comes out; a
`Report` sends them. What a property is called in the table and what the
experiments want of it is known to rosetta alone. May not know any framework.
"""

import collections
import inspect
import itertools
import math
import re

import numpy as np

UNKNOWN = "none of the known"  # a measurement that cannot tell says so

Layer = collections.namedtuple("Layer", "call kernel bias")
Layer.__doc__ = """A layer with weights.

`call` maps an array to an array. `kernel` and `bias` are functions, called
after `call`: kernels (out, in, ...), biases (out,) or None where there is none.
"""

Gru = collections.namedtuple("Gru", "call weight_ih weight_hh biases")
Gru.__doc__ = """A GRU whose parameters, biases too, were all drawn at random.

`call` maps (n, time, inputs) to the last state (n, units). Three blocks of
units stand in each of weight_ih (3 units, inputs), weight_hh (3 units, units)
and the one or two `biases` (3 units,): of the input, of the state. Where the
state has a bias in some gates only, it is 0 in the others.
"""


class Report:
    """Sends properties as facts of a run.

    `overrides` names, for a property, a harness and the text in it by which the
    default is overridden; rosetta looks for the text. `not_needed` says why
    nothing has to be overridden although the default is not what is wanted.
    """

    def __init__(self, run, overrides, not_needed=()):
        self._run, self._sent = run, set()
        self._overrides, self._not_needed = overrides, dict(not_needed)

    def __call__(self, properties, how="run"):
        for name in sorted(properties):
            fact = {"value": properties[name], "how": how}
            if name in self._overrides:
                fact["override"] = list(self._overrides[name])
            if name in self._not_needed:
                fact["not_needed"] = self._not_needed[name]
            self._run.fact(name, fact)
            self._sent.add(name)
        return properties

    def read(self, properties):
        """Sends what could only be read, from a signature or a document, and not run."""
        return self(properties, how="read")

    def close(self):
        """Complains about words on properties that were never measured."""
        idle = sorted((set(self._overrides) | set(self._not_needed)) - self._sent)
        if idle:
            raise ValueError("never measured: %s" % ", ".join(idle))


def default_of(function, parameter):
    """Reads what a parameter is unless stated: where it shows in nothing that is run."""
    default = inspect.signature(function).parameters[parameter].default
    return "must be stated" if default is inspect.Parameter.empty else str(default)


# Layers on images

LAYOUTS = {"NCHW": 1, "NHWC": 3}  # and where the channels are


def convolution(make):
    """Measures a convolution; `make(inputs, outputs, size)` returns a Layer.

    `size` is (3, 3), and once 3.
    """
    layout = _layout(make)
    rows, columns = _windows(make(2, 16, (3, 3)).call, layout)
    both = {_padding(rows), _padding(columns)}
    strides = {rows.stride, columns.stride}
    return {
        "conv.layout": layout,
        "conv.shorthand": _shorthand(make, layout),
        "conv.padding": both.pop() if len(both) == 1 else UNKNOWN,
        "conv.stride": str(strides.pop()) if len(strides) == 1 else UNKNOWN,
        "conv.activation": activation(make(2, 16, (3, 3)).call, _images(layout, 2, 2, 9)),
        "conv.initialiser": initialiser(_convolutions(make, layout, (24, 100), (96, 60))),
        "conv.bias": bias(_convolutions(make, layout, (2, 3000), (8, 4000))),
    }


def _images(layout, n, channels, size):
    shape = (n, channels, size, size) if layout == "NCHW" else (n, size, size, channels)
    return np.random.RandomState(1).standard_normal(shape).astype("float32")


def _layout(make):
    """Returns the layout whose axis of channels is the one that the layer changes."""
    refusals = []
    for layout, axis in LAYOUTS.items():
        try:
            y = make(2, 5, (3, 3)).call(_images(layout, 1, 2, 9))
        except Exception as error:  # whatever a framework says to a wrong shape
            refusals.append("%s: %s" % (layout, error))
            continue
        if y.ndim == 4 and y.shape[axis] == 5 and y.shape.count(5) == 1:
            return layout
    raise ValueError("no layout fits; " + "; ".join(refusals))


Window = collections.namedtuple("Window", "size stride before after count length")


def _windows(call, layout, length=9):
    """Returns the windows along height and width, from responses to impulses."""
    return [window(_touched(call, layout, axis, length), length) for axis in (0, 1)]


def _touched(call, layout, axis, length):
    """Returns which outputs along an axis feel an impulse at each input along it."""
    x = np.zeros((length + 1, 2, length, length), "float32")  # the last one stays zero
    for i in range(length):
        x[(i, slice(None)) + ((i, length // 2), (length // 2, i))[axis]] = 1
    y = call(x if layout == "NCHW" else x.transpose(0, 2, 3, 1))
    y = np.asarray(y if layout == "NCHW" else y.transpose(0, 3, 1, 2))
    felt = np.abs(y[:-1] - y[-1:]) > 1e-6
    return felt.any(axis=(1, 3 - axis))  # over channels and the other axis


def window(touched, length):
    """Returns the sliding window that touches so: (inputs, outputs) of booleans."""
    count = touched.shape[1]
    i, j = np.arange(length)[:, None], np.arange(count)
    for size, stride in itertools.product(range(1, length), range(1, length)):
        for before in range(size):
            offset = i + before - j * stride
            if (((offset >= 0) & (offset < size)) == touched).all():
                after = (count - 1) * stride + size - before - length
                return Window(size, stride, before, after, count, length)
    raise ValueError("no sliding window touches like this:\n%s" % touched.astype(int))


def _padding(w):
    if w.before == 0 and w.after <= 0:
        return "none"
    if w.count == -(-w.length // w.stride):
        return "same"
    return "%d before, %d after" % (w.before, max(w.after, 0))


def _shorthand(make, layout):
    try:
        rows, columns = _windows(make(2, 16, 3).call, layout)
    except Exception:  # whatever a framework says to a single number
        return "refused"
    return "%dx%d" % (rows.size, columns.size)


def activation(call, x):
    """Returns the activation of a layer that is linear without: none or relu."""
    rest, there, back, far = call(0 * x), call(x), call(-x), call(3 * x)
    is_straight = np.allclose(far - rest, 3 * (there - rest), rtol=1e-3, atol=1e-4)
    if is_straight and np.allclose(there - rest, rest - back, rtol=1e-3, atol=1e-4):
        return "none"
    is_relu = there.min() == 0 and back.min() == 0 and (there * back == 0).all()
    return "relu" if is_relu and is_straight else UNKNOWN


def pooling(make, layout):
    """Measures a pooling layer; `make(size)` returns a function of images."""
    rows, columns = _windows(make(3), layout, length=10)
    if rows != columns:
        return {"pool.stride": UNKNOWN}
    properties = {
        "pool.stride": "the window" if rows.stride == rows.size else str(rows.stride),
        "pool.padding": "none" if rows.before == 0 else "%d before" % rows.before,
    }
    if rows.stride == rows.size:  # 10 is three windows and a rest
        properties["pool.rest"] = "dropped" if rows.count == 3 else "kept"
    return properties


def dense(make):
    """Measures a fully connected layer; `make(inputs, outputs)` returns a Layer."""
    x = np.random.RandomState(2).standard_normal((3, 20)).astype("float32")
    layers = [_called(make(i, o), np.zeros((1, i), "float32")) for i, o in DENSE_SIZES]
    wide = [_called(make(*size), np.zeros((1, size[0]), "float32")) for size in BIAS_SIZES]
    return {
        "dense.activation": activation(make(20, 16).call, x),
        "dense.initialiser": initialiser(layers),
        "dense.bias": bias(wide),
    }


# Which of fan-in, fan-out, their mean and a constant sets the scale: 4 : 1/3 : 1.8 : 1.
DENSE_SIZES = (200, 300), (800, 100)
BIAS_SIZES = (4, 4000), (25, 3000)


def _called(layer, x):
    layer.call(x)  # some make their weights only now
    return layer


def _convolutions(make, layout, *sizes):
    return [_called(make(i, o, (3, 3)), 0 * _images(layout, 1, i, 3)) for i, o in sizes]


# Initialisers

Fans = collections.namedtuple("Fans", "fan_in fan_out")


def fans(kernel):
    """Returns the fans of a kernel (out, in, ...)."""
    field = int(np.prod(kernel.shape[2:]))
    return Fans(kernel.shape[1] * field, kernel.shape[0] * field)


def initialiser(layers):
    """Names the initialiser of the kernels of two layers of different shapes."""
    kernels = [np.asarray(layer.kernel(), "float64") for layer in layers]
    return named([(kernel, fans(kernel)) for kernel in kernels])


def bias(layers):
    """Names the initialiser of the biases, whose fans are those of the kernels."""
    biases = [layer.bias() for layer in layers]
    if any(b is None for b in biases):
        return "no bias"
    return named(
        [
            (np.asarray(b, "float64"), fans(np.asarray(layer.kernel())))
            for b, layer in zip(biases, layers)
        ]
    )


def embedding(make):
    """Measures an embedding; `make(rows, width)` returns its table (rows, width)."""
    tables = [np.asarray(make(*size), "float64") for size in ((1000, 50), (300, 200))]
    # A table is a kernel from a one-hot of a row number: its fan-in are the rows.
    name = named([(table, Fans(*table.shape)) for table in tables])
    return {"embedding.initialiser": name.replace("fan_in", "rows").replace("fan_out", "width")}


def recurrent(make):
    """Names the initialiser of a GRU's recurrent kernel.

    `make(units)` returns it (out, units), with as many gates as are one parameter.
    """
    return {"gru.initialiser": named([(w, fans(w)) for w in map(make, (60, 150))])}


GAINS = {
    ("uniform", "fan_in", 1): "lecun_uniform",
    ("uniform", "fan_in", 2): "he_uniform",
    ("uniform", "fan_in", 1 / 3.0): "uniform(±1/√fan_in)",
    ("uniform", "fan_out", 1 / 3.0): "uniform(±1/√fan_out)",
    ("uniform", "fan_mean", 1): "glorot_uniform",
    ("normal", "fan_in", 1): "lecun_normal",
    ("normal", "fan_in", 2): "he_normal",
    ("normal", "fan_mean", 1): "glorot_normal",
}


def named(samples):
    """Names what two arrays were drawn from; `samples` are pairs of an array and its Fans.

    The kind of distribution is that which fits both; the scale is the rule that
    gives both variances. What has no name is told in numbers.
    """
    arrays = [array.ravel() for array, _ in samples]
    if all((array == 0).all() for array in arrays):
        return "zeros"
    if all(np.ptp(array) == 0 for array in arrays):
        return "constant %.3g" % arrays[0][0]
    if all(_is_orthogonal(array) for array, _ in samples):
        return "orthogonal"
    kinds = {distribution(array) for array in arrays}
    kind = kinds.pop() if len(kinds) == 1 else None
    deviations = [array.std() for array in arrays]
    if kind is None:
        return "unnamed, deviations %.3g and %.3g" % tuple(deviations)
    first, second = [fans for _, fans in samples]
    rules = {
        "constant": (1, 1),
        "fan_in": (first.fan_in, second.fan_in),
        "fan_out": (first.fan_out, second.fan_out),
        "fan_mean": (sum(first) / 2.0, sum(second) / 2.0),
    }
    noise = 5 / min(array.size for array in arrays) ** 0.5
    fits = {}
    for rule, scale in rules.items():
        gains = [deviation**2 * s for deviation, s in zip(deviations, scale)]
        if abs(gains[0] / gains[1] - 1) < noise:
            fits[rule] = (gains[0] * gains[1]) ** 0.5
    names = sorted(set(_names(kind, fits, noise)))
    if names:
        return " or ".join(names)
    if len(fits) != 1:
        return "%s, deviations %.2g and %.2g" % ((kind,) + tuple(deviations))
    ((rule, gain),) = fits.items()
    if rule != "constant":
        return "%s, variance %.2g/%s" % (kind, gain, rule)
    half = (3 * gain) ** 0.5 if kind == "uniform" else gain**0.5
    return "%s(%s%.2g)" % (kind, "±" if kind == "uniform" else "0, ", half)


def _names(kind, fits, noise):
    """Yields the names that fit: more than one where all kernels are square."""
    shape, cut = (kind, "") if kind != "truncated normal" else ("normal", " (truncated)")
    for (known, rule, size), name in GAINS.items():
        if known == shape and rule in fits and abs(fits[rule] / size - 1) < noise:
            yield name + cut


def _is_orthogonal(array):
    """Tells whether the shorter side's vectors are orthonormal."""
    if array.ndim != 2:
        return False
    product = array.T.dot(array) if array.shape[0] > array.shape[1] else array.dot(array.T)
    return np.allclose(product, np.eye(len(product)), atol=1e-4)


def _phi(x):
    return np.array([0.5 + 0.5 * math.erf(v / 2**0.5) for v in x])


# What is left of a normal distribution's deviation when it is cut off at two of them.
TRUNCATED = 0.8796256610342398


def distribution(samples):
    """Returns uniform, normal or truncated normal, or None: by extremes, then by KS."""
    samples = np.sort(samples)[:: max(1, len(samples) // 20000)]
    n = len(samples)
    deviation = samples.std()
    if abs(samples.mean()) > 5 * deviation / n**0.5:
        return None
    x = samples / deviation
    reach = np.abs(x).max()
    if reach < 1.8:
        kind, cdf = "uniform", np.clip(0.5 + x / (2 * 3**0.5), 0, 1)
    elif reach < 2 / TRUNCATED + 0.02:
        low, high = _phi([-2, 2])
        kind, cdf = "truncated normal", np.clip((_phi(x * TRUNCATED) - low) / (high - low), 0, 1)
    else:
        kind, cdf = "normal", _phi(x)
    steps = np.arange(n + 1) / float(n)
    distance = max(np.abs(cdf - steps[:-1]).max(), np.abs(cdf - steps[1:]).max())
    return kind if distance < 2.2 / n**0.5 else None  # the same draw fails 1 in 10,000 times


# Dropout


def dropout(untold, training, prediction):
    """Measures dropout of rate 0.2: functions of an array, told nothing, to train, to predict."""
    ones = np.ones((100, 100), "float32")
    y, p = np.asarray(training(ones)), np.asarray(prediction(ones))
    kept = (y != 0).mean()
    share = {0.8: "dropped", 0.2: "kept"}
    meant = [word for value, word in share.items() if abs(kept - value) < 0.03]
    scale = y[y != 0].mean() if kept else 0
    if abs(scale * kept - 1) < 0.05:
        scaling = "up in training"
    elif scale == 1 and abs(p.mean() - kept) < 0.05:
        scaling = "down in prediction"
    else:
        scaling = "never" if scale == 1 else UNKNOWN
    return {
        "dropout.rate": meant[0] if meant else UNKNOWN,
        "dropout.scaling": scaling,
        "dropout.untold": "drops" if (np.asarray(untold(ones)) == 0).any() else "passes on",
        "dropout.prediction": "drops" if (p == 0).any() else "passes on",
    }


# Loss

LABEL_TYPES = "int32", "int64", "float32"


def loss(call):
    """Measures a classification loss: `call(outputs, labels)` returns a number or an array."""
    random = np.random.RandomState(3)
    logits = random.standard_normal((5, 3)).astype("float32")
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = np.array([2, 0, 1, 1, 0])
    one_hot = np.eye(3)[labels]
    kinds = {"class numbers": labels, "one-hot": one_hot}
    taken = [
        (kind, dtype)
        for kind, dtype in itertools.product(("class numbers", "one-hot"), LABEL_TYPES)
        if _loss_of(call, p, kinds[kind].astype(dtype), labels)
    ]
    if not taken:
        names = "loss.takes", "loss.labels", "loss.label_type", "loss.reduction"
        return dict.fromkeys(names, UNKNOWN)
    kind, dtype = taken[0]
    takes, reduction = _loss_of(call, p, kinds[kind].astype(dtype), labels)
    accepted = [k for k in ("class numbers", "one-hot") if any(k == one for one, _ in taken)]
    return {
        "loss.takes": takes,
        "loss.labels": ", ".join(accepted),
        "loss.label_type": ", ".join(t for k, t in taken if k == kind),
        "loss.reduction": reduction,
    }


def _loss_of(call, p, labels, numbers):
    """Returns what the loss takes `p` for and how it reduces, or None if it does neither.

    `p` are probabilities, and as good logits as any; to be taken for both is ruled out.
    """
    try:
        value = np.asarray(call(p, labels), "float64")
    except Exception:  # whatever a framework says to labels of another kind
        return None
    rows = np.arange(len(p))
    probabilities = -np.log(p[rows, numbers])
    as_logits = -(p - np.log(np.exp(p).sum(1, keepdims=True)))[rows, numbers]
    for takes, each in (("logits", as_logits), ("probabilities", probabilities)):
        reduced = (("none", each), ("mean", each.mean()), ("sum", each.sum()))
        for reduction, wanted in reduced:
            if value.size == np.size(wanted) and np.allclose(value.ravel(), wanted, rtol=1e-4):
                return takes, reduction
    return None


# Optimisers

RATE, MOMENTUM = 0.125, 0.75  # exact in binary, and unlike any default


def momentum(descend):
    """Measures SGD with momentum: `descend(weights, gradients, rate, momentum)`.

    It returns the weights after each of the gradients, which are arrays.
    """
    start = np.zeros(2, "float32")
    steady, swinging = [1, 1, 1, 1], [1, -2, 4, 0.5]
    gradients = [np.array(pair, "float32") for pair in zip(steady, swinging)]
    steps = _steps(descend, start, gradients, RATE, MOMENTUM)
    huge = [np.array([1e6, -1e6], "float32")]
    (after,) = descend(start.copy(), list(huge), RATE, 0.0)
    free = np.allclose(after, -RATE * huge[0], rtol=1e-4)
    return {
        "sgd.momentum": _momentum_form(steps, gradients),
        "sgd.clipping": "none" if free else UNKNOWN,
    }


def _steps(descend, start, gradients, rate, *settings):
    """Returns how far each gradient went, in units of the rate; nobody's arrays are shared."""
    after = descend(start.copy(), [g.copy() for g in gradients], rate, *settings)
    path = [start] + [np.array(w) for w in after]
    return [(a - b) / rate for a, b in zip(path, path[1:])]


def _momentum_form(steps, gradients):
    first, second = gradients[0][1], gradients[1][1]
    # Whatever the second gradient enters with besides 1 is dampening.
    dampening = 1 - (steps[1][1] - MOMENTUM * steps[0][1]) / second
    forms = collections.OrderedDict(
        [
            ("none", lambda v, g, t: (g, g)),
            ("classical", lambda v, g, t: (MOMENTUM * v + g,) * 2),
            ("Nesterov", lambda v, g, t: _nesterov(MOMENTUM * v + g, g)),
            ("unit gain", lambda v, g, t: (MOMENTUM * v + (1 - MOMENTUM) * g,) * 2),
            (
                "Nesterov, unit gain",
                lambda v, g, t: _nesterov(MOMENTUM * v + (1 - MOMENTUM) * g, (1 - MOMENTUM) * g),
            ),
            (
                "dampening %.2g after the first step" % dampening,
                lambda v, g, t: (MOMENTUM * v + (1 - (dampening if t else 0)) * g,) * 2,
            ),
            (
                "dampening %.2g" % dampening,
                lambda v, g, t: (MOMENTUM * v + (1 - dampening) * g,) * 2,
            ),
        ]
    )
    for name, form in forms.items():
        velocity = 0 * first
        fits = True
        for t, (step, gradient) in enumerate(zip(steps, gradients)):
            velocity, wanted = form(velocity, gradient, t)
            fits = fits and np.allclose(step, wanted, rtol=1e-3, atol=1e-4)
        if fits:
            return name
    return UNKNOWN


def _nesterov(velocity, gradient):
    return velocity, gradient + MOMENTUM * velocity


ADAM_RATE, BETA1, BETA2 = 2.0**-10, 0.9, 0.999


def adam(descend):
    """Measures Adam: `descend(weights, gradients, rate, beta1, beta2)`, all else by default."""
    # The smaller a gradient, the more of a step is epsilon's.
    sizes = 10.0 ** np.arange(-10, 1)
    random = np.random.RandomState(4)
    gradients = [(sizes * (1 + random.rand(len(sizes)))).astype("float32") for _ in range(6)]
    start = np.zeros(len(sizes), "float32")
    moved = np.array(_steps(descend, start, gradients, ADAM_RATE, BETA1, BETA2))
    found = None
    exponents, digits = range(-12, 0), (1, 2, 5)
    for power, digit, form in itertools.product(exponents, digits, sorted(ADAM_FORMS)):
        epsilon = digit * 10.0**power
        wanted = _adam_steps(gradients, epsilon, ADAM_FORMS[form])
        error = np.abs(moved - wanted).max() / np.abs(wanted).max()
        if error < 2e-3 and (found is None or error < found[0]):
            found = error, epsilon, form
    ones, still = np.ones(3, "float32"), np.zeros(3, "float32")
    decay = float(_steps(descend, ones, [still], ADAM_RATE, BETA1, BETA2)[0][0])
    if found is None:
        words = {"adam.epsilon": UNKNOWN, "adam.placement": UNKNOWN, "adam.correction": UNKNOWN}
    else:
        _, epsilon, (placement, correction) = found
        words = {
            "adam.epsilon": "%.0e" % epsilon,
            "adam.placement": placement,
            "adam.correction": correction,
        }
    words["adam.decay"] = "none" if abs(decay) < 1e-4 else _decay(decay)
    return words


def words(train):
    """Measures what Adam does to words that a batch lacks, or has twice.

    `train(batches)` trains an embedding of 4 rows on its sum, and returns its
    table after each of the batches, which are arrays (n,) of row numbers.
    """
    batches = [np.array(batch) for batch in ([3], [0, 0, 1], [2])]
    try:
        before, after, later = [np.array(table) for table in train(batches)]
    except Exception:  # whatever a framework says to gradients of some rows only
        return {"adam.absent": "refused", "adam.twice": "refused"}
    twice, once = np.abs(after - before).mean(axis=1)[:2]
    # The step does not depend on the size of a gradient, but on how its square came about.
    each = 1 + (1 + BETA1) / (1 + BETA2) ** 0.5  # both moments have grown by the second
    known = {1: "summed, squared", 2**0.5: "squared, summed", each: "a step each"}
    ways = [way for ratio, way in known.items() if abs(twice / once - ratio) < 0.01]
    # A word that was seen once goes on by its momentum.
    is_moved = (later[:2] != after[:2]).all()
    return {
        "adam.absent": "moves on" if is_moved else "stays",
        "adam.twice": ways[0] if ways else UNKNOWN,
    }


def _decay(moved):
    """With no gradient a plain decay moves by its own size, one within the gradient by 1."""
    return "in the gradient" if moved > 0.5 else "%.2g of the weight" % moved


def _ahead(correction, beta):
    """Returns the correction of the next step."""
    return 1 - (1 - correction) * beta


AFTER, BEFORE, INSIDE = "after the correction", "before the correction", "inside the root"
ADAM_FORMS = {
    (AFTER, "both moments"): lambda m, v, c1, c2, e: m / c1 / (np.sqrt(v / c2) + e),
    (BEFORE, "both moments"): lambda m, v, c1, c2, e: m / c1 * c2**0.5 / (np.sqrt(v) + e),
    (BEFORE, "both, a step ahead"): lambda m, v, c1, c2, e: (
        m / _ahead(c1, BETA1) * _ahead(c2, BETA2) ** 0.5 / (np.sqrt(v) + e)
    ),
    (INSIDE, "both moments"): lambda m, v, c1, c2, e: m / c1 / np.sqrt(v / c2 + e),
    ("outside the root", "none"): lambda m, v, c1, c2, e: m / (np.sqrt(v) + e),
    (INSIDE, "none"): lambda m, v, c1, c2, e: m / np.sqrt(v + e),
}


def _adam_steps(gradients, epsilon, form):
    m = v = np.zeros_like(gradients[0], "float64")
    steps = []
    for t, g in enumerate(gradients, start=1):
        g = g.astype("float64")
        m, v = BETA1 * m + (1 - BETA1) * g, BETA2 * v + (1 - BETA2) * g * g
        steps.append(form(m, v, 1 - BETA1**t, 1 - BETA2**t, epsilon))
    return np.array(steps)


# Weight decay and clipping

DECAY = 0.0078125


def decay(adam, adamw):
    """Measures weight decay of Adam and of AdamW: `descend(weights, gradients, rate, decay)`.

    Either may be None where there is no such optimiser, or where it has no decay.
    """
    by_adam, by_adamw = [_decay_form(one) for one in (adam, adamw)]
    return {
        "decay.adam": by_adam,
        "decay.adamw": by_adamw,
        "decay.biases": "left alone" if "none" in (by_adam, by_adamw) else "decay too",
    }


def _decay_form(descend):
    """Returns how a weight that has no gradient decays; it is one of an array with one axis."""
    if descend is None:
        return "not there"
    (after,) = descend(np.ones(2, "float32"), [np.zeros(2, "float32")], RATE, DECAY)
    moved = 1 - np.asarray(after, "float64")[0]
    forms = {
        "none": 0.0,
        "in the gradient": RATE,  # of which Adam takes the sign alone
        "decoupled, times the rate": RATE * DECAY,
        "decoupled, by itself": DECAY,
    }
    # An epsilon of 1e-5 takes a thousandth off the sign.
    found = [name for name, size in forms.items() if abs(moved - size) < 1e-6 + 1e-2 * size]
    return found[0] if found else UNKNOWN


def clipping(clip):
    """Measures clipping by a norm: `clip(gradients, limit)` returns the list of clipped arrays."""
    unit = 2.0**-12  # exact in binary, and so small that a 1e-8 is seen beside it
    gradients = [np.array([3 * unit, 0], "float32"), np.array([[4 * unit]], "float32")]
    limit = 2 * unit
    first, second = [np.abs(np.asarray(g, "float64")).max() for g in clip(gradients, limit)]
    of = None
    if abs(first - limit) < 5e-2 * limit and abs(second - limit) < 5e-2 * limit:
        of, norm = "each by itself", 3 * unit
    elif abs(first / second - 0.75) < 1e-3 and first < 3 * unit:
        of, norm = "all together", 5 * unit
    if of is not None:
        return {"clip.of": of, "clip.epsilon": _epsilon(limit * 3 * unit / first - norm)}
    return {"clip.of": UNKNOWN, "clip.epsilon": UNKNOWN}


def _epsilon(value):
    """Names a small number that is added, seen through float32."""
    return "none" if abs(value) < 2e-9 else "%.0e" % value


# Layers of a transformer


def layer_norm(call):
    """Measures a layer norm over the last axis: `call` maps (n, 8) to the same."""
    row = np.array([-3, -1, 0, 2, 1, -2, 2, 1], "float64")
    row -= row.mean()
    scales = (1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
    x = np.array([scale * row for scale in scales])
    y = np.asarray(call(x.astype("float32")), "float64")
    ratios = y[:, 0] / x[:, 0]
    for over, count in (("n", 8.0), ("n - 1", 7.0)):
        variances = (x**2).sum(1) / count
        forms = {
            "inside the root": (1 / ratios**2 - variances, lambda e, v: 1 / np.sqrt(v + e)),
            "outside the root": (1 / ratios - np.sqrt(variances), lambda e, v: 1 / (np.sqrt(v) + e)),
        }
        for placement, (epsilons, form) in sorted(forms.items()):
            epsilon = epsilons[-1]  # where it weighs most
            if np.allclose(form(epsilon, variances), ratios, rtol=1e-4):
                name = "%.0e" % epsilon
                return {"norm.epsilon": name, "norm.placement": placement, "norm.variance": over}
    return dict.fromkeys(("norm.epsilon", "norm.placement", "norm.variance"), UNKNOWN)


def gelu(call):
    """Measures which formula a GELU is."""
    x = np.linspace(-3, 3, 25).astype("float32")
    y = np.asarray(call(x))
    inner = (2 / np.pi) ** 0.5 * (x + 0.044715 * x**3)
    forms = {
        "by erf": x * _phi(x),
        "by tanh": 0.5 * x * (1 + np.tanh(inner)),
        "by a sigmoid": x / (1 + np.exp(-1.702 * x)),
    }
    found = [name for name, wanted in forms.items() if np.allclose(y, wanted, atol=2e-5)]
    return {"gelu.form": found[0] if found else UNKNOWN}


def attention(call, biases):
    """Measures attention: `call(x, mask)` maps (1, 4, 8) to the same.

    `mask` is (4, 4) of booleans, queries by keys. `biases` are the names of
    the projections that have one.
    """
    x = np.random.RandomState(6).standard_normal((1, 4, 8)).astype("float32")
    mask = np.zeros((4, 4), bool)
    mask[:, 3] = True

    def is_seen(key):
        other = x.copy()
        other[0, key] += 1
        before, after = (np.asarray(call(one, mask))[0, 0] for one in (x, other))
        return not np.allclose(before, after, atol=1e-5)

    meanings = {(True, False): "leaves out", (False, True): "lets see"}
    order = ("query", "key", "value", "output")
    return {
        "attention.mask": meanings.get((is_seen(1), is_seen(3)), UNKNOWN),
        "attention.biases": ", ".join(one for one in order if one in biases) or "none",
    }


def padding_row(train):
    """Measures whether row 0 of an embedding learns: `train(batches)` as for `words`."""
    first, after = list(train([np.array([1, 2]), np.array([0, 1])]))
    is_moved = not np.allclose(np.asarray(first)[0], np.asarray(after)[0])
    return {"embedding.padding": "learns as any other" if is_moved else "stays as it is"}


# GRU


def gru(layer):
    """Measures a Gru: which of the variants, with which order of gates, gives its state."""
    random = np.random.RandomState(5)
    weight_ih, weight_hh = (np.asarray(w, "float64") for w in layer[1:3])
    units, inputs = weight_hh.shape[1], weight_ih.shape[1]
    biases = [np.asarray(b, "float64") for b in layer.biases]
    x = random.standard_normal((2, 4, inputs)).astype("float32")
    state = np.asarray(layer.call(x))
    both = (biases + [np.zeros(3 * units)] * 2)[:2]
    parts = [w.reshape(3, units, -1) for w in [weight_ih, weight_hh] + both]
    found = []
    for order in itertools.permutations("rzn"):
        gates = [{gate: part[order.index(gate)] for gate in "rzn"} for part in parts]
        skips = (False, True)[: len(biases)]
        for variant in itertools.product(("after", "before"), "hn", skips, sorted(SQUASHES)):
            if np.allclose(state, _gru_state(x, gates, *variant), atol=1e-4):
                found.append((order, variant))
    if len(found) != 1:
        return dict.fromkeys(("gru.reset", "gru.gates", "gru.update", "gru.biases"), UNKNOWN)
    ((order, (reset, keeps, skips, squash)),) = found
    by_state = [gate for gate, part in zip(order, parts[3]) if part.any()]
    if len(biases) == 2 and len(by_state) < 3:
        count = "1, and 1 of %s" % ", ".join(by_state)
    else:
        count = "%d%s" % (len(biases), ", 1 at first" if skips else "")
    update = "z keeps the old" if keeps == "h" else "z takes the new"
    return {
        "gru.reset": "%s the product" % reset,
        "gru.biases": count,
        "gru.gates": ", ".join(order),
        "gru.update": update if squash == "sigmoid" else "%s, by a %s" % (update, squash),
    }


SQUASHES = {
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "hard sigmoid": lambda x: np.clip(0.2 * x + 0.5, 0, 1),  # of Theano and of Keras 2
}


def _gru_state(x, gates, reset, keeps, skips, squash="sigmoid"):
    """Returns the last state; `skips` leaves out the state's bias where there is no state yet."""
    w_i, w_h, b_i, b_h = gates
    h = np.zeros((len(x), len(w_h["r"])))
    for t in range(x.shape[1]):
        by_state = 0 if skips and t == 0 else 1
        i = {gate: x[:, t].dot(w_i[gate].T) + b_i[gate].ravel() for gate in "rzn"}
        b = {gate: by_state * b_h[gate].ravel() for gate in "rzn"}
        s = {gate: h.dot(w_h[gate].T) + b[gate] for gate in "rz"}
        r, z = [SQUASHES[squash](i[gate] + s[gate]) for gate in "rz"]
        before, after = (r, 1) if reset == "before" else (1, r)
        n = np.tanh(i["n"] + after * ((before * h).dot(w_h["n"].T) + b["n"]))
        h = z * h + (1 - z) * n if keeps == "h" else z * n + (1 - z) * h
    return h


# Types and seeds


TYPE = re.compile(r"(int|float)\d+")


def types(make, convert):
    """Measures types: `make(inputs, outputs)` returns a dense Layer.

    It is given float32 and float64; `convert` returns what type an int64 array gets.
    """
    layer = _called(make(4, 3), np.ones((2, 4), "float32"))
    try:
        wide = str(np.asarray(layer.call(np.ones((2, 4), "float64"))).dtype)
    except Exception:  # whatever a framework says to another type
        wide = "refused"
    return {
        "type.parameters": str(np.asarray(layer.kernel()).dtype),
        "type.float64": wide if wide == "refused" else "gives " + wide,
        "type.int64": _converted(convert),
    }


def _converted(convert):
    try:
        return "becomes " + TYPE.search(str(convert(np.array([1, 2])))).group()
    except Exception:  # whatever a framework says to another type
        return "refused"


def seeds(draw):
    """Measures whether `draw(seed)`, an array of random numbers, follows from the seed."""
    first, again, other = [np.asarray(draw(seed)) for seed in (7, 7, 8)]
    if np.array_equal(first, other):
        return {"seed": "has no effect"}
    return {"seed": "same numbers" if np.array_equal(first, again) else "other numbers"}
