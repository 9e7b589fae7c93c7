//! What becomes of values.

use loopfm::data::{Column, Encoder, Features, Id, LogFiles};

use super::{Folder, declared, encoded, ints, rows};

#[test]
fn ids_of_a_csv_file_and_by_hand() {
    let folder = Folder::new();
    let log = folder.write("log.csv", "\u{feff}user,t,click,item\r\n1,1650812741,1,b\r\n2,1650812742,0,\"a,\"\"x\"\"\"\r\n3,1650812743,0,7\r\n4,1650812744,0,\r\n5,1650812745,1,b\r\n");
    let features = folder
        .features(&declared(
            "[features.item]\nid = \"item\"\n[features.often]\nid = \"item\"\nmin_count = 2",
        ))
        .unwrap();
    let (encoder, all) = encoded(&features, &[log]).unwrap();
    // Short ids before long ones, equal lengths by bytes; nothing is row 0.
    assert_eq!(ints(&all, "item"), [2, 3, 1, 0, 2]);
    assert_eq!(ints(&all, "often"), [1, 0, 0, 0, 1]);
    assert_eq!(all.label.as_deref(), Some([1.0, 0.0, 0.0, 0.0, 1.0].as_slice()));
    assert_eq!(
        (all.time[1], all.day.as_ref().unwrap()[1]),
        (1_650_812_742_000, 20_220_424)
    );
    assert_eq!((all.unknown["item"], all.unknown["often"]), (0, 2));
    assert_eq!(encoder.id("item", 3), Some("a,\"x\""));
    // Integers are the ids that their texts are, and users have the same key.
    let by_hand = rows([("item", Column::ints(vec![7, 8]))]);
    let by_hand = encoder.encode(&by_hand).unwrap();
    assert_eq!(ints(&by_hand, "item"), [1, 0]);
    assert_eq!(by_hand.label, None);
    assert_eq!(by_hand.key[1], all.key[0]);
    assert_eq!(all.key[0], Id::Int(1).key());
}

#[test]
fn the_whole_range_of_integers() {
    let folder = Folder::new();
    let ids = [
        "-9223372036854775808",
        "9223372036854775807",
        "18446744073709551615",
        "0",
        "-1",
    ];
    let lines: String = ids.iter().map(|i| format!("{i},1650812741,1,{i}\n")).collect();
    let log = folder.write("log.csv", format!("user,t,click,item\n{lines}"));
    let features = folder
        .features(&declared(
            "[features.item]\nid = \"item\"\n[features.hashed]\nid = \"item\"\nhash = { modulus = 1000, seed = 3 }",
        ))
        .unwrap();
    let (encoder, all) = encoded(&features, &[log]).unwrap();
    assert_eq!(ints(&all, "item"), [4, 3, 5, 1, 2]);
    let again = Encoder::from_json(&encoder.to_json()).unwrap();
    assert_eq!(again.to_json(), encoder.to_json());
    let hand = rows([("item", Column::ints(vec![i64::MIN, i64::MAX, 0]))]);
    let hand = again.encode(&hand).unwrap();
    assert_eq!(ints(&hand, "item"), [4, 3, 1]);
    assert_eq!(ints(&hand, "hashed")[1], ints(&all, "hashed")[1]);
    // A function of value and seed alone, for ever.
    assert_eq!(ints(&all, "hashed"), ids.map(|i| (Id::of(i).hash(3) % 1000) as i32 + 1));
    assert_eq!(Id::of("0").hash(3), 0x850f_db4b_3af8_706d, "{:x}", Id::of("0").hash(3));
}

