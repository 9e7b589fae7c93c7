//! The writer of one kernel's body: nested scopes into which statements are hoisted as far out as they go.

use std::collections::{BTreeSet, HashMap};

use super::index::{Atom, Ix};
use super::layout::Memory;
use crate::fuse::Partition;
use crate::ir::rows::RowSpace;
use crate::ir::{Graph, Value};

/// An expression of the shader: a name or literal, and the depth of the scope it needs.
#[derive(Clone, Debug)]
pub(super) struct Ex {
    pub(super) text: String,
    pub(super) depth: usize,
}

/// The row that an expression is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Row {
    /// What the row is a row of.
    pub(super) space: RowSpace,
    /// Its place in the tile; meaningless for a request seen from a row.
    pub(super) local: Ix,
    /// Name of its global index, clamped to the batch.
    pub(super) global: String,
    /// Depth of the scope that defines the global index.
    pub(super) depth: usize,
}

/// What stands for an anchor while its tail is written.
#[derive(Clone, Debug)]
pub(super) struct Hole {
    pub(super) anchor: Value,
    pub(super) text: String,
    /// Lanes of the text.
    pub(super) lanes: u32,
}

type Key = (Value, Vec<Ix>, u32, Row);

#[derive(Default)]
struct Scope {
    text: String,
    /// Name of each expression bound here, by its text.
    bound: HashMap<String, String>,
    /// Values computed here.
    values: HashMap<Key, Ex>,
}

/// Builds the body of one kernel.
pub(super) struct Emitter<'a> {
    pub(super) g: &'a Graph,
    pub(super) partition: &'a Partition,
    pub(super) memory: &'a Memory,
    /// The anchor whose accumulated value stands in for it, with the lanes that the text has.
    pub(super) hole: Option<Hole>,
    /// Whether an expression asked the hole for other lanes than it has: what was written then is not to be used.
    pub(super) torn: bool,
    /// Tables that the body indexes with values from outside, in order of their status words.
    pub(super) checked: BTreeSet<u32>,
    /// The root being computed: its own home is not read.
    pub(super) computing: Option<Value>,
    /// Whether an element is read with the whole word that it lies in: its neighbours will be wanted too.
    pub(super) whole_words: bool,
    scopes: Vec<Scope>,
    names: usize,
}

impl<'a> Emitter<'a> {
    pub(super) fn new(g: &'a Graph, partition: &'a Partition, memory: &'a Memory) -> Self {
        Self {
            g,
            partition,
            memory,
            hole: None,
            torn: false,
            checked: BTreeSet::new(),
            computing: None,
            whole_words: false,
            scopes: vec![Scope::default()],
            names: 0,
        }
    }

    /// Depth of the current scope.
    pub(super) fn depth(&self) -> usize {
        self.scopes.len() - 1
    }

    /// A name not used before in this kernel.
    pub(super) fn name(&mut self, prefix: &str) -> String {
        self.names += 1;
        format!("{prefix}{}", self.names)
    }

    /// A statement of the current scope.
    pub(super) fn line(&mut self, text: &str) {
        let depth = self.depth();
        self.line_at(text, depth);
    }

    fn line_at(&mut self, text: &str, depth: usize) {
        let scope = &mut self.scopes[depth].text;
        for _ in 0..=depth {
            scope.push_str("  ");
        }
        scope.push_str(text);
        scope.push('\n');
    }

    /// Names an expression in the outermost scope that knows all it depends on; the same text gets the same name.
    pub(super) fn bind(&mut self, prefix: &str, text: &str, depth: usize) -> Ex {
        for (d, scope) in self.scopes.iter().enumerate() {
            if let Some(name) = scope.bound.get(text) {
                return Ex {
                    text: name.clone(),
                    depth: d,
                };
            }
        }
        let name = self.name(prefix);
        self.line_at(&format!("let {name} = {text};"), depth);
        self.scopes[depth].bound.insert(text.to_owned(), name.clone());
        Ex { text: name, depth }
    }

    pub(super) fn known(&self, key: &Key) -> Option<Ex> {
        self.scopes.iter().find_map(|s| s.values.get(key).cloned())
    }

    pub(super) fn remember(&mut self, key: Key, ex: &Ex) {
        // What depends on a hole is good only where the hole is.
        let depth = if self.hole.is_some() { self.depth() } else { ex.depth };
        self.scopes[depth].values.insert(key, ex.clone());
    }

    /// Opens a scope.
    pub(super) fn open(&mut self) {
        self.scopes.push(Scope::default());
    }

    /// Closes the innermost scope under a header such as `for (..)`, or none for a plain block.
    pub(super) fn close(&mut self, header: &str) {
        let inner = self.scopes.pop().expect("scopes are opened before they are closed");
        self.line(&format!("{header}{{"));
        let depth = self.depth();
        self.scopes[depth].text.push_str(&inner.text);
        self.line("}");
    }

    /// Drops the innermost scope and all that was written in it.
    pub(super) fn discard(&mut self) {
        self.scopes.pop();
    }

