//! naga's word on a kernel.

use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};

/// Text that naga refuses: a bug of the compiler.
#[derive(Debug, thiserror::Error)]
#[error("generated kernel `{kernel}` is not valid WGSL (a bug in loopfm)\n{report}")]
pub struct Rejected {
    /// The kernel.
    pub kernel: String,
    /// naga's report.
    pub report: String,
    /// The text.
    pub wgsl: String,
}

/// Parses and validates a kernel.
///
/// # Errors
/// [`Rejected`] with naga's report.
pub fn module(kernel: &str, wgsl: &str) -> Result<(naga::Module, ModuleInfo), Rejected> {
    let rejected = |report| Rejected {
        kernel: kernel.to_owned(),
        report,
        wgsl: wgsl.to_owned(),
    };
    let module = naga::front::wgsl::parse_str(wgsl).map_err(|e| rejected(e.emit_to_string(wgsl)))?;
    let capabilities = Capabilities::SHADER_FLOAT16
        | Capabilities::SUBGROUP
        | Capabilities::SHADER_FLOAT16_IN_FLOAT32
        | Capabilities::COOPERATIVE_MATRIX;
    let info = Validator::new(ValidationFlags::all(), capabilities)
        .validate(&module)
        .map_err(|e| rejected(e.emit_to_string(wgsl)))?;
    Ok((module, info))
}

/// Parses and validates a kernel.
///
/// # Errors
/// [`Rejected`] with naga's report.
pub fn validate(kernel: &str, wgsl: &str) -> Result<(), Rejected> {
    module(kernel, wgsl).map(|_| ())
}