#[test]
fn sequences_keep_an_end_and_share_rows() {
    let folder = Folder::new();
    let log = folder.write(
        "log.tsv",
        "user\tt\tclick\tcate\this\n1\t1650812741\t1\tx\ta^b^c^d\n2\t1650812742\t0\ta\t^b^\n3\t1650812743\t0\tb\t\n",
    );
    let features = |more: &str| {
        folder.features(&declared(&format!(
            "[features.cate]\nid = \"cate\"\n[features.hist]\nsequence = \"his\"\nseparator = \"^\"\nlength = 3\nshares = \"cate\"\nmask = \"hist_mask\"\n{more}"
        ))).unwrap()
    };
    let (encoder, all) = encoded(&features(""), std::slice::from_ref(&log)).unwrap();
    assert_eq!(encoder.vocabulary_sizes()["hist"], 6);
    // a b c d x are 1 to 5: items of sequences count too.
    assert_eq!(ints(&all, "cate"), [5, 1, 2]);
    assert_eq!(ints(&all, "hist"), [2, 3, 4, 0, 2, 0, 0, 0, 0]);
    let mask = match &all.inputs["hist_mask"].data {
        loopfm::tensor::Data::Bool(mask) => mask.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(mask, [true, true, true, true, true, true, false, false, false]);
    let (_, oldest) = encoded(&features("keep = \"oldest\""), std::slice::from_ref(&log)).unwrap();
    assert_eq!(ints(&oldest, "hist")[..3], [1, 2, 3]);
    let (_, turned) = encoded(&features("newest = \"first\""), &[log]).unwrap();
    assert_eq!(ints(&turned, "hist")[..3], [3, 2, 1]);
    // Lists by hand are sequences as well.
    let hand = rows([("cate", Column::texts(&["a"])), ("his", Column::int_lists(&[[9, 9]]))]);
    assert_eq!(ints(&encoder.encode(&hand).unwrap(), "hist"), [0, 0, 0]);
}

#[test]
fn numbers() {
    let folder = Folder::new();
    let log = folder.write(
        "log.csv",
        "user,t,click,p\n1,1650812741,1,1\n2,1650812741,0,3\n3,1650812741,0,\n4,1650812741,0,nan\n",
    );
    let features = folder
        .features(&declared(
            "[features.z]\nnumber = \"p\"\ntransform = [\"standardise\"]\nflag = \"z_missing\"
         [features.l]\nnumber = \"p\"\nflag = \"l_missing\"\nmissing = 7\ntransform = [{ clip = [0, 3] }, \"log1p\", { scale = 2 }]
         [features.b]\nnumber = \"p\"\nbuckets = [1, 2]
         [features.q]\nnumber = \"p\"\nquantiles = 2",
        ))
        .unwrap();
    let (encoder, all) = encoded(&features, &[log]).unwrap();
    assert_eq!(all.inputs["z"].shape, [4, 1]);
    assert_eq!(all.inputs["z"].as_f32().unwrap(), [-1.0, 1.0, 0.0, 0.0]);
    assert_eq!(all.inputs["z_missing"].as_f32().unwrap(), [0.0, 0.0, 1.0, 1.0]);
    assert_eq!(all.inputs["l_missing"], all.inputs["z_missing"]);
    let l = |x: f64| (x.ln_1p() * 2.0) as f32;
    assert_eq!(all.inputs["l"].as_f32().unwrap(), [l(1.0), l(3.0), l(3.0), l(3.0)]);
    assert_eq!(ints(&all, "b"), [2, 3, 0, 0]);
    assert_eq!(ints(&all, "q"), [1, 2, 0, 0]);
    assert_eq!(
        (encoder.vocabulary_sizes()["b"], encoder.vocabulary_sizes()["q"]),
        (4, 3)
    );
}

#[test]
fn parts_of_time_at_an_offset() {
    let folder = Folder::new();
    let log = folder.write("log.csv", "user,when\n1,2022-04-24 23:30:00\n2,2022-04-24T16:30:00Z\n");
    let features = Features::parse("[log]\nkey = \"user\"\ntime = { column = \"when\", format = \"iso\" }\nutc_offset = \"+08:00\"\n[features.hour]\ntime = \"hour\"\n[features.weekday]\ntime = \"weekday\"", "a test").unwrap();
    let (_, all) = encoded(&features, &[log]).unwrap();
    assert_eq!(ints(&all, "hour"), [24, 1]);
    assert_eq!(ints(&all, "weekday"), [7, 1]);
    assert_eq!(all.day, Some(vec![20_220_424, 20_220_425]));
    assert_eq!(all.time[1] - all.time[0], 3_600_000);
}

#[test]
fn orders_instead_of_times() {
    let folder = Folder::new();
    let log = folder.write("log.csv", "user,his\n1,a^b\n1,a\n2,\n");
    let feature = "[features.user]\nid = \"user\"";
    for (time, expected) in [
        ("{ length_of = \"his\", separator = \"^\" }", [2, 1, 0]),
        ("{ row = true }", [0, 1, 2]),
    ] {
        let features = Features::parse(&format!("[log]\nkey = \"user\"\ntime = {time}\n{feature}"), "a test").unwrap();
        let (_, all) = encoded(&features, std::slice::from_ref(&log)).unwrap();
        assert_eq!((all.time, all.day), (expected.to_vec(), None));
        let files = LogFiles::open(&features, &[&log]).unwrap();
        let why = features
            .fit(&files, Some("20220101".parse().unwrap()))
            .unwrap_err()
            .to_string();
        assert!(why.contains("days are asked for"), "{why}");
    }
}

#[test]
fn days_of_partitioned_files_and_side_tables() {
    let folder = Folder::new();
    for (day, rows) in [
        ("20220424", "1,1650758400,1,x\n"),
        ("20220425", "2,1650844800,0,y\n1,1650844801,0,z\n"),
    ] {
        folder.write(
            &format!("log/day={day}/part-0.csv"),
            format!("user,t,click,item\n{rows}"),
        );
    }
    folder.write("items.csv", "id,brand\nx,B\nz,C\n,nobody\n");
    let features = folder.features(&declared("[[join]]\nfile = \"items.csv\"\non = \"item\"\nkey = \"id\"\n[features.brand]\nid = \"brand\"\n[features.item]\nid = \"item\"\nfirst_of = \",\"")).unwrap();
    let log = LogFiles::open(&features, &[folder.path().join("log/day=*/*.csv")]).unwrap();
    let encoder = features.fit(&log, Some("2022-04-24".parse().unwrap())).unwrap();
    assert_eq!(encoder.vocabulary_sizes()["brand"], 2);
    assert_eq!(
        encoder.fitted_days().map(|d| (d.first, d.last)),
        Some((20_220_424, 20_220_424))
    );
    let all = encoder.encode_log(&log, None).unwrap();
    assert_eq!(
        (ints(&all, "brand"), all.row.as_slice()),
        ([1, 0, 0].as_slice(), [0, 1, 2].as_slice())
    );
    let last = encoder.encode_log(&log, Some("20220425".parse().unwrap())).unwrap();
    assert_eq!(last.row, [1, 2]);
    // Without the table, rows that bring its columns are read.
    let whole = folder.write("whole/log.csv", "user,t,click,item,brand\n1,1650758400,1,x,B\n");
    let elsewhere = encoder.clone().in_folder(folder.path().join("nowhere"));
    let log = LogFiles::open(elsewhere.features(), &[whole]).unwrap();
    assert_eq!(ints(&elsewhere.encode_log(&log, None).unwrap(), "brand"), [1]);
}
