//! Loads and stores: how an index of a value becomes an address of a buffer.

use super::emit::{Emitter, Ex, Row};
use super::expr::{COMPONENTS, line_axis};
use super::index::{Ix, flat, small};
use super::layout::{Input, Weight};
use super::spell::wgsl_type;
use crate::bundle::{Layout, Linear, Rung};
use crate::fuse::{Home, row_stride};
use crate::ir::Value;
use crate::tensor::DType;

/// Where a value is read.
#[derive(Clone, Copy)]
pub(super) enum Place {
    Home(Home),
    Input(Input),
}

/// 16-byte words of a row: buffer, and address of the row's first word, or of its first element where rows are not
/// whole words.
struct Base {
    buffer: &'static str,
    address: Ex,
    whole: bool,
}

impl Emitter<'_> {
    /// Reads a stored value or an input.
    pub(super) fn load(&mut self, v: Value, place: Place, ix: &[Ix], lanes: u32, row: &Row) -> Ex {
        let shape = self.extents(v);
        let dtype = self.g.ty(v).dtype;
        let base = self.base(place, row);
        let position = position(&shape, ix, place);
        if lanes > 1 && !(base.whole && position.is_multiple(4)) {
            let parts: Vec<Ex> = (0..4).map(|l| self.lane(v, &shape, ix, l, row)).collect();
            return self.compose(&parts, dtype);
        }
        // What a step wrote may be overwritten by the next: such loads stay inside their step.
        let inside = if matches!(place, Place::Home(_)) { 1 } else { 0 };
        let depth = base.address.depth.max(position.depth()).max(inside);
        let Base { buffer, address, whole } = base;
        if !whole {
            let at = self.bind("at", &sum(&address.text, &position), depth);
            let text = decode(&format!("{buffer}[{0} >> 2u][{0} & 3u]", at.text), dtype, 1);
            return self.bind("v", &text, depth);
        }
        let (word, part) = self.split(&position, 4);
        let depth = depth.max(word.depth()).max(part.depth());
        let at = sum(&address.text, &word);
        let text = match (lanes, part.as_constant()) {
            (4, _) => format!("{buffer}[{at}]"),
            (_, Some(c)) => format!("{buffer}[{at}].{}", COMPONENTS[c as usize]),
            (_, None) => format!("{buffer}[{at}][{}]", part.text()),
        };
        self.bind("v", &decode(&text, dtype, lanes), depth)
    }

    fn lane(&mut self, v: Value, shape: &[usize], ix: &[Ix], lane: u32, row: &Row) -> Ex {
        let line = line_axis(shape);
        let mut jx = ix.to_vec();
        if let Some(i) = jx.get_mut(line) {
            *i = i.plus_constant(lane);
            jx[line] = self.clamp(&jx[line].clone(), small(shape[line]));
        }
        self.eval(v, &jx, 1, row)
    }

    fn compose(&mut self, parts: &[Ex], dtype: DType) -> Ex {
        let depth = parts.iter().map(|p| p.depth).max().unwrap_or(0);
        let texts: Vec<&str> = parts.iter().map(|p| p.text.as_str()).collect();
        self.bind("e", &format!("vec4<{}>({})", wgsl_type(dtype), texts.join(", ")), depth)
    }

    fn base(&mut self, place: Place, row: &Row) -> Base {
        match place {
            Place::Home(Home::Slot { offset, stride }) => {
                let first = row.local.times(small(stride)).plus_constant(small(offset));
                Base {
                    buffer: "slots",
                    address: Ex {
                        text: first.text(),
                        depth: row.local.depth(),
                    },
                    whole: true,
                }
            }
            Place::Home(Home::Arena {
                rows,
                requests,
                stride,
                dense,
            }) => {
                let offset = Linear {
                    rows: small(rows),
                    requests: small(requests),
                };
                self.arena_base("values", offset, stride, !dense, row)
            }
            Place::Input(Input { offset, width }) => self.arena_base("inputs", offset, width, width % 4 == 0, row),
        }
    }

    fn arena_base(&mut self, buffer: &'static str, offset: Linear, stride: usize, whole: bool, row: &Row) -> Base {
        let capacity = |coefficient: u32, field: &str| match (coefficient, whole) {
            (0, _) => None,
            (c, true) => Some(format!("(sizes.{field} >> 2u) * {c}u")),
            (c, false) => Some(format!("sizes.{field} * {c}u")),
        };
        let start: Vec<String> = [capacity(offset.rows, "z"), capacity(offset.requests, "w")]
            .into_iter()
            .flatten()
            .collect();
        let stride = if whole { stride / 4 } else { stride };
        let mut terms = Vec::new();
        if !start.is_empty() {
            terms.push(self.bind("base", &start.join(" + "), 0).text);
        }
        terms.push(format!("{} * {stride}u", row.global));
        let address = self.bind("row", &terms.join(" + "), row.depth);
        Base { buffer, address, whole }
    }

    /// Writes four lanes (or one) of a root. Lanes beyond the end of a line fall into its padding; where there is none,
    /// each lane is written by itself.
    pub(super) fn store(&mut self, v: Value, home: Home, ix: &[Ix], lanes: u32, text: &str, row: &Row) {
        let shape = self.extents(v);
        let dtype = self.g.ty(v).dtype;
        let base = self.base(Place::Home(home), row);
        let place = position(&shape, ix, Place::Home(home));
        if lanes > 1 && !(base.whole && place.is_multiple(4)) {
            let line = line_axis(&shape);
            let n = small(shape.get(line).copied().unwrap_or(1));
            for (lane, c) in COMPONENTS.iter().enumerate() {
                let mut jx = ix.to_vec();
                jx[line] = jx[line].plus_constant(small(lane));
                if jx[line].range().0 >= u64::from(n) {
                    continue;
                }
                let guard = jx[line].range().1 >= u64::from(n);
                self.open();
                self.store(v, home, &jx, 1, &format!("{text}.{c}"), row);
                self.close(&if guard {
                    format!("if {} < {n}u ", jx[line].text())
                } else {
                    String::new()
                });
            }
            return;
        }
        let bits = encode(text, dtype, lanes);
        let Base { buffer, address, whole } = base;
        if !whole {
            let at = sum(&address.text, &place);
            let at = self.bind("at", &at, self.depth()).text;
            self.line(&format!("{buffer}[{at} >> 2u][{at} & 3u] = {bits};"));
            return;
        }
        let (word, part) = self.split(&place, 4);
        let at = sum(&address.text, &word);
        match (lanes, part.as_constant()) {
            (4, _) => self.line(&format!("{buffer}[{at}] = {bits};")),
            (_, Some(c)) => self.line(&format!("{buffer}[{at}].{} = {bits};", COMPONENTS[c as usize])),
            (_, None) => self.line(&format!("{buffer}[{at}][{}] = {bits};", part.text())),
        }
    }

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
            1 if w.blocks() => {
                let (shape, lines) = (w.shape.clone(), w.lines());
                self.in_blocks(&shape, lines, ix)
            }
            1 => flat(&padded, ix),
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
            Layout::Halves | Layout::RowsHalves | Layout::BlocksHalves => self.load_half(v, &w, ix, &element, lanes),
        }
    }

    /// Element of a matrix in blocks of 4 by 16.
    fn in_blocks(&mut self, shape: &[usize], lines: usize, ix: &[Ix]) -> Ix {
        let Some((n, lead)) = ix.split_last() else {
            return Ix::default();
        };
        let (column, within) = self.split(n, 16);
        let (line, inner) = self.split(&flat(shape, lead), 4);
        let block = column.times(small(lines.div_ceil(4))).plus(&line);
        block.times(64).plus(&inner.times(16)).plus(&within)
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
                let p = part.text();
                format!("half({at}[{p} >> 1u], {p})")
            }
        };
        self.bind("v", &text, depth)
    }

    /// The 16-byte word of a weight, wherever its rows lie; in a table of several buffers, of a row.
    fn word(&self, v: Value, w: &Weight, ix: &[Ix], word: &Ix) -> Ex {
        if let [(_, _, shard, offset)] = w.places.as_slice() {
            return Ex {
                text: format!("weights{shard}[{}]", sum(&format!("{offset}u"), word)),
                depth: word.depth(),
            };
        }
        Ex {
            text: format!("table{}({}, {})", v.index(), ix[0].text(), word.text()),
            depth: word.depth().max(ix[0].depth()),
        }
    }
}

