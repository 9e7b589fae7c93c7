//! Row-locality: that no value of a graph mixes rows, and how each value is laid out over them.
//!
//! A value with a symbolic extent holds, for every row (or request), `factor` consecutive indices of that axis. A graph
//! is row-local when the indices of a row are computed from the indices of the same row alone; then any block of rows
//! can be computed by itself. The one way from requests to rows is `gather(x, request_of_row) {axis=0}`.

use super::graph::{Graph, Node, REQUEST_OF_ROW, Value};
use super::op::{Fold, Op};
use crate::tensor::{Dim, Shape};

/// On what a value depends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RowSpace {
    /// On nothing that differs between rows, even where the shape repeats it for each.
    Const,
    /// On the request.
    Requests,
    /// On the row.
    Rows,
}

/// How a value is laid out over rows or requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RowInfo {
    /// On what its elements depend.
    pub space: RowSpace,
    /// The axis with the symbolic extent, if the shape has one.
    pub axis: Option<usize>,
    /// How many indices of that axis belong to one row; 1 without such an axis.
    pub factor: usize,
}

/// A node that mixes rows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{node} `{op}`{}: {why}", if scope.is_empty() { String::new() } else { format!(" of `{scope}`") })]
pub struct NotRowLocal {
    /// The node, as in the graph's text.
    pub node: Value,
    /// Name of its operation.
    pub op: &'static str,
    /// Where in the model it came from; empty when unknown.
    pub scope: String,
    /// How it mixes rows.
    pub why: String,
}

/// Lays out every value over rows and checks that each op keeps them apart.
///
/// # Errors
/// [`NotRowLocal`] naming the first node that does not.
pub fn analyse(g: &Graph) -> Result<Vec<RowInfo>, NotRowLocal> {
    layout(g, |_| None)
}

/// [`analyse`] for a graph whose batches run whole, never in parts: there every row knows its number, and random numbers
/// may follow it. What has rows counts as theirs, even where it is the same for each: nothing is known of parameters.
///
/// # Errors
/// [`NotRowLocal`] naming the first node that mixes rows.
pub fn analyse_whole(g: &Graph) -> Result<Vec<RowInfo>, NotRowLocal> {
    let mut infos = layout(g, |n| is_numbered(n).then_some(RowSpace::Rows))?;
    for (v, n) in g.iter() {
        let follows = n.args.iter().any(|a| infos[a.index()].space == RowSpace::Rows);
        if follows || matches!(n.ty.shape.symbolic(), Some((_, Dim::Rows(_)))) {
            infos[v.index()].space = RowSpace::Rows;
        }
    }
    Ok(infos)
}

/// Random numbers are numbered across rows, but not computed from them.
fn is_numbered(n: &Node) -> bool {
    matches!(n.op, Op::Uniform(_)) && matches!(n.ty.shape.symbolic(), Some((0, _)))
}

/// Which values are sums over rows, the only way in which the rows of this graph meet.
///
/// # Errors
/// [`NotRowLocal`] naming the first node where they meet in another.
pub fn sums(g: &Graph) -> Result<Vec<bool>, NotRowLocal> {
    let is_sum = |n: &Node| {
        let is_fixed = |v: &Value| g.shape(*v).symbolic().is_none();
        let sums = matches!(n.op, Op::Reduce(Fold::Sum, _) | Op::MatMul | Op::ScatterAdd(_));
        sums && n.ty.shape.symbolic().is_none() && !n.args.iter().all(is_fixed)
    };
    layout(g, |n| match n {
        n if is_sum(n) => Some(RowSpace::Const),
        n if is_numbered(n) => Some(RowSpace::Rows),
        _ => None,
    })?;
    Ok(g.iter().map(|(_, n)| is_sum(n)).collect())
}

/// Lays out every value over rows. `known` gives the space of values that may mix them.
fn layout(g: &Graph, known: impl Fn(&Node) -> Option<RowSpace>) -> Result<Vec<RowInfo>, NotRowLocal> {
    let mut infos: Vec<RowInfo> = Vec::with_capacity(g.len());
    for (v, n) in g.iter() {
        let space = known(n).map_or_else(|| keeps_apart(g, n, &infos), Ok);
        let space = space.map_err(|why| NotRowLocal {
            node: v,
            op: n.op.name(),
            scope: g.scope_of(v).to_owned(),
            why,
        })?;
        let symbolic = n.ty.shape.symbolic();
        infos.push(RowInfo {
            space,
            axis: symbolic.map(|(a, _)| a),
            factor: symbolic.map_or(1, |(_, d)| d.factor()),
        });
    }
    Ok(infos)
}

