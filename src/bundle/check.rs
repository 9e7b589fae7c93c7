//! Whether the parts of a bundle fit each other, so that no kernel reads beyond what the manifest lays out.

use super::manifest::Binding;
use super::{
    Bundle, Error, FORMAT, Kernel, Layout, Linear, Placement, Port, Slot, Space, Storage, Variant, digest, is_note,
    repacked_words,
};

/// Checks tensors, texts and every placement.
pub(super) fn bundle(b: &Bundle) -> Result<(), Error> {
    if b.manifest.format != FORMAT {
        return Err(Error::Format {
            seen: b.manifest.format.to_string(),
        });
    }
    for (name, tensor) in &b.weights {
        if let Some(why) = tensor.fault() {
            let tensor = name.clone();
            return Err(Error::Tensor { tensor, why });
        }
    }
    for (name, text) in &b.wgsl {
        let seen = digest(text);
        if *name != seen {
            return Err(Error::Hash {
                section: format!("loopfm.wgsl.{name}"),
                seen,
                expected: name.clone(),
            });
        }
    }
    if let Some(key) = b.notes.keys().find(|key| !is_note(key)) {
        return Err(Error::Unexpected { section: key.clone() });
    }
    for port in b.manifest.inputs.iter().chain(&b.manifest.outputs) {
        width(port)?;
    }
    for variant in &b.manifest.variants {
        for (slots, ports, size) in [
            (&variant.inputs, &b.manifest.inputs, variant.inputs_size),
            (&variant.outputs, &b.manifest.outputs, variant.values_size),
        ] {
            slots.iter().try_for_each(|slot| slotted(slot, ports, size))?;
        }
        for placement in &variant.weights {
            placed(b, variant, placement)?;
        }
        for kernel in &variant.kernels {
            launched(b, variant, kernel)?;
        }
    }
    Ok(())
}

/// Elements of a port per row or request, which must be few enough to count.
fn width(port: &Port) -> Result<u32, Error> {
    let mut extents = port.shape.iter();
    extents
        .try_fold(port.factor, |n, extent| n.checked_mul(*extent))
        .ok_or_else(|| inconsistent(format!("`{}` has more elements than can be counted", port.name)))
}

/// Whether a slot lies inside its arena at every capacity.
fn slotted(slot: &Slot, ports: &[Port], size: Linear) -> Result<(), Error> {
    let Some(port) = ports.iter().find(|p| p.name == slot.name) else {
        return Err(inconsistent(format!("slot `{}` is no input or output", slot.name)));
    };
    let expected = width(port)?;
    let (rows, requests) = match port.space {
        Space::Rows => (slot.width, 0),
        Space::Requests => (0, slot.width),
    };
    let fits = |offset: u32, width: u32, size: u32| offset.checked_add(width).is_some_and(|end| end <= size);
    let inside = fits(slot.offset.rows, rows, size.rows) && fits(slot.offset.requests, requests, size.requests);
    if slot.width != expected {
        let seen = slot.width;
        return Err(inconsistent(format!(
            "slot `{}` is {seen} wide, expected {expected}",
            slot.name
        )));
    }
    if !inside {
        return Err(inconsistent(format!("slot `{}` ends beyond its arena", slot.name)));
    }
    Ok(())
}

fn placed(b: &Bundle, variant: &Variant, p: &Placement) -> Result<(), Error> {
    let Some(tensor) = b.weights.get(&p.tensor) else {
        return Err(inconsistent(format!(
            "weight `{}` has a place and no content",
            p.tensor
        )));
    };
    let words = repacked_words(&tensor.shape, p.layout, p.first_row, p.rows).ok_or_else(|| {
        let (first, rows, shape) = (p.first_row, p.rows, &tensor.shape);
        inconsistent(format!(
            "weight `{}` {shape:?} has no {rows} rows from {first} on",
            p.tensor
        ))
    })?;
    let halves = matches!(
        p.layout,
        Layout::Halves | Layout::RowsHalves | Layout::BlocksHalves | Layout::SquaresHalves
    );
    if halves && matches!(tensor.storage, Storage::I32 | Storage::Bool) {
        return Err(inconsistent(format!(
            "weight `{}` is no float and cannot lie in halves",
            p.tensor
        )));
    }
    let end = p.offset.checked_add(words);
    match variant.shards.get(p.shard as usize) {
        Some(size) if end.is_some_and(|end| end <= *size) => Ok(()),
        size => Err(inconsistent(format!(
            "weight `{}` takes {words} words from {} on in buffer {} of {} words",
            p.tensor,
            p.offset,
            p.shard,
            size.unwrap_or(&0)
        ))),
    }
}

fn launched(b: &Bundle, variant: &Variant, kernel: &Kernel) -> Result<(), Error> {
    if !b.wgsl.contains_key(&kernel.wgsl) {
        return Err(inconsistent(format!(
            "kernel `{}` has no text {}",
            kernel.name, kernel.wgsl
        )));
    }
    if kernel.rows_per_group == 0 || kernel.groups_per_tile == 0 {
        return Err(inconsistent(format!("kernel `{}` has an empty grid", kernel.name)));
    }
    for binding in &kernel.bindings {
        if let Binding::Weights(i) | Binding::WeightsNative(i) | Binding::WeightsImage(i) = *binding
            && i as usize >= variant.shards.len()
        {
            return Err(inconsistent(format!(
                "kernel `{}` reads weight buffer {i}, which is not there",
                kernel.name
            )));
        }
    }
    Ok(())
}

fn inconsistent(why: String) -> Error {
    Error::Inconsistent { why }
}
