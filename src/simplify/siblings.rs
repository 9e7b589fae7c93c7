//! Sibling products become one: `x W_1, .., x W_n` are slices of `x [W_1 .. W_n]`, and what follows them alike follows
//! once.
//!
//! `n` values of one type are the *lanes* of a pack; their *stack* has them along a new first axis. With
//! `stack(v) = [v_1, .., v_n]`,
//! - `stack(x W_i) = x [W_1 .. W_n]`, its columns as `n` times as many;
//! - `stack(f(v_i, u_i)) = f(stack(v), stack(u))` for pointwise ops, views and folds;
//! - `stack(v_i W_i) = stack(v) stack(W)`, one batched product;
//! - `concat(v_1, .., v_n)` is a view of the stack.
//!
//! So a mixture of experts, each a chain of small products, is one chain, and a device compiles one loop where it would
//! compile `n`. [`find`] begins packs at products that share their left operand and follows their readers for as long
//! as every lane has one alike; [`super::stack`] writes the stacks.
//!
//! Only small products: a large one fills a device, or a dispatch, by itself. Only where no lane loses the arithmetic
//! that it finishes with: that would be a step of its own. Operations stay the same, each sum in its order: exact.

use std::collections::{BTreeSet, HashMap};

use indexmap::{IndexMap, IndexSet};

use super::affine::product;
use super::edit::{constant, constant_under, live, rewrite};
use super::{Fault, Weights, stack};
use crate::ir::{Graph, Op, TensorType, Value};
use crate::tensor::{Shape, Sizes};

/// Elements of a weight up to which a product is small.
const SMALL: usize = 1 << 14;

pub(super) fn run(g: &Graph, _: &mut Weights<'_>) -> Result<Graph, Fault> {
    let packs = find(g);
    if packs.lanes.is_empty() {
        return Ok(g.clone());
    }
    let mut stacks = vec![None; packs.lanes.len()];
    let g = rewrite(g, |e, v| stack::replace(e, &packs, &mut stacks, v))?;
    Ok(live(&g)?)
}

/// Values that are computed alike.
#[derive(Default)]
pub(super) struct Packs {
    /// The lanes of each pack. A lane reads the same lane of other packs, values that all lanes share, and constants; so
    /// no lane depends on another lane, and an order of values is an order of packs.
    pub(super) lanes: Vec<Vec<Value>>,
    /// The pack and lane of a value.
    pub(super) of: HashMap<Value, (usize, usize)>,
}

/// What the lanes of a pack read at one place.
pub(super) enum Operand<'a> {
    /// Lanes of another pack.
    Pack(usize),
    /// One value.
    Shared(Value),
    /// Constants of one shape, repeated or not.
    Constants(Vec<Value>, &'a Shape),
}

impl Packs {
    /// What the lanes read as operand `i`.
    pub(super) fn operand<'a>(&self, g: &'a Graph, lanes: &[Value], i: usize) -> Option<Operand<'a>> {
        let args: Vec<Value> = lanes.iter().map(|v| g.args(*v)[i]).collect();
        if let Some((pack, 0)) = self.of.get(&args[0])
            && self.lanes[*pack] == args
        {
            return Some(Operand::Pack(*pack));
        }
        if args.iter().all(|a| *a == args[0]) {
            return Some(Operand::Shared(args[0]));
        }
        let constants = args.iter().map(|a| constant_under(g, *a)).collect::<Option<Vec<_>>>()?;
        let shape = g.shape(constants[0]);
        let alike = constants.iter().all(|c| g.shape(*c) == shape);
        alike.then_some(Operand::Constants(constants, shape))
    }

    fn add(&mut self, lanes: Vec<Value>) {
        let pack = self.lanes.len();
        self.of.extend(lanes.iter().enumerate().map(|(i, v)| (*v, (pack, i))));
        self.lanes.push(lanes);
    }
}

/// All packs of a graph, each after those that it reads.
fn find(g: &Graph) -> Packs {
    let readers = Readers::of(g);
    let seeds = seeds(g, &readers);
    let mut apart = BTreeSet::new();
    loop {
        let mut packs = Packs::default();
        let whole = |lanes: &&Vec<Value>| lanes.iter().all(|v| !apart.contains(v));
        seeds.iter().filter(whole).for_each(|lanes| packs.add(lanes.clone()));
        let mut next = 0;
        while next < packs.lanes.len() {
            follow(g, &readers, &apart, &mut packs, next);
            next += 1;
        }
        let torn = torn(g, &readers, &packs);
        if torn.is_empty() {
            return packs;
        }
        apart.extend(torn);
    }
}

/// Who reads what.
struct Readers {
    users: Vec<Vec<Value>>,
    outputs: BTreeSet<Value>,
}

impl Readers {
    fn of(g: &Graph) -> Self {
        let live = g.live();
        let mut users = g.users();
        users.iter_mut().for_each(|u| u.retain(|v| live[v.index()]));
        // What nothing reads has no readers to follow.
        users
            .iter_mut()
            .zip(&live)
            .filter(|(_, live)| !**live)
            .for_each(|(u, _)| u.clear());
        Self {
            users,
            outputs: g.outputs.iter().map(|(_, v)| *v).collect(),
        }
    }

    fn of_value(&self, v: Value) -> &[Value] {
        &self.users[v.index()]
    }
}

