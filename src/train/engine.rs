//! Who runs a step: holds parameters and optimiser state, takes batches, gives metrics.

use super::Error;
use crate::cpu::Stepper;
use crate::interp;
use crate::ir::Graph;
use crate::optim::NEXT;
use crate::tensor::{Sizes, Tensors};

/// An executor of a step graph (see [`crate::optim`]).
pub trait Engine {
    /// Runs one step: every `next.NAME` becomes the value of parameter `NAME`, the other outputs are returned.
    ///
    /// # Errors
    /// When the batch does not fit; the state is then as before.
    fn step(&mut self, batch: &Tensors, rows: usize) -> Result<Tensors, Error>;

    /// All parameters of the graph as they are now.
    fn state(&self) -> Tensors;

    /// Takes other values for all parameters.
    ///
    /// # Errors
    /// When they are not those of the graph.
    fn restore(&mut self, state: Tensors) -> Result<(), Error>;
}

impl Engine for Stepper {
    fn step(&mut self, batch: &Tensors, rows: usize) -> Result<Tensors, Error> {
        Ok(Self::step(self, batch, rows)?)
    }

    fn state(&self) -> Tensors {
        Self::state(self).clone()
    }

    fn restore(&mut self, state: Tensors) -> Result<(), Error> {
        Ok(Self::restore(self, state)?)
    }
}

/// The interpreter in f32: slow, and what the others are compared with.
#[derive(Debug)]
pub struct Interpreter {
    graph: Graph,
    state: Tensors,
}

impl Interpreter {
    /// A step graph and the values of all its parameters.
    #[must_use]
    pub fn new(graph: &Graph, state: Tensors) -> Self {
        Self {
            graph: graph.clone(),
            state,
        }
    }
}

impl Engine for Interpreter {
    fn step(&mut self, batch: &Tensors, rows: usize) -> Result<Tensors, Error> {
        let sizes = Sizes { rows, requests: rows };
        let outputs = interp::eval::<f32>(&self.graph, &self.state, batch, sizes)?;
        let mut metrics = Tensors::new();
        for (name, value) in outputs {
            match name.strip_prefix(NEXT) {
                Some(param) => self.state.insert(param.to_owned(), value.to_host()),
                None => metrics.insert(name, value.to_host()),
            };
        }
        Ok(metrics)
    }

    fn state(&self) -> Tensors {
        self.state.clone()
    }

    fn restore(&mut self, state: Tensors) -> Result<(), Error> {
        self.state = state;
        Ok(())
    }
}
