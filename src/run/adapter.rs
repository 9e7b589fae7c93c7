//! Which adapters there are, and what they can do.

use super::{AdapterKind, AdapterQuery, Error};

/// What there is to know about an adapter.
#[derive(Clone, Debug)]
pub struct AdapterReport {
    /// Name, as the driver gives it.
    pub name: String,
    /// API it is reached through.
    pub backend: &'static str,
    /// What it is.
    pub kind: AdapterKind,
    /// Driver and its version.
    pub driver: String,
    /// Greatest bytes of one storage binding.
    pub binding_bytes: u64,
    /// Greatest bytes of one buffer.
    pub buffer_bytes: u64,
    /// Workgroup memory in bytes.
    pub workgroup_bytes: u32,
    /// Greatest invocations of a workgroup.
    pub invocations: u32,
    /// Storage buffers that one kernel can bind.
    pub storage_buffers: u32,
    /// Whether shaders may `enable f16`.
    pub f16: bool,
    /// Whether shaders may unpack halves from words.
    pub packed_f16: bool,
    /// Least and greatest subgroup size, where lanes can exchange values.
    pub subgroups: Option<(u32, u32)>,
    /// Whether kernels can be timed.
    pub timestamps: bool,
    /// Edges of cooperative matrices of halves that are summed in f32, greatest first.
    pub matrices: Vec<u32>,
}

impl AdapterReport {
    pub(super) fn new(adapter: &wgpu::Adapter) -> Self {
        let info = adapter.get_info();
        let mut report = Self {
            name: info.name,
            backend: info.backend.to_str(),
            kind: kind(info.device_type),
            driver: format!("{} {}", info.driver, info.driver_info).trim().into(),
            binding_bytes: 0,
            buffer_bytes: 0,
            workgroup_bytes: 0,
            invocations: 0,
            storage_buffers: 0,
            f16: false,
            packed_f16: flags(adapter).contains(wgpu::DownlevelFlags::SHADER_F16_IN_F32),
            subgroups: Some((info.subgroup_min_size, info.subgroup_max_size)),
            timestamps: false,
            matrices: edges(&adapter.cooperative_matrix_properties()),
        };
        report.limit(&adapter.limits(), adapter.features());
        report
    }

    /// Brings the report down to what a device was opened with.
    pub(super) fn limit(&mut self, limits: &wgpu::Limits, features: wgpu::Features) {
        self.binding_bytes = limits.max_storage_buffer_binding_size;
        self.buffer_bytes = limits.max_buffer_size;
        self.workgroup_bytes = limits.max_compute_workgroup_storage_size;
        self.invocations = limits.max_compute_invocations_per_workgroup;
        self.storage_buffers = limits.max_storage_buffers_per_shader_stage;
        self.f16 = features.contains(wgpu::Features::SHADER_F16);
        self.timestamps = features.contains(wgpu::Features::TIMESTAMP_QUERY);
        if !features.contains(wgpu::Features::SUBGROUP) {
            self.subgroups = None;
        }
        if !self.f16 || self.subgroups.is_none() || !features.contains(MATRICES) {
            self.matrices.clear();
        }
    }
}

/// The feature that kernels with cooperative matrices need.
pub(super) const MATRICES: wgpu::Features = wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX;

/// Edges of squares that kernels are written for, of what an adapter multiplies.
fn edges(entries: &[wgpu::CooperativeMatrixProperties]) -> Vec<u32> {
    use wgpu::CooperativeScalarType::{F16, F32};
    let serves = |edge: &u32| {
        entries
            .iter()
            .any(|e| [e.m_size, e.n_size, e.k_size] == [*edge; 3] && e.ab_type == F16 && e.cr_type == F32)
    };
    [16, 8].into_iter().filter(serves).collect()
}

fn kind(of: wgpu::DeviceType) -> AdapterKind {
    match of {
        wgpu::DeviceType::DiscreteGpu => AdapterKind::Discrete,
        wgpu::DeviceType::IntegratedGpu => AdapterKind::Integrated,
        wgpu::DeviceType::VirtualGpu => AdapterKind::Virtual,
        wgpu::DeviceType::Other => AdapterKind::Other,
        wgpu::DeviceType::Cpu => AdapterKind::Software,
    }
}

fn flags(adapter: &wgpu::Adapter) -> wgpu::DownlevelFlags {
    adapter.get_downlevel_capabilities().flags
}

/// All adapters that can compute, best first; [`AdapterQuery::Index`] counts in this order.
#[must_use]
pub fn adapters() -> Vec<AdapterReport> {
    enumerate().iter().map(AdapterReport::new).collect()
}

fn enumerate() -> Vec<wgpu::Adapter> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
        backends: wgpu::Backends::all(),
        // Validation layers of the driver are for whoever debugs wgpu.
        flags: wgpu::InstanceFlags::empty(),
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    });
    let mut adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::all()));
    adapters.retain(|a| flags(a).contains(wgpu::DownlevelFlags::COMPUTE_SHADERS));
    // One GPU often shows under several APIs; GL is the least of them.
    adapters.sort_by_key(|a| {
        let info = a.get_info();
        (kind(info.device_type), info.backend == wgpu::Backend::Gl)
    });
    adapters
}

/// The adapter that a query names.
pub(super) fn choose(query: &AdapterQuery) -> Result<wgpu::Adapter, Error> {
    let adapters = enumerate();
    let names: Vec<String> = adapters.iter().map(|a| a.get_info().name).collect();
    let fits = |i: usize, adapter: &wgpu::Adapter| match query {
        AdapterQuery::Best => true,
        AdapterQuery::Index(index) => i == *index,
        AdapterQuery::Name(part) => adapter.get_info().name.to_lowercase().contains(&part.to_lowercase()),
        AdapterQuery::Kind(wanted) => kind(adapter.get_info().device_type) == *wanted,
    };
    let found = adapters.into_iter().enumerate().find(|(i, a)| fits(*i, a));
    found.map(|(_, adapter)| adapter).ok_or_else(|| Error::NoAdapter {
        wanted: query.to_string(),
        tried: wgpu::Instance::enabled_backend_features()
            .iter_names()
            .map(|(name, _)| name.to_lowercase())
            .collect::<Vec<_>>()
            .join(", "),
        found: names,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use wgpu::CooperativeScalarType::{self as Scalar, F16, F32};

    fn entry(sizes: [u32; 3], ab_type: Scalar, cr_type: Scalar) -> wgpu::CooperativeMatrixProperties {
        let [m_size, n_size, k_size] = sizes;
        wgpu::CooperativeMatrixProperties {
            m_size,
            n_size,
            k_size,
            ab_type,
            cr_type,
            saturating_accumulation: false,
        }
    }

    #[test]
    fn squares_of_halves_summed_in_f32_serve_and_nothing_else() {
        assert_eq!(edges(&[]), [0; 0]);
        let wrong = [
            entry([16; 3], F16, F16),
            entry([16; 3], F32, F32),
            entry([16, 16, 8], F16, F32),
            entry([32; 3], F16, F32),
        ];
        assert_eq!(edges(&wrong), [0; 0]);
        let eight = entry([8; 3], F16, F32);
        assert_eq!(edges(&[wrong[0], eight]), [8]);
        assert_eq!(edges(&[eight, entry([16; 3], F16, F32)]), [16, 8]);
    }
}
