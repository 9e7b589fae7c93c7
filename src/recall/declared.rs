//! What a model says of the past that it reads.

use super::{Error, Kept};
use crate::bundle::{Bundle, NOTE_FM, NOTE_HISTORY, Port};

/// Of which past events histories are made: what the training declared.
#[derive(Clone, Copy, Debug, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Declared {
    pub(super) length: usize,
    pub(super) delay: i64,
    pub(super) retention: Option<i64>,
    pub(super) positives: bool,
}

impl Declared {
    pub(super) fn words(self) -> String {
        let retention = self
            .retention
            .map_or("nothing forgotten".to_owned(), |ms| format!("forgotten after {ms} ms"));
        let which = if self.positives { "positives" } else { "all events" };
        format!(
            "the last {} of {which}, delay {} ms, {retention}",
            self.length, self.delay
        )
    }
}

/// The name of the side column that an input shows.
pub(super) fn beside(port: &str) -> Option<&str> {
    port.strip_prefix("loopfm_")
}

/// What a model reads of the past, and what it says of it.
pub(super) fn declared(model: &Bundle) -> Result<(Vec<Port>, Declared), Error> {
    let inputs = model.manifest.inputs.iter();
    let ports: Vec<Port> = inputs
        .filter(|p| p.name == "loopfm" || p.name.starts_with("loopfm_"))
        .cloned()
        .collect();
    if !ports.iter().any(|p| p.name == "loopfm") {
        return Err(Error::NoHistory);
    }
    let text = note(model, NOTE_HISTORY)?;
    let declared = serde_json::from_str(text).map_err(|e| Error::Note { why: e.to_string() })?;
    Ok((ports, declared))
}

fn note<'a>(model: &'a Bundle, note: &'static str) -> Result<&'a String, Error> {
    model.notes.get(note).ok_or(Error::NoNote { note })
}

/// Refuses embeddings that the model was not trained with.
pub(super) fn fits(kept: &Kept, ports: &[Port], model: &Bundle) -> Result<(), Error> {
    let expected = note(model, NOTE_FM)?;
    if *expected != kept.fm {
        return Err(Error::OtherFm {
            expected: expected.clone(),
            seen: kept.fm.clone(),
        });
    }
    for port in ports {
        match port.name.as_str() {
            "loopfm_mask" => {}
            "loopfm" => {
                let expected = port.shape.last().map_or(0, |n| *n as usize);
                if expected != kept.width {
                    let seen = kept.width;
                    return Err(Error::Width { expected, seen });
                }
            }
            name if kept.side.iter().any(|side| beside(name) == Some(side)) => {}
            name => return Err(Error::Input { name: name.to_owned() }),
        }
    }
    Ok(())
}
