//! What the threads of an extraction do with a batch.

use super::past::Past;
use super::{Error, Options, SCORE};
use crate::bundle::{Bundle, Port, Space};
use crate::compile::{self, compile};
use crate::compress::{self, SAMPLE, guarded, pack, unpacked};
use crate::data::{Batches, Encoded, Encoder, LogFiles, RowBatch};
use crate::embeddings::{Form, Header, Storage};
use crate::fuse::Profile;
use crate::ir::{self, Graph, Value};
use crate::session::Session;
use crate::tensor::{Dim, HostTensor, Shape, Tensors};

/// The output that is the codes, in words.
const CODES: &str = "loopfm.codes";

/// A model over a log.
pub(super) struct Work<'a> {
    pub(super) session: Session,
    pub(super) encoder: Encoder,
    pub(super) log: &'a LogFiles,
    pub(super) options: &'a Options,
    pub(super) header: Header,
    /// Outputs, each with its width.
    pub(super) layers: Vec<(String, usize)>,
    /// Histories, before the log's first row.
    pub(super) past: Option<Past>,
    /// Whether the session hands out what is stored.
    pub(super) stored: bool,
}

impl Work<'_> {
    /// What is stored of a batch, and predictions.
    pub(super) fn codes(&self, inputs: &Tensors) -> Result<(Vec<u8>, Vec<f32>), Error> {
        let Header { storage, width, .. } = &self.header;
        let mut codes = Vec::new();
        if !self.stored {
            let (values, score) = self.embed(inputs)?;
            storage.encode(&values, *width, &mut codes)?;
            return Ok((codes, score));
        }
        let out = self.session.run(inputs)?;
        let words = out.get(CODES).and_then(HostTensor::as_i32).unwrap_or(&[]);
        codes = unpacked(words, storage.row_bytes(*width));
        storage.check_codes(&codes, *width)?;
        Ok((codes, floats(&out, SCORE).to_vec()))
    }

    /// What the model leaves of a batch: embeddings `[rows, width]` and predictions.
    fn embed(&self, inputs: &Tensors) -> Result<(Vec<f32>, Vec<f32>), Error> {
        let out = self.session.run(inputs)?;
        let score = floats(&out, SCORE).to_vec();
        if let [(name, _)] = &self.layers[..] {
            return Ok((floats(&out, name).to_vec(), score));
        }
        let mut beside = Vec::with_capacity(score.len() * self.header.width);
        let layers: Vec<(&[f32], usize)> = self.layers.iter().map(|(name, n)| (floats(&out, name), *n)).collect();
        for row in 0..score.len() {
            for (layer, width) in &layers {
                beside.extend_from_slice(&layer[row * width..(row + 1) * width]);
            }
        }
        Ok((beside, score))
    }

    /// A storage fitted to what the model leaves of the log's first rows.
    pub(super) fn fit(&self, form: Form) -> Result<Storage, Error> {
        let (mut sample, mut past) = (Vec::new(), self.past.clone());
        for batch in self.batches() {
            let Some((_, inputs)) = self.encode(past.as_mut(), &batch?, None)? else {
                continue;
            };
            sample.extend(self.embed(&inputs)?.0);
            if sample.len() >= SAMPLE {
                break;
            }
        }
        Ok(compress::fit(form, &sample)?)
    }

    /// The rows of the log; where there are histories, those before the days wanted, too.
    pub(super) fn batches(&self) -> Batches<'_> {
        let days = self.options.days.filter(|_| self.past.is_none());
        self.log.batches(days)
    }

    /// The inputs of a batch's rows after one of the log, if there are any. Histories want all batches, in their order.
    pub(super) fn encode(
        &self,
        past: Option<&mut Past>,
        batch: &RowBatch,
        after: Option<u64>,
    ) -> Result<Option<(Encoded, Tensors)>, Error> {
        let mut encoded = self.encoder.encode(batch)?;
        if let Some(past) = past {
            let days = self.options.days;
            let wanted = |e: &Encoded, row: usize| {
                let day = || e.day.as_ref().map(|day| day[row]);
                after < Some(e.row[row]) && days.is_none_or(|days| day().is_some_and(|day| days.contains(day)))
            };
            past.over(&mut encoded, wanted)?;
        }
        if encoded.is_empty() {
            return Ok(None);
        }
        self.refuse_known(&encoded)?;
        let inputs = self.inputs(&mut encoded)?;
        Ok(Some((encoded, inputs)))
    }

    /// The inputs that the model has, of all that the features make.
    fn inputs(&self, encoded: &mut Encoded) -> Result<Tensors, Error> {
        let ports = self.session.manifest().inputs.iter();
        let take = |p: &Port| {
            let column = encoded.inputs.swap_remove(&p.name);
            Ok((
                p.name.clone(),
                column.ok_or_else(|| Error::Input { name: p.name.clone() })?,
            ))
        };
        ports.filter(|p| p.name != ir::REQUEST_OF_ROW).map(take).collect()
    }

    /// Refuses rows that the model has learnt from.
    fn refuse_known(&self, encoded: &Encoded) -> Result<(), Error> {
        let (Some(cutoff), None) = (self.header.cutoff, &self.header.leak) else {
            return Ok(());
        };
        match encoded.time.iter().position(|t| *t <= cutoff) {
            None => Ok(()),
            Some(at) => Err(Error::Known {
                row: encoded.row[at],
                time: encoded.time[at],
                cutoff,
            }),
        }
    }
}

