//! Large layers in dispatches of their own: workgroups share the columns of a tile of rows, so that few rows fill a large GPU.

use loopfm::bundle::{Bundle, Precision, Rung};
use loopfm::compile::{Options, compile};
use loopfm::fuse::Profile;
use loopfm::ir::parse;
use loopfm::tensor::Tensors;

use crate::matrices::{HEAVY, numbers};

fn heavy(profile: &'static Profile) -> Bundle {
    let graph = parse(HEAVY).unwrap_or_else(|e| panic!("{e}"));
    let options = Options {
        profiles: vec![profile],
        rungs: vec![Rung::Packed],
        ..Options::new(Precision::F16)
    };
    let params = graph.params();
    let weights: Tensors = params
        .map(|(_, name, ty)| (name.to_owned(), numbers(&ty.shape.per_row(), 0.1)))
        .collect();
    compile("heavy", &graph, &weights, &options).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn an_invocation_has_one_tile_where_columns_come_out_even() {
    // Tiles of 8 columns: 40 and 57 of them. Times the tiles of rows, over the invocations: 2, 3 and 3 workgroups would do for
    // the first, which come out even as 2 and 4; the 57 of the second are shared by 3 or 19.
    let cases = [
        (&Profile::DISCRETE, [2, 3]),
        (&Profile::INTEGRATED, [4, 3]),
        (&Profile::PORTABLE, [4, 3]),
        (&Profile::SOFTWARE, [1, 1]),
    ];
    for (profile, shares) in cases {
        let bundle = heavy(profile);
        let kernels = bundle.manifest.variants[0].kernels.iter();
        let seen: Vec<u32> = kernels.map(|k| k.groups_per_tile).collect();
        assert_eq!(seen, shares, "{}", profile.name);
    }
}

#[cfg(feature = "gpu")]
#[test]
fn shared_columns_are_those_of_the_cpu() {
    use std::sync::Arc;

    use loopfm::metrics::{Difference, numbers as values};
    use loopfm::run::{self, Runtime};
    use loopfm::session::{DeviceChoice, Session, SessionOptions};

    use crate::support::gpu::gpu;

    let Some(device) = gpu() else { return };
    for profile in [&Profile::DISCRETE, &Profile::INTEGRATED, &Profile::PORTABLE] {
        let bundle = heavy(profile);
        let runtime = Runtime::open(Arc::clone(&device), &bundle, &run::Options::default()).unwrap();
        let cpu = SessionOptions {
            device: DeviceChoice::Cpu,
            ..SessionOptions::default()
        };
        let cpu = Session::open(&bundle, &cpu).unwrap();
        for rows in [1, 70] {
            let batch = Tensors::from([("x".to_owned(), numbers(&[rows, 512], 1.0))]);
            let (seen, expected) = (runtime.run(&batch).unwrap(), cpu.run(&batch).unwrap());
            let error = Difference::of(&values(&seen["y"]), &values(&expected["y"])).of_max;
            assert!(error < 1e-5, "{}, {rows} rows: {error:.1e}", profile.name);
        }
    }
}
