//! What Burn does unless it is told otherwise, measured from its modules.

// %% Setup
use burn::{
    backend::{Autodiff, Flex, flex::FlexDevice},
    grad_clipping::GradientClippingConfig,
    module::{Module, ModuleMapper, Param},
    nn::{
        DropoutConfig, Embedding, EmbeddingConfig, Gelu, LayerNormConfig, Linear, LinearConfig,
        attention::{MhaInput, MultiHeadAttentionConfig},
        conv::Conv2dConfig,
        gru::GruConfig,
        loss::CrossEntropyLossConfig,
        pool::MaxPool2dConfig,
    },
    optim::{
        AdamConfig, AdamWConfig, GradientsParams, Optimizer, SgdConfig, decay::WeightDecayConfig,
        momentum::MomentumConfig,
    },
    tensor::{Bool, DType, Distribution, Int, Tensor, TensorData, backend::Backend},
};
use rosetta::{
    Array, Values,
    defaults::{self, Gru, Labels, Layer, MUST_BE_STATED, REFUSED, Report, Result},
};

type B = Autodiff<Flex>;
const CPU: FlexDevice = FlexDevice;

/// Makes a tensor of Burn's default type, whatever the array has.
fn tensor<B: Backend, const D: usize>(array: Array) -> Tensor<B, D> {
    let data = match array.values {
        Values::F32(values) => TensorData::new(values, array.shape),
        Values::F64(values) => TensorData::new(values, array.shape),
        Values::I32(values) => TensorData::new(values, array.shape),
    };
    Tensor::from_data(data, &B::Device::default())
}

fn array<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Result<Array> {
    let (shape, data) = (tensor.dims(), tensor.into_data());
    Ok(match data.dtype {
        DType::F64 => Array::new(shape, data.into_vec::<f64>()?),
        _ => Array::new(shape, data.into_vec::<f32>()?),
    })
}

fn parameter<const D: usize>(parameter: &Param<Tensor<B, D>>) -> Result<Array> {
    array(parameter.val())
}

// %% Convolution and pooling
fn conv(inputs: usize, outputs: usize) -> Result<Layer> {
    let conv = Conv2dConfig::new([inputs, outputs], [3, 3]).init::<B>(&CPU);
    Ok(Layer {
        kernel: parameter(&conv.weight)?,
        bias: conv.bias.as_ref().map(parameter).transpose()?,
        call: Box::new(move |x| array(conv.forward(tensor(x)))),
    })
}

fn images(report: &mut Report) -> Result<()> {
    let (found, layout) = defaults::convolution(conv)?;
    report.send(found);
    report.read("conv.shorthand", REFUSED); // by the type: a size is `[usize; 2]`
    let pool = MaxPool2dConfig::new([3, 3]).init();
    let pool = Box::new(move |x| array(pool.forward::<B>(tensor(x))));
    report.send(defaults::pooling(pool, layout)?);
    Ok(())
}

// %% Dense and embedding
fn dense(inputs: usize, outputs: usize) -> Result<Layer> {
    let dense = LinearConfig::new(inputs, outputs).init::<B>(&CPU);
    Ok(Layer {
        kernel: array(dense.weight.val().transpose())?, // from (in, out)
        bias: dense.bias.as_ref().map(parameter).transpose()?,
        call: Box::new(move |x| array(dense.forward(tensor::<B, 2>(x)))),
    })
}

fn table(rows: usize, width: usize) -> Result<Array> {
    parameter(&EmbeddingConfig::new(rows, width).init::<B>(&CPU).weight)
}

// %% Dropout
/// Nobody tells a dropout what to do: it drops on a backend with autodiff, and there only.
fn dropout(report: &mut Report) -> Result<()> {
    let drop = DropoutConfig::new(0.2).init();
    let training = |x| array(drop.forward(tensor::<B, 2>(x)));
    let prediction = |x| array(drop.forward(tensor::<Flex, 2>(x)));
    report.send(defaults::dropout(Some(&training), training, prediction)?);
    Ok(())
}

// %% Loss
fn cross_entropy(outputs: Array, labels: &Labels) -> Result<Array> {
    let &[n] = &labels.shape[..] else { return Err("the type has one axis".into()) };
    let dtype = match labels.dtype {
        "int32" => DType::I32,
        "int64" => DType::I64,
        _ => return Err("the type has integers".into()),
    };
    let labels = TensorData::new(labels.numbers.clone(), [n]);
    let labels = Tensor::<B, 1, Int>::from_data(labels, (&CPU, dtype));
    array(CrossEntropyLossConfig::new().init(&CPU).forward(tensor(outputs), labels))
}

// %% Optimisers
#[derive(Module, Debug)]
struct Weights<B: Backend> {
    w: Param<Tensor<B, 1>>,
}

