//! Where the structure of a line changes: parts of a concat become loops of their own, so that no shader ever asks at
//! run time which part it is in.

use std::collections::BTreeSet;

use super::emit::Emitter;
use super::expr::line_axis;
use crate::ir::{Op, Value};

impl Emitter<'_> {
    /// `[start, end)` pieces of the line of `v` within which its expression has one form. A stored value has one form
    /// for whoever reads it; the value that is being computed has the form of its expression.
    pub(super) fn segments(&self, v: Value) -> Vec<(usize, usize)> {
        let shape = self.extents(v);
        let n = shape.get(line_axis(&shape)).copied().unwrap_or(1);
        let mut cuts = BTreeSet::from([0, n]);
        self.cuts(v, line_axis(&shape), &mut cuts);
        let cuts: Vec<usize> = cuts.into_iter().filter(|c| *c <= n).collect();
        cuts.windows(2).map(|w| (w[0], w[1])).collect()
    }

    /// Adds the positions along `axis` where a concat under `v` changes parts.
    fn cuts(&self, v: Value, axis: usize, cuts: &mut BTreeSet<usize>) {
        let g = self.g;
        let stored = self.partition.placement.homes.contains_key(&v) && self.computing != Some(v);
        if stored || self.hole.as_ref().is_some_and(|h| h.anchor == v) {
            return;
        }
        let args = g.args(v);
        match g.op(v) {
            Op::Unary(_) | Op::Binary(_) | Op::Select | Op::Cast => {
                for a in args {
                    self.cuts(*a, axis, cuts);
                }
            }
            Op::Broadcast => {
                let lead = g.shape(v).rank() - g.shape(args[0]).rank();
                if axis >= lead && g.shape(args[0]).0[axis - lead] == g.shape(v).0[axis] {
                    self.cuts(args[0], axis - lead, cuts);
                }
            }
            Op::Permute(perm) => self.cuts(args[0], perm[axis], cuts),
            Op::Concat(along) if *along == axis => {
                let mut start = 0;
                for a in args {
                    let mut inner = BTreeSet::new();
                    self.cuts(*a, axis, &mut inner);
                    cuts.extend(inner.into_iter().map(|c| c + start));
                    cuts.insert(start);
                    start += g.shape(*a).0[axis].factor();
                }
            }
            Op::Concat(_) => {
                for a in args {
                    self.cuts(*a, axis, cuts);
                }
            }
            Op::Reshape => self.cuts_of_reshape(v, args[0], axis, cuts),
            Op::Slice {
                axis: along,
                start,
                stop,
                step,
            } => {
                let mut inner = BTreeSet::new();
                self.cuts(args[0], axis, &mut inner);
                if *along != axis {
                    cuts.extend(inner);
                } else if *step == 1 {
                    cuts.extend(inner.into_iter().filter(|c| c > start && c < stop).map(|c| c - start));
                }
            }
            _ => {}
        }
    }

    /// A reshape that merges axes into `axis` (or leaves it alone) carries cuts over.
    fn cuts_of_reshape(&self, v: Value, arg: Value, axis: usize, cuts: &mut BTreeSet<usize>) {
        let (to, from) = (self.extents(v), self.extents(arg));
        let inner = |shape: &[usize], a: usize| shape[a + 1..].iter().product::<usize>();
        let (n, below) = (to[axis], inner(&to, axis));
        for (a, &m) in from.iter().enumerate() {
            let b = inner(&from, a);
            // Axis `a` of the operand runs inside this axis, outermost.
            if m > 1 && b % below == 0 && m * b == n * below {
                let mut own = BTreeSet::new();
                self.cuts(arg, a, &mut own);
                cuts.extend(own.into_iter().map(|c| c * (b / below)));
            }
        }
    }
}
