//! What architectures have in common: sizes with bounds, named inputs and parameters, embeddings, towers.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::Fault;
use crate::ir::{Graph, REQUEST_OF_ROW, Unary, Value};
use crate::nn;
use crate::tensor::{DType, Dim, Shape};

/// Most fields, inputs or layers in a list.
const MAX_LIST: usize = 1024;

/// The extent of an axis. Bounds keep every product of a model's sizes far from overflow.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "u64")]
pub(super) struct Size<const MAX: usize>(pub(super) usize);

/// Neurons, embedding widths, positions.
pub(super) type Width = Size<65_536>;
/// Rows of a table.
pub(super) type Vocabulary = Size<{ 1 << 31 }>;

impl<const MAX: usize> TryFrom<u64> for Size<MAX> {
    type Error = String;

    fn try_from(n: u64) -> Result<Self, String> {
        match usize::try_from(n) {
            Ok(n) if (1..=MAX).contains(&n) => Ok(Self(n)),
            _ => Err(format!("{n} is not within 1..={MAX}")),
        }
    }
}

/// A list of bounded length.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Vec<T>", bound = "T: Deserialize<'de>")]
pub(super) struct List<T>(pub(super) Vec<T>);

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> TryFrom<Vec<T>> for List<T> {
    type Error = String;

    fn try_from(list: Vec<T>) -> Result<Self, String> {
        if list.len() <= MAX_LIST {
            Ok(Self(list))
        } else {
            Err(format!("{} items, at most {MAX_LIST} are read", list.len()))
        }
    }
}

/// A categorical feature: input `name`, i32, table `embedding.<name>.weight`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) vocabulary: Vocabulary,
    pub(super) width: Width,
    /// The feature belongs to the request, not to each candidate.
    #[serde(default)]
    pub(super) per_request: bool,
}

/// A numeric feature: input `name`, f32, used as it is.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Dense {
    pub(super) name: String,
    pub(super) width: Width,
    #[serde(default)]
    pub(super) per_request: bool,
}

/// What follows a hidden layer; `p` is the layer's prefix.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Activation {
    /// No parameters.
    #[default]
    Relu,
    /// `<p>.prelu.weight [1]`.
    Prelu,
    /// `<p>.dice.alpha`, `<p>.dice.running_mean`, `<p>.dice.running_var`, each as wide as the layer; eps 1e-9.
    Dice,
    /// No parameters.
    Silu,
    /// No parameters.
    Gelu,
    /// No parameters.
    Sigmoid,
    /// No parameters.
    Tanh,
}

/// A graph under construction and the names it has given away.
pub(super) struct Parts {
    pub(super) graph: Graph,
    taken: BTreeSet<String>,
    request_of_row: Option<Value>,
}

type Built = Result<Value, Fault>;

impl Parts {
    pub(super) fn new() -> Self {
        Self {
            graph: Graph::new(),
            taken: BTreeSet::new(),
            request_of_row: None,
        }
    }

    /// An input with these extents after the batch axis, seen per row whichever side it belongs to.
    pub(super) fn input(&mut self, name: &str, dtype: DType, extents: &[usize], per_request: bool) -> Built {
        let odd = name.is_empty() || name.len() > 256 || name.chars().any(char::is_control) || name == REQUEST_OF_ROW;
        if odd {
            return Err(Fault::Config(format!("{name:?} cannot name an input")));
        }
        if !self.taken.insert(name.to_owned()) {
            return Err(Fault::Config(format!("input `{name}` is defined twice")));
        }
        let batch = if per_request { Dim::Requests(1) } else { Dim::Rows(1) };
        let rest = extents.iter().map(|&n| Dim::Fixed(n));
        let shape = Shape(std::iter::once(batch).chain(rest).collect());
        let own = self.graph.input(name, dtype, shape)?;
        if !per_request {
            return Ok(own);
        }
        let index = match self.request_of_row {
            Some(index) => index,
            None => self
                .graph
                .input(REQUEST_OF_ROW, DType::I32, Shape(vec![Dim::Rows(1)]))?,
        };
        self.request_of_row = Some(index);
        Ok(self.graph.gather(own, index)?)
    }

