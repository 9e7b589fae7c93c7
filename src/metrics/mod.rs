//! What is said of predictions: how far they are from others, how well they rank and predict labels, and how sure that
//! is.
//!
//! | question | answer |
//! |---|---|
//! | how well do they rank? | [`auc`](fn@auc), [`gauc`](fn@gauc), [`RunningAuc`] |
//! | how well do they tell labels? | [`log_loss`], [`log_loss_of_logits`], [`normalised_entropy`] |
//! | are they too high or too low? | [`Calibration`] |
//! | how sure is a figure, a difference, a ratio? | [`Sample`], [`Measured`], [`interval`]: users resampled |
//! | might training again undo it? | `paired_t`: over seeds (feature `data`) |
//! | what share of a teacher's lead does a channel bring? | [`transfer_ratio`], [`transfer_ratio_of_teachers`] |
//! | what is that gain made of? | [`decompose`], [`Decomposition`] |
//!
//! # Example
//!
//! Four users, two of whom teach a ranking something; a second model is better:
//!
//! ```
//! use loopfm::metrics::{Bootstrap, Metric, Sample, difference};
//!
//! let users = [7, 7, 7, 8, 8, 9, 9, 10];
//! let labels = [0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0];
//! let sample = Sample::new(&users, &labels, &Bootstrap::default())?;
//! let base = sample.measure("base", &[0.1, 0.0, -0.3, 0.2, 0.3, 0.4, -0.2, 0.0])?;
//! let better = sample.measure("better", &[-0.1, 0.5, -0.3, 0.9, 0.3, 1.4, 0.2, -0.5])?;
//! let gain = difference(Metric::Auc, &[base], &[better])?;
//! assert_eq!(gain.value, 0.9375 - 0.59375);
//! assert!(gain.low <= gain.value && gain.value <= gain.high);
//! # Ok::<(), loopfm::metrics::Error>(())
//! ```

mod auc;
mod bootstrap;
mod calibration;
mod decomposition;
mod difference;
mod error;
mod gauc;
mod loss;
mod metric;
mod paired;
mod sample;
#[cfg(feature = "data")]
mod seeds;
#[cfg(test)]
mod tests;
mod transfer;

pub use auc::{RunningAuc, auc};
pub use bootstrap::Bootstrap;
pub use calibration::{Bin, Binning, Calibration};
pub use decomposition::{Decomposed, Decomposition, decompose};
pub use difference::{Difference, numbers};
pub use error::Error;
pub use gauc::{Gauc, gauc};
pub use loss::{entropy, log_loss, log_loss_of_logits, logit, normalised_entropy, sigmoid};
pub use metric::{Figures, Metric};
pub use paired::{Interval, difference, interval};
pub use sample::{Measured, Sample};
#[cfg(feature = "data")]
pub use seeds::{PairedT, paired_t};
pub use transfer::{Teachers, Transfer, share_of_lead, transfer_ratio, transfer_ratio_of_teachers};
