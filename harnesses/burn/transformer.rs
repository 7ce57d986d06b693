//! Transformer encoder on IMDB reviews in Burn: `TransformerEncoder`, AdamW.

// %% Setup
use std::collections::HashMap;

use burn::{
    backend::{Autodiff, Flex},
    module::{AutodiffModule, Module, ModuleVisitor, Param, ParamId},
    nn::{
        Embedding, EmbeddingConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig,
        loss::CrossEntropyLossConfig,
        transformer::{TransformerEncoder, TransformerEncoderConfig, TransformerEncoderInput},
    },
    optim::{AdamWConfig, GradientsParams, Optimizer},
    store::{BurnToPyTorchAdapter, ModuleSnapshot, PyTorchToBurnAdapter, TensorSnapshot},
    tensor::{
        ElementConversion, Int, Tensor, TensorData,
        backend::{AutodiffBackend, Backend},
    },
};
use rosetta::{Array, Config, Run};

fn setup<B: Backend>(run: &Run, device: &B::Device) {
    B::seed(device, run.config.u64("seed"));
    let device = device.clone();
    run.sync_with(move || B::sync(&device).expect("the device answers"));
    run.fact("compiled", run.device == "cuda"); // fused and compiled as they are needed
}

// %% Load data
fn load_data(run: &Run) {
    run.phase("load");
    for name in ["x_train", "y_train", "x_test", "y_test"] {
        run.data(name); // is kept; tokens are (n, 150)
    }
}

fn ints<B: Backend, const D: usize>(x: Array, device: &B::Device) -> Tensor<B, D, Int> {
    let shape = x.shape.clone();
    Tensor::from_data(TensorData::new(x.into_i32(), shape), device)
}

// %% Build model
#[derive(Module, Debug)]
struct Transformer<B: Backend> {
    embedding: Embedding<B>,
    positions: Param<Tensor<B, 2>>,
    encoder: TransformerEncoder<B>,
    norm: LayerNorm<B>,
    dense: Linear<B>,
}

impl<B: Backend> Transformer<B> {
    fn new(cfg: &Config, device: &B::Device) -> Self {
        let [length, width, hidden, heads, blocks] =
            ["length", "width", "hidden", "heads", "blocks"].map(|name| cfg.usize(name));
        let epsilon = cfg.f64("norm_epsilon");
        let mut encoder = TransformerEncoderConfig::new(width, hidden, heads, blocks)
            .with_dropout(cfg.f64("dropout"))
            .with_norm_first(true) // post-norm is the default
            .with_layer_norm_eps(epsilon)
            .init(device);
        // It drops in four places: these two are not in the experiment.
        for layer in &mut encoder.layers {
            layer.mha.dropout.prob = 0.0; // of scores, before the softmax
            layer.pwff.dropout.prob = 0.0; // behind the GELU, which is by erf
        }
        Self {
            embedding: EmbeddingConfig::new(cfg.usize("vocabulary"), width).init(device),
            positions: Param::from_tensor(Tensor::zeros([length, width], device)),
            encoder,
            norm: LayerNormConfig::new(width).with_epsilon(epsilon).init(device), // has none
            dense: LinearConfig::new(width, cfg.usize("classes")).init(device),
        }
    }

    fn forward(&self, words: Tensor<B, 2, Int>) -> Tensor<B, 2> {
        let padding = words.clone().equal_elem(0); // true is masked
        let share = padding.clone().bool_not().float().unsqueeze_dim::<3>(2);
        let x = self.embedding.forward(words) + self.positions.val().unsqueeze::<3>();
        let x = self.encoder.forward(TransformerEncoderInput::new(x).mask_pad(padding));
        let x = self.norm.forward(x) * share.clone(); // (n, 150, 128)
        let x = x.sum_dim(1) / share.sum_dim(1); // (n, 1, 128): sums keep their axis
        self.dense.forward(x.squeeze_dim(1)) // logits: the softmax is in the loss
    }
}

