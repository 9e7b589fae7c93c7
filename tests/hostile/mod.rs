//! Hostile and damaged files: each is refused by the error made for it, nothing panics, nothing half-read comes back.

mod bundles;
mod checkpoints;
mod containers;
mod shards;

use loopfm::tensor::{HostTensor, Tensors};
use tempfile::TempDir;

pub(crate) fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// The name of the innermost error: its variant as `Debug` spells it.
pub(crate) fn variant(e: &impl std::fmt::Debug) -> String {
    let text = format!("{e:?}");
    let inner = text.rsplit_once("source: ").map_or(text.as_str(), |(_, inner)| inner);
    inner.chars().take_while(char::is_ascii_alphanumeric).collect()
}

pub(crate) fn line(name: &str, dtype: &str, shape: &str, begin: u64, end: u64) -> String {
    format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{begin},{end}]}}"#)
}

pub(crate) fn header(lines: &[String]) -> String {
    format!("{{{}}}", lines.join(","))
}

pub(crate) const LINEAR: &str = r#"loopfm 1
%0 = input "x" : f32[rows, 3]
%1 = param "a" : f32[3, 2]
%2 = param "b" : f32[2]
%3 = param "c" : i32[2]
%4 = param "d" : f32[]
%5 = matmul(%0, %1) : f32[rows, 2]
return "y" = %5
"#;

pub(crate) fn fitting() -> Tensors {
    Tensors::from([
        ("a".to_owned(), HostTensor::f32(&[3, 2], vec![1.0; 6])),
        ("b".to_owned(), HostTensor::f32(&[2], vec![0.5; 2])),
        ("c".to_owned(), HostTensor::i32(&[2], vec![1, 2])),
        ("d".to_owned(), HostTensor::f32(&[], vec![2.0])),
    ])
}
