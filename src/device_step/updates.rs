//! What becomes of a trained tensor and of its state, as a kernel: the same few scalar statements for every element.

use std::fmt::Write;

use super::Error;
use super::form::Trained;
use super::numbers::Numbers;
use crate::ir::{Graph, Value};
use crate::wgsl::{Statements, kernel, statements};

/// An update: tensors with equal ones share a kernel.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Update {
    /// What the sums over each row add up.
    folds: Vec<Statements>,
    /// New values of the tensor and of its state.
    next: Statements,
    /// New values of the state that has one element for each row.
    of_rows: Statements,
    /// Which state that is.
    pub(super) by_row: Vec<bool>,
    pub(super) gradients: usize,
    /// Whether rows are updated as a whole, and whether only touched ones are.
    pub(super) by_lines: bool,
    pub(super) touched: bool,
}

impl Update {
    pub(super) fn new(g: &Graph, t: &Trained, numbers: &Numbers) -> Result<Self, Error> {
        let leaf = |v: Value| {
            if v == t.param {
                Some("p".to_owned())
            } else if let Some(i) = t.gradients.iter().position(|x| x.value == v) {
                Some(format!("g{i}"))
            } else if let Some(i) = t.states.iter().position(|x| x.value == v) {
                Some(format!("s{i}"))
            } else if let Some(i) = t.folds.iter().position(|x| *x == v) {
                Some(format!("f{i}"))
            } else if t.touched.as_ref().is_some_and(|touched| touched.value == v) {
                Some("true".to_owned())
            } else if t.own.contains(&v) {
                None
            } else {
                numbers.leaf(g, v)
            }
        };
        let spelled = |roots: &[Value]| {
            let found = statements(g, roots, &leaf).map_err(|v| Error::refused(g, v, "no element by itself"))?;
            match numbers.fault() {
                None => Ok(found),
                Some(v) => Err(Error::refused(
                    g,
                    v,
                    "neither a number nor an element of what is trained",
                )),
            }
        };
        let by_row = t.states.iter().zip(&t.next[1..]).filter(|(s, _)| s.by_row);
        let by_row: Vec<Value> = by_row.map(|(_, next)| *next).collect();
        Ok(Self {
            folds: t.folds.iter().map(|v| spelled(g.args(*v))).collect::<Result<_, _>>()?,
            next: spelled(&t.next)?,
            of_rows: spelled(&by_row)?,
            by_row: t.states.iter().map(|s| s.by_row).collect(),
            gradients: t.gradients.len(),
            by_lines: t.by_lines(),
            touched: t.touched.is_some(),
        })
    }

    /// The kernel. `counted` is its number among the kernels of touched rows.
    pub(super) fn text(&self, counted: usize) -> String {
        let mut head = include_str!("../../shaders/update.wgsl").to_owned();
        let mut bind = |access: &str, name: &str, ty: &str| {
            let number = head.matches("@binding").count();
            let _ = writeln!(
                head,
                "@group(0) @binding({number}) var<storage, {access}> {name}: array<{ty}>;"
            );
        };
        bind("read", "spans", "Span");
        bind("read", "gradient", "f32");
        bind("read", "scalars", "f32");
        bind("read_write", "weights", "f32");
        if self.touched {
            bind("read", "counts", "u32");
        }
        for i in 0..self.by_row.len() {
            bind("read_write", &format!("state{i}"), "f32");
        }
        let count = match self.touched {
            true => format!("counts[{}u]", counted + 1),
            false => "arrayLength(&spans)".to_owned(),
        };
        let mut body = format!(
            "  let number = wid.x + wid.y * 65535u;\n  \
             if number >= {count} || scalars[0] != 0.0 {{ return; }}\n  \
             let span = spans[number];\n"
        );
        let of_rows: Vec<usize> = (0..self.by_row.len()).filter(|i| self.by_row[*i]).collect();
        for i in &of_rows {
            let _ = writeln!(body, "  let s{i} = state{i}[span.s{i}];");
        }
        for (i, fold) in self.folds.iter().enumerate() {
            let _ = writeln!(body, "  var sum{i} = 0.0;");
            self.every_element(&mut body, &format!("{}  sum{i} += {};\n", fold.text, fold.values[0]));
            let _ = writeln!(body, "  let f{i} = together(sum{i}, lid);");
        }
        let mut stores = format!("{}  weights[e] = {};\n", self.next.text, self.next.values[0]);
        for i in (0..self.by_row.len()).filter(|i| !self.by_row[*i]) {
            let _ = writeln!(stores, "  state{i}[span.s{i} + at] = {};", self.next.values[i + 1]);
        }
        self.every_element(&mut body, &stores);
        if !of_rows.is_empty() {
            // All have read what one now writes.
            body.push_str("  workgroupBarrier();\n  if lid == 0u {\n");
            body.push_str(&self.of_rows.text);
            for (i, value) in of_rows.iter().zip(&self.of_rows.values) {
                let _ = writeln!(body, "  state{i}[span.s{i}] = {value};");
            }
            body.push_str("  }\n");
        }
        kernel(&head, 64, &body)
    }

    fn every_element(&self, body: &mut String, inside: &str) {
        body.push_str(
            "  for (var i = lid; i < span.count; i += 64u) {\n  \
             let at = span.first + i;\n  \
             // Padding stays zero.\n  \
             if at % span.line >= span.width { continue; }\n  \
             let e = span.weight + at;\n  let p = weights[e];\n",
        );
        for i in 0..self.gradients {
            let _ = writeln!(body, "  let g{i} = gradient[span.g{i} + at];");
        }
        for i in (0..self.by_row.len()).filter(|i| !self.by_row[*i]) {
            let _ = writeln!(body, "  let s{i} = state{i}[span.s{i} + at];");
        }
        let _ = writeln!(body, "{inside}  }}");
    }
}
