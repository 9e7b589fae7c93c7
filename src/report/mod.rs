//! What a run of the loop has found: protocol, variants with their controls beside them, what gains are made of, and
//! what stands behind them. Serialises to `report.json`; drawn as one HTML file and as Markdown.
//!
//! Whoever runs experiments fills a [`Report`]; [`Variant::of`] does so from measurements, with intervals, tests and transfer
//! ratios, and says why where one is refused.
//!
//! ```
//! use loopfm::metrics::{Bootstrap, Sample};
//! use loopfm::report::{Against, Report, Role, Variant};
//!
//! # let dir = tempfile::tempdir()?;
//! let sample = Sample::new(&[1, 1, 2, 2, 3, 3], &[0., 1., 1., 0., 0., 1.], &Bootstrap::default())?;
//! let vm = [sample.measure("VM", &[0.3, 0.2, 0.1, 0.2, 0.0, 0.4])?]; // one a seed
//! let fm = [sample.measure("FM", &[-1.0, 1.0, 1.0, -1.0, -1.0, 1.0])?];
//! let with = [sample.measure("VM + LoopFM", &[-0.1, 0.4, 0.2, 0.1, 0.0, 0.4])?];
//! let raw = [sample.measure("VM + raw history", &[0.1, 0.4, 0.1, 0.2, 0.0, 0.4])?];
//!
//! let mut report = Report::new("A small run");
//! report.protocol.data = "six impressions of three users".into();
//! report.protocol.seeds = vec![1];
//! report.protocol.test(&sample);
//! let against = Against { vm: &vm, fm: Some(&fm) };
//! report.variants.push(Variant::of("VM", Role::Base, &vm, against)?);
//! report.variants.push(Variant::of("VM + LoopFM", Role::Claim, &with, against)?);
//! report.variants.push(Variant::of("VM + raw history", Role::Control, &raw, against)?.says("no FM"));
//! report.variants.push(Variant::of("FM", Role::Teacher, &fm, against)?);
//! report.warnings.push("Three users are no sample.".into());
//! report.write(dir.path())?; // report.html, report.json, report.md
//! assert!(report.to_markdown().contains("| VM + LoopFM "));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod figures;
mod html;
mod markdown;
mod numbers;
mod protocol;
mod series;
mod variant;

#[cfg(feature = "cli")]
pub(crate) use numbers::count;
pub use protocol::{ModelSize, Period, Protocol, Storage};
pub use series::{Attention, Bins, Curve, GapHistogram, LengthHistogram, gap_bin, gap_bins};
pub use variant::{Against, Gain, Role, Value, Variant};

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::container::write_atomically;
use crate::metrics::{Decomposed, Error, Measured, Metric, decompose};

/// The outcome of a run of the loop. Parts that are empty are left out of what is drawn.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// Its heading.
    pub title: String,
    /// On what, by which rules.
    pub protocol: Protocol,
    /// What the reader must know before reading figures: point-in-time notes, features that leak, failed checks.
    pub warnings: Vec<String>,
    /// The table of variants; the base first.
    pub variants: Vec<Variant>,
    /// What the gain of LoopFM is made of, one a metric.
    pub decompositions: Vec<Decomposed>,
    /// Why there is none in some metric.
    pub refusals: Vec<String>,
    /// Training curves.
    pub curves: Vec<Curve>,
    /// Lengths of histories of the test rows.
    pub lengths: Option<Bins>,
    /// How long before an impression the events of its history lie.
    pub gaps: Option<Bins>,
    /// How much attention an event gets by its age.
    pub attention: Vec<Attention>,
    /// Share of the embeddings' variance along each principal direction, descending.
    pub spectrum: Vec<f64>,
    /// What a stored impression costs and loses.
    pub storage: Vec<Storage>,
    /// Further remarks, a paragraph each.
    pub notes: Vec<String>,
}

impl Report {
    /// An empty report.
    #[must_use]
    pub fn new(title: &str) -> Self {
        Self {
            title: title.to_owned(),
            ..Self::default()
        }
    }

    /// Adds the decomposition of LoopFM's gain in NE and in AUC from four VMs (one measurement a seed each), or why there is none.
    ///
    /// # Errors
    ///
    /// Those of [`decompose`] but for [`Error::WithinNoise`] and one class alone, which the report tells.
    pub fn decompose(
        &mut self,
        base: &[Measured],
        raw: &[Measured],
        loopfm: &[Measured],
        both: &[Measured],
    ) -> Result<(), Error> {
        for metric in [Metric::Ne, Metric::Auc] {
            match decompose(metric, base, raw, loopfm, both) {
                Ok(parts) => self.decompositions.push(parts),
                Err(e) if variant::is_told(&e) => {
                    self.refusals.push(format!("No decomposition in {metric}: {e}."));
                }
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// The report as one HTML file that needs nothing else.
    #[must_use]
    pub fn to_html(&self) -> String {
        html::page(self)
    }

    /// Protocol, table and warnings as Markdown, which a terminal shows as well.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        markdown::text(self)
    }

    /// The report as JSON, which [`Report::read`] takes.
    ///
    /// # Errors
    ///
    /// None that data brings about.
    pub fn to_json(&self) -> io::Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// Writes `report.html`, `report.json` and `report.md` into a folder, which is made if it is not there. Each appears whole or
    /// not at all.
    ///
    /// # Errors
    ///
    /// What the file system says.
    pub fn write(&self, folder: &Path) -> io::Result<PathBuf> {
        std::fs::create_dir_all(folder)?;
        let write = |name: &str, text: String| {
            let path = folder.join(name);
            write_atomically(&path, |file| file.write_all(text.as_bytes())).map(|()| path)
        };
        write("report.json", self.to_json()?)?;
        write("report.md", self.to_markdown())?;
        write("report.html", self.to_html())
    }

    /// Reads a `report.json`.
    ///
    /// # Errors
    ///
    /// What the file system says, and text that is no report.
    pub fn read(path: &Path) -> io::Result<Self> {
        Ok(serde_json::from_str(&std::fs::read_to_string(path)?)?)
    }

    /// The variant that the others are compared with.
    fn base(&self) -> Option<&Variant> {
        self.variants.iter().find(|v| v.role == Role::Base)
    }
}
