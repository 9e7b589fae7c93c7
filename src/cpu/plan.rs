//! What is decided once per graph: the stage of every value, what passes from stage to stage, which pointwise
//! operations form a chain.

use super::error::Error;
use super::view::{Buffer, View};
use crate::ir::rows::{is_crossing, sums};
use crate::ir::{Graph, Node, Op, Value};
use crate::tensor::{Dim, Shape, Sizes};

/// For what a value is computed at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Unit {
    /// Once, when the executor is made.
    Executor,
    /// Once per batch: what inputs of fixed extents and sums over rows reach.
    Batch,
    /// For a block of requests.
    Requests,
    /// For a block of rows.
    Rows,
}

/// When a value is computed: stages run in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Stage {
    /// How many sums over rows, one after the other, a value waits for.
    pub(super) phase: usize,
    pub(super) unit: Unit,
}

impl Stage {
    /// What depends on weights alone.
    pub(super) const CONSTANT: Self = Self {
        phase: 0,
        unit: Unit::Executor,
    };
}

/// How the rows of a block are spread over requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Crossing {
    /// All belong to one.
    One,
    /// Each belongs to the one after its predecessor's.
    Consecutive,
    /// Any other way: request values are copied row by row.
    Any,
}

/// Memory that programs read: `words` for each row or request, or for the whole batch.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) source: Source,
    pub(super) words: usize,
    pub(super) per: Unit,
}

/// Where the words of a slot come from.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// Computed or copied when the executor is made.
    Constant(Vec<u32>),
    /// An input of the batch.
    Input(String),
    /// A result of a stage of the same run.
    Result,
}

/// How later stages find a value.
#[derive(Clone, Debug)]
pub(super) enum Given {
    /// At a place that is the same for every block.
    Fixed(View),
    /// Row by row (or request by request) in this slot.
    PerUnit(usize),
}

/// The axes of a value, the symbolic one first: how later stages find it, so that a block's rows lie together.
pub(super) fn rows_first(shape: &Shape) -> Vec<usize> {
    let axis = shape.symbolic().map_or(0, |(axis, _)| axis);
    let others = (0..shape.rank()).filter(|a| *a != axis);
    std::iter::once(axis)
        .filter(|_| shape.rank() > 0)
        .chain(others)
        .collect()
}

/// A value that a stage computes for others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) value: Value,
    /// By a later stage, which finds its rows together; else as an output, in its own order.
    pub(super) later: bool,
}

/// A graph prepared for lowering.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) graph: Graph,
    /// Which values sum over rows.
    pub(super) sums: Vec<bool>,
    /// `None` for values that no output needs.
    pub(super) stages: Vec<Option<Stage>>,
    /// For pointwise operations, the last of their chain.
    pub(super) chains: Vec<Option<Value>>,
    pub(super) slots: Vec<Slot>,
    pub(super) given: Vec<Option<Given>>,
    /// Constant matrices that lie in panels ([`super::panels`]).
    pub(super) panels: Vec<bool>,
}

impl Plan {
    pub(super) fn new(graph: &Graph) -> Result<Self, Error> {
        let sums = sums(graph)?;
        let live = graph.live();
        let mut stages: Vec<Option<Stage>> = vec![None; graph.len()];
        for (v, n) in graph.iter().filter(|(v, _)| live[v.index()]) {
            // A sum over rows is computed block by block, and there once the last block is.
            let there = |a: &Value| {
                let stage = stages[a.index()]?;
                let batch = Stage {
                    phase: stage.phase + 1,
                    unit: Unit::Batch,
                };
                let is_summed = sums[a.index()] && stage.unit > Unit::Batch;
                Some(if is_summed { batch } else { stage })
            };
            let after = n.args.iter().filter_map(there).max().unwrap_or(Stage::CONSTANT);
            stages[v.index()] = Some(match n.ty.shape.symbolic() {
                Some((_, Dim::Rows(_))) => Stage {
                    unit: Unit::Rows,
                    ..after
                },
                Some((_, Dim::Requests(_))) => Stage {
                    unit: Unit::Requests,
                    ..after
                },
                _ if sums[v.index()] && waits_for_all(graph, n) => Stage {
                    phase: after.phase + 1,
                    unit: Unit::Batch,
                },
                Some((_, Dim::Fixed(_))) | None if matches!(n.op, Op::Input(_)) => Stage {
                    unit: Unit::Batch,
                    ..after
                },
                Some((_, Dim::Fixed(_))) | None => after,
            });
        }
        let mut plan = Self {
            graph: graph.clone(),
            sums,
            stages,
            chains: vec![None; graph.len()],
            slots: Vec::new(),
            given: vec![None; graph.len()],
            panels: vec![false; graph.len()],
        };
        plan.find_chains();
        Ok(plan)
    }

    /// Values of a stage that later stages or the outputs read, leaves aside.
    pub(super) fn handed_on(&self, stage: Stage) -> Vec<Value> {
        let mut wanted = vec![false; self.graph.len()];
        for (v, n) in self.nodes() {
            for a in &n.args {
                wanted[a.index()] |= self.stages[v.index()] > self.stages[a.index()];
            }
        }
        let of_stage = self
            .nodes()
            .filter(|(v, n)| wanted[v.index()] && self.stages[v.index()] == Some(stage) && !n.op.is_leaf());
        of_stage.map(|(v, _)| v).collect()
    }

    /// Whether a value is the second operand of a product.
    pub(super) fn is_multiplied_by(&self, v: Value) -> bool {
        self.nodes().any(|(_, n)| n.op == Op::MatMul && n.args[1] == v)
    }