/// Small products of one value by weights of one shape with the same fate.
fn seeds(g: &Graph, readers: &Readers) -> Vec<Vec<Value>> {
    let fates = fates(g, readers);
    let mut alike: IndexMap<(Value, &Shape, usize), Vec<Value>> = IndexMap::new();
    for (v, _) in g.iter() {
        if let Some((a, w)) = product(g, v)
            && g.shape(w).numel(Sizes::ONE) <= SMALL
            && !readers.of_value(v).is_empty()
            && !readers.outputs.contains(&v)
        {
            alike.entry((a, g.shape(w), fates[v.index()])).or_default().push(v);
        }
    }
    alike.into_values().filter(|lanes| lanes.len() > 1).collect()
}

/// For each value a number that is the same for values whose readers, up to anchors and concatenations, are alike.
fn fates(g: &Graph, readers: &Readers) -> Vec<usize> {
    type Fate<'a> = Vec<(&'a Op, &'a TensorType, Vec<usize>, usize)>;
    let mut known: IndexSet<Fate<'_>> = IndexSet::new();
    let mut fates = vec![0; g.len()];
    for (v, _) in g.iter().rev() {
        let fate = |u: &Value| {
            let places = (0..g.args(*u).len()).filter(|i| g.args(*u)[*i] == v);
            let (places, then) = match g.op(*u) {
                Op::Concat(_) => (Vec::new(), 0),
                op if op.is_anchor() => (places.collect(), 0),
                _ => (places.collect(), fates[u.index()]),
            };
            (g.op(*u), g.ty(*u), places, then)
        };
        let fate = readers.of_value(v).iter().map(fate).collect();
        fates[v.index()] = known.insert_full(fate).0;
    }
    fates
}

/// Adds the packs of readers that every lane of a pack has, but of none that shall stay apart.
fn follow(g: &Graph, readers: &Readers, apart: &BTreeSet<Value>, packs: &mut Packs, pack: usize) {
    let lanes = packs.lanes[pack].clone();
    for first in readers.of_value(lanes[0]) {
        let mut alike = vec![*first];
        for lane in &lanes[1..] {
            let fits = |u: &&Value| g.op(**u) == g.op(*first) && g.ty(**u) == g.ty(*first) && !alike.contains(u);
            let reader = readers.of_value(*lane).iter().filter(fits).find(|u| {
                let pair = [*first, **u];
                (0..g.args(*first).len()).all(|i| paired(g, packs, pair, i, [lanes[0], *lane]))
            });
            alike.extend(reader);
        }
        let new = |v: &Value| !packs.of.contains_key(v) && !readers.outputs.contains(v) && !apart.contains(v);
        if alike.len() == lanes.len() && alike.iter().all(new) && stackable(g, packs, &alike) {
            packs.add(alike);
        }
    }
}

/// Whether operand `i` of two values is alike, where the one reads `lanes[0]` and the other `lanes[1]`.
fn paired(g: &Graph, packs: &Packs, values: [Value; 2], i: usize, lanes: [Value; 2]) -> bool {
    let [x, y] = values.map(|v| g.args(v)[i]);
    let same_pack = || match (packs.of.get(&x), packs.of.get(&y)) {
        (Some((p, 0)), Some((q, lane))) => p == q && packs.of.get(&lanes[1]).is_some_and(|(_, l)| l == lane),
        _ => false,
    };
    let constants = || constant_under(g, x).is_some() && constant_under(g, y).is_some();
    x == y || same_pack() || constants()
}

/// Whether values make a pack: of one op that has a form for stacks, with operands that have.
fn stackable(g: &Graph, packs: &Packs, lanes: &[Value]) -> bool {
    let operands = (0..g.args(lanes[0]).len()).map(|i| packs.operand(g, lanes, i));
    let Some(operands) = operands.collect::<Option<Vec<_>>>() else {
        return false;
    };
    match (g.op(lanes[0]), &operands[..]) {
        (Op::MatMul, [Operand::Pack(_), Operand::Pack(_)]) => true,
        (Op::MatMul, [Operand::Pack(_), Operand::Shared(w)]) => constant(g, *w) && g.shape(*w).rank() == 2,
        (Op::MatMul, [Operand::Pack(_), Operand::Constants(w, shape)]) => {
            let whole = w.iter().zip(lanes).all(|(w, v)| g.args(*v)[1] == *w);
            whole && shape.rank() == 2 && shape.numel(Sizes::ONE) <= SMALL
        }
        (Op::Unary(_) | Op::Binary(_) | Op::Select | Op::Cast | Op::Reduce(..) | Op::CumSum(_), _) => true,
        (Op::Broadcast | Op::Reshape | Op::Permute(_) | Op::Slice { .. } | Op::Concat(_), _) => true,
        _ => false,
    }
}

/// Lanes that would lose arithmetic which they finish with, as it is not packed, back to the anchor that it belongs to.
fn torn(g: &Graph, readers: &Readers, packs: &Packs) -> BTreeSet<Value> {
    let mut torn: BTreeSet<Value> = BTreeSet::new();
    for lanes in packs.lanes.iter().rev() {
        let loses = |u: &Value| match g.op(*u) {
            Op::Unary(_) | Op::Binary(_) | Op::Select | Op::Cast => !packs.of.contains_key(u) || torn.contains(u),
            op => !op.is_anchor() && torn.contains(u),
        };
        if lanes.iter().any(|v| readers.of_value(*v).iter().any(loses)) {
            torn.extend(lanes);
        }
    }
    torn
}
