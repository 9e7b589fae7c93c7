//! `adapters`: what there is to run on.

use super::args::AdaptersArgs;
use super::report::Error;

#[cfg(not(feature = "gpu"))]
pub(super) fn adapters(_: &AdaptersArgs) -> Result<(), Error> {
    Err(crate::session::SessionError::NoGpu(crate::run::AdapterQuery::Best).into())
}

/// Lists adapters; none is an answer, too.
#[cfg(feature = "gpu")]
pub(super) fn adapters(args: &AdaptersArgs) -> Result<(), Error> {
    let adapters = crate::run::adapters();
    let list = adapters.into_iter().enumerate().map(list::Adapter::new).collect();
    super::report::print(&list::List { adapters: list }, args.format)
}

#[cfg(feature = "gpu")]
mod list {
    use std::fmt;

    use serde::Serialize;

    use crate::cli::words;
    use crate::run::AdapterReport;

    #[derive(Debug, Serialize)]
    pub(super) struct List {
        pub(super) adapters: Vec<Adapter>,
    }

    #[derive(Debug, Serialize)]
    pub(super) struct Adapter {
        index: usize,
        name: String,
        backend: &'static str,
        kind: String,
        driver: String,
        f16: bool,
        packed_f16: bool,
        /// Least and greatest size.
        subgroups: Option<(u32, u32)>,
        timestamps: bool,
        /// Edges of cooperative matrices of halves summed in f32.
        matrices: Vec<u32>,
        binding_bytes: u64,
        buffer_bytes: u64,
        workgroup_bytes: u32,
        invocations: u32,
        storage_buffers: u32,
    }

    impl Adapter {
        pub(super) fn new((index, r): (usize, AdapterReport)) -> Self {
            Self {
                index,
                name: r.name,
                backend: r.backend,
                kind: r.kind.to_string(),
                driver: r.driver,
                f16: r.f16,
                packed_f16: r.packed_f16,
                subgroups: r.subgroups,
                timestamps: r.timestamps,
                matrices: r.matrices,
                binding_bytes: r.binding_bytes,
                buffer_bytes: r.buffer_bytes,
                workgroup_bytes: r.workgroup_bytes,
                invocations: r.invocations,
                storage_buffers: r.storage_buffers,
            }
        }
    }

    impl fmt::Display for List {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            if self.adapters.is_empty() {
                return writeln!(f, "no GPU adapter; models run on the CPU");
            }
            self.adapters.iter().try_for_each(|a| a.fmt(f))
        }
    }

    impl fmt::Display for Adapter {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let has = |there: bool| if there { "yes" } else { "no" };
            let subgroups = match self.subgroups {
                Some((least, most)) if least == most => least.to_string(),
                Some((least, most)) => format!("{least} to {most}"),
                None => "no".into(),
            };
            writeln!(
                f,
                "{}: {} ({}, {}), {}",
                self.index, self.name, self.kind, self.backend, self.driver
            )?;
            let matrices = match &self.matrices[..] {
                [] => "no".into(),
                edges => edges.iter().map(|e| format!("{e}x{e}")).collect::<Vec<_>>().join(" "),
            };
            writeln!(
                f,
                "   f16 {}, packed f16 {}, subgroups {subgroups}, timestamps {}, matrices {matrices}",
                has(self.f16),
                has(self.packed_f16),
                has(self.timestamps)
            )?;
            writeln!(
                f,
                "   binding {}, buffer {}, workgroup memory {}, {} invocations, {} storage buffers",
                words::bytes(self.binding_bytes),
                words::bytes(self.buffer_bytes),
                words::bytes(self.workgroup_bytes.into()),
                self.invocations,
                self.storage_buffers
            )
        }
    }
}