    /// Whether a constant is a matrix that batches read as the second operand of products, and no other way.
    pub(super) fn is_multiplied_by_alone(&self, v: Value) -> bool {
        let is_read = |n: &Node| n.args.contains(&v);
        let multiplied = |n: &Node| n.op == Op::MatMul && n.args[1] == v && n.args[0] != v;
        let later = |(r, n): &(Value, &Node)| self.stages[r.index()] > Some(Stage::CONSTANT) && is_read(n);
        self.graph.shape(v).rank() == 2
            && self.is_multiplied_by(v)
            && self.nodes().filter(later).all(|(_, n)| multiplied(n))
            && self.graph.outputs.iter().all(|(_, output)| *output != v)
    }

    /// Lets go of weights that only the constant stage has read.
    pub(super) fn forget_folded(&mut self) {
        let mut read = vec![false; self.slots.len()];
        let read_later = |v: &Value| self.stages[v.index()] > Some(Stage::CONSTANT);
        let operands = self.nodes().filter(|(v, _)| read_later(v)).flat_map(|(_, n)| &n.args);
        for v in operands.chain(self.graph.outputs.iter().map(|(_, v)| v)) {
            if let Some(Given::Fixed(View {
                buffer: Buffer::Slot(slot),
                ..
            })) = &self.given[v.index()]
            {
                read[*slot] = true;
            }
        }
        for (slot, read) in self.slots.iter_mut().zip(read) {
            if let (Source::Constant(words), false) = (&mut slot.source, read) {
                *words = Vec::new();
            }
        }
    }

    /// Outputs computed in a stage: number and value.
    pub(super) fn outputs(&self, stage: Stage) -> Vec<(usize, Value)> {
        let outputs = self.graph.outputs.iter().enumerate().map(|(i, (_, v))| (i, *v));
        outputs.filter(|(_, v)| self.stages[v.index()] == Some(stage)).collect()
    }

    /// Live nodes, operands first.
    pub(super) fn nodes(&self) -> impl DoubleEndedIterator<Item = (Value, &Node)> {
        self.graph.iter().filter(|(v, _)| self.stages[v.index()].is_some())
    }

    /// Whether a value is added up block by block.
    pub(super) fn is_added_up(&self, v: Value) -> bool {
        let in_blocks = |stage: Stage| stage.unit > Unit::Batch;
        self.sums[v.index()] && self.stages[v.index()].is_some_and(in_blocks)
    }

    /// The stages that have anything to compute per batch, in order.
    pub(super) fn batch_stages(&self) -> Vec<Stage> {
        let mut stages: Vec<Stage> = self.stages.iter().flatten().copied().collect();
        stages.sort_unstable();
        stages.dedup();
        stages.retain(|s| *s != Stage::CONSTANT);
        stages
    }

    /// A new slot for a value, of some words for each row or request, or of all its words.
    pub(super) fn add_slot(&mut self, v: Value, source: Source) -> usize {
        let shape = self.graph.shape(v);
        self.slots.push(Slot {
            source,
            words: shape.numel(Sizes::ONE),
            per: match shape.symbolic() {
                Some((_, Dim::Rows(_))) => Unit::Rows,
                Some((_, Dim::Requests(_))) => Unit::Requests,
                Some((_, Dim::Fixed(_))) | None => Unit::Batch,
            },
        });
        self.slots.len() - 1
    }

    /// A pointwise operation joins the chain of its readers if all are in one chain; else it ends a chain of its own.
    fn find_chains(&mut self) {
        let mut readers: Vec<Vec<Value>> = vec![Vec::new(); self.graph.len()];
        for (v, n) in self.nodes() {
            n.args.iter().for_each(|a| readers[a.index()].push(v));
        }
        let outputs: Vec<Value> = self.graph.outputs.iter().map(|(_, v)| *v).collect();
        for (v, n) in self.graph.iter().rev() {
            if !is_pointwise(&n.op) {
                continue;
            }
            // Readers have the same shape, hence the same stage, except constants, which batches may read.
            let same_stage = |r: &Value| self.stages[r.index()] == self.stages[v.index()];
            let chain = |r: &Value| self.chains[r.index()].filter(|_| same_stage(r));
            let readers = &readers[v.index()];
            let first = readers.first().and_then(chain).filter(|_| !outputs.contains(&v));
            let joins = first.is_some() && readers.iter().all(|r| chain(r) == first);
            self.chains[v.index()] = Some(first.filter(|_| joins).unwrap_or(v));
        }
    }

    /// Whether a node is the step from requests to rows.
    pub(super) fn crosses(&self, n: &Node) -> bool {
        is_crossing(&self.graph, n)
    }
}

/// Whether a sum over rows is better made once all rows are there than block by block.
fn waits_for_all(graph: &Graph, n: &Node) -> bool {
    match &n.op {
        // Blocks would each bring a whole table.
        Op::ScatterAdd(_) => true,
        // A block adds `m n` words; kept for later, a row's operands are `f (m + n)`.
        Op::MatMul => {
            let [.., m, Dim::Rows(f) | Dim::Requests(f)] = graph.shape(n.args[0]).0[..] else {
                return false;
            };
            let columns = n.ty.shape.0.last().map_or(1, |d| d.factor());
            f * (m.factor() + columns) * ROWS_OF_A_BLOCK < m.factor() * columns
        }
        _ => false,
    }
}

/// Roughly, where a step trains.
const ROWS_OF_A_BLOCK: usize = 8;

/// Whether an operation computes an element from the elements at the same index.
pub(super) fn is_pointwise(op: &Op) -> bool {
    matches!(op, Op::Unary(_) | Op::Binary(_) | Op::Select | Op::Cast)
}
