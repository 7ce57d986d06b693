//! The properties that are measured, and what the experiments want of each.

use self::Wants::{Has, Is, Nothing};

/// A default that frameworks differ in.
#[derive(Debug, PartialEq, Eq)]
pub struct Property {
    /// The name of its fact.
    pub name: &'static str,
    pub group: &'static str,
    pub heading: &'static str,
    pub wants: Wants,
}

/// What the experiments want of a property.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wants {
    /// They state it whatever the default is, or do without.
    Nothing,
    Is(&'static str),
    /// One of several that may be had together.
    Has(&'static str),
}

impl Property {
    /// Returns what its name begins with, by which its group is asked for.
    pub fn short(&self) -> &'static str {
        self.name.split('.').next().unwrap_or(self.name)
    }
}

impl Wants {
    /// Returns whether a value is as wanted.
    pub fn is_met_by(self, value: &str) -> bool {
        match self {
            Wants::Nothing => true,
            Wants::Is(wanted) => value == wanted,
            Wants::Has(wanted) => value.split(", ").any(|one| one == wanted),
        }
    }

    /// Returns what a person reads.
    pub fn words(self) -> &'static str {
        match self {
            Wants::Nothing => "",
            Wants::Is(wanted) | Wants::Has(wanted) => wanted,
        }
    }
}

const fn property(
    name: &'static str,
    group: &'static str,
    heading: &'static str,
    wants: Wants,
) -> Property {
    Property { name, group, heading, wants }
}

const CONV: &str = "Convolution, kernel 3";
const CONV_INITIAL: &str = "Convolution, initial values";
const DENSE: &str = "Dense layer";
const POOL: &str = "Max pooling";
const DROPOUT: &str = "Dropout, rate 0.2";
const LOSS: &str = "Cross-entropy loss";
const SGD: &str = "SGD";
const ADAM: &str = "Adam";
const WORDS: &str = "Adam and the words of an embedding";
const DECAY: &str = "Weight decay, and clipping by the norm";
const TRANSFORMER: &str = "LayerNorm, GELU and attention";
const GRU: &str = "GRU";
const RNN_INITIAL: &str = "Embedding and GRU, initial values";
const TYPES: &str = "Types and seeds";

/// Every property, by group, in the order of the tables.
pub const PROPERTIES: &[Property] = &[
    property("conv.layout", CONV, "Layout", Is("NCHW")),
    property("conv.shorthand", CONV, "A plain 3 means", Is("3x3")),
    property("conv.padding", CONV, "Padding", Is("same")),
    property("conv.stride", CONV, "Stride", Is("1")),
    property("conv.activation", CONV, "Activation", Is("none")),
    property("conv.initialiser", CONV_INITIAL, "Kernel", Is("glorot_uniform")),
    property("conv.bias", CONV_INITIAL, "Bias", Is("zeros")),
    property("dense.activation", DENSE, "Activation", Is("none")),
    property("dense.initialiser", DENSE, "Kernel", Is("glorot_uniform")),
    property("dense.bias", DENSE, "Bias", Is("zeros")),
    property("pool.stride", POOL, "Stride", Is("the window")),
    property("pool.padding", POOL, "Padding", Is("none")),
    property("pool.rest", POOL, "A rest at the edge is", Is("dropped")),
    property("dropout.rate", DROPOUT, "That share is", Is("dropped")),
    property("dropout.scaling", DROPOUT, "Scaled", Is("up in training")),
    property("dropout.untold", DROPOUT, "Told nothing, it", Nothing),
    property("dropout.prediction", DROPOUT, "Told to predict, it", Is("passes on")),
    property("loss.takes", LOSS, "Takes", Is("logits")),
    property("loss.labels", LOSS, "Labels", Has("class numbers")),
    property("loss.label_type", LOSS, "Type of labels", Has("int32")),
    property("loss.reduction", LOSS, "Over a batch", Is("mean")),
    property("sgd.rate", SGD, "Rate", Nothing),
    property("sgd.momentum", SGD, "Momentum", Is("classical")),
    property("sgd.clipping", SGD, "Clips gradients", Is("none")),
    property("adam.rate", ADAM, "Rate", Nothing),
    property("adam.epsilon", ADAM, "Epsilon", Is("1e-08")),
    property("adam.placement", ADAM, "Epsilon is added", Is("after the correction")),
    property("adam.correction", ADAM, "Corrects the bias of", Is("both moments")),
    property("adam.decay", ADAM, "Weight decay", Is("none")),
    property("adam.absent", WORDS, "A word that the batch lacks", Is("moves on")),
    property("adam.twice", WORDS, "The gradients of one there twice are", Is("summed, squared")),
    property("decay.adam", DECAY, "Adam's, asked for", Nothing),
    property("decay.adamw", DECAY, "AdamW's", Is("decoupled, times the rate")),
    property("decay.rate", DECAY, "AdamW's untold", Nothing),
    property("decay.biases", DECAY, "Biases", Is("left alone")),
    property("clip.of", DECAY, "The norm is of the gradients", Is("all together")),
    property("clip.epsilon", DECAY, "Added to the norm", Is("none")),
    property("norm.epsilon", TRANSFORMER, "LayerNorm's epsilon", Is("1e-05")),
    property("norm.placement", TRANSFORMER, "It is added", Is("inside the root")),
    property("norm.variance", TRANSFORMER, "Variance over", Is("n")),
    property("gelu.form", TRANSFORMER, "GELU", Is("by erf")),
    property("attention.mask", TRANSFORMER, "A mask that is true", Nothing),
    property("attention.biases", TRANSFORMER, "Biases of", Is("query, key, value, output")),
    property("gru.reset", GRU, "Resets", Is("after the product")),
    property("gru.biases", GRU, "Biases", Is("2")),
    property("gru.gates", GRU, "Order of gates", Is("r, z, n")),
    property("gru.update", GRU, "Update gate", Is("z keeps the old")),
    property("embedding.initialiser", RNN_INITIAL, "Embedding", Is("uniform(±0.05)")),
    property("embedding.padding", RNN_INITIAL, "Row 0 of the embedding", Nothing),
    property("gru.initialiser", RNN_INITIAL, "Recurrent kernel", Is("glorot_uniform per gate")),
    property("type.parameters", TYPES, "Weights", Is("float32")),
    property("type.float64", TYPES, "A float64 input", Nothing),
    property("type.int64", TYPES, "An int64 array", Nothing),
    property("seed", TYPES, "The same seed twice gives", Is("same numbers")),
];