/// Functions that find the word of a table that lies in several buffers.
pub(super) fn table_function(v: Value, w: &Weight) -> String {
    let per_row = w.shape[1..w.shape.len() - 1].iter().product::<usize>() * w.line() / w.per_word();
    let mut text = format!("fn table{}(row: u32, word: u32) -> vec4<u32> {{\n", v.index());
    for (i, &(first, rows, shard, offset)) in w.places.iter().enumerate() {
        let load = format!("return weights{shard}[{offset}u + (row - {first}u) * {per_row}u + word];");
        if i + 1 == w.places.len() {
            text.push_str(&format!("  {load}\n}}\n"));
        } else {
            text.push_str(&format!("  if row < {}u {{ {load} }}\n", first + rows));
        }
    }
    text
}

/// Element of a row: dense for inputs and dense outputs, lines padded to whole words elsewhere.
fn position(shape: &[usize], ix: &[Ix], place: Place) -> Ix {
    if matches!(place, Place::Input(_) | Place::Home(Home::Arena { dense: true, .. })) {
        return flat(shape, ix);
    }
    let line = line_axis(shape);
    let Some(along) = ix.get(line) else {
        return Ix::default();
    };
    let (_, padded) = row_stride(shape);
    flat(&shape[..line], &ix[..line]).times(small(padded)).plus(along)
}

fn sum(start: &str, ix: &Ix) -> String {
    match (start, ix.as_constant()) {
        (s, Some(0)) => s.to_owned(),
        ("0u", _) => ix.text(),
        (s, _) => format!("{s} + {}", ix.text()),
    }
}

fn decode(text: &str, dtype: DType, lanes: u32) -> String {
    match (dtype, lanes) {
        (DType::Bool, 1) => format!("{text} != 0u"),
        (DType::Bool, _) => format!("{text} != vec4<u32>()"),
        (d, 1) => format!("bitcast<{}>({text})", wgsl_type(d)),
        (d, _) => format!("bitcast<vec4<{}>>({text})", wgsl_type(d)),
    }
}

fn encode(text: &str, dtype: DType, lanes: u32) -> String {
    match (dtype, lanes) {
        (DType::Bool, 1) => format!("u32({text})"),
        (DType::Bool, _) => format!("vec4<u32>({text})"),
        (_, 1) => format!("bitcast<u32>({text})"),
        (_, _) => format!("bitcast<vec4<u32>>({text})"),
    }
}
