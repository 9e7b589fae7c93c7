//! `bench --profile`: what each kernel takes, and how near that is to what the device can do.

use std::fmt;
use std::path::Path;

use serde::Serialize;

use super::report::Error;
use super::words;
use crate::bundle::{Kernel, Manifest, Space};
use crate::charts::{Roofline, RooflineDot, svg};
use crate::container::write_atomically;
use crate::run::{Limits, Runtime};
use crate::tensor::{Sizes, Tensors};

/// Batches that per-kernel times are the mean of.
const PROFILED: u32 = 20;

/// Kernels of a batch beside what their device does at most.
#[derive(Debug, Serialize)]
pub(super) struct KernelTimes {
    limits: Limits,
    kernels: Vec<KernelTime>,
}

#[derive(Debug, Serialize)]
struct KernelTime {
    name: String,
    /// Mean of a batch.
    seconds: f64,
    /// Operations of a batch.
    flops: f64,
    /// Bytes that a batch has to move at least: weights once, values between kernels.
    bytes: f64,
    /// Of the shortest time that the limits allow.
    share_of_limit: f64,
}

impl KernelTimes {
    /// Measures; `None` where the device cannot time its kernels.
    pub(super) fn measure(
        runtime: &Runtime,
        manifest: &Manifest,
        batch: &Tensors,
        sizes: Sizes,
    ) -> Result<Option<Self>, Error> {
        let mut sums: Vec<(String, f64)> = Vec::new();
        for _ in 0..PROFILED {
            let kernels = runtime.profile(batch)?.kernels;
            if kernels.is_empty() {
                return Ok(None);
            }
            sums.resize_with(kernels.len(), Default::default);
            for (sum, kernel) in sums.iter_mut().zip(kernels) {
                *sum = (kernel.name, sum.1 + kernel.nanoseconds * 1e-9 / f64::from(PROFILED));
            }
        }
        let limits = runtime.device().measure_limits()?;
        let report = runtime.report();
        let same = |v: &&crate::bundle::Variant| v.profile == report.profile && v.rung == report.rung;
        let planned = manifest.variants.iter().find(same).map_or(&[][..], |v| &v.kernels);
        let kernels = planned.iter().zip(sums).map(|(kernel, (name, seconds))| {
            let (flops, bytes) = work(kernel, sizes);
            KernelTime {
                name,
                seconds,
                flops,
                bytes,
                share_of_limit: limits.least_seconds(flops, bytes) / seconds,
            }
        });
        Ok(Some(Self {
            limits,
            kernels: kernels.collect(),
        }))
    }

    /// Draws them.
    pub(super) fn draw(&self, path: &Path, title: &str) -> Result<(), Error> {
        let dot = |k: &KernelTime| RooflineDot {
            name: k.name.clone(),
            flops: k.flops,
            bytes: k.bytes,
            seconds: k.seconds,
        };
        let chart = Roofline {
            title: title.to_owned(),
            flops: self.limits.flops,
            bytes: self.limits.bytes,
            dots: self.kernels.iter().map(dot).collect(),
        };
        let text = svg(&[&chart]);
        write_atomically(path, |file| file.write_all(text.as_bytes())).map_err(|e| Error::io(path, e))
    }
}

/// Operations and compulsory bytes of a kernel on a batch.
fn work(kernel: &Kernel, sizes: Sizes) -> (f64, f64) {
    let count = match kernel.space {
        Space::Rows => sizes.rows,
        Space::Requests => sizes.requests,
    } as f64;
    let bytes = kernel.activation_bytes as f64 * count + kernel.weight_bytes as f64;
    (kernel.flops * count, bytes)
}

impl fmt::Display for KernelTimes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Limits { flops, bytes } = self.limits;
        writeln!(
            f,
            "the device does {}/s in registers and moves {}/s at most, measured",
            words::flop(flops),
            words::bytes(bytes as u64)
        )?;
        for k in &self.kernels {
            writeln!(
                f,
                "kernel {}: {}, {}/s, {}/s, {:.0} % of what the device allows",
                k.name,
                words::seconds(k.seconds),
                words::flop(k.flops / k.seconds),
                words::bytes((k.bytes / k.seconds) as u64),
                100.0 * k.share_of_limit
            )?;
        }
        Ok(())
    }
}
