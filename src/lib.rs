//! From trained recommender weights to fused WGSL kernels, and on to a device.
//!
//! The stages in the order in which a model meets them:
//!
//! 1. [`import`] opens a safetensors checkpoint and trusts nothing in it. The graph stands in the file's metadata, or
//!    [`model`] builds it from a `config.json` with the composites of [`nn`].
//! 2. [`ir`] is that graph: small, typed, with an exact text form, and the only thing that stages speak. What it means
//!    is what [`interp`] computes.
//! 3. [`simplify`] rewrites it by algebra: products over concatenations, factors moved into weights, work moved from
//!    every row to every request.
//! 4. [`fuse`] cuts it into groups, each of which becomes one dispatch. The graph stays as it is; only where values
//!    reach memory is decided.
//! 5. [`wgsl`] turns each group into a shader, with functions from `shaders/`, and has naga check it.
//! 6. [`compile`] is these stages on one screen. Its result is a [`bundle`]: one safetensors file with weights, graph,
//!    kernels and a manifest, every byte of it under a hash.
//! 7. [`session`] opens a bundle and runs batches: on a GPU through [`run`], which knows kernels and not graphs, or
//!    through [`cpu`], which knows graphs and not kernels.
//! 8. Training is the graph once more: [`grad`](mod@grad) appends the backward nodes, [`optim`] the updates of weights and
//!    optimiser state; [`cpu`] runs such steps, and so does [`device_step`] on a GPU. [`train`] takes batches through them
//!    and writes the model that all of this began with.
//! 9. The loop: [`data`] reads logs of impressions, [`extract`] runs a foundation model over them and leaves
//!    [`embeddings`], [`history`] says which of these may be known when, [`pipeline`] runs all of it as one declaration
//!    says and [`report`] tells what came of it.
//!
//! # Example
//!
//! A two-layer scorer, built by hand, compiled, and run on the CPU:
//!
//! ```
//! use loopfm::bundle::Precision;
//! use loopfm::compile::{Options, compile};
//! use loopfm::ir::{Graph, Unary};
//! use loopfm::nn;
//! use loopfm::session::{DeviceChoice, Session, SessionOptions};
//! use loopfm::tensor::{DType, Dim, HostTensor, Shape, Tensors};
//!
//! let mut g = Graph::new();
//! let x = g.input("x", DType::F32, Shape(vec![Dim::Rows(1), Dim::Fixed(2)]))?;
//! let (w1, w2) = (g.param("fc1.weight", &[3, 2])?, g.param("fc2.weight", &[1, 3])?);
//! let logit = nn::mlp(&mut g, x, &[(w1, None), (w2, None)], |g, _, x| nn::relu(g, x))?;
//! let prob = g.unary(Unary::Sigmoid, logit)?;
//! g.outputs.push(("prob".into(), prob));
//!
//! let mut weights = Tensors::new();
//! weights.insert("fc1.weight".into(), HostTensor::f32(&[3, 2], vec![1.0, 0.0, 0.0, 1.0, -1.0, -1.0]));
//! weights.insert("fc2.weight".into(), HostTensor::f32(&[1, 3], vec![1.0, -1.0, 0.5]));
//! let bundle = compile("scorer", &g, &weights, &Options::new(Precision::F16))?;
//! assert_eq!(bundle.manifest.variants[0].kernels.len(), 1); // one dispatch
//!
//! let options = SessionOptions { device: DeviceChoice::Cpu, ..SessionOptions::default() };
//! let session = Session::open(&bundle, &options)?;
//! let mut batch = Tensors::new();
//! batch.insert("x".into(), HostTensor::f32(&[2, 2], vec![1.0, 1.0, 2.0, -1.0]));
//! let prob = session.run(&batch)?["prob"].clone();
//! assert_eq!(prob.shape, [2, 1]);
//! assert_eq!(prob.as_f32().map(|p| p[0]), Some(0.5));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Floors
//!
//! A module imports only from floors below its own; modules of one floor are strangers. `tests/layers.rs` reads this
//! table and holds the sources to it, so that `run` cannot come to depend on how a kernel was made, nor `compile` on where
//! a graph came from.
//!
//! | floor | module | what it is |
//! |---|---|---|
//! | 0 | [`container`] | safetensors files, strictly read and atomically written |
//! | 0 | [`random`] | random numbers by position |
//! | 0 | [`tensor`] | element types, shapes, tensors in host memory |
//! | 1 | [`bundle`] | the compiled file: the contract between compiler and runtime |
//! | 1 | [`charts`] | pictures of numbers, as SVG and HTML |
//! | 1 | [`data`] | logs: files of impressions, features of raw rows |
//! | 1 | [`embeddings`] | the log of embeddings that a foundation model left of past events |
//! | 1 | [`history`] | point-in-time histories: which past events may be known at an instant |
//! | 1 | [`ir`] | ops, graph, typing rules, text form |
//! | 1 | [`metrics`] | how far predictions are from others, how well they rank |
//! | 2 | [`compress`] | codebooks, principal components, what storages and widths cost |
//! | 2 | [`fuse`] | where values reach memory: groups, row programs, device profiles |
//! | 2 | [`grad`](mod@grad) | derivatives: the backward half of a training step |
//! | 2 | [`import`] | checkpoints, whole, sharded or in a folder |
//! | 2 | [`interp`] | the meaning of a graph, slow and obvious; error bounds |
//! | 2 | [`nn`] | composites: linear, attention, gates, normalisation |
//! | 2 | [`pieces`] | a training step cut where it leaves the batch for tables |
//! | 2 | [`recall`] | what is known of users' past when a service scores |
//! | 2 | [`report`] | what a run of the loop has found, as JSON, HTML and Markdown |
//! | 2 | [`run`] | kernels on a device through wgpu |
//! | 2 | [`synthetic`] | streams of which it is known what a history tells |
//! | 3 | [`cpu`] | the executor for machines without a GPU |
//! | 3 | [`model`] | architectures: from a specification to a graph, for inference or a training step |
//! | 3 | [`simplify`] | rewriting by algebra |
//! | 3 | [`wgsl`] | groups as shaders |
//! | 4 | [`compile`](mod@compile) | the pipeline |
//! | 4 | [`optim`] | a loss and an optimiser as a training step |
//! | 4 | [`session`] | a bundle on a device, GPU or CPU |
//! | 5 | [`device_step`] | a training step on a device |
//! | 5 | [`extract`] | a foundation model over a log |
//! | 5 | [`resident`] | models that read the log of embeddings on the device |
//! | 5 | [`tune`] | the fastest of a bundle's variants, measured |
//! | 6 | [`train`] | data, steps, validations, checkpoints: a trained model |
//! | 7 | [`pipeline`] | the loop on a log, declared: variants, controls, report |
//! | 8 | [`cli`] | the commands |
//!
//! # Features
//!
//! `gpu` brings wgpu and what [`run`] needs of it, `data` logs, `train` training, `cli` the commands; all are on by default.
//! A service that runs bundles wants `default-features = false, features = ["gpu"]`, one without a GPU no feature at all, one
//! that has raw rows `data` as well. Compiling needs neither.

pub mod bundle;
pub mod charts;
#[cfg(feature = "cli")]
pub mod cli;
pub mod compile;
#[cfg(feature = "data")]
pub mod compress;
pub mod container;
pub mod cpu;
#[cfg(feature = "data")]
pub mod data;
#[cfg(feature = "gpu")]
pub mod device_step;
#[cfg(feature = "data")]
pub mod embeddings;
#[cfg(feature = "data")]
pub mod extract;
pub mod fuse;
pub mod grad;
#[cfg(feature = "data")]
pub mod history;
pub mod import;
pub mod interp;
pub mod ir;
pub mod metrics;
pub mod model;
pub mod nn;
pub mod optim;
pub mod pieces;
#[cfg(all(feature = "data", feature = "train"))]
pub mod pipeline;
pub mod random;
#[cfg(feature = "data")]
pub mod recall;
pub mod report;
#[cfg(feature = "data")]
pub mod resident;
pub mod run;
pub mod session;
pub mod simplify;
pub mod synthetic;
pub mod tensor;
#[cfg(feature = "train")]
pub mod train;
#[cfg(feature = "gpu")]
pub mod tune;
pub mod wgsl;

/// The examples of the README, compiled as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