/// Returns the weights after each gradient, which is that of a loss made for it.
fn descend(
    weights: &[f32],
    gradients: &[Vec<f32>],
    rate: f64,
    mut optimizer: impl Optimizer<Weights<B>, B>,
) -> Result<Vec<Vec<f32>>> {
    let w = Tensor::from_floats(weights, &CPU);
    let mut model = Weights { w: Param::from_tensor(w) };
    let mut step = |gradient: &Vec<f32>| -> Result<Vec<f32>> {
        let loss = model.w.val() * Tensor::from_floats(gradient.as_slice(), &CPU);
        let grads = GradientsParams::from_grads(loss.sum().backward(), &model);
        model = optimizer.step(rate, model.clone(), grads);
        Ok(model.w.val().into_data().into_vec()?)
    };
    gradients.iter().map(&mut step).collect()
}

fn sgd(w: &[f32], gradients: &[Vec<f32>], rate: f64, momentum: f64) -> Result<Vec<Vec<f32>>> {
    let momentum = MomentumConfig::new().with_momentum(momentum);
    descend(w, gradients, rate, SgdConfig::new().with_momentum(Some(momentum)).init())
}

fn adam(w: &[f32], gradients: &[Vec<f32>], rate: f64, betas: [f64; 2]) -> Result<Vec<Vec<f32>>> {
    let [beta1, beta2] = betas.map(|beta| beta as f32);
    let adam = AdamConfig::new().with_beta_1(beta1).with_beta_2(beta2);
    descend(w, gradients, rate, adam.init())
}

fn words(batches: &[Vec<u32>]) -> Result<Vec<Array>> {
    let mut layer = EmbeddingConfig::new(4, 2).init::<B>(&CPU);
    let mut optimizer = AdamConfig::new().init::<B, Embedding<B>>();
    let mut step = |batch: &Vec<u32>| {
        let batch = TensorData::new(batch.clone(), [1, batch.len()]);
        let loss = layer.forward(Tensor::from_data(batch, &CPU)).sum();
        let grads = GradientsParams::from_grads(loss.backward(), &layer);
        layer = optimizer.step(0.1, layer.clone(), grads);
        parameter(&layer.weight)
    };
    batches.iter().map(&mut step).collect()
}

fn optimisers(report: &mut Report) -> Result<()> {
    report.send(defaults::momentum(sgd)?);
    report.send(defaults::adam(adam)?);
    report.send(defaults::words(words));
    // A rate is an argument of each step, not of the optimiser.
    report.read("sgd.rate", MUST_BE_STATED);
    report.read("adam.rate", MUST_BE_STATED);
    Ok(())
}

// %% Weight decay and clipping
fn adam_decaying(w: &[f32], gradients: &[Vec<f32>], rate: f64, by: f64) -> Result<Vec<Vec<f32>>> {
    let decay = WeightDecayConfig::new(by as f32);
    descend(w, gradients, rate, AdamConfig::new().with_weight_decay(Some(decay)).init())
}

fn adamw(w: &[f32], gradients: &[Vec<f32>], rate: f64, by: f64) -> Result<Vec<Vec<f32>>> {
    descend(w, gradients, rate, AdamWConfig::new().with_weight_decay(by as f32).init())
}

#[derive(Module, Debug)]
struct Pair<B: Backend> {
    a: Param<Tensor<B, 1>>,
    b: Param<Tensor<B, 2>>,
}

/// An optimiser clips: zeros are moved by as much as is left of their gradients.
fn clip([a, b]: [Array; 2], limit: f64) -> Result<[Array; 2]> {
    let zeros = Pair {
        a: Param::from_tensor(Tensor::zeros([2], &CPU)),
        b: Param::from_tensor(Tensor::zeros([1, 1], &CPU)),
    };
    let a = zeros.a.val() * tensor::<B, 1>(a);
    let loss = a.sum() + (zeros.b.val() * tensor::<B, 2>(b)).sum();
    let grads = GradientsParams::from_grads(loss.backward(), &zeros);
    let clipping = GradientClippingConfig::Norm(limit as f32);
    let optimizer = SgdConfig::new().with_gradient_clipping(Some(clipping));
    let moved = optimizer.init::<B, Pair<B>>().step(1.0, zeros, grads);
    Ok([parameter(&moved.a)?, parameter(&moved.b)?])
}

fn decay(report: &mut Report) -> Result<()> {
    report.send(defaults::decay(Some(&adam_decaying), Some(&adamw))?);
    report.read("decay.rate", "0.0001"); // in the documentation: its field is private
    report.send(defaults::clipping(clip)?);
    report.send(defaults::padding_row(words)?);
    Ok(())
}

