//! What a peer says to the bench: it is started with a workload, a file of tensors, `train` or `infer` and words of its own,
//! says what it runs on, and answers each line of its input with one line. All measuring is the bench's, from outside.
//!
//! | line | answer |
//! |---|---|
//! | `run` | a batch from host inputs to host outputs: the loss of a training step, else `done` |
//! | `tensors FILE` | `done`, and in `FILE` the weights after the last step, or the outputs of the last batch |

use std::collections::BTreeMap;
use std::io::{BufRead, Write};

use safetensors::{Dtype, SafeTensors};

/// A tensor of floats; matrices of linear layers are `[out, in]`.
#[derive(Clone, Debug)]
pub(crate) struct Floats {
    pub(crate) shape: Vec<usize>,
    pub(crate) data: Vec<f32>,
}

/// Tensors by name. Weights have the names of the model, inputs begin with `in.`, labels are `label`.
#[derive(Debug, Default)]
pub(crate) struct Given {
    pub(crate) floats: BTreeMap<String, Floats>,
    #[allow(dead_code, reason = "not every peer has a workload with ids")]
    pub(crate) ints: BTreeMap<String, (Vec<usize>, Vec<i32>)>,
}

/// A model at work.
pub(crate) trait Peer {
    /// What it runs on, in words of the driver.
    fn device(&self) -> String;
    /// One batch. In training the loss before the update.
    fn run(&mut self) -> Option<f32>;
    /// In training all weights as they are now, else what the last run gave.
    fn tensors(&mut self) -> BTreeMap<String, Floats>;
}

impl Given {
    pub(crate) fn read(path: &str) -> Self {
        let bytes = std::fs::read(path).expect("the bench wrote this file");
        let file = SafeTensors::deserialize(&bytes).expect("a safetensors file");
        let mut given = Self::default();
        for (name, view) in file.tensors() {
            let words = view.data().chunks_exact(4).map(|w| [w[0], w[1], w[2], w[3]]);
            let shape = view.shape().to_vec();
            match view.dtype() {
                Dtype::F32 => {
                    let data = words.map(f32::from_le_bytes).collect();
                    given.floats.insert(name, Floats { shape, data });
                }
                Dtype::I32 => {
                    let data = words.map(i32::from_le_bytes).collect();
                    given.ints.insert(name, (shape, data));
                }
                other => panic!("`{name}` is {other:?}"),
            }
        }
        given
    }
}

/// Serves until the input ends. `make` gets the workload's name, its tensors and the rest of the command line.
pub(crate) fn serve(make: impl FnOnce(&str, Given, &[&str]) -> Box<dyn Peer>) {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let [workload, file, rest @ ..] = &args[..] else {
        panic!("WORKLOAD FILE train|infer ..");
    };
    let mut peer = make(workload, Given::read(file), rest);
    let say = |line: &str| {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{line}")
            .and_then(|()| out.flush())
            .expect("the bench listens");
    };
    say(&peer.device());
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("text");
        match line.split_once(' ') {
            None if line == "run" => say(&peer.run().map_or("done".into(), |loss| loss.to_string())),
            Some(("tensors", path)) => {
                write(path, &peer.tensors());
                say("done");
            }
            _ => panic!("`{line}`"),
        }
    }
}

fn write(path: &str, tensors: &BTreeMap<String, Floats>) {
    let bytes: Vec<(String, Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .map(|(name, t)| {
            (
                name.clone(),
                t.shape.clone(),
                t.data.iter().flat_map(|x| x.to_le_bytes()).collect(),
            )
        })
        .collect();
    let views = bytes.iter().map(|(name, shape, bytes)| {
        let view = safetensors::tensor::TensorView::new(Dtype::F32, shape.clone(), bytes).expect("sizes agree");
        (name.clone(), view)
    });
    safetensors::serialize_to_file(views, None, std::path::Path::new(path)).expect("a file");
}

/// A matrix, row-major, turned.
#[allow(dead_code, reason = "not every peer keeps its matrices the other way round")]
pub(crate) fn turned(t: &Floats) -> Floats {
    let (rows, columns) = (t.shape[0], t.shape[1]);
    let data = (0..rows * columns).map(|i| t.data[i % rows * columns + i / rows]);
    Floats {
        data: data.collect(),
        shape: vec![columns, rows],
    }
}