    /// Rows of a field's table.
    pub(super) fn embedding(&mut self, field: &Field, ids: Value) -> Built {
        let name = format!("embedding.{}", field.name);
        self.scoped(&name, |p| {
            let table = p.param(&format!("{name}.weight"), &[field.vocabulary.0, field.width.0])?;
            Ok(p.graph.gather(table, ids)?)
        })
    }

    /// `<prefix>.weight [out, in]` and `<prefix>.bias [out]` applied to the last axis.
    pub(super) fn linear(&mut self, prefix: &str, x: Value, out: usize) -> Built {
        let width = self.width(x);
        self.scoped(prefix, |p| {
            let w = p.param(&format!("{prefix}.weight"), &[out, width])?;
            let b = p.param(&format!("{prefix}.bias"), &[out])?;
            Ok(nn::linear(&mut p.graph, x, w, Some(b))?)
        })
    }

    /// Layers `<prefix>.0`, `<prefix>.1`, ... of these widths, each followed by the activation.
    pub(super) fn tower(&mut self, prefix: &str, mut x: Value, widths: &[Width], activation: Activation) -> Built {
        for (i, out) in widths.iter().enumerate() {
            let layer = format!("{prefix}.{i}");
            x = self.linear(&layer, x, out.0)?;
            x = self.scoped(&layer, |p| p.activated(&layer, x, activation))?;
        }
        Ok(x)
    }

    fn activated(&mut self, prefix: &str, x: Value, activation: Activation) -> Built {
        let width = self.width(x);
        Ok(match activation {
            Activation::Relu => nn::relu(&mut self.graph, x)?,
            Activation::Silu => nn::silu(&mut self.graph, x)?,
            Activation::Gelu => nn::gelu(&mut self.graph, x)?,
            Activation::Sigmoid => self.graph.unary(Unary::Sigmoid, x)?,
            Activation::Tanh => self.graph.unary(Unary::Tanh, x)?,
            Activation::Prelu => {
                let alpha = self.param(&format!("{prefix}.prelu.weight"), &[1])?;
                nn::prelu(&mut self.graph, x, alpha)?
            }
            Activation::Dice => {
                let mut own = |name: &str| self.param(&format!("{prefix}.dice.{name}"), &[width]);
                let (alpha, mean, var) = (own("alpha")?, own("running_mean")?, own("running_var")?);
                nn::dice(&mut self.graph, x, alpha, mean, var, 1e-9)?
            }
        })
    }

    /// Outputs `prob [rows]`, `logit [rows]` and `hidden [rows, H]`; the last layer is `out`.
    pub(super) fn finish(mut self, hidden: Value) -> Result<Graph, Fault> {
        let logit = self.linear("out", hidden, 1)?;
        let logit = self.graph.reshape(logit, &Shape(vec![Dim::Rows(1)]))?;
        let prob = self.graph.unary(Unary::Sigmoid, logit)?;
        let named = [("prob", prob), ("logit", logit), ("hidden", hidden)];
        self.graph.outputs = named.map(|(name, v)| (name.to_owned(), v)).to_vec();
        Ok(self.graph)
    }

    pub(super) fn param(&mut self, name: &str, extents: &[usize]) -> Built {
        Ok(self.graph.param(name, extents)?)
    }

    /// Values side by side; there must be one.
    pub(super) fn beside(&mut self, parts: &[Value]) -> Built {
        if parts.is_empty() {
            return Err(Fault::Config("the model has no inputs".into()));
        }
        Ok(nn::beside(&mut self.graph, parts)?)
    }

    /// Extent of the last axis.
    pub(super) fn width(&self, x: Value) -> usize {
        self.graph.shape(x).0.last().map_or(0, |d| d.factor())
    }

    pub(super) fn scoped<T>(&mut self, scope: &str, inside: impl FnOnce(&mut Self) -> T) -> T {
        let former = self.graph.enter(scope);
        let result = inside(self);
        self.graph.leave(former);
        result
    }
}
