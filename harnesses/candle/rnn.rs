//! GRU on IMDB reviews in candle: embedding 125, GRU 100, dense 2, Adam.

// %% Setup
use candle_core::{D, DType, Device, Result, Tensor};
use candle_nn::{
    AdamW, Embedding, GRU, GRUConfig, Linear, Module, Optimizer, ParamsAdamW, RNN, VarBuilder,
    VarMap, embedding, gru, linear, loss,
};
use rosetta::{Array, Config, Run, Values};

fn setup() -> Result<(Run, Device)> {
    let lock = include_str!("Cargo.lock");
    let run = rosetta::start("candle", rosetta::locked(lock, "candle-core"));
    let device = if run.device == "cuda" { Device::new_cuda(0)? } else { Device::Cpu };
    let waiting = device.clone();
    run.sync_with(move || waiting.synchronize().expect("the device is there"));
    run.fact("gru", "reset_after");
    run.fact("cudnn", false); // not for its GRU
    run.fact("compiled", false);
    Ok((run, device))
}

// %% Load data
fn load_data(run: &Run) {
    run.phase("load");
    for name in ["x_train", "y_train", "x_test", "y_test"] {
        run.data(name); // is kept; tokens are (n, 150)
    }
}

fn tensor(array: Array, device: &Device) -> Result<Tensor> {
    match array.values {
        Values::F32(values) => Tensor::from_vec(values, array.shape, device),
        Values::F64(values) => Tensor::from_vec(values, array.shape, device),
        // Indices are unsigned in candle.
        Values::I32(values) => Tensor::from_vec(values, array.shape, device)?.to_dtype(DType::U32),
    }
}

// %% Build model
struct Rnn {
    embedding: Embedding,
    gru: GRU,
    dense: Linear,
}

impl Rnn {
    fn new(cfg: &Config, vb: VarBuilder) -> Result<Rnn> {
        let (width, units) = (cfg.usize("embedding"), cfg.usize("units"));
        Ok(Rnn {
            embedding: embedding(cfg.usize("vocabulary"), width, vb.pp("embedding"))?,
            gru: gru(width, units, GRUConfig::default(), vb.pp("gru"))?,
            dense: linear(units, cfg.usize("classes"), vb.pp("dense"))?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = self.embedding.forward(x)?; // (n, 150, 125)
        let states = self.gru.seq(&x)?; // one state for each of the 150 tokens
        let last = states.last().expect("reviews are not empty"); // (n, 100)
        self.dense.forward(last.h()) // logits: the softmax is in the loss
    }
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
/// Adam is AdamW without weight decay, which is 0.01 by default.
fn optimizer(cfg: &Config, variables: &VarMap) -> Result<AdamW> {
    let params = ParamsAdamW {
        lr: cfg.f64("learning_rate"),
        beta1: cfg.f64("beta1"),
        beta2: cfg.f64("beta2"),
        eps: cfg.f64("epsilon"),
        weight_decay: 0.0,
    };
    AdamW::new(variables.all_vars(), params)
}

// %% Train
fn train(run: &Run, model: &Rnn, optimizer: &mut AdamW, device: &Device) -> Result<()> {
    run.phase("train");
    for epoch in run.epochs() {
        for (x, y) in run.batches(epoch) {
            let logits = model.forward(&tensor(x, device)?)?;
            let loss = loss::cross_entropy(&logits, &tensor(y, device)?)?;
            optimizer.backward_step(&loss)?;
            let loss = loss.detach().to_dtype(DType::F64)?; // attached, it would keep the graph
            run.step(move || loss.to_scalar().expect("one number"));
        }
        run.epoch_end(epoch);
    }
    Ok(())
}

// %% Predict
fn predict(run: &Run, model: &Rnn, device: &Device) -> Result<Tensor> {
    run.phase("predict");
    let x_test = run.data("x_test");
    // Detached, as there is no switch for it: each batch would keep all that it computed.
    let logits = run.split(&x_test).map(|x| Ok(model.forward(&tensor(x, device)?)?.detach()));
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
    let model = Rnn::new(&run.config, VarBuilder::from_varmap(&variables, dtype, &device))?;
    initial_weights(&run, &mut variables, &device)?;
    let mut optimizer = optimizer(&run.config, &variables)?;

    train(&run, &model, &mut optimizer, &device)?;
    run.final_weights(|| final_weights(&variables).expect("floats"));
    let logits = predict(&run, &model, &device)?;
    evaluate(&run, &logits, &device)?;
    run.finish();
    Ok(())
}