// %% Initial weights
const NAMES: [(&str, &str); 6] = [
    (".norm1.", ".norm_2."), // the norms are counted from behind
    (".norm2.", ".norm_1."),
    ("self_attn.out_proj", "mha.output"),
    ("linear1", "pwff.linear_inner"),
    ("linear2", "pwff.linear_outer"),
    ("encoder.norm", "norm"),
];
const PARTS: [&str; 3] = ["mha.query.", "mha.key.", "mha.value."];

/// Burn's names of an array; queries, keys and values are a `Linear` each.
fn names(name: &str) -> Vec<String> {
    let burns = NAMES.iter().fold(name.to_owned(), |name, (ours, burns)| name.replace(ours, burns));
    let parts = if name.contains("in_proj_") { &PARTS[..] } else { &PARTS[..1] };
    parts.iter().map(|part| burns.replace("self_attn.in_proj_", part)).collect()
}

/// The adapter transposes the dense kernels, which are (in, out) in Burn, and renames γ and β.
fn initial_weights<B: Backend>(run: &Run, model: &mut Transformer<B>) {
    let mut weights = Vec::new();
    for (name, w) in run.weights() {
        let parts = names(&name);
        let rows = w.rows() / parts.len();
        for (index, name) in parts.iter().enumerate() {
            let w = w.slice(index * rows, rows);
            let (path, shape) = (name.split('.').map(String::from).collect(), w.shape.clone());
            let data = TensorData::new(w.into_f32(), shape);
            weights.push(TensorSnapshot::from_data(data, path, vec![], ParamId::new()));
        }
    }
    let applied = model.apply(weights, None, Some(Box::new(PyTorchToBurnAdapter)), false);
    assert!(applied.errors.is_empty() && applied.missing.is_empty(), "{applied}");
}

/// And back, for a check.
fn final_weights<B: Backend>(run: &Run, model: &Transformer<B>) -> Vec<(String, Array)> {
    let weights = model.collect(None, Some(Box::new(BurnToPyTorchAdapter)), false);
    let stored = weights.iter().map(|w| (w.full_path(), w.to_data().expect("a parameter")));
    let array = |w: TensorData| Array::new(w.shape.to_vec(), w.to_vec::<f32>().unwrap());
    let mut weights: HashMap<_, _> = stored.map(|(name, w)| (name, array(w))).collect();
    let whole = |(name, _): (String, Array)| {
        let parts = names(&name).into_iter().map(|part| weights.remove(&part).expect(&part));
        (name, Array::concatenate(parts))
    };
    run.weights().into_iter().map(whole).collect()
}

// %% Loss and optimiser
/// One for the matrices, embeddings among them, and one for biases and norms, which do not decay.
fn optimizers<B: AutodiffBackend>(cfg: &Config) -> [impl Optimizer<Transformer<B>, B>; 2] {
    let [beta1, beta2, epsilon, decay] =
        ["beta1", "beta2", "epsilon", "weight_decay"].map(|name| cfg.f64(name) as f32);
    let adamw = AdamWConfig::new().with_beta_1(beta1).with_beta_2(beta2).with_epsilon(epsilon);
    [decay, 0.0].map(|decay| adamw.clone().with_weight_decay(decay).init())
}

