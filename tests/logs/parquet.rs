//! Parquet files: types, damage, columns that are inputs already.

use std::path::PathBuf;
use std::sync::Arc;

use arrow_array::builder::{Int64Builder, ListBuilder};
use arrow_array::{
    ArrayRef, BooleanArray, Date32Array, Float32Array, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray, UInt64Array,
};
use loopfm::data::{LogFiles, read_columns};
use loopfm::tensor::{DType, HostTensor};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;

use super::{Folder, declared, encoded, ints};
use crate::support::rng::Rng;

/// A Parquet file of these columns, two rows a row group.
pub(super) fn file(folder: &Folder, name: &str, columns: Vec<(&str, ArrayRef)>) -> PathBuf {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(2)).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    folder.write(name, writer.into_inner().unwrap())
}

fn ints64(values: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

fn lists(values: &[Option<&[i64]>]) -> ArrayRef {
    let mut builder = ListBuilder::new(Int64Builder::new());
    for list in values {
        match list {
            Some(list) => builder.append_value(list.iter().copied().map(Some)),
            None => builder.append_null(),
        }
    }
    Arc::new(builder.finish())
}

fn small(folder: &Folder, name: &str) -> PathBuf {
    let columns = vec![
        ("user", ints64(&[1, 2, 3])),
        ("t", ints64(&[1_650_812_741, 1_650_812_742, 1_650_812_743])),
        ("click", ints64(&[1, 0, 1])),
        ("item", Arc::new(StringArray::from(vec!["a", "b", "a"])) as ArrayRef),
        ("his", lists(&[Some(&[1, 2, 3]), None, Some(&[])])),
    ];
    file(folder, name, columns)
}

#[test]
fn every_type() {
    let folder = Folder::new();
    let log = file(
        &folder,
        "log.parquet",
        vec![
            ("user", Arc::new(StringArray::from(vec!["a", "b", "c"])) as ArrayRef),
            (
                "t",
                Arc::new(TimestampMicrosecondArray::from(vec![
                    1_650_812_741_436_999,
                    1_650_812_742_000_000,
                    1_650_812_743_000_000,
                ])) as ArrayRef,
            ),
            (
                "day",
                Arc::new(Date32Array::from(vec![19_107, 19_107, 19_108])) as ArrayRef,
            ),
            (
                "click",
                Arc::new(BooleanArray::from(vec![true, false, true])) as ArrayRef,
            ),
            (
                "small",
                Arc::new(Int32Array::from(vec![Some(-3), None, Some(5)])) as ArrayRef,
            ),
            (
                "huge",
                Arc::new(UInt64Array::from(vec![u64::MAX, 1, u64::MAX])) as ArrayRef,
            ),
            (
                "gaps",
                Arc::new(Float64Array::from(vec![Some(7.0), Some(f64::NAN), None])) as ArrayRef,
            ),
            ("his", lists(&[Some(&[1, 2, 3]), None, Some(&[])])),
        ],
    );
    let features = folder
        .features(
            "[log]\nkey = \"user\"\ntime = { column = \"t\" }\nday = \"day\"\nlabel = \"click\"
             [features.small]\nid = \"small\"\n[features.huge]\nid = \"huge\"\n[features.gaps]\nid = \"gaps\"
             [features.his]\nsequence = \"his\"\nlength = 2\n[features.first]\nid = \"his\"\nfirst_of = \",\"",
        )
        .unwrap();
    let (encoder, all) = encoded(&features, &[log]).unwrap();
    assert_eq!(ints(&all, "small"), [2, 0, 1]);
    assert_eq!(
        (ints(&all, "huge"), encoder.id("huge", 2)),
        ([2, 1, 2].as_slice(), Some("18446744073709551615"))
    );
    assert_eq!(ints(&all, "gaps"), [1, 0, 0]);
    assert_eq!(ints(&all, "his"), [2, 3, 0, 0, 0, 0]);
    assert_eq!(ints(&all, "first"), [1, 0, 0]);
    // Microseconds are rounded to the past.
    assert_eq!(
        (all.time[0], all.day.unwrap()),
        (1_650_812_741_436, vec![20_220_425, 20_220_425, 20_220_426])
    );
    assert_eq!(all.label, Some(vec![1.0, 0.0, 1.0]));
}

#[test]
fn units_are_not_guessed() {
    let folder = Folder::new();
    let log = small(&folder, "log.parquet");
    let toml = declared("[features.item]\nid = \"item\"").replace(", unit = \"s\"", "");
    let why = LogFiles::open(&folder.features(&toml).unwrap(), &[log]).unwrap_err();
    assert!(
        why.to_string()
            .contains("column `t` is integers, event time must be declared with its `unit`"),
        "{why}"
    );
    assert_eq!(why.exit_code(), 1);
    let columns = vec![
        ("user", ints64(&[1])),
        ("t", Arc::new(TimestampMicrosecondArray::from(vec![0])) as ArrayRef),
        ("item", ints64(&[1])),
    ];
    let log = file(&folder, "micros.parquet", columns);
    let features = folder.features(&declared("[features.item]\nid = \"item\"")).unwrap();
    let why = LogFiles::open(&features, &[log]).unwrap_err().to_string();
    assert!(
        why.contains("is times in us, event time must be in the unit that is declared"),
        "{why}"
    );
}

#[test]
fn another_schema_half_way() {
    let folder = Folder::new();
    let mut files: Vec<PathBuf> = (0..5).map(|i| small(&folder, &format!("{i}.parquet"))).collect();
    let columns = vec![
        ("user", ints64(&[1])),
        ("t", ints64(&[1_650_812_741])),
        ("click", ints64(&[1])),
        ("item", ints64(&[1])),
    ];
    files[2] = file(&folder, "2.parquet", columns);
    let features = folder.features(&declared("[features.item]\nid = \"item\"")).unwrap();
    let why = LogFiles::open(&features, &files).unwrap_err().to_string();
    assert!(
        why.contains("2.parquet`: column `item` is integers, in `") && why.contains("0.parquet` it is text"),
        "{why}"
    );
    files[2] = file(
        &folder,
        "2.parquet",
        vec![("user", ints64(&[1])), ("t", ints64(&[1_650_812_741]))],
    );
    let why = LogFiles::open(&features, &files).unwrap_err().to_string();
    assert!(
        why.contains("2.parquet`: column `click`, the label, is missing"),
        "{why}"
    );
}

/// A file cut anywhere is damaged, and says so before a row is read; exit code 5.
#[test]
fn truncations() {
    let folder = Folder::new();
    let whole = std::fs::read(small(&folder, "whole.parquet")).unwrap();
    let features = folder.features(&declared("[features.item]\nid = \"item\"")).unwrap();
    for length in 0..whole.len() {
        let log = folder.write("cut.parquet", &whole[..length]);
        let why = LogFiles::open(&features, &[log]).expect_err("cut short");
        assert!(
            why.exit_code() == 5 && why.to_string().contains("cut.parquet`: "),
            "{length}: {why}"
        );
    }
}

/// Bytes changed at random, and random bytes: errors with the file's name, or rows; never a panic.
#[test]
fn garbage() {
    let folder = Folder::new();
    let whole = std::fs::read(small(&folder, "whole.parquet")).unwrap();
    let features = folder
        .features(&declared(
            "[features.item]\nid = \"item\"\n[features.his]\nsequence = \"his\"\nlength = 2",
        ))
        .unwrap();
    let mut rng = Rng(7);
    let mut refused = 0;
    let csv = "user,t,click,item,his\n1,1650812741,1,\"a\",3\n2,1650812742,0,b,\n".repeat(3);
    for case in 0..600 {
        let (mut bytes, name) = match case % 3 {
            0 => (csv.clone().into_bytes(), "garbage.csv"),
            _ => (whole.clone(), "garbage.parquet"),
        };
        for _ in 0..=rng.below(4) {
            let at = rng.below(bytes.len());
            bytes[at] = rng.below(256) as u8;
        }
        if case % 3 == 2 {
            // All of the footer, its length and magic kept.
            let end = bytes.len() - 8;
            let footer = u32::from_le_bytes(whole[end..end + 4].try_into().unwrap()) as usize;
            (end - footer..end).for_each(|i| bytes[i] = rng.below(256) as u8);
            bytes[end..].copy_from_slice(&whole[end..]);
        }
        let log = folder.write(name, &bytes);
        if let Err(why) = encoded(&features, &[log]) {
            assert!([1, 4, 5].contains(&why.exit_code()), "{why}");
            refused += 1;
        }
    }
    assert!(refused > 300, "{refused}");
}

#[test]
fn columns_that_are_inputs() {
    let folder = Folder::new();
    let path = file(
        &folder,
        "columns.parquet",
        vec![
            ("id", ints64(&[1, 2, 3])),
            ("x", Arc::new(Float32Array::from(vec![0.5, 1.5, 2.5])) as ArrayRef),
            (
                "mask",
                Arc::new(BooleanArray::from(vec![true, false, true])) as ArrayRef,
            ),
            ("his", lists(&[Some(&[1, 2]), Some(&[3, 4]), Some(&[5, 6])])),
            ("ragged", lists(&[Some(&[1, 2]), Some(&[3]), Some(&[])])),
            (
                "nulls",
                Arc::new(Int32Array::from(vec![Some(1), None, None])) as ArrayRef,
            ),
            ("large", ints64(&[1, 1 << 40, 3])),
        ],
    );
    let read = read_columns(
        &path,
        &[
            ("id", DType::I32),
            ("x", DType::F32),
            ("mask", DType::Bool),
            ("his", DType::I32),
        ],
    )
    .unwrap();
    assert_eq!(read["id"], HostTensor::i32(&[3], vec![1, 2, 3]));
    assert_eq!(read["x"], HostTensor::f32(&[3], vec![0.5, 1.5, 2.5]));
    assert_eq!(read["mask"], HostTensor::bool(&[3], vec![true, false, true]));
    assert_eq!(read["his"], HostTensor::i32(&[3, 2], vec![1, 2, 3, 4, 5, 6]));
    for (column, dtype, words) in [
        (
            "ragged",
            DType::I32,
            "row 1: `ragged` is a list of 1, it must be a list of 2",
        ),
        ("nulls", DType::I32, "row 1: `nulls` is null"),
        (
            "large",
            DType::I32,
            "row 1: `large` is 1099511627776, it must be an integer within i32",
        ),
        (
            "x",
            DType::I32,
            "column `x` is floats, an input of i32 must be integers",
        ),
        ("none", DType::I32, "column `none`, an input, is missing"),
    ] {
        let why = read_columns(&path, &[(column, dtype)]).unwrap_err().to_string();
        assert!(why.contains(words), "{why}");
    }
}
