//! Sound files that are no model, or hold what no graph can take.

use std::path::Path;

use loopfm::import::{self, Problem, load, read_tensors};
use loopfm::tensor::{Data, HostTensor, Tensors};

use super::{LINEAR, fitting, folder, header, line, variant};
use crate::support::files::{put, raw, safetensors};

#[test]
fn what_is_no_file_is_refused() {
    let folder = folder();
    let e = load(&folder.path().join("none")).expect_err("no file");
    assert_eq!((variant(&e).as_str(), e.exit_code()), ("Os", 1), "{e}");
    assert_eq!(
        variant(&load(folder.path()).expect_err("an empty folder")),
        "EmptyFolder"
    );
    #[cfg(unix)]
    assert_eq!(
        variant(&load(Path::new("/dev/zero")).expect_err("a device")),
        "NotAFile"
    );
}

#[test]
fn element_types_convert_or_are_refused() {
    let folder = folder();
    let read = |dtype: &str, n: u64, bytes: &[u8]| {
        let shape = format!("[{n}]");
        let text = header(&[line("w", dtype, &shape, 0, bytes.len() as u64)]);
        let path = put(folder.path(), "x.safetensors", raw(&text, bytes));
        read_tensors(&path).map(|(mut t, _)| t.swap_remove("w").expect("it is there").data)
    };
    let doubles = |x: f64| [1.0f64.to_le_bytes(), x.to_le_bytes()].concat();
    let longs = |x: i64| [7i64.to_le_bytes(), x.to_le_bytes()].concat();
    let ok = |data| Some(data);
    assert_eq!(read("F16", 1, &[0x00, 0x3c]).ok(), ok(Data::F32(vec![1.0])));
    assert_eq!(read("BF16", 1, &[0x80, 0x3f]).ok(), ok(Data::F32(vec![1.0])));
    assert_eq!(read("F32", 1, &1.5f32.to_le_bytes()).ok(), ok(Data::F32(vec![1.5])));
    assert_eq!(read("F64", 2, &doubles(0.1)).ok(), ok(Data::F32(vec![1.0, 0.1])));
    assert_eq!(
        read("F64", 2, &doubles(f64::INFINITY)).ok(),
        ok(Data::F32(vec![1.0, f32::INFINITY]))
    );
    assert_eq!(read("I32", 1, &(-3i32).to_le_bytes()).ok(), ok(Data::I32(vec![-3])));
    assert_eq!(
        read("I64", 2, &longs(i64::from(i32::MIN))).ok(),
        ok(Data::I32(vec![7, i32::MIN]))
    );
    assert_eq!(read("BOOL", 2, &[0, 1]).ok(), ok(Data::Bool(vec![false, true])));
    assert_eq!(read("U8", 2, &[1, 0]).ok(), ok(Data::Bool(vec![true, false])));
    for (dtype, bytes, expected) in [
        ("F64", doubles(1e39), "OutOfRange"),
        ("I64", longs(i64::from(i32::MAX) + 1), "OutOfRange"),
        ("U8", vec![1, 2], "NotBool"),
        ("U16", vec![0; 4], "Dtype"),
        ("F8_E4M3", vec![0; 2], "Dtype"),
    ] {
        let e = read(dtype, 2, &bytes).expect_err(dtype);
        assert_eq!(variant(&e), expected, "{e}");
        let text = e.to_string();
        assert!(
            text.contains("tensor `w`") && (expected == "Dtype" || text.contains("element 1")),
            "{e}"
        );
    }
}

fn load_linear(tensors: &Tensors, metadata: &[(&str, &str)]) -> Result<import::Model, import::Error> {
    let folder = folder();
    load(&put(folder.path(), "lin.safetensors", safetensors(metadata, tensors)))
}

#[test]
fn a_graph_in_metadata_loads() {
    let model = load_linear(&fitting(), &[("loopfm.graph", LINEAR), ("loopfm.format", "1")]).expect("it fits");
    assert_eq!(model.name, "lin");
    assert_eq!(model.graph.to_string(), LINEAR);
    assert_eq!(model.weights, fitting());
    assert!(model.weights.keys().eq(["a", "b", "c", "d"]), "in the graph's order");
    let named = load_linear(&fitting(), &[("loopfm.graph", LINEAR), ("loopfm.model", "two")]).expect("it fits");
    assert_eq!(named.name, "two");
}

#[test]
fn tensors_that_do_not_fit_are_reported_together() {
    let mut tensors = fitting();
    tensors.insert("a".into(), HostTensor::f32(&[2, 3], vec![1.0; 6]));
    tensors.insert("c".into(), HostTensor::f32(&[2], vec![f32::NAN; 2]));
    tensors.swap_remove("b");
    tensors.insert("e".into(), HostTensor::bool(&[1], vec![true]));
    let e = load_linear(&tensors, &[("loopfm.graph", LINEAR)]).expect_err("nothing fits");
    let text = e.to_string();
    let import::Error::Mismatch { problems, .. } = e else {
        panic!("{text}")
    };
    let kinds: Vec<&str> = problems
        .iter()
        .map(|p| match p {
            Problem::Missing { .. } => "missing",
            Problem::Unexpected { .. } => "unexpected",
            Problem::Shape { .. } => "shape",
            Problem::Type { .. } => "type",
        })
        .collect();
    assert_eq!(kinds, ["shape", "missing", "type", "unexpected"]);
    for part in [
        "lin.safetensors",
        "shape: tensor `a` is f32[2, 3], expected f32[3, 2]",
        "missing: tensor `b`, f32[2]",
        "type: tensor `c` is F32 [2], expected i32[2]",
        "unexpected: tensor `e`, BOOL [1]",
    ] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
}

#[test]
fn weights_must_be_finite() {
    let mut tensors = fitting();
    tensors.insert(
        "a".into(),
        HostTensor::f32(&[3, 2], vec![0.0, 1.0, f32::NAN, 2.0, f32::INFINITY, 3.0]),
    );
    tensors.insert("d".into(), HostTensor::f32(&[], vec![f32::NEG_INFINITY]));
    let e = load_linear(&tensors, &[("loopfm.graph", LINEAR)])
        .expect_err("not finite")
        .to_string();
    assert!(e.contains("`a`: 2 elements, the first is element 2"), "{e}");
    assert!(e.contains("`d`: 1 elements, the first is element 0"), "{e}");
}

#[test]
fn graphs_are_refused_by_name() {
    for (metadata, expected, exit) in [
        (vec![], "NoGraph", 1),
        (vec![("loopfm.graph", LINEAR), ("loopfm.format", "2")], "Format", 6),
        (vec![("loopfm.graph", "loopfm 1\n")], "ParseError", 1),
    ] {
        let e = load_linear(&fitting(), &metadata).expect_err(expected);
        assert_eq!((variant(&e).as_str(), e.exit_code()), (expected, exit), "{e}");
    }
}
