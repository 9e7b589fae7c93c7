//! Logs: files of impressions, and what a model takes of them.
//!
//! `features.toml` says what the log's columns are and which inputs a model makes of them ([`Features`]). The files are
//! opened together ([`LogFiles`]): footers and headers are read and compared before a row is. One pass over the training
//! days learns vocabularies and statistics ([`Features::fit`]), and the [`Encoder`] that comes of it turns raw rows,
//! batch by batch, into inputs: those of a log, and those that a service has at hand ([`RowBatch::new`]).
//!
//! ```
//! use loopfm::data::{Column, Encoder, Features, LogFiles, RowBatch};
//!
//! let dir = tempfile::tempdir()?;
//! let log = dir.path().join("log.csv");
//! std::fs::write(&log, "user,item,t,click\n7,a,1650812741,1\n8,b,1650812742,0\n7,b,1650812800,0\n")?;
//! let features = Features::parse(
//!     r#"
//!     [log]
//!     key = "user"
//!     time = { column = "t", unit = "s" }
//!     label = "click"
//!     [features.item]
//!     id = "item"
//!     "#,
//!     "an example",
//! )?;
//! let files = LogFiles::open(&features, &[log])?;
//! let encoder = features.fit(&files, None)?;
//! assert_eq!(encoder.vocabulary_sizes()["item"], 3); // a, b and what is unknown
//!
//! // Elsewhere, later: the same encoder reads a service's rows.
//! let encoder = Encoder::from_json(&encoder.to_json())?;
//! let columns = [
//!     ("user", Column::ints(vec![7, 7])),
//!     ("item", Column::texts(&["b", "c"])),
//!     ("t", Column::ints(vec![1_650_900_000; 2])),
//! ];
//! let rows = RowBatch::new("a request", columns.map(|(name, column)| (name.to_owned(), column)));
//! assert_eq!(encoder.encode(&rows)?.inputs["item"].as_i32(), Some([2, 0].as_slice()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Nothing there
//!
//! A null, NaN, a field of a CSV file that is one of `nulls`, a row that a side table lacks: of an id it is row 0, of a
//! sequence no item, within a sequence an item of row 0, of a number 0 after its transforms (the mean, if it was standardised). `missing` puts a value in its
//! place, `flag` adds an input that says so. Of key, time and label it is refused.

mod batches;
mod cell;
mod clock;
mod column;
mod columns;
mod declare;
mod delimited;
mod encoded;
mod encoder;
mod error;
mod feature;
mod features;
mod files;
mod fit;
mod fitted;
mod glob;
mod id;
mod inputs;
mod join;
mod lookup;
mod needs;
mod number;
mod parquet;
mod rows;
mod sequence;
mod table;
mod time;
mod understand;
mod vocabulary;

pub use batches::{BATCH, Batches};
pub use cell::Cell;
pub use column::{Column, Kind};
pub use columns::read_columns;
pub use encoded::Encoded;
pub use encoder::Encoder;
pub use error::Error;
pub use features::Features;
pub use files::LogFiles;
pub use id::Id;
pub use rows::RowBatch;
pub use time::{Days, Offset, Unit};
