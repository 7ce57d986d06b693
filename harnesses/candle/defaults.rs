//! What candle does unless it is told otherwise, measured from its layers.

// %% Setup
use candle_core::{DType, Device, Module, Tensor, Var};
use candle_nn::{
    AdamW, Conv2dConfig, Dropout, GRUConfig, LayerNormConfig, Optimizer, ParamsAdamW, RNN, SGD,
    VarBuilder, VarMap, conv2d, embedding, gru, layer_norm, linear, loss,
};
use rosetta::{
    Array, Values,
    defaults::{self, Gru, Labels, Layer, MUST_BE_STATED, Report, Result},
};

const CPU: Device = Device::Cpu;

fn variables() -> (VarMap, VarBuilder<'static>) {
    let variables = VarMap::new();
    let builder = VarBuilder::from_varmap(&variables, DType::F32, &CPU);
    (variables, builder)
}

fn tensor(array: Array) -> Result<Tensor> {
    Ok(match array.values {
        Values::F32(values) => Tensor::from_vec(values, array.shape, &CPU)?,
        Values::F64(values) => Tensor::from_vec(values, array.shape, &CPU)?,
        Values::I32(values) => Tensor::from_vec(values, array.shape, &CPU)?,
    })
}

fn array(tensor: &Tensor) -> Result<Array> {
    let (shape, values) = (tensor.dims(), tensor.flatten_all()?);
    Ok(match tensor.dtype() {
        DType::F64 => Array::new(shape, values.to_vec1::<f64>()?),
        _ => Array::new(shape, values.to_vec1::<f32>()?),
    })
}

fn layer(module: impl Module + 'static, weight: &Tensor, bias: Option<&Tensor>) -> Result<Layer> {
    let (kernel, bias) = (array(weight)?, bias.map(array).transpose()?);
    Ok(Layer { call: Box::new(move |x| array(&module.forward(&tensor(x)?)?)), kernel, bias })
}

// %% Convolution and pooling
/// A single number is all that candle takes for the size of a kernel.
fn conv(inputs: usize, outputs: usize) -> Result<Layer> {
    let conv = conv2d(inputs, outputs, 3, Conv2dConfig::default(), variables().1)?;
    let (weight, bias) = (conv.weight().clone(), conv.bias().cloned());
    layer(conv, &weight, bias.as_ref())
}

fn images(report: &mut Report) -> Result<()> {
    let (found, layout) = defaults::convolution(conv)?;
    report.send(found);
    report.send(defaults::shorthand(conv, layout));
    let pool = Box::new(|x| array(&tensor(x)?.max_pool2d(3)?));
    report.send(defaults::pooling(pool, layout)?);
    Ok(())
}

// %% Dense and embedding
fn dense(inputs: usize, outputs: usize) -> Result<Layer> {
    let dense = linear(inputs, outputs, variables().1)?;
    let (weight, bias) = (dense.weight().clone(), dense.bias().cloned());
    layer(dense, &weight, bias.as_ref())
}

fn table(rows: usize, width: usize) -> Result<Array> {
    array(embedding(rows, width, variables().1)?.embeddings())
}

// %% Dropout
fn dropout(report: &mut Report) -> Result<()> {
    let drop = Dropout::new(0.2);
    let told = |x, train| array(&drop.forward(&tensor(x)?, train)?);
    report.send(defaults::dropout(None, |x| told(x, true), |x| told(x, false))?);
    report.read("dropout.untold", MUST_BE_STATED);
    Ok(())
}

// %% Loss
fn cross_entropy(outputs: Array, labels: &Labels) -> Result<Array> {
    let dtype = match labels.dtype {
        "int32" => DType::I32,
        "int64" => DType::I64,
        _ => DType::F32,
    };
    let labels = Tensor::from_slice(&labels.numbers, labels.shape.as_slice(), &CPU)?;
    array(&loss::cross_entropy(&tensor(outputs)?, &labels.to_dtype(dtype)?)?)
}

// %% Optimisers
/// Returns the weights after each gradient, which is that of a loss made for it.
fn descend<O: Optimizer>(
    weights: &[f32],
    gradients: &[Vec<f32>],
    config: O::Config,
) -> Result<Vec<Vec<f32>>> {
    let w = Var::new(weights, &CPU)?;
    let mut optimizer = O::new(vec![w.clone()], config)?;
    let mut step = |gradient: &Vec<f32>| -> Result<Vec<f32>> {
        let gradient = Tensor::new(gradient.as_slice(), &CPU)?;
        optimizer.backward_step(&(w.as_tensor() * gradient)?.sum_all()?)?;
        Ok(w.to_vec1()?)
    };
    gradients.iter().map(&mut step).collect()
}

fn adam(w: &[f32], gradients: &[Vec<f32>], lr: f64, betas: [f64; 2]) -> Result<Vec<Vec<f32>>> {
    let [beta1, beta2] = betas;
    descend::<AdamW>(w, gradients, ParamsAdamW { lr, beta1, beta2, ..Default::default() })
}