fn floats<'t>(tensors: &'t Tensors, name: &str) -> &'t [f32] {
    tensors.get(name).and_then(HostTensor::as_f32).unwrap_or(&[])
}

/// A model whose outputs are, instead of `layers` side by side, what is stored of them, in words `loopfm.codes i32[rows, words]`
/// ([`unpacked`] takes them apart), and the prediction. `None` where there is nothing to gain: elements stay as they are,
/// or a layer is one of requests.
///
/// # Errors
/// [`Error::Stored`] for a bundle whose graph does not go on.
pub fn storing(bundle: &Bundle, layers: &[String], storage: &Storage) -> Result<Option<Bundle>, Error> {
    let port = |name: &String| bundle.manifest.outputs.iter().find(|p| p.name == *name);
    let of_rows = |name: &String| port(name).is_some_and(|p| p.space == Space::Rows && p.factor == 1);
    if *storage == Storage::F32 || !layers.iter().all(of_rows) || !of_rows(&SCORE.to_owned()) {
        return Ok(None);
    }
    let wrong = |why: String| Error::Stored { why };
    let mut g = ir::parse(&bundle.graph).map_err(|e| wrong(e.to_string()))?;
    let Some(outputs) = outputs(&mut g, layers, storage).map_err(|e| wrong(e.to_string()))? else {
        return Ok(None);
    };
    g.outputs = outputs;
    let weights: Tensors = bundle.weights.iter().map(|(n, t)| (n.clone(), t.to_host())).collect();
    let mut options = compile::Options::new(bundle.manifest.precision);
    // The graph is simple already, and products must stay as they are: codes are of the very embeddings.
    options.simplify = false;
    let variants = &bundle.manifest.variants;
    let compiled = |p: &&Profile| variants.iter().any(|v| v.profile == p.name);
    options.profiles.retain(compiled);
    options.rungs.retain(|rung| variants.iter().any(|v| v.rung == *rung));
    let made = compile(&bundle.manifest.model, &g, &weights, &options).map_err(|e| wrong(e.to_string()))?;
    Ok(Some(made))
}

/// Codes and prediction.
fn outputs(g: &mut Graph, layers: &[String], storage: &Storage) -> Result<Option<Vec<(String, Value)>>, ir::TypeError> {
    let find = |g: &Graph, name: &str| g.outputs.iter().find(|(n, _)| n == name).map(|(_, v)| *v);
    let mut beside = Vec::new();
    for name in layers {
        let Some(layer) = find(g, name) else { return Ok(None) };
        let dims = &g.shape(layer).0;
        let width = dims[1..].iter().map(|n| n.factor()).product();
        let flat = Shape(vec![dims[0], Dim::Fixed(width)]);
        beside.push(g.reshape(layer, &flat)?);
    }
    let x = g.concat(&beside, 1)?;
    let (Some(codes), Some(score)) = (pack(g, x, storage)?, find(g, SCORE)) else {
        return Ok(None);
    };
    let score = guarded(g, score, x)?;
    Ok(Some(vec![(CODES.to_owned(), codes), (SCORE.to_owned(), score)]))
}
