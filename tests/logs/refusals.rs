//! What is refused, and in which words.

use loopfm::data::{Column, Encoder, Features, LogFiles};

use super::{Folder, declared, encoded, rows};
use crate::support::rng::Rng;

/// Declarations.
#[test]
fn declarations() {
    let item = "[features.item]\nid = \"item\"";
    for (toml, words) in [
        (declared("[features.x]\nid = \"click\""), "is the label"),
        (
            declared(item).replace("label", "outcomes = [\"item\"]\nlabel"),
            "is an outcome",
        ),
        (
            declared(&format!("{item}\nquantiles = 3")),
            "`quantiles` means nothing to `id`",
        ),
        (declared(&format!("{item}\nfrequency = 3")), "unknown field `frequency`"),
        (declared("[features.x]\nsequence = \"x\""), "`length` is missing"),
        (
            declared("[features.x]\nid = \"x\"\nshares = \"y\""),
            "shares with `y`, which is not declared",
        ),
        (
            declared("[features.x]\nnumber = \"x\"\nbuckets = [2, 1]"),
            "each above the one before",
        ),
        (
            declared("[features.x]\nid = \"x\"\nhash = { modulus = 0 }"),
            "`modulus` is 0",
        ),
        (declared(""), "missing field `features`"),
        (
            "[log]\nkey = \"user\"\ntime = {}\n[features.x]\nid = \"x\"".to_owned(),
            "`time` must have one of",
        ),
        (
            declared(item).replace("[features", "until = \"soon\"\n[features"),
            "`until` is",
        ),
        (
            declared(item).replace("label", "format = { csv = { separator = \"ab\" } }\nlabel"),
            "one ASCII character",
        ),
    ] {
        let why = Features::parse(&toml, "a test").unwrap_err();
        assert!(why.to_string().contains(words), "{why}\n for {words}");
        assert_eq!(why.exit_code(), 1);
    }
}

/// Cells: the message has file, row, column, what was seen and what was expected.
#[test]
fn cells() {
    let good = "1,1650812741,1,x,1";
    for (line, words) in [
        (",1650812741,1,x,1", ["`user` is null", "key"]),
        ("1,,1,x,1", ["`t` is null", "a time"]),
        ("1,1650812741000,1,x,1", ["`t` is \"1650812741000\"", "unit = \"ms\""]),
        ("1,-5,1,x,1", ["`t` is \"-5\"", "between 1990 and 2100"]),
        ("1,99999999999999999999,1,x,1", ["`t` is", "within i64"]),
        ("1,soon,1,x,1", ["`t` is \"soon\"", "within i64"]),
        ("1,1650812741,,x,1", ["`click` is null", "0..=1"]),
        ("1,1650812741,2,x,1", ["`click` is \"2\"", "0..=1"]),
        ("1,1650812741,1,x,many", ["`n` is \"many\"", "a number"]),
        ("1,1650812741,1,x,inf", ["`n` is \"inf\"", "a finite number"]),
        ("1,1650812741,1,x,-2", ["`n` is \"-2\"", "log1p"]),
    ] {
        let folder = Folder::new();
        let log = folder.write("log.csv", format!("user,t,click,item,n\n{good}\n{line}\n"));
        let features = folder
            .features(&declared("[features.n]\nnumber = \"n\"\ntransform = [\"log1p\"]"))
            .unwrap();
        let why = encoded(&features, &[log]).unwrap_err();
        let text = why.to_string();
        assert!(
            text.contains("log.csv`, row 1: ") && words.iter().all(|w| text.contains(w)),
            "{text} for {line}"
        );
        assert_eq!(why.exit_code(), 1);
    }
}

/// Records of CSV files.
#[test]
fn records() {
    for (text, words) in [
        (
            "user,t,click,item\n1,1650812741,1,x\n1,2,3\n",
            "row 1 (line 3): 3 fields, the first record has 4",
        ),
        ("user,t,click,item\n1,1650812741,1,x,y\n", "row 0 (line 2): 5 fields"),
        ("user,t,click,user\n", "column `user` is there twice"),
        ("", "the file is empty"),
        (
            "user,t,click\n",
            "column `item`, feature `item`, is missing; there are `user`, `t`, `click`",
        ),
        ("user,t,click,item\n", "no rows in the log"),
    ] {
        let folder = Folder::new();
        let log = folder.write("log.csv", text);
        let features = folder.features(&declared("[features.item]\nid = \"item\"")).unwrap();
        let why = encoded(&features, &[log]).unwrap_err();
        assert!(why.to_string().contains(words), "{why} for {text}");
    }
    let folder = Folder::new();
    let log = folder.write("log.csv", b"user,t,click,item\n1,1650812741,1,\xff\n");
    let features = folder.features(&declared("[features.item]\nid = \"item\"")).unwrap();
    let why = encoded(&features, &[log]).unwrap_err().to_string();
    assert!(why.contains("row 0 (line 2): `item` is not UTF-8"), "{why}");
}

