//! Which engine runs the steps, and why.

use super::{Engine, Error};
use crate::cpu;
#[cfg(feature = "gpu")]
use crate::device_step;
use crate::ir::Graph;
use crate::run::AdapterQuery;
#[cfg(feature = "gpu")]
use crate::run::{AdapterKind, Device, DeviceOptions};
use crate::session::DeviceChoice;
use crate::tensor::Tensors;

type Made = Result<Box<dyn Engine>, Error>;

/// An engine for batches of at most so many rows, and why it is this one.
pub(super) fn engine(
    choice: &DeviceChoice,
    graph: &Graph,
    state: Tensors,
    rows: u32,
) -> Result<(Box<dyn Engine>, String), Error> {
    match choice {
        DeviceChoice::Cpu => Ok((on_cpu(graph, state)?, "as asked".to_owned())),
        DeviceChoice::Gpu(query) => Ok((on_gpu(query, graph, state, rows)?, "as asked".to_owned())),
        DeviceChoice::Auto => automatic(graph, state, rows),
    }
}

fn on_cpu(graph: &Graph, state: Tensors) -> Made {
    Ok(Box::new(cpu::Stepper::new(graph, state)?))
}

#[cfg(feature = "gpu")]
fn on_gpu(query: &AdapterQuery, graph: &Graph, state: Tensors, rows: u32) -> Made {
    let device = Device::open(query, &DeviceOptions::default()).map_err(device_step::Error::from)?;
    load(device, graph, state, rows)
}

#[cfg(feature = "gpu")]
fn load(device: Device, graph: &Graph, state: Tensors, rows: u32) -> Made {
    Ok(Box::new(device_step::Stepper::new(device.into(), graph, state, rows)?))
}

#[cfg(not(feature = "gpu"))]
fn on_gpu(query: &AdapterQuery, _: &Graph, _: Tensors, _: u32) -> Made {
    Err(Error::NoGpu(query.clone()))
}

#[cfg(feature = "gpu")]
fn automatic(graph: &Graph, state: Tensors, rows: u32) -> Result<(Box<dyn Engine>, String), Error> {
    let why = match Device::open(&AdapterQuery::Best, &DeviceOptions::default()) {
        Ok(device) if device.report().kind == AdapterKind::Software => {
            let name = &device.report().name;
            format!("adapter `{name}` is software, which the CPU outruns")
        }
        Ok(device) => return willing(device, graph, state, rows),
        Err(e) => e.to_string(),
    };
    Ok((on_cpu(graph, state)?, why))
}

/// A device, or the CPU where the device does not take the step.
#[cfg(feature = "gpu")]
fn willing(device: Device, graph: &Graph, state: Tensors, rows: u32) -> Result<(Box<dyn Engine>, String), Error> {
    let name = device.report().name.clone();
    match load(device, graph, state.clone(), rows) {
        Ok(engine) => Ok((engine, "the best adapter".to_owned())),
        // What is wrong with the step is wrong anywhere; what the device cannot do the CPU can.
        Err(e) if matches!(e.exit_code(), 3 | 4 | 7) => {
            Ok((on_cpu(graph, state)?, format!("not on adapter `{name}`: {e}")))
        }
        Err(e) => Err(e),
    }
}

#[cfg(not(feature = "gpu"))]
fn automatic(graph: &Graph, state: Tensors, _: u32) -> Result<(Box<dyn Engine>, String), Error> {
    Ok((on_cpu(graph, state)?, "built without the feature `gpu`".to_owned()))
}

#[cfg(all(test, feature = "gpu"))]
mod tests {
    use super::*;
    use crate::import::Model;
    use crate::nn;
    use crate::tensor::{DType, Dim, HostTensor, Shape};
    use crate::train::task::Task;
    use crate::train::{Spec, Trainable};

    /// `auto` with a device that cannot: here one that has no room for so many rows.
    #[test]
    fn what_a_device_cannot_do_the_cpu_does() {
        let Ok(device) = Device::open(&AdapterQuery::Best, &DeviceOptions::default()) else {
            eprintln!("skipped: no adapter");
            return;
        };
        let mut graph = Graph::new();
        let x = Shape(vec![Dim::Rows(1), Dim::Fixed(2)]);
        let x = graph.input("x", DType::F32, x).expect("an input");
        let w = graph.param("w", &[1, 2]).expect("a parameter");
        let logit = nn::linear(&mut graph, x, w, None).expect("types fit");
        graph.outputs.push(("logit".into(), logit));
        let model = Model {
            name: "scorer".into(),
            graph,
            weights: Tensors::from([("w".into(), HostTensor::f32(&[1, 2], vec![0.0; 2]))]),
        };
        let task = Trainable::of_model(&model).and_then(|model| Task::new(model, &Spec::default()));
        let task = task.expect("a task");
        let made = willing(device, &task.step.graph, task.first_state(), u32::MAX);
        let (engine, why) = made.unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(engine.device(), "CPU");
        assert!(why.starts_with("not on adapter `") && why.contains("rows"), "{why}");
    }
}
