//! VGG-style CNN on CIFAR-10 in candle: conv 50-50-100-100, dense 512, SGD.

// %% Setup
use candle_core::{D, DType, Device, Result, Tensor, Var, backprop::GradStore};
use candle_nn::{
    Conv2d, Conv2dConfig, Dropout, Linear, Module, VarBuilder, VarMap, conv2d, linear, loss,
};
use rosetta::{Array, Config, Run, Values};

fn setup() -> Result<(Run, Device)> {
    let run = rosetta::start("candle", rosetta::locked(include_str!("Cargo.lock"), "candle-core"));
    let device = if run.device == "cuda" { Device::new_cuda(0)? } else { Device::Cpu };
    let seeded = device.set_seed(run.config.u64("seed")).is_ok(); // the CPU cannot be seeded
    let waiting = device.clone();
    run.sync_with(move || waiting.synchronize().expect("the device is there"));
    run.fact("layout", "NCHW");
    run.fact("cudnn", false); // a cargo feature of its own
    run.fact("compiled", false);
    run.fact("seeded", seeded);
    Ok((run, device))
}

// %% Load data
fn load_data(run: &Run) {
    run.phase("load");
    for name in ["x_train", "y_train", "x_test", "y_test"] {
        run.data(name); // is kept; images are (n, 3, 32, 32) already, as candle wants them
    }
}

fn tensor(array: Array, device: &Device) -> Result<Tensor> {
    match array.values {
        Values::F32(values) => Tensor::from_vec(values, array.shape, device),
        Values::F64(values) => Tensor::from_vec(values, array.shape, device),
        // Class indices are unsigned in candle.
        Values::I32(values) => Tensor::from_vec(values, array.shape, device)?.to_dtype(DType::U32),
    }
}

// %% Build model
struct Cnn {
    conv1: Conv2d,
    conv2: Conv2d,
    conv3: Conv2d,
    conv4: Conv2d,
    dense1: Linear,
    dense2: Linear,
    dropout1: Dropout,
    dropout2: Dropout,
}

impl Cnn {
    fn new(cfg: &Config, vb: VarBuilder) -> Result<Cnn> {
        let same = Conv2dConfig { padding: 1, ..Default::default() }; // default padding is 0
        let dropout = cfg.list("dropout");
        Ok(Cnn {
            conv1: conv2d(3, 50, 3, same, vb.pp("conv1"))?,
            conv2: conv2d(50, 50, 3, same, vb.pp("conv2"))?,
            conv3: conv2d(50, 100, 3, same, vb.pp("conv3"))?,
            conv4: conv2d(100, 100, 3, same, vb.pp("conv4"))?,
            dense1: linear(100 * 8 * 8, 512, vb.pp("dense1"))?,
            dense2: linear(512, cfg.usize("classes"), vb.pp("dense2"))?,
            dropout1: Dropout::new(dropout[0] as f32),
            dropout2: Dropout::new(dropout[1] as f32),
        })
    }

    fn forward(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let x = self.conv2.forward(&self.conv1.forward(x)?.relu()?)?;
        let x = max_pool(&x)?.relu()?; // (n, 50, 16, 16)
        let x = self.dropout1.forward(&x, train)?;
        let x = self.conv4.forward(&self.conv3.forward(&x)?.relu()?)?;
        let x = max_pool(&x)?.relu()?; // (n, 100, 8, 8)
        let x = self.dropout1.forward(&x, train)?;
        let x = self.dense1.forward(&x.flatten_from(1)?)?.relu()?; // C, H, W order
        let x = self.dropout2.forward(&x, train)?;
        self.dense2.forward(&x) // logits: the softmax is in the loss
    }
}

/// Pools 2x2 by hand: candle 0.11's own `max_pool2d` gives a quarter of the right gradient.
fn max_pool(x: &Tensor) -> Result<Tensor> {
    let (n, c, h, w) = x.dims4()?;
    x.reshape((n, c, h / 2, 2, w / 2, 2))?.max(5)?.max(3)
}

// %% Initial weights
/// Names and layouts are PyTorch's; variables change in place, also those in the model.
fn initial_weights(run: &Run, variables: &mut VarMap, device: &Device) -> Result<()> {
    for (name, array) in run.weights() {
        variables.set_one(name, tensor(array, device)?)?;
    }
    Ok(())
}

