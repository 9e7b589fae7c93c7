//! A group becomes text: one WGSL compute shader per row program, checked by naga before anybody sees it.
//!
//! [`expr`] holds the recursion over pointwise ops, [`spell`] their WGSL, [`index`] the sums of loop variables that indices are, [`memory`]
//! the addresses, [`matmul`], [`matrices`] and [`steps`] and [`recurrence`] the loops, [`finish`] what follows them, [`emit`](mod@emit) the scopes that
//! statements are hoisted through, [`program`] the frame of a kernel, [`library`] the functions of `shaders/`, [`scalar`]
//! expressions without shapes.

mod chain;
mod check;
mod emit;
mod expr;
mod finish;
mod index;
mod indices;
mod lanes;
mod layout;
mod library;
mod matmul;
mod matrices;
mod memory;
mod moves;
mod program;
mod random;
mod recurrence;
mod scalar;
mod segments;
mod spell;
mod steps;
mod tiles;
mod weights;

use rayon::prelude::*;

use crate::bundle::Kernel;
use crate::fuse::{Partition, Profile};
use crate::ir::Graph;

pub use check::{Rejected, module, validate};
pub use indices::decides_its_indices;
pub use layout::{LayoutError, Memory, space};
pub use scalar::{Statements, kernel, statements};

/// A kernel and its text.
#[derive(Clone, Debug)]
pub struct Shader {
    /// Its entry in the manifest; the digest of its text is still empty.
    pub kernel: Kernel,
    /// Its WGSL.
    pub wgsl: String,
}

impl Shader {
    /// Whether it multiplies cooperative matrices.
    #[must_use]
    pub fn multiplies_squares(&self) -> bool {
        self.wgsl.contains("coopMultiplyAdd(")
    }
}

/// Writes and checks the kernels of a partition.
///
/// # Errors
/// [`Rejected`] when naga refuses a kernel: a bug of the compiler, reported with the text.
pub fn emit(g: &Graph, partition: &Partition, profile: &Profile, memory: &Memory) -> Result<Vec<Shader>, Rejected> {
    let shaders = (0..partition.groups.len()).into_par_iter().map(|i| {
        let (kernel, wgsl) = program::emit(g, partition, i, profile, memory);
        validate(&kernel.name, &wgsl)?;
        Ok(Shader { kernel, wgsl })
    });
    shaders.collect()
}
