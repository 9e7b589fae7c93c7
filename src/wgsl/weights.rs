//! Weights: how they lie in memory, and how kernels read them.

use super::emit::{Emitter, Ex, Row};
use super::expr::{COMPONENTS, line_axis};
use super::index::{Ix, flat, small};
use super::layout::Memory;
use super::memory::{decode, sum};
use crate::bundle::{Layout, Rung, TEXELS};
use crate::ir::Value;
use crate::tensor::DType;

/// A weight as kernels see it.
#[derive(Clone, Debug)]
pub(super) struct Weight {
    pub(super) name: String,
    pub(super) layout: Layout,
    /// Extents, as the graph has them.
    pub(super) shape: Vec<usize>,
    /// `(first row, rows, buffer, first word)`.
    pub(super) places: Vec<(u64, u64, u32, u64)>,
}

impl Weight {
    /// Length of a line (the last axis) in elements as it is stored.
    pub(super) fn line(&self) -> usize {
        let n = self.shape.last().copied().unwrap_or(1);
        match self.layout {
            Layout::Words | Layout::Halves => n,
            Layout::RowsWords | Layout::RowsHalves => n.next_multiple_of(8),
            Layout::BlocksHalves | Layout::BlocksWords | Layout::SquaresHalves => n.next_multiple_of(16),
        }
    }

    /// Elements in a 16-byte word.
    pub(super) fn per_word(&self) -> usize {
        match self.layout {
            Layout::Words | Layout::RowsWords | Layout::BlocksWords => 4,
            Layout::Halves | Layout::RowsHalves | Layout::BlocksHalves | Layout::SquaresHalves => 8,
        }
    }

    /// Lines of the blocks that it lies in, each of 16 columns.
    pub(super) fn blocks(&self) -> Option<usize> {
        match self.layout {
            Layout::BlocksHalves | Layout::BlocksWords => Some(4),
            Layout::SquaresHalves => Some(16),
            _ => None,
        }
    }

    pub(super) fn lines(&self) -> usize {
        self.shape.iter().rev().skip(1).product()
    }

    pub(super) fn rows(&self) -> u64 {
        self.shape.first().map_or(1, |n| *n as u64)
    }

    pub(super) fn words(&self, rows: u64) -> u64 {
        let per_row = self.shape.iter().skip(1).rev().skip(1).product::<usize>() * self.line();
        let elements = if let Some(lines) = self.blocks() {
            (self.lines().next_multiple_of(lines) * self.line()) as u64
        } else if self.shape.len() < 2 {
            self.line() as u64
        } else {
            rows * per_row as u64
        };
        elements.div_ceil(self.per_word() as u64)
    }
}

