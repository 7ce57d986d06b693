//! VGG-style CNN on CIFAR-10 in Burn: conv 50-50-100-100, dense 512, SGD.

// %% Setup
use burn::{
    backend::{Autodiff, Flex},
    module::{AutodiffModule, Module, ParamId},
    nn::{
        Dropout, DropoutConfig, Linear, LinearConfig, PaddingConfig2d,
        conv::{Conv2d, Conv2dConfig},
        loss::CrossEntropyLossConfig,
        pool::{MaxPool2d, MaxPool2dConfig},
    },
    optim::{GradientsParams, Optimizer, SgdConfig, momentum::MomentumConfig},
    store::{BurnToPyTorchAdapter, ModuleSnapshot, PyTorchToBurnAdapter, TensorSnapshot},
    tensor::{
        ElementConversion, Int, Tensor, TensorData,
        activation::relu,
        backend::{AutodiffBackend, Backend},
    },
};
use rosetta::{Array, Config, Run};

fn setup<B: Backend>(run: &Run, device: &B::Device) {
    B::seed(device, run.config.u64("seed"));
    let device = device.clone();
    run.sync_with(move || B::sync(&device).expect("the device answers"));
    run.fact("layout", "NCHW");
    run.fact("cudnn", false); // Burn has kernels of its own
    run.fact("compiled", run.device == "cuda"); // fused and compiled as they are needed
}

// %% Load data
fn load_data(run: &Run) {
    run.phase("load");
    for name in ["x_train", "y_train", "x_test", "y_test"] {
        run.data(name); // is kept; images are (n, 3, 32, 32) already, as Burn wants them
    }
}

fn images<B: Backend>(x: Array, device: &B::Device) -> Tensor<B, 4> {
    let shape = x.shape.clone();
    Tensor::from_data(TensorData::new(x.into_f32(), shape), device)
}

fn labels<B: Backend>(y: Array, device: &B::Device) -> Tensor<B, 1, Int> {
    Tensor::from_ints(y.into_i32().as_slice(), device)
}

// %% Build model
#[derive(Module, Debug)]
struct Cnn<B: Backend> {
    conv1: Conv2d<B>,
    conv2: Conv2d<B>,
    conv3: Conv2d<B>,
    conv4: Conv2d<B>,
    pool: MaxPool2d,
    dense1: Linear<B>,
    dense2: Linear<B>,
    dropout1: Dropout,
    dropout2: Dropout,
}

impl<B: Backend> Cnn<B> {
    fn new(cfg: &Config, device: &B::Device) -> Self {
        let conv = |inputs, outputs| {
            let conv = Conv2dConfig::new([inputs, outputs], [3, 3]);
            conv.with_padding(PaddingConfig2d::Same).init(device) // default is none
        };
        Self {
            conv1: conv(3, 50),
            conv2: conv(50, 50),
            conv3: conv(50, 100),
            conv4: conv(100, 100),
            pool: MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init(), // default is [2, 2]
            dense1: LinearConfig::new(100 * 8 * 8, 512).init(device),
            dense2: LinearConfig::new(512, cfg.usize("classes")).init(device),
            dropout1: DropoutConfig::new(cfg.list("dropout")[0]).init(),
            dropout2: DropoutConfig::new(cfg.list("dropout")[1]).init(),
        }
    }

    fn forward(&self, x: Tensor<B, 4>) -> Tensor<B, 2> {
        let x = self.conv2.forward(relu(self.conv1.forward(x)));
        let x = relu(self.pool.forward(x)); // (n, 50, 16, 16)
        let x = self.dropout1.forward(x); // only on a backend with autodiff
        let x = self.conv4.forward(relu(self.conv3.forward(x)));
        let x = relu(self.pool.forward(x)); // (n, 100, 8, 8)
        let x = self.dropout1.forward(x);
        let x = relu(self.dense1.forward(x.flatten(1, 3))); // C, H, W order
        let x = self.dropout2.forward(x);
        self.dense2.forward(x) // logits: the softmax is in the loss
    }
}

// %% Initial weights
/// The adapter transposes the dense kernels, which are (in, out) in Burn.
fn initial_weights<B: Backend>(run: &Run, model: &mut Cnn<B>) {
    let snapshot = |(name, w): (String, Array)| {
        let (path, shape) = (name.split('.').map(String::from).collect(), w.shape.clone());
        TensorSnapshot::from_data(
            TensorData::new(w.into_f32(), shape),
            path,
            vec![],
            ParamId::new(),
        )
    };
    let weights = run.weights().into_iter().map(snapshot).collect();
    let applied = model.apply(weights, None, Some(Box::new(PyTorchToBurnAdapter)), false);
    assert!(applied.errors.is_empty() && applied.missing.is_empty(), "{applied}");
}

/// And back, for a check.
fn final_weights<B: Backend>(model: &Cnn<B>) -> Vec<(String, Array)> {
    let weights = model.collect(None, Some(Box::new(BurnToPyTorchAdapter)), false);
    let stored = weights.iter().map(|w| (w.full_path(), w.to_data().expect("a parameter")));
    stored
        .map(|(name, w)| (name, Array::new(w.shape.to_vec(), w.to_vec::<f32>().unwrap())))
        .collect()
}

// %% Loss and optimiser
fn optimizer<B: AutodiffBackend>(cfg: &Config) -> impl Optimizer<Cnn<B>, B> {
    let momentum = MomentumConfig::new().with_momentum(cfg.f64("momentum"));
    let momentum = momentum.with_dampening(0.0); // default is 0.1
    SgdConfig::new().with_momentum(Some(momentum)).init()
}

// %% Train
fn train<B: AutodiffBackend>(run: &Run, mut model: Cnn<B>, device: &B::Device) -> Cnn<B> {
    let cfg = &run.config;
    let loss_fn = CrossEntropyLossConfig::new().init(device); // takes logits and class indices
    let mut optimizer = optimizer(cfg);
    run.phase("train");
    for epoch in run.epochs() {
        for (x, y) in run.batches(epoch) {
            let logits = model.forward(images(x, device));
            let loss = loss_fn.forward(logits, labels(y, device));
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
fn predict<B: Backend>(run: &Run, model: &Cnn<B>, device: &B::Device) -> Tensor<B, 2> {
    run.phase("predict");
    let x_test = run.data("x_test");
    let logits = run.split(&x_test).map(|x| model.forward(images(x, device))).collect();
    let logits = Tensor::cat(logits, 0);
    run.outputs(Array::new(logits.dims(), logits.to_data().to_vec::<f32>().unwrap()));
    logits
}

// %% Evaluate
fn evaluate<B: Backend>(run: &Run, logits: Tensor<B, 2>, device: &B::Device) {
    run.phase("evaluate");
    let y_test = labels(run.data("y_test").as_ref().clone(), device);
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
    let mut model = Cnn::<B>::new(&run.config, &device);
    initial_weights(&run, &mut model);
    let model = train(&run, model, &device).valid(); // without autodiff, and so without dropout
    let logits = predict(&run, &model, &device);
    evaluate(&run, logits, &device);
    run.finish();
}