/// And back, for a check.
fn final_weights(variables: &VarMap) -> Result<Vec<(String, Array)>> {
    let variables = variables.data().lock().expect("nobody else holds it");
    variables.iter().map(|(name, variable)| Ok((name.clone(), array(variable)?))).collect()
}

// %% Loss and optimiser
/// The SGD of `candle_nn` has no momentum.
struct Sgd {
    learning_rate: f64,
    momentum: f64,
    variables: Vec<(Var, Tensor)>, // each with its velocity
}

impl Sgd {
    fn new(cfg: &Config, variables: &VarMap) -> Result<Sgd> {
        let (learning_rate, momentum) = (cfg.f64("learning_rate"), cfg.f64("momentum"));
        let at_rest = |variable: Var| Ok((variable.clone(), variable.zeros_like()?));
        let variables = variables.all_vars().into_iter().map(at_rest).collect::<Result<_>>()?;
        Ok(Sgd { learning_rate, momentum, variables })
    }

    fn step(&mut self, grads: &GradStore) -> Result<()> {
        for (variable, velocity) in &mut self.variables {
            let grad = grads.get(variable).expect("every variable is in the loss");
            *velocity = ((&*velocity * self.momentum)? + grad)?;
            variable.set(&(variable.as_tensor() - (&*velocity * self.learning_rate)?)?)?;
        }
        Ok(())
    }
}

// %% Train
fn train(run: &Run, model: &Cnn, optimizer: &mut Sgd, device: &Device) -> Result<()> {
    run.phase("train");
    for epoch in run.epochs() {
        for (x, y) in run.batches(epoch) {
            let logits = model.forward(&tensor(x, device)?, true)?;
            let loss = loss::cross_entropy(&logits, &tensor(y, device)?)?;
            optimizer.step(&loss.backward()?)?; // gradients are returned, not kept
            let loss = loss.detach().to_dtype(DType::F64)?; // attached, it would keep the graph
            run.step(move || loss.to_scalar().expect("one number"));
        }
        run.epoch_end(epoch);
    }
    Ok(())
}

// %% Predict
fn predict(run: &Run, model: &Cnn, device: &Device) -> Result<Tensor> {
    run.phase("predict");
    let x_test = run.data("x_test");
    // Detached, as there is no switch for it: each batch would keep all that it computed.
    let logits =
        run.split(&x_test).map(|x| Ok(model.forward(&tensor(x, device)?, false)?.detach()));
    let logits = Tensor::cat(&logits.collect::<Result<Vec<_>>>()?, 0)?;
    run.outputs(array(&logits)?);
    Ok(logits)
}

fn array(tensor: &Tensor) -> Result<Array> {
    let (shape, values) = (tensor.dims(), tensor.flatten_all()?);
    Ok(match tensor.dtype() {
        DType::F64 => Array::new(shape, values.to_vec1::<f64>()?),
        _ => Array::new(shape, values.to_vec1::<f32>()?),
    })
}

// %% Evaluate
fn evaluate(run: &Run, logits: &Tensor, device: &Device) -> Result<()> {
    run.phase("evaluate");
    let y_test = tensor(run.data("y_test").as_ref().clone(), device)?;
    let correct = logits.argmax(D::Minus1)?.eq(&y_test)?.to_dtype(DType::F64)?;
    run.metric("accuracy", correct.mean_all()?.to_scalar()?, None);
    Ok(())
}

// %% Run
fn main() -> Result<()> {
    let (run, device) = setup()?;
    load_data(&run);
    run.phase("build");
    let dtype = if run.dtype == "float64" { DType::F64 } else { DType::F32 };
    let mut variables = VarMap::new();
    let model = Cnn::new(&run.config, VarBuilder::from_varmap(&variables, dtype, &device))?;
    initial_weights(&run, &mut variables, &device)?;
    let mut optimizer = Sgd::new(&run.config, &variables)?;

    train(&run, &model, &mut optimizer, &device)?;
    run.final_weights(|| final_weights(&variables).expect("floats"));
    let logits = predict(&run, &model, &device)?;
    evaluate(&run, &logits, &device)?;
    run.finish();
    Ok(())
}
