//! The graph: an append-only, hash-consed arena of typed nodes.

use std::collections::HashMap;
use std::fmt;

use super::infer::{TypeError, infer};
use super::op::{Op, Scalar};
use crate::tensor::{DType, Shape};

/// The reserved input `i32[rows]` that names each row's request.
pub const REQUEST_OF_ROW: &str = "request_of_row";

/// Element type and shape of a value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TensorType {
    /// Element type.
    pub dtype: DType,
    /// Extents.
    pub shape: Shape,
}

impl TensorType {
    /// A type.
    #[must_use]
    pub fn new(dtype: DType, shape: Shape) -> Self {
        Self { dtype, shape }
    }
}

impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.dtype, self.shape)
    }
}

/// Handle of a node; ids ascend in topological order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Value(pub(crate) u32);

impl Value {
    /// Position in the graph.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "%{}", self.0)
    }
}

/// Handle of a scope: the dotted path of the module that a node came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ScopeId(u32);

/// One operation applied to earlier values.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What is computed.
    pub op: Op,
    /// From what.
    pub args: Vec<Value>,
    /// The result's type.
    pub ty: TensorType,
    /// Where in the model it came from.
    pub scope: ScopeId,
}

/// A typed tensor program. Equal nodes are one node, so common subexpressions never exist.
#[derive(Clone, Debug)]
pub struct Graph {
    nodes: Vec<Node>,
    known: HashMap<(Op, Vec<Value>, TensorType), Value>,
    scopes: Vec<String>,
    scope: ScopeId,
    /// Named results in the order the model declares them.
    pub outputs: Vec<(String, Value)>,
}

impl Graph {
    /// An empty graph.
    #[must_use]
    pub fn new() -> Self {
        Self {
            nodes: Vec::new(),
            known: HashMap::new(),
            // The scope of nodes that came from nowhere in particular.
            scopes: vec![String::new()],
            scope: ScopeId::default(),
            outputs: Vec::new(),
        }
    }

    /// Number of nodes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is no node.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The node behind a handle.
    #[must_use]
    pub fn node(&self, v: Value) -> &Node {
        &self.nodes[v.index()]
    }

    /// The operation of a value.
    #[must_use]
    pub fn op(&self, v: Value) -> &Op {
        &self.node(v).op
    }

    /// The operands of a value.
    #[must_use]
    pub fn args(&self, v: Value) -> &[Value] {
        &self.node(v).args
    }

    /// The type of a value.
    #[must_use]
    pub fn ty(&self, v: Value) -> &TensorType {
        &self.node(v).ty
    }

    /// The shape of a value.
    #[must_use]
    pub fn shape(&self, v: Value) -> &Shape {
        &self.node(v).ty.shape
    }

    /// The module path of a value; empty when unknown.
    #[must_use]
    pub fn scope_of(&self, v: Value) -> &str {
        &self.scopes[self.node(v).scope.0 as usize]
    }

    /// All nodes, operands before their users.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (Value, &Node)> + ExactSizeIterator {
        self.nodes.iter().enumerate().map(|(i, n)| (handle(i), n))
    }

    /// Sets the module path given to nodes appended from now on; returns the former one.
    pub fn enter(&mut self, scope: &str) -> ScopeId {
        let id = match self.scopes.iter().rposition(|s| s == scope) {
            Some(i) => handle(i).0,
            None => {
                self.scopes.push(scope.to_owned());
                handle(self.scopes.len() - 1).0
            }
        };
        std::mem::replace(&mut self.scope, ScopeId(id))
    }

    /// Restores a scope that [`Graph::enter`] returned.
    pub fn leave(&mut self, scope: ScopeId) {
        self.scope = scope;
    }

    /// Appends an operation whose result type follows from its operands.
    ///
    /// # Errors
    /// [`TypeError`] when the operands do not fit the operation.
    pub fn apply(&mut self, op: Op, args: &[Value]) -> Result<Value, TypeError> {
        self.push(op, args, None)
    }

    /// Appends an operation whose result type is part of it: leaves, `cast`, `broadcast`, `reshape`, `uniform`,
    /// `scatter_add`.
    ///
    /// # Errors
    /// [`TypeError`] when the declared type does not fit.
    pub fn declare(&mut self, op: Op, args: &[Value], ty: TensorType) -> Result<Value, TypeError> {
        self.push(op, args, Some(ty))
    }

    fn push(&mut self, op: Op, args: &[Value], declared: Option<TensorType>) -> Result<Value, TypeError> {
        let types: Vec<&TensorType> = args.iter().map(|a| self.ty(*a)).collect();
        let ty = infer(&op, &types, declared.as_ref())?;
        let key = (op, args.to_vec(), ty);
        if let Some(v) = self.known.get(&key) {
            return Ok(*v);
        }
        let v = handle(self.nodes.len());
        let (op, args, ty) = key.clone();
        self.nodes.push(Node {
            op,
            args,
            ty,
            scope: self.scope,
        });
        self.known.insert(key, v);
        Ok(v)
    }

    /// The named inputs in order of definition.
    pub fn inputs(&self) -> impl Iterator<Item = (Value, &str, &TensorType)> {
        self.iter().filter_map(|(v, n)| match &n.op {
            Op::Input(name) => Some((v, name.as_str(), &n.ty)),
            _ => None,
        })
    }

    /// The named parameters in order of definition.
    pub fn params(&self) -> impl Iterator<Item = (Value, &str, &TensorType)> {
        self.iter().filter_map(|(v, n)| match &n.op {
            Op::Param(name) => Some((v, name.as_str(), &n.ty)),
            _ => None,
        })
    }

    /// The scalar of a constant node.
    #[must_use]
    pub fn constant(&self, v: Value) -> Option<Scalar> {
        if let Op::Const(c) = self.op(v) { Some(*c) } else { None }
    }

    /// For each node, the nodes that read it, each once, ascending.
    #[must_use]
    pub fn users(&self) -> Vec<Vec<Value>> {
        let mut users = vec![Vec::new(); self.len()];
        for (v, n) in self.iter() {
            for a in &n.args {
                let list: &mut Vec<Value> = &mut users[a.index()];
                if list.last() != Some(&v) {
                    list.push(v);
                }
            }
        }
        users
    }

    /// Which nodes some output depends on.
    #[must_use]
    pub fn live(&self) -> Vec<bool> {
        let mut live = vec![false; self.len()];
        for (_, v) in &self.outputs {
            live[v.index()] = true;
        }
        for (v, n) in self.iter().rev() {
            if live[v.index()] {
                for a in &n.args {
                    live[a.index()] = true;
                }
            }
        }
        live
    }
}

impl Default for Graph {
    fn default() -> Self {
        Self::new()
    }
}

impl PartialEq for Graph {
    /// Same nodes under the same ids with the same module paths, and the same outputs.
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len()
            && self.outputs == other.outputs
            && self.iter().zip(other.iter()).all(|((v, a), (_, b))| {
                a.op == b.op && a.args == b.args && a.ty == b.ty && self.scope_of(v) == other.scope_of(v)
            })
    }
}

fn handle(index: usize) -> Value {
    Value(u32::try_from(index).expect("a graph has fewer than 2^32 nodes"))
}
