//! Malformed safetensors files, and sound ones at the corners of the format.

use loopfm::container::{MAX_HEADER, MAX_TENSORS};
use loopfm::import::{load, read_tensors};

use super::{LINEAR, fitting, folder, header, line, variant};
use crate::support::files::{put, raw, safetensors};
use crate::support::rng::Rng;

/// One tensor `w` of this type, shape and span, followed by this many bytes.
fn one(dtype: &str, shape: &str, begin: u64, end: u64, data: usize) -> Vec<u8> {
    raw(&header(&[line("w", dtype, shape, begin, end)]), &vec![0; data])
}

fn two(first: (u64, u64), second: (u64, u64), data: usize) -> Vec<u8> {
    let l = [
        line("a", "U8", "[4]", first.0, first.1),
        line("b", "U8", "[4]", second.0, second.1),
    ];
    raw(&header(&l), &vec![0; data])
}

#[test]
fn malformed_containers_are_refused_by_name() {
    let w = line("w", "F32", "[1]", 0, 4);
    let many: Vec<String> = (0..=MAX_TENSORS)
        .map(|i| line(&format!("t{i}"), "U8", "[0]", 0, 0))
        .collect();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("TooShort", vec![]),
        ("TooShort", vec![0; 7]),
        ("HeaderBeyondFile", 1u64.to_le_bytes().to_vec()),
        ("HeaderBeyondFile", u64::MAX.to_le_bytes().to_vec()),
        (
            "HeaderBeyondFile",
            [&[0xf8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff][..], b"{}"].concat(),
        ),
        ("HeaderTooLarge", raw(&" ".repeat(MAX_HEADER as usize + 1), &[])),
        ("HeaderNotUtf8", [&3u64.to_le_bytes()[..], b"{\xff}"].concat()),
        ("HeaderStart", raw("", &[])),
        ("HeaderStart", raw(" {}", &[])),
        ("HeaderStart", raw("\n{}", &[])),
        ("HeaderStart", raw("[]", &[])),
        ("HeaderStart", raw("\u{feff}{}", &[])),
        ("TooDeep", raw(&format!(r#"{{"w":{}}}"#, "[".repeat(100_000)), &[])),
        (
            "TooDeep",
            raw(&format!(r#"{{"w":{}{}}}"#, "[".repeat(40), "]".repeat(40)), &[]),
        ),
        ("HeaderNotJson", raw("{", &[])),
        ("HeaderNotJson", raw("{}{}", &[])),
        ("HeaderNotJson", raw("{}\0", &[])),
        ("HeaderNotJson", raw(r#"{"w":}"#, &[])),
        ("HeaderNotJson", raw(&format!("{{{w},}}"), &[0; 4])),
        ("Metadata", raw(r#"{"__metadata__":1}"#, &[])),
        ("Metadata", raw(r#"{"__metadata__":{"a":1}}"#, &[])),
        ("Metadata", raw(r#"{"__metadata__":{"a":{"b":"c"}}}"#, &[])),
        ("DuplicateKey", raw(r#"{"__metadata__":{"a":"1","a":"2"}}"#, &[])),
        ("DuplicateKey", raw(r#"{"__metadata__":{},"__metadata__":{}}"#, &[])),
        ("DuplicateTensor", raw(&format!("{{{w},{w}}}"), &[0; 4])),
        (
            "DuplicateTensor",
            raw(&format!("{{{w},{}}}", line("\\u0077", "F32", "[1]", 4, 8)), &[0; 8]),
        ),
        ("TooManyTensors", raw(&header(&many), &[])),
        (
            "NameTooLong",
            raw(&header(&[line(&"n".repeat(1025), "U8", "[0]", 0, 0)]), &[]),
        ),
        (
            "ControlInName",
            raw(&header(&[line("a\\u001b[31m", "U8", "[0]", 0, 0)]), &[]),
        ),
        ("Entry", raw(r#"{"w":1}"#, &[])),
        ("Entry", raw(r#"{"w":{"dtype":"F32","shape":[1]}}"#, &[0; 4])),
        (
            "Entry",
            raw(
                r#"{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":0}}"#,
                &[0; 4],
            ),
        ),
        (
            "Entry",
            raw(
                r#"{"w":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#,
                &[0; 4],
            ),
        ),
        (
            "HeaderNotJson",
            raw(r#"{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4,8]}}"#, &[0; 4]),
        ),
        ("Entry", one("F32", "[-1]", 0, 4, 4)),
        ("Entry", one("F32", "[1.0]", 0, 4, 4)),
        ("Entry", one("F32", "[18446744073709551616]", 0, 4, 4)),
        ("Entry", one("F32", "\"1\"", 0, 4, 4)),
        ("UnknownDtype", one("F31", "[1]", 0, 4, 4)),
        ("UnknownDtype", one("f32", "[1]", 0, 4, 4)),
        ("Rank", one("F32", "[1,1,1,1,1,1,1,1,1]", 0, 4, 4)),
        ("Rank", one("F32", &format!("[{}1]", "1,".repeat(100_000)), 0, 4, 4)),
        ("Extent", one("U8", "[2147483649]", 0, 0, 0)),
        (
            "SizeOverflow",
            one("F32", "[2147483648,2147483648,2147483648]", 0, 4, 4),
        ),
        (
            "SizeOverflow",
            one("F32", "[0,2147483648,2147483648,2147483648]", 0, 0, 0),
        ),
        ("PartialByte", one("F4", "[3]", 0, 1, 1)),
        ("Backwards", one("F32", "[1]", 4, 0, 4)),
        ("Size", one("F32", "[2]", 0, 4, 4)),
        ("Size", one("F32", "[]", 0, 8, 8)),
        ("Size", one("F16", "[3]", 0, 4, 4)),
        ("Overlap", two((0, 4), (0, 4), 4)),
        ("Overlap", two((0, 4), (3, 7), 7)),
        ("Hole", two((0, 4), (5, 9), 9)),
        ("Hole", one("F32", "[1]", 4, 8, 8)),
        ("Truncated", one("F32", "[1]", 0, 4, 3)),
        ("Truncated", one("F32", "[1]", 0, 4, 0)),
        ("Trailing", one("F32", "[1]", 0, 4, 5)),
        ("Trailing", raw("{}", &[0])),
    ];
    let folder = folder();
    for (i, (expected, bytes)) in cases.iter().enumerate() {
        let path = put(folder.path(), "x.safetensors", bytes);
        let e = read_tensors(&path)
            .err()
            .unwrap_or_else(|| panic!("case {i}, {expected}: accepted"));
        assert_eq!(variant(&e), *expected, "case {i}: {e}");
        assert!(e.to_string().contains("x.safetensors"), "case {i}: {e}");
        assert_eq!(e.exit_code(), 1, "case {i}: {e}");
    }
}

#[test]
fn sound_corner_cases_are_accepted() {
    let folder = folder();
    for bytes in [
        raw("{}", &[]),
        raw("{}    ", &[]),
        one("F32", "[]", 0, 4, 4),
        one("F32", "[0]", 0, 0, 0),
        one("F32", "[2,0,3]", 0, 0, 0),
        two((4, 8), (0, 4), 8),
        raw(r#"{"__metadata__":{"a]]]":"[[[{\"{{"}}"#, &[]),
    ] {
        let path = put(folder.path(), "x.safetensors", bytes);
        assert!(read_tensors(&path).is_ok());
    }
}

/// Bytes of a sound checkpoint overwritten, doubled, dropped or swapped at random: refused or read, never a panic, never
/// more elements than the file has bytes.
#[test]
fn mutated_checkpoints_never_panic() {
    let sound = safetensors(&[("loopfm.graph", LINEAR), ("loopfm.format", "1")], &fitting());
    let folder = folder();
    let mut rng = Rng(11);
    let mut refused = 0;
    for _ in 0..4000 {
        let mut bytes = sound.clone();
        for _ in 0..rng.between(1, 4) {
            let (a, b) = (rng.below(bytes.len()), rng.below(bytes.len()));
            match rng.below(4) {
                0 => bytes[a] = rng.pick(b"\0 \"{}[],:019aF\\\xff"),
                1 => bytes.swap(a, b),
                2 => drop(bytes.remove(a)),
                _ => bytes.insert(a, sound[b % sound.len()]),
            }
        }
        let path = put(folder.path(), "x.safetensors", &bytes);
        match read_tensors(&path) {
            Ok((tensors, _)) => assert!(tensors.values().all(|t| t.data.len() <= bytes.len())),
            Err(e) => {
                assert_eq!(e.exit_code(), 1, "{e}");
                refused += 1;
            }
        }
        // The model's own checks come after; none of them may panic either.
        let _ = load(&path);
    }
    assert!(refused > 2000, "{refused} refused");
}
