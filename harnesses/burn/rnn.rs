//! GRU on IMDB reviews in Burn: embedding 125, GRU 100, dense 2, Adam.

// %% Setup
use std::collections::HashMap;

use burn::{
    backend::{Autodiff, Flex},
    module::{AutodiffModule, Module, ParamId},
    nn::{
        Embedding, EmbeddingConfig, Linear, LinearConfig,
        gru::{Gru, GruConfig},
        loss::CrossEntropyLossConfig,
    },
    optim::{AdamConfig, GradientsParams, Optimizer},
    store::{BurnToPyTorchAdapter, ModuleSnapshot, PyTorchToBurnAdapter, TensorSnapshot},
    tensor::{
        ElementConversion, Int, Tensor, TensorData,
        backend::{AutodiffBackend, Backend},
    },
};
use rosetta::{Array, Config, Run};

fn setup<B: Backend>(run: &Run, device: &B::Device) {
    let device = device.clone();
    run.sync_with(move || B::sync(&device).expect("the device answers"));
    run.fact("gru", "reset_after");
    run.fact("cudnn", false); // Burn has kernels of its own
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
struct Rnn<B: Backend> {
    embedding: Embedding<B>,
    gru: Gru<B>,
    dense: Linear<B>,
}

impl<B: Backend> Rnn<B> {
    fn new(cfg: &Config, device: &B::Device) -> Self {
        let (width, units) = (cfg.usize("embedding"), cfg.usize("units"));
        Self {
            embedding: EmbeddingConfig::new(cfg.usize("vocabulary"), width).init(device),
            gru: GruConfig::new(width, units, true).init(device), // resets after the product
            dense: LinearConfig::new(units, cfg.usize("classes")).init(device),
        }
    }

    fn forward(&self, x: Tensor<B, 2, Int>) -> Tensor<B, 2> {
        let last = x.dims()[1] - 1;
        let x = self.embedding.forward(x); // (n, 150, 125)
        let x = self.gru.forward(x, None); // (n, 150, 100): the state at each token
        let x = x.narrow(1, last, 1).squeeze_dim(1); // (n, 100)
        self.dense.forward(x) // logits: the softmax is in the loss
    }
}

// %% Initial weights
/// Where the experiment stacks three gates in one array, Burn has a `Linear` for each.
const GATES: [&str; 3] = ["reset_gate", "update_gate", "new_gate"];
const STACKS: [(&str, &str); 4] = [
    ("gru.weight_ih_l0", "input_transform.weight"),
    ("gru.weight_hh_l0", "hidden_transform.weight"),
    ("gru.bias_ih_l0", "input_transform.bias"),
    ("gru.bias_hh_l0", "hidden_transform.bias"),
];

/// The adapter transposes the dense kernels, which are (in, out) in Burn.
fn initial_weights<B: Backend>(run: &Run, model: &mut Rnn<B>) {
    let snapshot = |(name, w): (String, Array)| {
        let (path, shape) = (name.split('.').map(String::from).collect(), w.shape.clone());
        TensorSnapshot::from_data(
            TensorData::new(w.into_f32(), shape),
            path,
            vec![],
            ParamId::new(),
        )
    };
    let mut weights: HashMap<_, _> = run.weights().into_iter().collect();
    for (stack, part) in STACKS {
        let stack = weights.remove(stack).expect("the experiment has it");
        let units = stack.rows() / GATES.len();
        for (index, gate) in GATES.iter().enumerate() {
            weights.insert(format!("gru.{gate}.{part}"), stack.slice(index * units, units));
        }
    }
    let weights = weights.into_iter().map(snapshot).collect();
    let applied = model.apply(weights, None, Some(Box::new(PyTorchToBurnAdapter)), false);
    assert!(applied.errors.is_empty() && applied.missing.is_empty(), "{applied}");
}

/// And back, for a check.
fn final_weights<B: Backend>(model: &Rnn<B>) -> Vec<(String, Array)> {
    let weights = model.collect(None, Some(Box::new(BurnToPyTorchAdapter)), false);
    let stored = weights.iter().map(|w| (w.full_path(), w.to_data().expect("a parameter")));
    let array = |w: TensorData| Array::new(w.shape.to_vec(), w.to_vec::<f32>().unwrap());
    let mut weights: HashMap<_, _> = stored.map(|(name, w)| (name, array(w))).collect();
    for (stack, part) in STACKS {
        let gates = GATES.map(|gate| weights.remove(&format!("gru.{gate}.{part}")).unwrap());
        weights.insert(stack.into(), Array::concatenate(gates));
    }
    weights.into_iter().collect()
}

// %% Loss and optimiser
fn optimizer<B: AutodiffBackend>(cfg: &Config) -> impl Optimizer<Rnn<B>, B> {
    let betas = (cfg.f64("beta1") as f32, cfg.f64("beta2") as f32);
    let adam = AdamConfig::new().with_beta_1(betas.0).with_beta_2(betas.1);
    adam.with_epsilon(cfg.f64("epsilon") as f32).init() // default is 1e-5
}

// %% Train
fn train<B: AutodiffBackend>(run: &Run, mut model: Rnn<B>, device: &B::Device) -> Rnn<B> {
    let cfg = &run.config;
    let loss_fn = CrossEntropyLossConfig::new().init(device); // takes logits and class indices
    let mut optimizer = optimizer(cfg);
    run.phase("train");
    for epoch in run.epochs() {
        for (x, y) in run.batches(epoch) {
            let logits = model.forward(ints(x, device));
            let loss = loss_fn.forward(logits, ints(y, device));
            let grads = GradientsParams::from_grads(loss.backward(), &model);
            model = optimizer.step(cfg.f64("learning_rate"), model, grads); // moved in and out
            run.step(move || loss.into_scalar().elem());
        }
        run.epoch_end(epoch);
    }
    run.final_weights(|| final_weights(&model));
    model
}

// %% Predict
fn predict<B: Backend>(run: &Run, model: &Rnn<B>, device: &B::Device) -> Tensor<B, 2> {
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
    let mut model = Rnn::<B>::new(&run.config, &device);
    initial_weights(&run, &mut model);
    let model = train(&run, model, &device).valid(); // without autodiff
    let logits = predict(&run, &model, &device);
    evaluate(&run, logits, &device);
    run.finish();
}
