//! What is known of past events and of no candidate: past labels, past dwell times in buckets, time gaps in buckets.
//!
//! A history's (or `loopfm`'s) `side` names such features: input `<history>_<side>`, `i32[rows, T]`, with a table of its own,
//! whose embeddings stand behind those of each event. Events are then wider than the target:
//!
//! | model | what it does |
//! |---|---|
//! | `din`, `dien`, `dmr`, `dmin` | compare events with the target and a learned vector behind it, and read the wider events |
//! | `dcnv2` | reads the wider events, pooled |
//! | `fm`, `fmfm`, `deepfm` | take a side for one more field of the history, so it is as wide as all fields |
//! | `loopfm` | its query is as wide as the wider events |
//!
//! | tensor | shape |
//! |---|---|
//! | `embedding.<history>_<side>.weight` | `[vocabulary, width]` |
//! | with attention: `side.target`, of other histories than `hist` `<history>.side.target` | `[S]`, all sides' widths |
//! | `dmr`: `relevance.side.target` | `[S]` |
//! | `fm`, `fmfm`, `deepfm`: `linear.<history>_<side>.weight` | `[vocabulary, 1]` |

use super::Fault;
use super::init::Init;
use super::parts::{Built, Parts};
use super::sections::{List, Side};
use crate::ir::Value;
use crate::tensor::{DType, Dim, Shape};

/// A side of events.
pub(super) struct Known<'a> {
    pub(super) side: &'a Side,
    /// The input's name.
    pub(super) input: String,
    /// Ids `[rows, T]`.
    pub(super) past: Value,
    /// Embeddings `[rows, T, width]`.
    pub(super) events: Value,
}

/// What is known of the events of a history `name`.
pub(super) fn known<'a>(
    p: &mut Parts,
    name: &str,
    sides: &'a List<Side>,
    (length, per_request): (usize, bool),
) -> Result<Vec<Known<'a>>, Fault> {
    let mut all = Vec::new();
    for side in &sides.0 {
        let input = format!("{name}_{}", side.name);
        let past = p.input(&input, DType::I32, &[length], per_request)?;
        let table = [side.vocabulary.0, side.width.0];
        let events = p.lookup(&format!("embedding.{input}"), table, Init::EMBEDDING, past)?;
        all.push(Known {
            side,
            input,
            past,
            events,
        });
    }
    Ok(all)
}

/// Events `[rows, T, K]` and what is known of them, `[rows, T, K + S]`.
pub(super) fn with_sides(p: &mut Parts, events: Value, sides: &[Known]) -> Built {
    if sides.is_empty() {
        return Ok(events);
    }
    let parts: Vec<Value> = std::iter::once(events).chain(sides.iter().map(|s| s.events)).collect();
    p.beside(&parts)
}

/// The target `[rows, K]` as wide as events with sides: `<prefix>.target` behind it, the same for all rows.
pub(super) fn padded(p: &mut Parts, prefix: &str, target: Value, sides: &[Known]) -> Built {
    if sides.is_empty() {
        return Ok(target);
    }
    let width = sides.iter().map(|s| s.side.width.0).sum();
    let own = p.param(&format!("{prefix}.target"), &[width], Init::Constant(0.0))?;
    let row = Shape(vec![Dim::Rows(1), Dim::Fixed(width)]);
    let own = p.graph.broadcast(own, &row)?;
    p.beside(&[target, own])
}