    /// Opens a loop over `0..count`; the caller closes it with the header returned.
    pub(super) fn open_loop(&mut self, prefix: &str, count: u32) -> (Ix, String) {
        let name = self.name(prefix);
        self.open();
        let header = match count {
            0 | 1 => String::new(),
            _ => format!("for (var {name} = 0u; {name} < {count}u; {name}++) "),
        };
        let atom = Atom {
            name: name.into(),
            bound: count.max(1),
            depth: self.depth(),
        };
        (Ix::atom(atom), header)
    }

    /// Opens the same loop, its end known only to whoever runs it: drivers would write out a short loop turn by turn. Not by
    /// a uniform, whose value a driver may compile into a kernel at each dispatch; a grid has no third axis.
    pub(super) fn open_counted(&mut self, prefix: &str, count: u32) -> (Ix, String) {
        let (i, header) = self.open_loop(prefix, count);
        (
            i,
            header.replace(&format!("< {count}u"), &format!("< ({count}u >> wid.z)")),
        )
    }

    /// Opens the loop that deals tasks to the invocations of a workgroup.
    pub(super) fn open_tasks(&mut self, count: u32, threads: usize) -> (Ix, String) {
        let name = self.name("task");
        self.open();
        let header = format!("for (var {name} = lid; {name} < {count}u; {name} += {threads}u) ");
        // Even a single task is only one invocation's.
        let atom = Atom {
            name: name.into(),
            bound: count.max(2),
            depth: self.depth(),
        };
        (Ix::atom(atom), header)
    }

    /// Quotient and remainder of an index; computed in the shader when they are no sums of loop variables.
    pub(super) fn split(&mut self, ix: &Ix, n: u32) -> (Ix, Ix) {
        if n == 1 {
            return (ix.clone(), Ix::default());
        }
        if let Some(parts) = ix.split(n) {
            return parts;
        }
        // Multiples of `n` need no division, and what the other terms have in common stays outside, with whatever is less
        // than that: so whole words stay whole, and their halves find the same one.
        let (whole, ix) = ix.whole(n);
        if whole != Ix::default() {
            let (q, r) = self.split(&ix, n);
            return (whole.divided(n).plus(&q), r);
        }
        if let Some(common) = [8, 4, 2]
            .into_iter()
            .find(|c| n.is_multiple_of(*c) && ix.terms_are_multiples(*c))
        {
            let less = ix.offset() % common;
            let (q, r) = self.split(&ix.minus_constant(less).divided(common), n / common);
            return (q, r.times(common).plus_constant(less));
        }
        let (text, depth, most) = (ix.text(), ix.depth(), ix.range().1);
        let q = self.bind("n", &format!("{text} / {n}u"), depth);
        let r = self.bind("n", &format!("{text} % {n}u"), depth);
        let atom = |e: Ex, bound: u64| {
            Ix::atom(Atom {
                name: e.text.into(),
                bound: u32::try_from(bound).unwrap_or(u32::MAX),
                depth: e.depth,
            })
        };
        (atom(q, most / u64::from(n) + 1), atom(r, u64::from(n)))
    }

    /// Index vector of a row-major position.
    pub(super) fn unflat(&mut self, shape: &[usize], position: &Ix) -> Vec<Ix> {
        let mut ix = Vec::with_capacity(shape.len());
        let mut rest = position.clone();
        for (i, &n) in shape.iter().enumerate().rev() {
            if i == 0 {
                // The outermost axis takes what is left.
                ix.push(rest.clone());
                break;
            }
            let (q, r) = self.split(&rest, super::index::small(n.max(1)));
            ix.push(r);
            rest = q;
        }
        ix.reverse();
        ix
    }

    /// The index of the same element under another shape.
    pub(super) fn reshaped(&mut self, from: &[usize], to: &[usize], ix: &[Ix]) -> Vec<Ix> {
        // Unit axes come and go without arithmetic, which also holds beyond the end of a line.
        let long = |shape: &[usize]| -> Vec<usize> { shape.iter().copied().filter(|n| *n != 1).collect() };
        if long(from) == long(to) {
            let mut kept = ix.iter().zip(from).filter(|(_, n)| **n != 1).map(|(i, _)| i.clone());
            return to
                .iter()
                .map(|n| {
                    if *n == 1 {
                        Ix::default()
                    } else {
                        kept.next().unwrap_or_default()
                    }
                })
                .collect();
        }
        let position = super::index::flat(from, ix);
        self.unflat(to, &position)
    }

    /// An index held below `n`.
    pub(super) fn clamp(&mut self, ix: &Ix, n: u32) -> Ix {
        if ix.range().1 < u64::from(n) {
            return ix.clone();
        }
        let e = self.bind("n", &format!("min({}, {}u)", ix.text(), n - 1), ix.depth());
        Ix::atom(Atom {
            name: e.text.into(),
            bound: n,
            depth: e.depth,
        })
    }

    /// The text of the outermost scope.
    pub(super) fn finish(mut self) -> (String, BTreeSet<u32>) {
        let body = self.scopes.pop().expect("the outermost scope stays open");
        (body.text, self.checked)
    }
}
