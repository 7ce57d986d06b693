//! ResNet-50 v1.5 as a feature extractor in candle: 224x224 images to 2048 features.

// %% Setup
use std::collections::HashMap;

use candle_core::{DType, Device, ModuleT, Result, Tensor};
use candle_nn::{BatchNorm, Conv2d, Conv2dConfig, Module, VarBuilder, batch_norm, conv2d_no_bias};
use rosetta::{Array, Config, Run, Values};

fn setup() -> Result<(Run, Device)> {
    let lock = include_str!("Cargo.lock");
    let run = rosetta::start("candle", rosetta::locked(lock, "candle-core"));
    let device = if run.device == "cuda" { Device::new_cuda(0)? } else { Device::Cpu };
    let waiting = device.clone();
    run.sync_with(move || waiting.synchronize().expect("the device is there"));
    run.fact("layout", "NCHW");
    run.fact("cudnn", false); // a cargo feature of its own
    run.fact("compiled", false);
    Ok((run, device))
}

// %% Load data
fn load_data(run: &Run) {
    run.phase("load");
    run.data("x_test"); // is kept; (n, 3, 224, 224) already, as candle wants it
}

fn tensor(array: Array, device: &Device) -> Result<Tensor> {
    match array.values {
        Values::F32(values) => Tensor::from_vec(values, array.shape, device),
        Values::F64(values) => Tensor::from_vec(values, array.shape, device),
        Values::I32(values) => Tensor::from_vec(values, array.shape, device),
    }
}

// %% Build model
fn conv(io: [usize; 2], size: usize, stride: usize, vb: VarBuilder) -> Result<Conv2d> {
    let config = Conv2dConfig { padding: size / 2, stride, ..Default::default() };
    conv2d_no_bias(io[0], io[1], size, config, vb)
}

struct Bottleneck {
    conv1: Conv2d,
    bn1: BatchNorm,
    conv2: Conv2d,
    bn2: BatchNorm,
    conv3: Conv2d,
    bn3: BatchNorm,
    downsample: Option<(Conv2d, BatchNorm)>,
}

impl Bottleneck {
    fn new(
        cfg: &Config,
        inputs: usize,
        width: usize,
        stride: usize,
        vb: VarBuilder,
    ) -> Result<Self> {
        let (outputs, epsilon) = (4 * width, cfg.f64("bn_epsilon"));
        let shortcut = || -> Result<_> {
            let conv = conv([inputs, outputs], 1, stride, vb.pp("downsample.0"))?;
            Ok((conv, batch_norm(outputs, epsilon, vb.pp("downsample.1"))?))
        };
        Ok(Self {
            conv1: conv([inputs, width], 1, 1, vb.pp("conv1"))?,
            bn1: batch_norm(width, epsilon, vb.pp("bn1"))?,
            conv2: conv([width, width], 3, stride, vb.pp("conv2"))?, // v1 strides conv1
            bn2: batch_norm(width, epsilon, vb.pp("bn2"))?,
            conv3: conv([width, outputs], 1, 1, vb.pp("conv3"))?,
            bn3: batch_norm(outputs, epsilon, vb.pp("bn3"))?,
            downsample: (inputs != outputs).then(shortcut).transpose()?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        // `false` is inference: the stored statistics
        let y = self.bn1.forward_t(&self.conv1.forward(x)?, false)?.relu()?;
        let y = self.bn2.forward_t(&self.conv2.forward(&y)?, false)?.relu()?;
        let y = self.bn3.forward_t(&self.conv3.forward(&y)?, false)?;
        match &self.downsample {
            Some((conv, norm)) => (y + norm.forward_t(&conv.forward(x)?, false)?)?.relu(),
            None => (y + x)?.relu(),
        }
    }
}

struct ResNet50 {
    conv1: Conv2d,
    bn1: BatchNorm,
    blocks: Vec<Bottleneck>,
}

impl ResNet50 {
    fn new(cfg: &Config, vb: VarBuilder) -> Result<Self> {
        let (mut blocks, mut inputs) = (Vec::new(), 64);
        for (layer, count, width) in [(1, 3, 64), (2, 4, 128), (3, 6, 256), (4, 3, 512)] {
            for index in 0..count {
                let stride = if index == 0 && layer > 1 { 2 } else { 1 };
                let vb = vb.pp(format!("layer{layer}.{index}"));
                blocks.push(Bottleneck::new(cfg, inputs, width, stride, vb)?);
                inputs = 4 * width;
            }
        }
        Ok(Self {
            conv1: conv([3, 64], 7, 2, vb.pp("conv1"))?,
            bn1: batch_norm(64, cfg.f64("bn_epsilon"), vb.pp("bn1"))?,
            blocks,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = self.bn1.forward_t(&self.conv1.forward(x)?, false)?.relu()?; // (n, 64, 112, 112)
        // The pool has no padding of its own; after a relu zeros are as good as -inf.
        let x = x.pad_with_zeros(2, 1, 1)?.pad_with_zeros(3, 1, 1)?;
        let x = x.max_pool2d_with_stride(3, 2)?; // (n, 64, 56, 56)
        let x = self.blocks.iter().try_fold(x, |x, block| block.forward(&x))?;
        x.mean((2, 3)) // (n, 2048, 7, 7) to (n, 2048)
    }
}

// %% Initial weights
/// Names and layouts are torchvision's. A builder over tensors makes constants, not variables:
/// nothing is recorded for a gradient.
fn initial_weights(run: &Run, device: &Device) -> Result<VarBuilder<'static>> {
    let dtype = if run.dtype == "float64" { DType::F64 } else { DType::F32 };
    let weights = run.weights().into_iter().map(|(name, w)| Ok((name, tensor(w, device)?)));
    let weights = weights.collect::<Result<HashMap<_, _>>>()?;
    Ok(VarBuilder::from_tensors(weights, dtype, device))
}

// %% Predict
fn predict(run: &Run, model: &ResNet50, device: &Device) -> Result<()> {
    let x_test = run.data("x_test");
    run.phase("warmup");
    for x in run.warmup(&x_test) {
        array(&model.forward(&tensor(x, device)?)?)?;
    }
    run.phase("predict");
    for x in run.split(&x_test) {
        run.outputs(array(&model.forward(&tensor(x, device)?)?)?);
    }
    Ok(())
}

fn array(tensor: &Tensor) -> Result<Array> {
    let (shape, values) = (tensor.dims(), tensor.flatten_all()?);
    Ok(match tensor.dtype() {
        DType::F64 => Array::new(shape, values.to_vec1::<f64>()?),
        _ => Array::new(shape, values.to_vec1::<f32>()?),
    })
}

// %% Run
fn main() -> Result<()> {
    let (run, device) = setup()?;
    load_data(&run);
    run.phase("build");
    let model = ResNet50::new(&run.config, initial_weights(&run, &device)?)?;
    predict(&run, &model, &device)?;
    run.finish();
    Ok(())
}
