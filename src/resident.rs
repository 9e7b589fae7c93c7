//! Histories read on the device: a model whose embeddings of past events come from the log itself, which lies beside its weights.
//!
//! A model with inputs `loopfm f32[rows, T, d]` and `loopfm_mask bool[rows, T]` is fed `4 d + 1` bytes an event and row. Here it
//! reads `loopfm_span i32[rows, 2]` instead, start and length of each row's history in the log, and the log's rows, in the
//! order of histories ([`Laid`]), as a parameter: eight bytes a row. Nothing but ops that every stage knows: the events'
//! numbers are the start plus `iota`, masked by the length; the rows are gathered; codes are taken apart by division and
//! remainder. Numbers are those of [`Decoder`], bit for bit.
//!
//! | storage | parameters |
//! |---|---|
//! | `f32`, `f16` | `loopfm.log f32[N, d]`; a bundle in f16 stores halves, which for `f16` is exact |
//! | `int8`, `int4`, `kmeans4` | `loopfm.log i32[N, words]`, four or eight codes a word; for centres `loopfm.log.centres f32[16]` |
//! | each side column that the model reads | `loopfm.log.<name> i32[N]` |
//!
//! The log is part of the model so made: new events mean parameters anew. Spans come from [`Recall::laid`]; one that leads out
//! of the log is an index out of bounds.

use crate::bundle::{Bundle, Precision};
use crate::compile::{self, CompileError};
use crate::embeddings::{Decoder, Storage};
use crate::fuse::Profile;
use crate::ir::{self, Binary, Graph, Op, Scalar, TensorType, TypeError, Value};
#[cfg(doc)]
use crate::recall::Recall;
use crate::recall::{Kept, Laid};
use crate::tensor::{DType, Dim, HostTensor, Shape, Tensors};

/// The input that takes the embeddings' place.
pub const SPAN: &str = "loopfm_span";
const LOG: &str = "loopfm.log";

/// Why a model cannot read a log itself.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message of each variant says what its fields are")]
pub enum Error {
    #[error("the model has no input `loopfm` of shape [rows, T, d]")]
    NoHistory,
    #[error("the model reads embeddings of {expected} elements, the log's have {seen}")]
    Width { expected: usize, seen: usize },
    #[error("the model reads `{name}`, which is not beside the embeddings of this log")]
    Side { name: String },
    #[error("the bundle's graph: {0}")]
    Graph(#[from] ir::ParseError),
    #[error(transparent)]
    Type(#[from] TypeError),
    #[error(transparent)]
    Compile(#[from] CompileError),
}

impl Error {
    /// Exit status of a command that fails with this.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Compile(e) => e.exit_code(),
            _ => 1,
        }
    }
}

/// The bundle with the log beside its weights, for the same devices. It is another model, with another fingerprint; its
/// notes stay.
///
/// # Errors
/// As [`resident`]; what compiling it fails with.
pub fn compile(bundle: &Bundle, log: &Laid) -> Result<Bundle, Error> {
    let (graph, params) = resident(&ir::parse(&bundle.graph)?, log)?;
    let stored = bundle.weights.iter();
    let mut weights: Tensors = stored.map(|(name, w)| (name.clone(), w.to_host())).collect();
    weights.extend(params);
    // Halves would round a log of floats; weights stay what they were in either.
    let precision = match log.kept.storage {
        Storage::F32 => Precision::F32,
        _ => bundle.manifest.precision,
    };
    let mut options = compile::Options::new(precision);
    let planned = |p: &&'static Profile| bundle.manifest.variants.iter().any(|v| v.profile == p.name);
    options.profiles.retain(planned);
    let mut made = compile::compile(&bundle.manifest.model, &graph, &weights, &options)?;
    made.notes.clone_from(&bundle.notes);
    Ok(made)
}

type Built = Result<Value, TypeError>;

/// The model with its log beside it, and the parameters that this adds. A model narrower than the log reads prefixes.
///
/// # Errors
/// A model without histories, a log of narrower embeddings or without a column that the model reads.
pub fn resident(g: &Graph, log: &Laid) -> Result<(Graph, Tensors), Error> {
    let history = g
        .inputs()
        .find(|(_, name, _)| *name == "loopfm")
        .map(|(_, _, ty)| &ty.shape.0[..]);
    let Some(&[rows, Dim::Fixed(length), Dim::Fixed(width)]) = history else {
        return Err(Error::NoHistory);
    };
    if width > log.kept.width {
        return Err(Error::Width {
            expected: width,
            seen: log.kept.width,
        });
    }
    let mut past = Past::new(rows, length, log)?;
    let mut map: Vec<Value> = Vec::with_capacity(g.len());
    for (v, n) in g.iter() {
        let scope = past.g.enter(g.scope_of(v));
        let of = match &n.op {
            Op::Input(name) => name.strip_prefix("loopfm"),
            _ => None,
        };
        let value = match of {
            Some("") => past.embeddings(width)?,
            Some("_mask") => past.mask,
            Some(side) => past.side(side.trim_start_matches('_'))?,
            None => {
                let args: Vec<Value> = n.args.iter().map(|a| map[a.index()]).collect();
                past.g.declare(n.op.clone(), &args, n.ty.clone())?
            }
        };
        past.g.leave(scope);
        map.push(value);
    }
    past.g.outputs = g
        .outputs
        .iter()
        .map(|(name, v)| (name.clone(), map[v.index()]))
        .collect();
    Ok((past.g, past.params))
}

/// A graph in the making that knows where the events of each row lie.
struct Past<'a> {
    g: Graph,
    params: Tensors,
    log: &'a Laid,
    /// `[rows, T]`.
    shape: Shape,
    mask: Value,
    /// Rows of the log; row 0 where there is no event.
    index: Value,
}