// %% LayerNorm, GELU and attention
fn transformer(report: &mut Report) -> Result<()> {
    let norm = LayerNormConfig::new(8).init::<Flex>(&CPU);
    report.send(defaults::layer_norm(|x| array(norm.forward(tensor::<Flex, 2>(x))))?);
    report.send(defaults::gelu(|x| array(Gelu::new().forward(tensor::<Flex, 1>(x))))?);
    let heads = MultiHeadAttentionConfig::new(8, 2).init::<Flex>(&CPU);
    let attend = |x, mask: &[bool]| {
        let mask = TensorData::new(mask.to_vec(), [1, 4, 4]);
        let mask = Tensor::<Flex, 3, Bool>::from_data(mask, &CPU);
        array(heads.forward(MhaInput::self_attn(tensor(x)).mask_attn(mask)).context)
    };
    let names = ["query", "key", "value", "output"];
    let linears = [&heads.query, &heads.key, &heads.value, &heads.output];
    let biases = names.into_iter().zip(linears).filter(|(_, linear)| linear.bias.is_some());
    let biases = biases.map(|(name, _)| name).collect::<Vec<_>>();
    report.send(defaults::attention(attend, &biases)?);
    Ok(())
}

// %% GRU
struct Random;

impl<B: Backend> ModuleMapper<B> for Random {
    fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        parameter.map(|w| w.random_like(Distribution::Normal(0.0, 1.0)))
    }
}

/// A `Linear` for each gate and side; they are stacked as they stand in the module.
fn random_gru() -> Result<Gru> {
    let gru = GruConfig::new(3, 4, true).init::<B>(&CPU).map(&mut Random); // biases must be stated
    let gates = [&gru.update_gate, &gru.reset_gate, &gru.new_gate];
    let kernels = |side: [&Linear<B>; 3]| {
        let kernels = side.map(|linear| linear.weight.val().transpose());
        array(Tensor::cat(kernels.to_vec(), 0))
    };
    let biases = |side: [&Linear<B>; 3]| {
        let biases = side.into_iter().filter_map(|linear| linear.bias.as_ref());
        array(Tensor::cat(biases.map(|bias| bias.val()).collect(), 0))
    };
    let by_input = gates.map(|gate| &gate.input_transform);
    let by_state = gates.map(|gate| &gate.hidden_transform);
    Ok(Gru {
        weight_ih: kernels(by_input)?,
        weight_hh: kernels(by_state)?,
        biases: vec![biases(by_input)?, biases(by_state)?],
        call: Box::new(move |x| {
            let states = gru.forward(tensor(x), None); // (n, time, units)
            let last = states.dims()[1] - 1;
            array(states.narrow(1, last, 1).squeeze_dim::<2>(1))
        }),
    })
}

fn recurrent(units: usize) -> Result<Array> {
    let gru = GruConfig::new(3, units, true).init::<B>(&CPU);
    array(gru.reset_gate.hidden_transform.weight.val().transpose())
}

// %% Types and seeds
fn type_of(numbers: &[i64]) -> Result<String> {
    Ok(format!("{:?}", Tensor::<B, 1, Int>::from_data(numbers, &CPU).dtype()))
}

fn draw(seed: u64) -> Result<Array> {
    B::seed(&CPU, seed);
    let ones = Array::new([9, 9], vec![1f32; 81]);
    let dropped = DropoutConfig::new(0.2).init().forward(tensor::<B, 2>(ones));
    Ok(Array::concatenate([dense(9, 9)?.kernel, array(dropped)?]))
}

// %% Run
fn main() -> Result<()> {
    let run = rosetta::start("Burn", rosetta::locked(include_str!("Cargo.lock"), "burn"));
    B::seed(&CPU, run.config.u64("seed"));
    let mut report = Report::new(
        &run,
        [
            ("conv.shorthand", ["cnn", "Conv2dConfig::new([inputs, outputs], [3, 3])"]),
            ("conv.padding", ["cnn", "PaddingConfig2d::Same"]),
            ("conv.initialiser", ["cnn", "model.apply(weights,"]),
            ("conv.bias", ["cnn", "model.apply(weights,"]),
            ("dense.initialiser", ["cnn", "model.apply(weights,"]),
            ("dense.bias", ["cnn", "model.apply(weights,"]),
            ("dropout.untold", ["cnn", "train(&run, model, &device).valid()"]),
            ("sgd.momentum", ["cnn", "with_dampening(0.0)"]),
            ("adam.epsilon", ["rnn", "with_epsilon(cfg.f64(\"epsilon\")"]),
            ("decay.biases", ["transformer", "[decay, 0.0]"]),
            ("clip.of", ["transformer", "struct Clip"]),
            ("gru.gates", ["rnn", "const GATES"]),
            ("embedding.initialiser", ["rnn", "model.apply(weights,"]),
            ("gru.initialiser", ["rnn", "model.apply(weights,"]),
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
