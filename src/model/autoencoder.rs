//! The code of a foundation model's hidden layers, trained beside the model and without a trace in it.
//!
//! Layers named by `autoencoder.of` stand side by side, `D` wide, and are standardised. The encoder is linear layers with
//! ReLU and, at the end, tanh; decoders are its mirror, one for the whole code and one for each of `prefixes`. In training the
//! layers are detached, and the loss is what decoders miss of the standardised layers. Output `embedding` is the code.
//!
//! | tensor | shape |
//! |---|---|
//! | `autoencoder.norm.running_mean`, `autoencoder.norm.running_var` | `[D]` |
//! | `autoencoder.encoder.<i>.weight`, `autoencoder.encoder.<i>.bias` | `[out, in]`, `[out]` |
//! | `autoencoder.decoder.<width>.<i>.weight`, .. | `[out, in]`, `[out]`; the first reads `width` numbers of the code |

use super::layers::Tower;
use super::parts::{Built, Parts};
use super::sections::{Activation, Autoencoder, Norm, Size, Width};
use super::{Code, Fault};
use crate::ir::{Unary, Value};
use crate::nn;

pub(super) fn code(p: &mut Parts, like: &Autoencoder) -> Result<Code, Fault> {
    let x = layers(p, like)?;
    let width = p.width(x);
    let hidden = match &like.layers {
        Some(widths) => widths.0.clone(),
        None => vec![Size(128)],
    };
    let x = if p.training() { p.graph.detach(x)? } else { x };
    let x = p.standardised("autoencoder.norm", x)?;
    let inner = tower(p, "autoencoder.encoder", x, &hidden)?;
    let z = p.linear(&format!("autoencoder.encoder.{}", hidden.len()), inner, like.width.0)?;
    let z = p.graph.unary(Unary::Tanh, z)?;
    let mut losses = Vec::new();
    let mirrored: Vec<Width> = hidden.iter().rev().copied().collect();
    for part in like.prefixes.0.iter().chain([&like.width]) {
        if part.0 > like.width.0 {
            return Err(Fault::Config(format!(
                "`autoencoder.prefixes`: a code of {} has no prefix of {}",
                like.width.0, part.0
            )));
        }
        let prefix = format!("autoencoder.decoder.{}", part.0);
        if !p.training() {
            declare(p, &prefix, part.0, &mirrored, width)?;
            continue;
        }
        let start = p.graph.slice(z, 1, 0, part.0)?;
        let inner = tower(p, &prefix, start, &mirrored)?;
        let back = p.linear(&format!("{prefix}.{}", hidden.len()), inner, width)?;
        losses.push((1.0, nn::mse(&mut p.graph, back, x)?));
    }
    let loss = if p.training() {
        Some(nn::total(&mut p.graph, &losses)?)
    } else {
        None
    };
    Ok(Code { z, loss })
}

/// The hidden layers to encode, side by side.
fn layers(p: &mut Parts, like: &Autoencoder) -> Built {
    let default = ["mlp.0".to_owned()];
    let names = like.of.as_ref().map_or(&default[..], |names| &names.0);
    let found: Vec<Value> = names
        .iter()
        .map(|name| p.found("autoencoder.of", name))
        .collect::<Result<_, _>>()?;
    p.beside(&found)
}

fn tower(p: &mut Parts, prefix: &str, x: Value, widths: &[Width]) -> Built {
    let before = p.hidden.len();
    let tower = Tower {
        widths,
        activation: Activation::Relu,
        dropout: 0.0,
        norm: Norm::None,
    };
    let x = p.tower(prefix, x, tower)?;
    p.hidden.truncate(before);
    Ok(x)
}

/// A decoder's tensors, at inference.
fn declare(p: &mut Parts, prefix: &str, mut width: usize, hidden: &[Width], out: usize) -> Result<(), Fault> {
    let widths = hidden.iter().map(|w| w.0).chain([out]);
    for (i, next) in widths.enumerate() {
        p.declare_linear(&format!("{prefix}.{i}"), width, next)?;
        width = next;
    }
    Ok(())
}
