//! Sharded checkpoints, and indices that name what they must not.

use std::path::Path;

use loopfm::import::{Checkpoint, load};

use super::{LINEAR, fitting, folder, variant};
use crate::support::files::{put, safetensors};

/// Two sound shards of [`fitting`] and an index of this text.
fn sharded(folder: &Path, index: &str) {
    let (mut first, mut second) = (fitting(), fitting());
    first.retain(|n, _| n < &"c".to_owned());
    second.retain(|n, _| n >= &"c".to_owned());
    put(
        folder,
        "1.safetensors",
        safetensors(&[("loopfm.graph", LINEAR), ("format", "pt")], &first),
    );
    put(folder, "2.safetensors", safetensors(&[("format", "np")], &second));
    put(folder, "model.safetensors.index.json", index);
}

fn weight_map(pairs: &[(&str, &str)]) -> String {
    let lines: Vec<String> = pairs.iter().map(|(t, s)| format!(r#""{t}":"{s}""#)).collect();
    format!(
        r#"{{"metadata":{{"total_size":44}},"weight_map":{{{}}}}}"#,
        lines.join(",")
    )
}

const SHARDS: [(&str, &str); 4] = [
    ("a", "1.safetensors"),
    ("b", "1.safetensors"),
    ("c", "2.safetensors"),
    ("d", "2.safetensors"),
];

#[test]
fn shards_are_one_checkpoint() {
    let folder = folder();
    sharded(folder.path(), &weight_map(&SHARDS));
    for path in [
        folder.path().to_path_buf(),
        folder.path().join("model.safetensors.index.json"),
    ] {
        assert_eq!(load(&path).expect("sound shards").weights, fitting());
    }
}

#[test]
fn indices_are_refused_by_name() {
    let swap = |tensor: &str, shard: &str| {
        let mut pairs = SHARDS.to_vec();
        pairs.retain(|(t, _)| *t != tensor);
        pairs.push((tensor, shard));
        weight_map(&pairs)
    };
    let cases = [
        ("ShardName", swap("d", "../2.safetensors")),
        ("ShardName", swap("d", "/etc/passwd")),
        ("ShardName", swap("d", "..")),
        ("ShardName", swap("d", ".")),
        ("ShardName", swap("d", "")),
        ("ShardName", swap("d", "sub/2.safetensors")),
        ("ShardName", swap("d", "./2.safetensors")),
        ("ShardName", swap("d", "2.safetensors/")),
        ("ShardName", swap("d", "..\\\\2.safetensors")),
        ("ShardName", swap("d", "C:2.safetensors")),
        ("ShardName", swap("d", "2.safetensors\\u0000")),
        ("Os", swap("d", "3.safetensors")),
        ("Shards", swap("d", "1.safetensors")),
        ("Shards", weight_map(&SHARDS[..3])),
        ("Shards", swap("e", "1.safetensors")),
        ("Json", weight_map(&[SHARDS[0], SHARDS[0]])),
        ("Json", "{}".to_owned()),
        ("Json", "[".repeat(100_000)),
        ("Json", r#"{"weight_map":{"a":1}}"#.to_owned()),
        ("NotAFile", swap("d", "folder")),
        (
            "ShardMetadata",
            weight_map(&[
                SHARDS[0],
                SHARDS[1],
                ("c", "other.safetensors"),
                ("d", "other.safetensors"),
            ]),
        ),
        #[cfg(unix)]
        ("ShardEscapes", swap("d", "link.safetensors")),
    ];
    for (i, (expected, index)) in cases.iter().enumerate() {
        let (folder, outside) = (folder(), folder());
        sharded(folder.path(), index);
        std::fs::create_dir(folder.path().join("folder")).expect("a folder");
        let mut other = fitting();
        other.retain(|n, _| n >= &"c".to_owned());
        put(
            folder.path(),
            "other.safetensors",
            safetensors(&[("loopfm.graph", "another")], &other),
        );
        let target = put(outside.path(), "2.safetensors", safetensors(&[], &other));
        #[cfg(unix)]
        std::os::unix::fs::symlink(&target, folder.path().join("link.safetensors")).expect("a link");
        let index = folder.path().join("model.safetensors.index.json");
        let e = Checkpoint::open(&index)
            .err()
            .unwrap_or_else(|| panic!("case {i}, {expected}: accepted"));
        assert_eq!(variant(&e), *expected, "case {i}: {e}");
    }
}
