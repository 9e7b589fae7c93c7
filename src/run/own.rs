//! What the caller of a machine brings: kernels of its own, words to write and to read.

/// Memory that kernels share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// What kernels see of a batch's sizes.
    Sizes,
    /// The value arena.
    Values,
    /// The only weight buffer.
    Weights,
    /// Words in which kernels complain.
    Status,
    /// A buffer of the caller's, by number.
    Own(usize),
}

/// What a kernel does with memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Bound as a uniform.
    Uniform,
    /// Read.
    Read,
    /// Read as structures of at most 80 bytes.
    Records,
    /// Read and written.
    Write,
}

/// A kernel of the caller's.
#[derive(Clone, Debug)]
pub struct Tail {
    /// For messages.
    pub name: String,
    /// Its text.
    pub wgsl: String,
    /// Its bindings in order.
    pub bindings: Vec<(Memory, Use)>,
    /// Workgroups; each finds its number as `x + 65535 y`.
    pub groups: usize,
    /// How many kernels of the variant run before it; no fewer than before the one that it follows.
    pub after: usize,
}

/// Words to be written before kernels run.
pub struct Write<'a> {
    /// Where to.
    pub memory: Memory,
    /// First word.
    pub at: usize,
    /// What.
    pub words: &'a [u32],
}

/// Words to be read after kernels ran.
#[derive(Clone, Copy, Debug)]
pub struct Read {
    /// Where from.
    pub memory: Memory,
    /// First word.
    pub at: usize,
    /// How many.
    pub words: usize,
}
