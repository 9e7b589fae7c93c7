//! Device profiles: the figures that steer one generator.

/// What a kind of device likes. Data, not code: a new kind of device is a new row of [`Profile::ALL`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Profile {
    /// Name, as manifests and `--profile` have it.
    pub name: &'static str,
    /// Invocations per workgroup.
    pub threads: usize,
    /// Rows that one thread accumulates in a matmul.
    pub tile_m: usize,
    /// Columns that one thread accumulates in a matmul; a multiple of 8.
    pub tile_n: usize,
    /// Rows of a tile when each row has one inner row.
    pub rows: usize,
    /// Inner rows (history positions, fields) of a tile when each row has many.
    pub inner_rows: usize,
    /// Bytes of workgroup memory for slots.
    pub workgroup_bytes: usize,
    /// Weight bytes (in f16) from which a matmul gets a dispatch of its own: re-reading them for every tile of rows costs
    /// more than writing its activations once.
    pub heavy_bytes: usize,
    /// Steps in one kernel: drivers compile long shaders in more than linear time.
    pub steps: usize,
}

impl Profile {
    /// WebGPU's default limits: any adapter, any browser.
    pub const PORTABLE: Self = Self {
        name: "portable",
        threads: 64,
        tile_m: 4,
        tile_n: 8,
        rows: 16,
        inner_rows: 56,
        workgroup_bytes: 16 << 10,
        heavy_bytes: 256 << 10,
        steps: 20,
    };

    /// A GPU with its own memory.
    pub const DISCRETE: Self = Self {
        name: "discrete",
        threads: 128,
        tile_m: 8,
        tile_n: 8,
        rows: 32,
        inner_rows: 64,
        workgroup_bytes: 32 << 10,
        heavy_bytes: 256 << 10,
        steps: 20,
    };

    /// All profiles, most demanding first.
    pub const ALL: &'static [Self] = &[Self::DISCRETE, Self::PORTABLE];

    /// The profile of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        Self::ALL.iter().find(|p| p.name == name)
    }
}
