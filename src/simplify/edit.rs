//! Copying a graph while replacing some of its values: the frame that every pass hangs in.

use crate::ir::{Binary, Graph, Op, Scalar, TypeError, Unary, Value};
use crate::tensor::{Dim, Shape};

/// A replacement, or nothing where a rule does not apply.
pub(super) type Replaced = Result<Option<Value>, TypeError>;

/// A rule on the graph under construction: a cheaper value equal to the given one.
pub(super) type Rule = fn(&mut Graph, Value) -> Replaced;

/// Rewrites of one value that may follow each other; beyond lies a pair of rules that undo each other.
const CHAIN: usize = 64;

/// A graph under construction from another one.
pub(super) struct Edit<'a> {
    /// The graph that is copied.
    pub(super) old: &'a Graph,
    /// For each old value, the live old nodes that read it, each once; outputs are not among them.
    pub(super) users: Vec<Vec<Value>>,
    /// The copy so far.
    pub(super) new: Graph,
    map: Vec<Option<Value>>,
    outputs: Vec<bool>,
}

impl Edit<'_> {
    /// What an old value, copied before, has become.
    pub(super) fn at(&self, old: Value) -> Value {
        self.map[old.index()].expect("operands are copied before their readers")
    }

    /// What an old constant becomes, copied now if its turn has not come yet.
    pub(super) fn ahead(&mut self, old: Value) -> Result<Value, TypeError> {
        if let Some(v) = self.map[old.index()] {
            return Ok(v);
        }
        let n = self.old.node(old);
        let args = n.args.iter().map(|a| self.ahead(*a)).collect::<Result<Vec<_>, _>>()?;
        let scope = self.new.enter(self.old.scope_of(old));
        let v = self.new.declare(n.op.clone(), &args, n.ty.clone())?;
        self.new.leave(scope);
        self.map[old.index()] = Some(v);
        Ok(v)
    }

    /// The one reader of an old value that is no output.
    pub(super) fn only_user(&self, old: Value) -> Option<Value> {
        match self.users[old.index()][..] {
            [user] if !self.outputs[old.index()] => Some(user),
            _ => None,
        }
    }

    /// Whether an old value is returned.
    pub(super) fn is_output(&self, old: Value) -> bool {
        self.outputs[old.index()]
    }
}

