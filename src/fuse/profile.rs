//! Device profiles: the figures that steer one generator.

use crate::bundle::Rung;

/// How the weights of a matmul reach the invocations that multiply by them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Every invocation loads all that its tile of rows and columns needs.
    Tiles,
    /// A workgroup is one subgroup of [`LANES`]. Each lane has rows of its own, loads weights that no other lane loads and
    /// hands them round: where a load costs more than the products it feeds, it is shared by all lanes.
    Lanes,
    /// Wide layers are multiplied by the lanes of a subgroup together, in squares of this edge, of halves summed in f32; the
    /// rest as under [`Self::Tiles`].
    Matrices(usize),
}

/// Of the ways to read halves, those that a kind of device wants kernels for: each is a variant in every bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Halves {
    /// As they are, and packed for devices whose shaders know no halves.
    Both,
    /// As they are: almost all devices of this kind know halves, and there is another profile for the rest.
    Native,
    /// Packed, which is the faster.
    Packed,
}

/// Lanes of a subgroup under [`Scheme::Lanes`].
pub const LANES: usize = 8;

/// What a kind of device likes. Data, not code: a new kind of device is a new row of [`Profile::ALL`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Profile {
    /// Name, as manifests and `--profile` have it.
    pub name: &'static str,
    /// How weights reach invocations.
    pub scheme: Scheme,
    /// Whether it is for adapters that run on processor cores, and for no others.
    pub software: bool,
    /// How halves are read.
    pub halves: Halves,
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
    /// Whether weights that a matmul multiplies by lie in blocks, in the order in which lanes read them. Not where weights
    /// change: then they lie in lines.
    pub blocks: bool,
    /// Whether kernels read weights as textures: software adapters fetch texels of all lanes at once, and go through
    /// lanes one by one for words of a buffer. Not where weights change.
    pub images: bool,
    /// Steps in one kernel: drivers compile long shaders in more than linear time.
    pub steps: usize,
}

impl Profile {
    /// WebGPU's default limits: any adapter, any browser.
    pub const PORTABLE: Self = Self {
        name: "portable",
        scheme: Scheme::Tiles,
        software: false,
        halves: Halves::Both,
        threads: 64,
        tile_m: 4,
        tile_n: 8,
        rows: 16,
        inner_rows: 56,
        workgroup_bytes: 16 << 10,
        heavy_bytes: 256 << 10,
        blocks: false,
        images: false,
        steps: 20,
    };

    /// A GPU with its own memory.
    pub const DISCRETE: Self = Self {
        name: "discrete",
        scheme: Scheme::Tiles,
        software: false,
        halves: Halves::Both,
        threads: 128,
        tile_m: 8,
        tile_n: 8,
        rows: 32,
        inner_rows: 64,
        workgroup_bytes: 32 << 10,
        heavy_bytes: 256 << 10,
        blocks: false,
        images: false,
        steps: 20,
    };

    /// A GPU that shares the host's memory. Sums that the registers of any of them hold: where a thread has 64 (Mali, half of
    /// what Intel's can take), 8 by 8 sums and what they are made of would spill. All else as on a GPU with memory of its
    /// own, for bytes are what such a GPU has least of: fewer rows would read weights more often, less workgroup memory
    /// would send the layers of a history through the host's.
    pub const INTEGRATED: Self = Self {
        name: "integrated",
        halves: Halves::Native,
        tile_m: 4,
        ..Self::DISCRETE
    };

    /// A software adapter on processor cores with vectors of eight floats, such as lavapipe: loads are made lane by lane
    /// and are dear, registers spill into the first cache and are cheap.
    pub const SOFTWARE: Self = Self {
        name: "software",
        scheme: Scheme::Lanes,
        software: true,
        halves: Halves::Packed,
        threads: LANES,
        tile_m: 4,
        tile_n: 32,
        rows: 32,
        inner_rows: 64,
        workgroup_bytes: 32 << 10,
        heavy_bytes: 256 << 10,
        blocks: true,
        images: true,
        // A driver goes through a whole kernel once for each load of it.
        steps: 8,
    };

    /// The same where weights change.
    pub const SOFTWARE_STEPS: Self = Self {
        name: "software-steps",
        blocks: false,
        images: false,
        steps: 12,
        ..Self::SOFTWARE
    };

    /// A GPU that multiplies squares of 16 by 16.
    pub const MATRIX: Self = Self {
        name: "matrix",
        scheme: Scheme::Matrices(16),
        rows: 64,
        // The rest of 32 KiB is for operands and sums on their way.
        workgroup_bytes: 10 << 10,
        ..Self::DISCRETE
    };

    /// A GPU that multiplies squares of 8 by 8.
    pub const MATRIX_8: Self = Self {
        name: "matrix-8",
        scheme: Scheme::Matrices(8),
        ..Self::MATRIX
    };

    /// All profiles of bundles, most demanding first.
    pub const ALL: &'static [Self] = &[Self::SOFTWARE, Self::DISCRETE, Self::INTEGRATED, Self::PORTABLE];

    /// Profiles of those models alone that have wide layers: what they rely on, few devices offer, and none without being
    /// asked. Of these compilers plan for the first unless told otherwise.
    pub const ON_REQUEST: &'static [Self] = &[Self::MATRIX, Self::MATRIX_8];

    /// Whether kernels that read weights so are made for it, of these ways.
    #[must_use]
    pub fn wants(&self, rung: Rung, of: &[Rung]) -> bool {
        match (self.halves, rung) {
            (Halves::Native, Rung::Packed) => !of.contains(&Rung::Native),
            (Halves::Packed, Rung::Native) => false,
            _ => true,
        }
    }

    /// Rows and columns that a lane accumulates in a matmul of so many rows and columns: as few tiles as may be, all about
    /// equally full.
    pub(crate) fn lane_tile(&self, rows: usize, columns: usize) -> (usize, usize) {
        let runs = rows.div_ceil(LANES);
        let most = 2 * self.tile_m - 1;
        let half = self.tile_n / 2;
        let wide = columns.next_multiple_of(half).is_multiple_of(self.tile_n);
        (
            runs.div_ceil(runs.div_ceil(most)),
            if wide { self.tile_n } else { half },
        )
    }

    /// The profile of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        Self::ALL.iter().chain(Self::ON_REQUEST).find(|p| p.name == name)
    }
}
