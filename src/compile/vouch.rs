//! Which kernels of a bundle are our own work, and decide all their indices themselves.

use std::collections::BTreeSet;

use super::{Options, compile};
use crate::bundle::{Bundle, Vouched, digest};
use crate::fuse::Profile;
use crate::ir::parse;
use crate::tensor::Tensors;
use crate::wgsl::decides_its_indices;

/// Generates the kernels of a bundle once more, from its graph and its weights, and keeps what comes out the same: kernels,
/// layouts, sizes. A file may claim what it likes; of what is not generated here nothing is kept. `None` where that leaves
/// nothing.
#[must_use]
pub fn vouch(bundle: &Bundle) -> Option<Vouched> {
    let theirs = &bundle.manifest.variants;
    let graph = parse(&bundle.graph).ok()?;
    let weights: Tensors = bundle
        .weights
        .iter()
        .map(|(name, t)| (name.clone(), t.to_host()))
        .collect();
    let mut options = Options {
        profiles: Vec::new(),
        rungs: Vec::new(),
        // It was simplified before.
        simplify: false,
        ..Options::new(bundle.manifest.precision)
    };
    for variant in theirs {
        if let Some(profile) = Profile::named(&variant.profile).filter(|p| !options.profiles.contains(p)) {
            options.profiles.push(profile);
        }
        if !options.rungs.contains(&variant.rung) {
            options.rungs.push(variant.rung);
        }
    }
    let ours = compile(&bundle.manifest.model, &graph, &weights, &options).ok()?;
    let own = ours.wgsl.iter().filter(|(name, text)| decides_its_indices(name, text));
    let texts: BTreeSet<String> = own.map(|(_, text)| digest(text.as_bytes())).collect();
    let variants = ours
        .manifest
        .variants
        .into_iter()
        .filter(|v| theirs.contains(v))
        .collect();
    let vouched = Vouched::new(variants, texts);
    (!vouched.is_empty()).then_some(vouched)
}
