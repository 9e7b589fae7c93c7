//! What a caller may ask of the runtime.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::bundle::{CAPACITY_STEP, Rung, Variant, Vouched};

/// Which adapter to open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AdapterQuery {
    /// The most capable one: discrete, then integrated, then virtual, then software.
    #[default]
    Best,
    /// By its place in the list of adapters.
    Index(usize),
    /// The best one whose name contains this, in any case.
    Name(String),
    /// The best one of this kind.
    Kind(AdapterKind),
}

impl fmt::Display for AdapterQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Best => f.write_str("any adapter"),
            Self::Index(i) => write!(f, "adapter {i}"),
            Self::Name(name) => write!(f, "an adapter named like `{name}`"),
            Self::Kind(kind) => write!(f, "a {kind} adapter"),
        }
    }
}

/// What an adapter is, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AdapterKind {
    /// A GPU with memory of its own.
    Discrete,
    /// A GPU that shares the host's memory.
    Integrated,
    /// A GPU lent to a virtual machine.
    Virtual,
    /// Unknown to the driver.
    Other,
    /// A CPU that plays a GPU: right, but slower than the CPU executor.
    Software,
}

impl AdapterKind {
    /// Profiles whose variants come first on adapters of this kind, best first; the rest follow as a bundle has them, which
    /// is the order for GPUs with memory of their own.
    #[must_use]
    pub fn profiles(self) -> &'static [&'static str] {
        match self {
            // Registers of such GPUs may not hold what `discrete` sums.
            Self::Integrated => &["integrated", "portable"],
            Self::Discrete | Self::Virtual | Self::Other | Self::Software => &[],
        }
    }

    /// Variants in the order in which adapters of this kind should try them.
    #[must_use]
    pub fn in_order(self, variants: &[Variant]) -> Vec<&Variant> {
        let mut order: Vec<&Variant> = variants.iter().collect();
        let place = |v: &Variant| self.profiles().iter().position(|p| *p == v.profile);
        order.sort_by_key(|v| place(v).unwrap_or(usize::MAX));
        order
    }
}

impl fmt::Display for AdapterKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Discrete => "discrete",
            Self::Integrated => "integrated",
            Self::Virtual => "virtual",
            Self::Other => "other",
            Self::Software => "software",
        })
    }
}

/// How a device is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceOptions {
    /// Which limits to ask for.
    pub limits: LimitsChoice,
    /// Pretend that shaders cannot `enable f16`.
    pub forbid_f16: bool,
    /// Ask for cooperative matrices, where the adapter has them: without, variants that need them are passed over. wgpu
    /// counts them as experimental and does not check how far a kernel's squares reach: such kernels run only if this
    /// process has generated them itself ([`Options::vouched`]).
    pub matrices: bool,
    /// How long one submission may take before it counts as hung.
    pub timeout: Duration,
}

impl Default for DeviceOptions {
    fn default() -> Self {
        Self {
            limits: LimitsChoice::Adapter,
            forbid_f16: false,
            matrices: false,
            timeout: Duration::from_secs(120),
        }
    }
}

/// Which limits a device gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LimitsChoice {
    /// All that the adapter has.
    #[default]
    Adapter,
    /// What every WebGPU device has, to see on a large machine what happens on a small one.
    Portable,
}

/// Sizes of the batches that a runtime holds memory for; larger ones are split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Rows.
    pub rows: u32,
    /// Requests.
    pub requests: u32,
}

impl Capacity {
    /// The same, both rounded up to a multiple of [`CAPACITY_STEP`] and at least that.
    #[must_use]
    pub fn rounded(self) -> Self {
        let up = |n: u32| n.clamp(1, u32::MAX - CAPACITY_STEP).next_multiple_of(CAPACITY_STEP);
        Self {
            rows: up(self.rows),
            requests: up(self.requests),
        }
    }
}

/// Which set of kernels to run; the default takes the first that the device can run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VariantChoice {
    /// Only sets planned for this profile.
    pub profile: Option<String>,
    /// Only sets of this rung.
    pub rung: Option<Rung>,
}

impl VariantChoice {
    /// This one and no other.
    #[must_use]
    pub fn of(variant: &Variant) -> Self {
        Self {
            profile: Some(variant.profile.clone()),
            rung: Some(variant.rung),
        }
    }
}

/// How a program is loaded.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Capacities; by default 4096 of each, or as many as the device's limits let fit.
    pub capacity: Option<Capacity>,
    /// Which set of kernels.
    pub variant: VariantChoice,
    /// Folder in which compiled kernels are kept for the next process, by adapter and model; it may be emptied at any
    /// time. Most drivers on desktops keep such a cache themselves.
    pub pipelines: Option<PathBuf>,
    /// What of the bundle this process has generated itself ([`crate::compile::vouch`]). Kernels that multiply cooperative
    /// matrices run only if they are among it.
    pub vouched: Option<Arc<Vouched>>,
    /// Run those of `vouched` that decide all their indices without checks of these and of loops, which wgpu adds where a
    /// driver has none.
    pub unchecked: bool,
}
