//! The harness SDK for Rust. Speaks the protocol of docs/protocol.md, so that a harness has no
//! clock, no JSON, no argument and no print. May not know any framework.

mod array;
pub mod defaults;
mod job;
mod npy;
mod wire;

use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, HashSet},
    ffi::CString,
    fmt::Display,
    fs, iter, mem, process,
    rc::Rc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

pub use crate::{
    array::{Array, Values},
    job::Config,
};
use crate::{
    job::Job,
    npy::{Float, Npy},
    wire::{Wire, number, seconds},
};

const PROTOCOL: u32 = 1;
/// The time between two `step` events of a normal run.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(500);

/// Begins the job and returns its [`Run`]; the first thing that a harness does.
pub fn start(framework: &str, version: &str) -> Run {
    let origin = Instant::now();
    let by_rosetta = std::env::var_os("ROSETTA_JOB").is_some();
    let mut wire = if by_rosetta { Wire::guarded(origin) } else { Wire::screen(origin) };
    wire.send_at(
        origin,
        "start",
        json!({
            "language": "rust",
            "language_version": env!("ROSETTA_RUSTC"),
            "sdk": env!("CARGO_PKG_VERSION"),
            "pid": process::id(),
        }),
    );
    let job = Job::find();
    let hello = json!({"framework": framework, "version": version, "device": job.device});
    wire.send("hello", hello);
    Run::new(job, wire)
}

/// Returns the version of `package` in the text of a `Cargo.lock`.
pub fn locked<'a>(lock: &'a str, package: &str) -> &'a str {
    let entry = format!("name = \"{package}\"\nversion = \"");
    let version = lock.split_once(&entry).and_then(|(_, rest)| rest.split_once('"'));
    version.map_or("unknown", |(version, _)| version)
}

/// Ends the process with a message; rosetta takes the exit code for the outcome.
fn fail(message: impl Display) -> ! {
    eprintln!("error: {message}");
    process::exit(1)
}

/// One job: its settings and arrays, and the words to report it.
pub struct Run {
    pub config: Config,
    /// `cpu` or `cuda`.
    pub device: String,
    /// `float32` or `float64`.
    pub dtype: String,
    /// CPU threads to use.
    pub threads: usize,
    pub experiment: String,
    pub is_check: bool,
    job: Job,
    wire: RefCell<Wire>,
    sync: RefCell<Box<dyn Fn()>>,
    phase: RefCell<String>,
    arrays: RefCell<HashMap<String, Rc<Array>>>,
    outputs: RefCell<Option<(Array, Instant)>>, // and when the last of it was there
    activations: RefCell<HashSet<String>>,      // those that are stored
    steps_left: Cell<Option<usize>>,
    epoch: RefCell<Epoch>,
}

/// Where training stands.
struct Epoch {
    index: usize,
    step: usize,
    steps: usize,
    start: Instant,
    first_step: Option<Duration>,
    last_progress: Instant,
    loss: Loss, // of the last step
}

/// A loss that is read from the device only when somebody asks.
enum Loss {
    None,
    Unread(Box<dyn FnOnce() -> f64>),
    Read(f64),
}

impl Loss {
    fn read(&mut self) -> Option<f64> {
        let value = match mem::replace(self, Loss::None) {
            Loss::None => return None,
            Loss::Unread(read) => read(),
            Loss::Read(value) => value,
        };
        *self = Loss::Read(value);
        Some(value)
    }
}

impl Run {
    fn new(job: Job, wire: Wire) -> Run {
        let now = Instant::now();
        Run {
            config: job.config(),
            device: job.device.clone(),
            dtype: job.dtype.clone(),
            threads: job.threads,
            experiment: job.experiment.clone(),
            is_check: job.mode == "check",
            steps_left: Cell::new(job.steps),
            job,
            wire: RefCell::new(wire),
            sync: RefCell::new(Box::new(|| ())),
            phase: RefCell::default(),
            arrays: RefCell::default(),
            outputs: RefCell::default(),
            activations: RefCell::default(),
            epoch: RefCell::new(Epoch {
                index: 0,
                step: 0,
                steps: 0,
                start: now,
                first_step: None,
                last_progress: now,
                loss: Loss::None,
            }),
        }
    }

    /// Says how to wait for the device; it is called at phase and epoch edges.
    pub fn sync_with(&self, sync: impl Fn() + 'static) {
        *self.sync.borrow_mut() = Box::new(sync);
    }

    /// Ends the process with a clear message where a shared library cannot be loaded.
    pub fn require_library(&self, name: &str, owner: &str) {
        let file = CString::new(name).unwrap_or_else(|why| fail(why));
        // SAFETY: `file` is a C string that outlives the call; the library stays loaded.
        if unsafe { libc::dlopen(file.as_ptr(), libc::RTLD_LAZY) }.is_null() {
            fail(format!("device `{}` needs {owner}: cannot load `{name}`", self.device));
        }
    }

    // Data and weights

