//! Training: a model, a loss and an optimiser become a step graph ([`crate::optim`]); batches go through it until the
//! data, the steps or the patience end; what comes out is a `model.safetensors` that `loopfm-compile` takes as it is.
//!
//! [`Trainer::step`] is the inner loop, for programs that bring their own; [`Trainer::learn`] is a whole run in memory, of
//! which a program may have several side by side; [`score`](fn@score) is a model on data. [`Trainer::fit`] is a run with a
//! folder of its own:
//!
//! | file | what |
//! |---|---|
//! | `model.safetensors` | graph and weights: of the best validation, or the last ones without validation |
//! | `checkpoint.safetensors` | all that the run goes on from |
//! | `checkpoint.1.safetensors` | the one before, for when the last one is damaged |
//! | `metrics.jsonl` | an [`Event`] a line |
//! | `curve.svg` | these as a picture |
//!
//! Steps run on the CPU ([`Trainer::new`]), on a GPU or wherever it is best ([`Trainer::on`]), or in an engine of the
//! caller's ([`Trainer::with_engine`]). Checkpoints hold the same whichever it is. A run that resumes on the device that
//! wrote its checkpoint goes on to the bit; one that resumes elsewhere goes on from the same weights and optimiser
//! state, rounds otherwise from then on, and says so ([`Event::Start`]).
//!
//! A run is a function of its [`Spec`], its model, its data and its device. Random numbers are functions of the seed and
//! of where they are used, so a run that was killed and resumed writes the same bytes as one that was not. Everything
//! that can be known to be wrong is found before the first step.
//!
//! # Example
//!
//! A scorer of two numbers, by hand, learns that the first one matters:
//!
//! ```
//! use loopfm::import::Model;
//! use loopfm::ir::Graph;
//! use loopfm::nn;
//! use loopfm::tensor::{DType, Dim, HostTensor, Shape, Tensors};
//! use loopfm::train::{Spec, Trainable, Trainer};
//!
//! let mut g = Graph::new();
//! let x = g.input("x", DType::F32, Shape(vec![Dim::Rows(1), Dim::Fixed(2)]))?;
//! let w = g.param("fc.weight", &[1, 2])?;
//! let logit = nn::linear(&mut g, x, w, None)?;
//! g.outputs.push(("logit".into(), logit));
//! let weights = Tensors::from([("fc.weight".into(), HostTensor::f32(&[1, 2], vec![0.0; 2]))]);
//! let model = Model { name: "scorer".into(), graph: g, weights };
//!
//! let mut spec = Spec::default();
//! spec.schedule.lr = 0.1;
//! let mut trainer = Trainer::new(Trainable::of_model(&model)?, &spec)?;
//! let batch = Tensors::from([
//!     ("x".into(), HostTensor::f32(&[4, 2], vec![1.0, 1.0, -1.0, 1.0, 2.0, -1.0, -2.0, -1.0])),
//!     ("label".into(), HostTensor::f32(&[4], vec![1.0, 0.0, 1.0, 0.0])),
//! ]);
//! let first = trainer.step(&batch)?.loss;
//! for _ in 0..20 {
//!     trainer.step(&batch)?;
//! }
//! assert!(trainer.step(&batch)?.loss < first / 2.0);
//! assert!(trainer.weights()?["fc.weight"].as_f32().is_some_and(|w| w[0] > 1.0 && w[1].abs() < 0.5));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod blame;
mod checkpoint;
mod columns;
mod curve;
mod engine;
mod error;
mod feed;
mod fit;
mod folder;
mod journal;
#[cfg(feature = "data")]
mod logs;
mod needs;
mod place;
mod score;
mod spec;
mod split;
mod task;
mod trainer;

pub use checkpoint::{Best, Progress, save};
pub use engine::{Engine, Interpreter};
pub use error::{Blame, CheckpointError, DataError, Error};
pub use feed::Cursor;
pub use fit::{Fit, Learnt, Observer, Outcome};
pub use journal::{Event, StepLine, Validation};
#[cfg(feature = "data")]
pub use logs::RawData;
pub use score::{score, score_blocks};
#[cfg(feature = "data")]
pub(crate) use spec::read_toml;
pub use spec::{Data, Distillation, Loss, OneClass, Order, Run, Spec};
pub use split::{Gather, Gathered, Split};
pub use task::Trainable;
pub use trainer::{Metrics, Trainer};

use task::LABEL;
