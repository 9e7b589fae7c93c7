//! A model in the making: its graph, and the names of inputs, parameters and hidden layers that it has given away.

use std::collections::BTreeSet;

use indexmap::IndexMap;
use indexmap::map::Entry;

use super::init::{Init, Parameter};
use super::sections::Field;
use super::{Fault, Mode};
use crate::ir::{Graph, REQUEST_OF_ROW, Value};
use crate::nn;
use crate::tensor::{DType, Dim, Shape};

/// A graph under construction.
pub(super) struct Parts {
    pub(super) graph: Graph,
    pub(super) mode: Mode,
    pub(super) parameters: IndexMap<String, Parameter>,
    /// Layers that may become outputs.
    pub(super) hidden: Vec<(String, Value)>,
    /// New values of statistics.
    pub(super) next: Vec<(String, Value)>,
    /// Dropouts so far.
    streams: u32,
    taken: BTreeSet<String>,
    request_of_row: Option<Value>,
}

pub(super) type Built = Result<Value, Fault>;

impl Parts {
    pub(super) fn new(mode: Mode) -> Self {
        Self {
            graph: Graph::new(),
            mode,
            parameters: IndexMap::new(),
            hidden: Vec::new(),
            next: Vec::new(),
            streams: 0,
            taken: BTreeSet::new(),
            request_of_row: None,
        }
    }

    pub(super) fn training(&self) -> bool {
        self.mode == Mode::Train
    }

    /// An input with these extents after the batch axis, seen per row whichever side it belongs to. In training every row
    /// brings its own.
    pub(super) fn input(&mut self, name: &str, dtype: DType, extents: &[usize], per_request: bool) -> Built {
        let odd = name.is_empty()
            || name.len() > 256
            || name.chars().any(char::is_control)
            || name.starts_with("step.")
            || name == REQUEST_OF_ROW;
        if odd {
            return Err(Fault::Config(format!("{name:?} cannot name an input")));
        }
        if !self.taken.insert(name.to_owned()) {
            return Err(Fault::Config(format!("input `{name}` is defined twice")));
        }
        let per_request = per_request && !self.training();
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

    /// A scalar of the training step.
    pub(super) fn scalar(&mut self, name: &str, dtype: DType) -> Built {
        Ok(self.graph.input(name, dtype, Shape(Vec::new()))?)
    }

    /// A stream of random numbers that no other dropout of this model draws from.
    pub(super) fn stream(&mut self) -> u32 {
        self.streams += 1;
        self.streams - 1
    }

    /// A trained parameter; the same one where the name is known already.
    pub(super) fn param(&mut self, name: &str, extents: &[usize], init: Init) -> Built {
        self.declare(name, extents, init, true)?;
        Ok(self.graph.param(name, extents)?)
    }

    /// A statistic: a parameter that batches change, not gradients.
    pub(super) fn statistic(&mut self, name: &str, extents: &[usize], init: Init) -> Built {
        self.declare(name, extents, init, false)?;
        Ok(self.graph.param(name, extents)?)
    }

    /// Makes a parameter known without using it.
    pub(super) fn declare(&mut self, name: &str, extents: &[usize], init: Init, trained: bool) -> Result<(), Fault> {
        let made = Parameter {
            shape: extents.to_vec(),
            init,
            trained,
        };
        match self.parameters.entry(name.to_owned()) {
            Entry::Occupied(known) if *known.get() != made => Err(Fault::Config(format!(
                "tensor `{name}` is needed in two shapes: names of features clash"
            ))),
            Entry::Occupied(_) => Ok(()),
            Entry::Vacant(place) => {
                place.insert(made);
                Ok(())
            }
        }
    }

    /// Rows of a field's table.
    pub(super) fn embedding(&mut self, field: &Field, ids: Value) -> Built {
        let name = format!("embedding.{}", field.name);
        self.lookup(&name, [field.vocabulary.0, field.width.0], Init::EMBEDDING, ids)
    }

    /// Rows of the table `<prefix>.weight`.
    pub(super) fn lookup(&mut self, prefix: &str, extents: [usize; 2], init: Init, ids: Value) -> Built {
        self.scoped(prefix, |p| {
            let table = p.param(&format!("{prefix}.weight"), &extents, init)?;
            Ok(p.graph.gather(table, ids)?)
        })
    }

    /// Values side by side; there must be one.
    pub(super) fn beside(&mut self, parts: &[Value]) -> Built {
        if parts.is_empty() {
            return Err(Fault::Config("the model has no inputs".into()));
        }
        Ok(nn::beside(&mut self.graph, parts)?)
    }

    /// Names a hidden layer.
    pub(super) fn point(&mut self, name: &str, x: Value) {
        self.hidden.push((name.to_owned(), x));
    }

    /// The hidden layer of a name.
    pub(super) fn found(&self, section: &str, name: &str) -> Built {
        match self.hidden.iter().find(|(known, _)| known == name) {
            Some((_, x)) => Ok(*x),
            None => {
                let known: Vec<String> = self.hidden.iter().map(|(known, _)| format!("`{known}`")).collect();
                Err(Fault::Config(format!(
                    "`{section}` names `{name}`, hidden layers are {}",
                    known.join(", ")
                )))
            }
        }
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