/// Copies what the outputs need, and every input. `replace` may give another value for a node; by default a node is
/// copied with its operands replaced.
pub(super) fn rewrite(
    old: &Graph,
    mut replace: impl FnMut(&mut Edit<'_>, Value) -> Replaced,
) -> Result<Graph, TypeError> {
    let live = old.live();
    let mut users = old.users();
    users.iter_mut().for_each(|u| u.retain(|v| live[v.index()]));
    let mut outputs = vec![false; old.len()];
    old.outputs.iter().for_each(|(_, v)| outputs[v.index()] = true);
    let mut e = Edit {
        old,
        users,
        new: Graph::new(),
        map: vec![None; old.len()],
        outputs,
    };
    for (v, n) in old.iter() {
        if !live[v.index()] && !matches!(n.op, Op::Input(_)) {
            continue;
        }
        let scope = e.new.enter(old.scope_of(v));
        let copied = match replace(&mut e, v)? {
            Some(w) => w,
            None => copy(&mut e, v)?,
        };
        e.new.leave(scope);
        e.map[v.index()] = Some(copied);
    }
    let outputs = old.outputs.iter().map(|(name, v)| (name.clone(), e.at(*v))).collect();
    e.new.outputs = outputs;
    Ok(e.new)
}

/// The same operation on the replaced operands.
pub(super) fn copy(e: &mut Edit<'_>, v: Value) -> Result<Value, TypeError> {
    let n = e.old.node(v);
    let args: Vec<Value> = n.args.iter().map(|a| e.at(*a)).collect();
    e.new.declare(n.op.clone(), &args, n.ty.clone())
}

/// The live part of a graph under dense ids.
pub(super) fn live(g: &Graph) -> Result<Graph, TypeError> {
    rewrite(g, |_, _| Ok(None))
}

/// Applies rules at every value until none fits there, then drops what nothing reads.
pub(super) fn peephole(g: &Graph, rules: &[Rule]) -> Result<Graph, TypeError> {
    let g = rewrite(g, |e, v| {
        let mut value = copy(e, v)?;
        for _ in 0..CHAIN {
            match rules.iter().find_map(|rule| rule(&mut e.new, value).transpose()) {
                Some(next) => value = next?,
                None => break,
            }
        }
        Ok(Some(value))
    })?;
    live(&g)
}

/// Whether no input reaches a value. Inputs have the batch in their shape and nothing removes it.
pub(super) fn constant(g: &Graph, v: Value) -> bool {
    g.shape(v).symbolic().is_none()
}

/// What a value repeats: the operand of a broadcast, else the value itself.
pub(super) fn peel(g: &Graph, v: Value) -> Value {
    if *g.op(v) == Op::Broadcast { g.args(v)[0] } else { v }
}

/// The constant that a value is or repeats.
pub(super) fn constant_under(g: &Graph, v: Value) -> Option<Value> {
    Some(peel(g, v)).filter(|c| constant(g, *c))
}

/// The constant of the text that every element of a value is.
pub(super) fn scalar(g: &Graph, v: Value) -> Option<Scalar> {
    match g.op(v) {
        Op::Broadcast | Op::Reshape => scalar(g, g.args(v)[0]),
        _ => g.constant(v),
    }
}

/// The float that every element of a value is: a constant of the text, or arithmetic of such.
pub(super) fn number(g: &Graph, v: Value) -> Option<f64> {
    let arg = |i: usize| number(g, g.args(v)[i]);
    match g.op(v) {
        Op::Const(Scalar::F32(x)) => Some(f64::from(*x)),
        Op::Broadcast | Op::Reshape => arg(0),
        _ if !constant(g, v) => None,
        Op::Unary(u) => {
            let x = arg(0)?;
            match u {
                Unary::Neg => Some(-x),
                Unary::Abs => Some(x.abs()),
                Unary::Recip => Some(x.recip()),
                Unary::Sqrt => Some(x.sqrt()),
                Unary::Rsqrt => Some(x.sqrt().recip()),
                Unary::Exp => Some(x.exp()),
                Unary::Log => Some(x.ln()),
                _ => None,
            }
        }
        Op::Binary(b) => {
            let (x, y) = (arg(0)?, arg(1)?);
            match b {
                Binary::Add => Some(x + y),
                Binary::Sub => Some(x - y),
                Binary::Mul => Some(x * y),
                Binary::Div => Some(x / y),
                Binary::Max => Some(x.max(y)),
                Binary::Min => Some(x.min(y)),
                Binary::Pow => Some(x.powf(y)),
                _ => None,
            }
        }
        _ => None,
    }
}

/// Extents under a shape of rank `rank`: missing leading ones are 1.
pub(super) fn padded(shape: &Shape, rank: usize) -> Shape {
    let mut dims = vec![Dim::Fixed(1); rank.saturating_sub(shape.rank())];
    dims.extend(&shape.0);
    Shape(dims)
}

/// The value with leading axes of extent 1 up to a rank.
pub(super) fn pad(g: &mut Graph, v: Value, rank: usize) -> Result<Value, TypeError> {
    let to = padded(g.shape(v), rank);
    g.reshape(v, &to)
}

/// The value without its leading axes of extent 1.
pub(super) fn trim(g: &mut Graph, v: Value) -> Result<Value, TypeError> {
    let to = Shape(trimmed(g.shape(v)).to_vec());
    g.reshape(v, &to)
}

/// Extents without leading ones that are 1.
pub(super) fn trimmed(shape: &Shape) -> &[Dim] {
    let lead = shape.0.iter().take_while(|d| **d == Dim::Fixed(1)).count();
    &shape.0[lead..]
}

/// The product of extents, with the kind of the symbolic one.
pub(super) fn volume(dims: &[Dim]) -> (usize, Option<Dim>) {
    let symbolic = dims.iter().find(|d| d.is_symbolic()).map(|d| d.with_factor(1));
    (dims.iter().map(|d| d.factor()).product(), symbolic)
}

/// Under `reshape: from -> to`, the shape `y` that broadcasts to `to` where `x`, of shape `of`, broadcasts to `from`:
/// `reshape(broadcast(x)) = broadcast(reshape(x))`. Axes fall into least groups of equal volume; in each group `x` must
/// be whole, or 1 throughout.
pub(super) fn through_reshape(of: &Shape, from: &Shape, to: &Shape) -> Option<Shape> {
    let of = padded(of, from.rank());
    let mut dims = Vec::with_capacity(to.rank());
    let (mut i, mut j) = (0, 0);
    while i < from.rank() || j < to.rank() {
        let (i0, j0) = (i, j);
        (i, j) = (i + 1, j + 1);
        // The last group takes what units are left on either side.
        loop {
            let a = volume(from.0.get(i0..i.min(from.rank()))?);
            let b = volume(to.0.get(j0..j.min(to.rank()))?);
            if a == b {
                break;
            }
            let left_lacks = a.1.is_none() && b.1.is_some();
            let right_lacks = b.1.is_none() && a.1.is_some();
            if left_lacks || (!right_lacks && a.0 < b.0) {
                i += 1;
            } else {
                j += 1;
            }
            if i > from.rank() || j > to.rank() {
                return None;
            }
        }
        (i, j) = (i.min(from.rank()), j.min(to.rank()));
        let group = || {
            of.0[i0..i]
                .iter()
                .zip(&from.0[i0..i])
                .filter(|(_, f)| **f != Dim::Fixed(1))
        };
        if group().all(|(x, f)| x == f) {
            dims.extend(&to.0[j0..j]);
        } else if group().all(|(x, _)| *x == Dim::Fixed(1)) {
            dims.extend(vec![Dim::Fixed(1); j - j0]);
        } else {
            return None;
        }
    }
    Some(Shape(dims))
}

/// The axis of `from` that a reshape keeps as axis `axis` of `to`: the same extent with the same volume before it.
pub(super) fn kept_axis(from: &Shape, to: &Shape, axis: usize) -> Option<usize> {
    let before = volume(&to.0[..axis]);
    (0..from.rank()).find(|i| from.0[*i] == to.0[axis] && volume(&from.0[..*i]) == before)
}

/// Where each axis of the operand goes under a permutation.
pub(super) fn inverse(perm: &[usize]) -> Vec<usize> {
    let mut inverse = vec![0; perm.len()];
    perm.iter().enumerate().for_each(|(to, from)| inverse[*from] = to);
    inverse
}