/// Clips all gradients together, which Burn does for each array alone, and sorts them into those of
/// matrices and of vectors. Visits the model twice: without a factor yet, it adds up the squares.
struct Clip<B: AutodiffBackend> {
    grads: GradientsParams,
    squares: Vec<Tensor<B::InnerBackend, 1>>,
    factor: Option<Tensor<B::InnerBackend, 1>>,
    clipped: [GradientsParams; 2],
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Clip<B> {
    fn visit_float<const D: usize>(&mut self, w: &Param<Tensor<B, D>>) {
        let Some(grad) = self.grads.get::<B::InnerBackend, D>(w.id) else { return };
        if let Some(factor) = self.factor.clone() {
            self.clipped[usize::from(D == 1)].register(w.id, grad * factor.unsqueeze::<D>());
        } else {
            self.squares.push(grad.square().sum());
        }
    }
}

impl<B: AutodiffBackend> Clip<B> {
    fn clipped(mut self, model: &Transformer<B>, limit: f64) -> [GradientsParams; 2] {
        model.visit(&mut self);
        let norm = Tensor::cat(self.squares.split_off(0), 0).sum().sqrt();
        self.factor = Some(norm.recip().mul_scalar(limit).clamp_max(1.0));
        model.visit(&mut self);
        self.clipped
    }
}

// %% Train
fn train<B: AutodiffBackend>(run: &Run, mut model: Transformer<B>) -> Transformer<B> {
    let (cfg, device, mut t) = (&run.config, &model.devices()[0], 0.0);
    let loss_fn = CrossEntropyLossConfig::new().init(device); // takes logits and class indices
    let mut optimizers = optimizers(cfg);
    run.phase("train");
    for epoch in run.epochs() {
        for (x, y) in run.batches(epoch) {
            let logits = model.forward(ints(x, device));
            let loss = loss_fn.forward(logits, ints(y, device));
            let grads = GradientsParams::from_grads(loss.backward(), &model);
            t += 1.0;
            // `LinearLrScheduler` would do, but for the rates above 1 of a check.
            let rate = cfg.f64("learning_rate") * f64::min(1.0, t / cfg.f64("warmup_steps"));
            let clip = Clip { grads, squares: vec![], factor: None, clipped: Default::default() };
            let groups = clip.clipped(&model, cfg.f64("clip_norm"));
            for (optimizer, grads) in optimizers.iter_mut().zip(groups) {
                model = optimizer.step(rate, model, grads); // moved in and out
            }
            run.step(move || loss.into_scalar().elem());
        }
        run.epoch_end(epoch);
    }
    run.final_weights(|| final_weights(run, &model));
    model
}

// %% Predict
fn predict<B: Backend>(run: &Run, model: &Transformer<B>, device: &B::Device) -> Tensor<B, 2> {
    run.phase("predict");
    let x_test = run.data("x_test");
    let logits = run.split(&x_test).map(|x| model.forward(ints(x, device))).collect();
    let logits = Tensor::cat(logits, 0);
    run.outputs(Array::new(logits.dims(), logits.to_data().to_vec::<f32>().unwrap()));
    logits
}

// %% Evaluate
fn evaluate<B: Backend>(run: &Run, logits: Tensor<B, 2>, device: &B::Device) {
    run.phase("evaluate");
    let y_test = ints(run.data("y_test").as_ref().clone(), device);
    let correct = logits.argmax(1).squeeze_dim::<1>(1).equal(y_test);
    run.metric("accuracy", correct.float().mean().into_scalar().elem(), None);
}

// %% Run
fn main() {
    let run = rosetta::start("Burn", rosetta::locked(include_str!("Cargo.lock"), "burn"));
    match run.device.as_str() {
        #[cfg(feature = "cuda")]
        "cuda" => {
            run.require_library("libcuda.so.1", "the NVIDIA driver");
            experiment::<Autodiff<burn::backend::Cuda>>(run, Default::default());
        }
        "cpu" => experiment::<Autodiff<Flex>>(run, Default::default()),
        device => panic!("built without `--features {device}`"),
    }
}

fn experiment<B: AutodiffBackend>(run: Run, device: B::Device) {
    setup::<B>(&run, &device);
    load_data(&run);
    run.phase("build");
    let mut model = Transformer::<B>::new(&run.config, &device);
    initial_weights(&run, &mut model);
    let model = train(&run, model).valid(); // without autodiff
    let logits = predict(&run, &model, &device);
    evaluate(&run, logits, &device);
    run.finish();
}