impl Emitter<'_> {
    /// Reads a weight.
    pub(super) fn load_weight(&mut self, v: Value, ix: &[Ix], lanes: u32) -> Ex {
        let w = &self.memory.weights[&v];
        let dtype = self.g.ty(v).dtype;
        let padded: Vec<usize> = match w.shape.split_last() {
            Some((_, lead)) => lead.iter().copied().chain([w.line()]).collect(),
            None => Vec::new(),
        };
        // In a table of several buffers the row finds the buffer, and what is left is inside the row.
        let element = match w.places.len() {
            1 => match w.blocks() {
                Some(high) => {
                    let (shape, lines) = (w.shape.clone(), w.lines());
                    self.in_blocks(&shape, lines, high, ix)
                }
                None => flat(&padded, ix),
            },
            _ => flat(&padded[1..], &ix[1..]),
        };
        let w = &self.memory.weights[&v];
        // Lanes run along the last axis that is not 1; what follows it must be stored without padding.
        let line = line_axis(&w.shape);
        let aligned = element.is_multiple(4);
        let last = line + 1 >= w.shape.len() || w.line() == 1;
        if lanes > 1 && !(aligned && last) {
            let shape = w.shape.clone();
            let row = Row {
                space: crate::ir::rows::RowSpace::Const,
                local: Ix::default(),
                global: String::new(),
                depth: 0,
            };
            let parts: Vec<Ex> = (0..4).map(|l| self.lane(v, &shape, ix, l, &row)).collect();
            return self.compose(&parts, dtype);
        }
        let w = w.clone();
        match w.layout {
            Layout::Words | Layout::RowsWords | Layout::BlocksWords => {
                self.load_word_element(v, &w, ix, &element, lanes, dtype)
            }
            Layout::Halves | Layout::RowsHalves | Layout::BlocksHalves | Layout::SquaresHalves => {
                self.load_half(v, &w, ix, &element, lanes)
            }
        }
    }

    /// Element of a matrix in blocks of `high` by 16.
    fn in_blocks(&mut self, shape: &[usize], lines: usize, high: usize, ix: &[Ix]) -> Ix {
        let Some((n, lead)) = ix.split_last() else {
            return Ix::default();
        };
        let (column, within) = self.split(n, 16);
        let (line, inner) = self.split(&flat(shape, lead), small(high));
        let block = column.times(small(lines.div_ceil(high))).plus(&line);
        block.times(small(16 * high)).plus(&inner.times(16)).plus(&within)
    }

    fn load_word_element(&mut self, v: Value, w: &Weight, ix: &[Ix], element: &Ix, lanes: u32, dtype: DType) -> Ex {
        let (word, part) = self.split(element, 4);
        let Ex { text: at, depth } = self.word(v, w, ix, &word);
        let depth = depth.max(part.depth());
        let text = match (lanes, part.as_constant()) {
            (4, _) => at,
            (_, Some(c)) => format!("{at}.{}", COMPONENTS[c as usize]),
            (_, None) => format!("{at}[{}]", part.text()),
        };
        self.bind("v", &decode(&text, dtype, lanes), depth)
    }

    fn load_half(&mut self, v: Value, w: &Weight, ix: &[Ix], element: &Ix, lanes: u32) -> Ex {
        if self.memory.rung == Rung::Native && w.places.len() == 1 {
            let (_, _, shard, offset) = w.places[0];
            let (quad, part) = self.split(element, 4);
            let depth = quad.depth().max(part.depth());
            let at = format!("halves{shard}[{}]", sum(&format!("{}u", offset * 2), &quad));
            let text = match (lanes, part.as_constant()) {
                (4, _) => format!("vec4<f32>({at})"),
                (_, Some(c)) => format!("f32({at}.{})", COMPONENTS[c as usize]),
                (_, None) => format!("f32({at}[{}])", part.text()),
            };
            return self.bind("v", &text, depth);
        }
        let (word, part) = self.split(element, 8);
        let Ex { text: at, depth } = self.word(v, w, ix, &word);
        let depth = depth.max(part.depth());
        let text = match (lanes, part.as_constant()) {
            (4, Some(c)) => format!(
                "{}({})",
                if c == 0 { "low" } else { "high" },
                self.bind("w", &at, depth).text
            ),
            (4, None) => {
                let word = self.bind("w", &at, depth).text;
                format!("quad({word}, {} != 0u)", part.text())
            }
            (_, Some(c)) => {
                let half = if c % 2 == 0 { "x" } else { "y" };
                format!("unpack2x16float({at}.{}).{half}", COMPONENTS[c as usize / 2])
            }
            (_, None) => {
                let (pair, half) = self.split(&part, 2);
                let pair = self.bind("p", &format!("{at}[{}]", pair.text()), depth).text;
                match half.as_constant() {
                    Some(0) => format!("unpack2x16float({pair}).x"),
                    Some(_) => format!("unpack2x16float({pair}).y"),
                    None => format!("half({pair}, {})", half.text()),
                }
            }
        };
        self.bind("v", &text, depth)
    }

    /// The 16-byte word of a weight, wherever its rows lie; in a table of several buffers, of a row.
    fn word(&self, v: Value, w: &Weight, ix: &[Ix], word: &Ix) -> Ex {
        if let [(_, _, shard, offset)] = w.places.as_slice() {
            return Ex {
                text: word_of(self.memory, *shard, &sum(&format!("{offset}u"), word)),
                depth: word.depth(),
            };
        }
        Ex {
            text: format!("table{}({}, {})", v.index(), ix[0].text(), word.text()),
            depth: word.depth().max(ix[0].depth()),
        }
    }
}

/// The word at an address of a weight buffer.
fn word_of(memory: &Memory, shard: u32, at: &str) -> String {
    if memory.images {
        format!("word{shard}({at})")
    } else {
        format!("weights{shard}[{at}]")
    }
}

/// The texture with a weight buffer's words, and the function that reads one.
pub(super) fn image(shard: u32) -> (String, String) {
    (
        format!("var image{shard}: texture_2d<u32>"),
        format!(
            "fn word{shard}(at: u32) -> vec4<u32> {{\n  \
             return textureLoad(image{shard}, vec2<u32>(at % {TEXELS}u, at / {TEXELS}u), 0);\n}}\n"
        ),
    )
}

/// Functions that find the word of a table that lies in several buffers.
pub(super) fn table_function(memory: &Memory, v: Value, w: &Weight) -> String {
    let per_row = w.shape[1..w.shape.len() - 1].iter().product::<usize>() * w.line() / w.per_word();
    let mut text = format!("fn table{}(row: u32, word: u32) -> vec4<u32> {{\n", v.index());
    for (i, &(first, rows, shard, offset)) in w.places.iter().enumerate() {
        let word = word_of(
            memory,
            shard,
            &format!("{offset}u + (row - {first}u) * {per_row}u + word"),
        );
        let load = format!("return {word};");
        if i + 1 == w.places.len() {
            text.push_str(&format!("  {load}\n}}\n"));
        } else {
            text.push_str(&format!("  if row < {}u {{ {load} }}\n", first + rows));
        }
    }
    text
}
