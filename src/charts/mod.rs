//! Pictures of numbers: charts as SVG, and pages of charts and tables as one HTML file that needs nothing else.
//!
//! Everything here is text made of text. Labels are escaped, numbers that are not finite are left out, colours follow the
//! reader's light or dark theme, and a page has neither scripts nor fonts nor anything else from elsewhere.
//!
//! ```
//! use loopfm::charts::{Bar, Bars, Page, Series, Lines};
//!
//! let areas = Bars {
//!     title: "AUC".into(),
//!     origin: 0.70,
//!     bars: vec![
//!         Bar::new("VM", 0.700, Some((0.696, 0.704))),
//!         Bar::new("VM + LoopFM", 0.742, Some((0.738, 0.746))),
//!     ],
//!     ..Bars::default()
//! };
//! let curve = Lines {
//!     title: "log loss".into(),
//!     x: "steps".into(),
//!     series: vec![Series::new("training", vec![(0.0, 0.69), (100.0, 0.58), (200.0, 0.56)])],
//!     ..Lines::default()
//! };
//! let mut page = Page::new("Two models");
//! page.section("How well they rank");
//! page.paragraph("Whiskers hold 95 % of resamples of the users.");
//! page.figures(&[&areas, &curve]);
//! page.table(&["variant", "AUC"], &[vec!["VM".into(), "0.700".into()], vec!["VM + LoopFM".into(), "0.742".into()]]);
//! let html = page.finish();
//! assert!(html.starts_with("<!doctype html>") && !html.contains("<script"));
//! // One chart, or several below each other, also make a file of their own.
//! assert!(loopfm::charts::svg(&[&curve]).starts_with("<svg "));
//! ```

mod bars;
mod columns;
mod draw;
mod lines;
mod page;
mod roofline;
mod scale;
mod style;

pub use bars::{Bar, Bars};
pub use columns::{Column, Columns};
pub use draw::{Chart, svg};
pub use lines::{Lines, Series};
pub use page::{Page, escape};
pub use roofline::{Roofline, RooflineDot};
