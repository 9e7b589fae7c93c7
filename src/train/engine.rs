//! Who runs a step: holds parameters and optimiser state, takes batches, gives metrics.

use super::Error;
use crate::cpu::Stepper;
#[cfg(feature = "gpu")]
use crate::device_step;
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
    ///
    /// # Errors
    /// When they cannot be fetched from where they are.
    fn state(&self) -> Result<Tensors, Error>;

    /// Takes other values for all parameters.
    ///
    /// # Errors
    /// When they are not those of the graph.
    fn restore(&mut self, state: Tensors) -> Result<(), Error>;

    /// What runs the steps, in words. Where they are equal, the same state and batches give the same bits.
    fn device(&self) -> String;
}

impl Engine for Stepper {
    fn step(&mut self, batch: &Tensors, rows: usize) -> Result<Tensors, Error> {
        Ok(Self::step(self, batch, rows)?)
    }

    fn state(&self) -> Result<Tensors, Error> {
        Ok(Self::state(self).clone())
    }

    fn restore(&mut self, state: Tensors) -> Result<(), Error> {
        Ok(Self::restore(self, state)?)
    }

    fn device(&self) -> String {
        "CPU".to_owned()
    }
}

#[cfg(feature = "gpu")]
impl Engine for device_step::Stepper {
    fn step(&mut self, batch: &Tensors, rows: usize) -> Result<Tensors, Error> {
        Ok(Self::step(self, batch, rows)?)
    }

    fn state(&self) -> Result<Tensors, Error> {
        Ok(Self::state(self)?)
    }

    fn restore(&mut self, state: Tensors) -> Result<(), Error> {
        Ok(Self::restore(self, state)?)
    }

    fn device(&self) -> String {
        let adapter = Self::device(self).report();
        let (name, kind, backend) = (&adapter.name, adapter.kind, adapter.backend);
        format!("`{name}` ({kind}, {backend}, {})", adapter.driver)
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

    fn state(&self) -> Result<Tensors, Error> {
        Ok(self.state.clone())
    }

    fn restore(&mut self, state: Tensors) -> Result<(), Error> {
        self.state = state;
        Ok(())
    }

    fn device(&self) -> String {
        "interpreter".to_owned()
    }
}
