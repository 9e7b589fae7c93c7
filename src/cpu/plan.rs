//! What is decided once per graph: the stage of every value, what passes from stage to stage, which pointwise
//! operations form a chain.

use super::error::Error;
use super::view::{Buffer, View};
use crate::ir::rows::{RowSpace, analyse, is_crossing};
use crate::ir::{Graph, Node, Op, Value};
use crate::tensor::{Dim, Sizes};

/// When a value is computed, and for how many rows at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Stage {
    /// Once, when the executor is made.
    Constant,
    /// Once per batch: what inputs of fixed extents reach.
    Batch,
    /// For a block of requests.
    Requests,
    /// For a block of rows.
    Rows,
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

/// Memory that programs read: `unit` words for each row or request of `stage`, or for the whole batch.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) source: Source,
    pub(super) unit: usize,
    pub(super) per: Option<Stage>,
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

/// A graph prepared for lowering.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) graph: Graph,
    /// `None` for values that no output needs.
    pub(super) stages: Vec<Option<Stage>>,
    /// For pointwise operations, the last of their chain.
    pub(super) chains: Vec<Option<Value>>,
    pub(super) slots: Vec<Slot>,
    pub(super) given: Vec<Option<Given>>,
}

impl Plan {
    pub(super) fn new(graph: &Graph) -> Result<Self, Error> {
        let infos = analyse(graph)?;
        let live = graph.live();
        if let Some((node, n)) = graph.iter().find(|(v, n)| live[v.index()] && !is_executed(n)) {
            return Err(Error::Unsupported {
                node,
                op: n.op.name(),
                scope: graph.scope_of(node).to_owned(),
            });
        }
        let mut stages: Vec<Option<Stage>> = vec![None; graph.len()];
        for (v, n) in graph.iter().filter(|(v, _)| live[v.index()]) {
            stages[v.index()] = Some(match n.ty.shape.symbolic() {
                Some((_, Dim::Rows(_))) => Stage::Rows,
                Some((_, Dim::Requests(_))) => Stage::Requests,
                Some((_, Dim::Fixed(_))) | None => match &n.op {
                    Op::Input(_) => Stage::Batch,
                    _ => {
                        let last = n.args.iter().filter_map(|a| stages[a.index()]).max();
                        last.unwrap_or(Stage::Constant)
                    }
                },
            });
        }
        debug_assert!(infos.iter().all(|i| i.space == RowSpace::Const || i.axis.is_some()));
        let mut plan = Self {
            graph: graph.clone(),
            stages,
            chains: vec![None; graph.len()],
            slots: Vec::new(),
            given: vec![None; graph.len()],
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

    /// Lets go of weights that only the constant stage has read.
    pub(super) fn forget_folded(&mut self) {
        let mut read = vec![false; self.slots.len()];
        let read_later = |v: &Value| self.stages[v.index()] > Some(Stage::Constant);
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

    /// A new slot for a value, of a unit for each row or request, or of all its words.
    pub(super) fn add_slot(&mut self, v: Value, source: Source) -> usize {
        let shape = self.graph.shape(v);
        self.slots.push(Slot {
            source,
            unit: shape.numel(Sizes::ONE),
            per: match shape.symbolic() {
                Some((_, Dim::Rows(_))) => Some(Stage::Rows),
                Some((_, Dim::Requests(_))) => Some(Stage::Requests),
                Some((_, Dim::Fixed(_))) | None => None,
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

/// Whether an operation computes an element from the elements at the same index.
/// Whether the executor has the operation: not those that only training needs, nor a GRU with attention.
fn is_executed(n: &Node) -> bool {
    match n.op {
        Op::Uniform(_) | Op::ScatterAdd(_) | Op::GruGrad => false,
        Op::Gru => n.args.len() == 4,
        _ => true,
    }
}

pub(super) fn is_pointwise(op: &Op) -> bool {
    matches!(op, Op::Unary(_) | Op::Binary(_) | Op::Select | Op::Cast)
}
