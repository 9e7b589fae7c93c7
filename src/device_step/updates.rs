//! What becomes of a trained tensor and of its state, as a kernel: the same few scalar statements for every element.

use std::collections::BTreeSet;
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

    /// The kernel. `counted` is its number among the kernels of touched rows; `in_words` says that everything but state of
    /// rows lies in whole words of four elements.
    pub(super) fn text(&self, counted: usize, in_words: bool) -> String {
        let mut head = include_str!("../../shaders/update.wgsl").to_owned();
        let mut bind = |access: &str, name: &str, ty: &str| {
            let number = head.matches("@binding").count();
            let _ = writeln!(
                head,
                "@group(0) @binding({number}) var<storage, {access}> {name}: array<{ty}>;"
            );
        };
        let element = if in_words { "vec4<f32>" } else { "f32" };
        bind("read", "spans", "Span");
        bind("read", "gradient", element);
        bind("read", "scalars", "f32");
        bind("read_write", "weights", element);
        if self.touched {
            bind("read", "counts", "u32");
        }
        for (i, by_row) in self.by_row.iter().enumerate() {
            bind(
                "read_write",
                &format!("state{i}"),
                if *by_row { "f32" } else { element },
            );
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
        let elements = if in_words { 4 } else { 1 };
        for (i, fold) in self.folds.iter().enumerate() {
            let _ = writeln!(body, "  var sum{i} = 0.0;");
            let inside = |_: &str| format!("{}  sum{i} += {};\n", fold.text, fold.values[0]);
            self.every_element(&mut body, elements, false, &inside);
            let _ = writeln!(body, "  let f{i} = together(sum{i}, lid);");
        }
        self.every_element(&mut body, elements, true, &|part: &str| {
            let mut stores = format!("{}  new_p{part} = {};\n", self.next.text, self.next.values[0]);
            for i in self.of_elements() {
                let _ = writeln!(stores, "  new_s{i}{part} = {};", self.next.values[i + 1]);
            }
            stores
        });
        if !of_rows.is_empty() {
            // All have read what one now writes.
            body.push_str("  workgroupBarrier();\n  if lid == 0u {\n");
            body.push_str(&self.of_rows.text);
            for (i, value) in of_rows.iter().zip(&self.of_rows.values) {
                let _ = writeln!(body, "  state{i}[span.s{i}] = {value};");
            }
            body.push_str("  }\n");
        }
        kernel(&head, 64, &numbers_first(&body))
    }

    /// State that has an element for each of the tensor's.
    fn of_elements(&self) -> impl Iterator<Item = usize> {
        (0..self.by_row.len()).filter(|i| !self.by_row[*i])
    }

    /// A loop over all elements of a span, so many at a time. `inside` is told what a variable is followed by to be the one
    /// of an element.
    fn every_element(&self, body: &mut String, elements: usize, writes: bool, inside: &dyn Fn(&str) -> String) {
        let word = |at: &str| match elements {
            1 => at.to_owned(),
            _ => format!("({at}) / 4u"),
        };
        let mut names = vec![("p".to_owned(), format!("weights[{}]", word("span.weight + at")))];
        for i in self.of_elements() {
            let place = word(&format!("span.s{i} + at"));
            names.push((format!("s{i}"), format!("state{i}[{place}]")));
        }
        let _ = writeln!(
            body,
            "  for (var i = lid * {elements}u; i < span.count; i += {}u) {{\n  let at = span.first + i;\n  \
             let left = left(i, span);",
            64 * elements
        );
        for i in 0..self.gradients {
            let place = word(&format!("span.g{i} + at"));
            let _ = writeln!(body, "  let old_g{i} = gradient[{place}];");
        }
        for (name, place) in &names {
            let _ = writeln!(body, "  let old_{name} = {place};");
            if writes {
                let _ = writeln!(body, "  var new_{name} = old_{name};");
            }
        }
        for (c, component) in ["x", "y", "z", "w"].iter().enumerate().take(elements) {
            let part = if elements == 1 {
                String::new()
            } else {
                format!(".{component}")
            };
            // Padding stays zero.
            let _ = writeln!(body, "  if {c}u < left {{");
            for i in 0..self.gradients {
                let _ = writeln!(body, "  let g{i} = old_g{i}{part};");
            }
            for (name, _) in &names {
                let _ = writeln!(body, "  let {name} = old_{name}{part};");
            }
            let _ = writeln!(body, "{}  }}", inside(&part));
        }
        if writes {
            for (name, place) in &names {
                let _ = writeln!(body, "  {place} = new_{name};");
            }
        }
        body.push_str("  }\n");
    }
}

/// Reads numbers of the step where a kernel begins, not for every element.
fn numbers_first(body: &str) -> String {
    let mut parts = body.split("scalars[");
    let mut text = parts.next().unwrap_or_default().to_owned();
    let mut used = BTreeSet::new();
    for part in parts {
        let (slot, rest) = part.split_once(']').unwrap_or((part, ""));
        used.insert(slot);
        let _ = write!(text, "number{slot}{rest}");
    }
    let reads: String = used
        .iter()
        .map(|slot| format!("  let number{slot} = scalars[{slot}];\n"))
        .collect();
    reads + &text
}
