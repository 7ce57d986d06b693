//! ResNet-50 v1.5 as a feature extractor in Burn: 224x224 images to 2048 features.

// %% Setup
use burn::{
    backend::Flex,
    module::{Module, ParamId},
    nn::{
        BatchNorm, BatchNormConfig, PaddingConfig2d,
        conv::{Conv2d, Conv2dConfig},
        pool::{AdaptiveAvgPool2d, AdaptiveAvgPool2dConfig, MaxPool2d, MaxPool2dConfig},
    },
    store::{ModuleSnapshot, PyTorchToBurnAdapter, TensorSnapshot},
    tensor::{Tensor, TensorData, activation::relu, backend::Backend},
};
use rosetta::{Array, Config, Run};

fn setup<B: Backend>(run: &Run, device: &B::Device) {
    let device = device.clone();
    run.sync_with(move || B::sync(&device).expect("the device answers"));
    run.fact("layout", "NCHW");
    run.fact("cudnn", false); // Burn has kernels of its own
    run.fact("compiled", run.device == "cuda"); // fused and compiled as they are needed
}

// %% Load data
fn load_data(run: &Run) {
    run.phase("load");
    run.data("x_test"); // is kept; (n, 3, 224, 224) already, as Burn wants it
}

fn images<B: Backend>(x: Array, device: &B::Device) -> Tensor<B, 4> {
    let shape = x.shape.clone();
    Tensor::from_data(TensorData::new(x.into_f32(), shape), device)
}

// %% Build model
fn conv<B: Backend>(io: [usize; 2], size: usize, stride: usize, device: &B::Device) -> Conv2d<B> {
    let pad = size / 2; // `Same` is for a stride of 1
    Conv2dConfig::new(io, [size, size])
        .with_stride([stride, stride])
        .with_padding(PaddingConfig2d::Explicit(pad, pad, pad, pad))
        .with_bias(false)
        .init(device)
}

fn norm<B: Backend>(cfg: &Config, width: usize, device: &B::Device) -> BatchNorm<B> {
    BatchNormConfig::new(width).with_epsilon(cfg.f64("bn_epsilon")).init(device)
}

#[derive(Module, Debug)]
struct Bottleneck<B: Backend> {
    conv1: Conv2d<B>,
    bn1: BatchNorm<B>,
    conv2: Conv2d<B>,
    bn2: BatchNorm<B>,
    conv3: Conv2d<B>,
    bn3: BatchNorm<B>,
    downsample: Option<(Conv2d<B>, BatchNorm<B>)>,
}

impl<B: Backend> Bottleneck<B> {
    fn new(cfg: &Config, inputs: usize, width: usize, stride: usize, device: &B::Device) -> Self {
        let outputs = 4 * width;
        let shortcut = || (conv([inputs, outputs], 1, stride, device), norm(cfg, outputs, device));
        Self {
            conv1: conv([inputs, width], 1, 1, device),
            bn1: norm(cfg, width, device),
            conv2: conv([width, width], 3, stride, device), // v1 strides conv1
            bn2: norm(cfg, width, device),
            conv3: conv([width, outputs], 1, 1, device),
            bn3: norm(cfg, outputs, device),
            downsample: (inputs != outputs).then(shortcut),
        }
    }

    fn forward(&self, x: Tensor<B, 4>) -> Tensor<B, 4> {
        let y = relu(self.bn1.forward(self.conv1.forward(x.clone())));
        let y = relu(self.bn2.forward(self.conv2.forward(y)));
        let y = self.bn3.forward(self.conv3.forward(y));
        let x = match &self.downsample {
            Some((conv, norm)) => norm.forward(conv.forward(x)),
            None => x,
        };
        relu(y + x)
    }
}

#[derive(Module, Debug)]
struct ResNet50<B: Backend> {
    conv1: Conv2d<B>,
    bn1: BatchNorm<B>,
    maxpool: MaxPool2d,
    layer1: Vec<Bottleneck<B>>,
    layer2: Vec<Bottleneck<B>>,
    layer3: Vec<Bottleneck<B>>,
    layer4: Vec<Bottleneck<B>>,
    avgpool: AdaptiveAvgPool2d,
}

impl<B: Backend> ResNet50<B> {
    fn new(cfg: &Config, device: &B::Device) -> Self {
        let layer = |count, inputs, width, stride| {
            let mut blocks = vec![Bottleneck::new(cfg, inputs, width, stride, device)];
            blocks.resize_with(count, || Bottleneck::new(cfg, 4 * width, width, 1, device));
            blocks
        };
        let pool = MaxPool2dConfig::new([3, 3]).with_strides([2, 2]);
        Self {
            conv1: conv([3, 64], 7, 2, device),
            bn1: norm(cfg, 64, device),
            maxpool: pool.with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1)).init(),
            layer1: layer(3, 64, 64, 1),
            layer2: layer(4, 256, 128, 2),
            layer3: layer(6, 512, 256, 2),
            layer4: layer(3, 1024, 512, 2),
            avgpool: AdaptiveAvgPool2dConfig::new([1, 1]).init(),
        }
    }

    fn forward(&self, x: Tensor<B, 4>) -> Tensor<B, 2> {
        let x = relu(self.bn1.forward(self.conv1.forward(x))); // (n, 64, 112, 112)
        let mut x = self.maxpool.forward(x); // (n, 64, 56, 56)
        for layer in [&self.layer1, &self.layer2, &self.layer3, &self.layer4] {
            x = layer.iter().fold(x, |x, block| block.forward(x));
        }
        self.avgpool.forward(x).flatten(1, 3) // (n, 2048, 7, 7) to (n, 2048)
    }
}

// %% Initial weights
/// Names are torchvision's; the adapter knows that batch normalisation has gamma and beta here.
fn initial_weights<B: Backend>(run: &Run, model: &mut ResNet50<B>) {
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

// %% Predict
fn predict<B: Backend>(run: &Run, model: &ResNet50<B>, device: &B::Device) {
    let x_test = run.data("x_test");
    let features = |x| {
        let features = model.forward(images(x, device)); // lazy on a GPU until it is fetched
        Array::new(features.dims(), features.into_data().to_vec::<f32>().unwrap())
    };
    run.phase("warmup");
    for x in run.warmup(&x_test) {
        features(x);
    }
    run.phase("predict");
    for x in run.split(&x_test) {
        run.outputs(features(x));
    }
}

// %% Run
fn main() {
    let run = rosetta::start("Burn", rosetta::locked(include_str!("Cargo.lock"), "burn"));
    match run.device.as_str() {
        #[cfg(feature = "cuda")]
        "cuda" => {
            run.require_library("libcuda.so.1", "the NVIDIA driver");
            experiment::<burn::backend::Cuda>(run, Default::default());
        }
        "cpu" => experiment::<Flex>(run, Default::default()),
        device => panic!("built without `--features {device}`"),
    }
}

fn experiment<B: Backend>(run: Run, device: B::Device) {
    setup::<B>(&run, &device);
    load_data(&run);
    run.phase("build");
    let mut model = ResNet50::<B>::new(&run.config, &device);
    initial_weights(&run, &mut model);
    predict(&run, &model, &device);
    run.finish();
}
