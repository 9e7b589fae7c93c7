//! The loop on real logs, declared in one file: a foundation model goes over a log in order of time, what it leaves becomes
//! histories, vertical models are trained with and without them, and with every control beside.

mod attention;
mod error;
mod evaluate;
mod fields;
mod keep;
mod past;
mod run;
mod spec;
mod stored;
mod stream;
mod student;
mod teacher;
mod variant;

pub use error::Error;
pub use past::{Embeddings, LABEL_SIDE, Past, Sources, histories};
pub use run::{Finished, Options, Progress, run};
pub use spec::{Fm, History, Log, Mode, Range, Spec, Split, Vm, With};
pub use stream::Stream;
pub use student::{Course, Learnt};
pub use teacher::{NEVER, Taught, teach};
pub use variant::Variant;
