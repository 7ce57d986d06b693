//! Transformer encoder on IMDB reviews in candle: 2 blocks of 4 heads, AdamW.

// %% Setup
use candle_core::{D, DType, Device, Result, Tensor, Var, backprop::GradStore};
use candle_nn::{
    AdamW, Dropout, Embedding, LayerNorm, Linear, Module, Optimizer, ParamsAdamW, VarBuilder,
    VarMap, embedding, layer_norm, linear, loss, ops,
};
use rosetta::{Array, Config, Run, Values};

fn setup() -> Result<(Run, Device)> {
    let lock = include_str!("Cargo.lock");
    let run = rosetta::start("candle", rosetta::locked(lock, "candle-core"));
    let device = if run.device == "cuda" { Device::new_cuda(0)? } else { Device::Cpu };
    let waiting = device.clone();
    run.sync_with(move || waiting.synchronize().expect("the device is there"));
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
/// `LayerNorm::forward` and `ops::softmax_last_dim` are kernels without a derivative: nothing below
/// them would be trained, and nothing would say so. The slow ones have one.
fn norm(layer: &LayerNorm, x: &Tensor) -> Result<Tensor> {
    let bias = layer.bias().expect("it was made with one");
    ops::layer_norm_slow(x, layer.weight(), bias, layer.eps() as f32)
}

struct Block {
    heads: usize,
    norm1: LayerNorm,
    in_proj: Linear,
    out_proj: Linear,
    norm2: LayerNorm,
    linear1: Linear,
    linear2: Linear,
    dropout: Dropout,
}

impl Block {
    fn new(cfg: &Config, vb: VarBuilder) -> Result<Block> {
        let (width, hidden) = (cfg.usize("width"), cfg.usize("hidden"));
        let (attention, epsilon) = (vb.pp("self_attn"), cfg.f64("norm_epsilon"));
        let weight = attention.get((3 * width, width), "in_proj_weight")?;
        let bias = attention.get(3 * width, "in_proj_bias")?;
        Ok(Block {
            heads: cfg.usize("heads"),
            norm1: layer_norm(width, epsilon, vb.pp("norm1"))?,
            in_proj: Linear::new(weight, Some(bias)), // queries, keys and values
            out_proj: linear(width, width, attention.pp("out_proj"))?,
            norm2: layer_norm(width, epsilon, vb.pp("norm2"))?,
            linear1: linear(width, hidden, vb.pp("linear1"))?,
            linear2: linear(hidden, width, vb.pp("linear2"))?,
            dropout: Dropout::new(cfg.f64("dropout") as f32),
        })
    }

    fn forward(&self, x: &Tensor, is_word: &Tensor, is_training: bool) -> Result<Tensor> {
        let y = self.attention(&norm(&self.norm1, x)?, is_word)?;
        let x = (x + self.dropout.forward(&y, is_training)?)?;
        let y = self.linear1.forward(&norm(&self.norm2, &x)?)?;
        let y = self.linear2.forward(&y.gelu_erf()?)?; // `gelu` is by tanh
        x + self.dropout.forward(&y, is_training)?
    }

    /// candle's attention is for predictions alone: it has no derivative either.
    fn attention(&self, x: &Tensor, is_word: &Tensor) -> Result<Tensor> {
        let (n, length, width) = x.dims3()?;
        let size = width / self.heads;
        let x = self.in_proj.forward(x)?.reshape((n, length, 3, self.heads, size))?;
        let part = |index| x.narrow(2, index, 1)?.squeeze(2)?.transpose(1, 2)?.contiguous();
        let (q, k, v) = (part(0)?, part(1)?, part(2)?); // (n, 4, 150, 32) each
        let scores = (q.matmul(&k.t()?)? / (size as f64).sqrt())?; // (n, 4, 150, 150)
        let nothing = Tensor::full(f64::NEG_INFINITY, (), x.device())?.to_dtype(x.dtype())?;
        let nothing = nothing.broadcast_as(scores.shape())?;
        let scores = is_word.broadcast_as(scores.shape())?.where_cond(&scores, &nothing)?;
        let y = ops::softmax(&scores, D::Minus1)?.matmul(&v)?;
        self.out_proj.forward(&y.transpose(1, 2)?.reshape((n, length, width))?)
    }
}

struct Transformer {
    embedding: Embedding,
    positions: Tensor,
    blocks: Vec<Block>,
    norm: LayerNorm,
    dense: Linear,
}

impl Transformer {
    fn new(cfg: &Config, vb: VarBuilder) -> Result<Transformer> {
        let (length, width) = (cfg.usize("length"), cfg.usize("width"));
        let block = |index| Block::new(cfg, vb.pp(format!("encoder.layers.{index}")));
        Ok(Transformer {
            embedding: embedding(cfg.usize("vocabulary"), width, vb.pp("embedding"))?,
            positions: vb.get((length, width), "positions")?,
            blocks: (0..cfg.usize("blocks")).map(block).collect::<Result<_>>()?,
            norm: layer_norm(width, cfg.f64("norm_epsilon"), vb.pp("encoder.norm"))?,
            dense: linear(width, cfg.usize("classes"), vb.pp("dense"))?,
        })
    }

    fn forward(&self, words: &Tensor, is_training: bool) -> Result<Tensor> {
        let is_word = words.ne(0u32)?; // (n, 150), of u8: there is no bool
        let mask = is_word.unsqueeze(1)?.unsqueeze(1)?;
        let mut x = self.embedding.forward(words)?.broadcast_add(&self.positions)?;
        for block in &self.blocks {
            x = block.forward(&x, &mask, is_training)?; // (n, 150, 128)
        }
        let share = is_word.to_dtype(x.dtype())?.unsqueeze(2)?;
        let x = norm(&self.norm, &x)?.broadcast_mul(&share)?.sum(1)?; // (n, 128)
        self.dense.forward(&x.broadcast_div(&share.sum(1)?)?) // logits
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
/// One for the matrices, embeddings among them, and one for biases and norms, which do not decay.
fn optimizers(cfg: &Config, variables: &VarMap) -> Result<[AdamW; 2]> {
    let adamw = |variables, weight_decay| {
        let params = ParamsAdamW {
            lr: cfg.f64("learning_rate"),
            beta1: cfg.f64("beta1"),
            beta2: cfg.f64("beta2"),
            eps: cfg.f64("epsilon"),
            weight_decay,
        };
        AdamW::new(variables, params)
    };
    let (matrices, vectors) = variables.all_vars().into_iter().partition(|w| w.rank() > 1);
    Ok([adamw(matrices, cfg.f64("weight_decay"))?, adamw(vectors, 0.0)?])
}

/// Clips all gradients together, which nothing in candle does.
fn clip(grads: &mut GradStore, variables: &[Var], limit: f64) -> Result<()> {
    let squares = variables.iter().filter_map(|w| grads.get(w)).map(|g| g.sqr()?.sum_all());
    let norm = Tensor::stack(&squares.collect::<Result<Vec<_>>>()?, 0)?.sum_all()?.sqrt()?;
    let factor = (norm.recip()? * limit)?.minimum(1.0)?;
    for w in variables {
        if let Some(g) = grads.remove(w) {
            grads.insert(w, g.broadcast_mul(&factor)?);
        }
    }
    Ok(())
}

// %% Train
fn train(run: &Run, model: &Transformer, variables: &VarMap, device: &Device) -> Result<()> {
    let (cfg, mut t) = (&run.config, 0.0);
    let (rate, warmup) = (cfg.f64("learning_rate"), cfg.f64("warmup_steps"));
    let (all, mut optimizers) = (variables.all_vars(), optimizers(cfg, variables)?);
    run.phase("train");
    for epoch in run.epochs() {
        for (x, y) in run.batches(epoch) {
            let logits = model.forward(&tensor(x, device)?, true)?;
            let loss = loss::cross_entropy(&logits, &tensor(y, device)?)?;
            let mut grads = loss.backward()?;
            clip(&mut grads, &all, cfg.f64("clip_norm"))?;
            t += 1.0;
            for optimizer in &mut optimizers {
                optimizer.set_learning_rate(rate * f64::min(1.0, t / warmup)); // no schedules
                optimizer.step(&grads)?;
            }
            let loss = loss.detach().to_dtype(DType::F64)?; // attached, it would keep the graph
            run.step(move || loss.to_scalar().expect("one number"));
        }
        run.epoch_end(epoch);
    }
    Ok(())
}

// %% Predict
fn predict(run: &Run, model: &Transformer, device: &Device) -> Result<Tensor> {
    run.phase("predict");
    let x_test = run.data("x_test");
    // Detached, as there is no switch for it: each batch would keep all that it computed.
    let predict = |x| Ok(model.forward(&tensor(x, device)?, false)?.detach());
    let logits = run.split(&x_test).map(predict);
    let logits = Tensor::cat(&logits.collect::<Result<Vec<_>>>()?, 0)?;
    run.outputs(array(&logits)?);
    Ok(logits)
}

fn array(tensor: &Tensor) -> Result<Array> {
    Ok(Array::new(tensor.dims(), tensor.flatten_all()?.to_vec1::<f32>()?))
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
    let mut variables = VarMap::new();
    let vb = VarBuilder::from_varmap(&variables, DType::F32, &device);
    let model = Transformer::new(&run.config, vb)?;
    initial_weights(&run, &mut variables, &device)?;

    train(&run, &model, &variables, &device)?;
    run.final_weights(|| final_weights(&variables).expect("floats"));
    let logits = predict(&run, &model, &device)?;
    evaluate(&run, &logits, &device)?;
    run.finish();
    Ok(())
}