/// Whether a node is the step from requests to rows: `gather(x, request_of_row) {axis=0}`.
#[must_use]
pub fn is_crossing(g: &Graph, n: &Node) -> bool {
    let by_request = |v: &Value| matches!(g.op(*v), Op::Input(name) if name == REQUEST_OF_ROW);
    n.op == Op::Gather(0)
        && n.args.get(1).is_some_and(by_request)
        && g.shape(n.args[0]).0.first() == Some(&Dim::Requests(1))
}

/// The space of a node whose operands have these spaces, or how it mixes rows. What `infer` refuses (slices, maxima and
/// the like along the symbolic axis, two symbolic extents) is not asked again.
fn keeps_apart(g: &Graph, n: &Node, infos: &[RowInfo]) -> Result<RowSpace, String> {
    let arg = |i: usize| infos[n.args[i].index()];
    let shape = |i: usize| g.shape(n.args[i]);
    let widest = || n.args.iter().map(|a| infos[a.index()].space).max();
    let space = widest().unwrap_or(RowSpace::Const);
    match &n.op {
        Op::Input(_) => Ok(match n.ty.shape.symbolic() {
            None | Some((_, Dim::Fixed(_))) => RowSpace::Const,
            Some((_, Dim::Requests(_))) => RowSpace::Requests,
            Some((_, Dim::Rows(_))) => RowSpace::Rows,
        }),
        Op::Param(_) | Op::Const(_) | Op::Iota => Ok(RowSpace::Const),
        // Operands and result have one shape, or differ in axes that are not symbolic.
        Op::Unary(_) | Op::Binary(_) | Op::Select | Op::Cast | Op::Detach | Op::Concat(_) | Op::TakeAlong(_) => {
            Ok(space)
        }
        // An axis of extent 1 becomes rows only where no other is symbolic: the operand is constant then.
        Op::Broadcast | Op::Permute(_) | Op::Slice { .. } | Op::CumSum(_) => Ok(space),
        Op::Gru | Op::GruGrad => Ok(space),
        Op::Reduce(_, axes) => match arg(0).axis {
            Some(a) if axes.contains(&a) => Err(format!("folds axis {a} of {}: a sum over rows", shape(0))),
            _ => Ok(space),
        },
        Op::Uniform(_) => match n.ty.shape.symbolic() {
            Some(_) => Err(format!("numbers the elements of {} across rows", n.ty.shape)),
            None => Ok(space),
        },
        Op::ScatterAdd(axis) => match n.ty.shape.symbolic() {
            None if arg(0).axis.is_some() => Err(format!("adds {} to {}: a sum over rows", shape(0), n.ty.shape)),
            Some((a, _)) if a == *axis => Err(format!("scatters along axis {a} of {}", n.ty.shape)),
            // The index has no symbolic extent, or the first operand had two.
            _ => Ok(space),
        },
        Op::Reshape => {
            let (from, to) = (before(shape(0)), before(&n.ty.shape));
            if from == to {
                Ok(space)
            } else {
                Err(format!("{} to {} tears rows apart", shape(0), n.ty.shape))
            }
        }
        Op::Gather(axis) => match arg(0).axis {
            None => Ok(space),
            Some(_) if is_crossing(g, n) => Ok(match arg(0).space {
                RowSpace::Const => RowSpace::Const,
                RowSpace::Requests | RowSpace::Rows => RowSpace::Rows,
            }),
            Some(a) if a == *axis => Err(format!(
                "picks along axis {a} of {}; only `{REQUEST_OF_ROW}` may, from requests to rows",
                shape(0)
            )),
            // The index has no symbolic extent, or the result had two.
            Some(_) => Ok(space),
        },
        Op::MatMul => match (arg(0).axis, arg(1).axis) {
            (_, Some(b)) if b + 1 == shape(1).rank() => Err(format!(
                "the second operand {} has rows as its columns; they must be a leading axis",
                shape(1)
            )),
            (Some(a), _) if a + 1 == shape(0).rank() => {
                Err(format!("multiplies {} by {}: a sum over rows", shape(0), shape(1)))
            }
            // Leading axes agree and the inner extent is fixed: rows are m, or a leading axis of both.
            _ => Ok(space),
        },
    }
}

/// Product of the extents before the symbolic axis, if there is one.
fn before(shape: &Shape) -> Option<usize> {
    let (axis, _) = shape.symbolic()?;
    Some(shape.0[..axis].iter().map(|d| d.factor()).product())
}
