//! Fusion: where values reach memory. A [`Partition`] cuts an unchanged graph into kernels; no fused op exists.
//!
//! A *step* computes one value, its *root*, for a tile of rows: an anchor (matmul, reduction, running sum, GRU) with
//! the pointwise tail that follows it, or a plain map. Every other value is an expression that whoever reads it
//! computes on the fly. A *group* is a chain of steps over one row space, one dispatch: a *row program*. Roots that
//! only their own group reads live in workgroup memory (*slots*), the others in the value arena.
//!
//! The passes, in order: [`tail`] finds what each anchor can finish by itself, [`roots`] decides which other values are
//! worth storing, [`cut`] forms groups, [`chain`] finds products that need no memory between them, [`place`] gives every root a home.

mod chain;
mod cut;
mod place;
mod profile;
mod roots;
mod tail;

use crate::ir::rows::{NotRowLocal, RowInfo, RowSpace, analyse, analyse_whole};
use crate::ir::{Graph, Node, Op, Value};

pub(crate) use chain::columns;
pub use place::{Home, MemoryError, Placement, row_stride};
pub use profile::{Halves, LANES, Profile, Scheme};

/// One value computed for a tile of rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The value that is stored.
    pub root: Value,
    /// The looping op inside; `None` for a map.
    pub anchor: Option<Value>,
    /// Reshapes, permutes and unit-axis broadcasts between anchor and root, in order.
    pub views: Vec<Value>,
    /// Its turn within the group: steps of one level read nothing of each other and share a barrier.
    pub level: usize,
    /// The root of the step that consumes this one's, row by row, before it would be stored.
    pub into: Option<Value>,
}

/// A row program: steps over one space, run by one dispatch.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// What its grid counts.
    pub space: RowSpace,
    /// In order; each may read roots of earlier ones.
    pub steps: Vec<Step>,
    /// Rows (or requests) per workgroup.
    pub tile: usize,
}

/// A graph cut into kernels.
#[derive(Clone, Debug)]
pub struct Partition {
    /// In execution order.
    pub groups: Vec<Group>,
    /// Space and symbolic axis of every value.
    pub rows: Vec<RowInfo>,
    /// Home of every root.
    pub placement: Placement,
    /// How many groups each phase has.
    pub phases: Vec<usize>,
}