impl<'a> Past<'a> {
    fn new(rows: Dim, length: usize, log: &'a Laid) -> Result<Self, Error> {
        let mut g = Graph::new();
        let span = g.input(SPAN, DType::I32, Shape(vec![rows, Dim::Fixed(2)]))?;
        let shape = Shape(vec![rows, Dim::Fixed(length)]);
        let start = g.slice(span, 1, 0, 1)?;
        let len = g.slice(span, 1, 1, 2)?;
        let places = TensorType::new(DType::I32, Shape::fixed(&[length]));
        let place = g.declare(Op::Iota, &[], places)?;
        let (place, len) = (g.broadcast(place, &shape)?, g.broadcast(len, &shape)?);
        // Of longer histories the newest events.
        let most = integer(&mut g, i32::try_from(length).unwrap_or(i32::MAX), &shape)?;
        let zero = integer(&mut g, 0, &shape)?;
        let over = g.binary(Binary::Sub, len, most)?;
        let skipped = g.binary(Binary::Max, over, zero)?;
        let kept = g.binary(Binary::Min, len, most)?;
        let mask = g.binary(Binary::Lt, place, kept)?;
        let first = g.binary(Binary::Add, start, skipped)?;
        let event = g.binary(Binary::Add, first, place)?;
        let index = g.select(mask, event, zero)?;
        Ok(Self {
            g,
            params: Tensors::new(),
            log,
            shape,
            mask,
            index,
        })
    }

    /// `[rows, T, width]`, 0 where there is no event.
    fn embeddings(&mut self, width: usize) -> Built {
        let storage = self.log.kept.storage.clone();
        let x = match &storage {
            Storage::F32 | Storage::F16 => self.floats(width)?,
            Storage::Int8 { scale } => {
                let code = self.codes(256, 4, width)?;
                let shape = self.g.shape(code).clone();
                // The upper half of a byte's codes are the negative ones.
                let (half, all) = (integer(&mut self.g, 128, &shape)?, integer(&mut self.g, 256, &shape)?);
                let negative = self.g.binary(Binary::Ge, code, half)?;
                let below = self.g.binary(Binary::Sub, code, all)?;
                let signed = self.g.select(negative, below, code)?;
                self.scaled(signed, *scale)?
            }
            Storage::Int4 => {
                let code = self.codes(16, 8, width)?;
                let shape = self.g.shape(code).clone();
                let eight = integer(&mut self.g, 8, &shape)?;
                let signed = self.g.binary(Binary::Sub, code, eight)?;
                self.scaled(signed, 0.125)?
            }
            Storage::KMeans4 { centres } => {
                let code = self.codes(16, 8, width)?;
                let name = format!("{LOG}.centres");
                let table = self.g.param(&name, &[16])?;
                self.params.insert(name, HostTensor::f32(&[16], centres.to_vec()));
                self.g.gather(table, code)?
            }
        };
        let mut column = self.shape.clone();
        column.0.push(Dim::Fixed(1));
        let mask = self.g.reshape(self.mask, &column)?;
        let zero = self.g.constant_f32(0.0)?;
        self.g.select(mask, x, zero)
    }