fn words(batches: &[Vec<u32>]) -> Result<Vec<Array>> {
    let (variables, builder) = variables();
    let layer = embedding(4, 2, builder)?;
    let params = ParamsAdamW { weight_decay: 0.0, ..Default::default() };
    let mut optimizer = AdamW::new(variables.all_vars(), params)?;
    let mut step = |batch: &Vec<u32>| {
        let words = Tensor::new(batch.as_slice(), &CPU)?;
        optimizer.backward_step(&layer.forward(&words)?.sum_all()?)?;
        array(layer.embeddings())
    };
    batches.iter().map(&mut step).collect()
}

fn optimisers(report: &mut Report) -> Result<()> {
    // Its SGD has nowhere to put a momentum.
    report.send(defaults::momentum(|w, gradients, rate, _| descend::<SGD>(w, gradients, rate))?);
    report.send(defaults::adam(adam)?);
    report.send(defaults::words(words));
    report.read("sgd.rate", MUST_BE_STATED);
    report.read("adam.rate", &ParamsAdamW::default().lr.to_string());
    Ok(())
}

// %% Weight decay and clipping
fn adamw(w: &[f32], gradients: &[Vec<f32>], lr: f64, decay: f64) -> Result<Vec<Vec<f32>>> {
    descend::<AdamW>(w, gradients, ParamsAdamW { lr, weight_decay: decay, ..Default::default() })
}

fn decay(report: &mut Report) -> Result<()> {
    report.send(defaults::decay(None, Some(&adamw))?);
    report.read("decay.rate", &ParamsAdamW::default().weight_decay.to_string());
    report.read("clip.of", "not there");
    report.send(defaults::padding_row(words)?);
    Ok(())
}

// %% LayerNorm, GELU and attention
fn transformer(report: &mut Report) -> Result<()> {
    let norm = layer_norm(8, LayerNormConfig::default(), variables().1)?;
    report.send(defaults::layer_norm(|x| array(&norm.forward(&tensor(x)?)?))?);
    report.send(defaults::gelu(|x| array(&tensor(x)?.gelu()?))?);
    report.read("attention.mask", "no such layer"); // a function, for predictions
    Ok(())
}

// %% GRU
fn random_gru() -> Result<Gru> {
    let (variables, builder) = variables();
    let gru = gru(3, 4, GRUConfig::default(), builder)?;
    for variable in variables.all_vars() {
        variable.set(&variable.randn_like(0.0, 1.0)?)?;
    }
    let variables = variables.data().lock().expect("nobody else holds it").clone();
    let weight = |name: &str| array(&variables[name]);
    let bias = |name| variables.get(name).map(|bias| array(bias));
    Ok(Gru {
        weight_ih: weight("weight_ih_l0")?,
        weight_hh: weight("weight_hh_l0")?,
        biases: ["bias_ih_l0", "bias_hh_l0"].into_iter().filter_map(bias).collect::<Result<_>>()?,
        call: Box::new(move |x| {
            let states = gru.seq(&tensor(x)?)?;
            array(states.last().expect("there are four").h())
        }),
    })
}

fn recurrent(units: usize) -> Result<Array> {
    let (variables, builder) = variables();
    gru(3, units, GRUConfig::default(), builder)?;
    let variables = variables.data().lock().expect("nobody else holds it");
    array(&variables["weight_hh_l0"])
}

// %% Types and seeds
fn type_of(numbers: &[i64]) -> Result<String> {
    Ok(format!("{:?}", Tensor::new(numbers, &CPU)?.dtype()))
}

fn draw(seed: u64) -> Result<Array> {
    CPU.set_seed(seed)?;
    Ok(dense(9, 9)?.kernel)
}

// %% Run
fn main() -> Result<()> {
    let lock = include_str!("Cargo.lock");
    let run = rosetta::start("candle", rosetta::locked(lock, "candle-core"));
    let mut report = Report::new(
        &run,
        [
            ("conv.padding", ["cnn", "padding: 1"]),
            ("conv.initialiser", ["cnn", "variables.set_one("]),
            ("conv.bias", ["cnn", "variables.set_one("]),
            ("dense.initialiser", ["cnn", "variables.set_one("]),
            ("dense.bias", ["cnn", "variables.set_one("]),
            ("dropout.untold", ["cnn", "self.dropout1.forward(&x, train)"]),
            ("loss.label_type", ["cnn", "to_dtype(DType::U32)"]),
            ("sgd.momentum", ["cnn", "struct Sgd"]),
            ("adam.decay", ["rnn", "weight_decay: 0.0"]),
            ("embedding.initialiser", ["rnn", "variables.set_one("]),
            ("gru.initialiser", ["rnn", "variables.set_one("]),
            ("decay.biases", ["transformer", "adamw(vectors, 0.0)"]),
            ("clip.of", ["transformer", "fn clip("]),
            ("gelu.form", ["transformer", "gelu_erf()"]),
            ("attention.mask", ["transformer", "fn attention("]),
            ("seed", ["framework.yaml", "deterministic: false"]),
        ],
    );
    images(&mut report)?;
    report.send(defaults::dense(dense)?);
    report.send(defaults::embedding(table)?);
    dropout(&mut report)?;
    report.send(defaults::loss(cross_entropy));
    optimisers(&mut report)?;
    decay(&mut report)?;
    transformer(&mut report)?;
    report.send(defaults::gru(random_gru()?)?);
    report.send(defaults::recurrent(recurrent)?);
    report.send(defaults::types(dense, type_of)?);
    report.send(defaults::seeds(draw));
    report.close();
    run.finish();
    Ok(())
}