/// Why a graph cannot be cut.
#[derive(Debug, thiserror::Error)]
pub enum FuseError {
    /// Rows are mixed.
    #[error(transparent)]
    NotRowLocal(#[from] NotRowLocal),
    /// No kernel computes an operation.
    #[error("{value} `{op}` of `{scope}`: no kernel computes it")]
    Unsupported {
        /// The node.
        value: Value,
        /// Name of its operation.
        op: &'static str,
        /// Its module path.
        scope: String,
    },
    /// An output does not start with the batch.
    #[error("output `{name}` is {ty}; outputs start with a multiple of rows or requests")]
    Output {
        /// The output.
        name: String,
        /// Its type.
        ty: String,
    },
    /// A constant subgraph with a loop was not folded.
    #[error("{value} in `{scope}` depends on no input and was not folded")]
    Unfolded {
        /// The node.
        value: Value,
        /// Its module path.
        scope: String,
    },
    /// Sizes beyond what a kernel can address.
    #[error(transparent)]
    Memory(#[from] MemoryError),
}

/// How much is fused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fusion {
    /// Row programs.
    Full,
    /// Every live node is its own kernel: the second oracle.
    None,
}

/// Cuts a simplified graph into kernels for a device profile.
///
/// # Errors
/// [`FuseError`] when rows are mixed, an output is no batch, or sizes overflow.
pub fn partition(g: &Graph, profile: &Profile, fusion: Fusion) -> Result<Partition, FuseError> {
    cut_up(g, analyse(g)?, profile, fusion, None)
}

/// Cuts the rows of a training step: batches run whole, and a value is computed no earlier than in its phase, by its
/// number. Between phases the caller does what it wants to.
///
/// # Errors
/// As [`partition`].
pub fn partition_in_phases(g: &Graph, profile: &Profile, phases: &[usize]) -> Result<Partition, FuseError> {
    cut_up(g, analyse_whole(g)?, profile, Fusion::Full, Some(phases))
}

fn cut_up(
    g: &Graph,
    rows: Vec<RowInfo>,
    profile: &Profile,
    fusion: Fusion,
    phases: Option<&[usize]>,
) -> Result<Partition, FuseError> {
    check_outputs(g, &rows)?;
    let live = g.live();
    for (v, n) in g.iter() {
        if live[v.index()] && !has_kernel(n, phases.is_some()) {
            return Err(FuseError::Unsupported {
                value: v,
                op: n.op.name(),
                scope: g.scope_of(v).to_owned(),
            });
        }
        if live[v.index()] && n.op.is_anchor() && rows[v.index()].space == RowSpace::Const {
            return Err(FuseError::Unfolded {
                value: v,
                scope: g.scope_of(v).to_owned(),
            });
        }
    }
    let steps = match fusion {
        Fusion::Full => roots::steps(g, &rows, profile),
        Fusion::None => roots::every_node(g, &rows),
    };
    let phase = |s: &Step| phases.map_or(0, |phases| phases[s.root.index()]);
    let last = phases.into_iter().flatten().copied().max().unwrap_or(0);
    let (mut groups, mut counts) = (Vec::new(), Vec::new());
    for now in 0..=last {
        let steps = steps.iter().filter(|s| phase(s) == now).cloned().collect();
        let own = match fusion {
            Fusion::Full => cut::groups(g, &rows, steps, profile),
            Fusion::None => cut::singletons(&rows, steps, profile),
        };
        counts.push(own.len());
        groups.extend(own);
    }
    if fusion == Fusion::Full {
        chain::link(g, &mut groups, profile);
    }
    let placement = place::place(g, &rows, &mut groups, profile)?;
    Ok(Partition {
        groups,
        rows,
        placement,
        phases: counts,
    })
}

/// Whether kernels compute an operation.
fn has_kernel(n: &Node, training: bool) -> bool {
    match n.op {
        Op::Uniform(_) | Op::GruGrad => training,
        Op::ScatterAdd(_) => false,
        _ => true,
    }
}

fn check_outputs(g: &Graph, rows: &[RowInfo]) -> Result<(), FuseError> {
    for (name, v) in &g.outputs {
        let info = &rows[v.index()];
        if info.space == RowSpace::Const || info.axis != Some(0) {
            return Err(FuseError::Output {
                name: name.clone(),
                ty: g.ty(*v).to_string(),
            });
        }
    }
    Ok(())
}

impl Step {
    /// Values outside its anchor's tail that the step's expressions start from, anchor operands included.
    pub(crate) fn operands(&self, g: &Graph) -> Vec<Value> {
        match self.anchor {
            Some(a) => g.args(a).to_vec(),
            None => Vec::new(),
        }
    }
}

/// Pointwise values that `step` computes on the fly and roots or leaves that it loads, in one walk: what the emitter
/// meets is what this lists.
pub(crate) fn walk(g: &Graph, step: &Step, is_root: &dyn Fn(Value) -> bool, visit: &mut dyn FnMut(Value, bool)) {
    let mut seen = std::collections::BTreeSet::new();
    let mut stack = step.operands(g);
    if step.anchor != Some(step.root) {
        // The root's own expression; reaching the anchor ends it.
        stack.extend(g.args(step.root));
    }
    while let Some(v) = stack.pop() {
        if Some(v) == step.anchor || !seen.insert(v) {
            continue;
        }
        let stored = is_root(v) || g.op(v).is_leaf();
        visit(v, stored);
        if !stored {
            stack.extend(g.args(v));
        }
    }
}
