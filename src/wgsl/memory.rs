//! Loads and stores: how an index of a value becomes an address of a buffer.

use super::emit::{Emitter, Ex, Row};
use super::expr::{COMPONENTS, line_axis};
use super::index::{Ix, flat, small};
use super::layout::Input;
use super::spell::wgsl_type;
use crate::bundle::Linear;
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
            (_, Some(c)) if self.whole_words => {
                let word = self.bind("w", &format!("{buffer}[{at}]"), depth);
                format!("{}.{}", word.text, COMPONENTS[c as usize])
            }
            (_, Some(c)) => format!("{buffer}[{at}].{}", COMPONENTS[c as usize]),
            (_, None) => format!("{buffer}[{at}][{}]", part.text()),
        };
        self.bind("v", &decode(&text, dtype, lanes), depth)
    }

    pub(super) fn lane(&mut self, v: Value, shape: &[usize], ix: &[Ix], lane: u32, row: &Row) -> Ex {
        let line = line_axis(shape);
        let mut jx = ix.to_vec();
        if let Some(i) = jx.get_mut(line) {
            *i = i.plus_constant(lane);
            jx[line] = self.clamp(&jx[line].clone(), small(shape[line]));
        }
        self.eval(v, &jx, 1, row)
    }

    pub(super) fn compose(&mut self, parts: &[Ex], dtype: DType) -> Ex {
        let depth = parts.iter().map(|p| p.depth).max().unwrap_or(0);
        let texts: Vec<&str> = parts.iter().map(|p| p.text.as_str()).collect();
        self.bind("e", &format!("vec4<{}>({})", wgsl_type(dtype), texts.join(", ")), depth)
    }

    fn base(&mut self, place: Place, row: &Row) -> Base {
        match place {
            Place::Home(Home::Registers) => unreachable!("a chain hands its rows on by itself"),
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

pub(super) fn sum(start: &str, ix: &Ix) -> String {
    match (start, ix.as_constant()) {
        (s, Some(0)) => s.to_owned(),
        ("0u", _) => ix.text(),
        (s, _) => format!("{s} + {}", ix.text()),
    }
}

pub(super) fn decode(text: &str, dtype: DType, lanes: u32) -> String {
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
