//! Weights larger than a buffer, and weights that halves do not hold.

#[cfg(feature = "gpu")]
use loopfm::bundle::Rung;
use loopfm::bundle::{Bundle, Precision, Storage};
use loopfm::compile::{CompileError, Options, compile};
use loopfm::ir::{self, Graph};
use loopfm::nn;
use loopfm::tensor::{DType, Dim, HostTensor, Shape, Tensors};

use super::{Sketch, portable};
use crate::support::graphs;
use crate::support::rng::Rng;

/// Tables and a matrix, each several times larger than a buffer of [`SMALL`] bytes.
fn large_weights() -> Result<(Graph, Tensors), ir::TypeError> {
    let mut s = Sketch::new();
    let rows = |rest: &[usize]| graphs::rows(rest);
    let id = s.g.input("id", DType::I32, rows(&[]))?;
    let mut parts = Vec::new();
    for width in [1, 5, 10, 16] {
        let table = s.param(&format!("table{width}"), &[6000, width])?;
        parts.push(s.g.gather(table, id)?);
    }
    let x = nn::beside(&mut s.g, &parts)?;
    let tower = s.layers("tower", &[32, 160, 160, 1])?;
    let y = nn::mlp(&mut s.g, x, &tower, |g, _, x| nn::relu(g, x))?;
    s.g.outputs = vec![("x".into(), x), ("y".into(), y)];
    Ok((s.g, s.weights))
}

const SMALL: u64 = 64 << 10;

fn split(precision: Precision) -> Bundle {
    let (graph, weights) = large_weights().unwrap();
    let options = Options {
        buffer_bytes: SMALL,
        ..portable(precision)
    };
    compile("split", &graph, &weights, &options).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn tables_larger_than_a_buffer_are_split_by_rows() {
    for precision in [Precision::F16, Precision::F32] {
        for variant in &split(precision).manifest.variants {
            let places: Vec<_> = variant.weights.iter().filter(|p| p.tensor == "table16").collect();
            assert!(places.len() > 1, "{precision:?}: {places:?}");
            let mut next = 0;
            for p in &places {
                assert_eq!(p.first_row, next);
                next += p.rows;
            }
            assert_eq!(next, 6000);
            assert!(
                variant.shards.iter().all(|words| words * 16 <= SMALL),
                "{:?}",
                variant.shards
            );
        }
    }
}

#[test]
fn a_weight_that_cannot_be_split_is_named() {
    let mut s = Sketch::new();
    let id = s.g.input("id", DType::I32, graphs::rows(&[])).unwrap();
    let table = s.param("popularity", &[40_000]).unwrap();
    let y = s.g.gather(table, id).unwrap();
    s.g.outputs.push(("y".into(), y));
    let options = Options {
        buffer_bytes: SMALL,
        ..portable(Precision::F32)
    };
    let error = compile("model", &s.g, &s.weights, &options).expect_err("160 kB in one buffer of 64 KiB");
    assert!(matches!(&error, CompileError::Layout(e) if e.name == "popularity" && e.needed == 160_000));
    assert_eq!(error.exit_code(), 3);
    assert!(error.to_string().contains("`popularity` needs 160000 bytes"), "{error}");
}

#[cfg(feature = "gpu")]
#[test]
fn split_tables_give_the_right_numbers() {
    use loopfm::run::{Options as Load, Runtime, VariantChoice};

    use crate::support::compare::within;

    let Some(device) = crate::support::gpu::gpu() else {
        return;
    };
    let (graph, weights) = large_weights().unwrap();
    // The first and last rows of every piece, whatever the pieces are.
    let ids: Vec<i32> = (0..6000).step_by(7).chain([5999]).collect();
    let batch = Tensors::from([("id".to_owned(), HostTensor::i32(&[ids.len()], ids.clone()))]);
    let sizes = loopfm::interp::sizes_of(&graph, &batch).unwrap();
    for (precision, rung) in [
        (Precision::F32, Rung::F32),
        (Precision::F16, Rung::Packed),
        (Precision::F16, Rung::Native),
    ] {
        if rung == Rung::Native && !device.report().f16 {
            continue;
        }
        let rounding = match precision {
            Precision::F32 => loopfm::interp::Rounding::GPU,
            Precision::F16 => loopfm::interp::Rounding::GPU_F16_WEIGHTS,
        };
        let bounds = loopfm::interp::bounds(&graph, &weights, &batch, sizes, rounding).unwrap();
        let bundle = split(precision);
        let needed = bundle.manifest.variants[0].needs.storage_buffers;
        if needed > device.report().storage_buffers {
            eprintln!("skipped: {rung:?} in {needed} buffers, more than a kernel may have here");
            continue;
        }
        let load = Load {
            variant: VariantChoice {
                rung: Some(rung),
                profile: None,
            },
            ..Load::default()
        };
        let runtime =
            Runtime::open(std::sync::Arc::clone(&device), &bundle, &load).unwrap_or_else(|e| panic!("{rung:?}: {e}"));
        let got = runtime.run(&batch).unwrap();
        within(&got, &bounds).unwrap_or_else(|e| panic!("{rung:?}: {e}"));
    }
}

#[test]
fn weights_become_halves_where_halves_hold_them() {
    let ordinary = |n: usize| Rng(1).floats(n, 0.5);
    let with = |n: usize, f: &dyn Fn(usize, f32) -> f32| -> Vec<f32> {
        ordinary(n).into_iter().enumerate().map(|(i, x)| f(i, x)).collect()
    };
    let cases: [(&str, Vec<f32>, Storage); 4] = [
        ("ordinary values", ordinary(320), Storage::F16),
        (
            "a third of the rows hardly trained",
            with(320, &|i, x| if i / 8 % 3 == 0 { x * 1e-5 } else { x }),
            Storage::F16,
        ),
        ("nothing but tiny values", with(320, &|_, x| x * 1e-5), Storage::F32),
        (
            "one value beyond the range",
            with(320, &|i, x| if i == 7 { 2e4 } else { x }),
            Storage::F32,
        ),
    ];
    for (what, values, storage) in cases {
        let mut g = Graph::new();
        let ids = g.input("ids", DType::I32, Shape(vec![Dim::Rows(1)])).expect("an input");
        let table = g.param("table", &[40, 8]).expect("a table");
        let rows = g.gather(table, ids).expect("rows of it");
        g.outputs.push(("rows".into(), rows));
        let weights = Tensors::from([("table".to_owned(), HostTensor::f32(&[40, 8], values))]);
        let bundle = compile("table", &g, &weights, &portable(Precision::F16)).expect("it compiles");
        assert_eq!(bundle.weights["table"].storage, storage, "{what}");
    }
}