/// Times against ingestion and a given end.
#[test]
fn futures() {
    let folder = Folder::new();
    let log = folder.write(
        "log.csv",
        "user,t,click,item,i\n1,1650812741,1,x,1650812741\n1,1650813042,1,x,1650812741\n",
    );
    let base = declared("[features.item]\nid = \"item\"");
    let with = |more: &str| {
        folder
            .features(&base.replace("label", &format!("{more}\nlabel")))
            .unwrap()
    };
    let why = encoded(
        &with("ingest = { column = \"i\", unit = \"s\" }"),
        std::slice::from_ref(&log),
    )
    .unwrap_err()
    .to_string();
    assert!(
        why.contains("1 of 2 rows happened after they were ingested")
            && why.contains("row 1: `t` is 2022-04-24 15:10:42 UTC"),
        "{why}"
    );
    let few = with("rejects = 0.5\ningest = { column = \"i\", unit = \"s\" }");
    let (_, few) = encoded(&few, std::slice::from_ref(&log)).unwrap();
    assert_eq!(
        (few.len(), few.rejected, few.ingest),
        (1, 1, Some(vec![1_650_812_741_000]))
    );
    let why = encoded(&with("until = \"2022-04-24\""), std::slice::from_ref(&log))
        .unwrap_err()
        .to_string();
    assert!(
        why.contains("row 0: `t` is 2022-04-24 15:05:41 UTC, it must be before 2022-04-24 00:00:00 UTC"),
        "{why}"
    );
    assert!(encoded(&with("until = \"now\""), &[log]).is_ok());
}

/// Files that differ are found before a row is read.
#[test]
fn files_that_differ() {
    let folder = Folder::new();
    let row = "user,t,click,item\n1,1650812741,1,x\n";
    let files: Vec<_> = (0..5)
        .map(|i| {
            folder.write(
                &format!("{i}.csv"),
                if i == 2 {
                    row.replace("item", "thing")
                } else {
                    row.to_owned()
                },
            )
        })
        .collect();
    let features = folder.features(&declared("[features.item]\nid = \"item\"")).unwrap();
    let why = LogFiles::open(&features, &files).unwrap_err().to_string();
    assert!(
        why.contains("2.csv`: column `item`, feature `item`, is missing"),
        "{why}"
    );
    let why = LogFiles::open(&features, &[folder.path().join("*.parquet")])
        .unwrap_err()
        .to_string();
    assert!(why.contains("*.parquet`: no such file"), "{why}");
}

/// Ids without a row, where that is an error.
#[test]
fn out_of_vocabulary() {
    let folder = Folder::new();
    let log = folder.write("log.csv", "user,t,click,item\n1,1650812741,1,x\n");
    let features = folder
        .features(&declared("[features.item]\nid = \"item\"\noov = \"error\""))
        .unwrap();
    let (encoder, _) = encoded(&features, &[log]).unwrap();
    let why = encoder
        .encode(&rows([("item", Column::texts(&["x", "y"]))]))
        .unwrap_err()
        .to_string();
    assert_eq!(
        why,
        "`rows`, row 1: feature `item` has no row for \"y\", and its `oov` is \"error\""
    );
}

/// Side tables.
#[test]
fn side_tables() {
    let folder = Folder::new();
    let log = folder.write("log.csv", "user,t,click,item,brand\n1,1650812741,1,x,B\n");
    folder.write("items.csv", "item,brand\nx,B\nx,C\n");
    let features = |more: &str| {
        folder
            .features(&declared(&format!(
                "[[join]]\nfile = \"items.csv\"\non = \"item\"\n{more}\n[features.brand]\nid = \"brand\""
            )))
            .unwrap()
    };
    let why = encoded(&features(""), std::slice::from_ref(&log))
        .unwrap_err()
        .to_string();
    assert!(
        why.contains("column `brand` is in") && why.contains("`columns`"),
        "{why}"
    );
    let why = encoded(&features("columns = [\"brand\"]"), &[log])
        .unwrap_err()
        .to_string();
    assert!(
        why.contains("items.csv`, row 1: `item` is \"x\", it must be there once"),
        "{why}"
    );
}

/// An encoder's text, damaged anywhere: an error, or an encoder that can be used.
#[test]
fn damaged_encoders() {
    let folder = Folder::new();
    let log = folder.write(
        "log.csv",
        "user,t,click,item,n\n1,1650812741,1,x,1\n2,1650812741,0,7,2\n3,1650812741,0,12,3\n",
    );
    let features = declared(
        "[features.item]\nid = \"item\"\n[features.n]\nnumber = \"n\"\ntransform = [\"log1p\", \"standardise\"]
         [features.q]\nnumber = \"n\"\nquantiles = 2\n[features.h]\nid = \"item\"\nhash = { modulus = 9 }
         [features.s]\nsequence = \"item\"\nseparator = \"^\"\nlength = 2\nshares = \"item\"",
    );
    let (encoder, _) = encoded(&folder.features(&features).unwrap(), std::slice::from_ref(&log)).unwrap();
    let text = encoder.to_json();
    let mut rng = Rng(11);
    let mut refused = 0;
    for _ in 0..2000 {
        let mut bytes = text.clone().into_bytes();
        for _ in 0..=rng.below(3) {
            let at = rng.below(bytes.len());
            bytes[at] = b"0123456789-,\"[]{}:axe."[rng.below(22)];
        }
        match Encoder::from_json(std::str::from_utf8(&bytes).unwrap()) {
            Err(why) => {
                assert!([1, 6].contains(&why.exit_code()), "{why}");
                refused += 1;
            }
            Ok(encoder) => {
                let log = LogFiles::open(encoder.features(), std::slice::from_ref(&log));
                let _ = log.and_then(|log| encoder.encode_log(&log, None));
            }
        }
    }
    assert!(refused > 500, "{refused}");
    let why = Encoder::from_json(&text.replace("features/1", "features/9")).unwrap_err();
    assert_eq!(why.exit_code(), 6);
}