    /// Returns a neutral array: images (N, C, H, W) in 0..1, tokens and labels int32.
    pub fn data(&self, name: &str) -> Rc<Array> {
        let mut arrays = self.arrays.borrow_mut();
        let read = || {
            let source = self.job.arrays.get(name).unwrap_or_else(|| {
                let known: Vec<_> = self.job.arrays.keys().map(String::as_str).collect();
                fail(format!("the experiment has no array `{name}`; it has: {}", known.join(", ")))
            });
            let file = Npy::open(&source.path);
            file.and_then(|file| file.read(Some(source.rows), self.float(), source.divide_by))
                .map(Rc::new)
                .unwrap_or_else(|why| {
                    fail(format!("cannot read `{}`: {why}", source.path.display()))
                })
        };
        arrays.entry(name.into()).or_insert_with(read).clone()
    }

    /// Returns the initial weights with their canonical names, in forward order.
    pub fn weights(&self) -> Vec<(String, Array)> {
        let files = &self.job.weights;
        let read = |name: &String| {
            let path = files.folder.join(format!("{name}.npy"));
            let array = Npy::open(&path).and_then(|file| file.read(None, self.float(), None));
            array.unwrap_or_else(|why| fail(format!("cannot read `{}`: {why}", path.display())))
        };
        files.names.iter().map(|name| (name.clone(), read(name))).collect()
    }

    fn float(&self) -> Float {
        if self.dtype == "float64" { Float::F64 } else { Float::F32 }
    }

    // Phases

    /// Ends the phase before and begins `name`, when the device has finished.
    pub fn phase(&self, name: &str) {
        self.sync.borrow()();
        self.phase.replace(name.into());
        self.send("phase", json!({"name": name}));
    }

    // Training

    /// Yields the epoch numbers 0, 1, …
    pub fn epochs(&self) -> impl Iterator<Item = usize> {
        (0..self.config.usize("epochs")).take_while(|&index| {
            let steps = self.batch_count();
            let mut epoch = self.epoch.borrow_mut();
            (epoch.index, epoch.step, epoch.steps) = (index, 0, steps);
            epoch.first_step = None;
            epoch.start = Instant::now();
            epoch.last_progress = epoch.start;
            self.steps_left.get() != Some(0)
        })
    }

    fn batch_count(&self) -> usize {
        let rows = self.job.arrays.get("x_train").map_or(0, |source| source.rows);
        let count = rows / self.config.usize("batch_size");
        self.steps_left.get().map_or(count, |left| left.min(count))
    }

    fn order(&self, epoch: usize) -> Vec<u32> {
        let path = self.job.order.as_deref().unwrap_or_else(|| fail("the job has no order"));
        let order = Npy::open(path).and_then(|file| file.read_order(epoch));
        let mut rows =
            order.unwrap_or_else(|why| fail(format!("cannot read `{}`: {why}", path.display())));
        rows.truncate(self.batch_count() * self.config.usize("batch_size"));
        rows
    }

    /// Yields the common mini-batches (x, y) of an epoch, in the common order.
    pub fn batches(&self, epoch: usize) -> impl Iterator<Item = (Array, Array)> {
        let (x_train, y_train) = (self.data("x_train"), self.data("y_train"));
        let (rows, size) = (self.order(epoch), self.config.usize("batch_size"));
        (0..rows.len() / size).map(move |index| {
            let batch = &rows[index * size..][..size];
            (x_train.gather(batch), y_train.gather(batch))
        })
    }

    /// Returns (x, y) of a whole epoch in the common order.
    pub fn epoch_data(&self, epoch: usize) -> (Array, Array) {
        let rows = self.order(epoch);
        (self.data("x_train").gather(&rows), self.data("y_train").gather(&rows))
    }

    /// Says that a step is done. A normal run leaves the device alone: `loss` is read later, or
    /// never. It must not keep the step's gradient graph alive.
    pub fn step(&self, loss: impl FnOnce() -> f64 + 'static) {
        let now = Instant::now();
        let mut epoch = self.epoch.borrow_mut();
        epoch.step += 1;
        if epoch.step == 1 {
            epoch.first_step = Some(now - epoch.start);
        }
        let mut loss = Loss::Unread(Box::new(loss));
        if self.is_check {
            let value = loss.read();
            self.send_step(&epoch, value);
        } else if now - epoch.last_progress >= PROGRESS_INTERVAL {
            // On a CPU the loss of the step before is in host memory already.
            let known = if self.device == "cpu" { epoch.loss.read() } else { None };
            self.send_step(&epoch, known);
            epoch.last_progress = Instant::now();
        }
        epoch.loss = loss;
    }

    fn send_step(&self, epoch: &Epoch, loss: Option<f64>) {
        let Epoch { index, step, steps, .. } = epoch;
        let loss = loss.map(number);
        self.send("step", json!({"epoch": index, "step": step, "steps": steps, "loss": loss}));
    }

