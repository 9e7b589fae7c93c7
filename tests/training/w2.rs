//! The workload W2, a history model with target attention, step by step as PyTorch trains it.

use std::path::PathBuf;

use loopfm::cpu::Stepper;
use loopfm::import::{self, read_tensors};
use loopfm::ir::Graph;
use loopfm::tensor::{HostTensor, Tensors};
use loopfm::train::{Engine, Error, Interpreter, Spec, Trainable, Trainer};

use super::{apart, reference};

/// The folder with W2's export, its batch and what PyTorch made of it, if there is one.
fn folder() -> Option<PathBuf> {
    let folder = std::env::var_os("LOOPFM_EXPORTS").map(|s| PathBuf::from(s).join("w2"));
    if folder.is_none() {
        eprintln!("skipped: LOOPFM_EXPORTS names no folder of exports");
    }
    folder
}

fn follows_pytorch(steps: usize, make: impl FnOnce(&Graph, Tensors) -> Result<Box<dyn Engine>, Error>) {
    let Some(folder) = folder() else { return };
    let model = import::load(&folder.join("model.safetensors")).unwrap_or_else(|e| panic!("{e}"));
    let read = |name: &str| read_tensors(&folder.join(name)).unwrap_or_else(|e| panic!("{e}")).0;
    let (io, last) = (read("batch512.io.safetensors"), read("adam100.safetensors"));
    let input = |(name, t): (&String, &HostTensor)| Some((name.strip_prefix("in.")?.to_owned(), t.clone()));
    let mut batch: Tensors = io.iter().filter_map(input).collect();
    batch.insert("label".to_owned(), last["label"].clone());
    let trainable = Trainable::of_model(&model).unwrap_or_else(|e| panic!("{e}"));
    let mut trainer = Trainer::with_engine(trainable, &Spec::default(), make).unwrap_or_else(|e| panic!("{e}"));
    let reference = reference("w2_adam100.safetensors");
    let losses = reference["loss"].as_f32().expect("floats");
    let mut worst: f32 = 0.0;
    for (t, want) in losses.iter().enumerate().take(steps) {
        let loss = trainer.step(&batch).unwrap_or_else(|e| panic!("{e}")).loss;
        worst = worst.max((loss - want).abs());
        assert!(worst <= 1e-4, "step {t}: loss {loss}, PyTorch {want}");
    }
    eprintln!("W2, {steps} steps: losses within {worst:.1e} of PyTorch's");
    if steps < losses.len() {
        return;
    }
    // Adam makes steps of rounding where gradients are near zero: PyTorch's own weights move apart when it sums rows in
    // another order. What does not, has to agree.
    for (name, weight) in trainer
        .weights()
        .unwrap()
        .iter()
        .filter(|(name, _)| last.contains_key(*name))
    {
        let own = f64::from(reference[&format!("spread/{name}")].as_f32().expect("floats")[0]);
        let apart = apart(weight, &last[name]);
        eprintln!("`{name}`: {apart:.1e} of its norm, PyTorch from itself {own:.1e}");
        assert!(apart <= (2.0 * own).max(1e-3), "`{name}`: {apart:.1e} of its norm");
    }
}

#[test]
fn w2_interpreted() {
    follows_pytorch(2, |graph, state| Ok(Box::new(Interpreter::new(graph, state))));
}

#[test]
fn w2_on_the_cpu() {
    follows_pytorch(100, |graph, state| Ok(Box::new(Stepper::new(graph, state)?)));
}

#[cfg(feature = "gpu")]
#[test]
fn w2_on_a_device() {
    use loopfm::device_step;

    let Some(device) = crate::support::gpu::gpu() else {
        return;
    };
    follows_pytorch(100, |graph, state| {
        let stepper = device_step::Stepper::new(device, graph, state, 512).unwrap_or_else(|e| panic!("{e}"));
        eprintln!("W2: {} dispatches", stepper.dispatches());
        assert!(stepper.dispatches() <= 40, "{} dispatches", stepper.dispatches());
        Ok(Box::new(stepper))
    });
}
