//! How an index that is wrong is told to whoever gave it: where it comes from, and in which row.

use super::gather::{Names, Origin};
use super::lower::Lowering;
use crate::ir::{Node, Op, Value};

impl Lowering<'_> {
    /// How an index of a gather is traced back to its row.
    pub(super) fn origin(&self, node: &Node) -> Origin {
        let shape = self.plan.graph.shape(node.args[1]);
        let extents = shape.at(self.sizes);
        let (per_row, rows) = match shape.symbolic() {
            Some((axis, dim)) => {
                let inner: usize = extents[axis + 1..].iter().product();
                (inner * dim.factor(), extents[axis] / dim.factor())
            }
            None => (1, extents.iter().product()),
        };
        Origin {
            names: Names {
                table: self.name(node.args[0]),
                index: self.name(node.args[1]),
            },
            per_row,
            rows,
        }
    }

    /// A value as its user knows it: by the input or parameter it comes from, else by its module.
    fn name(&self, v: Value) -> String {
        let graph = &self.plan.graph;
        let node = graph.node(v);
        match &node.op {
            Op::Input(name) => format!("input `{name}`"),
            Op::Param(name) => format!("parameter `{name}`"),
            Op::Reshape | Op::Permute(_) | Op::Slice { .. } | Op::Broadcast | Op::Cast => self.name(node.args[0]),
            // Ids are often moved by the offset of their table.
            Op::Binary(_) => {
                let from_input = |a: &&Value| self.reaches_input(**a);
                let mut inputs = node.args.iter().filter(from_input);
                match (inputs.next(), inputs.next()) {
                    (Some(a), None) => self.name(*a),
                    _ => format!("{v} of `{}`", graph.scope_of(v)),
                }
            }
            _ => format!("{v} of `{}`", graph.scope_of(v)),
        }
    }

    /// Whether a value is an input moved about, or computed from one.
    fn reaches_input(&self, v: Value) -> bool {
        let node = self.plan.graph.node(v);
        matches!(node.op, Op::Input(_)) || node.args.iter().any(|a| self.reaches_input(*a))
    }
}