    /// Says that an epoch is over; its loss is that of its last step.
    pub fn epoch_end(&self, index: usize) {
        self.sync.borrow()();
        let mut epoch = self.epoch.borrow_mut();
        let loss = epoch.loss.read();
        let now = Instant::now();
        self.steps_left.set(self.steps_left.get().map(|left| left - epoch.steps));
        let fields = json!({
            "epoch": index,
            "loss": loss.map(number),
            "seconds": seconds((now - epoch.start).as_secs_f64()),
            "first_step_seconds": epoch.first_step.map(|time| seconds(time.as_secs_f64())),
            "samples": epoch.steps * self.config.usize("batch_size"),
        });
        self.wire.borrow_mut().send_at(now, "epoch", fields);
    }

    /// Stores the trained weights in a check; `weights` returns them with canonical names.
    pub fn final_weights(&self, weights: impl FnOnce() -> Vec<(String, Array)>) {
        if !self.is_check {
            return;
        }
        let folder = self.job.outputs.join("weights");
        let store = |(name, array): (String, Array)| {
            npy::write(&folder.join(format!("{name}.npy")), &array).map(|()| name)
        };
        let mut weights = weights();
        // In forward order, whatever order the framework keeps them in.
        let order = &self.job.weights.names;
        weights.sort_by_key(|(name, _)| order.iter().position(|known| known == name));
        let names = fs::create_dir_all(&folder)
            .and_then(|()| weights.into_iter().map(store).collect::<Result<Vec<_>, _>>())
            .unwrap_or_else(|why| fail(format!("cannot write `{}`: {why}", folder.display())));
        self.send("weights", json!({"folder": folder, "names": names}));
    }

    // Prediction

    /// Yields `x` in batches of `config.batch_size`, the last one perhaps smaller.
    pub fn split(&self, x: &Array) -> impl Iterator<Item = Array> {
        let size = self.config.usize("batch_size");
        let mut first = 0;
        let mut before: Option<(Instant, usize)> = None;
        let (mut times, mut samples) = (Vec::new(), Vec::new());
        iter::from_fn(move || {
            if let Some((start, rows)) = before.take() {
                times.push(seconds(start.elapsed().as_secs_f64()));
                samples.push(rows);
            }
            if first < x.rows() {
                let batch = x.slice(first, size);
                first += batch.rows();
                before = Some((Instant::now(), batch.rows()));
                return Some(batch);
            }
            let (times, samples) = (mem::take(&mut times), mem::take(&mut samples));
            let phase = self.phase.borrow();
            self.send("batches", json!({"phase": *phase, "seconds": times, "samples": samples}));
            None
        })
        .fuse()
    }

    /// Yields the batches of the cold pass, which is not counted.
    pub fn warmup(&self, x: &Array) -> impl Iterator<Item = Array> {
        let size = self.config.usize("batch_size");
        let batches = 0..self.config.usize("warmup_batches");
        batches.map(move |index| x.slice(index * size % x.rows(), size))
    }

    /// Stores logits or features (rows, width): all at once, or batch by batch in order.
    pub fn outputs(&self, array: Array) {
        let mut outputs = self.outputs.borrow_mut();
        match &mut *outputs {
            Some((all, ready)) => {
                all.append(array);
                *ready = Instant::now();
            }
            None => *outputs = Some((array, Instant::now())),
        }
    }

    /// Stores what a layer computed, in the first prediction of a check: with names alike in two
    /// harnesses, the first layer that differs is named. `values` is not called elsewhere.
    pub fn activation(&self, name: &str, values: impl FnOnce() -> Array) {
        let is_wanted = self.is_check && *self.phase.borrow() == "predict";
        if !is_wanted || !self.activations.borrow_mut().insert(name.into()) {
            return;
        }
        let array = values();
        let number = self.activations.borrow().len() - 1;
        let path = self.job.outputs.join(format!("activation-{number}.npy"));
        npy::write(&path, &array)
            .unwrap_or_else(|why| fail(format!("cannot write `{}`: {why}", path.display())));
        let dtype = array.values.dtype();
        let fields = json!({"name": name, "path": path, "shape": array.shape, "dtype": dtype});
        self.send("activation", fields);
    }

    // Words about the run

    /// Records a property of this run, e.g. `layout="NCHW"`.
    pub fn fact(&self, name: &str, value: impl Into<Value>) {
        self.send("fact", json!({"name": name, "value": value.into()}));
    }

    /// Records any other number.
    pub fn metric(&self, name: &str, value: f64, unit: Option<&str>) {
        self.send("metric", json!({"name": name, "value": number(value), "unit": unit}));
    }

    /// Stores the outputs and says that all is done. A harness that leaves early, by a panic or
    /// through `?`, never comes here and so never claims it.
    pub fn finish(self) {
        if let Some((array, ready)) = self.outputs.take() {
            let path = self.job.outputs.join("outputs.npy");
            npy::write(&path, &array)
                .unwrap_or_else(|why| fail(format!("cannot write `{}`: {why}", path.display())));
            let ready = self.wire.borrow().seconds(ready);
            let dtype = array.values.dtype();
            self.send(
                "array",
                json!({
                    "name": "outputs",
                    "path": path,
                    "shape": array.shape,
                    "dtype": dtype,
                    "ready": ready,
                }),
            );
        }
        self.send("end", json!({}));
    }

    fn send(&self, event: &str, fields: Value) {
        self.wire.borrow_mut().send(event, fields);
    }
}
