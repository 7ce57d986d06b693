//! rosetta runs the same deep-learning experiments in many frameworks and compares them.
//!
//! One direction, never back:
//!
//! ```text
//! specs/*.yaml ──spec──▶ Experiment ─┐
//! harnesses/*, envs/* ─catalog─▶ Catalog ─plan─▶ Jobs ─env, data, jobfile─▶ Launch ─process─▶ lines
//!                                                                                              │
//!            screen ◀─ui─ Table ◀─table─ Record (results/) ◀─run─ Fold ◀─fold─ Event ◀─event───┘
//! ```
//!
//! A later stage may read an earlier stage's type, never call it; `run` joins them. The same
//! [`event::Event`] feeds the live display, the stored log and the record.
//!
//! | word | meaning |
//! |---|---|
//! | experiment | what is compared: a YAML file under `specs/` |
//! | framework | a folder under `harnesses/` |
//! | harness | one program: one experiment in one framework |
//! | env | a pinned environment under `envs/`, with a lock |
//! | target | a row of a table: a framework in one env |
//! | job | experiment × target × device × repeat: one process |
//! | run | one invocation of `rosetta run` |
//! | record | what is stored of a finished job |
//! | default | what a framework does unless told otherwise: measured by its `defaults.*` |
//!
//! # Decisions
//!
//! **An outcome is data.** A framework that fails is a record with a reason and a cell with a
//! footnote; `Err` means that rosetta itself cannot go on. Exit codes: 0 all jobs ok, 1 some job
//! not, 2 rosetta or its input failed, 130 interrupted.
//!
//! **Files, not a database.** A record is one JSON line, published by an atomic rename, so that a
//! crash loses at most the job in flight and pandas, polars and duckdb read results as they are.
//! SQLite was measured as fast enough but cannot be diffed or read without us.
//!
//! **A shim per job.** Process groups leave processes behind that called `setsid`; a subreaper
//! that is also told of rosetta's own death leaves none (see [`process`]).
//!
//! **The host measures and scores.** A harness reads no clock of its own: its SDK stamps events
//! after waiting for the device, the host stamps them again on arrival, and a disagreement marks
//! the record. Accuracy is computed here from stored outputs, by one piece of code for all.
//!
//! **Data is stored as bytes and divided when loaded.** The images are uint8 with a divisor, so
//! that the data on disk is a quarter of float32 and exact; all SDKs convert, then divide, which
//! IEEE arithmetic makes the same bits in every language.

pub use rosetta_lines::{event, mask};

pub mod arrays;
pub mod brief;
pub mod catalog;
pub mod chart;
pub mod cli;
pub mod cluster;
pub mod compare;
pub mod container;
pub mod data;
pub mod defaults;
pub mod digest;
pub mod env;
pub mod fold;
pub mod gpu;
pub mod highlight;
pub mod hint;
pub mod home;
pub mod jobfile;
pub mod launch;
pub mod lint;
pub mod lock;
pub mod machine;
pub mod material;
pub mod notebook;
pub mod obstacle;
pub mod page;
pub mod plan;
pub mod probe;
pub mod process;
pub mod progress;
pub mod project;
pub mod proof;
pub mod publish;
pub mod quantity;
pub mod reading;
pub mod record;
pub mod regular;
pub mod report;
pub mod repro;
pub mod request;
pub mod run;
pub mod score;
pub mod seal;
pub mod sections;
pub mod spec;
pub mod stats;
pub mod store;
pub mod table;
pub mod trend;
pub mod ui;
pub mod variant;
pub mod verify;
pub mod words;
pub mod yaml;
