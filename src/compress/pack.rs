//! Storing as nodes of a graph, so that a device hands out what is stored and nothing larger.

use crate::embeddings::Storage;
use crate::ir::{Binary, Fold, Graph, Op, Scalar, TypeError, Unary, Value};
use crate::tensor::{DType, Dim, Shape};

type Built = Result<Value, TypeError>;

/// Codes of rows `x f32[rows, width]`, as [`Storage::encode`] makes them, in words `i32[rows, words]`, little-endian, each row
/// from a word on; [`unpacked`] takes the words apart. `None` for a storage that keeps elements as they are.
///
/// Every operation here is exact in f32, or correctly rounded wherever WGSL runs, so that all devices make the same codes. An
/// element that is no number has no code: whoever runs the graph has to refuse it, as sessions do.
///
/// # Errors
/// `x` is not of that shape.
pub fn pack(g: &mut Graph, x: Value, storage: &Storage) -> Result<Option<Value>, TypeError> {
    let (codes, bits) = match storage {
        Storage::F32 => return Ok(None),
        Storage::F16 => (half(g, x)?, 16),
        Storage::Int8 { scale } => (byte(g, x, *scale)?, 8),
        Storage::Int4 => (grid(g, x)?, 4),
        Storage::KMeans4 { centres } => (nearest(g, x, centres)?, 4),
    };
    words(g, codes, bits).map(Some)
}

/// Rows as [`Storage::encode`] makes them, of the words that [`pack`] made, `bytes` a row.
#[must_use]
pub fn unpacked(words: &[i32], bytes: usize) -> Vec<u8> {
    let whole = bytes.div_ceil(4).max(1);
    let mut codes = Vec::with_capacity(words.len() / whole * bytes);
    for row in words.chunks_exact(whole) {
        let little = row.iter().flat_map(|word| word.to_le_bytes());
        codes.extend(little.take(bytes));
    }
    codes
}

fn number(g: &mut Graph, op: Binary, x: Value, y: f32) -> Built {
    let y = g.constant_f32(y)?;
    g.binary(op, x, y)
}

/// `c ? x : y` of numbers.
fn either(g: &mut Graph, c: Value, x: f32, y: f32) -> Built {
    let (x, y) = (g.constant_f32(x)?, g.constant_f32(y)?);
    g.select(c, x, y)
}

/// Bits of the nearest half. An element as large as none has those of an infinity.
fn half(g: &mut Graph, x: Value) -> Built {
    let size = g.unary(Unary::Abs, x)?;
    // As if the least normal half were 1: halves below it then lie as close as those of 1..2.
    let mut y = number(g, Binary::Mul, size, 16_384.0)?;
    y = number(g, Binary::Min, y, 1_073_741_824.0)?;
    let mut exponent = g.constant_f32(0.0)?;
    for power in [16, 8, 4, 2, 1] {
        let (over, under) = ((1u32 << power) as f32, 1.0 / (1u32 << power) as f32);
        let high = number(g, Binary::Ge, y, over)?;
        let by = either(g, high, under, 1.0)?;
        y = g.binary(Binary::Mul, y, by)?;
        let add = either(g, high, power as f32, 0.0)?;
        exponent = g.binary(Binary::Add, exponent, add)?;
    }
    let y = number(g, Binary::Mul, y, 1024.0)?;
    let fraction = g.unary(Unary::Round, y)?;
    let exponent = number(g, Binary::Mul, exponent, 1024.0)?;
    let bits = g.binary(Binary::Add, fraction, exponent)?;
    let zero = number(g, Binary::Eq, bits, 0.0)?;
    let negative = number(g, Binary::Lt, x, 0.0)?;
    let sign = either(g, negative, 32_768.0, 0.0)?;
    let none = g.constant_f32(0.0)?;
    let sign = g.select(zero, none, sign)?;
    g.binary(Binary::Add, bits, sign)
}

/// Two's complement of the nearest step.
fn byte(g: &mut Graph, x: Value, scale: f32) -> Built {
    let steps = number(g, Binary::Mul, x, 1.0 / scale)?;
    let steps = rounded(g, steps, -127.0, 127.0)?;
    let negative = number(g, Binary::Lt, steps, 0.0)?;
    let wrap = either(g, negative, 256.0, 0.0)?;
    g.binary(Binary::Add, steps, wrap)
}

/// Eighths from -1 on.
fn grid(g: &mut Graph, x: Value) -> Built {
    let eighths = number(g, Binary::Mul, x, 8.0)?;
    let eighths = rounded(g, eighths, -8.0, 7.0)?;
    number(g, Binary::Add, eighths, 8.0)
}

fn rounded(g: &mut Graph, x: Value, least: f32, most: f32) -> Built {
    let x = g.unary(Unary::Round, x)?;
    let x = number(g, Binary::Max, x, least)?;
    number(g, Binary::Min, x, most)
}

/// How many bounds between centres lie below.
fn nearest(g: &mut Graph, x: Value, centres: &[f32; 16]) -> Built {
    let mut code = None;
    for bound in Storage::bounds(centres) {
        let above = number(g, Binary::Gt, x, bound)?;
        let one = either(g, above, 1.0, 0.0)?;
        code = Some(match code {
            None => one,
            Some(code) => g.binary(Binary::Add, code, one)?,
        });
    }
    Ok(code.unwrap_or(x))
}

/// Codes `0..2^bits` side by side in words, the first in the lowest bits; codes that a row lacks are 0.
fn words(g: &mut Graph, codes: Value, bits: u32) -> Built {
    let each = (32 / bits) as usize;
    let row = g.shape(codes).clone();
    let width = row.0.last().map_or(0, |n| n.factor());
    let missing = width.next_multiple_of(each) - width;
    let mut padded = codes;
    if missing > 0 {
        let mut shape = row;
        shape.0.pop();
        shape.0.push(Dim::Fixed(missing));
        let zero = g.constant_f32(0.0)?;
        let zeros = g.broadcast(zero, &Shape(shape.0))?;
        padded = g.concat(&[codes, zeros], 1)?;
    }
    let mut word = None;
    for place in 0..each {
        let of = Op::Slice {
            axis: 1,
            start: place,
            stop: width + missing,
            step: each,
        };
        let mut code = g.apply(of, &[padded])?;
        if place + 1 == each {
            // The highest bit is a sign: so no product leaves the integers.
            let high = number(g, Binary::Ge, code, (1u32 << (bits - 1)) as f32)?;
            let wrap = either(g, high, (1u32 << bits) as f32, 0.0)?;
            code = g.binary(Binary::Sub, code, wrap)?;
        }
        let code = g.cast(code, DType::I32)?;
        let at = g.apply(Op::Const(Scalar::I32(1 << (bits as usize * place))), &[])?;
        let code = g.binary(Binary::Mul, code, at)?;
        word = Some(match word {
            None => code,
            Some(word) => g.binary(Binary::Add, word, code)?,
        });
    }
    Ok(word.unwrap_or(padded))
}

/// `score` itself, but no number where an element of the row of `x` is none: sessions refuse outputs of floats that are not
/// finite, and codes do not show it.
///
/// # Errors
/// They are not `[rows, 1]` and `[rows, width]`.
pub fn guarded(g: &mut Graph, score: Value, x: Value) -> Built {
    let sum = g.reduce(Fold::Sum, x, &[1])?;
    let like = g.shape(score).clone();
    let sum = g.reshape(sum, &like)?;
    let nothing = number(g, Binary::Mul, sum, 0.0)?;
    g.binary(Binary::Add, score, nothing)
}