    /// Rows stored as floats.
    fn floats(&mut self, width: usize) -> Built {
        let (codes, decoder) = (self.codes_of_rows(), Decoder::new(&self.log.kept.storage));
        let rows = codes.len().max(1);
        let mut values = vec![0.0; rows * width];
        let places = values.chunks_exact_mut(width);
        places.zip(codes).for_each(|(out, codes)| decoder.row(codes, out));
        self.params
            .insert(LOG.to_owned(), HostTensor::f32(&[rows, width], values));
        let table = self.g.param(LOG, &[rows, width])?;
        self.g.gather(table, self.index)
    }

    /// Embeddings as stored, row by row.
    fn codes_of_rows(&self) -> std::slice::ChunksExact<'a, u8> {
        let Kept { storage, width, .. } = &self.log.kept;
        self.log.codes.chunks_exact(storage.row_bytes(*width).max(1))
    }

    /// The codes of a row, `many` of `of` values a word: `i32[rows, T, width]` of `0..of`.
    fn codes(&mut self, of: i32, many: usize, width: usize) -> Built {
        let stored = self.codes_of_rows();
        let (rows, words) = (stored.len().max(1), width.div_ceil(many));
        let mut table = vec![0; rows * words];
        for (out, codes) in table.chunks_exact_mut(words).zip(stored) {
            for (word, bytes) in out.iter_mut().zip(codes.chunks(4)) {
                let mut four = [0; 4];
                four[..bytes.len()].copy_from_slice(bytes);
                *word = i32::from_le_bytes(four);
            }
        }
        let mut word = self.table(LOG, &[rows, words], table)?;
        let shape = self.g.shape(word).clone();
        let base = integer(&mut self.g, of, &shape)?;
        let mut column = shape.clone();
        column.0.push(Dim::Fixed(1));
        let mut codes = Vec::new();
        for _ in 0..many {
            // The remainder has the divisor's sign, so that what is left divides without one: a shift.
            let code = self.g.binary(Binary::Rem, word, base)?;
            let rest = self.g.binary(Binary::Sub, word, code)?;
            word = self.g.binary(Binary::Div, rest, base)?;
            codes.push(self.g.reshape(code, &column)?);
        }
        let beside = self.g.concat(&codes, 3)?;
        let mut flat = self.shape.clone();
        flat.0.push(Dim::Fixed(words * many));
        let flat = self.g.reshape(beside, &flat)?;
        self.g.slice(flat, 2, 0, width)
    }

    /// A side column at the events, `[rows, T]`, 0 where there is none.
    fn side(&mut self, name: &str) -> Result<Value, Error> {
        let missing = || Error::Side {
            name: format!("loopfm_{name}"),
        };
        let at = self
            .log
            .kept
            .side
            .iter()
            .position(|side| side == name)
            .ok_or_else(missing)?;
        let mut table = self.log.side[at].clone();
        table.resize(table.len().max(1), 0);
        let found = self.table(&format!("{LOG}.{name}"), &[table.len()], table)?;
        let zero = integer(&mut self.g, 0, &self.shape)?;
        Ok(self.g.select(self.mask, found, zero)?)
    }

    /// Rows of an integer parameter at the events.
    fn table(&mut self, name: &str, extents: &[usize], data: Vec<i32>) -> Built {
        let ty = TensorType::new(DType::I32, Shape::fixed(extents));
        let table = self.g.declare(Op::Param(name.to_owned()), &[], ty)?;
        self.params.insert(name.to_owned(), HostTensor::i32(extents, data));
        self.g.gather(table, self.index)
    }

    fn scaled(&mut self, code: Value, by: f32) -> Built {
        let x = self.g.cast(code, DType::F32)?;
        let by = self.g.constant_f32(by)?;
        self.g.binary(Binary::Mul, x, by)
    }
}

fn integer(g: &mut Graph, n: i32, shape: &Shape) -> Built {
    let one = g.apply(Op::Const(Scalar::I32(n)), &[])?;
    g.broadcast(one, shape)
}
